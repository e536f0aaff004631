/*
 * Tokenizers: vocabularies made from texts, cutting, decoding, and what
 * tokenizer.json files may and may not say. The ids expected of patterns and
 * added tokens were compared with those of the Python package `tokenizers`
 * 0.23; one differs on purpose: a word that reads like a special token.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "support/ids.h"
#include "text/tokenizer.h"

static moh_error err;

static moh__tokenizer *words_of(const char *string) {
  moh__tokenizer *tokenizer;
  moh__text text = text_of(string);
  assert_int_equal(moh__tokenizer_train_words(&tokenizer, &text, 1, &err),
                   MOH_OK);
  return tokenizer;
}

static moh__tokenizer *chars_of(const char *string) {
  moh__tokenizer *tokenizer;
  moh__text text = text_of(string);
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_OK);
  return tokenizer;
}

static moh__tokenizer *parsed(const char *json) {
  moh__tokenizer *tokenizer;
  moh_status status =
      moh__tokenizer_parse(&tokenizer, json, strlen(json), "t.json", &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

static void assert_decoded(const moh__tokenizer *tokenizer,
                           const int32_t *ids, size_t n, bool skip_special,
                           const char *expected) {
  char *text;
  assert_int_equal(
      moh__tokenizer_decode(tokenizer, ids, n, skip_special, &text, &err),
      MOH_OK);
  assert_string_equal(text, expected);
  free(text);
}

/* The decoded text of an encoded one. */
static void assert_written(const moh__tokenizer *tokenizer, const char *text,
                           const char *expected) {
  moh__ids ids = encoded(tokenizer, text_of(text), true);
  assert_decoded(tokenizer, ids.ids, ids.n, false, expected);
  moh__ids_free(&ids);
}

/* ---- vocabularies ----------------------------------------------------- */

static void words_are_sorted_by_bytes(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = words_of("b a. B <unk> it\u2019s b </s>");
  const char *words[] = {".", "</s>", "B", "a", "b", "it\u2019s", "<unk>"};
  assert_int_equal(moh__tokenizer_size(tokenizer), 7);
  for (int32_t i = 0; i < 7; i++) {
    assert_int_equal(moh__tokenizer_id(tokenizer, words[i]), i);
  }
  assert_int_equal(moh__tokenizer_id(tokenizer, "<"), -1);
  assert_int_equal(moh__tokenizer_end(tokenizer), 1);
  assert_int_equal(moh__tokenizer_unknown(tokenizer), 6);
  moh__tokenizer_free(tokenizer);
}

static void chars_are_sorted_by_code_point(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = chars_of("b\n\U0001F600a\uFFFDb ");
  const char *chars[] = {"\n", " ", "a", "b", "\uFFFD", "\U0001F600",
                         "<unk>"};
  assert_int_equal(moh__tokenizer_size(tokenizer), 7);
  for (int32_t i = 0; i < 7; i++) {
    assert_int_equal(moh__tokenizer_id(tokenizer, chars[i]), i);
  }
  assert_int_equal(moh__tokenizer_end(tokenizer), -1);
  assert_int_equal(moh__tokenizer_unknown(tokenizer), 6);
  moh__tokenizer_free(tokenizer);
}

static void no_texts_leave_the_special_words(void **state) {
  (void)state;
  moh__tokenizer *tokenizer;
  assert_int_equal(moh__tokenizer_train_words(&tokenizer, NULL, 0, &err),
                   MOH_OK);
  assert_int_equal(moh__tokenizer_size(tokenizer), 2);
  assert_int_equal(moh__tokenizer_end(tokenizer), 0);
  moh__tokenizer_free(tokenizer);
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, NULL, 0, &err),
                   MOH_OK);
  assert_int_equal(moh__tokenizer_size(tokenizer), 1);
  moh__tokenizer_free(tokenizer);
}

/* The code points from 1 on, n of them, as UTF-8. */
static moh__text code_points(size_t n) {
  char *bytes = malloc(4 * n + 4), *at = bytes;
  for (uint32_t code = 1; n > 0; code++) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    n--;
    if (code < 0x80) {
      *at++ = (char)code;
      continue;
    }
    int tails = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *at++ = (char)((0xFF00 >> (tails + 1)) | (code >> (6 * tails)));
    while (tails-- > 0) *at++ = (char)(0x80 | ((code >> (6 * tails)) & 0x3F));
  }
  return (moh__text){bytes, (size_t)(at - bytes)};
}

