/*
 * Windows that adapt: what is measured of attention, how it moves a layer's
 * window, and that what does not train moves nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/training.h"
#include "train/trainer_internal.h"

static const moh__window by_entropy = {MOH__WINDOW_ENTROPY, 0, 2, 8};
static const moh__window by_loss = {MOH__WINDOW_PERPLEXITY, 0, 2, 8};

static void assert_close(double x, double expected, double off) {
  if (!(fabs(x - expected) <= off)) fail_msg("%.9g, not %.9g", x, expected);
}

static void set_all(moh__model *model, const char *part, double value) {
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (strstr(w->name, part) == NULL) continue;
    for (int64_t j = 0; j < w->n; j++) w->data[j] = (real)value;
  }
}

static void scale_all(moh__model *model, const char *part, real by) {
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (strstr(w->name, part) == NULL) continue;
    for (int64_t j = 0; j < w->n; j++) w->data[j] *= by;
  }
}

static double share(const moh__model *model, int64_t layer) {
  return (double)moh__model_window_share(model, layer)->data[0];
}

/* ---- what is measured ---- */

/* The mean of a layer, and how many queries it is of. */
static double measure(tiny *t, int64_t layer, int64_t *n) {
  moh__evenness cells[2 * 4] = {{0}}, all = {0};
  assert_int_equal(moh__model_pack(t->model, t->pool, NULL), MOH_OK);
  t->tape.evenness = cells;
  tiny_logits(t);
  t->tape.evenness = NULL;
  for (int64_t h = layer * 4; h < (layer + 1) * 4; h++) {
    all.sum += cells[h].sum;
    all.n += cells[h].n;
  }
  *n = all.n;
  return all.sum / (double)all.n;
}

/* Queries of 0 look everywhere alike, whatever they see of it. The batch has
 * sequences of 9, 1 and 7: all of their queries but the first have a choice. Of
 * a head's 17 entries 16 are drawn, few of them twice. */
static void uniform_attention_is_even(void **state) {
  (void)state;
  for (int w = 0; w < 3; w++) {
    moh__config c = tiny_config();
    if (w > 0) c.window = (moh__window){MOH__WINDOW_SLIDING, 1 + w, 0, 0};
    c.position = w == 0 ? MOH__POSITION_ROPE : MOH__POSITION_COPE;
    c.cope_positions = 5;
    tiny t;
    int64_t n;
    tiny_open(&t, &c, 1, 0.3);
    set_all(t.model, "q_proj", 0);
    assert_close(measure(&t, 1, &n), 1, 1e-6);
    assert_true(n >= 4 * 12 && n <= 4 * 15);
    tiny_close(&t);
  }
}

static void peaked_attention_is_not(void **state) {
  (void)state;
  moh__config c = tiny_config();
  tiny t;
  int64_t n;
  tiny_open(&t, &c, 1, 0.3);
  double before = measure(&t, 0, &n);
  scale_all(t.model, "q_proj", 10);
  double sharper = measure(&t, 0, &n);
  scale_all(t.model, "q_proj", 100);
  double sharpest = measure(&t, 0, &n);
  assert_true(before < 1 && sharper < before && sharpest < 0.05);
  assert_true(sharpest >= 0);
  tiny_close(&t);
}

/* One key is no choice. */
static void a_window_of_one_is_not_measured(void **state) {
  (void)state;
  moh__config c = tiny_config();
  c.window = (moh__window){MOH__WINDOW_SLIDING, 1, 0, 0};
  tiny t;
  int64_t n;
  tiny_open(&t, &c, 1, 0.3);
  measure(&t, 0, &n);
  assert_int_equal(n, 0);
  tiny_close(&t);
}

static void copy_by_name(moh__model *to, const moh__model *from) {
  for (int i = 0; i < to->n_params; i++) {
    moh__param *w = &to->params[i];
    const moh__param *v = moh__model_param(from, w->name);
    if (v != NULL) memcpy(w->data, v->data, (size_t)w->n * sizeof(real));
  }
}

/* CoPE with a table of zeros is attention without positions. Of heads that a
 * router chooses, those in use. */
