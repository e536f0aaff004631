/*
 * Heads by mass, in double: as many as written out by hand and by sorting,
 * gates with a token's own k, gradients with selection and k held constant, and
 * the entropy that makes routers sparse.
 */
#include <string.h>

#include "base/rng.h"
#include "route/balance.h"
#include "route/head_router.h"
#include "support/check.h"
#include "support/gradcheck.h"

enum { ROWS = 40, ROUTED = 6, SHARED = 2, HEADS = 8 };

static real logits[ROWS * ROUTED], d_logits[ROWS * ROUTED];
static unsigned char used[ROWS * HEADS];

static moh__router_shape shape_of(int min, int max, double mass) {
  return (moh__router_shape){.n_shared = SHARED,
                             .n_routed = ROUTED,
                             .k = max,
                             .scale = MOH__GATE_UNIT,
                             .n_optional = max - min,
                             .mass = mass};
}

static void fill(real *x, int n, double std, uint64_t seed) {
  moh__rng rng = moh__rng_make(seed, 5);
  for (int i = 0; i < n; i++) x[i] = std * moh__rng_normal(&rng);
}

static int count_routed(int row) {
  int n = 0;
  for (int i = SHARED; i < HEADS; i++) n += used[row * HEADS + i];
  return n;
}

/* ---- how many ---- */

/* ln of 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.03125: masses .5 .75 .875 ... */
static int heads_at(double mass, int min, int max) {
  static const double p[ROUTED] = {0.03125, 0.5,    0.125,
                                   0.25,    0.0625, 0.03125};
  moh__router_shape shape = shape_of(min, max, mass);
  for (int i = 0; i < ROUTED; i++) logits[i] = log(p[i]) + 3;
  moh__router_select(&shape, 1, logits, used);
  assert_true(used[0] && used[1]);
  int n = count_routed(0);
  for (int i = 0; i < ROUTED; i++) { /* the largest of them */
    static const int rank[ROUTED] = {4, 0, 2, 1, 3, 5};
    assert_int_equal(used[SHARED + i], rank[i] < n);
  }
  return n;
}

static void heads_are_taken_up_to_a_mass(void **state) {
  (void)state;
  assert_int_equal(heads_at(0.1, 1, 6), 1);
  assert_int_equal(heads_at(0.49, 1, 6), 1);
  assert_int_equal(heads_at(0.51, 1, 6), 2);
  assert_int_equal(heads_at(0.74, 1, 6), 2);
  assert_int_equal(heads_at(0.76, 1, 6), 3);
  assert_int_equal(heads_at(0.93, 1, 6), 4);
  assert_int_equal(heads_at(0.95, 1, 6), 5);
  assert_int_equal(heads_at(0.98, 1, 6), 6);
  assert_int_equal(heads_at(0.1, 3, 6), 3);  /* at least */
  assert_int_equal(heads_at(0.98, 1, 4), 4); /* at most */
  assert_int_equal(heads_at(0.1, 4, 4), 4);  /* a number */
}

static void nan_takes_the_most(void **state) {
  (void)state;
  moh__router_shape shape = shape_of(1, 3, 0.5);
  for (int i = 0; i < ROUTED; i++) logits[i] = i == 2 ? NAN : 0;
  moh__router_select(&shape, 1, logits, used);
  assert_int_equal(count_routed(0), 3);
  assert_int_equal(used[SHARED + 2], 0); /* it ranks last */
}

/* A token's heads are the masses below the limit, and more of them the higher
 * it is. */
static void masses_count_the_heads(void **state) {
  (void)state;
  real masses[ROWS * 4];
  int before[ROWS] = {0};
  fill(logits, ROWS * ROUTED, 1.5, 3);
  for (double mass = 0.05; mass <= 1; mass += 0.05) {
    moh__router_shape shape = shape_of(1, 5, mass);
    moh__router_select(&shape, ROWS, logits, used);
    moh__router_masses(&shape, ROWS, logits, masses);
    for (int t = 0; t < ROWS; t++) {
      int n = 1;
      for (int j = 0; j < 4; j++) n += masses[t * 4 + j] < mass;
      assert_int_equal(count_routed(t), n);
      assert_true(n >= before[t]);
      before[t] = n;
    }
  }
}

/* ---- gates ---- */

typedef struct bench {
  moh__router_shape shape;
  moh__router_logits logits;
  moh__plan plan;
  moh__arena arena;
  real gates[ROWS * HEADS], upstream[ROWS * HEADS];
} bench;

static real shared[ROWS * SHARED], d_shared[ROWS * SHARED];
static real mix[ROWS * 2], d_mix[ROWS * 2];

