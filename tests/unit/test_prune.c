/*
 * Pruning: what is left computes what the whole model computes with a factor of
 * 0 on the heads that went, bit for bit. And who goes.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/head_scores.h"
#include "store/prune.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

enum { LAYERS = 2, HEADS = 4 };

/* ---- the same bits ---- */

static double scores_of(int64_t layer, int64_t head) {
  return fabs(tiny_noise(5 + (uint64_t)layer, (uint64_t)head));
}

static moh__pruning choose(const moh__config *c, int64_t n_keep,
                           bool groups) {
  double scores[LAYERS * HEADS];
  moh__pruning p;
  moh_error err;
  for (int64_t i = 0; i < LAYERS * HEADS; i++)
    scores[i] = scores_of(i / HEADS, i % HEADS);
  if (moh__pruning_choose(&p, c, scores, n_keep, groups, &err) != MOH_OK)
    fail_msg("%s", err.message);
  return p;
}

static void count_kept(const moh__pruning *p) {
  for (int64_t l = 0; l < LAYERS; l++) {
    int64_t n = 0;
    for (int64_t h = 0; h < HEADS; h++) n += p->kept[l * HEADS + h];
    assert_int_equal(n, p->n_keep);
  }
}

static real *masked_logits(tiny *t, const moh__pruning *p) {
  real factors[LAYERS * HEADS];
  moh__head_probe probe = {.factors = factors};
  for (int i = 0; i < LAYERS * HEADS; i++) factors[i] = p->kept[i];
  t->tape.probe = &probe;
  real *logits = copied_reals(tiny_logits(t), TINY_ROWS * TINY_VOCAB);
  t->tape.probe = NULL;
  return logits;
}

/* Logits of the pruned model, in place of t's own. */
static void check_pruned(tiny *t, const moh__pruning *p, const char *what) {
  real *expected = masked_logits(t, p);
  moh__model *pruned = NULL, *whole = t->model;
  moh_error err;
  if (moh__prune(&pruned, whole, p, &err) != MOH_OK)
    fail_msg("%s: %s", what, err.message);
  assert_int_equal(pruned->config.n_heads, p->n_keep);
  t->model = pruned;
  assert_same_reals(expected, tiny_logits(t), TINY_ROWS * TINY_VOCAB, what);
  t->model = whole;
  moh__model_free(pruned);
  free(expected);
}

static void check_config(const moh__config *c, int64_t n_keep, bool groups,
                         const char *what) {
  moh__pruning p = choose(c, n_keep, groups);
  tiny t;
  count_kept(&p);
  tiny_open(&t, c, 1, 0.3);
  check_pruned(&t, &p, what);
  tiny_close(&t);
  moh__pruning_free(&p);
}

/* Biases belong to heads where their matrices do. */
static moh__config with(int64_t n_kv_heads, int position) {
  moh__config c = tiny_config();
  c.n_kv_heads = n_kv_heads;
  c.position = (moh__position_kind)position;
  c.cope_positions = 5;
  c.qkv_bias = c.output_bias = c.mlp_bias = c.qk_norm = true;
  return c;
}

static void check_dense(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int position = 0; position < 4; position++) {
    for (int n = 1; n <= 4; n++) {
      moh__config mha = with(4, position);
      check_config(&mha, n, false, "MHA");
    }
    moh__config gqa = with(2, position), mqa = with(1, position);
    check_config(&gqa, 2, false, "GQA, evenly");
    check_config(&gqa, 2, true, "GQA, by groups");
    check_config(&gqa, 4, true, "GQA, all");
    check_config(&mqa, 3, false, "MQA");
  }
}

static void what_is_left_is_the_masked_model(void **state) {
  (void)state;
  for_each_table(check_dense);
}

static void static_heads_go_last_on_first_off(void **state) {
  (void)state;
  for (int n = 1; n <= 4; n++) {
    moh__config c = with(4, MOH__POSITION_ROPE);
    c.heads = MOH__HEADS_STATIC;
    c.n_static = 2;
    check_config(&c, n, false, "static");
    moh__pruning p = choose(&c, n, false);
    for (int l = 0; l < LAYERS; l++)
      assert_int_equal(p.kept[l * HEADS] + p.kept[l * HEADS + 1],
                       n < 2 ? 1 : 2);
    moh__pruning_free(&p);
  }
}

