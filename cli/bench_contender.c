/* Contenders: making one with all that its work needs, and its memory. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench.h"

/* What a step reads but no part of a layer does. */
enum { SMALL_VOCABULARY = 16 };

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a benchmark");
}

static bool is_part(const moh__contender *c) {
  return c->work == MOH__BENCH_ATTENTION || c->work == MOH__BENCH_ROUTER ||
         c->work == MOH__BENCH_FEED_FORWARD;
}

static bool has_session(const moh__contender *c) {
  return c->work == MOH__BENCH_PREFILL || c->work == MOH__BENCH_DECODING;
}

static bool has_gradients(const moh__contender *c) {
  return c->work == MOH__BENCH_TRAINING || is_part(c);
}

/* The donor's weights, and small random ones where it has none: routers. */
static void copy_weights(const moh__contender *c) {
  moh__rng rng = moh__rng_make(2, MOH__STREAM_INIT);
  for (int i = 0; i < c->model->n_params; i++) {
    moh__param *w = &c->model->params[i];
    const moh__param *same = moh__model_param(c->donor->model, w->name);
    if (same != NULL && same->n == w->n)
      memcpy(w->data, same->data, (size_t)w->n * sizeof(real));
    for (int64_t j = 0; same == NULL && j < w->n; j++)
      w->data[j] = (real)(c->config.router_init_std * moh__rng_normal(&rng));
  }
}

/* Random numbers take long for a large model; copying them does not. */
static moh_status make_weights(moh__contender *c, const moh__config *config,
                               moh_error *err) {
  if (c->donor == NULL)
    return moh__arch_model_init(&c->model, config, 1, err);
  MOH_TRY(moh__arch_model(&c->model, config, err));
  MOH_TRY(moh__model_alloc_data(c->model, err));
  MOH_TRY(moh__model_make_tables(c->model, err));
  copy_weights(c);
  return MOH_OK;
}

/* A part of a layer is measured in a model that has only this layer. */
static moh_status open_model(moh__contender *c, moh__pool *pool,
                             moh_error *err) {
  moh__config config = c->config;
  if (is_part(c)) {
    config.n_layers = 1;
    config.vocab_size = SMALL_VOCABULARY;
  }
  if (c->twin != NULL) {
    c->model = c->twin->model;
    c->optimizer = c->twin->optimizer;
    return MOH_OK;
  }
  MOH_TRY(make_weights(c, &config, err));
  if (has_gradients(c)) MOH_TRY(moh__model_alloc_grads(c->model, err));
  moh__model_set_precision(c->model, c->precision);
  MOH_TRY(moh__model_pack(c->model, pool, err));
  if (c->work != MOH__BENCH_TRAINING) return MOH_OK;
  return moh__optimizer_new(&c->optimizer, c->model, false, err);
}

static size_t n_rows(const moh__contender *c) {
  return (size_t)c->n_seq * (size_t)c->context;
}

static moh_status alloc_batch(moh__contender *c, moh_error *err) {
  size_t n = n_rows(c);
  c->tokens = calloc(n, sizeof(int32_t));
  c->positions = calloc(n, sizeof(int32_t));
  c->targets = calloc(n, sizeof(int32_t));
  c->seq_start = calloc((size_t)c->n_seq + 1, sizeof(int32_t));
  c->weights = calloc(n, sizeof(real));
  c->loss = calloc(n, sizeof(real));
  if (!c->tokens || !c->positions || !c->targets || !c->seq_start ||
      !c->weights || !c->loss)
    return fail_memory(err);
  return MOH_OK;
}

/* Sequences of arbitrary tokens, each predicting another. */
static moh_status make_batch(moh__contender *c, moh_error *err) {
  MOH_TRY(alloc_batch(c, err));
  int32_t n = (int32_t)n_rows(c);
  int64_t vocabulary = c->model->config.vocab_size;
  for (int32_t i = 0; i < n; i++) {
    c->tokens[i] = (int32_t)(i * 7919LL % vocabulary);
    c->targets[i] = (int32_t)(i * 104729LL % vocabulary);
    c->positions[i] = i % c->context;
    c->weights[i] = (real)(1.0 / n);
  }
  for (int32_t s = 0; s <= c->n_seq; s++) c->seq_start[s] = s * c->context;
  c->last = n - 1;
  c->batch = (moh__batch){.n = n,
                          .tokens = c->tokens,
                          .positions = c->positions,
                          .n_seq = c->n_seq,
                          .seq_start = c->seq_start,
                          .n_out = n};
  return MOH_OK;
}

