/*
 * Training: what a step reports, that the same seed gives the same bits
 * with any number of threads, accumulation, the stop before damage, and
 * routers that move, collapse and recover.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/training.h"
#include "train/optimizer.h"

static void same_seed_same_bits_any_threads(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  bench one;
  bench two;
  open_bench(&one, &c, &o, 1);
  open_bench(&two, &c, &o, 2);
  for (int i = 0; i < 20; i++) {
    moh__step_report a = step(&one);
    moh__step_report b = step(&two);
    assert_true(a.total_loss == b.total_loss);
    assert_true(a.grad_norm == b.grad_norm);
  }
  assert_true(furthest_weight(&one, &two) == 0);
  close_bench(&one);
  close_bench(&two);
}

/* Sequences are of one length, so the means agree to rounding. */
static void accumulation_is_one_gradient(void **state) {
  (void)state;
  moh__config c = routed_config();
  c.balance_weight = 0;
  moh__train_options o = short_run();
  bench whole;
  open_bench(&whole, &c, &o, 1);
  o.batch = 1;
  o.accumulate = 4;
  bench parts;
  open_bench(&parts, &c, &o, 1);
  moh__step_report a = step(&whole);
  moh__step_report b = step(&parts);
  assert_true(fabs(a.task_loss - b.task_loss) < 1e-6);
  assert_true(fabs(a.grad_norm - b.grad_norm) < 1e-5 * a.grad_norm);
  assert_int_equal(a.n_tokens, b.n_tokens);
  close_bench(&whole);
  close_bench(&parts);
}

static void reports_add_up(void **state) {
  (void)state;
  moh__config c = routed_config();
  c.z_weight = 0.02;
  moh__train_options o = short_run();
  bench b;
  open_bench(&b, &c, &o, 1);
  moh__step_report r = step(&b);
  assert_true(fabs(r.total_loss - (r.task_loss + 0.01 * r.balance_loss +
                                   0.02 * r.z_loss)) < 1e-6);
  assert_int_equal(r.n_routed_layers, 2);
  double mean = 0;
  for (int i = 0; i < 2; i++) {
    double load = 0;
    for (int h = 0; h < 3; h++) load += (double)r.layers[i].load[h];
    assert_true(fabs(load - 2) < 1e-5); /* k heads a token */
    mean += r.layers[i].balance / 2;
  }
  assert_true(fabs(mean - r.balance_loss) < 1e-6);
  assert_int_equal(r.n_tokens, 4 * (EXAMPLE - 1));
  close_bench(&b);
}

/* Warm-up of 5 % of 20 steps is one step; then the cosine ends at a tenth.
 */
static void reports_add_up_with_experts(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  bench b;
  tiny_experts(&c, 1, 2, 5); /* 0.2 L_b + 0.03 z */
  o.accumulate = 2;
  open_bench(&b, &c, &o, 1);
  moh__param *wg = moh__model_layer_param(b.model, 0, "mlp.wg.weight");
  memset(wg->data, 0, (size_t)wg->n * sizeof(real));
  assert_int_equal(moh__model_pack(b.model, b.pool, NULL), MOH_OK);
  /* equal scores: the first two of five */
  assert_int_equal(step(&b).expert_layers[0].n_dead, 3);
  moh__step_report r = step(&b);
  double total = r.task_loss + 0.01 * r.balance_loss +
                 0.2 * r.expert_balance_loss + 0.03 * r.expert_z_loss;
  assert_true(fabs(r.total_loss - total) < 1e-12);
  assert_true(r.expert_balance_loss > 1.5 && r.expert_z_loss > 1);
  assert_int_equal(r.n_expert_layers, 2);
  double mean = 0;
  for (int i = 0; i < 2; i++) {
    const moh__layer_load *layer = &r.expert_layers[i];
    double load = 0;
    int n_dead = 0;
    assert_true(layer->n_shared == 1 && layer->n_routed == 5);
    for (int e = 0; e < 5; e++) load += (double)layer->load[e];
    for (int e = 0; e < 5; e++) n_dead += layer->load[e] == 0;
    assert_true(fabs(load - 2) < 1e-5); /* k experts a token */
    assert_int_equal(layer->n_dead, n_dead);
    mean += layer->balance / 2;
  }
  assert_true(fabs(mean - r.expert_balance_loss) < 1e-6);
  close_bench(&b);
}

static void learning_rate_follows_the_plan(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  o.warmup = 0.25;
  bench b;
  open_bench(&b, &c, &o, 1);
  double lr[21];
  for (int i = 1; i <= 20; i++) lr[i] = step(&b).lr;
  assert_true(fabs(lr[1] - o.lr / 5) < 1e-12);
  assert_true(fabs(lr[5] - o.lr) < 1e-12);
  assert_true(fabs(lr[20] - 0.1 * o.lr) < 1e-12);
  for (int i = 6; i <= 20; i++) assert_true(lr[i] < lr[i - 1]);
  close_bench(&b);
}

static void training_learns(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  o.steps = 300;
  o.lr = 1e-2;
  bench b;
  open_bench(&b, &c, &o, 1);
  moh_error err;
  moh__eval_result before;
  moh__eval_result after;
  moh__param *wg =
      moh__model_layer_param(b.model, 1, "self_attn.wg.weight");
  real *router = copied_reals(wg->data, wg->n);
  moh__trainer_evaluate(b.trainer, b.data, &before, &err);
  for (int i = 0; i < 300; i++) step(&b);
  moh__trainer_evaluate(b.trainer, b.data, &after, &err);
  assert_int_equal(after.n_tokens, N_EXAMPLES * (EXAMPLE - 1));
  assert_true(before.loss > 3.0);
  assert_true(after.loss < 0.05);
  assert_true(largest_difference(router, wg->data, wg->n) > 1e-3f);
  free(router);
  close_bench(&b);
}

