/*
 * Clipping of gradients: values worked out by hand, rows within their bound
 * that keep their bits, and what a step makes of it.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/training.h"
#include "train/clipping.h"
#include "train/trainer_internal.h"

static void assert_near(double x, double expected) {
  if (!(fabs(x - expected) <= 1e-12)) fail_msg("%g, not %g", x, expected);
}

/* A model that is one tensor, 2 x 3 or a vector of 6. */
typedef struct table {
  moh__model model;
  moh__param w;
  real data[6], grad[6];
} table;

static void open_table(table *t, int n_dims, unsigned flags) {
  memset(t, 0, sizeof(*t));
  t->w = (moh__param){.n_dims = n_dims,
                      .shape = {n_dims == 1 ? 6 : 2, 3},
                      .n = 6,
                      .flags = flags,
                      .data = t->data,
                      .grad = t->grad};
  t->model = (moh__model){.params = &t->w, .n_params = 1};
  for (int i = 0; i < 6; i++) t->grad[i] = (real)(i + 1);
}

static void clip_table(table *t, bool centralize, double agc) {
  moh__pool *pool;
  const moh__clipping clipping = {.centralize = centralize, .agc = agc};
  assert_int_equal(moh__pool_new(&pool, 1, NULL), MOH_OK);
  moh__clip_rows(&clipping, &t->model, pool);
  moh__pool_free(pool);
}

static void assert_grads(const table *t, const double *expected) {
  for (int i = 0; i < 6; i++)
    if (fabs((double)t->grad[i] - expected[i]) > 1e-6)
      fail_msg("element %d is %g, not %g", i, (double)t->grad[i],
               expected[i]);
}

static const double untouched[6] = {1, 2, 3, 4, 5, 6};

static void rows_are_centralized(void **state) {
  (void)state;
  static const double expected[6] = {-1, 0, 1, -1, 0, 1};
  table t;
  open_table(&t, 2, 0);
  clip_table(&t, true, 0);
  assert_grads(&t, expected);
  open_table(&t, 1, 0); /* a vector has no rows */
  clip_table(&t, true, 0);
  assert_grads(&t, untouched);
  open_table(&t, 2, MOH__PARAM_FROZEN);
  clip_table(&t, true, 0);
  assert_grads(&t, untouched);
}

/* Rows of norm 5 and 0.5 with lambda 0.1: the gradients' norms, sqrt(14) and
 * sqrt(77), become 0.5 and 0.05. */
static void units_are_clipped_to_their_weights(void **state) {
  (void)state;
  double expected[6];
  for (int i = 0; i < 6; i++)
    expected[i] = (i + 1) * (i < 3 ? 0.5 / sqrt(14) : 0.05 / sqrt(77));
  table t;
  open_table(&t, 2, 0);
  t.data[0] = 3;
  t.data[2] = -4;
  t.data[4] = 0.5F;
  clip_table(&t, false, 0.1);
  assert_grads(&t, expected);
}

/* A vector is one unit; a weight of 0 counts as 1e-3. */
static void vectors_are_one_unit(void **state) {
  (void)state;
  double expected[6];
  for (int i = 0; i < 6; i++) expected[i] = (i + 1) * 2e-3 / sqrt(91);
  table t;
  open_table(&t, 1, 0);
  clip_table(&t, false, 2);
  assert_grads(&t, expected);
}

static void some_are_exempt(void **state) {
  (void)state;
  static const unsigned exempt[] = {MOH__PARAM_OUTPUT, MOH__PARAM_FROZEN,
                                    MOH__PARAM_BUFFER};
  for (int i = 0; i < 3; i++) {
    table t;
    open_table(&t, 2, exempt[i]);
    clip_table(&t, false, 1e-9);
    assert_grads(&t, untouched);
  }
}

/* First the mean goes, then the rest is clipped: [-1, 0, 1] of norm sqrt(2)
 * to 1. The other way round, 14 and 77 would be what is clipped. */
