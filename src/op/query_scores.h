/*
 * Scores of a router without parameters: the Euclidean norms of the queries
 * (continue-tuning in arXiv 2410.11842, section 4.4). For a token with the
 * queries q_h, of a candidate c with the heads of c:
 *   s_c = sqrt(sum over heads h of c, |q_h|^2)
 *   z_c = (s_c - mean) / sigma,  sigma = sqrt(variance + eps),
 * mean and variance over the token's routed candidates. Tokens choose by s; p
 * is softmax(z), which the mean does not change: the softmax of scores divided
 * by their standard deviation.
 *
 * Queries are those of the projection, before rotary positions (which keep
 * norms) and before a norm of their own (which would make all alike). Nothing
 * in z is taken for a constant in backward.
 */
#ifndef MOH_OP_QUERY_SCORES_H
#define MOH_OP_QUERY_SCORES_H

#include "op/op.h"

typedef struct moh__query_scores {
  moh__tensor *q; /* (n_heads n, d_head), head by head; NULL: other scores */
  int32_t n, n_routed;
  int32_t first_head, heads_each; /* of the routed candidates */
  real *norms;                    /* [n][n_routed] s */
  real *sigma;                    /* [n] */
  real *scores;                   /* [n][n_routed] z */
  real *grads;                    /* dL/dz; recording only */
} moh__query_scores;

/* Memory for the queries that args names. */
void moh__query_scores_alloc(moh__query_scores *s, moh__tape *tape,
                             const moh__router_args *args, int32_t n);

void moh__query_scores_forward(moh__query_scores *s, moh__tape *tape);

/* From grads to the gradient of the queries. */
void moh__query_scores_backward(moh__query_scores *s, moh__tape *tape);

#endif
