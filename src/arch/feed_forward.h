/*
 * The feed-forward part of a block: one of d_ff hidden units, or experts
 * (Shazeer et al., arXiv 1701.06538), each of them a feed-forward of its own.
 * A router scores the routed ones for every token; the K best of E work, with
 *   y = sum of shared E_s(x) + sum over the chosen i of w_i E_i(x),
 *   w = softmax of the chosen logits,
 * the weights of Mixtral (arXiv 2401.04088, section 2.1) and the shared experts
 * of DeepSeekMoE (arXiv 2401.06066, section 3.2). With K = 1 the weight is 1,
 * and the router learns from its auxiliary losses alone.
 *
 * Experts are to this part what heads are to attention: candidates of a
 * dispatch plan, whose groups of matrix rows and columns work on the tokens
 * that the plan lists. No expert has a capacity, so no token is dropped. The
 * weight is applied to the hidden units, before the last matrix, so that an
 * expert with weight 0 leaves every bit as it was.
 */
#ifndef MOH_ARCH_FEED_FORWARD_H
#define MOH_ARCH_FEED_FORWARD_H

#include "arch/declare.h"
#include "op/op.h"

typedef struct moh__feed_forward {
  moh__param *gate;   /* (hidden, d_model); NULL with ReLU */
  moh__param *up;     /* (hidden, d_model) */
  moh__param *down;   /* (d_model, hidden) */
  moh__param *gate_bias, *up_bias, *down_bias; /* NULL: none */
  moh__param *router; /* (routed experts, d_model); NULL: there are none, and
                       * otherwise hidden units go by expert, shared ones
                       * first */
  moh__param *router_bias; /* (routed experts) of the selection; NULL: none */
} moh__feed_forward;

/* Declares the parameters under d->prefix, and finds them again. */
moh_status moh__feed_forward_declare(const moh__declaration *d);
moh__feed_forward moh__feed_forward_find(const moh__model *model,
                                         const char *prefix);

/* x (n, d_model), normed -> (n, d_model). */
moh__tensor *moh__feed_forward_run(const moh__model *model, moh__tape *tape,
                                   const moh__feed_forward *w,
                                   moh__tensor *x);

#endif
