/*
 * The projections of a routed layer on one thread, through the ops that
 * models use: queries gathered (Q), outputs scattered (O), and their
 * backward, with 75 % and 50 % of 8 heads (2 shared, the others at random)
 * against all heads. dW is what the whole of backward takes longer than with
 * a frozen weight.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "contest.h"
#include "op/op.h"
#include "sections.h"

enum { T = 1024, D = 512, HEADS = 8, SHARED = 2, D_HEAD = 64 };
enum { N_PLANS = 3, ARENA_BYTES = 64 << 20 };

/* One op over one plan, recorded, so that backward can run over and over. */
typedef struct subject {
  bool scattered;
  moh__arena arena;
  moh__tape tape;
  moh__tensor *x;
  moh__param *w;
  moh__plan plan;
  moh__arena plan_arena;
} subject;

static void must(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "gathered: %s\n", err->message);
  exit(1);
}

/* k of the routed heads of every token; k < 0: all heads, in order. */
static void make_plan(subject *s, int k) {
  static unsigned char used[T * HEADS];
  moh_error err;
  moh__rng rng = moh__rng_make(4, 0);
  must(moh__arena_init(&s->plan_arena, 1 << 20, &err), &err);
  if (k < 0) {
    moh__plan_first(&s->plan, &s->plan_arena, T, HEADS, HEADS);
    return;
  }
  memset(used, 0, sizeof used);
  for (int t = 0; t < T; t++) {
    for (int h = 0; h < SHARED; h++) used[t * HEADS + h] = 1;
    for (int n = 0; n < k;) {
      int h = SHARED + (int)moh__rng_below(&rng, HEADS - SHARED);
      n += used[t * HEADS + h] == 0;
      used[t * HEADS + h] = 1;
    }
  }
  moh__plan_new(&s->plan, &s->plan_arena, T, HEADS, T * (SHARED + k));
  moh__plan_fill(&s->plan, used);
}

static moh__param make_weight(bool scattered, moh__pool *pool) {
  moh__param w = {
      .n_dims = 2,
      .shape = {D, D},
      .n = (int64_t)D * D,
      .grouping = scattered ? MOH__PACK_INPUTS : MOH__PACK_OUTPUTS,
      .n_groups = HEADS};
  w.data = random_floats(w.n);
  w.grad = random_floats(w.n);
  w.packed = random_floats(moh__param_packed_bytes(&w) / 4);
  w.packed_back = random_floats(moh__param_packed_back_bytes(&w) / 4);
  moh__param_pack(&w, pool);
  return w;
}

static moh__tensor *apply(subject *s) {
  if (s->scattered)
    return moh__op_scattered_linear(&s->tape, s->x, s->w, &s->plan);
  return moh__op_gathered_linear(&s->tape, s->x, s->w, &s->plan);
}

static void make_subject(subject *s, bool scattered, int k, moh__param *w,
                         moh__pool *pool) {
  moh_error err;
  *s = (subject){.scattered = scattered, .w = w};
  make_plan(s, k);
  must(moh__arena_init(&s->arena, ARENA_BYTES, &err), &err);
  must(moh__tape_init(&s->tape, &s->arena, pool, &err), &err);
  moh__tape_reset(&s->tape, true);
  int64_t rows = scattered ? moh__plan_entries(&s->plan) : T;
  s->x = moh__tape_tensor(&s->tape, rows, scattered ? D_HEAD : D);
  memcpy(s->x->v, w->data, (size_t)(rows * s->x->cols) * sizeof(float) / 2);
  apply(s);
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

static void run_inputs_grad(void *context) {
  subject *s = context;
  s->w->flags |= MOH__PARAM_FROZEN;
  moh__tape_backward(&s->tape);
  s->w->flags &= ~(unsigned)MOH__PARAM_FROZEN;
}

enum { FORWARD, BACKWARD, INPUTS, N_KINDS };

static void print_kind(const char *what, const double *seconds,
                       const bench_options *o) {
  double flops = 2.0 * T * D * D;
  printf("  %-16s %8.3f ms  %5.1f %% of peak   75 %%: %.3f   50 %%: %.3f\n",
         what, 1e3 * seconds[0], 100 * flops / seconds[0] * 1e-9 / o->peak,
         seconds[1] / seconds[0], seconds[2] / seconds[0]);
}

static void bench_op(const bench_options *o, bool scattered,
                     moh__pool *pool) {
  static run_fn *const runs[N_KINDS] = {run_forward, run_backward,
                                        run_inputs_grad};
  static const int active[N_PLANS] = {-1, 4, 2};
  subject subjects[N_PLANS];
  contest c = {0};
  double seconds[N_KINDS + 1][N_PLANS];
  moh__param w = make_weight(scattered, pool);
  for (int p = 0; p < N_PLANS; p++)
    make_subject(&subjects[p], scattered, active[p], &w, pool);
  for (int kind = 0; kind < N_KINDS; kind++)
    for (int p = 0; p < N_PLANS; p++)
      contest_add(&c, "", runs[kind], &subjects[p], 0);
  contest_run(&c, o->n_rounds);
  for (int i = 0; i < N_KINDS * N_PLANS; i++)
    seconds[i / N_PLANS][i % N_PLANS] = contest_seconds(&c, i);
  for (int p = 0; p < N_PLANS; p++)
    seconds[N_KINDS][p] = seconds[BACKWARD][p] - seconds[INPUTS][p];
  print_kind(scattered ? "O, scattered" : "Q, gathered", seconds[FORWARD], o);
  print_kind("  dX", seconds[INPUTS], o);
  print_kind("  dW", seconds[N_KINDS], o);
}

void bench_gathered(const bench_options *o) {
  moh_error err;
  moh__pool *pool;
  must(moh__pool_new(&pool, 1, &err), &err);
  printf("\nprojections, T %d, d %d, %d heads; ratios to all heads\n", T, D,
         HEADS);
  bench_op(o, false, pool);
  bench_op(o, true, pool);
  moh__pool_free(pool);
}