static void a_vocabulary_has_a_limit(void **state) {
  (void)state;
  moh__tokenizer *tokenizer;
  moh__text text = code_points(MOH__TOKENS_MAX - 1); /* and <unk> */
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_OK);
  assert_int_equal(moh__tokenizer_size(tokenizer), MOH__TOKENS_MAX);
  moh__tokenizer_free(tokenizer);
  free((char *)text.bytes);
  text = code_points(MOH__TOKENS_MAX);
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.message, "1048576"));
  free((char *)text.bytes);
}

/* ---- encoding --------------------------------------------------------- */

static void punctuation_stands_alone(void **state) {
  (void)state;
  const char *marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  char text[128] = "";
  for (size_t i = 0; i < 32; i++) {
    char two[] = {'x', marks[i], '\0'};
    strcat(text, two);
  }
  moh__tokenizer *tokenizer = words_of(text);
  assert_int_equal(moh__tokenizer_size(tokenizer), 32 + 3);
  moh__ids ids = encoded(tokenizer, text_of(text), true);
  assert_int_equal(ids.n, 64);
  int32_t x = moh__tokenizer_id(tokenizer, "x");
  for (size_t i = 0; i < 64; i += 2) assert_int_equal(ids.ids[i], x);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

static void unicode_blanks_cut(void **state) {
  (void)state;
  const char *blanks[] = {
      "\t",     "\n",     "\v",     "\f",     "\r",     " ",      "\xC2\x85",
      "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004",
      "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A", "\u2028",
      "\u2029", "\u202F", "\u205F", "\u3000"};
  const char *others[] = {"\x1c",   "\x1f",   "\u180E", "\u200B",
                          "\uFEFF", "\u2060", "\xC2\x84"};
  moh__tokenizer *tokenizer = words_of("a b");
  char text[16];
  for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
    snprintf(text, sizeof(text), "%sa%sb", blanks[i], blanks[i]);
    ASSERT_IDS(tokenizer, text_of(text), true, 1, 2);
  }
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    snprintf(text, sizeof(text), "a%sb", others[i]);
    ASSERT_IDS(tokenizer, text_of(text), true, 3);
  }
  moh__tokenizer_free(tokenizer);
}

static void specials_are_found_only_when_wanted(void **state) {
  (void)state;
  /* / 0, < 1, </s> 2, > 3, a 4, s 5, <unk> 6 */
  moh__tokenizer *tokenizer = words_of("a < / s > </s>");
  assert_int_equal(moh__tokenizer_end(tokenizer), 2);
  moh__text text = text_of("a</s> a< /s></s");
  ASSERT_IDS(tokenizer, text, true, 4, 2, 4, 1, 0, 5, 3, 1, 0, 5);
  ASSERT_IDS(tokenizer, text, false, 4, 1, 0, 5, 3, 4, 1, 0, 5, 3, 1, 0, 5);
  ASSERT_IDS(tokenizer, text_of("<unk>"), true, 6);
  ASSERT_IDS(tokenizer, text_of("<unk>"), false, 1, 6, 3);
  assert_ids(tokenizer, text_of(""), true, NULL, 0);
  assert_ids(tokenizer, text_of(" \n"), true, NULL, 0);
  moh__tokenizer_free(tokenizer);
}

static void invalid_bytes_are_unknown(void **state) {
  (void)state;
  const char *runs[] = {"\xFF",         "\xFF\xFE",     "\xC3",
                        "\xC0\xAF",     "\xE0\x80\xAF", "\xED\xA0\x80",
                        "\xF0\x9F\x98", "\xF4\x90\x80\x80",
                        "\xF8\x88\x80\x80\x80", "\x80", "\xC1\xBF"};
  moh__tokenizer *words = words_of("a b"), *chars = chars_of("ab");
  char text[16];
  for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
    snprintf(text, sizeof(text), "a%sb%s", runs[i], runs[i]);
    ASSERT_IDS(words, text_of(text), true, 1, 3, 2, 3);
    ASSERT_IDS(chars, text_of(text), true, 0, 2, 1, 2);
  }
  moh__tokenizer_free(words);
  moh__tokenizer_free(chars);
}

