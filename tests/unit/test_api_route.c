/*
 * Routing by itself through moh.h: the seed's examples, formulas written
 * out, the router against the op of the models bit for bit, its gradients
 * against differences along a direction, and wrong arguments.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "op/op.h"
#include "support/api.h"

enum { D = 12, N_SHARED = 2, N_ROUTED = 5, K = 2, ROWS = 9, HEADS = 7 };
enum { N_ENTRIES = ROWS * (N_SHARED + K) };

static void fill_normal(float *x, int n, uint64_t seed) {
  moh__rng rng = moh__rng_make(seed, 5);
  for (int i = 0; i < n; i++) x[i] = (float)moh__rng_normal(&rng);
}

/* ---- utilities ---- */

static void top_k_ranks_rows(void **state) {
  (void)state;
  moh_error err;
  const float scores[] = {.1F, .5F, .3F, .4F, .2F, .6F, .7F, NAN, .7F};
  int32_t best[9];
  unsigned char selected[9];
  must(moh_top_k(scores, 3, 3, 2, best, selected, &err), &err);
  const int32_t expected[] = {1, 2, 2, 0, 0, 2};
  const unsigned char marks[] = {0, 1, 1, 1, 0, 1, 1, 0, 1};
  assert_memory_equal(best, expected, sizeof(expected));
  assert_memory_equal(selected, marks, sizeof(marks));
  must(moh_top_k(scores, 3, 3, 8, best, NULL, &err), &err);
  const int32_t all[] = {1, 2, 0, 2, 0, 1, 0, 2, 1};
  assert_memory_equal(best, all, sizeof(all));
  must(moh_top_k(scores, 3, 3, 0, NULL, selected, &err), &err);
  for (int i = 0; i < 9; i++) assert_int_equal(selected[i], 0);
  refused(moh_top_k(NULL, 3, 3, 1, best, NULL, &err), &err, "scores");
  refused(moh_top_k(scores, 0, 3, 1, best, NULL, &err), &err, "0 of 3");
  refused(moh_top_k(scores, 3, 3, -1, best, NULL, &err), &err, "-1");
}

static void softmax_and_its_gradient(void **state) {
  (void)state;
  moh_error err;
  float logits[] = {1000, 1001, 1002, -1, 0, .5F};
  float p[6], sum[2] = {0, 0};
  must(moh_softmax(logits, 2, 3, p, &err), &err);
  for (int i = 0; i < 6; i++) sum[i / 3] += p[i];
  assert_true(fabsf(sum[0] - 1) < 1e-6F && fabsf(sum[1] - 1) < 1e-6F);
  assert_true(fabs((double)p[2] - 1 / (1 + exp(-1) + exp(-2))) < 1e-6);
  const float d_p[] = {1, 0, 2, 3, -1, 1};
  float d[6] = {10, 10, 10, 10, 10, 10}; /* gradients are added */
  must(moh_softmax_grad(p, d_p, 2, 3, d, &err), &err);
  for (int row = 0; row < 2; row++)
    for (int i = 3 * row; i < 3 * row + 3; i++) {
      double expected = 10;
      for (int j = 3 * row; j < 3 * row + 3; j++)
        expected +=
            (double)d_p[j] * (double)p[j] * ((i == j) - (double)p[i]);
      assert_true(fabs((double)d[i] - expected) < 1e-5);
    }
  must(moh_softmax(logits, 2, 3, logits, &err), &err); /* in place */
  assert_memory_equal(logits, p, sizeof(p));
  refused(moh_softmax(logits, 2, 3, NULL, &err), &err, "'p'");
  refused(moh_softmax_grad(p, NULL, 2, 3, d, &err), &err, "'d_p'");
}

static void straight_through_passes_gradients(void **state) {
  (void)state;
  moh_error err;
  const unsigned char selected[] = {0, 1, 7};
  const float d_gates[] = {.25F, -3, 9};
  float gates[3], d_scores[3] = {1, 1, 1};
  must(moh_straight_through(selected, 3, gates, &err), &err);
  must(moh_straight_through_grad(d_gates, 3, d_scores, &err), &err);
  const float expected[] = {0, 1, 1};
  const float added[] = {1.25F, -2, 10};
  assert_memory_equal(gates, expected, sizeof(gates));
  assert_memory_equal(d_scores, added, sizeof(added));
  refused(moh_straight_through(NULL, 3, gates, &err), &err, "selected");
  refused(moh_straight_through_grad(d_gates, 0, d_scores, &err), &err,
          "0 of 1");
}

