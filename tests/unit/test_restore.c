/*
 * A trainer that goes on from a checkpoint gives the bits of one that never
 * stopped: for every option of the optimizer, for examples and for a
 * stream, with 1 and 2 threads. And checkpoints that do not fit are
 * refused.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "store/model_dir.h"
#include "support/check.h"
#include "support/temp_dir.h"
#include "support/training.h"
#include "train/outliers.h"

/* Steps before the break, and behind it. */
enum { BEFORE = 7, AFTER = 8 };

static void must(moh_status status, const moh_error *err) {
  if (status != MOH_OK) fail_msg("%s", err->message);
}

/* The model of a checkpoint with a trainer that goes on, in `threads`. */
static void reopen(bench *b, const char *dir, moh__dataset *data,
                   moh__dataset *mix, int threads) {
  moh_error err = {0};
  moh__checkpoint c;
  moh__load_options options = {.writable = true};
  memset(b, 0, sizeof(*b));
  must(moh__checkpoint_open(&c, dir, &err), &err);
  must(moh__model_load(&b->model, NULL, dir, options, &err), &err);
  must(moh__pool_new(&b->pool, threads, &err), &err);
  must(moh__trainer_new(&b->trainer, b->model, b->pool, &c.options, data, mix,
                        &err),
       &err);
  must(moh__trainer_restore(b->trainer, &c, &err), &err);
  assert_int_equal(moh__trainer_step_number(b->trainer), c.step);
  moh__checkpoint_close(&c);
}

static void close_reopened(bench *b) {
  moh__trainer_free(b->trainer);
  moh__model_free(b->model);
  moh__pool_free(b->pool);
}

static void same_step(bench *a, bench *b) {
  moh__step_report x = step(a), y = step(b);
  assert_int_equal(x.step, y.step);
  assert_true(x.total_loss == y.total_loss);
  assert_true(x.grad_norm == y.grad_norm);
  assert_true(x.lr == y.lr);
  assert_true(x.epoch == y.epoch);
  assert_int_equal(x.skipped, y.skipped);
}

static void check_model_break(void **state, const moh__config *c,
                              const moh__train_options *o, int n_before,
                              bool examples, int threads) {
  bench whole, resumed;
  moh_error err = {0};
  const char *dir = temp_path(state, "checkpoint");
  open_bench(&whole, c, o, 1);
  if (!examples) use_stream(&whole, o);
  for (int i = 0; i < n_before; i++) step(&whole);
  must(moh__trainer_checkpoint(whole.trainer, NULL, dir, NULL, &err), &err);
  reopen(&resumed, dir, whole.data, NULL, threads);
  for (int i = 0; i < AFTER; i++) same_step(&whole, &resumed);
  assert_int_equal(moh__trainer_n_skipped(whole.trainer),
                   moh__trainer_n_skipped(resumed.trainer));
  assert_true(furthest_weight(&whole, &resumed) == 0);
  close_reopened(&resumed);
  close_bench(&whole);
}

static void check_break(void **state, const moh__train_options *o,
                        int n_before, bool examples, int threads) {
  moh__config c = routed_config();
  check_model_break(state, &c, o, n_before, examples, threads);
}

static void check_option(void **state, const moh__train_options *o) {
  for (int i = 0; i < 4; i++) check_break(state, o, BEFORE, i % 2, 1 + i / 2);
}

static moh__train_options usual(void) {
  moh__train_options o = short_run();
  o.steps = 20;
  return o;
}

#define CHECK(change)               \
  do {                              \
    moh__train_options o = usual(); \
    change;                         \
    check_option(state, &o);        \
  } while (0)

