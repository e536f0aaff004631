/*
 * Steps that do less or other than usual: outliers that are skipped,
 * gradients that end the training, tensors that are frozen, and what is tried
 * before a step to tell how long a run takes.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/training.h"
#include "train/freeze.h"
#include "train/trainer_internal.h"

/* ---- outliers ---- */

/* A full window of losses around 1 and norms around x: a fresh model's
 * loss, ln 23 at least, is far above. */
static void feed_window(bench *b, double norm) {
  moh__outliers *o = &b->trainer->outliers;
  o->n = MOH__OUTLIER_WINDOW;
  for (int i = 0; i < o->n; i++) {
    o->loss[i] = 1 + 0.01 * (i % 2);
    o->norm[i] = norm + 0.01 * (i % 2);
  }
}

static void feed_usual(bench *b) {
  feed_window(b, 100);
  for (int i = 0; i < MOH__OUTLIER_WINDOW; i++)
    b->trainer->outliers.loss[i] = 100 + i % 2;
}

/* Everything that a skipped step must leave alone. */
typedef struct kept {
  real **w, **m, **v;
  int n;
} kept;

static kept keep(const bench *b) {
  int n = b->model->n_params;
  kept k = {.w = calloc((size_t)n, sizeof(real *)),
            .m = calloc((size_t)n, sizeof(real *)),
            .v = calloc((size_t)n, sizeof(real *)),
            .n = n};
  for (int i = 0; i < n; i++) {
    const moh__param *p = &b->model->params[i];
    const moh__optimizer *o = b->trainer->optimizer;
    k.w[i] = copied_reals(p->data, p->n);
    if (moh__optimizer_m(o, p) == NULL) continue; /* frozen */
    k.m[i] = copied_reals(moh__optimizer_m(o, p), p->n);
    k.v[i] = copied_reals(moh__optimizer_v(o, p), p->n);
  }
  return k;
}

static void free_kept(kept *k) {
  for (int i = 0; i < k->n; i++) {
    free(k->w[i]);
    free(k->m[i]);
    free(k->v[i]);
  }
  free(k->w);
  free(k->m);
  free(k->v);
}

static real weights_moved(const bench *b, const kept *k, int i) {
  const moh__param *p = &b->model->params[i];
  return largest_difference(p->data, k->w[i], p->n);
}

static real moments_moved(const bench *b, const kept *k, int i) {
  const moh__param *p = &b->model->params[i];
  const moh__optimizer *o = b->trainer->optimizer;
  if (k->m[i] == NULL) {
    assert_true(p->grad == NULL && moh__optimizer_m(o, p) == NULL);
    return 0;
  }
  return largest_difference(moh__optimizer_m(o, p), k->m[i], p->n) +
         largest_difference(moh__optimizer_v(o, p), k->v[i], p->n);
}

static void open_routed(bench *b, const moh__train_options *o) {
  moh__config c = routed_config();
  open_bench(b, &c, o, 1);
}

static void outliers_change_nothing(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.skip_outliers = 4;
  bench b;
  open_routed(&b, &o);
  for (int i = 0; i < 3; i++) assert_false(step(&b).skipped);
  feed_window(&b, 1e6);
  kept k = keep(&b);
  moh__step_report r = step(&b);
  assert_true(r.skipped);
  assert_int_equal(r.step, 4);
  assert_true(r.task_loss > 2 && r.grad_norm > 0);
  for (int i = 0; i < k.n; i++)
    assert_true(weights_moved(&b, &k, i) + moments_moved(&b, &k, i) == 0);
  assert_int_equal(moh__optimizer_steps(b.trainer->optimizer), 3);
  assert_int_equal(moh__trainer_step_number(b.trainer), 4);
  assert_int_equal(moh__trainer_n_skipped(b.trainer), 1);
  free_kept(&k);
  close_bench(&b);
}

static void a_norm_is_enough(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.skip_outliers = 4;
  bench b;
  open_routed(&b, &o);
  feed_usual(&b);
  assert_false(step(&b).skipped);
  feed_usual(&b);
  for (int i = 0; i < MOH__OUTLIER_WINDOW; i++)
    b.trainer->outliers.norm[i] = 1e-3 * (1 + i % 2);
  assert_true(step(&b).skipped);
  close_bench(&b);
}

/* The schedule and the data go on; Adam's correction counts updates: its
 * first one moves a weight by lr, and by the lr of step 2. */