static void the_mean_goes_first(void **state) {
  (void)state;
  const double h = sqrt(0.5);
  const double expected[6] = {-h, 0, h, -h, 0, h};
  table t;
  open_table(&t, 2, 0);
  t.data[0] = t.data[4] = 10;
  clip_table(&t, true, 0.1);
  assert_grads(&t, expected);
}

/* Within the bound, every bit stays. */
static void within_the_bound_nothing_changes(void **state) {
  (void)state;
  table t;
  real before[6];
  open_table(&t, 2, 0);
  for (int i = 0; i < 6; i++) {
    t.grad[i] = (real)(0.1 * tiny_noise(1, (uint64_t)i));
    t.data[i] = (real)(1 + tiny_noise(2, (uint64_t)i));
  }
  memcpy(before, t.grad, sizeof(before));
  clip_table(&t, false, 1);
  assert_memory_equal(before, t.grad, sizeof(before));
}

static void norms_are_clipped(void **state) {
  (void)state;
  double norm = sqrt(50);
  assert_near(norm * moh__clip_scale(norm, 5), 5);
  assert_true(moh__clip_scale(norm, 8) == 1);
  assert_true(moh__clip_scale(5, 5) == 1);
  assert_true(moh__clip_scale(norm, 0) == 1);
  assert_true(moh__clip_scale(0, 5) == 1);
}

/* ---- in training ---- */

static void open_routed(bench *b, const moh__train_options *o, int threads) {
  moh__config c = routed_config();
  open_bench(b, &c, o, threads);
}

/* The report's norms are those of the gradients before and behind. */
static void both_norms_are_reported(void **state) {
  (void)state;
  moh__train_options o = short_run();
  bench plain, clipped;
  o.clip = 1e-3;
  open_routed(&plain, &o, 1);
  o.agc = 1e-3;
  o.centralize = true;
  open_routed(&clipped, &o, 1);
  moh__step_report a = step(&plain), b = step(&clipped);
  assert_true(a.grad_norm == b.grad_norm);
  assert_near(a.clipped_norm, 1e-3);
  double norm;
  assert_int_equal(moh__optimizer_norm(clipped.trainer->optimizer,
                                       clipped.pool, &norm, NULL),
                   MOH_OK);
  assert_true(norm < a.grad_norm);
  assert_near(b.clipped_norm, norm < 1e-3 ? norm : 1e-3);
  close_bench(&plain);
  close_bench(&clipped);
}

/* 20 steps; the largest difference of a weight. */
static real difference(const moh__train_options *a, int threads_a,
                       const moh__train_options *b, int threads_b) {
  bench x, y;
  open_routed(&x, a, threads_a);
  open_routed(&y, b, threads_b);
  for (int i = 0; i < 20; i++) {
    step(&x);
    step(&y);
  }
  real furthest = furthest_weight(&x, &y);
  close_bench(&x);
  close_bench(&y);
  return furthest;
}

static void threads_change_no_bit(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.agc = 0.01;
  o.centralize = true;
  assert_true(difference(&o, 1, &o, 2) == 0);
}

static void a_bound_that_nothing_reaches_changes_no_bit(void **state) {
  (void)state;
  moh__train_options off = short_run(), on = off;
  on.agc = 1e9;
  assert_true(difference(&off, 1, &on, 1) == 0);
  on.agc = 0.01;
  assert_true(difference(&off, 1, &on, 1) > 0);
  on.agc = 0;
  on.centralize = true;
  assert_true(difference(&off, 1, &on, 1) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_centralized),
      cmocka_unit_test(units_are_clipped_to_their_weights),
      cmocka_unit_test(vectors_are_one_unit),
      cmocka_unit_test(some_are_exempt),
      cmocka_unit_test(the_mean_goes_first),
      cmocka_unit_test(within_the_bound_nothing_changes),
      cmocka_unit_test(norms_are_clipped),
      cmocka_unit_test(both_norms_are_reported),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(a_bound_that_nothing_reaches_changes_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