static void going_on_is_never_having_stopped(void **state) {
  CHECK(o.seed = 5);
  CHECK(o.weight_decay = 0);
  CHECK(o.clip = 0);
  CHECK(o.clip = 0.01);
  CHECK(o.anomaly = 0);
  CHECK((o.agc = 0.01, o.centralize = true));
  CHECK(o.heads_warmup = 5);
  CHECK(o.heads_warmup = 9);
  CHECK(o.l2 = true);
  CHECK(o.amsgrad = true);
  CHECK((o.amsgrad = true, o.l2 = true));
  CHECK(o.router_lr = 0.1);
  CHECK((o.beta1 = 0, o.beta2 = 0.5, o.eps = 1e-3));
  CHECK((o.warmup = 0.5, o.lr_final = 0));
  CHECK((o.batch = 3, o.accumulate = 2));
  CHECK((o.steps = 0, o.epochs = 9));
  CHECK(o.freeze = "router,*.k_proj.weight");
  CHECK((o.lora_rank = 2, o.lora_alpha = 3, o.lora_on = "q_proj,mlp"));
  CHECK((o.lora_rank = 1, o.lora_alpha = 1, o.lora_on = "self_attn",
         o.amsgrad = true, o.precision = MOH__PRECISION_BF16));
  CHECK(o.precision = MOH__PRECISION_BF16);
  CHECK(o.recompute = true);
}

/* Biases of the selection are, too. */
static void biases_go_on(void **state) {
  moh__train_options o = usual();
  moh__config c = routed_config();
  c.bias_balance = 0.01;
  check_model_break(state, &c, &o, BEFORE, true, 2);
}

/* Windows are part of the model. */
static void windows_go_on(void **state) {
  moh__train_options o = usual();
  moh__config c = routed_config();
  c.window = (moh__window){MOH__WINDOW_ENTROPY, 0, 2, 8};
  check_model_break(state, &c, &o, BEFORE, true, 2);
  c.window.kind = MOH__WINDOW_PERPLEXITY;
  check_model_break(state, &c, &o, BEFORE, false, 1);
}

static void experts_go_on(void **state) {
  moh__config c = routed_config();
  moh__train_options o = usual();
  tiny_experts(&c, 1, 2, 4);
  check_model_break(state, &c, &o, BEFORE, true, 2);
  c.heads = MOH__HEADS_ALL;
  o.precision = MOH__PRECISION_BF16;
  o.recompute = true;
  check_model_break(state, &c, &o, BEFORE, false, 2);
}

/* The limits of heads by mass go on, and with them the numbers of heads. */
static void limits_go_on(void **state) {
  moh__train_options o = usual();
  for (int i = 0; i < 5; i++) {
    moh__config c = tiny_adaptive_config(1, 1, 3);
    if (i == 1) c.n_kv_heads = 4;
    if (i == 2) moh__config_set_architecture(&c, MOH__HRM);
    o.target_heads = i == 3 ? 0 : 2.7;
    o.recompute = i == 1;
    o.heads_warmup = i == 4 ? BEFORE + 2 : 0;
    check_model_break(state, &c, &o, BEFORE, i % 2, 1 + i / 2 % 2);
  }
}

/* The windows are full and steps are being skipped when it stops. */
static void outliers_are_known_after_the_break(void **state) {
  moh__train_options o = usual();
  o.steps = 400;
  o.lr = 1e-5; /* losses go up and down, and not away */
  o.skip_outliers = 0.5;
  check_break(state, &o, MOH__OUTLIER_WINDOW + 30, false, 1);
  check_break(state, &o, MOH__OUTLIER_WINDOW + 30, true, 2);
}

/* ---- a second data set ---- */

static void use_mix(bench *b, const moh__train_options *o,
                    moh__dataset *mix) {
  moh__trainer_free(b->trainer);
  assert_int_equal(
      moh__trainer_new(&b->trainer, b->model, b->pool, o, b->data, mix, NULL),
      MOH_OK);
}

