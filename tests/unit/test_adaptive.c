/*
 * Heads by mass in a model and in training, in float: what tokens use is what
 * the limit says, less of it is less work, the controller holds a mean,
 * sparsity lowers it, and limits change at updates only.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/declare.h"
#include "store/model_dir.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/temp_dir.h"
#include "support/tiny.h"
#include "support/training.h"
#include "train/head_control.h"

static void set_limit(const moh__model *model, double limit) {
  for (int64_t l = 0; l < model->config.n_layers; l++)
    moh__head_mass(model, l)->data[MOH__MASS_LIMIT] = (real)limit;
}

static double mean_heads(const tiny *t) {
  double sum = 0;
  int n = 0;
  for (const moh__head_use *u = t->tape.use; u != NULL; u = u->next, n++)
    sum += (double)moh__plan_entries(u->plan) / u->plan->n_rows;
  return sum / n;
}

/* ---- in a model ---- */

/* A table that counts the rows it is given. */
static int64_t rows_attended;

static void counting_attention(const moh__attention *a, void *scratch) {
  rows_attended += a->n;
  moh__kernels_reference.attention(a, scratch);
}

/* From the fewest to the most, and so many rows are attended. */
static void work_follows_the_limit(void **state) {
  (void)state;
  moh__kernels table = moh__kernels_reference;
  table.attention = counting_attention;
  const moh__kernels *old = moh__kernel();
  moh__config c = tiny_adaptive_config(1, 1, 3);
  double before = 0;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  for (double limit = 0; limit < 1.05; limit += 0.1) {
    set_limit(t.model, limit);
    moh__kernel_use(&table);
    rows_attended = 0;
    tiny_logits(&t);
    moh__kernel_use(old);
    double mean = mean_heads(&t);
    assert_true(mean >= before);
    assert_int_equal(rows_attended,
                     llround(mean * (double)(c.n_layers * TINY_ROWS)));
    if (limit == 0) assert_true(mean == 2);
    before = mean;
  }
  assert_true(before == 4);
  tiny_close(&t);
}

