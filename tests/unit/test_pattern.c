/*
 * Regular expressions of tokenizer files: what is refused, that searching in
 * windows finds what a search in the whole text finds, and that no pattern
 * takes the square of a text's length. And the same for normalizers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/ids.h"
#include "text/pattern.h"
#include "text/unicode.h"
#include "text/utf8.h"

static moh_error err;

static void assert_refused(const char *regex, const char *part) {
  moh__pattern pattern;
  moh_status status = moh__pattern_regex(&pattern, text_of(regex), &err);
  if (status != MOH_ERR_UNSUPPORTED || strstr(err.message, part) == NULL) {
    fail_msg("%s: %s: %s", regex, moh_status_name(status), err.message);
  }
  assert_null(pattern.code);
}

static void what_means_something_else_is_refused(void **state) {
  (void)state;
  const char *cases[][2] = {
      {"[a[bc]]", "a class in a class"},
      {"[a&&b]", "what classes share"},
      {"a{2}+", "a repetition of a repetition"},
      {"\\h", "\"\\h\" at byte 0"},
      {"a\\R", "\"\\R\" at byte 1"},
      {"[\\W]", "several characters"},
      {"(*UTF)a", "a verb"},
      {"(?R)", "a group"},
      {"(?m:a)", "a group"},
      {"(?1)", "a group"},
      {"(?#x)", "a group"},
      {"\\Qa\\E", "\"\\Q\" at byte 0"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    assert_refused(cases[i][0], cases[i][1]);
  }
}

/* ---- windows ---- */