/* Even load: k. All rows sure of one of n: n. */
static void balance_at_its_ends(void **state) {
  (void)state;
  moh_error err;
  float logits[16] = {0}, p[4], load[4], loss, entropy;
  unsigned char selected[16];
  for (int i = 0; i < 16; i++) selected[i] = (i + i / 4) % 4 < 2;
  must(moh_balance_loss(logits, selected, 4, 4, p, load, &loss, &err),
       &err);
  assert_true(fabsf(loss - 2) < 1e-6F);
  for (int i = 0; i < 4; i++) assert_true(load[i] == .5F && p[i] == .25F);
  must(moh_load_entropy(load, 4, &entropy, &err), &err);
  assert_true(fabs((double)entropy - log(4)) < 1e-6);
  for (int i = 0; i < 16; i++) {
    selected[i] = i % 4 == 3;
    logits[i] = i % 4 == 3 ? 60 : 0;
  }
  must(moh_balance_loss(logits, selected, 4, 4, NULL, NULL, &loss, &err),
       &err);
  assert_true(fabsf(loss - 4) < 1e-5F);
  refused(moh_balance_loss(logits, NULL, 4, 4, p, load, &loss, &err), &err,
          "selected");
  refused(moh_load_entropy(load, 0, &entropy, &err), &err, "0");
}

/* d/dl_i: n / T p_i (f_i - sum_j p_j f_j) and 2 lse p_i / T. */
static void auxiliary_gradients(void **state) {
  (void)state;
  moh_error err;
  const float logits[] = {.3F, -1, 2, 0, 0, .5F};
  const float load[] = {.5F, 0, 1};
  float p[6], z, d[6] = {0}, dz[6] = {0};
  must(moh_softmax(logits, 2, 3, p, &err), &err);
  must(moh_balance_loss_grad(logits, load, 2, 3, 0.5F, d, &err), &err);
  must(moh_z_loss_grad(logits, 2, 3, 0.5F, dz, &err), &err);
  must(moh_z_loss(logits, 2, 3, &z, &err), &err);
  double mean_square = 0;
  for (int row = 0; row < 2; row++) {
    double sum = 0, dot = 0;
    for (int i = 3 * row; i < 3 * row + 3; i++) {
      sum += exp((double)logits[i]);
      dot += (double)p[i] * (double)load[i % 3];
    }
    mean_square += log(sum) * log(sum) / 2;
    for (int i = 3 * row; i < 3 * row + 3; i++) {
      double expected = .75 * (double)p[i] * ((double)load[i % 3] - dot);
      assert_true(fabs((double)d[i] - expected) < 1e-6);
      assert_true(fabs((double)dz[i] - .5 * log(sum) * (double)p[i]) <
                  1e-6);
    }
  }
  assert_true(fabs((double)z - mean_square) < 1e-6);
  refused(moh_balance_loss_grad(logits, NULL, 2, 3, 1, d, &err), &err,
          "load");
  refused(moh_z_loss(logits, 2, 0, &z, &err), &err, "2 of 0");
  refused(moh_z_loss_grad(NULL, 2, 3, 1, d, &err), &err, "logits");
}

/* ---- plans ---- */

static void a_plan_lists_both_ways(void **state) {
  (void)state;
  moh_error err;
  const unsigned char selected[] = {1, 0, 1, 0, 0, 1, 1, 0, 1};
  const float gates[] = {.5F, 9, .25F, 9, 9, 1, 2, 9, 4};
  moh_plan *plan;
  must(moh_plan_new(&plan, selected, gates, 3, 3, &err), &err);
  assert_int_equal(moh_plan_n_rows(plan), 3);
  assert_int_equal(moh_plan_n_heads(plan), 3);
  assert_int_equal(moh_plan_n_entries(plan), 5);
  const int32_t *rows, *heads, *entries;
  const float *of_head;
  int32_t first;
  assert_int_equal(moh_plan_head(plan, 2, &rows, &of_head, &first), 3);
  const int32_t all[] = {0, 1, 2};
  const float expected[] = {.25F, 1, 4};
  assert_memory_equal(rows, all, sizeof(all));
  assert_memory_equal(of_head, expected, sizeof(expected));
  assert_int_equal(first, 2);
  assert_int_equal(moh_plan_head(plan, 1, NULL, NULL, NULL), 0);
  assert_int_equal(moh_plan_row(plan, 2, &heads, &entries), 2);
  assert_true(heads[0] == 0 && heads[1] == 2);
  assert_true(moh_plan_gates(plan)[entries[0]] == 2);
  assert_true(moh_plan_gates(plan)[entries[1]] == 4);
  float load[3];
  must(moh_plan_load(plan, load, &err), &err);
  assert_true(load[0] == 2 / 3.F && load[1] == 0 && load[2] == 1);
  assert_int_equal(moh_plan_head(plan, 3, &rows, NULL, NULL), 0);
  assert_null(rows);
  assert_int_equal(moh_plan_row(plan, -1, &heads, NULL), 0);
  assert_null(heads);
  moh_plan_free(plan);
}

