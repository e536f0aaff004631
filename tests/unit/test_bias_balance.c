/*
 * Balancing by biases that only the selection knows: a start in which all
 * tokens choose one head is mended without a balance loss, of heads and of
 * experts; the biases are part of the model and of nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "route/balance.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/training.h"
#include "train/trainer_internal.h"

static const char head_bias[] = "model.layers.0.self_attn.wg.bias";
static const char expert_bias[] = "model.layers.0.mlp.wg.bias";

/* One of three routed heads beside a shared one, no balance loss. */
static moh__config head_config(double rate) {
  moh__config c = routed_config();
  c.n_layers = 1;
  c.k = 1;
  c.position = MOH__POSITION_NONE;
  c.balance_weight = 0;
  c.bias_balance = rate;
  return c;
}

/* One of three experts. */
static moh__config expert_config(double rate) {
  moh__config c = tiny_config();
  c.n_layers = 1;
  c.position = MOH__POSITION_NONE;
  assert_int_equal(moh__config_set_experts(&c, "0+1/3", NULL), MOH_OK);
  c.experts.balance_weight = 0;
  c.experts.bias_balance = rate;
  return c;
}

/* All tokens share a direction, and one routed candidate points along it. */
static void collapse(bench *b, const char *router) {
  moh__param *embed = moh__model_param(b->model, "model.embed_tokens.weight");
  moh__param *wg = moh__model_param(b->model, router);
  int64_t d = embed->shape[1];
  for (int64_t i = 0; i < embed->n; i++)
    embed->data[i] = (real)(1 + 0.2 * tiny_noise(3, (uint64_t)i));
  for (int64_t i = 0; i < wg->n; i++)
    wg->data[i] = i / d == 1 ? (real)0.1 : 0;
  assert_int_equal(moh__model_pack(b->model, b->pool, NULL), MOH_OK);
}

static double entropy_of(const double load[3]) {
  double entropy = 0, total = load[0] + load[1] + load[2];
  for (int c = 0; c < 3; c++)
    if (load[c] > 0) entropy -= load[c] / total * log(load[c] / total);
  return entropy;
}

/* From a collapse, 300 steps; the entropy of the mean load over the second
 * half, as tokens of one direction change heads together. */
static double entropy_after(const moh__config *c, bool experts, double lr) {
  moh__train_options o = short_run();
  bench b;
  double load[3] = {0};
  o.steps = 300;
  o.lr = lr;
  open_bench(&b, c, &o, 1);
  collapse(&b, experts ? "model.layers.0.mlp.wg.weight"
                       : "model.layers.0.self_attn.wg.weight");
  for (int i = 0; i < 300; i++) {
    moh__step_report r = step(&b);
    const real *now = experts ? r.expert_layers[0].load : r.layers[0].load;
    if (i == 0) assert_true(now[1] == 1); /* collapsed */
    for (int h = 0; i >= 150 && h < 3; h++) load[h] += (double)now[h];
  }
  close_bench(&b);
  return entropy_of(load);
}

static void a_collapse_is_mended(void **state) {
  (void)state;
  for (int experts = 0; experts < 2; experts++)
    for (int moving = 0; moving < 2; moving++) {
      double lr = moving ? 1e-3 : 1e-30;
      moh__config without = experts ? expert_config(0) : head_config(0);
      moh__config with = experts ? expert_config(0.02) : head_config(0.02);
      double stuck = entropy_after(&without, experts == 1, lr);
      double mended = entropy_after(&with, experts == 1, lr);
      if (!moving) assert_true(stuck < 1e-9);
      if (mended < 0.95 * log(3) || mended < stuck)
        fail_msg("%s: entropy %g, without biases %g",
                 experts ? "experts" : "heads", mended, stuck);
    }
}

/* ---- the rule ---- */

static void biases_move_against_the_load(void **state) {
  (void)state;
  static const struct {
    real load[4], expected[4];
  } cases[] = {
      {{1, 0, 0, 0}, {-0.15F, 0.05F, 0.05F, 0.05F}},
      {{0.5F, 0.25F, 0.25F, 0}, {-0.1F, 0, 0, 0.1F}},
      {{0.25F, 0.25F, 0.25F, 0.25F}, {0, 0, 0, 0}},
      {{1.0000001F, 1, 1, 1}, {0, 0, 0, 0}}, /* even but for rounding */
      {{0, 0, 0, 0}, {0, 0, 0, 0}},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    real bias[4] = {0};
    moh__balance_bias(bias, cases[i].load, 4, 0.1F);
    assert_true(largest_difference(bias, cases[i].expected, 4) < 1e-7F);
  }
  real off[3] = {1, 2, 3}; /* any mean is taken off */
  static const real even[3] = {0.5F, 0.5F, 0.5F}, centred[3] = {-1, 0, 1};
  moh__balance_bias(off, even, 3, 0.1F);
  assert_true(largest_difference(off, centred, 3) < 1e-6F);
}

