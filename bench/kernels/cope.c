/*
 * Contextual positions on one thread, through the ops that models use: causal
 * attention of 8 heads of 64, forward and backward, with 64 positions (gates
 * are about a half, so that 126 keys reach the last) and with more than are
 * ever reached, against attention without positions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "op/op.h"
#include "sections.h"

enum { HEADS = 8, D = 64, KINDS = 3 };

/* One op, recorded, so that backward can run over and over. */
typedef struct subject {
  moh__arena arena;
  moh__tape tape;
  moh__plan plan;
  moh__batch batch;
  moh__tensor *q, *k, *v;
  moh__param table; /* no positions: no attention to them */
} subject;

static void must(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "cope: %s\n", err->message);
  exit(1);
}

static moh__param make_table(int64_t n_positions, moh__pool *pool) {
  moh__param w = {.n_dims = 3,
                  .shape = {HEADS, n_positions, D},
                  .n = HEADS * n_positions * D,
                  .grouping = MOH__PACK_OUTPUTS,
                  .n_groups = HEADS};
  w.data = random_floats(w.n);
  w.grad = random_floats(w.n);
  w.packed = random_floats(moh__param_packed_bytes(&w) / 4);
  w.packed_back = random_floats(moh__param_packed_back_bytes(&w) / 4);
  moh__param_pack(&w, pool);
  return w;
}

static moh__batch make_batch(int32_t n) {
  int32_t *positions = calloc((size_t)n, sizeof(int32_t));
  int32_t *start = calloc(2, sizeof(int32_t));
  for (int32_t i = 0; i < n; i++) positions[i] = i;
  start[1] = n;
  return (moh__batch){
      .n = n, .positions = positions, .n_seq = 1, .seq_start = start};
}

static moh__tensor *apply(subject *s) {
  moh__attention_args args = {.plan = &s->plan,
                              .batch = &s->batch,
                              .n_heads = HEADS,
                              .n_kv_heads = HEADS,
                              .d_head = D};
  if (s->table.n == 0)
    return moh__op_attention(&s->tape, s->q, s->k, s->v, &args);
  return moh__op_attention_cope(&s->tape, s->q, s->k, s->v, &s->table, &args);
}

static moh__tensor *random_tensor(subject *s, int64_t rows, int64_t cols) {
  moh__tensor *x = moh__tape_tensor(&s->tape, rows, cols);
  size_t size = (size_t)(rows * cols) * sizeof(float);
  memcpy(x->v, random_floats(rows * cols), size);
  return x;
}

static void make_subject(subject *s, int32_t n_tokens, int64_t n_positions,
                         moh__pool *pool) {
  moh_error err;
  *s = (subject){.batch = make_batch(n_tokens)};
  if (n_positions > 0) s->table = make_table(n_positions, pool);
  must(moh__arena_init(&s->arena, (size_t)256 << 20, &err), &err);
  must(moh__tape_init(&s->tape, &s->arena, pool, &err), &err);
  moh__tape_reset(&s->tape, true);
  moh__plan_first(&s->plan, &s->arena, n_tokens, HEADS, HEADS);
  s->q = random_tensor(s, (int64_t)n_tokens * HEADS, D);
  s->k = random_tensor(s, n_tokens, (int64_t)HEADS * D);
  s->v = random_tensor(s, n_tokens, (int64_t)HEADS * D);
  moh__tensor *o = apply(s);
  memcpy(o->g, s->q->v, (size_t)(o->rows * o->cols) * sizeof(float));
}

static void apply_only(void *context) { apply(context); }

static void run_forward(void *context) {
  subject *s = context;
  forward_again(&s->tape, apply_only, s);
}

static void run_backward(void *context) {
  subject *s = context;
  moh__tape_backward(&s->tape);
}

static void bench_length(const bench_options *o, int32_t n_tokens,
                         moh__pool *pool) {
  static const char *const names[KINDS] = {"no positions", "64 positions",
                                           "none clamped"};
  const int64_t positions[KINDS] = {0, 64, n_tokens};
  static subject subjects[KINDS];
  contest c = {0};
  for (int i = 0; i < KINDS; i++)
    make_subject(&subjects[i], n_tokens, positions[i], pool);
  for (int i = 0; i < KINDS; i++)
    contest_add(&c, names[i], run_forward, &subjects[i], 0);
  for (int i = 0; i < KINDS; i++)
    contest_add(&c, names[i], run_backward, &subjects[i], 0);
  contest_run(&c, o->n_rounds);
  printf("T = %d\n", n_tokens);
  for (int i = 0; i < KINDS; i++) {
    int b = KINDS + i;
    printf("  %-14s forward %8.2f ms (%.2f)   backward %8.2f ms (%.2f)\n",
           names[i], 1e3 * contest_seconds(&c, i), contest_ratio(&c, i, 0),
           1e3 * contest_seconds(&c, b), contest_ratio(&c, b, KINDS));
    moh__tape_free(&subjects[i].tape);
    moh__arena_free(&subjects[i].arena);
  }
}

void bench_cope(const bench_options *o) {
  moh_error err;
  moh__pool *pool;
  must(moh__pool_new(&pool, 1, &err), &err);
  printf("\ncontextual positions, %d heads of %d; ratios to none\n", HEADS,
         D);
  bench_length(o, 512, pool);
  bench_length(o, 2048, pool);
  moh__pool_free(pool);
}