/* Passes through a layer have its heads. */
static void modules_that_take_turns(void **state) {
  (void)state;
  moh__config c = with(2, MOH__POSITION_ROPE);
  moh__config_set_architecture(&c, MOH__HRM);
  check_config(&c, 2, false, "HRM");
}

/* With LayerNorm a column of x can be 1 for every token. There a row of the
 * router rules a head out: the whole model never chooses those that go. */
static void rule_out(tiny *t, const moh__pruning *p) {
  const moh__config *c = &t->model->config;
  int64_t each = moh__config_heads_each(c), d = c->d_model;
  for (int64_t l = 0; l < LAYERS; l++) {
    moh__param *gain =
        moh__model_layer_param(t->model, l, "input_layernorm.weight");
    moh__param *bias =
        moh__model_layer_param(t->model, l, "input_layernorm.bias");
    moh__param *wg =
        moh__model_layer_param(t->model, l, "self_attn.wg.weight");
    gain->data[0] = 0;
    bias->data[0] = 1;
    moh__param *choice =
        moh__model_layer_param(t->model, l, "self_attn.wg.bias");
    for (int64_t i = 0; i < wg->shape[0]; i++) {
      if (p->kept[l * HEADS + (c->n_shared + i) * each]) continue;
      wg->data[i * d] = -80;
      if (choice != NULL) choice->data[i] = -3;
    }
  }
}

static void check_routed(moh__config c, int64_t n_keep, bool groups,
                         const char *what) {
  c.norm = MOH__NORM_LAYER;
  moh__pruning p = choose(&c, n_keep, groups);
  tiny t;
  count_kept(&p);
  tiny_open(&t, &c, 1, 0.3);
  rule_out(&t, &p);
  check_pruned(&t, &p, what);
  tiny_close(&t);
  moh__pruning_free(&p);
}

static void routers_choose_among_what_is_left(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 1);
  c.n_kv_heads = 4;
  check_routed(c, 2, false, "MoH, 1 of 3");
  check_routed(c, 3, false, "MoH, 2 of 3");
  c.bias_balance = 0.1;
  check_routed(c, 3, false, "MoH, biases of the choice");
  c.bias_balance = 0;
  c.n_kv_heads = 1;
  check_routed(c, 3, false, "MoH, one KV head");
  c.gate_scale = MOH__GATE_ONE;
  check_routed(c, 3, false, "MoH, gates 1");
  c = tiny_group_config(0, 1);
  check_routed(c, 2, true, "MoH by group");
  c = tiny_adaptive_config(1, 1, 3);
  c.n_kv_heads = 4;
  check_routed(c, 2, false, "adaptive, 1 of 3");
  check_routed(c, 3, false, "adaptive, 2 of 3");
  c.k_min = 2;
  check_routed(c, 3, false, "adaptive, as many as are left");
}

static void shared_heads_stay(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(2, 1);
  c.n_kv_heads = 4;
  for (int n = 2; n <= 4; n++) {
    moh__pruning p = choose(&c, n, false);
    for (int l = 0; l < LAYERS; l++)
      assert_true(p.kept[l * HEADS] && p.kept[l * HEADS + 1]);
    tiny t;
    tiny_open(&t, &c, 1, 0.3);
    moh__model *pruned;
    assert_int_equal(moh__prune(&pruned, t.model, &p, NULL), MOH_OK);
    assert_int_equal(pruned->config.n_shared, 2);
    assert_int_equal(pruned->config.k, n == 2 ? 0 : 1);
    moh__model_free(pruned);
    tiny_close(&t);
    moh__pruning_free(&p);
  }
}

/* ---- who stays ---- */

static void assert_kept(const moh__config *c, const double *scores, int n,
                        bool groups, const char *expected) {
  moh__pruning p;
  assert_int_equal(moh__pruning_choose(&p, c, scores, n, groups, NULL),
                   MOH_OK);
  for (int i = 0; i < LAYERS * HEADS; i++)
    assert_int_equal(p.kept[i], expected[i] - '0');
  moh__pruning_free(&p);
}

static void the_best_stay(void **state) {
  (void)state;
  static const double scores[] = {1, 4, 3, 2, 0, 5, 5, 5};
  moh__config mha = with(4, 0), gqa = with(2, 0);
  assert_kept(&mha, scores, 1, false, "01000100");
  assert_kept(&mha, scores, 2, false, "01100110"); /* ties: the lower */
  assert_kept(&mha, scores, 3, false, "01110111");
  assert_kept(&gqa, scores, 2, false, "01100110");
  assert_kept(&gqa, scores, 2, true, "11000011"); /* 5 and 5, 5 and 10 */
}

