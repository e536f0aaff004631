/*
 * Tokenizers from vocabularies with scores: GGUF's kind "llama", and the
 * files of llama2.c, against a plain form of llama2.c's own algorithm.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "support/ids.h"
#include "support/vocabs.h"
#include "text/stream.h"

enum { FIRST_BYTE = 3, TEXT_MAX = 4096, TOKENS_MAX = 1024 };

static moh_error err;

/* ---- a file of llama2.c, and its algorithm ---- */

typedef struct file {
  int n;
  char texts[TOKENS_MAX][32];
  float scores[TOKENS_MAX];
  char bytes[TOKENS_MAX * 48];
  size_t n_bytes;
} file;

static void put_token(file *f, const char *text, float score) {
  snprintf(f->texts[f->n], sizeof(f->texts[0]), "%s", text);
  f->scores[f->n++] = score;
}

static void put(file *f, const void *value, size_t n) {
  memcpy(f->bytes + f->n_bytes, value, n);
  f->n_bytes += n;
}

static void write_file(file *f, int32_t longest) {
  f->n_bytes = 0;
  put(f, &longest, 4);
  for (int i = 0; i < f->n; i++) {
    int32_t n = (int32_t)strlen(f->texts[i]);
    put(f, &f->scores[i], 4);
    put(f, &n, 4);
    put(f, f->texts[i], (size_t)n);
  }
}

static void start_file(file *f) {
  char name[8];
  f->n = 0;
  put_token(f, "<unk>", 0);
  put_token(f, "\n<s>\n", 0);
  put_token(f, "\n</s>\n", 0);
  for (int byte = 0; byte < 256; byte++) {
    snprintf(name, sizeof(name), "<0x%02X>", (unsigned)byte);
    put_token(f, name, 0);
  }
}

static void made_up_file(file *f) {
  static const char *const tokens[] = {
      " a",  "an", " t", "he",  " the", "aa",      " an",    "nn",
      "aaa", "  ", "ba", "ana", "the",  "\u00E9a", "a b",    " ",
      "a",   "b",  "e",  "h",   "n",    "t",       "\u00E9", "\u4E2D"};
  start_file(f);
  for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
    put_token(f, tokens[i], -(float)i);
  }
  write_file(f, 16);
}

static int find(const file *f, const char *text, size_t n) {
  for (int i = FIRST_BYTE; i < f->n; i++) {
    if (strlen(f->texts[i]) == n && memcmp(f->texts[i], text, n) == 0) {
      return i;
    }
  }
  return -1;
}

static int best_pair(const file *f, const int *ids, int n, int *id) {
  int best = -1;
  float score = -1e10f;
  for (int i = 0; i + 1 < n; i++) {
    char both[80];
    snprintf(both, sizeof(both), "%s%s", f->texts[ids[i]],
             f->texts[ids[i + 1]]);
    int whole = find(f, both, strlen(both));
    if (whole < 0 || f->scores[whole] <= score) continue;
    score = f->scores[whole];
    best = i;
    *id = whole;
  }
  return best;
}

/* A blank in front, characters or their bytes, then the best pair again and
 * again. */
static int reference(const file *f, const char *text, int *ids) {
  int n = 0, id = 0;
  if (*text != '\0') ids[n++] = find(f, " ", 1);
  while (*text != '\0') {
    size_t length = 1;
    while ((text[length] & 0xC0) == 0x80) length++;
    id = find(f, text, length);
    if (id >= 0) ids[n++] = id;
    for (size_t i = 0; id < 0 && i < length; i++) {
      ids[n++] = (unsigned char)text[i] + FIRST_BYTE;
    }
    text += length;
  }
  for (;;) {
    int at = best_pair(f, ids, n, &id);
    if (at < 0) return n;
    ids[at] = id;
    memmove(ids + at + 1, ids + at + 2, (size_t)(n - at - 2) * sizeof(int));
    n--;
  }
}

