/*
 * Tokenizer files of the Python library `tokenizers`, and the ids that it
 * gives for texts (tests/golden/bpe, written by scripts/golden_bpe.py): moh
 * must give the same ids, and find the same merges.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "support/check.h"
#include "text/bpe_trainer.h"

static moh_error err;

static const char *golden(const char *name, const char *ending) {
  static char path[1024];
  snprintf(path, sizeof(path), MOH_SOURCE_DIR "/tests/golden/bpe/%s%s",
           name, ending);
  return path;
}

/* One of the texts has a NUL. */
static json_t *expected(void) {
  json_error_t where;
  json_t *json =
      json_load_file(golden("expected", ".json"), JSON_ALLOW_NUL, &where);
  if (json == NULL) fail_msg("%s: %s", where.source, where.text);
  return json;
}

static moh__tokenizer *loaded(const char *name) {
  moh__tokenizer *tokenizer;
  moh_status status =
      moh__tokenizer_load(&tokenizer, golden(name, ".json"), &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

static void assert_same_ids(const moh__ids *ids, const json_t *want,
                            const char *text) {
  bool same = ids->n == json_array_size(want);
  for (size_t i = 0; same && i < ids->n; i++) {
    same = ids->ids[i] == json_integer_value(json_array_get(want, i));
  }
  if (!same) fail_msg("other ids for \"%s\"", text);
}

/* Every text: its ids, and back unless the tokenizer changes it. */
static void check_texts(const moh__tokenizer *tokenizer, const char *name,
                        bool comes_back) {
  json_t *json = expected();
  const json_t *texts = json_object_get(json, "texts");
  const json_t *ids = json_object_get(json_object_get(json, "ids"), name);
  assert_true(json_array_size(texts) > 20);
  assert_int_equal(json_array_size(texts), json_array_size(ids));
  for (size_t i = 0; i < json_array_size(texts); i++) {
    const json_t *string = json_array_get(texts, i);
    moh__text text = {json_string_value(string),
                      json_string_length(string)};
    moh__ids got = {0};
    assert_int_equal(
        moh__tokenizer_encode(tokenizer, text, true, &got, &err), MOH_OK);
    assert_same_ids(&got, json_array_get(ids, i), text.bytes);
    char *back;
    size_t n;
    assert_int_equal(moh__tokenizer_decode_bytes(tokenizer, got.ids, got.n,
                                                 false, &back, &n, &err),
                     MOH_OK);
    if (comes_back) {
      assert_int_equal(n, text.n);
      assert_memory_equal(back, text.bytes, n);
    }
    free(back);
    moh__ids_free(&got);
  }
  json_decref(json);
}

static void check_file(const char *name, bool comes_back) {
  moh__tokenizer *tokenizer = loaded(name);
  check_texts(tokenizer, name, comes_back);
  moh__tokenizer_free(tokenizer);
}

static void the_librarys_own_shape(void **state) {
  (void)state;
  check_file("trained", true);
}

static void another_pattern_and_whole_words(void **state) {
  (void)state;
  check_file("split", true);
}

static void digits_and_a_pattern_of_what_stays(void **state) {
  (void)state;
  check_file("digits", true);
}

static void a_blank_in_front_and_added_tokens(void **state) {
  (void)state;
  check_file("prefix", false);
}

static void few_letters_and_an_unknown_token(void **state) {
  (void)state;
  check_file("small", false);
}

static void training_finds_the_same_merges(void **state) {
  (void)state;
  moh__map map;
  moh__tokenizer *tokenizer, *theirs = loaded("trained");
  assert_int_equal(moh__map_open(&map, golden("corpus", ".txt"), &err),
                   MOH_OK);
  moh__text corpus = {(const char *)map.bytes, map.size};
  int32_t n = moh__tokenizer_size(theirs);
  assert_int_equal(n, 600);
  assert_int_equal(
      moh__tokenizer_train_bpe(&tokenizer, &corpus, 1, n, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_size(tokenizer), n);
  for (int32_t id = 0; id < n; id++) {
    moh__text a = moh__tokenizer_token(tokenizer, id);
    moh__text b = moh__tokenizer_token(theirs, id);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.bytes, b.bytes, a.n);
  }
  check_texts(tokenizer, "trained", true);
  moh__map_close(&map);
  moh__tokenizer_free(tokenizer);
  moh__tokenizer_free(theirs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_librarys_own_shape),
      cmocka_unit_test(another_pattern_and_whole_words),
      cmocka_unit_test(digits_and_a_pattern_of_what_stays),
      cmocka_unit_test(a_blank_in_front_and_added_tokens),
      cmocka_unit_test(few_letters_and_an_unknown_token),
      cmocka_unit_test(training_finds_the_same_merges),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
