/* Softmax of rows and its gradient. */
#include "route/softmax.h"

moh__normaliser moh__normalise(const real *logits, int32_t n) {
  moh__normaliser s = {-INFINITY, 0};
  for (int32_t i = 0; i < n; i++)
    if (!(logits[i] <= s.max)) s.max = logits[i]; /* NaN stays */
  for (int32_t i = 0; i < n; i++) s.sum += moh__exp(logits[i] - s.max);
  return s;
}

static void softmax_row(const real *logits, int32_t n, real *p) {
  real max = -INFINITY;
  for (int32_t i = 0; i < n; i++)
    if (!(logits[i] <= max)) max = logits[i]; /* NaN stays */
  real sum = 0;
  for (int32_t i = 0; i < n; i++) {
    p[i] = moh__exp(logits[i] - max);
    sum += p[i];
  }
  for (int32_t i = 0; i < n; i++) p[i] /= sum;
}

void moh__softmax(const real *logits, int32_t n_rows, int32_t n, real *p) {
  for (int64_t t = 0; t < n_rows; t++)
    softmax_row(logits + t * n, n, p + t * n);
}

void moh__softmax_grad(const real *p, const real *d_p, int32_t n_rows,
                       int32_t n, real *d_logits) {
  for (int64_t at = 0; at < (int64_t)n_rows * n; at += n) {
    real dot = 0;
    for (int32_t i = 0; i < n; i++) dot += p[at + i] * d_p[at + i];
    for (int32_t i = 0; i < n; i++)
      d_logits[at + i] += p[at + i] * (d_p[at + i] - dot);
  }
}
