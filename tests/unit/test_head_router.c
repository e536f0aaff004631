/*
 * The head router in double: gates against their formulas written out, and
 * gradients of all gate scales and edge shapes by central differences.
 */
#include <string.h>

#include "base/rng.h"
#include "route/head_router.h"
#include "support/check.h"
#include "support/gradcheck.h"

enum { N_TOKENS = 4, MAX_HEADS = 8, MAX_ENTRIES = N_TOKENS * MAX_HEADS };

/* A router at work: logits, its plan, and weights of a scalar of its gates.
 */
typedef struct bench {
  moh__router_shape shape;
  moh__router_logits logits, grads;
  real shared[N_TOKENS * MAX_HEADS], d_shared[N_TOKENS * MAX_HEADS];
  real routed[N_TOKENS * MAX_HEADS], d_routed[N_TOKENS * MAX_HEADS];
  real mix[N_TOKENS * 2], d_mix[N_TOKENS * 2];
  unsigned char used[MAX_ENTRIES];
  moh__plan plan;
  moh__arena arena;
  real gates[MAX_ENTRIES];
  real upstream[MAX_ENTRIES];
} bench;

static void fill_normal(real *x, int n, double std, uint64_t seed) {
  moh__rng rng = moh__rng_make(seed, 5);
  for (int i = 0; i < n; i++) x[i] = std * moh__rng_normal(&rng);
}

static void select_heads(bench *b) {
  int32_t heads = b->shape.n_shared + b->shape.n_routed;
  moh__router_select(&b->shape, N_TOKENS, b->routed, b->used);
  moh__arena_release(&b->arena, 0);
  moh__plan_new(&b->plan, &b->arena, N_TOKENS, heads, N_TOKENS * heads);
  moh__plan_fill(&b->plan, b->used);
}

static void bench_open(bench *b, moh__router_shape shape, double std) {
  memset(b, 0, sizeof(*b));
  b->shape = shape;
  fill_normal(b->shared, N_TOKENS * MAX_HEADS, std, 1);
  fill_normal(b->routed, N_TOKENS * MAX_HEADS, std, 2);
  fill_normal(b->mix, N_TOKENS * 2, std, 3);
  fill_normal(b->upstream, MAX_ENTRIES, 1, 4);
  if (moh__router_has_shared(&shape)) b->logits.shared = b->shared;
  if (moh__router_has_routed(&shape)) b->logits.routed = b->routed;
  if (moh__router_has_mix(&shape)) b->logits.mix = b->mix;
  if (moh__router_has_shared(&shape)) b->grads.shared = b->d_shared;
  if (moh__router_has_routed(&shape)) b->grads.routed = b->d_routed;
  if (moh__router_has_mix(&shape)) b->grads.mix = b->d_mix;
  assert_int_equal(moh__arena_init(&b->arena, 1 << 16, NULL), MOH_OK);
  select_heads(b);
}

static void bench_close(bench *b) { moh__arena_free(&b->arena); }

/* sum over entries of upstream * gate */
static double gates_scalar(void *context) {
  bench *b = context;
  moh__router_gates(&b->shape, &b->logits, &b->plan, b->gates);
  double sum = 0;
  for (int32_t e = 0; e < moh__plan_entries(&b->plan); e++)
    sum += b->upstream[e] * b->gates[e];
  return sum;
}

static int list_inputs(bench *b, gradcheck_input inputs[3]) {
  int n = 0;
  if (b->logits.shared != NULL)
    inputs[n++] = (gradcheck_input){"shared logits", b->shared, b->d_shared,
                                    N_TOKENS * b->shape.n_shared};
  if (b->logits.routed != NULL)
    inputs[n++] = (gradcheck_input){"routed logits", b->routed, b->d_routed,
                                    N_TOKENS * b->shape.n_routed};
  if (b->logits.mix != NULL)
    inputs[n++] =
        (gradcheck_input){"mix logits", b->mix, b->d_mix, N_TOKENS * 2};
  return n;
}

