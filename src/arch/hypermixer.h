/*
 * HyperMixer (arXiv 2203.03691) for language modelling: in place of attention,
 * a hypernetwork makes from each token the weights with which it enters a state
 * of its head, and those with which it reads that state (op.h,
 * moh__op_causal_mix). A layer:
 *   h = norm1(x)                                     with pre-norm; else x
 *   w1 = W_12 relu(W_11 h + b_11) + b_12             (n_heads width), always
 *   w2 = W_22 relu(W_21 h + b_21) + b_22             of the heads in use
 *   x += mix_norm(heads side by side: gate y)        and norm1 with post-norm
 * then the feed-forward of the transformer. Heads, each with its own columns of
 * h and its own state of (width, d_head), are chosen as in attention; there are
 * no keys, so no windows, no rotary or contextual positions and no KV groups.
 */
#ifndef MOH_ARCH_HYPERMIXER_H
#define MOH_ARCH_HYPERMIXER_H

#include "arch/arch.h"

extern const moh__arch moh__hypermixer;

#endif
