/*
 * Balance loss, z-loss and load of a router, and their gradients. Sums over
 * rows are added up in double: a batch has thousands of them.
 */
#include "route/balance.h"

#include <math.h>

#include "route/softmax.h"

enum { CHUNK = 64 }; /* candidates whose sums are held at a time */

/* sum of P_i f_i over the n candidates from `first` of n_all. */
static double chunk_loss(const real *logits, const unsigned char *selected,
                         int64_t stride, int32_t n_rows, int32_t n_all,
                         int32_t first, int32_t n, real *mean_p, real *load) {
  double p_sum[CHUNK] = {0};
  int64_t count[CHUNK] = {0};
  for (int32_t t = 0; t < n_rows; t++) {
    const real *l = logits + (int64_t)t * n_all;
    moh__normaliser s = moh__normalise(l, n_all);
    for (int32_t i = 0; i < n; i++) {
      p_sum[i] += moh__probability(s, l[first + i]);
      count[i] += selected[t * stride + first + i] != 0;
    }
  }
  double loss = 0;
  for (int32_t i = 0; i < n; i++) {
    double p = p_sum[i] / n_rows;
    double f = (double)count[i] / n_rows;
    mean_p[first + i] = (real)p;
    load[first + i] = (real)f;
    loss += p * f;
  }
  return loss;
}

/* Loads that differ by rounding alone are even: share of the mean. */
static const double even = 1e-6;

real moh__balance_loss(const real *logits, const unsigned char *selected,
                       int64_t stride, int32_t n_rows, int32_t n_candidates,
                       real *mean_p, real *load) {
  for (int32_t i = 0; i < n_candidates; i++) mean_p[i] = load[i] = 0;
  if (n_rows == 0) return 0;
  double loss = 0;
  for (int32_t first = 0; first < n_candidates; first += CHUNK) {
    int32_t left = n_candidates - first;
    loss += chunk_loss(logits, selected, stride, n_rows, n_candidates, first,
                       left < CHUNK ? left : CHUNK, mean_p, load);
  }
  return (real)(n_candidates * loss);
}

void moh__head_load(const unsigned char *selected, int64_t stride,
                    int32_t n_rows, int32_t n_candidates, real *load) {
  for (int32_t i = 0; i < n_candidates; i++) {
    int64_t count = 0;
    for (int32_t t = 0; t < n_rows; t++)
      count += selected[t * stride + i] != 0;
    load[i] = n_rows == 0 ? 0 : (real)((double)count / n_rows);
  }
}

void moh__balance_bias(real *bias, const real *load, int32_t n_candidates,
                       real rate) {
  double mean_load = 0, mean_bias = 0;
  for (int32_t i = 0; i < n_candidates; i++)
    mean_load += (double)load[i] / n_candidates;
  for (int32_t i = 0; i < n_candidates; i++) {
    double off = mean_load - (double)load[i];
    if (fabs(off) > even * mean_load) bias[i] += off > 0 ? rate : -rate;
    mean_bias += (double)bias[i] / n_candidates;
  }
  for (int32_t i = 0; i < n_candidates; i++) bias[i] -= (real)mean_bias;
}

/* dL_b/dp_i = n f_i / T in every row, through the softmax:
 * dl_i = n / T p_i (f_i - sum_j p_j f_j). */
void moh__balance_loss_grad(const real *logits, const real *load,
                            int32_t n_rows, int32_t n_candidates, real weight,
                            real *d_logits) {
  int32_t n = n_candidates;
  for (int32_t t = 0; t < n_rows; t++) {
    const real *l = logits + (int64_t)t * n;
    moh__normaliser s = moh__normalise(l, n);
    real mean_load = 0;
    for (int32_t i = 0; i < n; i++)
      mean_load += moh__probability(s, l[i]) * load[i];
    real factor = weight * (real)n / (real)n_rows;
    for (int32_t i = 0; i < n; i++)
      d_logits[(int64_t)t * n + i] +=
          factor * moh__probability(s, l[i]) * (load[i] - mean_load);
  }
}

real moh__z_loss(const real *logits, int32_t n_rows, int32_t n_candidates) {
  if (n_rows == 0) return 0;
  double sum = 0;
  for (int32_t t = 0; t < n_rows; t++) {
    moh__normaliser s =
        moh__normalise(logits + (int64_t)t * n_candidates, n_candidates);
    double lse = s.max + moh__log(s.sum);
    sum += lse * lse;
  }
  return (real)(sum / n_rows);
}

/* d(lse^2)/dl_i = 2 lse p_i. */
void moh__z_loss_grad(const real *logits, int32_t n_rows,
                      int32_t n_candidates, real weight, real *d_logits) {
  for (int32_t t = 0; t < n_rows; t++) {
    const real *l = logits + (int64_t)t * n_candidates;
    moh__normaliser s = moh__normalise(l, n_candidates);
    real lse = s.max + moh__log(s.sum);
    real factor = 2 * weight * lse / (real)n_rows;
    for (int32_t i = 0; i < n_candidates; i++)
      d_logits[(int64_t)t * n_candidates + i] +=
          factor * moh__probability(s, l[i]);
  }
}

/* H = ln S - sum_i p_i (l_i - max), S the sum of exp(l - max). */
static real entropy(moh__normaliser s, const real *logits, int32_t n) {
  real mean = 0;
  for (int32_t i = 0; i < n; i++)
    mean += moh__probability(s, logits[i]) * (logits[i] - s.max);
  return moh__log(s.sum) - mean;
}

real moh__sparsity_loss(const real *logits, int32_t n_rows,
                        int32_t n_candidates) {
  if (n_rows == 0) return 0;
  double sum = 0;
  for (int32_t t = 0; t < n_rows; t++) {
    const real *l = logits + (int64_t)t * n_candidates;
    sum += (double)entropy(moh__normalise(l, n_candidates), l, n_candidates);
  }
  return (real)(sum / n_rows);
}

/* dH/dl_i = -p_i (ln p_i + H). */
void moh__sparsity_loss_grad(const real *logits, int32_t n_rows,
                             int32_t n_candidates, real weight,
                             real *d_logits) {
  for (int32_t t = 0; t < n_rows; t++) {
    const real *l = logits + (int64_t)t * n_candidates;
    moh__normaliser s = moh__normalise(l, n_candidates);
    real h = entropy(s, l, n_candidates);
    real log_sum = moh__log(s.sum);
    for (int32_t i = 0; i < n_candidates; i++)
      d_logits[(int64_t)t * n_candidates + i] -= weight / (real)n_rows *
                                                 moh__probability(s, l[i]) *
                                                 (l[i] - s.max - log_sum + h);
  }
}

real moh__load_entropy(const real *load, int32_t n_candidates) {
  double total = 0;
  for (int32_t i = 0; i < n_candidates; i++) total += load[i];
  double entropy = 0;
  for (int32_t i = 0; i < n_candidates; i++) {
    if (load[i] <= 0) continue;
    double q = load[i] / total;
    entropy -= q * log(q);
  }
  return (real)entropy;
}