static void plans_refuse_what_is_none(void **state) {
  (void)state;
  moh_error err;
  unsigned char selected[1] = {1};
  moh_plan *plan = (moh_plan *)&err;
  refused(moh_plan_new(&plan, NULL, NULL, 1, 1, &err), &err, "selected");
  assert_null(plan);
  refused(moh_plan_new(&plan, selected, NULL, 0, 1, &err), &err, "0 rows");
  refused(moh_plan_new(NULL, selected, NULL, 1, 1, &err), &err, "plan");
  refused(moh_plan_load(NULL, NULL, &err), &err, "plan");
  assert_int_equal(moh_plan_n_rows(NULL), 0);
  assert_int_equal(moh_plan_n_heads(NULL), 0);
  assert_int_equal(moh_plan_n_entries(NULL), 0);
  assert_int_equal(moh_plan_head(NULL, 0, NULL, NULL, NULL), 0);
  assert_int_equal(moh_plan_row(NULL, 0, NULL, NULL), 0);
  assert_null(moh_plan_gates(NULL));
  moh_plan_free(NULL);
}

/* ---- the router ---- */

typedef struct bench {
  moh_router_options options;
  moh_router *router;
  float shared[N_SHARED * D], routed[N_ROUTED * D], mix[2 * D];
  float x[ROWS * D];
  float d_shared[N_SHARED * D], d_routed[N_ROUTED * D], d_mix[2 * D];
  float d_x[ROWS * D];
  float upstream[N_ENTRIES]; /* dL/dgates */
  moh_router_weights w, d_w;
} bench;

static void bench_open(bench *b, moh_gate_scale scale, int32_t n_threads) {
  moh_error err;
  memset(b, 0, sizeof(*b));
  moh_router_options_default(&b->options, sizeof(b->options));
  b->options.d_model = D;
  b->options.n_shared = N_SHARED;
  b->options.n_routed = N_ROUTED;
  b->options.k = K;
  b->options.gate_scale = scale;
  b->options.z_weight = 0.02F;
  b->options.n_threads = n_threads;
  must(moh_router_new(&b->router, &b->options, &err), &err);
  fill_normal(b->shared, N_SHARED * D, 1);
  fill_normal(b->routed, N_ROUTED * D, 2);
  fill_normal(b->mix, 2 * D, 3);
  fill_normal(b->x, ROWS * D, 4);
  fill_normal(b->upstream, N_ENTRIES, 5);
  b->w = (moh_router_weights){b->shared, b->routed, b->mix};
  b->d_w = (moh_router_weights){b->d_shared, b->d_routed, b->d_mix};
}

static moh_plan *forward(bench *b) {
  moh_error err;
  moh_plan *plan;
  must(moh_router_forward(b->router, &b->w, b->x, ROWS, &plan, &err), &err);
  return plan;
}

/* upstream . gates + balance_weight L_b + z_weight z */
static double total(bench *b) {
  moh_plan *plan = forward(b);
  float balance, z;
  moh_error err;
  must(moh_router_losses(b->router, &balance, &z, &err), &err);
  double sum = (double)(b->options.balance_weight * balance) +
               (double)(b->options.z_weight * z);
  for (int32_t e = 0; e < moh_plan_n_entries(plan); e++)
    sum += (double)b->upstream[e] * (double)moh_plan_gates(plan)[e];
  moh_plan_free(plan);
  return sum;
}

