/* JSON: strictness, messages with a place, fields by name, saving. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "support/check.h"
#include "support/temp_dir.h"

static json_t *parse(const char *text) {
  json_t *json;
  moh_error err;
  if (moh__json_parse(&json, text, strlen(text), "text", &err) != MOH_OK)
    fail_msg("%s", err.message);
  return json;
}

static void assert_refused(const char *text, size_t n, const char *part) {
  json_t *json;
  moh_error err = {0};
  assert_int_equal(moh__json_parse(&json, text, n, "bad.json", &err),
                   MOH_ERR_FORMAT);
  assert_null(json);
  assert_non_null(strstr(err.message, "bad.json"));
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
}
#define ASSERT_REFUSED(text, part) \
  assert_refused(text, sizeof(text) - 1, part)

static void what_is_not_json_is_refused(void **state) {
  (void)state;
  ASSERT_REFUSED("", "line 1");
  ASSERT_REFUSED("{\n  \"a\": 1,\n  oops\n}", "line 3, column 6");
  ASSERT_REFUSED("{\"a\": 1", "line 1");
  ASSERT_REFUSED("{\"a\": 1} x", "end of file expected");
  ASSERT_REFUSED("{\"a\": 1, \"a\": 2}", "duplicate");
  ASSERT_REFUSED("{\"a\": 1, \"\\u0061\": 2}", "duplicate");
  ASSERT_REFUSED("{\"a\": NaN}", "invalid token");
  ASSERT_REFUSED("{\"a\": 1e999}", "real number overflow");
  ASSERT_REFUSED("{\"a\": 99999999999999999999}", "too big");
  ASSERT_REFUSED("{\"a\": \"\xff\"}", "unable to decode byte 0xff");
  ASSERT_REFUSED("{\"a\": \"\\ud800\"}", "invalid Unicode");
  ASSERT_REFUSED("{\"a\"\0: 1}", "line 1");
}

static void deep_nesting_is_refused(void **state) {
  (void)state;
  enum { DEPTH = 1000000 };
  char *text = malloc(DEPTH);
  assert_non_null(text);
  memset(text, '[', DEPTH);
  assert_refused(text, DEPTH, "depth");
  free(text);
}

static void integers_have_a_range(void **state) {
  (void)state;
  moh_error err = {0};
  int64_t value = -1;
  json_t *json = parse("{\"n\": 7, \"r\": 7.0, \"s\": \"7\"}");
  assert_int_equal(moh__json_get_int(json, "n", 7, 7, &value, NULL),
                   MOH_OK);
  assert_int_equal(value, 7);
  assert_int_equal(moh__json_get_int(json, "n", 8, 9, &value, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message,
                      "the field \"n\" is 7, it must lie between 8 and 9");
  assert_int_equal(moh__json_get_int(json, "n", 0, 6, &value, NULL),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__json_get_int(json, "r", 0, 9, &value, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message,
                      "the field \"r\" must be a whole number");
  assert_int_equal(moh__json_get_int(json, "s", 0, 9, &value, NULL),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__json_get_int(json, "x", 0, 9, &value, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message, "the field \"x\" is missing");
  assert_int_equal(value, 7);
  json_decref(json);
}

static void reals_may_be_whole(void **state) {
  (void)state;
  double value = 0;
  json_t *json = parse("{\"r\": 0.25, \"n\": 3, \"b\": true}");
  assert_int_equal(moh__json_get_real(json, "r", &value, NULL), MOH_OK);
  assert_true(value == 0.25);
  assert_int_equal(moh__json_get_real(json, "n", &value, NULL), MOH_OK);
  assert_true(value == 3);
  assert_int_equal(moh__json_get_real(json, "b", &value, NULL),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__json_get_real(json, "x", &value, NULL),
                   MOH_ERR_FORMAT);
  json_decref(json);
}

static void bools_and_strings(void **state) {
  (void)state;
  bool flag = true;
  const char *text = NULL;
  json_t *json =
      parse("{\"t\": true, \"f\": false, \"s\": \"x\", \"n\": 1}");
  assert_int_equal(moh__json_get_bool(json, "f", &flag, NULL), MOH_OK);
  assert_false(flag);
  assert_int_equal(moh__json_get_bool(json, "t", &flag, NULL), MOH_OK);
  assert_true(flag);
  assert_int_equal(moh__json_get_bool(json, "n", &flag, NULL),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__json_get_string(json, "s", &text, NULL), MOH_OK);
  assert_string_equal(text, "x");
  assert_int_equal(moh__json_get_string(json, "n", &text, NULL),
                   MOH_ERR_FORMAT);
  json_decref(json);
}

static void fields_of_no_object_are_missing(void **state) {
  (void)state;
  int64_t value;
  json_t *json = parse("[1]");
  assert_int_equal(moh__json_get_int(json, "n", 0, 9, &value, NULL),
                   MOH_ERR_FORMAT);
  json_decref(json);
}

static void saved_as_a_reader_expects(void **state) {
  const char *path = temp_path(state, "a.json");
  size_t n;
  json_t *json = parse("{\"b\": 1.0, \"a\": [1e-06, 0.1]}");
  assert_int_equal(moh__json_save(json, path, NULL), MOH_OK);
  unsigned char *bytes = temp_read(path, &n);
  static const char expected[] =
      "{\n  \"b\": 1.0,\n  \"a\": [\n    1e-6,\n    0.1\n  ]\n}\n";
  assert_int_equal(n, strlen(expected));
  assert_memory_equal(bytes, expected, n);
  free(bytes);
  json_decref(json);
}

/* Seventeen digits where fifteen do not give the same double back. */
static void saved_reals_come_back(void **state) {
  const char *path = temp_path(state, "r.json");
  const double values[] = {0.1 + 0.2, 1.0 / 3, 5e-324,
                           1.7976931348623157e308, -0.0};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    json_t *loaded, *json = json_pack("{s:f}", "r", values[i]);
    double value;
    assert_int_equal(moh__json_save(json, path, NULL), MOH_OK);
    assert_int_equal(moh__json_load(&loaded, path, NULL), MOH_OK);
    assert_int_equal(moh__json_get_real(loaded, "r", &value, NULL), MOH_OK);
    assert_memory_equal(&value, &values[i], sizeof(value));
    json_decref(loaded);
    json_decref(json);
  }
}

static void a_missing_file_is_named(void **state) {
  const char *path = temp_path(state, "none.json");
  json_t *json;
  moh_error err = {0};
  assert_int_equal(moh__json_load(&json, path, &err), MOH_ERR_IO);
  assert_null(json);
  assert_non_null(strstr(err.message, path));
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_json_is_refused),
      cmocka_unit_test(deep_nesting_is_refused),
      cmocka_unit_test(integers_have_a_range),
      cmocka_unit_test(reals_may_be_whole),
      cmocka_unit_test(bools_and_strings),
      cmocka_unit_test(fields_of_no_object_are_missing),
      WITH_DIR(saved_as_a_reader_expects),
      WITH_DIR(saved_reals_come_back),
      WITH_DIR(a_missing_file_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
