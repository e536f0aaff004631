/*
 * Texts: what files of each format may hold, and what is refused with its
 * place. Every accepted file is read a second time through windows that grow
 * byte by byte; that must give the same records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "text/texts.h"

static moh_error err;

/* ---- helpers ---------------------------------------------------------- */

/* The window starts behind what is done with, and grows by a byte whenever
 * the parser wants more. */
static void assert_same_in_windows(const moh__texts *texts,
                                   const char *bytes, size_t n,
                                   const moh__text_options *options,
                                   const char *name) {
  moh__records records;
  moh__records_start(&records, name, options);
  size_t front = moh__records_mark((moh__text){bytes, n}), end = front;
  size_t i = 0, used = 0;
  bool found = false;
  for (;;) {
    /* A copy, so that a sanitizer sees a read behind the window. */
    char *copy = malloc(end - front + 1);
    memcpy(copy, bytes + front, end - front);
    moh__text window = {copy, end - front}, text;
    assert_int_equal(moh__records_next(&records, window, end == n, &used,
                                       &text, &found, &err),
                     MOH_OK);
    if (found) {
      assert_in_range(i, 0, texts->n - 1);
      assert_int_equal(text.n, texts->texts[i].n);
      assert_memory_equal(text.bytes, texts->texts[i].bytes, text.n);
      i++;
    }
    free(copy);
    front += used;
    if (!found && used == 0 && end == n) break;
    if (!found && used == 0) end++;
    if (end < front) end = front;
  }
  assert_int_equal(i, texts->n);
  moh__records_free(&records);
}