/* Rows as a norm gives them, of mean square 1, and gradients of what comes
 * out: rows as wide, or a gate for each head that a row uses. */
static moh_status make_rows(moh__contender *c, moh_error *err) {
  const moh__config *m = &c->config;
  int64_t width = m->d_model > m->n_heads ? m->d_model : m->n_heads;
  size_t n = n_rows(c) * (size_t)width;
  c->input = malloc(n * sizeof(real));
  c->d_output = malloc(n * sizeof(real));
  if (c->input == NULL || c->d_output == NULL) return fail_memory(err);
  moh__rng rng = moh__rng_make(1, MOH__STREAM_INIT);
  for (size_t i = 0; i < n; i++) {
    c->input[i] = (real)moh__rng_normal(&rng);
    c->d_output[i] = (real)(0.01 * moh__rng_normal(&rng));
  }
  return MOH_OK;
}

static moh_status open_tape(moh__contender *c, moh_error *err) {
  size_t bytes = 0;
  if (is_part(c)) MOH_TRY(make_rows(c, err));
  MOH_TRY(moh__contender_arena_bytes(c, &bytes, err));
  MOH_TRY(moh__arena_init(&c->arena, bytes, err));
  MOH_TRY(moh__tape_init(&c->tape, &c->arena, NULL, err));
  c->tape.masked = c->masked;
  return MOH_OK;
}

/* Decoding: all tokens but the last are in the cache. */
static moh_status open_session(moh__contender *c, moh__pool *pool,
                               moh__session **session, moh_error *err) {
  const real *logits;
  if (c->masked)
    MOH_TRY(
        moh__session_new_masked(session, c->model, pool, c->context, err));
  else
    MOH_TRY(moh__session_new(session, c->model, pool, c->context, err));
  if (c->work == MOH__BENCH_PREFILL || c->context == 1) return MOH_OK;
  MOH_TRY(moh__session_feed(*session, c->tokens, c->last, &logits, err));
  return moh__session_mark(*session, err);
}

moh_status moh__contender_open(moh__contender *c, moh__pool *const *pools,
                               int n_pools, int n_rounds, moh_error *err) {
  for (int i = 0; i < n_pools; i++) {
    c->samples[i] = calloc((size_t)n_rounds, sizeof(moh__sample));
    if (c->samples[i] == NULL) return fail_memory(err);
  }
  MOH_TRY(open_model(c, pools[0], err));
  MOH_TRY(make_batch(c, err));
  if (!has_session(c)) return open_tape(c, err);
  for (int i = 0; i < n_pools; i++)
    MOH_TRY(open_session(c, pools[i], &c->sessions[i], err));
  if (c->work == MOH__BENCH_PREFILL) return MOH_OK;
  return moh__contender_watch(c, err);
}

void moh__contender_close(moh__contender *c) {
  for (int i = 0; i < MOH__BENCH_POOLS_MAX; i++) {
    moh__session_free(c->sessions[i]);
    free(c->samples[i]);
  }
  moh__tape_free(&c->tape);
  moh__arena_free(&c->arena);
  if (c->twin == NULL) {
    moh__optimizer_free(c->optimizer);
    moh__model_free(c->model);
  }
  free(c->tokens);
  free(c->positions);
  free(c->targets);
  free(c->seq_start);
  free(c->weights);
  free(c->loss);
  free(c->input);
  free(c->d_output);
}

moh_status moh__contender_measure(const moh__contender *c,
                                  moh__contender_memory *memory,
                                  moh_error *err) {
  moh__model_bytes model = moh__model_measure(c->model);
  moh__session_bytes session = {0};
  *memory = (moh__contender_memory){.weights = model.data,
                                    .packed = model.packed,
                                    .work = (int64_t)c->arena.peak};
  if (c->model->grads != NULL) {
    memory->packed += model.packed_back;
    memory->gradients = model.grads;
  }
  if (c->optimizer != NULL) memory->moments = model.moments;
  if (!has_session(c)) return MOH_OK;
  MOH_TRY(moh__session_measure(c->model, c->context, &session, err));
  memory->cache = (int64_t)session.pages;
  memory->work = (int64_t)(session.gates + moh__session_peak(c->sessions[0]));
  return MOH_OK;
}

int64_t moh__contender_bytes(const moh__contender_memory *m) {
  return m->weights + m->packed + m->gradients + m->moments + m->cache +
         m->work;
}