static void a_zero_byte_is_a_character(void **state) {
  (void)state;
  moh__text text = {"a\0b a", 5};
  moh__tokenizer *words, *chars;
  assert_int_equal(moh__tokenizer_train_words(&words, &text, 1, &err),
                   MOH_OK);
  assert_int_equal(moh__tokenizer_size(words), 3); /* </s> a <unk> */
  ASSERT_IDS(words, text, true, 2, 1);
  assert_int_equal(moh__tokenizer_train_chars(&chars, &text, 1, &err),
                   MOH_OK);
  ASSERT_IDS(chars, text, true, 1, 3, 2, 0, 1);
  moh__tokenizer_free(words);
  moh__tokenizer_free(chars);
}

static void ids_are_appended(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = words_of("a b");
  moh__ids ids = encoded(tokenizer, text_of("a"), true);
  assert_int_equal(
      moh__tokenizer_encode(tokenizer, text_of("b a"), true, &ids, &err),
      MOH_OK);
  assert_int_equal(ids.n, 3);
  assert_memory_equal(ids.ids, ((int32_t[]){1, 2, 1}), 3 * sizeof(int32_t));
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

/* ---- decoding --------------------------------------------------------- */

static void words_are_joined_as_in_english(void **state) {
  (void)state;
  const char *cases[][2] = {
      {"Yes , it is .", "Yes, it is."},
      {"a ( b [ c ] { d } ) e", "a (b [c] {d}) e"},
      {"what ? no ! so ; thus : 5 %", "what? no! so; thus: 5%"},
      {"don ' t well - known and / or", "don't well-known and/or"},
      {"he said \" no \" and \" yes \" .", "he said \"no\" and \"yes\"."},
      {"a & b * c = d", "a & b * c = d"},
      {"a \" b </s> c \" d \"", "a \"b </s> c \"d\""},
      {"a . </s> b", "a. </s> b"},
      {"", ""},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh__tokenizer *tokenizer = words_of(cases[i][0]);
    assert_written(tokenizer, cases[i][0], cases[i][1]);
    moh__tokenizer_free(tokenizer);
  }
}

static void specials_can_be_left_out(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = words_of("a b");
  const int32_t ids[] = {1, 0, 2, 3, 1, 0};
  assert_decoded(tokenizer, ids, 6, false, "a </s> b <unk> a </s>");
  assert_decoded(tokenizer, ids, 6, true, "a b a");
  moh__tokenizer_free(tokenizer);
}

static void foreign_ids_are_refused(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = words_of("a b");
  const int32_t high[] = {1, 4}, low[] = {-1};
  char *text;
  assert_int_equal(
      moh__tokenizer_decode(tokenizer, high, 2, false, &text, &err),
      MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "token 4 at place 1 is outside the vocabulary of 4 "
                      "tokens");
  assert_int_equal(
      moh__tokenizer_decode(tokenizer, low, 1, false, &text, &err),
      MOH_ERR_ARGUMENT);
  moh__tokenizer_free(tokenizer);
}

/* n ids of the tokenizer, none of them skipped ones. */
static void draw_ids(const moh__tokenizer *tokenizer, moh__rng *rng,
                     int32_t *ids, size_t n) {
  uint64_t size = (uint64_t)moh__tokenizer_size(tokenizer);
  for (size_t i = 0; i < n;) {
    int32_t id = (int32_t)moh__rng_below(rng, size);
    if (id == moh__tokenizer_end(tokenizer)) continue;
    if (id == moh__tokenizer_unknown(tokenizer)) continue;
    ids[i++] = id;
  }
}

/* Encoding what was decoded, with and without special tokens; and the text
 * of the first ids is the front of the text of all. */
static void assert_round_trips(const moh__tokenizer *tokenizer, int times,
                               bool specials) {
  moh__rng rng = moh__rng_make(5, 1);
  int32_t ids[24];
  char *text, *front;
  for (int i = 0; i < times; i++) {
    size_t n = (size_t)moh__rng_below(&rng, 25), part = n / 2;
    draw_ids(tokenizer, &rng, ids, n);
    moh__tokenizer_decode(tokenizer, ids, n, true, &text, &err);
    moh__tokenizer_decode(tokenizer, ids, part, true, &front, &err);
    assert_ids(tokenizer, text_of(text), specials, ids, n);
    assert_memory_equal(text, front, strlen(front));
    free(text);
    free(front);
  }
}

static void decoded_ids_come_back(void **state) {
  (void)state;
  moh__tokenizer *words = words_of(
      "! \" # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~ s "
      "unk it\u2019s \u00E9t\u00E9 \U0001F600 x \u0301 3 \u200B #");
  assert_round_trips(words, 20000, true);
  assert_round_trips(words, 2000, false);
  moh__tokenizer_free(words);
  moh__tokenizer *chars = chars_of("</s> <unk>\n.\"\u00E9\u0301\U0001F600");
  assert_round_trips(chars, 5000, true);
  moh__tokenizer_free(chars);
}

/* ---- tokenizer.json --------------------------------------------------- */

static void a_saved_one_is_the_same(void **state) {
  (void)state;
  moh__tokenizer *made = words_of("a b, c\" \u00E9\\ \x01"), *read;
  char path[] = "/tmp/moh_tokenizer_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  close(file);
  assert_int_equal(moh__tokenizer_save(made, path, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_load(&read, path, &err), MOH_OK);
  assert_int_equal(moh__tokenizer_size(read), moh__tokenizer_size(made));
  moh__text text = text_of("c,b \\ \x01 </s> \u00E9 q");
  moh__ids ids = encoded(made, text, true);
  assert_int_equal(ids.n, 8);
  assert_ids(read, text, true, ids.ids, ids.n);
  moh__ids_free(&ids);
  moh__tokenizer_free(made);
  moh__tokenizer_free(read);
  unlink(path);
  assert_int_equal(moh__tokenizer_load(&read, path, &err), MOH_ERR_IO);
  assert_null(read);
}

/* A document; parts that are NULL are as in the simplest one. */
static const char *document(const char *model, const char *added,
                            const char *steps, const char *decoder) {
  static char json[4096];
  if (model == NULL) {
    model = "{\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": "
            "{\"a\": 0, \"b\": 1, \".\": 2, \"ab\": 3, \"?\": 4}}";
  }
  snprintf(json, sizeof(json),
           "{\"added_tokens\": %s, \"pre_tokenizer\": %s, \"decoder\": %s, "
           "\"model\": %s}",
           added ? added : "[]", steps ? steps : "null",
           decoder ? decoder : "null", model);
  return json;
}

#define SPLIT(kind, pattern, behavior)                                    \
  "{\"type\": \"Split\", \"invert\": false, \"behavior\": \"" behavior    \
  "\", \"pattern\": {\"" kind "\": \"" pattern "\"}}"
#define BLANKS "{\"type\": \"WhitespaceSplit\"}"
#define SEQUENCE(steps)                                                   \
  "{\"type\": \"Sequence\", \"pretokenizers\": [" steps "]}"
#define ADDED(content, id, normalized, special)                           \
  "{\"content\": \"" content "\", \"id\": " id                            \
  ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "      \
  "\"normalized\": " normalized ", \"special\": " special "}"

static void patterns_cut(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(document(NULL, NULL, NULL, NULL));
  ASSERT_IDS(t, text_of("ab"), true, 3);
  ASSERT_IDS(t, text_of("a b"), true, 4);
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, SPLIT("String", ".", "Removed"), NULL));
  ASSERT_IDS(t, text_of("a.b..ab"), true, 0, 1, 3);
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL,
                      "{\"type\": \"Split\", \"invert\": true, "
                      "\"behavior\": \"Removed\", \"pattern\": "
                      "{\"Regex\": \"[ab]+\"}}",
                      NULL));
  ASSERT_IDS(t, text_of("..a. ab!b"), true, 0, 3, 1);
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL,
                      "{\"type\": \"Digits\", \"individual_digits\": false}",
                      NULL));
  ASSERT_IDS(t, text_of("a12\u00BDb"), true, 0, 4, 1);
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, SPLIT("Regex", "(?=b)", "Isolated"), NULL));
  ASSERT_IDS(t, text_of("abab"), true, 0, 4, 1); /* a, ba, b */
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, SPLIT("Regex", "a*", "Isolated"), NULL));
  ASSERT_IDS(t, text_of("aabab"), true, 4, 1, 0, 1); /* aa, b, a, b */
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, SPLIT("Regex", "^a\\n", "Removed"), NULL));
  ASSERT_IDS(t, text_of("a\na\nab"), true, 3);
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL,
                      SEQUENCE(BLANKS "," SPLIT("Regex", "\\\\p{P}",
                                                "Isolated")),
                      NULL));
  ASSERT_IDS(t, text_of("a. b.\u00BF"), true, 0, 2, 1, 2, 4);
  moh__tokenizer_free(t);
}