static moh__texts parsed_as(const char *bytes, size_t n,
                            const moh__text_options *options,
                            const char *name) {
  moh__texts texts;
  moh_status status =
      moh__texts_parse(&texts, bytes, n, options, name, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  assert_same_in_windows(&texts, bytes, n, options, name);
  return texts;
}

static void assert_texts(const char *bytes, const moh__text_options *options,
                         const char *name, size_t n,
                         const char *const *wanted) {
  moh__texts texts = parsed_as(bytes, strlen(bytes), options, name);
  assert_true(texts.examples);
  assert_int_equal(texts.n, n);
  for (size_t i = 0; i < n; i++) {
    if (texts.texts[i].n != strlen(wanted[i]) ||
        memcmp(texts.texts[i].bytes, wanted[i], texts.texts[i].n) != 0)
      fail_msg("text %zu is \"%.*s\", not \"%s\"", i, (int)texts.texts[i].n,
               texts.texts[i].bytes, wanted[i]);
  }
  moh__texts_free(&texts);
}
#define ASSERT_TEXTS(bytes, options, name, ...)                            \
  do {                                                                     \
    const char *const wanted[] = {__VA_ARGS__};                            \
    assert_texts(bytes, options, name, sizeof(wanted) / sizeof(*wanted),   \
                 wanted);                                                  \
  } while (0)

/* The message starts with the file's name and holds `part`. */
static void assert_refused(const char *bytes, size_t n,
                           const moh__text_options *options,
                           const char *name, const char *part) {
  moh__texts texts;
  moh_status status =
      moh__texts_parse(&texts, bytes, n, options, name, &err);
  if (status != MOH_ERR_FORMAT || strstr(err.message, part) == NULL)
    fail_msg("%s instead of \"%s\": %s", moh_status_name(status), part,
             err.message);
  assert_null(texts.texts);
  assert_null(texts.owner);
  assert_memory_equal(err.message, name, strlen(name));
}

typedef struct refused {
  const char *bytes, *part;
} refused;

static void assert_all_refused(const refused *cases, size_t n,
                               const moh__text_options *options,
                               const char *name) {
  for (size_t i = 0; i < n; i++)
    assert_refused(cases[i].bytes, strlen(cases[i].bytes), options, name,
                   cases[i].part);
}

/* `n` times a piece, between a front and an end; to be freed. */
static char *repeated(const char *front, const char *piece, size_t n,
                      const char *end) {
  size_t length = strlen(front), step = strlen(piece);
  char *text = malloc(length + n * step + strlen(end) + 1);
  memcpy(text, front, length);
  for (size_t i = 0; i < n; i++, length += step)
    memcpy(text + length, piece, step);
  strcpy(text + length, end);
  return text;
}

/* ---- JSON arrays ------------------------------------------------------ */

static void arrays_hold_examples(void **state) {
  (void)state;
  ASSERT_TEXTS("\xEF\xBB\xBF[\"a\\u00e9\", \"\",\r\n\t\"b]\\\"\\\\\" ]\n",
               NULL, "t.json", "a\xC3\xA9", "", "b]\"\\");
  ASSERT_TEXTS("[{\"text\": \"a\", \"n\": [1, {\"x\": null}]},\"b\"]", NULL,
               "t.JSON", "a", "b");
  moh__text_options answer = {.field = "answer"};
  ASSERT_TEXTS("[{\"text\": \"a\", \"answer\": \"b\"}]", &answer, "t.json",
               "b");
}

static void wrong_arrays_are_refused(void **state) {
  (void)state;
  const refused cases[] = {
      {"", "empty"},
      {"\xEF\xBB\xBF", "empty"},
      {"  \n ", "empty"},
      {"[]", "empty"},
      {"[", "line 1, column 2: the array does not end"},
      {"{}", "line 1, column 1: not an array of strings"},
      {"\"a\"", "line 1, column 1: not an array"},
      {"[\"a\",\n\"b", "line 2"},
      {"[\"a\",\n\"b\"", "line 2, column 4: not valid JSON: a comma"},
      {"[\"a\",\n,\"b\"]", "line 2, column 1: not valid JSON: an element"},
      {"[\"a\",]", "line 1, column 6: not valid JSON: an element"},
      {"[\"a\" \"b\"]", "line 1, column 6: not valid JSON: a comma"},
      {"[\"a\"]\n]", "line 2, column 1: not valid JSON: nothing may follow"},
      {"[\"a\", 3]", "element 1 (counted from 0) is a number"},
      {"[\"a\", 0.5]", "element 1 (counted from 0) is a number"},
      {"[[\"a\"]]", "element 0 (counted from 0) is an array"},
      {"[{\"txt\": \"a\"}]", "is an object without that field"},
      {"[{\"text\": 1}]", "has no string in that field"},
      {"[{\"text\": \"a\", \"text\": \"b\"}]", "duplicate"},
      {"[\"a\", \"b\", null]", "element 2 (counted from 0) is null"},
      {"[true]", "is true"},
      {"[false]", "is false"},
      {"[\n  nul]", "line 2, column"},
      {"[\"\\ud83d\"]", "line 1"},
      {"[\"\\ude00\\ud83d\"]", "line 1"},
      {"[\"a\\u0000b\"]", "line 1"},
      {"[\"\n\"]", "line"},
      {"[\n\"\xC3\"]", "line 2"},
      {"[\"a\",\n\n {\"text\": \"b\",}]", "line 3, column 15"},
      {"[{]", "line 1"},
      {"[}", "line 1, column 2"},
  };
  assert_all_refused(cases, sizeof(cases) / sizeof(cases[0]), NULL,
                     "t.json");
  assert_refused("[\"a\0b\"]", 7, NULL, "t.json", "line 1");
  assert_refused("[\0]", 3, NULL, "t.json", "line 1");
  assert_refused("[\"a\"\0]", 6, NULL, "t.json", "line 1, column 5");
}

static void deep_arrays_are_refused(void **state) {
  (void)state;
  char *deep = repeated("[\n", "[", 20000, "");
  assert_refused(deep, strlen(deep), NULL, "t.json",
                 "line 2, column 65: nested deeper than 64");
  free(deep);
  deep = repeated("[\"a\", {\"text\": \"b\", \"x\": ", "[", 63, "");
  char *closed = repeated(deep, "]", 63, "}]");
  ASSERT_TEXTS(closed, NULL, "t.json", "a", "b");
  free(closed);
  free(deep);
}

/* ---- JSONL ------------------------------------------------------------ */

static void lines_hold_examples(void **state) {
  (void)state;
  ASSERT_TEXTS("\xEF\xBB\xBF\"a\"\r\n\n  \t\r\n{\"text\": \"b\\nc\"}\n"
               "\"\"\n\"last\"",
               NULL, "t.jsonl", "a", "b\nc", "", "last");
  ASSERT_TEXTS("\"a\"\n", NULL, "t.NDJSON", "a");
  moh__text_options story = {.field = "story",
                             .format = MOH__TEXT_JSONL};
  ASSERT_TEXTS("{\"id\": 1, \"story\": \"x\", \"text\": 2}\n\"y\"", &story,
               "t.txt", "x", "y");
}

static void wrong_lines_are_refused(void **state) {
  (void)state;
  const refused cases[] = {
      {"", "empty"},
      {"\n\n", "empty"},
      {"\"a\"\n\"b\n\"c\"", "line 2, column"},
      {"\"a\"\n{\"text\": \"b\"", "line 2, column"},
      {"\"a\"\n\n{\"text\": \"b\"}}\n", "line 3, column 14"},
      {"\"a\"\n{\"text\" \"b\"}\n", "line 2, column 11"},
      {"\"a\" \"b\"\n", "line 1, column"},
      {"[\"a\"]\n", "line 1 is an array; every element must be a "
                   "string, or an object whose field \"text\" is one"},
      {"\"a\"\n3\n", "line 2 is a number"},
      {"{\"txt\": \"a\"}\n", "line 1 is an object without that field"},
      {"{\"text\": null}\n", "line 1 has no string in that field"},
      {"null\n", "line 1 is null"},
      {"\"\\ud800\"\n", "line 1"},
      {"\"\\u0000\"\n", "line 1"},
      {"\"a\"\n\"\xff\"\n", "line 2"},
  };
  assert_all_refused(cases, sizeof(cases) / sizeof(cases[0]), NULL,
                     "t.jsonl");
  assert_refused("\"a\"\n\"\0\"", 7, NULL, "t.jsonl", "line 2");
  char *deep = repeated("\"a\"\n", "[", 20000, "");
  assert_refused(deep, strlen(deep), NULL, "t.jsonl", "line 2");
  free(deep);
}

/* ---- CSV -------------------------------------------------------------- */

static void records_hold_examples(void **state) {
  (void)state;
  ASSERT_TEXTS("\xEF\xBB\xBFthe sun is hot\r\n\n\"ice, \"\"cold\"\"\"\n"
               "\"two\nlines\r\n\"\n\"\"\nlast",
               NULL, "t.csv", "the sun is hot", "ice, \"cold\"",
               "two\nlines\r\n", "", "last");
  /* The original project's rule: fields are joined by commas again. */
  ASSERT_TEXTS("a,b\n\"c,d\",\n,\r\n", NULL, "t.csv", "a,b", "c,d,", ",");
}

static void columns_are_named_or_numbered(void **state) {
  (void)state;
  const char *csv = "id,\"the text\",n\n1,\"a, b\",2\r\n3,c,\n";
  moh__text_options name = {.field = "the text"};
  moh__text_options number = {.field = "2"};
  moh__text_options skipped = {.field = "3", .header = true};
  moh__text_options all = {.header = true};
  ASSERT_TEXTS(csv, &name, "t.csv", "a, b", "c");
  ASSERT_TEXTS(csv, &number, "t.csv", "the text", "a, b", "c");
  ASSERT_TEXTS(csv, &skipped, "t.csv", "2", "");
  ASSERT_TEXTS(csv, &all, "t.csv", "1,a, b,2", "3,c,");
  char *blank = repeated("\n\n", csv, 1, "");
  ASSERT_TEXTS(blank, &name, "t.csv", "a, b", "c");
  free(blank);
}

static void wrong_records_are_refused(void **state) {
  (void)state;
  const refused cases[] = {
      {"", "empty"},
      {"\n\r\n", "empty"},
      {"a,b\nc\n", "line 2: 1 fields, the first record has 2; put texts "
                   "with commas in quotes"},
      {"a\n\"b\nc\"\nd,e,f", "line 4: 3 fields, the first record has 1"},
      {"a\nb,\"c\n\nd", "line 2, column 3: this quote is never closed"},
      {"a\n\"", "line 2, column 1: this quote is never closed"},
      {"a\nb\"c\"\n", "line 2, column 2: a quote inside of a field"},
      {"a\n\"b\nc\"d\n", "line 3, column 3: only a comma or a line end"},
      {"a\n\"b\"\rc", "line 2, column 4: only a comma"},
      {"a\nb\xC3(\n", "line 2, column 2: not UTF-8"},
  };
  assert_all_refused(cases, sizeof(cases) / sizeof(cases[0]), NULL,
                     "t.csv");
  assert_refused("a\n\"b\n\0\"", 7, NULL, "t.csv", "line 3, column 1: a NUL");
  moh__text_options name = {.field = "text"};
  const refused named[] = {
      {"a,b\nc,d\n", "line 1: the header names no column 'text'; it reads "
                     "a,b"},
      {"text\n", "empty"},
      {"text,b\nc\n", "line 2: 1 fields, the first record has 2"},
  };
  assert_all_refused(named, sizeof(named) / sizeof(named[0]), &name,
                     "t.csv");
  moh__text_options number = {.field = "3"};
  assert_refused("a,b\n", 4, &number, "t.csv", "line 1: there is no column 3, "
                 "only 2");
}

/* ---- plain text ------------------------------------------------------- */

static void other_files_are_one_text(void **state) {
  (void)state;
  moh__texts texts = parsed_as("\xEF\xBB\xBF[\"a\"]\r\n", 10, NULL, "t.md");
  assert_false(texts.examples);
  assert_int_equal(texts.n, 1);
  assert_int_equal(texts.texts[0].n, 7);
  assert_memory_equal(texts.texts[0].bytes, "[\"a\"]\r\n", 7);
  moh__texts_free(&texts);
  assert_int_equal(texts.n, 0);
  moh__texts_free(&texts);
}

static void plain_text_must_be_utf8(void **state) {
  (void)state;
  assert_refused("", 0, NULL, "t.txt", "empty");
  assert_refused("a\nb\xC3\nc", 6, NULL, "t.txt", "line 2, byte 3");
  assert_refused("\xED\xA0\x80", 3, NULL, "t.txt", "line 1, byte 0");
  moh__texts texts = parsed_as("a\0b", 3, NULL, "t.txt");
  assert_int_equal(texts.texts[0].n, 3);
  moh__texts_free(&texts);
}

/* The lengths of the stretches of a text. */
static size_t stretches(const char *bytes, size_t n, size_t lengths[8]) {
  moh__records records;
  moh__text text;
  moh__records_start(&records, "t.txt", NULL);
  size_t used = 0, i = 0;
  bool found = true;
  for (; found && i < 8; bytes += used, n -= used) {
    assert_int_equal(moh__records_next(&records, (moh__text){bytes, n}, true,
                                       &used, &text, &found, &err),
                     MOH_OK);
    if (found) lengths[i++] = used;
  }
  assert_int_equal(n, 0);
  moh__records_free(&records);
  return i;
}

/* Lines, every second one indented: only the others may begin a stretch,
 * though an indented one stands nearer to the limit. Lines with empty ones
 * between: a stretch may not begin behind those. Then words without lines,
 * then one endless word. */
static void stretches_end_where_no_word_is_cut(void **state) {
  (void)state;
  size_t lengths[8];
  const struct {
    const char *front, *piece;
    size_t unit, rest; /* of where a stretch may end */
  } cases[] = {{"abcdef", "abcd\n  ef\n", 10, 6},
               {"", "ab\n\ncd ef\n", 10, 0},
               {"", "abcd  ef gh", 11, 8},
               {"a", "\xE6\x97\xA5", 3, 1}};
  for (size_t c = 0; c < 4; c++) {
    char *text = repeated(cases[c].front, cases[c].piece, 100000, "");
    size_t n = strlen(text);
    size_t found = stretches(text, n, lengths), sum = 0;
    assert_int_equal(found, n / MOH__STRETCH + 1);
    for (size_t i = 0; i < found; sum += lengths[i++]) {
      assert_in_range(lengths[i], 1, MOH__STRETCH);
      if (i == 0) continue;
      assert_int_equal(sum % cases[c].unit, cases[c].rest);
      assert_in_range(lengths[i - 1], MOH__STRETCH - 11, MOH__STRETCH);
    }
    assert_int_equal(sum, n);
    free(text);
  }
}

/* ---- files ------------------------------------------------------------ */

/* A file of n bytes, all NUL, with the given ending; path holds its name. */
static void make_file(char path[64], const char *ending, const char *bytes,
                      size_t n) {
  snprintf(path, 64, "/tmp/moh_texts_XXXXXX%s", ending);
  int file = mkstemps(path, (int)strlen(ending));
  assert_true(file >= 0);
  if (bytes != NULL) assert_int_equal(write(file, bytes, n), n);
  if (bytes == NULL) assert_int_equal(ftruncate(file, (off_t)n), 0);
  close(file);
}

static void the_ending_tells_the_format(void **state) {
  (void)state;
  const struct {
    const char *ending;
    size_t n;
  } cases[] = {{".JSON", 2}, {".txt", 1}, {".json.txt", 1}, {"", 1}};
  const char array[] = "[\"a\", \"b\"]";
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char path[64];
    moh__texts texts;
    make_file(path, cases[i].ending, array, sizeof(array) - 1);
    assert_int_equal(moh__texts_load(&texts, path, NULL, &err), MOH_OK);
    assert_int_equal(texts.n, cases[i].n);
    moh__texts_free(&texts);
    moh__text_options json = {.format = MOH__TEXT_JSON};
    assert_int_equal(moh__texts_load(&texts, path, &json, &err), MOH_OK);
    assert_int_equal(texts.n, 2);
    moh__texts_free(&texts);
    unlink(path);
    assert_int_equal(moh__texts_load(&texts, path, NULL, &err), MOH_ERR_IO);
    assert_null(texts.texts);
  }
}

