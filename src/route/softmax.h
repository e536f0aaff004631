/* Softmax of rows, the largest logit subtracted first, and its gradient. */
#ifndef MOH_ROUTE_SOFTMAX_H
#define MOH_ROUTE_SOFTMAX_H

#include <stdint.h>

#include "base/real.h"

/* A softmax without its divisions: p_i = exp(l_i - max) / sum. A NaN among the
 * logits makes all of it NaN. */
typedef struct moh__normaliser {
  real max, sum;
} moh__normaliser;

moh__normaliser moh__normalise(const real *logits, int32_t n);

static inline real moh__probability(moh__normaliser s, real logit) {
  return moh__exp(logit - s.max) / s.sum;
}

/* logits, p: [n_rows][n]; they may be the same. */
void moh__softmax(const real *logits, int32_t n_rows, int32_t n, real *p);

/* d_logits_i += p_i (d_p_i - sum_j p_j d_p_j), row by row. */
void moh__softmax_grad(const real *p, const real *d_p, int32_t n_rows,
                       int32_t n, real *d_logits);

#endif