static void added_tokens_come_first(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(
      document(NULL,
               "[" ADDED("[x]", "5", "false", "true") ","
               ADDED("[x]b", "6", "false", "false") ","
               ADDED("b.", "7", "true", "false") ","
               ADDED("ab", "3", "true", "true") "]",
               BLANKS, NULL));
  assert_int_equal(moh__tokenizer_size(t), 8);
  ASSERT_IDS(t, text_of("a[x]b.a"), true, 0, 6, 4);
  ASSERT_IDS(t, text_of("a[x]a b. b"), true, 0, 5, 0, 7, 1);
  ASSERT_IDS(t, text_of("a[x]a b. b"), false, 4, 7, 1);
  ASSERT_IDS(t, text_of("abb."), true, 3, 7);
  ASSERT_IDS(t, text_of("ab b"), false, 4, 1); /* ab is special: unknown */
  moh__tokenizer_free(t);
}

static void decoders_join(void **state) {
  (void)state;
  const int32_t ids[] = {0, 1, 2, 3};
  moh__tokenizer *t = parsed(document(NULL, NULL, NULL, NULL));
  assert_decoded(t, ids, 4, false, "a b . ab");
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, NULL, "{\"type\": \"Fuse\"}"));
  assert_decoded(t, ids, 4, false, "ab.ab");
  moh__tokenizer_free(t);
  t = parsed(document(NULL, NULL, NULL,
                      "{\"type\": \"WordPiece\", \"prefix\": \"a\", "
                      "\"cleanup\": false}"));
  assert_decoded(t, ids, 4, false, "a b .b");
  moh__tokenizer_free(t);
}