static void the_schedule_goes_on(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.skip_outliers = 4;
  o.weight_decay = 0;
  o.warmup = 0.5;
  o.clip = 0;
  bench b;
  bench plain;
  open_routed(&b, &o);
  open_routed(&plain, &o);
  feed_window(&b, 1e6);
  assert_true(step(&b).skipped);
  b.trainer->outliers.n = 0;
  kept k = keep(&b);
  step(&plain);
  moh__step_report r = step(&b);
  moh__step_report second = step(&plain);
  assert_true(r.lr == second.lr && r.lr == 2 * o.lr / 10);
  assert_true(r.epoch == second.epoch);
  double most = 0;
  for (int i = 0; i < k.n; i++)
    most = fmax(most, (double)weights_moved(&b, &k, i));
  assert_true(fabs(most - r.lr) < 1e-3 * r.lr);
  free_kept(&k);
  close_bench(&b);
  close_bench(&plain);
}

/* Also when the run is much longer than a window. */
static void without_outliers_nothing_changes(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.steps = 200;
  bench off;
  bench on;
  open_routed(&off, &o);
  o.skip_outliers = 1e6;
  open_routed(&on, &o);
  for (int i = 0; i < 200; i++) {
    step(&off);
    assert_false(step(&on).skipped);
  }
  assert_true(furthest_weight(&off, &on) == 0);
  assert_int_equal(on.trainer->outliers.n, MOH__OUTLIER_WINDOW);
  assert_int_equal(off.trainer->outliers.n, 0);
  close_bench(&off);
  close_bench(&on);
}

/* ---- anomalies ---- */

/* The largest gradient of the first step, and where it is. */
static double largest_gradient(char name[MOH__NAME_MAX]) {
  moh__train_options o = short_run();
  bench b;
  double largest = 0;
  open_routed(&b, &o);
  step(&b);
  for (int i = 0; i < b.model->n_params; i++) {
    const moh__param *w = &b.model->params[i];
    for (int64_t j = 0; j < w->n; j++) {
      if (fabs((double)w->grad[j]) <= largest) continue;
      largest = fabs((double)w->grad[j]);
      memcpy(name, w->name, MOH__NAME_MAX);
    }
  }
  close_bench(&b);
  return largest;
}

/* Beyond the limit nothing has changed, at the limit everything has. */
static void anomalies_stop_before_any_weight(void **state) {
  (void)state;
  char name[MOH__NAME_MAX];
  double largest = largest_gradient(name);
  moh__train_options o = short_run();
  o.anomaly = largest * 0.999;
  bench b;
  moh_error err;
  moh__step_report r;
  open_routed(&b, &o);
  kept k = keep(&b);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(moh__trainer_step(b.trainer, &r, &err),
                     MOH_ERR_DIVERGED);
    assert_non_null(strstr(err.message, "step 1: the gradient of "));
    assert_non_null(strstr(err.message, name));
    assert_non_null(strstr(err.message, "no weight was changed"));
  }
  for (int i = 0; i < k.n; i++)
    assert_true(weights_moved(&b, &k, i) + moments_moved(&b, &k, i) == 0);
  assert_int_equal(moh__trainer_step_number(b.trainer), 0);
  assert_int_equal(moh__optimizer_steps(b.trainer->optimizer), 0);
  b.trainer->options.anomaly = largest;
  assert_false(step(&b).skipped);
  for (int i = 0; i < k.n; i++) assert_true(weights_moved(&b, &k, i) > 0);
  free_kept(&k);
  close_bench(&b);
}

/* 0 is off, and a limit that nothing reaches changes no bit. */
static void without_anomalies_nothing_changes(void **state) {
  (void)state;
  moh__train_options o = short_run();
  assert_true(o.anomaly == 1000);
  bench on;
  bench off;
  open_routed(&on, &o);
  o.anomaly = 0;
  open_routed(&off, &o);
  for (int i = 0; i < 20; i++) {
    step(&on);
    step(&off);
  }
  assert_true(furthest_weight(&on, &off) == 0);
  close_bench(&on);
  close_bench(&off);
}

/* What is skipped changes nothing anyway; what is not is looked at, and a
 * step that fails leaves no trace in the windows. */
static void skipped_steps_are_no_anomalies(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.skip_outliers = 4;
  o.anomaly = 1e-9;
  bench b;
  moh_error err;
  moh__step_report r;
  open_routed(&b, &o);
  feed_window(&b, 1e6);
  assert_true(step(&b).skipped);
  b.trainer->outliers.n = 5;
  moh__outliers before = b.trainer->outliers;
  assert_int_equal(moh__trainer_step(b.trainer, &r, &err), MOH_ERR_DIVERGED);
  assert_non_null(strstr(err.message, "step 2: the gradient of "));
  assert_memory_equal(&before, &b.trainer->outliers, sizeof(before));
  close_bench(&b);
}