/* n_shared 0, 1, 2, all; k 0, 1, some, all. */
#define UNIT(shared, routed, most)                           \
  {                                                          \
    .n_shared = (shared), .n_routed = (routed), .k = (most), \
    .scale = MOH__GATE_UNIT                                  \
  }
static const moh__router_shape shapes[] = {
    UNIT(2, 6, 4), UNIT(2, 6, 0), UNIT(2, 6, 1), UNIT(2, 6, 6), UNIT(0, 8, 3),
    UNIT(0, 8, 1), UNIT(0, 8, 8), UNIT(1, 7, 3), UNIT(1, 7, 0), UNIT(8, 0, 0),
    UNIT(1, 1, 1), UNIT(3, 5, 2), UNIT(0, 4, 0),
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void check_gradients(moh__gate_scale scale, double std) {
  for (int i = 0; i < N_SHAPES; i++) {
    bench b;
    moh__router_shape shape = shapes[i];
    shape.scale = scale;
    bench_open(&b, shape, std);
    moh__router_gates_grad(&shape, &b.logits, &b.plan, b.upstream,
                           &b.grads);
    gradcheck_input inputs[3];
    int n = list_inputs(&b, inputs);
    assert_gradients(gates_scalar, &b, inputs, n, 0, 1e-5);
    bench_close(&b);
  }
}

static void unit_gradients_are_exact(void **state) {
  (void)state;
  check_gradients(MOH__GATE_UNIT, 0.05);
  check_gradients(MOH__GATE_UNIT, 1);
  check_gradients(MOH__GATE_UNIT, 5);
}

static void paper_gradients_are_exact(void **state) {
  (void)state;
  check_gradients(MOH__GATE_PAPER, 0.05);
  check_gradients(MOH__GATE_PAPER, 1);
  check_gradients(MOH__GATE_PAPER, 5);
}

/* Shared experts have a weight of 1 and no logits. */
static void expert_gradients_are_exact(void **state) {
  (void)state;
  check_gradients(MOH__GATE_EXPERT, 0.05);
  check_gradients(MOH__GATE_EXPERT, 1);
  check_gradients(MOH__GATE_EXPERT, 5);
}

/* softmax(routed logits of token t)_i, written out. */
static double probability(const real *logits, int32_t n, int32_t i) {
  double sum = 0;
  for (int32_t j = 0; j < n; j++) sum += exp(logits[j]);
  return exp(logits[i]) / sum;
}

/* Scale "one": the gradient is that of sum dg_i p_i over the selected. */
static double straight_through_scalar(void *context) {
  bench *b = context;
  double sum = 0;
  for (int32_t t = 0; t < N_TOKENS; t++) {
    const real *l = b->routed + t * b->shape.n_routed;
    for (int32_t x = b->plan.token_start[t]; x < b->plan.token_start[t + 1];
         x++) {
      int32_t i = b->plan.candidate_of[x] - b->shape.n_shared;
      if (i >= 0)
        sum += b->upstream[b->plan.entry_of[x]] *
               probability(l, b->shape.n_routed, i);
    }
  }
  return sum;
}

static void one_passes_gradients_straight_through(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    bench b;
    moh__router_shape shape = shapes[i];
    shape.scale = MOH__GATE_ONE;
    bench_open(&b, shape, 1);
    moh__router_gates(&shape, &b.logits, &b.plan, b.gates);
    for (int32_t e = 0; e < moh__plan_entries(&b.plan); e++)
      assert_true(b.gates[e] == 1);
    moh__router_gates_grad(&shape, &b.logits, &b.plan, b.upstream,
                           &b.grads);
    gradcheck_input inputs[3];
    int n = list_inputs(&b, inputs); /* shared and mix: exactly 0 */
    assert_gradients(straight_through_scalar, &b, inputs, n, 0, 1e-5);
    bench_close(&b);
  }
}