/* [, PAD and ] must not become the special token [PAD]. */
static void joining_makes_no_added_token(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(document(
      "{\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": "
      "{\"[\": 0, \"PAD\": 1, \"]\": 2, \"?\": 3}}",
      "[" ADDED("[PAD]", "4", "false", "true") "]",
      SEQUENCE(BLANKS "," SPLIT("Regex", "\\\\p{P}", "Isolated")),
      "{\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}"));
  const int32_t ids[] = {0, 1, 2, 0, 1, 2, 1};
  assert_decoded(t, ids, 7, false, "[PAD ] [PAD ] PAD");
  assert_decoded(t, (const int32_t[]){1, 2}, 2, false, "PAD]");
  ASSERT_IDS(t, text_of("[PAD ] [PAD ] PAD"), true, 0, 1, 2, 0, 1, 2, 1);
  moh__tokenizer_free(t);
}

static void a_word_needs_an_unknown_token(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(document(
      "{\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": "
      "{\"a\": 0}}",
      NULL, BLANKS, NULL));
  assert_int_equal(moh__tokenizer_unknown(t), -1);
  moh__ids ids = {0};
  assert_int_equal(
      moh__tokenizer_encode(t, text_of("a b"), true, &ids, &err),
      MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "the vocabulary lacks \"b\" and has no unknown token");
  moh__ids_free(&ids);
  moh__tokenizer_free(t);
}

