/* Norms of queries as scores, and back. */
#include "op/query_scores.h"

#include "kernel/kernel.h"

/* Scores are some units apart; when all are equal, z is 0. */
static const real EPS = (real)1e-6;

void moh__query_scores_alloc(moh__query_scores *s, moh__tape *tape,
                             const moh__router_args *args, int32_t n) {
  int64_t size = (int64_t)n * args->shape.n_routed;
  *s = (moh__query_scores){
      .q = args->queries,
      .n = n,
      .n_routed = args->shape.n_routed,
      .first_head = args->shape.n_shared * args->heads_each,
      .heads_each = args->heads_each};
  s->norms = moh__tape_reals(tape, size);
  s->sigma = moh__tape_reals(tape, n);
  s->scores = moh__tape_reals(tape, size);
  if (tape->recording) s->grads = moh__tape_reals(tape, size);
}

/* Where the query of routed head h (from 0) of token t begins. */
static int64_t query_at(const moh__query_scores *s, int32_t t, int32_t h) {
  return ((int64_t)(s->first_head + h) * s->n + t) * s->q->cols;
}

static real norm_of(const moh__query_scores *s, int32_t t, int32_t c) {
  real sum = 0;
  for (int32_t j = 0; j < s->heads_each; j++) {
    const real *q = s->q->v + query_at(s, t, c * s->heads_each + j);
    sum += moh__kernel()->dot(q, q, s->q->cols);
  }
  return moh__sqrt(sum);
}

static real mean_of(const real *x, int32_t n) {
  real sum = 0;
  for (int32_t i = 0; i < n; i++) sum += x[i];
  return sum / (real)n;
}

static void score_rows(void *context, int64_t begin, int64_t end,
                       void *scratch) {
  (void)scratch;
  moh__query_scores *s = context;
  int32_t n = s->n_routed;
  for (int64_t t = begin; t < end; t++) {
    real *norms = s->norms + t * n;
    real *z = s->scores + t * n;
    for (int32_t c = 0; c < n; c++) norms[c] = norm_of(s, (int32_t)t, c);
    real mean = mean_of(norms, n);
    for (int32_t c = 0; c < n; c++) z[c] = norms[c] - mean;
    real variance = moh__kernel()->dot(z, z, n) / (real)n;
    s->sigma[t] = moh__sqrt(variance + EPS);
    for (int32_t c = 0; c < n; c++) z[c] /= s->sigma[t];
  }
}

void moh__query_scores_forward(moh__query_scores *s, moh__tape *tape) {
  if (s->n_routed == 0) return;
  int64_t width = (int64_t)s->n_routed * s->heads_each * s->q->cols;
  moh__rows_run(tape->pool, s->n, width, score_rows, s);
}

/*
 * With D_c = dL/dz_c, which becomes dL/ds_c:
 *   ds_c = (D_c - mean D - z_c mean(D z)) / sigma,   dq_h = ds_c q_h / s_c.
 */
static void grad_rows(void *context, int64_t begin, int64_t end,
                      void *scratch) {
  (void)scratch;
  moh__query_scores *s = context;
  int32_t n = s->n_routed;
  int64_t d = s->q->cols;
  for (int64_t t = begin; t < end; t++) {
    const real *z = s->scores + t * n;
    const real *dz = s->grads + t * n;
    real mean = mean_of(dz, n);
    real along = moh__kernel()->dot(dz, z, n) / (real)n;
    for (int32_t h = 0; h < n * s->heads_each; h++) {
      int32_t c = h / s->heads_each;
      real norm = s->norms[t * n + c];
      int64_t at = query_at(s, (int32_t)t, h);
      real ds = (dz[c] - mean - z[c] * along) / s->sigma[t];
      if (norm > 0)
        moh__kernel()->axpy(s->q->g + at, ds / norm, s->q->v + at, d);
    }
  }
}

void moh__query_scores_backward(moh__query_scores *s, moh__tape *tape) {
  if (s->n_routed == 0) return;
  int64_t width = (int64_t)s->n_routed * s->heads_each * s->q->cols;
  moh__tape_settle(tape, s->q);
  moh__rows_run(tape->pool, s->n, width, grad_rows, s);
}
