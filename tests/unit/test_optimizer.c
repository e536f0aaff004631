/*
 * Adam and its relatives against steps worked out by hand, in double, and
 * what must hold whatever the numbers: AMSGrad's divisor never falls, decay
 * apart from the gradient shrinks a weight by lr x decay, vectors and
 * biases do not decay.
 */
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"
#include "train/optimizer.h"

static const char matrix[] = "model.layers.0.self_attn.q_proj.weight";
static const char gain[] = "model.layers.0.input_layernorm.weight";

typedef struct bench {
  tiny t;
  moh__optimizer *optimizer;
  moh__adamw_options options;
} bench;

static void set_all(real *x, int64_t n, double value) {
  for (int64_t i = 0; i < n; i++) x[i] = value;
}

static void open_bench(bench *b, bool amsgrad) {
  moh__config c = tiny_moh_config(1, 2);
  tiny_open(&b->t, &c, 1, 0.3);
  assert_int_equal(
      moh__optimizer_new(&b->optimizer, b->t.model, amsgrad, NULL), MOH_OK);
  for (int i = 0; i < b->t.model->n_params; i++) {
    const moh__param *w = &b->t.model->params[i];
    set_all(w->data, w->n, 1);
  }
  b->options = (moh__adamw_options){
      .lr = 0.1, .router_lr = 1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
}

static void close_bench(bench *b) {
  moh__optimizer_free(b->optimizer);
  tiny_close(&b->t);
}

/* A step with the gradient g everywhere; gives the named tensor's value. */
static double step(bench *b, double g, const char *name) {
  for (int i = 0; i < b->t.model->n_params; i++) {
    const moh__param *w = &b->t.model->params[i];
    set_all(w->grad, w->n, g);
  }
  assert_int_equal(
      moh__optimizer_step(b->optimizer, b->t.pool, &b->options, 1, NULL),
      MOH_OK);
  const moh__param *w = moh__model_param(b->t.model, name);
  assert_true(w->data[0] == w->data[w->n - 1]);
  return w->data[0];
}

static void assert_steps(bench *b, const double *g, const double *expected,
                         const char *name) {
  for (int i = 0; i < 3; i++) {
    double w = step(b, g[i], name);
    if (!(fabs(w - expected[i]) <= 1e-14))
      fail_msg("step %d: %.17g, not %.17g", i + 1, w, expected[i]);
  }
}

/* From w = 1 with lr 0.1, beta 0.9 and 0.99, eps 1e-8. */
static const double grads[3] = {2, -0.5, 0.25};
static const double plain[3] = {0.9000000005, 0.85295914204327583,
                                0.80905415341283493};

static void adam_by_hand(void **state) {
  (void)state;
  bench b;
  open_bench(&b, false);
  assert_steps(&b, grads, plain, matrix);
  close_bench(&b);
}

/* Decay 0.1 takes lr x 0.1 x w off at each step. */
static void adamw_by_hand(void **state) {
  (void)state;
  static const double decayed[3] = {0.8900000005, 0.8340591420382758,
                                    0.78181356198745222};
  bench b;
  open_bench(&b, false);
  b.options.weight_decay = 0.1;
  assert_steps(&b, grads, decayed, matrix);
  close_bench(&b);
}

static void decay_in_the_gradient_by_hand(void **state) {
  (void)state;
  static const double decayed[3] = {
      0.90000000047619044, 0.84839474981405583, 0.79897569845145155};
  bench b;
  open_bench(&b, false);
  b.options.weight_decay = 0.1;
  b.options.l2 = true;
  assert_steps(&b, grads, decayed, matrix);
  close_bench(&b);
}

static void vectors_do_not_decay(void **state) {
  (void)state;
  for (int l2 = 0; l2 < 2; l2++) {
    bench b;
    open_bench(&b, false);
    b.options.weight_decay = 0.1;
    b.options.l2 = l2 != 0;
    assert_steps(&b, grads, plain, gain);
    close_bench(&b);
  }
}

/* A router moves by router_lr times what others do, from 1 on. */
static void routers_have_their_own_rate(void **state) {
  (void)state;
  bench b;
  open_bench(&b, false);
  b.options.router_lr = 0.1;
  double w = step(&b, 2, "model.layers.0.self_attn.wg.weight");
  assert_true(fabs(1 - w - 0.1 * (1 - plain[0])) < 1e-12);
  assert_true(moh__model_param(b.t.model, matrix)->data[0] == plain[0]);
  close_bench(&b);
}

/* Beta 0.5 and 0.5; after the first gradient only zeros: v falls by half at
 * each step, its largest value stays. */
static void amsgrad_by_hand(void **state) {
  (void)state;
  static const double g[3] = {2, 0, 0};
  static const double kept[3] = {0.9000000005, 0.85917517170361368,
                                 0.84027694817815235};
  static const double fallen[3] = {0.9000000005, 0.8422649740810374,
                                   0.80446852728011464};
  for (int amsgrad = 0; amsgrad < 2; amsgrad++) {
    bench b;
    open_bench(&b, amsgrad != 0);
    b.options.beta1 = b.options.beta2 = 0.5;
    assert_steps(&b, g, amsgrad ? kept : fallen, matrix);
    close_bench(&b);
  }
}

static void amsgrad_never_falls(void **state) {
  (void)state;
  bench b;
  open_bench(&b, true);
  const moh__param *w = moh__model_param(b.t.model, matrix);
  const real *v = moh__optimizer_v(b.optimizer, w);
  const real *v_max = moh__optimizer_v_max(b.optimizer, w);
  double largest = 0;
  bool above = false;
  for (uint64_t i = 0; i < 50; i++) {
    step(&b, tiny_noise(3, i), matrix);
    assert_true(v_max[0] >= largest && v_max[0] >= v[0]);
    above = above || v_max[0] > v[0];
    largest = v_max[0];
  }
  assert_true(above);
  close_bench(&b);
}

/* With no gradient at all AdamW only shrinks, by exactly 1 - lr x decay. */
static void decay_alone_shrinks(void **state) {
  (void)state;
  bench b;
  open_bench(&b, false);
  b.options.weight_decay = 0.5;
  double w = 1;
  for (int i = 0; i < 5; i++) {
    w -= 0.1 * (0.5 * w);
    assert_true(step(&b, 0, matrix) == w);
  }
  close_bench(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adam_by_hand),
      cmocka_unit_test(adamw_by_hand),
      cmocka_unit_test(decay_in_the_gradient_by_hand),
      cmocka_unit_test(vectors_do_not_decay),
      cmocka_unit_test(routers_have_their_own_rate),
      cmocka_unit_test(amsgrad_by_hand),
      cmocka_unit_test(amsgrad_never_falls),
      cmocka_unit_test(decay_alone_shrinks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
