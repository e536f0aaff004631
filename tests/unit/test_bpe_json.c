/*
 * What a tokenizer.json with byte-level BPE may and may not say: options,
 * steps, merges in both spellings, special tokens, and hostile files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ids.h"
#include "text/tokenizer.h"

static moh_error err;

#define LEVEL(prefix, regex)                                \
  "{\"type\": \"ByteLevel\", \"add_prefix_space\": " prefix \
  ", \"trim_offsets\": true, \"use_regex\": " regex "}"
#define SPLIT(pattern)                                 \
  "{\"type\": \"Split\", \"behavior\": \"Isolated\", " \
  "\"invert\": false, \"pattern\": {\"String\": \"" pattern "\"}}"
#define SEQUENCE(key, steps) \
  "{\"type\": \"Sequence\", \"" key "\": [" steps "]}"
#define SPECIAL(content, id)                                       \
  "{\"content\": \"" content "\", \"id\": " id                     \
  ", "                                                             \
  "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, " \
  "\"normalized\": false, \"special\": true}"
#define VOCAB                                              \
  "{\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"abc\": 4, " \
  "\"\u0120\": 5, \"\u0120ab\": 6, \"</s>\": 7}"
#define MERGES "[\"a b\", [\"ab\", \"c\"], \"\u0120 ab\"]"

/* A file; NULL stands for what is usual. */
typedef struct parts {
  const char *added, *pre, *post, *decoder, *vocab, *merges;
  const char *more; /* fields of the model, with a comma at the end */
} parts;

static const char *given_or(const char *given, const char *usual) {
  return given != NULL ? given : usual;
}

static const char *document(parts p) {
  static char json[8192];
  int n = snprintf(
      json, sizeof(json),
      "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, "
      "\"added_tokens\": %s, \"normalizer\": null, \"pre_tokenizer\": %s, "
      "\"post_processor\": %s, \"decoder\": %s, \"model\": {\"type\": "
      "\"BPE\", %s \"vocab\": %s, \"merges\": %s}}",
      given_or(p.added, "[" SPECIAL("</s>", "7") "]"),
      given_or(p.pre, LEVEL("false", "true")), given_or(p.post, "null"),
      given_or(p.decoder, LEVEL("true", "true")), given_or(p.more, ""),
      given_or(p.vocab, VOCAB), given_or(p.merges, MERGES));
  assert_true(n > 0 && (size_t)n < sizeof(json));
  return json;
}