/* Of one sequence a step, every other step has none of the main data. */
static void mixing_goes_on(void **state) {
  moh__config c = routed_config();
  const char *dir = temp_path(state, "checkpoint");
  for (int batch = 1; batch <= 3; batch += 2) {
    moh__train_options o = usual();
    bench whole, resumed;
    moh_error err = {0};
    moh__dataset *mix = training_data();
    o.batch = batch;
    o.mix_share = 0.5;
    open_bench(&whole, &c, &o, 1);
    use_mix(&whole, &o, mix);
    for (int i = 0; i < BEFORE; i++) step(&whole);
    must(moh__trainer_checkpoint(whole.trainer, NULL, dir, NULL, &err), &err);
    reopen(&resumed, dir, whole.data, mix, 2);
    for (int i = 0; i < AFTER; i++) same_step(&whole, &resumed);
    assert_true(furthest_weight(&whole, &resumed) == 0);
    close_reopened(&resumed);
    close_bench(&whole);
    moh__dataset_free(mix);
  }
}

/* Such a step has a line in the log like any other. */
static void steps_without_main_data_are_logged(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = usual();
  moh__dataset *mix = training_data();
  bench b;
  o.batch = 1;
  o.mix_share = 0.5;
  open_bench(&b, &c, &o, 1);
  use_mix(&b, &o, mix);
  for (int i = 0; i < 6; i++) {
    moh__step_report r = step(&b);
    json_t *line = moh__step_report_json(&r);
    assert_non_null(line);
    const json_t *main_loss = json_object_get(line, "main_loss");
    const json_t *mix_loss = json_object_get(line, "mix_loss");
    assert_true((main_loss == NULL) == (i % 2 == 1));
    assert_true((mix_loss == NULL) == (i % 2 == 0));
    json_decref(line);
  }
  close_bench(&b);
  moh__dataset_free(mix);
}

/* ---- what leaves no trace ---- */

static bool always(void *context) {
  ++*(int *)context;
  return true;
}

/* Steps and evaluations that were stopped in their middle, or have failed,
 * have not been. */
static void what_was_stopped_has_not_been(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = usual();
  o.accumulate = 2;
  bench calm, disturbed;
  open_bench(&calm, &c, &o, 1);
  open_bench(&disturbed, &c, &o, 1);
  moh__trainer *t = disturbed.trainer;
  int asked = 0;
  for (int i = 1; i <= o.steps; i++) {
    moh__step_report report;
    moh__eval_result result;
    moh__trainer_set_stop(t, always, &asked);
    assert_int_equal(moh__trainer_step(t, &report, NULL),
                     MOH_ERR_INTERRUPTED);
    assert_int_equal(moh__trainer_evaluate(t, disturbed.data, &result, NULL),
                     MOH_ERR_INTERRUPTED);
    assert_int_equal(asked, 2 * i);
    moh__trainer_set_stop(t, NULL, NULL);
    assert_int_equal(moh__trainer_evaluate(t, disturbed.data, &result, NULL),
                     MOH_OK);
    same_step(&calm, &disturbed);
  }
  assert_true(furthest_weight(&calm, &disturbed) == 0);
  close_bench(&calm);
  close_bench(&disturbed);
}

/* A checkpoint behind a step that diverged is as good as one before it. */
static void a_failed_step_can_be_saved_behind(void **state) {
  moh__config c = routed_config();
  moh__train_options o = usual();
  const char *dir = temp_path(state, "checkpoint");
  bench whole, resumed;
  moh_error err = {0};
  moh__step_report report;
  open_bench(&whole, &c, &o, 1);
  for (int i = 0; i < BEFORE; i++) step(&whole);
  moh__param *w =
      moh__model_layer_param(whole.model, 0, "mlp.up_proj.weight");
  real good = w->data[3];
  w->data[3] = NAN;
  must(moh__model_pack(whole.model, whole.pool, &err), &err);
  assert_int_equal(moh__trainer_step(whole.trainer, &report, &err),
                   MOH_ERR_DIVERGED);
  w->data[3] = good;
  must(moh__model_pack(whole.model, whole.pool, &err), &err);
  must(moh__trainer_checkpoint(whole.trainer, NULL, dir, NULL, &err), &err);
  reopen(&resumed, dir, whole.data, NULL, 1);
  for (int i = 0; i < AFTER; i++) same_step(&whole, &resumed);
  close_reopened(&resumed);
  close_bench(&whole);
}

