/*
 * Streaming text: what is passed on after each token, when characters are
 * cut between tokens, when bytes are no UTF-8, and around stop strings. The
 * decoder is one of the test: token i adds the bytes of piece i.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/check.h"
#include "text/decoding.h"

static const char *const *pieces;

static moh_status add_piece(moh__decoding *d, int32_t id, moh_error *err) {
  moh__text piece = {pieces[id], strlen(pieces[id])};
  return moh__buffer_add(&d->text, piece, err);
}

#define moh__decoding_add add_piece
#include "text/stream.c"

static moh_error err;

enum { OUT_MAX = 4096 };
typedef struct sink {
  char text[OUT_MAX];
  size_t n;
  size_t most; /* bytes after which the end is asked for; 0: none */
} sink;

static bool take(void *context, const char *bytes, size_t n) {
  sink *s = context;
  assert_true(n > 0 && s->n + n < OUT_MAX);
  moh__text text = {bytes, n};
  assert_int_equal(moh__utf8_valid(text), n);
  memcpy(s->text + s->n, bytes, n);
  s->n += n;
  s->text[s->n] = '\0';
  return s->most == 0 || s->n < s->most;
}

/* Streams the NULL-terminated list; after each token, and at the end, a
 * '|'. The stop that was found is returned. */
