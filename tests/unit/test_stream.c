/*
 * Streaming text: whatever a later token does to the end of the text, what
 * was written is written once, and all together it is the whole decoding.
 * The decoder is one of the test, whose text after n tokens is in a list.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "text/tokenizer.h"

static const char *const *decodings;

static moh_status listed_decode(const moh__tokenizer *tokenizer,
                                const int32_t *ids, size_t n,
                                bool skip_special, char **text,
                                moh_error *err) {
  (void)tokenizer, (void)ids, (void)err;
  assert_true(skip_special);
  *text = strdup(decodings[n]);
  return MOH_OK;
}

#define moh__tokenizer_decode listed_decode
#include "../cli/stream.c"

static moh_error err;

/* texts[n]: the decoding of n tokens; written[n]: what must be out then. At
 * the end all of the last one must be. */
static void assert_streamed(size_t n, const char *const *texts,
                            const char *const *written) {
  moh__stream stream;
  char *out = NULL;
  size_t size = 0;
  FILE *file = open_memstream(&out, &size);
  decodings = texts;
  moh__stream_init(&stream, NULL, file);
  for (size_t i = 1; i <= n; i++) {
    int32_t id = (int32_t)i;
    assert_int_equal(moh__stream_add(&stream, &id, 1, &err), MOH_OK);
    fflush(file);
    assert_string_equal(out, written[i]);
  }
  moh__stream_finish(&stream);
  fclose(file);
  assert_string_equal(out, texts[n]);
  assert_string_equal(stream.text, texts[n]);
  moh__stream_free(&stream);
  free(out);
}

static void text_follows_one_token_behind(void **state) {
  (void)state;
  const char *texts[] = {"", "a", "a b", "a b c"};
  const char *written[] = {"", "", "a", "a b"};
  assert_streamed(3, texts, written);
}

/* A blank goes when the next token shows that it does not belong there. */
static void an_end_that_changes_is_held_back(void **state) {
  (void)state;
  const char *texts[] = {"", "it", "it '", "it's", "it's wet"};
  const char *written[] = {"", "", "it", "it", "it's"};
  assert_streamed(4, texts, written);
}

/* Two characters that begin with the same byte: C3 A9 and C3 A8. */
static void characters_are_never_cut(void **state) {
  (void)state;
  const char *texts[] = {"", "x\u00e9", "x\u00e8", "x\u00e8y"};
  const char *written[] = {"", "", "x", "x\u00e8"};
  assert_streamed(3, texts, written);
}

/* A special token adds no text, and what was certain stays so. */
static void tokens_without_text_are_fine(void **state) {
  (void)state;
  const char *texts[] = {"", "", "a", "a", "a"};
  const char *written[] = {"", "", "", "a", "a"};
  assert_streamed(4, texts, written);
}

static void several_tokens_come_at_once(void **state) {
  (void)state;
  const char *texts[] = {"", "a", "a b", "a b c", "a"};
  const int32_t ids[] = {1, 2};
  moh__stream stream;
  decodings = texts;
  moh__stream_init(&stream, NULL, NULL);
  assert_int_equal(moh__stream_add(&stream, ids, 2, &err), MOH_OK);
  assert_string_equal(stream.text, "a b");
  assert_int_equal(stream.written, 0);
  assert_int_equal(moh__stream_add(&stream, ids, 1, &err), MOH_OK);
  assert_int_equal(stream.written, 3);
  /* What is out cannot be taken back. */
  assert_int_equal(moh__stream_add(&stream, ids, 1, &err), MOH_OK);
  assert_int_equal(stream.written, 3);
  moh__stream_free(&stream);
}

static void no_tokens_write_nothing(void **state) {
  (void)state;
  moh__stream stream;
  moh__stream_init(&stream, NULL, NULL);
  moh__stream_finish(&stream);
  assert_null(stream.text);
  moh__stream_free(&stream);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_follows_one_token_behind),
      cmocka_unit_test(an_end_that_changes_is_held_back),
      cmocka_unit_test(characters_are_never_cut),
      cmocka_unit_test(tokens_without_text_are_fine),
      cmocka_unit_test(several_tokens_come_at_once),
      cmocka_unit_test(no_tokens_write_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