static void huge_files_are_refused(void **state) {
  (void)state;
  char path[64];
  moh__texts texts;
  make_file(path, ".txt", NULL, (size_t)MOH__TEXT_FILE_MAX + 1);
  assert_int_equal(moh__texts_load(&texts, path, NULL, &err),
                   MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, path));
  assert_non_null(strstr(err.message, "104857601 bytes"));
  assert_int_equal(truncate(path, MOH__TEXT_FILE_MAX), 0);
  assert_int_equal(moh__texts_load(&texts, path, NULL, &err), MOH_OK);
  assert_int_equal(texts.texts[0].n, MOH__TEXT_FILE_MAX);
  moh__texts_free(&texts);
  unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arrays_hold_examples),
      cmocka_unit_test(wrong_arrays_are_refused),
      cmocka_unit_test(deep_arrays_are_refused),
      cmocka_unit_test(lines_hold_examples),
      cmocka_unit_test(wrong_lines_are_refused),
      cmocka_unit_test(records_hold_examples),
      cmocka_unit_test(columns_are_named_or_numbered),
      cmocka_unit_test(wrong_records_are_refused),
      cmocka_unit_test(other_files_are_one_text),
      cmocka_unit_test(plain_text_must_be_utf8),
      cmocka_unit_test(stretches_end_where_no_word_is_cut),
      cmocka_unit_test(the_ending_tells_the_format),
      cmocka_unit_test(huge_files_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