/* ---- the warm-up of the heads ---- */

/* In the first steps every head is used; then the router's choice counts.
 * The router learns all along. */
static void all_heads_work_at_first(void **state) {
  (void)state;
  moh__train_options o = short_run();
  o.heads_warmup = 3;
  bench b;
  open_routed(&b, &o);
  const moh__param *wg =
      moh__model_param(b.model, "model.layers.0.self_attn.wg.weight");
  for (int i = 1; i <= 6; i++) {
    real *before = copied_reals(wg->data, wg->n);
    moh__step_report r = step(&b);
    assert_int_equal(r.every_head, i <= 3);
    real all = 0;
    for (int h = 0; h < 3; h++) all += r.layers[1].load[h];
    assert_true(fabs((double)all - (i <= 3 ? 3 : 2)) < 1e-5);
    assert_true(largest_difference(before, wg->data, wg->n) > 0);
    free(before);
  }
  close_bench(&b);
}

/* Until it ends, training is that of a model that chooses all heads; for
 * evaluations the model chooses as it always will. */
static void the_warmup_is_a_larger_choice(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  bench wide, warm;
  moh__eval_result e, own;
  moh_error err;
  o.recompute = true;
  o.heads_warmup = 5;
  open_bench(&warm, &c, &o, 2);
  c.k = 3;
  o.heads_warmup = 0;
  open_bench(&wide, &c, &o, 1);
  for (int i = 0; i < 5; i++) {
    step(&wide);
    step(&warm);
  }
  assert_true(furthest_weight(&wide, &warm) == 0);
  assert_int_equal(moh__trainer_evaluate(wide.trainer, wide.data, &e, &err),
                   MOH_OK);
  assert_int_equal(moh__trainer_evaluate(warm.trainer, warm.data, &own, &err),
                   MOH_OK);
  assert_true(e.loss != own.loss);
  wide.model->config.k = 2;
  assert_int_equal(moh__trainer_evaluate(wide.trainer, wide.data, &e, &err),
                   MOH_OK);
  assert_true(e.loss == own.loss);
  step(&wide); /* from now on both choose two */
  step(&warm);
  assert_true(furthest_weight(&wide, &warm) == 0);
  close_bench(&wide);
  close_bench(&warm);
}

/* Whatever chooses heads; what does not is refused. */
static void warmups_are_for_choices(void **state) {
  (void)state;
  static const char *const heads[] = {"moh:1+1", "moh:0+1", "random:1+1",
                                      "moh:1+3"};
  for (int i = 0; i < 12; i++) {
    moh__config c = routed_config();
    moh__train_options o = short_run();
    bench b;
    o.heads_warmup = 2;
    assert_int_equal(moh__config_set_heads(&c, heads[i % 4], NULL), MOH_OK);
    if (i / 4 == 1) c.gate_scale = MOH__GATE_ONE;
    if (i / 4 == 2) c.gate_scale = MOH__GATE_PAPER;
    open_bench(&b, &c, &o, 1);
    for (int s = 0; s < 4; s++) step(&b);
    close_bench(&b);
  }
  moh__config c = tiny_config();
  moh__train_options o = short_run();
  moh__model *model;
  moh__trainer *trainer;
  moh__dataset *data = training_data();
  moh_error err;
  o.heads_warmup = 2;
  assert_int_equal(moh__arch_model_init(&model, &c, 5, &err), MOH_OK);
  assert_int_equal(
      moh__trainer_new(&trainer, model, NULL, &o, data, NULL, &err),
      MOH_ERR_ARGUMENT);
  assert_non_null(strstr(err.message, "heads_warmup"));
  moh__model_free(model);
  moh__dataset_free(data);
}

/* ---- freezing ---- */