static void tables_of_zeros_change_nothing(void **state) {
  (void)state;
  for (int window = 0; window < 2; window++) {
    moh__config c = tiny_moh_config(1, 2);
    if (window) c.window = (moh__window){MOH__WINDOW_LENGTH, 0, 2, 5};
    c.position = MOH__POSITION_NONE;
    tiny plain, cope;
    int64_t n, m;
    tiny_open(&plain, &c, 1, 0.5);
    c.position = MOH__POSITION_COPE;
    c.cope_positions = 4;
    tiny_open(&cope, &c, 2, 0.5);
    copy_by_name(cope.model, plain.model);
    set_all(cope.model, "cope", 0);
    for (int64_t layer = 0; layer < 2; layer++) {
      double expected = measure(&plain, layer, &n);
      assert_close(measure(&cope, layer, &m), expected, 1e-5);
      assert_true(n == m && n > 0 && expected > 0 && expected < 1);
    }
    tiny_close(&plain);
    tiny_close(&cope);
  }
}

/* ---- how windows move ---- */

/* A layer's window is that of a sliding one of its size, bit for bit. */
static void it_slides(void **state) {
  (void)state;
  moh__config c = tiny_config();
  tiny adapted, sliding;
  c.window = by_entropy;
  tiny_open(&adapted, &c, 1, 0.3);
  set_all(adapted.model, "window_share", 0.51);
  assert_int_equal(moh__model_window(adapted.model, 1), 5);
  c.window = (moh__window){MOH__WINDOW_SLIDING, 5, 0, 0};
  tiny_open(&sliding, &c, 1, 0.3);
  copy_by_name(sliding.model, adapted.model);
  real *logits = copied_reals(tiny_logits(&adapted), TINY_ROWS * TINY_VOCAB);
  assert_same_reals(logits, tiny_logits(&sliding), TINY_ROWS * TINY_VOCAB,
                    "of 5 keys");
  set_all(adapted.model, "layers.1.self_attn.window_share", 0);
  assert_int_equal(moh__model_window(adapted.model, 1), 2);
  assert_true(largest_difference(logits, tiny_logits(&adapted),
                                 TINY_ROWS * TINY_VOCAB) > 0);
  free(logits);
  tiny_close(&adapted);
  tiny_close(&sliding);
}

static void open_window(bench *b, moh__window window, int threads) {
  moh__config c = routed_config();
  moh__train_options o = short_run();
  c.window = window;
  open_bench(b, &c, &o, threads);
  for (int64_t layer = 0; layer < 2; layer++)
    assert_true(share(b->model, layer) == 1); /* the widest */
}

/* Weights that hardly move, so that attention stays as it is. */
static void stand_still(bench *b) { b->trainer->options.lr = 1e-30; }

static void uniform_attention_widens(void **state) {
  (void)state;
  bench b;
  open_window(&b, by_entropy, 1);
  stand_still(&b);
  set_all(b.model, "q_proj", 0);
  set_all(b.model, "window_share", 0.3);
  assert_int_equal(moh__model_pack(b.model, b.pool, NULL), MOH_OK);
  double expected = 0.3;
  for (int i = 0; i < 12; i++) {
    moh__step_report r = step(&b);
    assert_int_equal(r.n_windows, 2);
    assert_int_equal(r.windows[1], 2 + (int64_t)(6 * expected));
    expected += 0.2 * (1 - expected);
    assert_close(share(b.model, 0), expected, 1e-5);
    assert_close(share(b.model, 1), expected, 1e-5);
  }
  assert_int_equal(moh__model_window(b.model, 0), 7);
  close_bench(&b);
}

static void peaked_attention_narrows(void **state) {
  (void)state;
  bench b;
  open_window(&b, by_entropy, 1);
  stand_still(&b);
  scale_all(b.model, "q_proj", 3e4);
  scale_all(b.model, "embed_tokens", 50);
  assert_int_equal(moh__model_pack(b.model, b.pool, NULL), MOH_OK);
  assert_int_equal(moh__model_window(b.model, 0), 8);
  double before = 1;
  for (int i = 0; i < 20; i++) {
    step(&b);
    assert_true(share(b.model, 0) < before);
    before = share(b.model, 0);
  }
  assert_true(before < 0.1);
  assert_int_equal(moh__model_window(b.model, 0), 2);
  close_bench(&b);
}

/* The window after an update with that loss from a share of 1/2. */
static int64_t window_after(bench *b, double loss) {
  set_all(b->model, "window_share", 0.5);
  moh__windows_update(&b->trainer->windows, loss);
  assert_int_equal(moh__model_window(b->model, 0),
                   moh__model_window(b->model, 1));
  return moh__model_window(b->model, 1);
}