static void open_bench(bench *b, moh__gate_scale scale) {
  memset(b, 0, sizeof(*b));
  b->shape = shape_of(1, 5, 0.7);
  b->shape.scale = scale;
  b->logits = (moh__router_logits){shared, logits, mix};
  fill(logits, ROWS * ROUTED, 1.2, 1);
  fill(shared, ROWS * SHARED, 1, 2);
  fill(mix, ROWS * 2, 1, 3);
  fill(b->upstream, ROWS * HEADS, 1, 4);
  assert_int_equal(moh__arena_init(&b->arena, 1 << 16, NULL), MOH_OK);
  moh__router_select(&b->shape, ROWS, logits, used);
  moh__plan_new(&b->plan, &b->arena, ROWS, HEADS, ROWS * HEADS);
  moh__plan_fill(&b->plan, used);
}

static double gates_scalar(void *context) {
  bench *b = context;
  moh__router_gates(&b->shape, &b->logits, &b->plan, b->gates);
  double sum = 0;
  for (int32_t e = 0; e < moh__plan_entries(&b->plan); e++)
    sum += b->upstream[e] * b->gates[e];
  return sum;
}

/* 2 a_2 k_t p_i / sum of the selected p: their sum is 2 a_2 k_t. */
static void gates_have_the_tokens_own_number(void **state) {
  (void)state;
  bench b;
  bool differ = false;
  open_bench(&b, MOH__GATE_UNIT);
  gates_scalar(&b);
  for (int t = 0; t < ROWS; t++) {
    int k = count_routed(t);
    double a2 = 1 / (1 + exp(mix[2 * t] - mix[2 * t + 1])), sum = 0;
    for (int32_t x = b.plan.token_start[t]; x < b.plan.token_start[t + 1];
         x++)
      if (b.plan.candidate_of[x] >= SHARED)
        sum += b.gates[b.plan.entry_of[x]];
    assert_true(fabs(sum - 2 * a2 * k) < 1e-12);
    differ = differ || k != count_routed(0);
  }
  assert_true(differ);
  moh__arena_free(&b.arena);
}

static void gradients_are_exact(void **state) {
  (void)state;
  for (int scale = MOH__GATE_UNIT; scale <= MOH__GATE_PAPER; scale++) {
    bench b;
    open_bench(&b, (moh__gate_scale)scale);
    moh__router_logits grads = {d_shared, d_logits, d_mix};
    memset(d_logits, 0, sizeof(d_logits));
    memset(d_shared, 0, sizeof(d_shared));
    memset(d_mix, 0, sizeof(d_mix));
    moh__router_gates_grad(&b.shape, &b.logits, &b.plan, b.upstream, &grads);
    gradcheck_input inputs[] = {{"routed", logits, d_logits, ROWS * ROUTED},
                                {"shared", shared, d_shared, ROWS * SHARED},
                                {"mix", mix, d_mix, ROWS * 2}};
    assert_gradients(gates_scalar, &b, inputs, 3, 0, 1e-5);
    moh__arena_free(&b.arena);
  }
}

/* ---- sparsity ---- */

static double sparsity_scalar(void *context) {
  (void)context;
  return 0.7 * moh__sparsity_loss(logits, ROWS, ROUTED);
}

static void sparsity_is_the_mean_entropy(void **state) {
  (void)state;
  memset(logits, 0, sizeof(logits));
  assert_true(fabs(moh__sparsity_loss(logits, ROWS, ROUTED) - log(6)) <
              1e-12);
  for (int i = 0; i < ROUTED; i++) logits[i] = log(i < 2 ? 0.5 : 1e-300);
  assert_true(fabs(moh__sparsity_loss(logits, 1, ROUTED) - log(2)) < 1e-12);
  logits[0] = 1000; /* all of it on one head */
  assert_true(moh__sparsity_loss(logits, 1, ROUTED) == 0);
  assert_true(moh__sparsity_loss(logits, 0, ROUTED) == 0);
  static const double stds[] = {0.05, 1, 5};
  for (int s = 0; s < 3; s++) {
    fill(logits, ROWS * ROUTED, stds[s], 8);
    memset(d_logits, 0, sizeof(d_logits));
    moh__sparsity_loss_grad(logits, ROWS, ROUTED, 0.7, d_logits);
    gradcheck_input input = {"logits", logits, d_logits, ROWS * ROUTED};
    assert_gradients(sparsity_scalar, NULL, &input, 1, 0, 1e-5);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(heads_are_taken_up_to_a_mass),
      cmocka_unit_test(nan_takes_the_most),
      cmocka_unit_test(masses_count_the_heads),
      cmocka_unit_test(gates_have_the_tokens_own_number),
      cmocka_unit_test(gradients_are_exact),
      cmocka_unit_test(sparsity_is_the_mean_entropy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