/* What is frozen keeps every bit of weights and moments; all else moves. */
static void assert_frozen(const char *items, const char *const *frozen) {
  moh__train_options o = short_run();
  o.freeze = items;
  bench b;
  open_routed(&b, &o);
  kept k = keep(&b);
  for (int i = 0; i < 5; i++) step(&b);
  int n = 0;
  for (int i = 0; i < k.n; i++) {
    const char *name = b.model->params[i].name;
    bool stays = false;
    for (int j = 0; frozen[j] != NULL; j++)
      stays = stays || strstr(name, frozen[j]) != NULL;
    if (stays != (weights_moved(&b, &k, i) == 0) ||
        stays != (moments_moved(&b, &k, i) == 0))
      fail_msg("%s: %s %s", items, name, stays ? "moved" : "stayed");
    n += stays;
  }
  assert_true(n > 0);
  free_kept(&k);
  close_bench(&b);
}

static void frozen_tensors_keep_their_bits(void **state) {
  (void)state;
  assert_frozen("router", (const char *[]){".wg", NULL});
  assert_frozen("embeddings", (const char *[]){"embed_", NULL});
  assert_frozen("output", (const char *[]){"lm_head", NULL});
  assert_frozen("attention", (const char *[]){"_attn.q", "_attn.k",
                                              "_attn.v", "_attn.o", NULL});
  assert_frozen("feed-forward", (const char *[]){".mlp.", NULL});
  assert_frozen("norms", (const char *[]){"norm", NULL});
  assert_frozen("model.layers.0.*", (const char *[]){"layers.0.", NULL});
  assert_frozen(
      "*.[kv]_proj.weight,lm_head.weight,router",
      (const char *[]){"k_proj", "v_proj", "lm_head", ".wg", NULL});
}

/* The other gradients are the same, and the norm is theirs alone. */
static void frozen_gradients_do_not_count(void **state) {
  (void)state;
  moh__train_options o = short_run();
  bench all;
  bench part;
  open_routed(&all, &o);
  o.freeze = "attention,output";
  open_routed(&part, &o);
  step(&all);
  double norm = step(&part).grad_norm;
  double squares = 0;
  for (int i = 0; i < all.model->n_params; i++) {
    const moh__param *a = &all.model->params[i];
    const moh__param *b = &part.model->params[i];
    if (!moh__param_is_trained(b)) continue;
    assert_memory_equal(a->grad, b->grad, (size_t)a->n * sizeof(real));
    squares += moh__kernel()->sum_squares(a->grad, a->n);
  }
  assert_true(fabs(norm - sqrt(squares)) < 1e-9 * norm);
  close_bench(&all);
  close_bench(&part);
}

/* A later trainer of the same model is free again. */
static void freezing_ends_with_the_trainer(void **state) {
  (void)state;
  moh__train_options o = short_run();
  char items[] = "norms";
  o.freeze = items;
  bench b;
  open_routed(&b, &o);
  items[0] = 'x'; /* the options were copied */
  assert_string_equal(b.trainer->options.freeze, "norms");
  moh__trainer_free(b.trainer);
  o.freeze = NULL;
  assert_int_equal(
      moh__trainer_new(&b.trainer, b.model, b.pool, &o, b.data, NULL, NULL),
      MOH_OK);
  kept k = keep(&b);
  step(&b);
  for (int i = 0; i < k.n; i++) assert_true(weights_moved(&b, &k, i) > 0);
  free_kept(&k);
  close_bench(&b);
}

static void what_matches_nothing_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *items, *message;
  } cases[] = {
      {"router,q_prj",
       "called 'q_prj'; near it are "
       "model.layers.*.self_attn.q_proj.weight; "
       "words are embeddings, output, router"},
      {"model.layers.2.*", "called 'model.layers.2.*'"},
      {"mlp",
       "near it are model.layers.*.mlp.gate_proj.weight, "
       "model.layers.*.mlp.up_proj.weight, model.layers.*.mlp.down"},
      {"norms,", "called ''"},
      {"*", "nothing is left to train"}};
  moh__config c = routed_config();
  moh__model *model;
  moh_error err;
  assert_int_equal(moh__arch_model_init(&model, &c, 5, &err), MOH_OK);
  assert_int_equal(moh__model_alloc_grads(model, &err), MOH_OK);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_int_equal(moh__freeze(model, cases[i].items, &err),
                     MOH_ERR_ARGUMENT);
    if (strstr(err.message, cases[i].message) == NULL)
      fail_msg("%s: %s", cases[i].items, err.message);
    for (int p = 0; p < model->n_params; p++)
      assert_true(moh__param_is_trained(&model->params[p]));
  }
  moh__model_free(model);
}