/* Gradients add to what is there, and NULL ones are left out. */
static void gradients_accumulate(void **state) {
  (void)state;
  bench b;
  bench_open(&b, shapes[0], 1);
  moh__router_gates_grad(&b.shape, &b.logits, &b.plan, b.upstream,
                         &b.grads);
  real once = b.d_routed[3];
  assert_true(once != 0);
  b.grads.shared = NULL;
  real shared = b.d_shared[1];
  moh__router_gates_grad(&b.shape, &b.logits, &b.plan, b.upstream,
                         &b.grads);
  assert_true(fabs(b.d_routed[3] - 2 * once) < 1e-15);
  assert_true(b.d_shared[1] == shared);
  bench_close(&b);
}

/* Equations of head_router.h for one token, written out once more. */
static double expected_gate(const bench *b, int32_t t, int32_t head) {
  const moh__router_shape *s = &b->shape;
  bool unit = s->scale == MOH__GATE_UNIT;
  double a[2] = {unit ? 0.5 : 1, unit ? 0.5 : 1};
  if (s->n_shared > 0)
    for (int i = 0; i < 2; i++) a[i] = probability(b->mix + 2 * t, 2, i);
  if (head < s->n_shared) {
    const real *l = b->shared + t * s->n_shared;
    double p = s->n_shared == 1 ? 1 : probability(l, s->n_shared, head);
    return unit ? 2 * a[0] * s->n_shared * p : a[0] * p;
  }
  const real *l = b->routed + t * s->n_routed;
  double p = probability(l, s->n_routed, head - s->n_shared);
  double chosen = 0;
  for (int32_t i = 0; i < s->n_routed; i++)
    if (b->used[t * (s->n_shared + s->n_routed) + s->n_shared + i])
      chosen += probability(l, s->n_routed, i);
  return unit ? 2 * a[1] * s->k * p / chosen : a[1] * p;
}

static void gates_follow_their_formulas(void **state) {
  (void)state;
  for (int i = 0; i < 2 * N_SHAPES; i++) {
    bench b;
    moh__router_shape shape = shapes[i / 2];
    shape.scale = i % 2 == 0 ? MOH__GATE_UNIT : MOH__GATE_PAPER;
    bench_open(&b, shape, 1);
    moh__router_gates(&shape, &b.logits, &b.plan, b.gates);
    for (int32_t t = 0; t < N_TOKENS; t++)
      for (int32_t x = b.plan.token_start[t]; x < b.plan.token_start[t + 1];
           x++) {
        double g = expected_gate(&b, t, b.plan.candidate_of[x]);
        assert_true(fabs(b.gates[b.plan.entry_of[x]] - g) < 1e-14);
      }
    bench_close(&b);
  }
}

/* sum of a token's unit gates = 2 (a_1 n_shared + a_2 k). */
static void unit_gates_sum_to_the_active_heads(void **state) {
  (void)state;
  bench b;
  bench_open(&b, shapes[0], 1);
  memset(b.mix, 0, sizeof(b.mix));
  moh__router_gates(&b.shape, &b.logits, &b.plan, b.gates);
  for (int32_t t = 0; t < N_TOKENS; t++) {
    double sum = 0;
    for (int32_t x = b.plan.token_start[t]; x < b.plan.token_start[t + 1];
         x++)
      sum += b.gates[b.plan.entry_of[x]];
    assert_true(fabs(sum - 6) < 1e-14);
  }
  bench_close(&b);
}

static void shared_heads_and_exactly_k_others(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    bench b;
    bench_open(&b, shapes[i], 1);
    int32_t heads = b.shape.n_shared + b.shape.n_routed;
    for (int32_t t = 0; t < N_TOKENS; t++) {
      const unsigned char *used = b.used + t * heads;
      int32_t total = 0;
      for (int32_t h = 0; h < heads; h++) total += used[h];
      for (int32_t h = 0; h < b.shape.n_shared; h++)
        assert_int_equal(used[h], 1);
      assert_int_equal(total, b.shape.n_shared + b.shape.k);
    }
    bench_close(&b);
  }
}

