/*
 * Tokenizers as others publish them, and single steps, against the ids and
 * texts of the Python library `tokenizers` (tests/golden/tokenizers, written
 * by scripts/golden_tokenizers.py). Decoding token by token must give the
 * text of decoding at once.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "text/decoding.h"

static moh_error err;
static json_t *expected;

static json_t *read_golden(const char *name) {
  char path[1024];
  json_error_t where;
  snprintf(path, sizeof(path),
           MOH_SOURCE_DIR "/tests/golden/tokenizers/%s.json", name);
  json_t *json = json_load_file(path, JSON_ALLOW_NUL, &where);
  if (json == NULL) fail_msg("%s: %s", where.source, where.text);
  return json;
}

static int read_expected(void **state) {
  (void)state;
  expected = read_golden("expected");
  return 0;
}

static int free_expected(void **state) {
  (void)state;
  json_decref(expected);
  return 0;
}

static moh__tokenizer *parsed(const json_t *document, const char *name) {
  moh__tokenizer *tokenizer;
  char *json = json_dumps(document, JSON_COMPACT);
  moh_status status =
      moh__tokenizer_parse(&tokenizer, json, strlen(json), name, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  free(json);
  return tokenizer;
}

static moh__text text_at(const json_t *array, size_t i) {
  const json_t *string = json_array_get(array, i);
  return (moh__text){json_string_value(string), json_string_length(string)};
}

static void assert_same_ids(const moh__ids *ids, const json_t *want,
                            const char *name, size_t text) {
  size_t n = json_array_size(want), i = 0;
  while (i < ids->n && i < n &&
         ids->ids[i] == json_integer_value(json_array_get(want, i))) {
    i++;
  }
  if (i == n && i == ids->n) return;
  fail_msg("%s, text %zu: other ids from place %zu on", name, text, i);
}

/* At once, and token by token. */
static void check_decoded(const moh__tokenizer *tokenizer,
                          const moh__ids *ids, moh__text want,
                          const char *name, size_t text) {
  char *back;
  size_t n;
  assert_int_equal(moh__tokenizer_decode_bytes(tokenizer, ids->ids, ids->n,
                                               true, &back, &n, &err),
                   MOH_OK);
  if (n != want.n || memcmp(back, want.bytes, n) != 0) {
    fail_msg("%s, text %zu: \"%s\" instead of \"%s\"", name, text, back,
             want.bytes);
  }
  moh__decoding d;
  moh__decoding_init(&d, tokenizer, true);
  for (size_t i = 0; i < ids->n; i++) {
    size_t before = d.text.n;
    assert_int_equal(moh__decoding_add(&d, ids->ids[i], &err), MOH_OK);
    assert_true(d.text.n >= before && d.text.n <= n);
    assert_memory_equal(d.text.bytes, back, d.text.n);
  }
  assert_int_equal(d.text.n, n);
  moh__decoding_free(&d);
  free(back);
}

static void check(const moh__tokenizer *tokenizer, const json_t *want,
                  const char *name) {
  const json_t *texts = json_object_get(expected, "texts");
  assert_true(json_array_size(texts) > 50);
  for (size_t i = 0; i < json_array_size(texts); i++) {
    moh__ids ids = {0};
    moh_status status =
        moh__tokenizer_encode(tokenizer, text_at(texts, i), true, &ids, &err);
    if (status != MOH_OK) fail_msg("%s, %zu: %s", name, i, err.message);
    assert_same_ids(&ids, json_array_get(json_object_get(want, "ids"), i),
                    name, i);
    const json_t *decoded = json_object_get(want, "decoded");
    if (decoded != NULL) {
      check_decoded(tokenizer, &ids, text_at(decoded, i), name, i);
    }
    moh__ids_free(&ids);
  }
}

static void check_file(const char *name) {
  json_t *document = read_golden(name);
  moh__tokenizer *tokenizer = parsed(document, name);
  const json_t *files = json_object_get(expected, "files");
  check(tokenizer, json_object_get(files, name), name);
  moh__tokenizer_free(tokenizer);
  json_decref(document);
}

static void smollm2(void **state) {
  (void)state;
  check_file("smollm2");
}

static void gpt2(void **state) {
  (void)state;
  check_file("gpt2");
}

static void llama3(void **state) {
  (void)state;
  check_file("llama3");
}

static void qwen2(void **state) {
  (void)state;
  check_file("qwen2");
}

static void llama2(void **state) {
  (void)state;
  check_file("llama2");
}

/* Parts of llama2.json that are another, with four added tokens more. */
static void single_steps(void **state) {
  (void)state;
  json_t *base = read_golden("llama2");
  json_object_set(base, "added_tokens",
                  json_object_get(expected, "added_tokens"));
  const char *name;
  json_t *want;
  assert_true(json_object_size(json_object_get(expected, "variants")) > 30);
  json_object_foreach(json_object_get(expected, "variants"), name, want) {
    json_t *document = json_copy(base);
    json_object_update(document, json_object_get(want, "change"));
    moh__tokenizer *tokenizer = parsed(document, name);
    check(tokenizer, want, name);
    moh__tokenizer_free(tokenizer);
    json_decref(document);
  }
  json_decref(base);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(smollm2), cmocka_unit_test(gpt2),
      cmocka_unit_test(llama3),  cmocka_unit_test(qwen2),
      cmocka_unit_test(llama2),  cmocka_unit_test(single_steps),
  };
  return cmocka_run_group_tests(tests, read_expected, free_expected);
}