static moh__tokenizer *loaded(const file *f) {
  moh__tokenizer *tokenizer;
  moh_status status = moh__tokenizer_parse_llama2c(
      &tokenizer, (moh__text){f->bytes, f->n_bytes}, f->n, "tok.bin", &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

/* The reference's ids; and the text again, behind the token that begins. */
static void check_text(const moh__tokenizer *t, const file *f,
                       const char *text) {
  static int want[TEXT_MAX];
  int n = reference(f, text, want);
  moh__ids ids = encoded(t, text_of(text), false);
  bool same = ids.n == (size_t)n;
  for (int i = 0; same && i < n; i++) same = ids.ids[i] == want[i];
  if (!same) fail_msg("other ids for \"%s\"", text);
  char *back;
  assert_int_equal(
      moh__tokenizer_decode(t, ids.ids, ids.n, true, &back, &err), MOH_OK);
  assert_string_equal(back, text);
  free(back);
  moh__ids_free(&ids);
}

static void random_text(moh__rng *rng, char *text, size_t n) {
  static const char *const letters[] = {
      "a", "b",      "n",      "t", "h",          "e", " ",
      " ", "\u00E9", "\u4E2D", "x", "\U0001F642", "\n"};
  *text = '\0';
  for (size_t i = 0; i < n; i++) {
    strcat(text, letters[moh__rng_below(rng, 13)]);
  }
}

static void random_texts(const file *f) {
  char text[512];
  moh__tokenizer *t = loaded(f);
  moh__rng rng = moh__rng_make(5, 0);
  for (int i = 0; i < 400; i++) {
    random_text(&rng, text, (size_t)moh__rng_below(&rng, 60));
    check_text(t, f, text);
  }
  check_text(t, f, "");
  check_text(t, f, " ");
  check_text(t, f, "   a   the  aaaaaaa\u2581a <s> <0x41>");
  moh__tokenizer_free(t);
}

static void llama2c_encodes_as_its_program(void **state) {
  (void)state;
  static file f;
  made_up_file(&f);
  random_texts(&f);
}

/* The file of a real model, where it is. */
static void a_real_file(void **state) {
  (void)state;
  static file f;
  moh__map map;
  const char *path = MOH_SOURCE_DIR "/../shared/data/stories260K/tok512.bin";
  if (moh__map_open(&map, path, &err) != MOH_OK) {
    print_message("%s: skipped\n", err.message);
    skip();
  }
  f.n_bytes = map.size;
  assert_true(map.size < sizeof(f.bytes));
  memcpy(f.bytes, map.bytes, map.size);
  moh__map_close(&map);
  size_t at = 4;
  for (f.n = 0; f.n < 512; f.n++) {
    int32_t n;
    memcpy(&f.scores[f.n], f.bytes + at, 4);
    memcpy(&n, f.bytes + at + 4, 4);
    memcpy(f.texts[f.n], f.bytes + at + 8, (size_t)n);
    at += 8 + (size_t)n;
  }
  moh__tokenizer *t = loaded(&f);
  check_text(t, &f,
             "Once upon a time, there was a little girl named Lily. \"She "
             "loved to play!\", said Mom (twice) - \u00FCber 123 \u2026");
  moh__tokenizer_free(t);
  random_texts(&f);
}

/* Behind bytes that are no UTF-8 nothing is put in front again. */
static void any_bytes_come_back(void **state) {
  (void)state;
  static file f;
  made_up_file(&f);
  moh__tokenizer *t = loaded(&f);
  moh__text text = {
      "a\xFF\xFE"
      "the \xC3",
      8};
  moh__ids ids = encoded(t, text, true);
  char *back;
  size_t n;
  assert_int_equal(
      moh__tokenizer_decode_bytes(t, ids.ids, ids.n, true, &back, &n, &err),
      MOH_OK);
  assert_int_equal(n, text.n);
  assert_memory_equal(back, text.bytes, n);
  free(back);
  moh__ids_free(&ids);
  moh__tokenizer_free(t);
}

static void assert_file_refused(const file *f, size_t n_bytes, int64_t n,
                                const char *part) {
  moh__tokenizer *t;
  moh_status status = moh__tokenizer_parse_llama2c(
      &t, (moh__text){f->bytes, n_bytes}, n, "tok.bin", &err);
  if (status != MOH_ERR_FORMAT || strstr(err.message, part) == NULL) {
    fail_msg("%s instead of \"%s\": %s", moh_status_name(status), part,
             err.message);
  }
  assert_null(t);
  assert_memory_equal(err.message, "tok.bin", 7);
}

static void hostile_files_are_refused(void **state) {
  (void)state;
  static file f;
  made_up_file(&f);
  for (size_t n = 0; n < f.n_bytes; n += 7) {
    assert_file_refused(&f, n, f.n, "tok.bin");
  }
  assert_file_refused(&f, f.n_bytes, f.n - 1, "bytes are left");
  assert_file_refused(&f, f.n_bytes, f.n + 1, "token 283 of 284");
  assert_file_refused(&f, f.n_bytes, 258, "not 258");
  assert_file_refused(&f, f.n_bytes, INT64_MAX, "259 to");
  write_file(&f, 5);
  assert_file_refused(&f, f.n_bytes, f.n, "the longest is to have 5");
  snprintf(f.texts[5], sizeof(f.texts[5]), "<0x03>");
  write_file(&f, 16);
  assert_file_refused(&f, f.n_bytes, f.n, "it is not <0x02>");
  made_up_file(&f);
  f.scores[259] = 0.0f / 0.0f;
  write_file(&f, 16);
  assert_file_refused(&f, f.n_bytes, f.n, "the score of token 259");
  made_up_file(&f);
  snprintf(f.texts[260], sizeof(f.texts[260]), "\xC3");
  write_file(&f, 16);
  assert_file_refused(&f, f.n_bytes, f.n, "is not UTF-8");
}

/* ---- GGUF ---- */

enum { N = 14 };

static const char *const gguf_tokens[N] = {
    "<unk>",   "<s>", "</s>",     "<0x0A>", "\u2581", "a",      "b",
    "\u2581a", "ab",  "\u2581ab", "<x>",    "c",      "<0xC3>", "<0xA9>"};
static const int32_t gguf_types[N] = {2, 3, 3, 6, 1, 1, 1,
                                      1, 1, 1, 4, 1, 6, 6};
static const float gguf_scores[N] = {0,  0,  0,  0, -9, -9, -9,
                                     -2, -3, -1, 0, -9, 0,  0};

typedef struct vocab {
  moh__gguf_vocab gguf;
  moh__text tokens[N];
  int32_t types[N];
  float scores[N];
} vocab;

static void fill(vocab *v) {
  for (int i = 0; i < N; i++) v->tokens[i] = text_of(gguf_tokens[i]);
  memcpy(v->types, gguf_types, sizeof(v->types));
  memcpy(v->scores, gguf_scores, sizeof(v->scores));
  v->gguf = (moh__gguf_vocab){.model = text_of("llama"),
                              .n_tokens = N,
                              .tokens = v->tokens,
                              .types = v->types,
                              .scores = v->scores,
                              .bos = 1,
                              .eos = 2,
                              .eot = -1,
                              .eom = -1,
                              .unk = 0,
                              .add_bos = -1,
                              .add_eos = -1,
                              .add_space_prefix = -1};
}

static void scores_become_merges(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  moh__tokenizer *t = tokenizer_of(&v.gguf);
  /* The blank takes the a before the b can. */
  ASSERT_IDS(t, text_of("ab ab"), true, 9, 9);
  ASSERT_IDS(t, text_of("bab"), true, 4, 6, 8);
  ASSERT_IDS(t, text_of("a<x>\n\u00E9z"), true, 7, 10, 4, 3, 12, 13, 0);
  ASSERT_IDS(t, text_of("c</s>"), true, 4, 11, 2);
  ASSERT_IDS(t, text_of("</s>"), false, 4, 0);
  moh__tokenizer_free(t);
  v.gguf.add_space_prefix = 0;
  t = tokenizer_of(&v.gguf);
  ASSERT_IDS(t, text_of("ab ab"), true, 8, 9);
  moh__tokenizer_free(t);
}

static bool take(void *context, const char *bytes, size_t n) {
  strncat(context, bytes, n);
  return true;
}

/* A character in two tokens comes when it is whole; the blank in front of a
 * text goes once. */
static void bytes_wait_for_their_character(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  moh__tokenizer *t = tokenizer_of(&v.gguf);
  moh__stream s;
  char text[64] = "";
  const int32_t ids[] = {4, 12, 13, 4, 12, 5};
  const char *after[] = {"", "", "\u00E9", "\u00E9 ", "\u00E9 ",
                         "\u00E9 \uFFFDa"};
  assert_int_equal(moh__stream_init(&s, t, NULL, 0, take, text, &err),
                   MOH_OK);
  for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
    assert_int_equal(moh__stream_add(&s, ids[i], &err), MOH_OK);
    assert_string_equal(text, after[i]);
  }
  moh__stream_free(&s);
  moh__tokenizer_free(t);
}

static void assert_refused(const vocab *v, moh_status status,
                           const char *part) {
  moh__tokenizer *tokenizer;
  moh_status got = moh__tokenizer_from_gguf(&tokenizer, &v->gguf, &err);
  if (got != status || strstr(err.message, part) == NULL) {
    fail_msg("%s instead of \"%s\": %s", moh_status_name(got), part,
             err.message);
  }
  assert_null(tokenizer);
}

static void hostile_scores_are_refused(void **state) {
  (void)state;
  vocab v;
  fill(&v);
  v.scores[8] = -1;
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "\"ab\"");
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "the same score");
  v.gguf.scores = NULL;
  assert_refused(&v, MOH_ERR_FORMAT, "neither merges nor scores");
  fill(&v);
  v.tokens[3] = text_of("<0xG0>");
  assert_refused(&v, MOH_ERR_FORMAT, "token 3, \"<0xG0>\", is none of");
  v.tokens[3] = text_of("<0x0AA>");
  assert_refused(&v, MOH_ERR_FORMAT, "is none of");
  fill(&v);
  static char longest[400];
  memset(longest, 'a', sizeof(longest) - 1);
  v.tokens[8] = text_of(longest);
  assert_refused(&v, MOH_ERR_UNSUPPORTED, "has 399 bytes");
}

/* A word of a MiB takes n log n. */
static void a_long_word_takes_no_square(void **state) {
  (void)state;
  static file f;
  made_up_file(&f);
  moh__tokenizer *t = loaded(&f);
  size_t n = 1 << 20;
  char *text = malloc(n);
  assert_non_null(text);
  for (size_t i = 0; i < n; i++) text[i] = "aban"[(i * i / 7) % 4];
  moh__ids ids = encoded(t, (moh__text){text, n}, true);
  assert_true(ids.n > 1000);
  moh__ids_free(&ids);
  free(text);
  moh__tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(llama2c_encodes_as_its_program),
      cmocka_unit_test(a_real_file),
      cmocka_unit_test(any_bytes_come_back),
      cmocka_unit_test(hostile_files_are_refused),
      cmocka_unit_test(scores_become_merges),
      cmocka_unit_test(bytes_wait_for_their_character),
      cmocka_unit_test(hostile_scores_are_refused),
      cmocka_unit_test(a_long_word_takes_no_square),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