/* ---- refusing ---- */

static void edit(const char *path, const char *key, json_t *value) {
  json_t *state = NULL;
  moh_error err = {0};
  must(moh__json_load(&state, path, &err), &err);
  json_object_set_new(state, key, value);
  char *text = json_dumps(state, 0);
  temp_write(path, text, strlen(text));
  free(text);
  json_decref(state);
}

static void refused(const char *text, const char *word) {
  moh__checkpoint c;
  moh_error err = {0};
  assert_int_equal(
      moh__checkpoint_parse(&c, text, strlen(text), "state.json", &err),
      MOH_ERR_FORMAT);
  if (strstr(err.message, word) == NULL)
    fail_msg("\"%s\" does not say %s", err.message, word);
  assert_null(c.state);
}

/* Each field in turn is taken away or spoiled. */
static void spoiled_states_are_named(void **state) {
  moh__config c = routed_config();
  moh__train_options o = usual();
  bench b;
  moh_error err = {0};
  const char *dir = temp_path(state, "checkpoint");
  open_bench(&b, &c, &o, 1);
  step(&b);
  must(moh__trainer_checkpoint(b.trainer, NULL, dir, NULL, &err), &err);
  close_bench(&b);
  char *path = moh__path_join(dir, "state.json");
  const struct {
    const char *key;
    json_t *value;
  } bad[] = {
      {"step", json_integer(-1)},     {"step", json_integer(21)},
      {"step", json_integer(2)},      {"n_steps", json_integer(0)},
      {"n_steps", json_string("20")}, {"updates", json_integer(2)},
      {"drawn", json_integer(5)},     {"drawn", json_integer(INT64_MAX)},
      {"data", json_null()},          {"options", json_array()},
      {"outliers", json_object()},    {"extra", json_array()}};
  json_t *good = NULL;
  must(moh__json_load(&good, path, &err), &err);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    edit(path, bad[i].key, bad[i].value);
    assert_int_equal(moh__checkpoint_open(&(moh__checkpoint){0}, dir, &err),
                     MOH_ERR_FORMAT); /* the manifest sees it already */
    size_t n;
    char *text = (char *)temp_read(path, &n);
    text = realloc(text, n + 1);
    text[n] = '\0';
    refused(text, strcmp(bad[i].key, "step") == 0       ? "step"
                  : strcmp(bad[i].key, "outliers") == 0 ? "loss"
                                                        : bad[i].key);
    free(text);
    must(moh__json_save(good, path, &err), &err);
  }
  json_decref(good);
  free(path);
}

static void refused_options(json_t *json, const char *key, json_t *value) {
  moh__train_options o;
  moh_error err = {0};
  json_object_set_new(json, key, value);
  assert_int_equal(moh__train_options_from_json(&o, json, &err),
                   MOH_ERR_FORMAT);
  if (strstr(err.message, key) == NULL)
    fail_msg("\"%s\" does not say %s", err.message, key);
}

/* What later versions added to the options may be missing, and is off then;
 * where it is there it must be right. */
static void later_options_may_be_missing(void **state) {
  (void)state;
  static const char *const reals[] = {"anomaly", "agc"};
  moh__train_options o = usual(), old;
  json_t *json = moh__train_options_json(&o);
  for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
    refused_options(json, reals[i], json_string("1"));
    refused_options(json, reals[i], json_real(-1));
    json_object_del(json, reals[i]);
  }
  refused_options(json, "heads_warmup", json_real(1));
  refused_options(json, "heads_warmup", json_integer(-1));
  json_object_del(json, "heads_warmup");
  refused_options(json, "centralize", json_real(1));
  json_object_del(json, "centralize");
  assert_int_equal(moh__train_options_from_json(&old, json, NULL), MOH_OK);
  assert_true(old.anomaly == 0 && old.agc == 0 && !old.centralize &&
              old.heads_warmup == 0);
  json_decref(json);
}

