/*
 * Streaming text: whatever a later token does to the end of the text, what
 * was written is written once, and all together it is the whole decoding.
 */
#include <stdlib.h>
#include <string.h>

#include "../cli/stream.h"
#include "support/check.h"

static moh_error err;

static moh__tokenizer *words_of(const char *string) {
  moh__tokenizer *tokenizer;
  moh__text text = {string, strlen(string)};
  assert_int_equal(moh__tokenizer_train_words(&tokenizer, &text, 1, &err),
                   MOH_OK);
  return tokenizer;
}

static moh__tokenizer *chars_of(const char *string) {
  moh__tokenizer *tokenizer;
  moh__text text = {string, strlen(string)};
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_OK);
  return tokenizer;
}

/* What is out after each token, and at the end: expected[0..n]. */
static void assert_streamed(moh__tokenizer *tokenizer,
                            const char *const *tokens, size_t n,
                            const char *const *expected) {
  moh__stream stream;
  char *out = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&out, &size);
  moh__stream_init(&stream, tokenizer, file);
  for (size_t i = 0; i < n; i++) {
    int32_t id = moh__tokenizer_id(tokenizer, tokens[i]);
    assert_int_not_equal(id, -1);
    assert_int_equal(moh__stream_add(&stream, &id, 1, &err), MOH_OK);
    fflush(file);
    assert_string_equal(out, expected[i]);
  }
  moh__stream_finish(&stream);
  fclose(file);
  assert_string_equal(out, expected[n]);
  assert_string_equal(stream.text, expected[n]);
  moh__stream_free(&stream);
  moh__tokenizer_free(tokenizer);
  free(out);
}

static void text_follows_one_token_behind(void **state) {
  (void)state;
  const char *tokens[] = {"a", "b", "c"};
  const char *expected[] = {"", "a", "a b", "a b c"};
  assert_streamed(words_of("a b c"), tokens, 3, expected);
}

/* The blank before an apostrophe goes when a letter follows it. */
static void an_end_that_changes_is_held_back(void **state) {
  (void)state;
  const char *tokens[] = {"it", "'", "s", "wet", "."};
  const char *expected[] = {"",     "it",       "it",
                            "it's", "it's wet", "it's wet."};
  assert_streamed(words_of("it's wet."), tokens, 5, expected);
}

/* Two characters that begin with the same byte: C3 A9 and C3 A8. */
static void characters_are_never_cut(void **state) {
  (void)state;
  const char *tokens[] = {"\u00e9", "\u00e8"};
  const char *expected[] = {"", "\u00e9", "\u00e9\u00e8"};
  assert_streamed(chars_of("\u00e9\u00e8"), tokens, 2, expected);
}

static void special_tokens_stay_out(void **state) {
  (void)state;
  const char *tokens[] = {"a", "</s>"};
  const char *expected[] = {"", "a", "a"};
  assert_streamed(words_of("a </s>"), tokens, 2, expected);
}

static void no_tokens_write_nothing(void **state) {
  (void)state;
  moh__stream stream;
  moh__tokenizer *tokenizer = words_of("a");
  moh__stream_init(&stream, tokenizer, NULL);
  moh__stream_finish(&stream);
  assert_null(stream.text);
  moh__stream_free(&stream);
  moh__tokenizer_free(tokenizer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_follows_one_token_behind),
      cmocka_unit_test(an_end_that_changes_is_held_back),
      cmocka_unit_test(characters_are_never_cut),
      cmocka_unit_test(special_tokens_stay_out),
      cmocka_unit_test(no_tokens_write_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
