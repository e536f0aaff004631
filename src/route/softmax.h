/* Softmax of rows, the largest logit subtracted first, and its gradient. */
#ifndef MOH_ROUTE_SOFTMAX_H
#define MOH_ROUTE_SOFTMAX_H

#include <stdint.h>

#include "base/real.h"

/* logits, p: [n_rows][n]; they may be the same. */
void moh__softmax(const real *logits, int32_t n_rows, int32_t n, real *p);

/* d_logits_i += p_i (d_p_i - sum_j p_j d_p_j), row by row. */
void moh__softmax_grad(const real *p, const real *d_p, int32_t n_rows,
                       int32_t n, real *d_logits);

#endif