static void endless_searches_are_given_up(void **state) {
  (void)state;
  moh__tokenizer *t = parsed(
      document(NULL, NULL, SPLIT("Regex", "(a+)+$", "Isolated"), NULL));
  moh__ids ids = {0};
  moh__text text = text_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
  assert_int_equal(moh__tokenizer_encode(t, text, true, &ids, &err),
                   MOH_ERR_UNSUPPORTED);
  assert_non_null(
      strstr(err.message, "pre-tokenizer step 1: its pattern gave up"));
  moh__ids_free(&ids);
  moh__tokenizer_free(t);
}

/* ---- refusals --------------------------------------------------------- */

static void assert_refused(const char *json, size_t n, moh_status status,
                           const char *part) {
  moh__tokenizer *tokenizer;
  moh_status got =
      moh__tokenizer_parse(&tokenizer, json, n, "t.json", &err);
  if (got != status || strstr(err.message, part) == NULL) {
    fail_msg("%s instead of \"%s\": %s", moh_status_name(got), part,
             got ? err.message : json);
  }
  assert_null(tokenizer);
  assert_memory_equal(err.message, "t.json", 6);
}

static void broken_json_is_refused_with_its_place(void **state) {
  (void)state;
  const char *cases[][2] = {
      {"", "line 1"},
      {"{", "line 1"},
      {"{\n\"model\": \"Word", "line 2"},
      {"{\"model\": \"\\ud800\"}", "line 1"},
      {"{\"model\": \"\\u0000\"}", "line 1"},
      {"{\"model\": 1, \"model\": 1}", "line 1"},
      {"{\"model\": \"\xFF\"}", "line 1"},
      {"[]", "an array, not an object"},
      {"{}", "\"model\" is missing"},
      {"{\"model\": 3}", "\"model\" is an integer"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_refused(cases[i][0], strlen(cases[i][0]), MOH_ERR_FORMAT,
                   cases[i][1]);
  }
  assert_refused("{\"a\0b\": 1}", 10, MOH_ERR_FORMAT, "line 1");
  char deep[20000];
  memset(deep, '[', sizeof(deep));
  assert_refused(deep, sizeof(deep), MOH_ERR_FORMAT, "line 1");
}

static void huge_files_are_refused(void **state) {
  (void)state;
  moh__tokenizer *tokenizer;
  char path[] = "/tmp/moh_tokenizer_XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(ftruncate(file, (off_t)MOH__TEXT_FILE_MAX + 1), 0);
  close(file);
  assert_int_equal(moh__tokenizer_load(&tokenizer, path, &err),
                   MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "104857601 bytes"));
  unlink(path);
}

#define MODEL(vocab)                                                      \
  "{\"type\": \"WordLevel\", \"unk_token\": \"?\", \"vocab\": " vocab "}"

