/*
 * Decoding on one thread: W_Q (2048 outputs, 32 heads of 64) and W_O of the
 * same size times 1 to 8 tokens, through the ops that models use, with all
 * heads and with the first 24 and 16 of 32. Weights lie in memory, not in the
 * cache: eight of them take turns. Share of the read bandwidth of this thread,
 * and time against all heads.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/block.h"
#include "contest.h"
#include "op/op.h"
#include "sections.h"

enum {
  D = 2048,
  HEADS = 32,
  N_WEIGHTS = 8,
  ARENA_BYTES = 16 << 20,
  READ_BYTES = 256 << 20
};

typedef struct subject {
  bool scattered;
  int tokens, active;
  moh__arena arena;
  moh__tape tape;
  moh__param *weights; /* [N_WEIGHTS] */
  const float *input;
} subject;

static void must(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "decoding: %s\n", err->message);
  exit(1);
}

/* ---- the read bandwidth ---- */

static volatile float sink;

static void run_read(void *context) {
  const float *x = context;
  sink = moh__kernel()->sum(x, READ_BYTES / 4);
}

/* ---- projections ---- */

static void run_products(void *context) {
  subject *s = context;
  for (int i = 0; i < N_WEIGHTS; i++) {
    moh__tape_reset(&s->tape, false);
    moh__plan plan;
    moh__plan_first(&plan, &s->arena, s->tokens, HEADS, s->active);
    moh__tensor x = {.v = (float *)s->input, .rows = s->tokens, .cols = D};
    if (s->scattered) {
      x.rows = moh__plan_entries(&plan);
      x.cols = D / HEADS;
      moh__op_scattered_linear(&s->tape, &x, &s->weights[i], &plan);
    } else {
      moh__op_gathered_linear(&s->tape, &x, &s->weights[i], &plan);
    }
  }
}

static moh__param make_weight(bool scattered, moh__precision precision,
                              const float *data, moh__pool *pool) {
  moh__param w = {
      .n_dims = 2,
      .shape = {D, D},
      .n = (int64_t)D * D,
      .grouping = scattered ? MOH__PACK_INPUTS : MOH__PACK_OUTPUTS,
      .n_groups = HEADS,
      .precision = precision,
      .data = (float *)data};
  w.packed = moh__block_alloc((size_t)moh__param_packed_bytes(&w));
  if (w.packed == NULL) exit(1);
  moh__param_pack(&w, pool);
  return w;
}

static void open_subject(subject *s, moh__pool *pool) {
  moh_error err;
  must(moh__arena_init(&s->arena, ARENA_BYTES, &err), &err);
  must(moh__tape_init(&s->tape, &s->arena, pool, &err), &err);
}

static void close_subject(subject *s) {
  moh__tape_free(&s->tape);
  moh__arena_free(&s->arena);
}

/* One line: a matrix, a precision, a number of tokens. */
static void bench_tokens(const bench_options *o, moh__param *weights,
                         bool scattered, int tokens, const float *memory,
                         moh__pool *pool) {
  static const int active[] = {HEADS, HEADS * 3 / 4, HEADS / 2};
  subject s[3];
  contest c = {0};
  double bytes = (double)moh__param_packed_bytes(weights) * N_WEIGHTS;
  for (int i = 0; i < 3; i++) {
    s[i] = (subject){.scattered = scattered,
                     .tokens = tokens,
                     .active = active[i],
                     .weights = weights,
                     .input = memory};
    open_subject(&s[i], pool);
    contest_add(&c, "", run_products, &s[i], bytes * active[i] / HEADS);
  }
  int read = contest_add(&c, "", run_read, (void *)memory, READ_BYTES);
  contest_run(&c, o->n_rounds);
  printf(
      "  %s %s, %d token%s  %7.3f ms  %5.1f GB/s, %4.0f %% of reading   "
      "24 heads: %.3f   16: %.3f\n",
      scattered ? "W_O" : "W_Q", moh__precision_names[weights->precision],
      tokens, tokens == 1 ? " " : "s",
      1e3 * contest_seconds(&c, 0) / N_WEIGHTS, contest_rate(&c, 0),
      100 * contest_rate(&c, 0) / contest_rate(&c, read),
      contest_ratio(&c, 1, 0), contest_ratio(&c, 2, 0));
  for (int i = 0; i < 3; i++) close_subject(&s[i]);
}

static void bench_matrix(const bench_options *o, bool scattered,
                         moh__precision precision, const float *memory,
                         moh__pool *pool) {
  static const int tokens[] = {1, 2, 4, 8};
  moh__param weights[N_WEIGHTS];
  for (int i = 0; i < N_WEIGHTS; i++)
    weights[i] = make_weight(scattered, precision, memory, pool);
  for (int i = 0; i < 4; i++)
    bench_tokens(o, weights, scattered, tokens[i], memory, pool);
  for (int i = 0; i < N_WEIGHTS; i++) free(weights[i].packed);
}

void bench_decoding(const bench_options *o) {
  moh_error err;
  moh__pool *pool;
  must(moh__pool_new(&pool, 1, &err), &err);
  float *memory = moh__block_alloc(READ_BYTES);
  if (memory == NULL) exit(1);
  for (int64_t i = 0; i < READ_BYTES / 4; i++) memory[i] = 1e-3f;
  printf("\ndecoding, %d to %d, %d heads\n", D, D, HEADS);
  for (int precision = 0; precision < 2; precision++)
    for (int scattered = 0; scattered < 2; scattered++)
      bench_matrix(o, scattered, (moh__precision)precision, memory, pool);
  free(memory);
  moh__pool_free(pool);
}
