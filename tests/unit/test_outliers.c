/*
 * Outliers against windows worked out by hand: when a value is one, what
 * enters the window, the way out of a lasting change, and the state as
 * JSON.
 */
#include <math.h>
#include <string.h>

#include "support/check.h"
#include "train/outliers.h"

enum { WINDOW = MOH__OUTLIER_WINDOW, IN_A_ROW = MOH__OUTLIERS_IN_A_ROW };

/* Losses 1 and 3 in turns: mean 2, standard deviation 1. Norms 10 and 30.
 */
static void fill(moh__outliers *o, int n) {
  for (int i = 0; i < n; i++) {
    double x = i % 2 == 0 ? 1 : 3;
    assert_false(moh__outliers_check(o, 3, x, 10 * x));
  }
}

static void beyond_z_deviations(void **state) {
  (void)state;
  static const struct {
    double loss, norm;
    bool outlier;
  } cases[] = {{4.999, 20, false}, {5.001, 20, true}, {2, 49.99, false},
               {2, 50.01, true},   {-100, 0, false},  {1e300, 1e300, true}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh__outliers o = {.n = 0};
    fill(&o, WINDOW);
    assert_int_equal(
        moh__outliers_check(&o, 3, cases[i].loss, cases[i].norm),
        cases[i].outlier);
    assert_int_equal(o.n_skipped, cases[i].outlier);
  }
}

static void not_before_the_window_is_full(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW - 1);
  assert_false(moh__outliers_check(&o, 3, 1000, 1000));
  assert_int_equal(o.n, WINDOW);
}

/* The window moves: after 128 larger values those are the measure. */
static void the_window_moves(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW);
  for (int i = 0; i < WINDOW; i++)
    assert_false(moh__outliers_check(&o, 1e9, i % 2 == 0 ? 7 : 9, 20));
  assert_false(moh__outliers_check(&o, 3, 10.9, 20));
  o.n_skipped = 0;
  assert_true(moh__outliers_check(&o, 3, 13, 20));
}

static void outliers_stay_outside(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW);
  moh__outliers before = o;
  assert_true(moh__outliers_check(&o, 3, 5.001, 20));
  assert_memory_equal(o.loss, before.loss, sizeof(o.loss));
  assert_memory_equal(o.norm, before.norm, sizeof(o.norm));
  assert_true(moh__outliers_check(&o, 3, 5.001, 20));
}

/* The eleventh in a row is done, and the windows start anew from it. */
static void a_lasting_change_is_accepted(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW);
  for (int i = 0; i < IN_A_ROW; i++)
    assert_true(moh__outliers_check(&o, 3, 50, 20));
  assert_false(moh__outliers_check(&o, 3, 50, 20));
  assert_int_equal(o.n, 1);
  assert_int_equal(o.n_in_a_row, 0);
  assert_true(o.loss[0] == 50 && o.norm[0] == 20);
  assert_int_equal(o.n_skipped, IN_A_ROW);
}

/* An ordinary step between outliers makes the count start again. */
static void only_a_row_counts(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW);
  for (int i = 0; i < 3 * IN_A_ROW; i++) {
    assert_true(moh__outliers_check(&o, 3, 50, 20));
    assert_false(moh__outliers_check(&o, 3, 2, 20));
  }
}

/* 0.1 summed 128 times is not 12.8, but that is no deviation. */
static void standing_still_is_no_outlier(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  for (int i = 0; i < 3 * WINDOW; i++)
    assert_false(moh__outliers_check(&o, 0.001, 0.1, 0.7));
}

static void assert_same(const moh__outliers *a, const moh__outliers *b) {
  size_t bytes = (size_t)a->n * sizeof(double);
  assert_int_equal(a->n, b->n);
  assert_int_equal(a->n_in_a_row, b->n_in_a_row);
  assert_int_equal(a->n_skipped, b->n_skipped);
  assert_memory_equal(a->loss, b->loss, bytes);
  assert_memory_equal(a->norm, b->norm, bytes);
}

/* Through text, as a checkpoint does it: every bit comes back. */
static void the_state_comes_back(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  moh__outliers back = {.n = 0};
  for (int i = 0; i < 200; i++) {
    moh__outliers_check(&o, 3, 2 + sin(i), 1.0 / (i + 1));
    json_t *json = moh__outliers_to_json(&o);
    char *text = json_dumps(json, JSON_COMPACT);
    json_t *read = json_loads(text, 0, NULL);
    assert_int_equal(moh__outliers_from_json(&back, read, NULL), MOH_OK);
    assert_same(&o, &back);
    json_decref(json);
    json_decref(read);
    free(text);
  }
  assert_int_equal(o.n, WINDOW);
}

static void broken_states_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"[]", "must be an object"},
      {"{}", "\"loss\" must be an array"},
      {"{\"loss\": [1, \"x\"], \"norm\": []}", "element 1 of \"loss\""},
      {"{\"loss\": [1], \"norm\": []}", "\"loss\" has 1 numbers"},
      {"{\"loss\": [1], \"norm\": [null]}", "element 0 of \"norm\""},
      {"{\"loss\": [], \"norm\": []}", "skipped"},
      {"{\"loss\": [], \"norm\": [], \"skipped\": -1}", "skipped"},
      {"{\"loss\": [], \"norm\": [], \"skipped\": 20, \"in_a_row\": 11}",
       "in_a_row"},
      {"{\"loss\": [], \"norm\": [], \"skipped\": 2, \"in_a_row\": 3}",
       "in_a_row"}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh_error err;
    moh__outliers o = {.n = 3};
    json_t *json = json_loads(cases[i].text, 0, NULL);
    assert_int_equal(moh__outliers_from_json(&o, json, &err),
                     MOH_ERR_FORMAT);
    if (strstr(err.message, cases[i].message) == NULL)
      fail_msg("%s: %s", cases[i].text, err.message);
    assert_int_equal(o.n, 3);
    json_decref(json);
  }
}

static void long_windows_are_refused(void **state) {
  (void)state;
  moh__outliers o = {.n = 0};
  fill(&o, WINDOW);
  json_t *json = moh__outliers_to_json(&o);
  json_array_append_new(json_object_get(json, "norm"), json_real(1));
  assert_int_equal(moh__outliers_from_json(&o, json, NULL), MOH_ERR_FORMAT);
  json_decref(json);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(beyond_z_deviations),
      cmocka_unit_test(not_before_the_window_is_full),
      cmocka_unit_test(the_window_moves),
      cmocka_unit_test(outliers_stay_outside),
      cmocka_unit_test(a_lasting_change_is_accepted),
      cmocka_unit_test(only_a_row_counts),
      cmocka_unit_test(standing_still_is_no_outlier),
      cmocka_unit_test(the_state_comes_back),
      cmocka_unit_test(broken_states_are_refused),
      cmocka_unit_test(long_windows_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