static void wrong_models_are_refused(void **state) {
  (void)state;
  const char *cases[][2] = {
      {MODEL("{}"), "a vocabulary of 0 tokens"},
      {MODEL("[]"), "\"vocab\" is an array"},
      {MODEL("{\"a\": \"0\"}"), "the id of \"a\" in \"vocab\" is a string"},
      {MODEL("{\"a\": 0.0}"), "a real number"},
      {MODEL("{\"a\": 1}"), "the id 1 of \"a\" is not one of 0..0"},
      {MODEL("{\"a\": -1}"), "the id -1"},
      {MODEL("{\"a\": 9223372036854775807}"), "the id 9223372036854775807"},
      {MODEL("{\"a\": 0, \"b\": 0}"), "\"a\" and \"b\" have the same id, 0"},
      {MODEL("{\"a\": 1, \"b\": 2}"), "not one of 0..1"},
      {"{\"type\": \"WordLevel\", \"vocab\": {\"a\": 0}}", "unk_token"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *json = document(cases[i][0], NULL, NULL, NULL);
    assert_refused(json, strlen(json), MOH_ERR_FORMAT, cases[i][1]);
  }
}

static void wrong_added_tokens_are_refused(void **state) {
  (void)state;
  const char *cases[][2] = {
      {"3", "\"added_tokens\" is an integer"},
      {"[3]", "element 0 of \"added_tokens\""},
      {"[{\"content\": \"x\"}]", "\"id\""},
      {"[" ADDED("", "5", "false", "true") "]", "\"content\" is empty"},
      {"[" ADDED("x", "6", "false", "true") "]", "the id 6 of \"x\""},
      {"[" ADDED("a", "1", "false", "true") "]", "another id"},
      {"[" ADDED("x", "5", "false", "true") ","
       ADDED("x", "6", "false", "true") "]", "\"x\" is added twice"},
      {"[" ADDED("x", "5", "false", "true") ","
       ADDED("y", "5", "false", "true") "]", "have the same id, 5"},
      {"[" ADDED("x", "1048576", "false", "true") "]", "\"id\""},
      {"[" ADDED("x", "5", "0", "true") "]", "\"normalized\""},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *json = document(NULL, cases[i][0], NULL, NULL);
    assert_refused(json, strlen(json), MOH_ERR_FORMAT, cases[i][1]);
  }
}

static void unknown_steps_are_refused_by_name(void **state) {
  (void)state;
  const char *model = "{\"type\": \"Unigram\"}";
  const char *cases[][5] = {
      {model, NULL, NULL, NULL, "the model \"Unigram\""},
      {NULL, NULL, "{\"type\": \"ByteLevel\"}", NULL, "\"ByteLevel\""},
      {NULL, NULL, SEQUENCE("{\"type\": \"UnicodeScripts\"}"), NULL,
       "\"UnicodeScripts\""},
      {NULL, NULL, "3", NULL, "without a type"},
      {NULL, NULL, NULL, "{\"type\": \"CTC\"}", "the decoder \"CTC\""},
      {NULL, NULL, SPLIT("String", "x", "MergedWithBoth"), NULL,
       "\"MergedWithBoth\""},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *json =
        document(cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
    assert_refused(json, strlen(json), MOH_ERR_UNSUPPORTED, cases[i][4]);
  }
  const char *padding = "{\"padding\": {\"length\": 3}}";
  assert_refused(padding, strlen(padding), MOH_ERR_UNSUPPORTED, "padding");
}

static void wrong_patterns_are_refused(void **state) {
  (void)state;
  const char *cases[][2] = {
      {SPLIT("Regex", "(a", "Isolated"), "the pattern \"(a\" is wrong"},
      {SPLIT("Regex", "\\\\C", "Isolated"), "is wrong near byte"},
      {SPLIT("Glob", "a", "Isolated"), "\"String\""},
      {"{\"type\": \"Sequence\"}", "\"pretokenizers\" is missing"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *json = document(NULL, NULL, cases[i][0], NULL);
    assert_refused(json, strlen(json), MOH_ERR_FORMAT, cases[i][1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(words_are_sorted_by_bytes),
      cmocka_unit_test(chars_are_sorted_by_code_point),
      cmocka_unit_test(no_texts_leave_the_special_words),
      cmocka_unit_test(a_vocabulary_has_a_limit),
      cmocka_unit_test(punctuation_stands_alone),
      cmocka_unit_test(unicode_blanks_cut),
      cmocka_unit_test(specials_are_found_only_when_wanted),
      cmocka_unit_test(invalid_bytes_are_unknown),
      cmocka_unit_test(a_zero_byte_is_a_character),
      cmocka_unit_test(ids_are_appended),
      cmocka_unit_test(words_are_joined_as_in_english),
      cmocka_unit_test(specials_can_be_left_out),
      cmocka_unit_test(foreign_ids_are_refused),
      cmocka_unit_test(decoded_ids_come_back),
      cmocka_unit_test(a_saved_one_is_the_same),
      cmocka_unit_test(patterns_cut),
      cmocka_unit_test(added_tokens_come_first),
      cmocka_unit_test(decoders_join),
      cmocka_unit_test(joining_makes_no_added_token),
      cmocka_unit_test(a_word_needs_an_unknown_token),
      cmocka_unit_test(endless_searches_are_given_up),
      cmocka_unit_test(broken_json_is_refused_with_its_place),
      cmocka_unit_test(huge_files_are_refused),
      cmocka_unit_test(wrong_models_are_refused),
      cmocka_unit_test(wrong_added_tokens_are_refused),
      cmocka_unit_test(unknown_steps_are_refused_by_name),
      cmocka_unit_test(wrong_patterns_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