static void dense_models_have_no_router(void **state) {
  (void)state;
  moh__config c = tiny_config();
  moh__model *model;
  moh_error err;
  char name[200] = {0};
  memset(name, 'x', sizeof(name) - 1);
  assert_int_equal(moh__arch_model_init(&model, &c, 5, &err), MOH_OK);
  assert_int_equal(moh__model_alloc_grads(model, &err), MOH_OK);
  assert_int_equal(moh__freeze(model, "router", &err), MOH_ERR_ARGUMENT);
  assert_non_null(strstr(err.message, "no tensor of the kind 'router'"));
  assert_int_equal(moh__freeze(model, name, &err), MOH_ERR_ARGUMENT);
  assert_non_null(strstr(err.message, "too long"));
  moh__model_free(model);
}

/* ---- the probe ---- */

/* Before the first step and between others, with few and many sequences. */
static void a_probe_leaves_no_trace(void **state) {
  (void)state;
  static const int32_t batches[] = {1, 4, N_EXAMPLES + 3};
  for (int j = 0; j < 3; j++) {
    moh__train_options o = short_run();
    o.batch = batches[j];
    o.accumulate = 2;
    bench plain;
    bench probed;
    open_routed(&plain, &o);
    open_routed(&probed, &o);
    for (int i = 0; i < 6; i++) {
      moh__pace pace;
      if (i % 2 == 0)
        assert_int_equal(moh__trainer_probe(probed.trainer, &pace, NULL),
                         MOH_OK);
      moh__step_report a = step(&plain);
      moh__step_report b = step(&probed);
      assert_true(a.total_loss == b.total_loss && a.epoch == b.epoch);
      assert_true(a.grad_norm == b.grad_norm);
      assert_true(a.layers[1].entropy == b.layers[1].entropy);
      assert_true(pace.tokens == 2 * o.batch * (EXAMPLE - 1));
      assert_true(pace.seconds > 0 && isfinite(pace.seconds));
    }
    assert_true(furthest_weight(&plain, &probed) == 0);
    close_bench(&plain);
    close_bench(&probed);
  }
}

/* ---- what must not be saved ---- */

static void a_loss_that_is_not_finite_is_no_result(void **state) {
  (void)state;
  moh__train_options o = short_run();
  bench b;
  open_routed(&b, &o);
  moh_error err;
  moh__eval_result r;
  moh__model_param(b.model, "lm_head.weight")->data[5] = INFINITY;
  assert_int_equal(moh__model_pack(b.model, b.pool, NULL), MOH_OK);
  assert_int_equal(moh__trainer_evaluate(b.trainer, b.data, &r, &err),
                   MOH_ERR_DIVERGED);
  assert_non_null(strstr(err.message, "after step 0"));
  close_bench(&b);
}

static void broken_weights_are_named(void **state) {
  (void)state;
  moh__train_options o = short_run();
  bench b;
  open_routed(&b, &o);
  moh_error err;
  assert_int_equal(moh__model_check_finite(b.model, &err), MOH_OK);
  moh__param *w = moh__model_layer_param(b.model, 1, "mlp.up_proj.weight");
  static const real good[] = {(real)3.4e38, (real)-3.4e38, 0};
  static const real bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    w->data[w->n - 1] = bad[i];
    assert_int_equal(moh__model_check_finite(b.model, &err),
                     MOH_ERR_DIVERGED);
    assert_non_null(strstr(err.message, w->name));
    w->data[w->n - 1] = good[i];
    assert_int_equal(moh__model_check_finite(b.model, &err), MOH_OK);
  }
  close_bench(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(outliers_change_nothing),
      cmocka_unit_test(a_norm_is_enough),
      cmocka_unit_test(the_schedule_goes_on),
      cmocka_unit_test(without_outliers_nothing_changes),
      cmocka_unit_test(anomalies_stop_before_any_weight),
      cmocka_unit_test(without_anomalies_nothing_changes),
      cmocka_unit_test(skipped_steps_are_no_anomalies),
      cmocka_unit_test(all_heads_work_at_first),
      cmocka_unit_test(the_warmup_is_a_larger_choice),
      cmocka_unit_test(warmups_are_for_choices),
      cmocka_unit_test(frozen_tensors_keep_their_bits),
      cmocka_unit_test(frozen_gradients_do_not_count),
      cmocka_unit_test(freezing_ends_with_the_trainer),
      cmocka_unit_test(what_matches_nothing_is_refused),
      cmocka_unit_test(dense_models_have_no_router),
      cmocka_unit_test(a_probe_leaves_no_trace),
      cmocka_unit_test(a_loss_that_is_not_finite_is_no_result),
      cmocka_unit_test(broken_weights_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