static const char *const regexes[] = {
    "\\s+(?!\\S)|\\s+",
    ("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
     "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    "a+$",
    "(?<=a)b*(?=c)",
    "a+b|aa|c\\b",
    "(?:ab?)+\\n",
    "x*",
};

/* Runs of one character, up to 900 of them. */
static size_t random_text(moh__rng *rng, char *text, size_t most) {
  static const char *const letters[] = {"a",  "b",      "c", " ",
                                        "\n", "\u00E9", "1", "\u4E2D"};
  size_t n = 0;
  while (n + 3000 < most) {
    const char *letter = letters[moh__rng_below(rng, 8)];
    size_t run = 1 + moh__rng_below(rng, 4);
    if (moh__rng_below(rng, 9) == 0) run = 1 + moh__rng_below(rng, 900);
    for (size_t i = 0; i < run; i++) {
      memcpy(text + n, letter, strlen(letter));
      n += strlen(letter);
    }
  }
  return n;
}

/* As one would write it. */
static bool plain_next(const moh__search *s, pcre2_match_data *data,
                       size_t *from, size_t *last, size_t match[2]) {
  uint32_t code;
  while (*from <= s->text.n) {
    int rc = pcre2_match(s->pattern->code, (PCRE2_SPTR)s->text.bytes,
                         s->text.n, *from, PCRE2_NO_UTF_CHECK, data, NULL);
    if (rc < 0) return false;
    memcpy(match, pcre2_get_ovector_pointer(data), 2 * sizeof(*match));
    if (match[1] > match[0] || match[1] != *last) {
      *from = *last = match[1];
      return true;
    }
    if (*from == s->text.n) return false;
    *from += moh__utf8_next(moh__text_part(s->text, *from, s->text.n), &code);
  }
  return false;
}

static int compare_matches(const moh__pattern *pattern, moh__text text) {
  moh__matcher matcher;
  moh__search s = moh__search_in(pattern, text);
  pcre2_match_data *data = pcre2_match_data_create(1, NULL);
  size_t from = 0, last = PCRE2_UNSET, match[2];
  int n = 0;
  assert_int_equal(moh__matcher_open(&matcher, &err), MOH_OK);
  for (bool found = true; found; n++) {
    if (moh__search_next(&s, &matcher, &found, &err) != MOH_OK)
      fail_msg("%s", err.message);
    assert_int_equal(plain_next(&s, data, &from, &last, match), found);
    if (!found) break;
    assert_int_equal(s.start, match[0]);
    assert_int_equal(s.end, match[1]);
  }
  pcre2_match_data_free(data);
  moh__matcher_close(&matcher);
  return n;
}

static void windows_change_no_match(void **state) {
  (void)state;
  enum { MOST = 20000 };
  char *text = malloc(MOST);
  moh__rng rng = moh__rng_make(7, 0);
  for (size_t r = 0; r < sizeof(regexes) / sizeof(regexes[0]); r++) {
    moh__pattern pattern;
    int n = 0;
    assert_int_equal(moh__pattern_regex(&pattern, text_of(regexes[r]), &err),
                     MOH_OK);
    for (int i = 0; i < 20; i++) {
      size_t length = random_text(&rng, text, MOST);
      n += compare_matches(&pattern, (moh__text){text, length});
    }
    assert_true(n > 20);
    moh__pattern_free(&pattern);
  }
  free(text);
}

/* Every match of a text of one letter; the last status. */
static moh_status search_all(const char *regex, char letter, size_t length,
                             size_t *n) {
  moh__pattern pattern;
  moh__matcher matcher;
  char *text = malloc(length);
  memset(text, letter, length);
  assert_int_equal(moh__pattern_regex(&pattern, text_of(regex), &err),
                   MOH_OK);
  assert_int_equal(moh__matcher_open(&matcher, &err), MOH_OK);
  moh__search s = moh__search_in(&pattern, (moh__text){text, length});
  moh_status status = MOH_OK;
  bool found = true;
  for (*n = 0; found && status == MOH_OK; *n += found) {
    status = moh__search_next(&s, &matcher, &found, &err);
  }
  moh__matcher_close(&matcher);
  moh__pattern_free(&pattern);
  free(text);
  return status;
}

static void looking_far_ahead_is_paid_for(void **state) {
  (void)state;
  size_t n;
  /* Each takes the rest of the text for every byte. */
  const char *squares[] = {"a+b|a", "a+b", "a(?=a*b)|a", "(?:a+c|a)"};
  for (size_t i = 0; i < sizeof(squares) / sizeof(squares[0]); i++) {
    assert_int_equal(search_all(squares[i], 'a', 1 << 20, &n),
                     MOH_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "looks far ahead"));
  }
  assert_int_equal(search_all("\\s+(?!\\S)|\\s+", ' ', 1 << 20, &n), MOH_OK);
  assert_int_equal(n, 1);
  assert_int_equal(search_all("a{300}", 'a', 300 << 10, &n), MOH_OK);
  assert_int_equal(n, 1 << 10);
  assert_int_equal(search_all("b", 'a', 1 << 22, &n), MOH_OK);
  assert_int_equal(n, 0);
}

/* ---- normal forms ---- */

/* Marks of two classes by turns, which are sorted. */
static void a_long_run_of_marks_is_sorted(void **state) {
  (void)state;
  enum { N = 200000 };
  char *text = malloc(4 * N + 1);
  moh__buffer out = {0};
  text[0] = 'a';
  for (size_t i = 0; i < N; i++) {
    memcpy(text + 1 + 4 * i, "\xCC\x81\xCC\x96", 4); /* U+0301, U+0316 */
  }
  assert_int_equal(moh__unicode_normalize(
                       MOH__NFD, (moh__text){text, 4 * N + 1}, &out, &err),
                   MOH_OK);
  assert_int_equal(out.n, 4 * N + 1);
  assert_memory_equal(out.bytes + 1, "\xCC\x96", 2);
  assert_memory_equal(out.bytes + 2 * N - 1, "\xCC\x96\xCC\x81", 4);
  assert_memory_equal(out.bytes + out.n - 2, "\xCC\x81", 2);
  moh__buffer_free(&out);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_means_something_else_is_refused),
      cmocka_unit_test(windows_change_no_match),
      cmocka_unit_test(looking_far_ahead_is_paid_for),
      cmocka_unit_test(a_long_run_of_marks_is_sorted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