/* Scores are p + b; who is chosen changes, and gates of a choice do not. */
static void only_the_choice_knows_of_biases(void **state) {
  (void)state;
  static const real logits[3] = {1, 0, 0}; /* p = .576, .212, .212 */
  static const real bias[3] = {-0.4F, 0.1F, 0.3F};
  const moh__router_shape shape = {
      .n_routed = 3, .k = 1, .scale = MOH__GATE_UNIT};
  real scores[3];
  unsigned char used[3];
  moh__router_biased(&shape, 1, logits, bias, scores);
  static const real expected[3] = {0.17611688F, 0.31194156F, 0.51194156F};
  assert_true(largest_difference(scores, expected, 3) < 1e-6F);
  moh__router_select(&shape, 1, scores, used);
  assert_true(!used[0] && !used[1] && used[2]);
  moh__router_select(&shape, 1, logits, used);
  assert_true(used[0] && !used[1] && !used[2]);
}

/* Biases of 0 change no bit of a model: the choice is that of the logits. */
static void biases_of_zero_choose_alike(void **state) {
  (void)state;
  for (int experts = 0; experts < 2; experts++) {
    moh__config plain = experts ? expert_config(0) : head_config(0);
    moh__config biased = experts ? expert_config(0.5) : head_config(0.5);
    tiny a, b;
    tiny_open(&a, &plain, 1, 0.3);
    tiny_open(&b, &biased, 1, 0.3);
    for (int i = 0; i < b.model->n_params; i++) {
      moh__param *w = &b.model->params[i];
      const moh__param *v = moh__model_param(a.model, w->name);
      if (v != NULL)
        memcpy(w->data, v->data, (size_t)w->n * sizeof(real));
      else
        memset(w->data, 0, (size_t)w->n * sizeof(real));
    }
    real *logits = copied_reals(tiny_logits(&a), TINY_ROWS * TINY_VOCAB);
    assert_same_reals(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB,
                      "biases of 0");
    assert_int_equal(moh__model_count(a.model), moh__model_count(b.model));
    free(logits);
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* ---- in training ---- */

static double size_of(const bench *b, const char *name) {
  const moh__param *w = moh__model_param(b->model, name);
  return (double)largest_of(w->data, w->n);
}

/* They start at 0, move by the rate at each update, and have no mean. */
static void updates_move_them(void **state) {
  (void)state;
  moh__train_options o = short_run();
  for (int experts = 0; experts < 2; experts++) {
    const char *name = experts ? expert_bias : head_bias;
    moh__config c = experts ? expert_config(0.01) : head_config(0.01);
    bench b;
    moh__eval_result e;
    open_bench(&b, &c, &o, 1);
    assert_true(size_of(&b, name) == 0);
    double most = 0;
    for (int i = 0; i < 8; i++) {
      step(&b);
      const moh__param *w = moh__model_param(b.model, name);
      double sum = 0;
      for (int64_t j = 0; j < w->n; j++) sum += (double)w->data[j];
      assert_true(fabs(sum) < 1e-6);
      assert_true(size_of(&b, name) < 0.01 * (i + 1) * 1.4);
      most = fmax(most, size_of(&b, name));
    }
    assert_true(most > 0);
    double before = size_of(&b, name);
    assert_int_equal(moh__trainer_evaluate(b.trainer, b.data, &e, NULL),
                     MOH_OK);
    assert_true(size_of(&b, name) == before);
    close_bench(&b);
  }
}

/* Frozen routers keep their choice, and warming heads have an even load. */
static void some_steps_leave_them(void **state) {
  (void)state;
  moh__config c = head_config(0.01);
  for (int i = 0; i < 2; i++) {
    moh__train_options o = short_run();
    bench b;
    if (i == 0)
      o.freeze = "router";
    else
      o.heads_warmup = 5;
    open_bench(&b, &c, &o, 1);
    for (int s = 0; s < 5; s++) step(&b);
    assert_true(size_of(&b, head_bias) == 0);
    step(&b);
    assert_true((size_of(&b, head_bias) == 0) == (i == 0));
    close_bench(&b);
  }
}

/* Any threads, recomputed or not, with heads and experts at once; HRM passes
 * each block several times. */
static void threads_change_no_bit(void **state) {
  (void)state;
  for (int hrm = 0; hrm < 2; hrm++) {
    moh__config c = routed_config();
    moh__train_options o = short_run();
    bench a, b;
    assert_int_equal(moh__config_set_experts(&c, "1+1/3", NULL), MOH_OK);
    c.bias_balance = c.experts.bias_balance = 0.01;
    if (hrm) moh__config_set_architecture(&c, MOH__HRM);
    c.hrm_exact = true;
    o.accumulate = 2;
    open_bench(&a, &c, &o, 1);
    o.recompute = true;
    open_bench(&b, &c, &o, 2);
    for (int i = 0; i < 15; i++) {
      step(&a);
      step(&b);
    }
    assert_true(furthest_weight(&a, &b) == 0);
    assert_true(size_of(&a, head_bias) > 0);
    assert_true(size_of(&a, head_bias) < 15 * 0.01 * 1.4);
    close_bench(&a);
    close_bench(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_collapse_is_mended),
      cmocka_unit_test(biases_move_against_the_load),
      cmocka_unit_test(only_the_choice_knows_of_biases),
      cmocka_unit_test(biases_of_zero_choose_alike),
      cmocka_unit_test(updates_move_them),
      cmocka_unit_test(some_steps_leave_them),
      cmocka_unit_test(threads_change_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