/* exp(l_i) over the sum of those of the selected; 1 when it is alone. */
static void expert_weights_are_the_softmax_of_the_selected(void **state) {
  (void)state;
  for (int i = 0; i < N_SHAPES; i++) {
    bench b;
    moh__router_shape shape = shapes[i];
    shape.scale = MOH__GATE_EXPERT;
    bench_open(&b, shape, 1);
    assert_true(b.logits.shared == NULL && b.logits.mix == NULL);
    moh__router_gates(&shape, &b.logits, &b.plan, b.gates);
    for (int32_t t = 0; t < N_TOKENS; t++) {
      const real *l = b.routed + t * shape.n_routed;
      const unsigned char *used =
          b.used + t * (shape.n_shared + shape.n_routed);
      double sum = 0;
      for (int32_t e = 0; e < shape.n_routed; e++)
        if (used[shape.n_shared + e]) sum += exp(l[e]);
      for (int32_t x = b.plan.token_start[t]; x < b.plan.token_start[t + 1];
           x++) {
        int32_t e = b.plan.candidate_of[x] - shape.n_shared;
        real weight = b.gates[b.plan.entry_of[x]];
        if (e < 0 || shape.k == 1)
          assert_true(weight == 1);
        else
          assert_true(fabs(weight - exp(l[e]) / sum) < 1e-14);
      }
    }
    bench_close(&b);
  }
}

static void large_logits_stay_finite(void **state) {
  (void)state;
  for (int scale = MOH__GATE_UNIT; scale <= MOH__GATE_EXPERT; scale++) {
    bench b;
    moh__router_shape shape = shapes[0];
    shape.scale = (moh__gate_scale)scale;
    bench_open(&b, shape, 1);
    for (int i = 0; i < N_TOKENS * MAX_HEADS; i++) {
      b.routed[i] = 1000 + i % 3;
      b.shared[i] = -1000 - i % 3;
    }
    for (int i = 0; i < N_TOKENS * 2; i++) b.mix[i] = i % 2 ? 1e4 : -1e4;
    select_heads(&b);
    assert_true(isfinite(gates_scalar(&b)));
    moh__router_gates_grad(&shape, &b.logits, &b.plan, b.upstream,
                           &b.grads);
    for (int i = 0; i < N_TOKENS * 6; i++)
      assert_true(isfinite(b.d_routed[i]));
    for (int i = 0; i < N_TOKENS * 2; i++) {
      assert_true(isfinite(b.d_shared[i]));
      assert_true(isfinite(b.d_mix[i]));
    }
    bench_close(&b);
  }
}

/* Unselected heads get a gradient in "paper" (they share the softmax), none
 * in "unit" (only the selected are compared). */
static void unselected_heads_and_the_gate_scale(void **state) {
  (void)state;
  for (int scale = MOH__GATE_UNIT; scale <= MOH__GATE_PAPER; scale++) {
    bench b;
    moh__router_shape shape = shapes[0];
    shape.scale = (moh__gate_scale)scale;
    bench_open(&b, shape, 1);
    moh__router_gates_grad(&shape, &b.logits, &b.plan, b.upstream,
                           &b.grads);
    for (int32_t t = 0; t < N_TOKENS; t++)
      for (int32_t i = 0; i < 6; i++)
        if (!b.used[t * 8 + 2 + i])
          assert_int_equal(b.d_routed[t * 6 + i] != 0,
                           scale == MOH__GATE_PAPER);
    bench_close(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unit_gradients_are_exact),
      cmocka_unit_test(paper_gradients_are_exact),
      cmocka_unit_test(expert_gradients_are_exact),
      cmocka_unit_test(one_passes_gradients_straight_through),
      cmocka_unit_test(gradients_accumulate),
      cmocka_unit_test(gates_follow_their_formulas),
      cmocka_unit_test(unit_gates_sum_to_the_active_heads),
      cmocka_unit_test(shared_heads_and_exactly_k_others),
      cmocka_unit_test(expert_weights_are_the_softmax_of_the_selected),
      cmocka_unit_test(large_logits_stay_finite),
      cmocka_unit_test(unselected_heads_and_the_gate_scale),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
