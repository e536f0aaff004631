/*
 * The router's products: logits of W_s, W_r and W_h from rows of x, and back.
 * Many rows go through one product with the rows of all three matrices, few
 * (decoding) through one each: every element is the same chain of additions,
 * so both give the same bits.
 */
#ifndef MOH_OP_ROUTER_SCORES_H
#define MOH_OP_ROUTER_SCORES_H

#include "op/op.h"

enum { MOH__ROUTER_MATRICES = 3 };

typedef struct moh__router_scores {
  moh__tensor *x;
  moh__router_logits logits;
  moh__router_logits grads; /* recording only; cleared before they are used */
  /* Matrices that there are, in the order shared, routed, mix. */
  int n_parts;
  moh__param *w[MOH__ROUTER_MATRICES];
  real *part_logits[MOH__ROUTER_MATRICES]; /* those of `logits` */
  real *part_grads[MOH__ROUTER_MATRICES];
  /* All of them as one, for many rows; all.n is 0 otherwise. */
  moh__param all;
  real *all_logits; /* [n][rows of all]: logits, in backward gradients */
} moh__router_scores;

/* Memory of the logits of x (n, d) and, recording, of their gradients. */
void moh__router_scores_alloc(moh__router_scores *s, moh__tape *tape,
                              moh__tensor *x, const moh__router_args *args);

void moh__router_scores_forward(moh__router_scores *s, moh__tape *tape);

/* From grads: dx += dlogits W, dW += dlogits^T x. */
void moh__router_scores_backward(moh__router_scores *s, moh__tape *tape);

#endif