/* The same through the op that the transformer uses. */
static void the_router_is_the_models(void **state) {
  (void)state;
  bench b;
  moh_error err;
  bench_open(&b, MOH_GATE_UNIT, 2);
  moh_plan *plan = forward(&b);
  must(moh_router_backward(b.router, b.upstream, &b.d_w, b.d_x, &err),
       &err);

  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  must(moh__pool_new(&pool, 1, &err), &err);
  must(moh__arena_init(&arena, 1 << 20, &err), &err);
  must(moh__tape_init(&tape, &arena, pool, &err), &err);
  moh__tape_reset(&tape, true);
  float grads[N_ROUTED * D] = {0}, other[2 * 2 * D] = {0},
                         d_x[ROWS * D] = {0};
  moh__param w[3] = {{.n_dims = 2,
                      .shape = {N_SHARED, D},
                      .data = b.shared,
                      .grad = other},
                     {.n_dims = 2,
                      .shape = {N_ROUTED, D},
                      .data = b.routed,
                      .grad = grads},
                     {.n_dims = 2,
                      .shape = {2, D},
                      .data = b.mix,
                      .grad = other + N_SHARED * D}};
  for (int i = 0; i < 3; i++) {
    w[i].grouping = MOH__PACK_OUTPUTS;
    w[i].n_groups = 1;
    w[i].packed = calloc((size_t)moh__param_packed_bytes(&w[i]), 1);
    moh__param_pack(&w[i], pool);
  }
  moh__router_args args = {.shape = {.n_shared = N_SHARED,
                                     .n_routed = N_ROUTED,
                                     .k = K,
                                     .scale = MOH__GATE_UNIT},
                           .w_shared = &w[0],
                           .w_routed = &w[1],
                           .w_mix = &w[2],
                           .balance_weight = b.options.balance_weight,
                           .z_weight = b.options.z_weight};
  moh__tensor x = {.v = b.x, .g = d_x, .rows = ROWS, .cols = D};
  const moh__plan *inner;
  moh__tensor *gates = moh__op_head_router(&tape, &x, &args, &inner);
  gates->fresh = false;
  memcpy(gates->g, b.upstream, sizeof(b.upstream));
  moh__tape_backward(&tape);

  assert_int_equal(moh_plan_n_entries(plan), N_ENTRIES);
  assert_memory_equal(moh_plan_gates(plan), gates->v, sizeof(b.upstream));
  const int32_t *rows;
  moh_plan_head(plan, 0, &rows, NULL, NULL);
  assert_memory_equal(rows, inner->rows, N_ENTRIES * sizeof(int32_t));
  assert_memory_equal(b.d_routed, grads, sizeof(grads));
  assert_memory_equal(b.d_shared, other, sizeof(b.d_shared));
  assert_memory_equal(b.d_x, d_x, sizeof(d_x));
  for (int i = 0; i < 3; i++) free(w[i].packed);
  moh__tape_free(&tape);
  moh__arena_free(&arena);
  moh__pool_free(pool);
  moh_plan_free(plan);
  moh_router_free(b.router);
}

/* The derivative of the loss along `direction` of `values`, by differences
 * and by the gradient. */
static void check_direction(bench *b, float *values, const float *grad,
                            int n, const char *name) {
  float direction[ROWS * D], old[ROWS * D];
  double expected = 0, step = 1e-3;
  fill_normal(direction, n, 77);
  memcpy(old, values, (size_t)n * sizeof(float));
  for (int i = 0; i < n; i++)
    expected += (double)direction[i] * (double)grad[i];
  for (int i = 0; i < n; i++) values[i] = old[i] + 1e-3F * direction[i];
  double up = total(b);
  for (int i = 0; i < n; i++) values[i] = old[i] - 1e-3F * direction[i];
  double found = (up - total(b)) / (2 * step);
  memcpy(values, old, (size_t)n * sizeof(float));
  if (!(fabs(found - expected) < 0.01 * (fabs(expected) + 0.1)))
    fail_msg("%s: %g by differences, %g by the gradient", name, found,
             expected);
}

static void gradients_are_those_of_the_loss(void **state) {
  (void)state;
  static const moh_gate_scale scales[] = {MOH_GATE_UNIT, MOH_GATE_PAPER};
  for (int i = 0; i < 2; i++) {
    bench b;
    moh_error err;
    bench_open(&b, scales[i], 1);
    moh_plan_free(forward(&b));
    must(moh_router_backward(b.router, b.upstream, &b.d_w, b.d_x, &err),
         &err);
    check_direction(&b, b.shared, b.d_shared, N_SHARED * D, "W_s");
    check_direction(&b, b.routed, b.d_routed, N_ROUTED * D, "W_r");
    check_direction(&b, b.mix, b.d_mix, 2 * D, "W_h");
    check_direction(&b, b.x, b.d_x, ROWS * D, "x");
    moh_router_free(b.router);
  }
}

