/* Normalizers: what is refused, and what they must not do to a text; the
 * golden files (test_tokenizer_golden) have what they do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ids.h"
#include "text/normalizer.h"

static moh_error err;

/* The one made last, of which a normalizer borrows its strings. */
static json_t *document;

static moh_status make(moh__normalizer **out, const char *text) {
  json_error_t where;
  json_decref(document);
  document = json_loads(text, JSON_DECODE_ANY, &where);
  if (document == NULL) fail_msg("%s", where.text);
  return moh__normalizer_read(out, document, &err);
}

static void wrong_ones_are_refused(void **state) {
  (void)state;
  const struct {
    const char *json;
    moh_status status;
    const char *part;
  } cases[] = {
      {"{\"type\":\"Precompiled\"}", MOH_ERR_UNSUPPORTED,
       "the normalizer \"Precompiled\""},
      {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"}]}",
       MOH_ERR_UNSUPPORTED, "the normalizer \"Nmt\""},
      {"{\"type\":\"Sequence\"}", MOH_ERR_FORMAT, "\"normalizers\""},
      {"{\"type\":\"Strip\"}", MOH_ERR_FORMAT, "\"strip_left\""},
      {"{\"type\":\"Prepend\"}", MOH_ERR_FORMAT, "\"prepend\""},
      {"{\"type\":\"Replace\",\"content\":\"\"}", MOH_ERR_FORMAT,
       "\"pattern\""},
      {"{\"type\":\"Replace\",\"content\":\"\",\"pattern\":"
       "{\"Regex\":\"(\"}}",
       MOH_ERR_FORMAT, "the pattern \"(\" is wrong"},
      {"3", MOH_ERR_UNSUPPORTED, "without a type"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh__normalizer *normalizer;
    moh_status status = make(&normalizer, cases[i].json);
    if (status != cases[i].status || !strstr(err.message, cases[i].part)) {
      fail_msg("%s: %s: %s", cases[i].json, moh_status_name(status),
               err.message);
    }
    assert_null(normalizer);
  }
}

/* A mebibyte that would become three gigabytes. */
static void growth_has_a_limit(void **state) {
  (void)state;
  enum { N = 1 << 20 };
  char json[4096];
  moh__normalizer *normalizer;
  moh__matcher matcher;
  moh__buffer buffers[2] = {{0}};
  moh__text result;
  int at = snprintf(json, sizeof(json),
                    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},"
                    "\"content\":\"");
  memset(json + at, 'b', 3000);
  memcpy(json + at + 3000, "\"}", 3);
  assert_int_equal(make(&normalizer, json), MOH_OK);
  assert_int_equal(moh__matcher_open(&matcher, &err), MOH_OK);
  char *text = malloc(N);
  memset(text, 'a', N);
  assert_int_equal(
      moh__normalizer_apply(normalizer, &matcher, (moh__text){text, N},
                            MOH__FRONT_FIRST, buffers, &result, &err),
      MOH_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.message, "more than 64 times longer"));
  assert_int_equal(
      moh__normalizer_apply(normalizer, &matcher, text_of("aba"),
                            MOH__FRONT_FIRST, buffers, &result, &err),
      MOH_OK);
  assert_int_equal(result.n, 6001);
  free(text);
  moh__buffer_free(&buffers[0]);
  moh__buffer_free(&buffers[1]);
  moh__matcher_close(&matcher);
  moh__normalizer_free(normalizer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_ones_are_refused),
      cmocka_unit_test(growth_has_a_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