static void refused(const moh__config *c, int n, bool groups,
                    const char *word) {
  static const double scores[LAYERS * HEADS];
  moh__pruning p;
  moh_error err = {0};
  assert_int_equal(moh__pruning_choose(&p, c, scores, n, groups, &err),
                   MOH_ERR_ARGUMENT);
  if (strstr(err.message, word) == NULL)
    fail_msg("'%s' has no '%s'", err.message, word);
}

static void what_cannot_be_is_refused(void **state) {
  (void)state;
  moh__config gqa = with(2, 0);
  refused(&gqa, 0, false, "0 heads cannot be kept of 4");
  refused(&gqa, 5, false, "5 heads cannot be kept of 4");
  refused(&gqa, 3, false, "evenly for the 2 KV heads");
  refused(&gqa, 3, true, "whole KV heads");
  moh__config c = tiny_moh_config(2, 1);
  c.n_kv_heads = 4;
  refused(&c, 1, false, "the first 2 heads");
  c = tiny_group_config(0, 1);
  refused(&c, 2, false, "--groups");
  c.heads = MOH__HEADS_RANDOM;
  refused(&c, 2, true, "by chance");
  c = with(4, MOH__POSITION_NONE);
  c.output_projection = false;
  refused(&c, 2, false, "output projection");
}

/* ---- measuring ---- */

static void evaluate(tiny *t, const moh__head_probe *probe,
                     moh__evaluation *result) {
  static int32_t tokens[200];
  moh__evaluate_options o = {.context = 16, .unknown = -1, .probe = probe};
  moh__evaluator *e;
  moh_error err;
  for (int32_t i = 0; i < 200; i++) tokens[i] = (i * i + i / 3) % TINY_VOCAB;
  assert_int_equal(moh__evaluator_new(&e, t->model, t->pool, &o, &err),
                   MOH_OK);
  assert_int_equal(moh__evaluator_add(e, tokens, 200, NULL, &err), MOH_OK);
  assert_int_equal(moh__evaluator_result(e, result, &err), MOH_OK);
  moh__evaluator_free(e);
}

/* The same loss with and without, the same sums on 1 and 2 threads, and as
 * many uses as a token has heads. */
static void check_probe(moh__config c) {
  double first[LAYERS * HEADS];
  for (int threads = 1; threads <= 2; threads++) {
    moh__head_scores scores;
    moh__evaluation plain, probed;
    tiny t;
    tiny_open(&t, &c, threads, 0.3);
    assert_int_equal(moh__model_pack(t.model, t.pool, NULL), MOH_OK);
    evaluate(&t, NULL, &plain);
    assert_int_equal(moh__head_scores_init(&scores, t.model, true, NULL),
                     MOH_OK);
    evaluate(&t, &scores.probe, &probed);
    assert_true(plain.nats == probed.nats);
    moh__head_scores_usage(&scores, probed.n_predicted);
    const double *table = scores.means;
    for (int l = 0; l < LAYERS; l++) {
      const double *u = table + (ptrdiff_t)l * HEADS;
      assert_true(u[0] >= 1); /* passes */
      assert_true(fabs(u[1] + u[2] + u[3] - 2 * u[0]) < 1e-12);
    }
    moh__head_scores_importance(&scores, probed.n_predicted);
    for (int i = 0; i < LAYERS * HEADS; i++) {
      assert_true(table[i] > 0);
      if (threads == 2) assert_true(table[i] == first[i]);
    }
    memcpy(first, table, sizeof(first));
    moh__head_scores_free(&scores);
    tiny_close(&t);
  }
}

static void a_probe_changes_nothing(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  check_probe(c);
  moh__config_set_architecture(&c, MOH__HRM);
  c.hrm_supervision = 2; /* a loss that is one of training only */
  check_probe(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_left_is_the_masked_model),
      cmocka_unit_test(static_heads_go_last_on_first_off),
      cmocka_unit_test(modules_that_take_turns),
      cmocka_unit_test(routers_choose_among_what_is_left),
      cmocka_unit_test(shared_heads_stay),
      cmocka_unit_test(the_best_stay),
      cmocka_unit_test(what_cannot_be_is_refused),
      cmocka_unit_test(a_probe_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