/* A second batch, larger than the first; gradients add up. */
static void batches_may_grow(void **state) {
  (void)state;
  bench b;
  moh_error err;
  bench_open(&b, MOH_GATE_ONE, 1);
  moh_plan *plan;
  must(moh_router_forward(b.router, &b.w, b.x, 1, &plan, &err), &err);
  assert_int_equal(moh_plan_n_entries(plan), N_SHARED + K);
  moh_plan_free(plan);
  plan = forward(&b);
  assert_int_equal(moh_plan_n_entries(plan), N_ENTRIES);
  for (int e = 0; e < N_ENTRIES; e++)
    assert_true(moh_plan_gates(plan)[e] == 1);
  moh_plan_free(plan);
  must(moh_router_backward(b.router, b.upstream, &b.d_w, b.d_x, &err),
       &err);
  float once[N_ROUTED * D];
  memcpy(once, b.d_routed, sizeof(once));
  must(moh_router_backward(b.router, b.upstream, &b.d_w, b.d_x, &err),
       &err);
  for (int i = 0; i < N_ROUTED * D; i++)
    assert_true(fabsf(b.d_routed[i] - 2 * once[i]) <= 1e-5F);
  moh_router_free(b.router);
}

/* No shared candidates: a router of experts needs W_r alone. */
static void experts_need_one_matrix(void **state) {
  (void)state;
  moh_error err;
  moh_router_options options;
  moh_router_options_default(&options, sizeof(options));
  options.d_model = D;
  options.n_routed = N_ROUTED;
  moh_router *router;
  must(moh_router_new(&router, &options, &err), &err);
  float w[N_ROUTED * D], x[ROWS * D], balance;
  fill_normal(w, N_ROUTED * D, 8);
  fill_normal(x, ROWS * D, 9);
  moh_router_weights weights = {.routed = w};
  moh_plan *plan;
  must(moh_router_losses(router, &balance, NULL, &err), &err);
  assert_true(balance == 0);
  must(moh_router_forward(router, &weights, x, ROWS, &plan, &err), &err);
  assert_int_equal(moh_plan_n_entries(plan), ROWS);
  for (int e = 0; e < ROWS; e++) assert_true(moh_plan_gates(plan)[e] == 1);
  must(moh_router_losses(router, &balance, NULL, &err), &err);
  assert_true(balance > 0);
  moh_plan_free(plan);
  moh_router_free(router);
}

static void wrong_routers_are_refused(void **state) {
  (void)state;
  moh_error err;
  bench b;
  bench_open(&b, MOH_GATE_UNIT, 1);
  moh_router *router;
  moh_router_options o = b.options;
  o.k = N_ROUTED + 1;
  refused(moh_router_new(&router, &o, &err), &err, "n_routed = 5");
  o = b.options;
  o.d_model = 0;
  refused(moh_router_new(&router, &o, &err), &err, "d_model");
  o = b.options;
  o.n_shared = -1;
  refused(moh_router_new(&router, &o, &err), &err, "n_shared");
  o = b.options;
  o.n_shared = o.k = 0;
  refused(moh_router_new(&router, &o, &err), &err, "something");
  o = b.options;
  o.gate_scale = (moh_gate_scale)3;
  refused(moh_router_new(&router, &o, &err), &err, "gate_scale");
  refused(moh_router_new(&router, NULL, &err), &err, "d_model");
  assert_null(router);
  refused(moh_router_backward(b.router, b.upstream, &b.d_w, b.d_x, &err),
          &err, "forward");
  moh_plan *plan;
  refused(moh_router_forward(b.router, &b.w, b.x, 0, &plan, &err), &err,
          "rows");
  moh_router_weights none = {.routed = b.routed, .mix = b.mix};
  refused(moh_router_forward(b.router, &none, b.x, 1, &plan, &err), &err,
          "shared");
  refused(moh_router_losses(NULL, NULL, NULL, &err), &err, "router");
  moh_router_free(b.router);
  moh_router_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(top_k_ranks_rows),
      cmocka_unit_test(softmax_and_its_gradient),
      cmocka_unit_test(straight_through_passes_gradients),
      cmocka_unit_test(balance_at_its_ends),
      cmocka_unit_test(auxiliary_gradients),
      cmocka_unit_test(a_plan_lists_both_ways),
      cmocka_unit_test(plans_refuse_what_is_none),
      cmocka_unit_test(the_router_is_the_models),
      cmocka_unit_test(gradients_are_those_of_the_loss),
      cmocka_unit_test(batches_may_grow),
      cmocka_unit_test(experts_need_one_matrix),
      cmocka_unit_test(wrong_routers_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