static void high_perplexity_is_wide(void **state) {
  (void)state;
  bench b;
  const moh__window wide = {MOH__WINDOW_PERPLEXITY, 0, 10, 90};
  open_window(&b, wide, 1);
  double most = log((double)TINY_VOCAB);
  int64_t before = 0;
  for (int i = 0; i <= 10; i++) {
    int64_t now = window_after(&b, most * i / 10);
    assert_true(now > before);
    before = now;
  }
  assert_int_equal(window_after(&b, 0), 10 + 32);
  assert_int_equal(before, 10 + 48);
  assert_int_equal(window_after(&b, 10 * most), before);
  close_bench(&b);
}

/* A step's loss moves it, and the window that it reports is the one before. */
static void losses_move_it(void **state) {
  (void)state;
  bench b;
  open_window(&b, by_loss, 1);
  double expected = 1;
  for (int i = 0; i < 5; i++) {
    moh__step_report r = step(&b);
    assert_int_equal(r.windows[0], 2 + (int64_t)(6 * expected));
    double now = fmin(1, r.task_loss / log((double)TINY_VOCAB));
    expected += 0.2 * (now - expected);
    assert_close(share(b.model, 0), expected, 1e-6);
  }
  close_bench(&b);
}

static void others_have_none(void **state) {
  (void)state;
  bench b;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  c.window = (moh__window){MOH__WINDOW_LENGTH, 0, 2, 5};
  open_bench(&b, &c, &o, 1);
  assert_int_equal(step(&b).n_windows, 0);
  assert_null(moh__model_window_share(b.model, 0));
  assert_int_equal(moh__model_window(b.model, 0), 5);
  close_bench(&b);
}

/* ---- what moves nothing ---- */

static void only_updates_move_it(void **state) {
  (void)state;
  bench b;
  moh_error err;
  moh__eval_result e;
  moh__step_report r;
  moh__pace pace;
  open_window(&b, by_entropy, 1);
  for (int i = 0; i < 3; i++) step(&b);
  double before = share(b.model, 0);
  assert_true(before < 1);
  assert_int_equal(moh__trainer_evaluate(b.trainer, b.data, &e, &err),
                   MOH_OK);
  assert_int_equal(moh__trainer_probe(b.trainer, &pace, &err), MOH_OK);
  b.trainer->options.anomaly = 1e-9;
  assert_int_equal(moh__trainer_step(b.trainer, &r, &err), MOH_ERR_DIVERGED);
  b.trainer->options.anomaly = 0;
  b.trainer->options.skip_outliers = 1;
  moh__outliers *o = &b.trainer->outliers;
  o->n = MOH__OUTLIER_WINDOW;
  for (int i = 0; i < o->n; i++) o->loss[i] = o->norm[i] = 1e-3;
  assert_true(step(&b).skipped);
  assert_true(share(b.model, 0) == before);
  b.trainer->options.skip_outliers = 0;
  step(&b);
  assert_true(share(b.model, 0) != before);
  close_bench(&b);
}

/* 20 steps of both; the largest difference of a weight or a share. */
static real difference(moh__config c, moh__train_options x, int threads_x,
                       moh__train_options y, int threads_y) {
  bench a, b;
  open_bench(&a, &c, &x, threads_x);
  open_bench(&b, &c, &y, threads_y);
  for (int i = 0; i < 20; i++) {
    step(&a);
    step(&b);
  }
  assert_true(share(a.model, 0) < 1 && share(a.model, 1) < 1);
  real furthest = furthest_weight(&a, &b);
  close_bench(&a);
  close_bench(&b);
  return furthest;
}

static void threads_and_recomputation_change_no_bit(void **state) {
  (void)state;
  for (int architecture = 0; architecture < 2; architecture++)
    for (int cope = 0; cope < 2; cope++) {
      moh__config c = routed_config();
      moh__train_options o = short_run(), other = o;
      c.position = cope ? MOH__POSITION_COPE : MOH__POSITION_ROPE;
      c.cope_positions = 5;
      c.window = by_entropy;
      if (architecture == 1) moh__config_set_architecture(&c, MOH__HRM);
      other.recompute = true;
      assert_true(difference(c, o, 1, other, 2) == 0);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(uniform_attention_is_even),
      cmocka_unit_test(peaked_attention_is_not),
      cmocka_unit_test(a_window_of_one_is_not_measured),
      cmocka_unit_test(tables_of_zeros_change_nothing),
      cmocka_unit_test(it_slides),
      cmocka_unit_test(uniform_attention_widens),
      cmocka_unit_test(peaked_attention_narrows),
      cmocka_unit_test(high_perplexity_is_wide),
      cmocka_unit_test(losses_move_it),
      cmocka_unit_test(others_have_none),
      cmocka_unit_test(only_updates_move_it),
      cmocka_unit_test(threads_and_recomputation_change_no_bit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