static void nothing_changes_when_it_diverges(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  bench b;
  open_bench(&b, &c, &o, 1);
  moh__param *w = moh__model_layer_param(b.model, 0, "mlp.up_proj.weight");
  w->data[3] = NAN;
  moh_error err;
  assert_int_equal(moh__model_pack(b.model, b.pool, &err), MOH_OK);
  moh__param *head = moh__model_param(b.model, "lm_head.weight");
  real *before = copied_reals(head->data, head->n);
  moh__step_report r;
  assert_int_equal(moh__trainer_step(b.trainer, &r, &err),
                   MOH_ERR_DIVERGED);
  assert_non_null(strstr(err.message, "no weight was changed"));
  assert_true(largest_difference(before, head->data, head->n) == 0);
  free(before);
  close_bench(&b);
}

static void a_bad_gradient_is_named(void **state) {
  (void)state;
  moh__config c = routed_config();
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  tiny_backward(&t);
  moh_error err;
  moh__optimizer *optimizer = NULL;
  assert_int_equal(moh__optimizer_new(&optimizer, t.model, false, &err),
                   MOH_OK);
  double norm = 0;
  assert_int_equal(moh__optimizer_norm(optimizer, t.pool, &norm, &err),
                   MOH_OK);
  moh__model_layer_param(t.model, 1, "self_attn.k_proj.weight")->grad[2] =
      INFINITY;
  assert_int_equal(moh__optimizer_norm(optimizer, t.pool, &norm, &err),
                   MOH_ERR_DIVERGED);
  assert_non_null(
      strstr(err.message, "model.layers.1.self_attn.k_proj.weight"));
  moh__optimizer_free(optimizer);
  tiny_close(&t);
}

/* ---- collapse and recovery, on fixed inputs, without the task ---- */

/* All tokens share a direction, and one routed head (or expert) points along
 * it. Attention adds nothing, so that experts see the tokens themselves. */
static void collapse(tiny *t, const char *router) {
  moh__param *embed =
      moh__model_param(t->model, "model.embed_tokens.weight");
  moh__param *wg = moh__model_layer_param(t->model, 0, router);
  moh__param *o =
      moh__model_layer_param(t->model, 0, "self_attn.o_proj.weight");
  int64_t d = embed->shape[1];
  memset(o->data, 0, (size_t)o->n * sizeof(real));
  for (int64_t i = 0; i < embed->n; i++)
    embed->data[i] = (real)(1 + 0.8 * tiny_noise(3, (uint64_t)i)) / (real)d;
  for (int64_t i = 0; i < wg->n; i++)
    wg->data[i] = i / d == 1 ? (real)0.3 : 0;
  for (int i = 0; i < t->model->n_params; i++)
    if (&t->model->params[i] != wg)
      t->model->params[i].flags |= MOH__PARAM_FROZEN;
}

/* Three routed heads, or experts, of which a token uses one. */
static moh__config one_of_three(bool experts, double beta) {
  moh__config c = routed_config();
  c.n_layers = 1;
  c.k = 1;
  c.position = MOH__POSITION_NONE;
  c.balance_weight = beta;
  if (!experts) return c;
  tiny_experts(&c, 0, 1, 3);
  c.experts.balance_weight = beta;
  c.experts.z_weight = 0;
  return c;
}

static const real *load_of(const tiny *t, bool experts) {
  return experts ? t->tape.expert_use->load : t->tape.use->load;
}

/* 400 steps on the balance loss alone: entropy of layer 0's mean load over
 * the second half (tokens of a common direction change heads together). */
static double entropy_after(bool experts, double beta) {
  moh__config c = one_of_three(experts, beta);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  collapse(&t, experts ? "mlp.wg.weight" : "self_attn.wg.weight");
  t.tape.task_scale = 0;
  moh_error err;
  moh__optimizer *optimizer = NULL;
  assert_int_equal(moh__optimizer_new(&optimizer, t.model, false, &err),
                   MOH_OK);
  moh__adamw_options o = {
      .lr = 1e-3, .router_lr = 1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
  tiny_backward(&t);
  assert_true(load_of(&t, experts)[1] == 1); /* collapsed */
  double mean_load[3] = {0};
  for (int i = 0; i < 400; i++) {
    tiny_backward(&t);
    moh__optimizer_step(optimizer, t.pool, &o, 1, &err);
    for (int h = 0; i >= 200 && h < 3; h++)
      mean_load[h] += (double)load_of(&t, experts)[h] / 200;
  }
  double entropy = 0;
  for (int h = 0; h < 3; h++)
    if (mean_load[h] > 0) entropy -= mean_load[h] * log(mean_load[h]);
  moh__optimizer_free(optimizer);
  tiny_close(&t);
  return entropy;
}

static void balance_loss_mends_a_collapse(void **state) {
  (void)state;
  for (int experts = 0; experts < 2; experts++) {
    assert_true(entropy_after(experts, 0) < 1e-9);
    assert_true(entropy_after(experts, 0.01) > 0.95 * log(3));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_seed_same_bits_any_threads),
      cmocka_unit_test(accumulation_is_one_gradient),
      cmocka_unit_test(reports_add_up),
      cmocka_unit_test(reports_add_up_with_experts),
      cmocka_unit_test(learning_rate_follows_the_plan),
      cmocka_unit_test(training_learns),
      cmocka_unit_test(nothing_changes_when_it_diverges),
      cmocka_unit_test(a_bad_gradient_is_named),
      cmocka_unit_test(balance_loss_mends_a_collapse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