/* With a mass of more than there is, all k are taken: top-k to the bit. */
static void the_most_is_top_k(void **state) {
  (void)state;
  for (int k = 1; k <= 3; k++) {
    moh__config adaptive = tiny_adaptive_config(1, 1, k);
    moh__config fixed = tiny_moh_config(1, k);
    adaptive.sparsity_weight = 0;
    fixed.balance_weight = adaptive.balance_weight = 0.1;
    tiny a;
    tiny b;
    tiny_open(&a, &fixed, 1, 0.3);
    tiny_open(&b, &adaptive, 1, 0.3);
    for (int i = 0; i < a.model->n_params; i++)
      memcpy(moh__model_param(b.model, a.model->params[i].name)->data,
             a.model->params[i].data,
             (size_t)a.model->params[i].n * sizeof(real));
    if (k > 1) set_limit(b.model, 2);
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    for (int i = 0; i < a.model->n_params; i++)
      assert_same_reals(
          a.model->params[i].grad,
          moh__model_param(b.model, a.model->params[i].name)->grad,
          a.model->params[i].n, a.model->params[i].name);
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* ---- in training ---- */

static moh__config training_config(void) {
  moh__config c = tiny_adaptive_config(1, 1, 3);
  c.balance_weight = 0.01;
  c.z_weight = 0;
  c.sparsity_weight = 0;
  c.mass = 0.5;
  return c;
}

static moh__train_options long_run(void) {
  moh__train_options o = short_run();
  o.steps = 200;
  o.batch = 16;
  return o;
}

/* Means of the last 50 of 200 steps, by layer. */
static void last_means(const moh__config *c, const moh__train_options *o,
                       double *all, double *layers) {
  bench b;
  open_bench(&b, c, o, 1);
  *all = layers[0] = layers[1] = 0;
  for (int i = 0; i < 200; i++) {
    moh__step_report r = step(&b);
    if (i < 150) continue;
    *all += r.heads / 50;
    for (int l = 0; l < 2; l++) layers[l] += r.layers[l].per_token / 50;
  }
  close_bench(&b);
}

static void a_target_is_held(void **state) {
  (void)state;
  static const double targets[] = {2.3, 2.8, 3.5};
  moh__config c = training_config();
  moh__train_options o = long_run();
  for (int i = 0; i < 3; i++) {
    double all, layers[2];
    o.target_heads = targets[i];
    last_means(&c, &o, &all, layers);
    print_message("target %g: %g (%g, %g)\n", targets[i], all, layers[0],
                  layers[1]);
    assert_true(fabs(all / targets[i] - 1) < 0.02);
    for (int l = 0; l < 2; l++)
      assert_true(fabs(layers[l] / targets[i] - 1) < 0.02);
  }
}

static void sparsity_lowers_the_mean(void **state) {
  (void)state;
  static const double weights[] = {0, 0.03, 0.3};
  moh__train_options o = long_run();
  double before = 5;
  for (int i = 0; i < 3; i++) {
    double all, layers[2];
    moh__config c = training_config();
    c.mass = 0.8;
    c.sparsity_weight = weights[i];
    last_means(&c, &o, &all, layers);
    print_message("sparsity %g: %g heads\n", weights[i], all);
    assert_true(all < before - 0.1);
    before = all;
  }
}

static double limits(const bench *b, double *mean) {
  double sum = 0;
  *mean = 0;
  for (int64_t l = 0; l < 2; l++) {
    const moh__param *w = moh__head_mass(b->model, l);
    sum += (double)w->data[MOH__MASS_LIMIT];
    *mean += (double)w->data[MOH__MASS_MEAN];
  }
  return sum;
}

/* Evaluations and forecasts change no limit; steps do, but none does without a
 * target, when only the mean is kept. */
static void limits_change_at_updates_only(void **state) {
  (void)state;
  moh__config c = training_config();
  moh__train_options o = long_run();
  for (int on = 0; on < 2; on++) {
    moh__eval_result r;
    moh__pace pace;
    double mean, same;
    bench b;
    o.target_heads = on ? 2.5 : 0;
    open_bench(&b, &c, &o, 1);
    double before = limits(&b, &mean);
    assert_true(before == 1 && mean == 0);
    moh__trainer_evaluate(b.trainer, b.data, &r, NULL);
    moh__trainer_probe(b.trainer, &pace, NULL);
    assert_true(limits(&b, &mean) == before && mean == 0);
    moh__step_report report = step(&b);
    assert_true((limits(&b, &mean) == before) == !on);
    assert_true(fabs(mean - 2 * report.heads) < 1e-5);
    assert_true(report.layers[0].mass == 0.5); /* that of the step */
    before = limits(&b, &mean);
    moh__trainer_evaluate(b.trainer, b.data, &r, NULL);
    assert_true(limits(&b, &same) == before && same == mean);
    close_bench(&b);
  }
}

/* Activations that are computed again give the same limits, and weights. */
static void recomputing_changes_no_limit(void **state) {
  (void)state;
  moh__config c = training_config();
  moh__train_options o = long_run();
  bench kept, again;
  o.target_heads = 2.5;
  open_bench(&kept, &c, &o, 1);
  o.recompute = true;
  open_bench(&again, &c, &o, 1);
  for (int i = 0; i < 10; i++) {
    step(&kept);
    step(&again);
  }
  double mean;
  assert_true(limits(&kept, &mean) != 1);
  assert_true(furthest_weight(&kept, &again) == 0);
  close_bench(&kept);
  close_bench(&again);
}

/* Limits are in the files of a model and of a checkpoint. */
static void limits_are_saved(void **state) {
  moh__config c = training_config();
  moh__train_options o = long_run();
  const char *dir = temp_path(state, "model");
  moh__model *loaded;
  moh__load_options how = {.writable = false};
  bench b;
  o.target_heads = 2.5;
  open_bench(&b, &c, &o, 1);
  for (int i = 0; i < 5; i++) step(&b);
  assert_int_equal(moh__model_save(b.model, NULL, dir, NULL, NULL), MOH_OK);
  assert_int_equal(moh__model_load(&loaded, NULL, dir, how, NULL), MOH_OK);
  for (int64_t l = 0; l < 2; l++)
    assert_same_reals(moh__head_mass(b.model, l)->data,
                      moh__head_mass(loaded, l)->data, MOH__MASS_N, "mass");
  moh__model_free(loaded);
  close_bench(&b);
}

static void refused(const moh__config *c, double target, const char *word) {
  moh__head_control control;
  moh_error err = {0};
  assert_int_equal(moh__head_control_init(&control, c, target, &err),
                   MOH_ERR_ARGUMENT);
  if (strstr(err.message, word) == NULL)
    fail_msg("'%s' has no '%s'", err.message, word);
}

static void targets_must_be_possible(void **state) {
  (void)state;
  moh__config c = training_config(), fixed = tiny_moh_config(1, 2);
  refused(&c, 1.9, "2 to 4 heads");
  refused(&c, 4.1, "2 to 4 heads");
  refused(&fixed, 3, "adaptive:S+MIN-MAX");
}

static void quantiles(void **state) {
  (void)state;
  real x[] = {3, 1, 4, 1.5f, 9, 2.5f};
  assert_true(moh__quantile(x, 6, 0) == 1);
  assert_true(moh__quantile(x, 6, 0.5) == 2.75f);
  assert_true(moh__quantile(x, 6, 1.0 / 6) == 1.25f);
  assert_true(moh__quantile(x, 6, 1) == 1); /* of masses, none is above */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(work_follows_the_limit),
      cmocka_unit_test(the_most_is_top_k),
      cmocka_unit_test(a_target_is_held),
      cmocka_unit_test(sparsity_lowers_the_mean),
      cmocka_unit_test(limits_change_at_updates_only),
      cmocka_unit_test(recomputing_changes_no_limit),
      cmocka_unit_test_setup_teardown(limits_are_saved, temp_dir_setup,
                                      temp_dir_teardown),
      cmocka_unit_test(targets_must_be_possible),
      cmocka_unit_test(quantiles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
