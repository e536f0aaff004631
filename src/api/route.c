/* Routing by itself: the functions of src/route with their arguments
 * checked. */
#include <stdlib.h>

#include "api/sized.h"
#include "route/balance.h"
#include "route/softmax.h"
#include "route/topk.h"

static moh_status check_sizes(int64_t n_rows, int32_t n, moh_error *err) {
  if (n_rows >= 1 && n >= 1) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "there must be at least 1 row of 1 candidate, not %lld "
                   "of %d",
                   (long long)n_rows, n);
}

moh_status moh_top_k(const float *scores, int32_t n_rows, int32_t n,
                     int32_t k, int32_t *best, unsigned char *selected,
                     moh_error *err) {
  MOH__NEED(scores, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  if (k < 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "k must not be %d", k);
  int64_t width = k < n ? k : n;
  for (int64_t t = 0; t < n_rows; t++) {
    if (best != NULL)
      moh__topk(scores + t * n, n, k, best + t * width);
    if (selected != NULL)
      moh__topk_mark(scores + t * n, n, k, selected + t * n);
  }
  return MOH_OK;
}

moh_status moh_softmax(const float *logits, int32_t n_rows, int32_t n,
                       float *p, moh_error *err) {
  MOH__NEED(logits, err);
  MOH__NEED(p, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  moh__softmax(logits, n_rows, n, p);
  return MOH_OK;
}

moh_status moh_softmax_grad(const float *p, const float *d_p, int32_t n_rows,
                            int32_t n, float *d_logits, moh_error *err) {
  MOH__NEED(p, err);
  MOH__NEED(d_p, err);
  MOH__NEED(d_logits, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  moh__softmax_grad(p, d_p, n_rows, n, d_logits);
  return MOH_OK;
}

moh_status moh_straight_through(const unsigned char *selected, int64_t n,
                                float *gates, moh_error *err) {
  MOH__NEED(selected, err);
  MOH__NEED(gates, err);
  MOH_TRY(check_sizes(n, 1, err));
  for (int64_t i = 0; i < n; i++) gates[i] = selected[i] != 0;
  return MOH_OK;
}

moh_status moh_straight_through_grad(const float *d_gates, int64_t n,
                                     float *d_scores, moh_error *err) {
  MOH__NEED(d_gates, err);
  MOH__NEED(d_scores, err);
  MOH_TRY(check_sizes(n, 1, err));
  for (int64_t i = 0; i < n; i++) d_scores[i] += d_gates[i];
  return MOH_OK;
}

/* moh__balance_loss writes both arrays; the caller may want neither. */
moh_status moh_balance_loss(const float *logits,
                            const unsigned char *selected, int32_t n_rows,
                            int32_t n, float *mean_p, float *load,
                            float *loss, moh_error *err) {
  MOH__NEED(logits, err);
  MOH__NEED(selected, err);
  MOH__NEED(loss, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  float *own = calloc(2 * (size_t)n, sizeof(float));
  if (own == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d candidates", n);
  *loss = moh__balance_loss(logits, selected, n, n_rows, n,
                            mean_p == NULL ? own : mean_p,
                            load == NULL ? own + n : load);
  free(own);
  return MOH_OK;
}

moh_status moh_balance_loss_grad(const float *logits, const float *load,
                                 int32_t n_rows, int32_t n, float weight,
                                 float *d_logits, moh_error *err) {
  MOH__NEED(logits, err);
  MOH__NEED(load, err);
  MOH__NEED(d_logits, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  moh__balance_loss_grad(logits, load, n_rows, n, weight, d_logits);
  return MOH_OK;
}

moh_status moh_z_loss(const float *logits, int32_t n_rows, int32_t n,
                      float *loss, moh_error *err) {
  MOH__NEED(logits, err);
  MOH__NEED(loss, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  *loss = moh__z_loss(logits, n_rows, n);
  return MOH_OK;
}

moh_status moh_z_loss_grad(const float *logits, int32_t n_rows, int32_t n,
                           float weight, float *d_logits, moh_error *err) {
  MOH__NEED(logits, err);
  MOH__NEED(d_logits, err);
  MOH_TRY(check_sizes(n_rows, n, err));
  moh__z_loss_grad(logits, n_rows, n, weight, d_logits);
  return MOH_OK;
}
