/*
 * Computing in bf16: close to f32 in losses and gradients, and by the same
 * rule of bits: skipping is masking, threads and the cache change nothing.
 * Weights, moments and routers stay f32, and training learns.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "infer/session.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"
#include "support/training.h"

static moh__config moh_config(void) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 1;
  c.k = 2;
  c.balance_weight = 0.1;
  return c;
}

static void open_bf16(tiny *t, const moh__config *c, int n_threads) {
  tiny_open(t, c, n_threads, 0.3);
  moh__model_set_precision(t->model, MOH__PRECISION_BF16);
}

static void assert_same_grads(const tiny *a, const tiny *b) {
  assert_memory_equal(a->loss, b->loss, sizeof(a->loss));
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    for (int64_t j = 0; j < w->n; j++)
      if (!(w->grad[j] == b->model->params[i].grad[j]))
        fail_msg("%s differs at %d", w->name, (int)j);
  }
}

static void check_bits(const moh__kernels *table) {
  moh__config c = moh_config();
  tiny skipped, masked, threads;
  moh__kernel_use(table);
  open_bf16(&skipped, &c, 1);
  open_bf16(&masked, &c, 1);
  open_bf16(&threads, &c, 3);
  masked.tape.masked = true;
  double loss = tiny_backward(&skipped);
  assert_true(loss == tiny_backward(&masked));
  assert_true(loss == tiny_backward(&threads));
  assert_same_grads(&skipped, &masked);
  assert_same_grads(&skipped, &threads);
  tiny_close(&skipped);
  tiny_close(&masked);
  tiny_close(&threads);
}

static void skipping_and_threads_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_bits);
}

/* Of the angle between the gradients, with all parameters as one vector. */
static double cosine(const tiny *a, const tiny *b) {
  double ab = 0, aa = 0, bb = 0;
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    for (int64_t j = 0; j < w->n; j++) {
      double x = (double)w->grad[j];
      double y = (double)b->model->params[i].grad[j];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
  }
  return ab / sqrt(aa * bb);
}

/* All heads, so that rounding cannot change a choice. */
static void check_closeness(const moh__kernels *table) {
  moh__config c = tiny_config();
  tiny exact, rounded;
  moh__kernel_use(table);
  tiny_open(&exact, &c, 1, 0.3);
  open_bf16(&rounded, &c, 1);
  double a = tiny_backward(&exact);
  double b = tiny_backward(&rounded);
  assert_true(a != b);
  assert_true(fabs(a - b) < 0.01 * a);
  assert_true(cosine(&exact, &rounded) > 0.999);
  tiny_close(&exact);
  tiny_close(&rounded);
}

static void close_to_f32(void **state) {
  (void)state;
  for_each_table(check_closeness);
}

/* One token at a time against all at once. */
static void check_cache(const moh__kernels *table) {
  enum { N = 40 };
  moh__config c = moh_config();
  tiny t;
  moh_error err;
  moh__session *one = NULL, *all = NULL;
  const real *a, *b;
  int32_t tokens[N];
  moh__kernel_use(table);
  open_bf16(&t, &c, 2);
  for (int32_t i = 0; i < N; i++) tokens[i] = (i * i + 5) % TINY_VOCAB;
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  assert_int_equal(moh__session_new(&one, t.model, t.pool, N, &err), MOH_OK);
  assert_int_equal(moh__session_new(&all, t.model, t.pool, N, &err), MOH_OK);
  for (int i = 0; i < N; i++)
    assert_int_equal(moh__session_feed(one, tokens + i, 1, &a, &err), MOH_OK);
  assert_int_equal(moh__session_feed(all, tokens, N, &b, &err), MOH_OK);
  assert_memory_equal(a, b, TINY_VOCAB * sizeof(real));
  moh__session_free(one);
  moh__session_free(all);
  tiny_close(&t);
}

static void the_cache_changes_no_bit(void **state) {
  (void)state;
  for_each_table(check_cache);
}

static void what_is_rounded(void **state) {
  (void)state;
  moh__config c = moh_config();
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh__model_bytes exact = moh__model_measure(t.model);
  moh__model_set_precision(t.model, MOH__PRECISION_BF16);
  moh__model_bytes rounded = moh__model_measure(t.model);
  assert_true(rounded.packed < 0.6 * (double)exact.packed);
  assert_true(rounded.packed_back < 0.6 * (double)exact.packed_back);
  assert_int_equal(rounded.data, exact.data);
  for (int i = 0; i < t.model->n_params; i++) {
    const moh__param *w = &t.model->params[i];
    bool router = (w->flags & MOH__PARAM_ROUTER) != 0;
    assert_int_equal(w->precision == MOH__PRECISION_BF16, !router);
  }
  moh__model_set_precision(t.model, MOH__PRECISION_F32);
  assert_int_equal(moh__model_measure(t.model).packed, exact.packed);
  tiny_close(&t);
}

static void training_learns(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  o.steps = 300;
  o.lr = 1e-2;
  o.precision = MOH__PRECISION_BF16;
  bench b;
  open_bench(&b, &c, &o, 2);
  moh__eval_result after;
  for (int i = 0; i < 300; i++) step(&b);
  assert_int_equal(moh__trainer_evaluate(b.trainer, b.data, &after, NULL),
                   MOH_OK);
  assert_true(after.loss < 0.05);
  close_bench(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(skipping_and_threads_change_no_bit),
      cmocka_unit_test(close_to_f32),
      cmocka_unit_test(the_cache_changes_no_bit),
      cmocka_unit_test(what_is_rounded),
      cmocka_unit_test(training_learns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
