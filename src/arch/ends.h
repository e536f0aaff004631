/*
 * What is before and behind the blocks, whatever these are: embeddings with
 * learned positions, the final norm and the output matrix.
 *
 * Norms make the blocks indifferent to the size of embeddings, dynamic tanh
 * does not, and a model whose embeddings begin small does not learn with it. So
 * they have a factor that is learned, as in the language models of its paper
 * (2503.10622), and begins where the embeddings get a root mean square of 1.
 * HRM scales its own.
 */
#ifndef MOH_ARCH_ENDS_H
#define MOH_ARCH_ENDS_H

#include "arch/block.h"

bool moh__has_embed_scale(const moh__config *config);

/* First and last in a model's file. */
moh_status moh__declare_embeddings(const moh__declaration *d);
moh_status moh__declare_output(const moh__declaration *d);

/* (n, d_model), learned positions added where there are. */
moh__tensor *moh__pass_embed(const moh__pass *p);

/* The batch's out rows of x, ready for the output matrix: normed where there
 * is a final norm. */
moh__tensor *moh__pass_output(const moh__pass *p, moh__tensor *x);

#endif