static moh__tokenizer *parsed(parts p) {
  moh__tokenizer *tokenizer;
  const char *json = document(p);
  moh_status status =
      moh__tokenizer_parse(&tokenizer, json, strlen(json), "t.json", &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

static void assert_refused(parts p, moh_status status, const char *part) {
  moh__tokenizer *tokenizer;
  const char *json = document(p);
  moh_status got =
      moh__tokenizer_parse(&tokenizer, json, strlen(json), "t.json", &err);
  if (got != status || strstr(err.message, part) == NULL) {
    fail_msg("%s instead of \"%s\": %s", moh_status_name(got), part,
             got ? err.message : json);
  }
  assert_null(tokenizer);
  assert_memory_equal(err.message, "t.json", 6);
}

/* ---- what is known ----------------------------------------------------
 */

static void merges_are_read_in_both_spellings(void **state) {
  (void)state;
  moh__tokenizer *t = parsed((parts){0});
  ASSERT_IDS(t, text_of("abc ab aab"), true, 4, 6, 5, 0, 3);
  ASSERT_IDS(t, text_of("abc</s>"), true, 4, 7);
  /* Without an unknown token, what the vocabulary lacks is left out. */
  ASSERT_IDS(t, text_of("dabdc"), true, 4);
  moh__tokenizer_free(t);
}

static void steps_of_every_known_shape(void **state) {
  (void)state;
  /* A blank in front, of every part between added tokens. */
  moh__tokenizer *t = parsed((parts){.pre = LEVEL("true", "true")});
  ASSERT_IDS(t, text_of("ab ab</s>ab</s> ab"), true, 6, 6, 7, 6, 7, 6);
  moh__tokenizer_free(t);
  /* Without the pattern, words are whole texts. */
  t = parsed((parts){.pre = LEVEL("false", "false"),
                     .merges = "[\"b \u0120\"]",
                     .vocab = "{\"a\": 0, \"b\": 1, \"\u0120\": 2, "
                              "\"b\u0120\": 3}",
                     .added = "[]"});
  ASSERT_IDS(t, text_of("ab ab"), true, 0, 3, 0, 1);
  moh__tokenizer_free(t);
  t = parsed(
      (parts){.pre = SEQUENCE("pretokenizers",
                              SPLIT("b") "," LEVEL("false", "true"))});
  ASSERT_IDS(t, text_of("abc"), true, 0, 1, 2);
  moh__tokenizer_free(t);
  t = parsed((parts){
      .post = LEVEL("true", "true"),
      .decoder = SEQUENCE("decoders",
                          LEVEL("true", "true") ","
                                                "{\"type\": \"Fuse\"}")});
  ASSERT_IDS(t, text_of("abc"), true, 4);
  moh__tokenizer_free(t);
}

static void options_of_the_model(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(
      (parts){.more = "\"dropout\": null, \"unk_token\": null, "
                      "\"continuing_subword_prefix\": \"\", "
                      "\"end_of_word_suffix\": null, \"fuse_unk\": false, "
                      "\"byte_fallback\": false, \"ignore_merges\": true,",
              .merges = "[]"});
  ASSERT_IDS(t, text_of("abc abb"), true, 4, 5, 0, 1, 1);
  moh__tokenizer_free(t);
  t = parsed((parts){.more = "\"unk_token\": \"</s>\","});
  ASSERT_IDS(t, text_of("abxy"), true, 3, 7, 7);
  moh__tokenizer_free(t);
  t = parsed(
      (parts){.more = "\"unk_token\": \"</s>\", \"fuse_unk\": true,"});
  ASSERT_IDS(t, text_of("abxyzaxx yy"), true, 3, 7, 0, 7, 5, 7);
  moh__tokenizer_free(t);
}

/* Neither merges nor whole words nor bytes make a special token. */
static void text_makes_no_special_token(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(
      (parts){.added = "[" SPECIAL("ab", "3") "," SPECIAL("c", "2") "]",
              .more = "\"ignore_merges\": true, \"unk_token\": \"b\","});
  ASSERT_IDS(t, text_of("abab"), true, 3, 3);
  ASSERT_IDS(t, text_of("abab"), false, 0, 1, 0, 1);
  ASSERT_IDS(t, text_of("ab"), false, 0, 1);
  ASSERT_IDS(t, text_of("c"), false, 1);
  moh__tokenizer_free(t);
}

static void added_tokens_stand_for_their_own_text(void **state) {
  (void)state;
  moh__tokenizer *t =
      parsed((parts){.added = "[" SPECIAL("\u00E9 \u0120", "8") "]"});
  ASSERT_IDS(t, text_of("a\u00E9 \u0120"), true, 0, 8);
  char *text;
  assert_int_equal(moh__tokenizer_decode(t, (const int32_t[]){0, 8, 6}, 3,
                                         false, &text, &err),
                   MOH_OK);
  assert_string_equal(text, "a\u00E9 \u0120 ab");
  free(text);
  moh__tokenizer_free(t);
}

/* ---- what is not ------------------------------------------------------
 */

static void unknown_parts_are_refused_by_name(void **state) {
  (void)state;
  const struct {
    parts p;
    const char *message;
  } cases[] = {
      {{.more = "\"dropout\": 0.1,"}, "\"dropout\""},
      {{.more = "\"byte_fallback\": true,"}, "\"byte_fallback\": true"},
      {{.more = "\"continuing_subword_prefix\": \"##\","},
       "\"continuing_subword_prefix\""},
      {{.more = "\"end_of_word_suffix\": \"</w>\","},
       "\"end_of_word_suffix\""},
      {{.pre = SEQUENCE("pretokenizers",
                        LEVEL("true", "true") "," SPLIT("a"))},
       "behind ByteLevel"},
      {{.decoder = "null"}, "without the decoder ByteLevel"},
      {{.decoder = "{\"type\": \"Fuse\"}"}, "the decoder ByteLevel"},
      {{.decoder = SEQUENCE("decoders", "{\"type\": \"CTC\"}")},
       "the decoder \"CTC\""},
      {{.post = "{\"type\": \"BertProcessing\"}"},
       "the post_processor \"BertProcessing\""},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_refused(cases[i].p, MOH_ERR_UNSUPPORTED, cases[i].message);
  }
}

static void wrong_models_are_refused(void **state) {
  (void)state;
  const struct {
    parts p;
    const char *message;
  } cases[] = {
      {{.vocab = "{\"a\": 0, \"\u4E00\": 1}",
        .added = "[]",
        .merges = "[]"},
       "id 1 has the character U+4E00"},
      {{.vocab = "{\" \": 0}", .added = "[]", .merges = "[]"}, "U+0020"},
      {{.vocab = "{\"a\": 0, \"b\": 2}", .added = "[]"}, "not one of 0..1"},
      {{.vocab = "{\"a\": 4294967296}", .added = "[]"},
       "the id 4294967296"},
      {{.vocab = "{}", .added = "[]"}, "a vocabulary of 0 tokens"},
      {{.more = "\"unk_token\": \"x\","}, "the \"unk_token\" \"x\""},
      {{.more = "\"unk_token\": 3,"}, "\"unk_token\""},
      {{.more = "\"ignore_merges\": 1,"}, "\"ignore_merges\""},
      {{.pre = "{\"type\": \"ByteLevel\"}"}, "\"add_prefix_space\""},
      {{.pre = LEVEL("true", "1")}, "\"use_regex\""},
      {{.added = "[" SPECIAL("x", "1048575") "]"}, "the id 1048575"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_refused(cases[i].p, MOH_ERR_FORMAT, cases[i].message);
  }
}

static void wrong_merges_are_refused(void **state) {
  (void)state;
  const char *cases[][2] = {
      {"null", "\"merges\" is null"},
      {"{}", "\"merges\" is an object"},
      {"[\"ab\"]", "element 0 of \"merges\" is not two tokens"},
      {"[\"a b\", 3]", "element 1 of \"merges\" is not two tokens"},
      {"[[\"a\"]]", "not two tokens"},
      {"[[\"a\", \"b\", \"c\"]]", "not two tokens"},
      {"[[\"a\", 1]]", "not two tokens"},
      {"[\" b\"]", "not two tokens"},
      {"[\"a \"]", "not two tokens"},
      {"[[\"\", \"a\"]]", "not two tokens"},
      {"[\"x b\"]", "no token of the first"},
      {"[\"a x\"]", "no token of the second"},
      {"[\"a b c\"]", "no token of the second"},
      {"[\"b a\"]", "\"b\" and \"a\": there is no token of both"},
      {"[\"a b\", [\"a\", \"b\"]]",
       "element 1 of \"merges\", \"a\" and "
       "\"b\": they are there twice"},
      {"[\"ab ab\"]", "no token of both"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_refused((parts){.merges = cases[i][0]}, MOH_ERR_FORMAT,
                   cases[i][1]);
  }
}

/* Merges that cannot come up, or come up in another order than they stand:
 * no endless loop, and the list's order decides. */
static void odd_orders_of_merges_end(void **state) {
  (void)state;
  moh__tokenizer *t = parsed((parts){
      .vocab = "{\"a\": 0, \"aa\": 1, \"aaa\": 2, \"aaaa\": 3}",
      .added = "[]",
      .merges = "[\"aa aa\", \"aa a\", \"a aa\", \"a a\", \"aaa a\", "
                "\"a aaa\"]"});
  /* aa, at once aaa; again; then aaa a. As the Python library has it. */
  ASSERT_IDS(t, text_of("aaaaaaa"), true, 2, 3);
  moh__tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merges_are_read_in_both_spellings),
      cmocka_unit_test(steps_of_every_known_shape),
      cmocka_unit_test(options_of_the_model),
      cmocka_unit_test(text_makes_no_special_token),
      cmocka_unit_test(added_tokens_stand_for_their_own_text),
      cmocka_unit_test(unknown_parts_are_refused_by_name),
      cmocka_unit_test(wrong_models_are_refused),
      cmocka_unit_test(wrong_merges_are_refused),
      cmocka_unit_test(odd_orders_of_merges_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
