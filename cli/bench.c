/* Contenders: making one, its work, its count, and order statistics. */
#include "bench.h"

#include <stdlib.h>

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a benchmark");
}

/* One sequence of arbitrary tokens, each predicting another. */
static moh_status make_batch(moh__contender *c, moh_error *err) {
  size_t n = (size_t)c->context;
  c->tokens = calloc(n, sizeof(int32_t));
  c->positions = calloc(n, sizeof(int32_t));
  c->targets = calloc(n, sizeof(int32_t));
  c->weights = calloc(n, sizeof(real));
  c->loss = calloc(n, sizeof(real));
  if (!c->tokens || !c->positions || !c->targets || !c->weights || !c->loss)
    return fail_memory(err);
  for (int32_t i = 0; i < c->context; i++) {
    c->tokens[i] = (int32_t)(i * 7919LL % c->config.vocab_size);
    c->targets[i] = (int32_t)(i * 104729LL % c->config.vocab_size);
    c->positions[i] = i;
    c->weights[i] = (real)(1.0 / c->context);
  }
  c->seq_start[1] = c->context;
  c->last = c->context - 1;
  c->batch = (moh__batch){.n = c->context,
                          .tokens = c->tokens,
                          .positions = c->positions,
                          .n_seq = 1,
                          .seq_start = c->seq_start,
                          .n_out = c->context};
  if (c->work == MOH__BENCH_TRAINING) return MOH_OK;
  c->batch.n_out = 1;
  c->batch.out_rows = &c->last;
  return MOH_OK;
}

/* The largest of what the two ways need, as prefill records nothing. */
static moh_status arena_bytes(const moh__contender *c, size_t *bytes,
                              moh_error *err) {
  size_t masked = 0;
  MOH_TRY(moh__arch_arena_bytes(c->model, 1, c->context, true, bytes, err));
  if (c->masked)
    MOH_TRY(moh__arch_arena_bytes_masked(c->model, 1, c->context, &masked,
                                         err));
  if (masked > *bytes) *bytes = masked;
  return MOH_OK;
}

static moh_status open_tape(moh__contender *c, moh_error *err) {
  size_t bytes = 0;
  MOH_TRY(arena_bytes(c, &bytes, err));
  MOH_TRY(moh__arena_init(&c->arena, bytes, err));
  MOH_TRY(moh__tape_init(&c->tape, &c->arena, c->pool, err));
  c->tape.masked = c->masked;
  if (c->work != MOH__BENCH_TRAINING) return MOH_OK;
  return moh__model_alloc_grads(c->model, err);
}

/* All tokens but the last are in the cache. */
static moh_status open_session(moh__contender *c, moh_error *err) {
  const real *logits;
  MOH_TRY(
      moh__session_new(&c->session, c->model, c->pool, c->context, err));
  if (c->context == 1) return MOH_OK;
  return moh__session_feed(c->session, c->tokens, c->last, &logits, err);
}

moh_status moh__contender_open(moh__contender *c, int n_rounds,
                               moh_error *err) {
  c->seconds = calloc((size_t)n_rounds, sizeof(double));
  if (c->seconds == NULL) return fail_memory(err);
  MOH_TRY(moh__arch_model_init(&c->model, &c->config, 1, err));
  MOH_TRY(moh__model_pack(c->model, c->pool, err));
  MOH_TRY(make_batch(c, err));
  return c->work == MOH__BENCH_DECODING ? open_session(c, err)
                                        : open_tape(c, err);
}

void moh__contender_close(moh__contender *c) {
  moh__session_free(c->session);
  moh__tape_free(&c->tape);
  moh__arena_free(&c->arena);
  moh__model_free(c->model);
  free(c->tokens);
  free(c->positions);
  free(c->targets);
  free(c->weights);
  free(c->loss);
  free(c->seconds);
}

moh_status moh__contender_run(moh__contender *c, moh_error *err) {
  const real *logits;
  switch (c->work) {
    case MOH__BENCH_TRAINING:
      moh__tape_reset(&c->tape, true);
      moh__arch_loss(c->model, &c->tape, &c->batch, c->targets, c->weights,
                     c->loss);
      moh__tape_backward(&c->tape);
      return MOH_OK;
    case MOH__BENCH_PREFILL:
      moh__tape_reset(&c->tape, false);
      moh__arch_logits(c->model, &c->tape, &c->batch);
      return MOH_OK;
    default:
      moh__session_truncate(c->session, c->last);
      return moh__session_feed(c->session, c->tokens + c->last, 1, &logits,
                               err);
  }
}

double moh__contender_count(const moh__contender *c) {
  moh__macs none = moh__arch_macs(&c->config, 0);
  moh__macs one = moh__arch_macs(&c->config, 1);
  double fixed =
      (double)(c->masked ? none.dense + none.router : none.active);
  double per_key = (double)(c->masked ? one.dense - none.dense
                                      : one.active - none.active);
  double n = c->context, pairs = n * (n + 1) / 2;
  double output = (double)c->config.vocab_size * (double)c->config.d_model;
  switch (c->work) {
    case MOH__BENCH_TRAINING:
      return 3 * n * fixed + 3.5 * pairs * per_key;
    case MOH__BENCH_PREFILL:
      return n * (fixed - output) + output + pairs * per_key;
    default:
      return fixed + n * per_key;
  }
}

int64_t moh__contender_bytes(const moh__contender *c) {
  moh__session_bytes bytes = {0};
  if (c->session == NULL) return (int64_t)c->arena.peak;
  moh__session_measure(c->model, c->context, &bytes, NULL);
  return (int64_t)(bytes.pages + bytes.gates + bytes.work);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Between two neighbours where the place falls between them. */
double moh__quantile(double *x, int n, double q) {
  qsort(x, (size_t)n, sizeof(*x), compare);
  double at = q * (n - 1);
  int below = (int)at;
  if (below + 1 >= n) return x[n - 1];
  return x[below] + (at - below) * (x[below + 1] - x[below]);
}