static int run(const char *const *list, const char *const *stops,
               int n_stops, sink *s) {
  moh__stream stream;
  *s = (sink){.n = 0};
  pieces = list;
  assert_int_equal(
      moh__stream_init(&stream, NULL, stops, n_stops, take, s, &err),
      MOH_OK);
  for (int32_t i = 0; list[i] != NULL; i++) {
    assert_int_equal(moh__stream_add(&stream, i, &err), MOH_OK);
    take(s, "|", 1);
  }
  moh__stream_finish(&stream);
  int stop = stream.stop;
  moh__stream_free(&stream);
  return stop;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_streamed(const char *const *list, const char *expected) {
  sink s;
  assert_int_equal(run(list, NULL, 0, &s), -1);
  assert_string_equal(s.text, expected);
}

static void text_comes_at_once(void **state) {
  (void)state;
  assert_streamed(LIST("a", " b", "", "c"), "a| b||c|");
}

/* U+00E9, U+20AC, U+1F600, cut at every place. */
static void characters_are_never_cut(void **state) {
  (void)state;
  assert_streamed(LIST("x\xC3", "\xA9y"), "x|\u00e9y|");
  assert_streamed(LIST("\xE2", "\x82", "\xAC"), "||\u20ac|");
  assert_streamed(LIST("\xF0", "\x9F", "\x98", "\x80."), "|||\U0001F600.|");
  assert_streamed(LIST("\xF0\x9F\x98", "\x80\xC3", "\xA9"),
                  "|\U0001F600|\u00e9|");
}

#define BAD "\xEF\xBF\xBD"

/* The examples of Unicode 15, table 3-8 and after it, and the end. */
static void what_is_no_utf8_becomes_a_sign(void **state) {
  (void)state;
  assert_streamed(LIST("a\xFF"
                       "b"),
                  "a" BAD "b|");
  assert_streamed(LIST("\x80"), BAD "|");
  assert_streamed(LIST("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
                  BAD BAD BAD BAD BAD BAD BAD BAD "A|");
  assert_streamed(LIST("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
                  BAD BAD BAD BAD BAD BAD BAD BAD "A|");
  assert_streamed(LIST("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
                  BAD BAD BAD BAD BAD "A" BAD BAD "B|");
  assert_streamed(LIST("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
                  BAD BAD BAD BAD "A|");
  assert_streamed(LIST("\xE2\x82"), "|" BAD);
  assert_streamed(LIST("\xE2\x82", "z"), "|" BAD "z|");
  assert_streamed(LIST("\xC3", "\xC3", "\xA9"), "|" BAD "|\u00e9|");
}

static void assert_stopped(const char *const *list, const char *stop,
                           const char *expected, bool found) {
  sink s;
  assert_int_equal(run(list, &stop, 1, &s), found ? 0 : -1);
  assert_string_equal(s.text, expected);
}

static void stops_are_found_across_tokens(void **state) {
  (void)state;
  assert_stopped(LIST("one", "\nUs", "er", ":", "x"), "\nUser:", "one|||||",
                 true);
  assert_stopped(LIST("ab", "cSTOPd", "e"), "STOP", "ab|c||", true);
  assert_stopped(LIST("STOP"), "STOP", "|", true);
  assert_stopped(LIST("\u00e9\xC3", "\xA8z"), "\u00e8", "\u00e9||", true);
}

static void what_is_no_stop_is_passed_on(void **state) {
  (void)state;
  assert_stopped(LIST("one", "\nUs", "es", "."),
                 "\nUser:", "one||\nUses|.|", false);
  assert_stopped(LIST("abab", "abac"), "ababac", "|ab|", true);
  assert_stopped(LIST("aaa", "ab"), "aaab", "|a|", true);
  assert_stopped(LIST("xST", "O"), "STOP", "x||STO", false);
  assert_stopped(LIST("\xC3", "\xA9", "x"), "\u00e8", "|\u00e9|x|", false);
}

/* Of two the one that ends first, of those the longest. */
static void the_first_stop_wins(void **state) {
  (void)state;
  sink s;
  const char *stops[] = {"long stop", "g s", "ng s"};
  assert_int_equal(run(LIST("a long stop"), stops, 3, &s), 2);
  assert_string_equal(s.text, "a lo|");
  const char *inner[] = {"abcd", "bc"};
  assert_int_equal(run(LIST("xab", "cd"), inner, 2, &s), 1);
  assert_string_equal(s.text, "x|a|");
}

static void drop_marks(char *text) {
  char *to = text;
  for (const char *c = text; *c != '\0'; c++)
    if (*c != '|') *to++ = *c;
  *to = '\0';
}

/* Whatever the tokens' borders, text and stop are the same. */
static void borders_of_tokens_do_not_matter(void **state) {
  (void)state;
  const char *stops[] = {"abaab", "\u00e9\u00e8", "bbb"};
  moh__rng rng = moh__rng_make(5, 99);
  for (int round = 0; round < 300; round++) {
    char text[40], cut[40][8];
    const char *list[41], *whole[] = {text, NULL};
    const char *letters[] = {"a", "b", "b", "\u00e9", "\u00e8"};
    text[0] = '\0';
    for (int i = 0; i < 16; i++)
      strcat(text, letters[moh__rng_below(&rng, 5)]);
    int n = 0;
    for (size_t at = 0; at < strlen(text); n++) {
      size_t step = 1 + moh__rng_below(&rng, 4);
      snprintf(cut[n], sizeof cut[n], "%.*s", (int)step, text + at);
      at += strlen(cut[n]);
      list[n] = cut[n];
    }
    list[n] = NULL;
    sink one, many;
    assert_int_equal(run(whole, stops, 3, &one),
                     run(list, stops, 3, &many));
    drop_marks(one.text);
    drop_marks(many.text);
    assert_string_equal(one.text, many.text);
  }
}

static void a_refusal_ends_the_passing(void **state) {
  (void)state;
  sink s = {.most = 2};
  moh__stream stream;
  pieces = LIST("ab", "cd");
  moh__stream_init(&stream, NULL, NULL, 0, take, &s, &err);
  assert_int_equal(moh__stream_add(&stream, 0, &err), MOH_OK);
  assert_true(stream.refused);
  assert_int_equal(moh__stream_add(&stream, 1, &err), MOH_OK);
  moh__stream_finish(&stream);
  assert_string_equal(s.text, "ab");
  moh__stream_free(&stream);
}

static void no_stop_is_looked_for_in_an_echo(void **state) {
  (void)state;
  sink s = {.n = 0};
  moh__stream stream;
  const char *stop = "bc";
  pieces = LIST("abcb", "c", "b", "c");
  moh__stream_init(&stream, NULL, &stop, 1, take, &s, &err);
  assert_int_equal(moh__stream_echo(&stream, 0, &err), MOH_OK);
  assert_string_equal(s.text, "abcb");
  for (int32_t i = 1; i < 4; i++)
    assert_int_equal(moh__stream_add(&stream, i, &err), MOH_OK);
  assert_int_equal(stream.stop, 0);
  assert_string_equal(s.text, "abcbc");
  moh__stream_free(&stream);
}

static bool count(void *context, const char *bytes, size_t n) {
  (void)bytes;
  *(size_t *)context += n;
  return true;
}

/* Work for each token is that of its own bytes: with as many as these,
 * anything that looks at the whole text again would not come to an end. */
static void long_texts_cost_no_more_per_token(void **state) {
  (void)state;
  size_t n = 0;
  moh__stream stream;
  const char *stop = "STOP";
  pieces = LIST("some text of a token ");
  moh__stream_init(&stream, NULL, &stop, 1, count, &n, &err);
  for (int i = 0; i < 1000000; i++)
    assert_int_equal(moh__stream_add(&stream, 0, &err), MOH_OK);
  assert_int_equal(n, 21000000);
  moh__stream_free(&stream);
}

static void wrong_stops_are_refused(void **state) {
  (void)state;
  moh__stream stream;
  const char *stops[MOH__STOPS_MAX + 1] = {"a", ""};
  assert_int_equal(
      moh__stream_init(&stream, NULL, stops, 2, NULL, NULL, &err),
      MOH_ERR_ARGUMENT);
  assert_string_equal(err.message, "a stop string is empty");
  assert_int_equal(moh__stream_init(&stream, NULL, stops,
                                    MOH__STOPS_MAX + 1, NULL, NULL, &err),
                   MOH_ERR_ARGUMENT);
  assert_string_equal(err.message, "65 stop strings, 64 at most");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_comes_at_once),
      cmocka_unit_test(characters_are_never_cut),
      cmocka_unit_test(what_is_no_utf8_becomes_a_sign),
      cmocka_unit_test(stops_are_found_across_tokens),
      cmocka_unit_test(what_is_no_stop_is_passed_on),
      cmocka_unit_test(the_first_stop_wins),
      cmocka_unit_test(borders_of_tokens_do_not_matter),
      cmocka_unit_test(a_refusal_ends_the_passing),
      cmocka_unit_test(no_stop_is_looked_for_in_an_echo),
      cmocka_unit_test(long_texts_cost_no_more_per_token),
      cmocka_unit_test(wrong_stops_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