static void other_data_and_options_are_refused(void **state) {
  moh__config c = routed_config();
  moh__train_options o = usual();
  bench b, other;
  moh_error err = {0};
  moh__checkpoint checkpoint;
  const char *dir = temp_path(state, "checkpoint");
  open_bench(&b, &c, &o, 1);
  step(&b);
  must(moh__trainer_checkpoint(b.trainer, NULL, dir, NULL, &err), &err);
  must(moh__checkpoint_open(&checkpoint, dir, &err), &err);
  o.lr *= 2;
  open_bench(&other, &c, &o, 1);
  assert_int_equal(moh__trainer_restore(other.trainer, &checkpoint, &err),
                   MOH_ERR_ARGUMENT);
  assert_non_null(strstr(err.message, "other training options"));
  close_bench(&other);
  o = usual();
  open_bench(&other, &c, &o, 1);
  use_stream(&other, &o);
  assert_int_equal(moh__trainer_restore(other.trainer, &checkpoint, &err),
                   MOH_ERR_ARGUMENT);
  assert_non_null(strstr(err.message, "the data are not those"));
  close_bench(&other);
  moh__checkpoint_close(&checkpoint);
  close_bench(&b);
}

/* ---- several checkpoints ---- */

static void count_skipped(void *context, const char *path,
                          const moh_error *reason) {
  (void)path;
  assert_true(reason->message[0] != '\0');
  ++*(int *)context;
}

static void the_newest_whole_one_is_taken(void **state) {
  moh__config c = routed_config();
  moh__train_options o = usual();
  bench b;
  moh_error err = {0};
  const char *dir = temp_path(state, "checkpoints");
  must(moh__make_dirs(dir, &err), &err);
  open_bench(&b, &c, &o, 1);
  for (int64_t i = 1; i <= 4; i++) {
    char *path = moh__checkpoint_path(dir, i);
    step(&b);
    must(moh__trainer_checkpoint(b.trainer, NULL, path, NULL, &err), &err);
    free(path);
  }
  close_bench(&b);
  temp_write(temp_path(state, "checkpoints/step-000004/state.json"), "{", 1);
  temp_write(temp_path(state, "checkpoints/step-000003/manifest.json"), "",
             0);
  must(moh__make_dirs(temp_path(state, "checkpoints/step-000009.part"), &err),
       &err);
  moh__checkpoint checkpoint;
  int n_skipped = 0;
  must(moh__checkpoint_newest(&checkpoint, dir, count_skipped, &n_skipped,
                              &err),
       &err);
  assert_int_equal(checkpoint.step, 2);
  assert_int_equal(n_skipped, 2);
  moh__checkpoint_close(&checkpoint);
  must(moh__checkpoints_keep(dir, 1, 2, &err), &err);
  assert_int_equal(temp_count(dir), 3); /* 2, and the damaged 3 and 4 */
  assert_true(temp_exists(temp_path(state, "checkpoints/step-000002")));
  must(moh__checkpoints_keep(dir, 2, 4, &err), &err);
  assert_int_equal(temp_count(dir), 2);
  assert_true(temp_exists(temp_path(state, "checkpoints/step-000004")));
  must(moh__checkpoints_keep(temp_path(state, "nothing"), 2, 4, &err), &err);
}

int main(void) {
#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)
  const struct CMUnitTest tests[] = {
      WITH_DIR(going_on_is_never_having_stopped),
      WITH_DIR(windows_go_on),
      WITH_DIR(experts_go_on),
      WITH_DIR(biases_go_on),
      WITH_DIR(limits_go_on),
      WITH_DIR(outliers_are_known_after_the_break),
      WITH_DIR(mixing_goes_on),
      cmocka_unit_test(steps_without_main_data_are_logged),
      cmocka_unit_test(what_was_stopped_has_not_been),
      WITH_DIR(a_failed_step_can_be_saved_behind),
      WITH_DIR(spoiled_states_are_named),
      cmocka_unit_test(later_options_may_be_missing),
      WITH_DIR(other_data_and_options_are_refused),
      WITH_DIR(the_newest_whole_one_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
