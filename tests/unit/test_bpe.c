/*
 * Byte-level BPE: merges worked out by hand, any bytes there and back,
 * words without end, files, and the memory of training.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/ids.h"
#include "support/temp_dir.h"
#include "text/bpe_trainer.h"

static moh_error err;

static moh__bpe_trainer *trainer_of(size_t max_words) {
  moh__bpe_trainer *trainer;
  assert_int_equal(moh__bpe_trainer_new(&trainer, max_words, &err), MOH_OK);
  return trainer;
}

static void feed(moh__bpe_trainer *trainer, const char *text, int times) {
  for (int i = 0; i < times; i++) {
    assert_int_equal(moh__bpe_trainer_feed(trainer, text_of(text), &err),
                     MOH_OK);
  }
}

static moh__tokenizer *finish(moh__bpe_trainer *trainer, int64_t n_vocab) {
  moh__tokenizer *tokenizer;
  moh_status status =
      moh__bpe_trainer_finish(trainer, n_vocab, &tokenizer, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  moh__bpe_trainer_free(trainer);
  return tokenizer;
}

static moh__tokenizer *trained(const char *text, int64_t n_vocab) {
  moh__tokenizer *tokenizer;
  moh__text one = text_of(text);
  assert_int_equal(
      moh__tokenizer_train_bpe(&tokenizer, &one, 1, n_vocab, &err), MOH_OK);
  return tokenizer;
}

static void assert_round_trip(const moh__tokenizer *tokenizer,
                              moh__text text) {
  moh__ids ids = encoded(tokenizer, text, false);
  char *bytes;
  size_t n;
  assert_int_equal(moh__tokenizer_decode_bytes(tokenizer, ids.ids, ids.n,
                                               false, &bytes, &n, &err),
                   MOH_OK);
  assert_int_equal(n, text.n);
  assert_memory_equal(bytes, text.bytes, n);
  assert_int_equal(bytes[n], 0);
  free(bytes);
  moh__ids_free(&ids);
}

/* ---- merges -----------------------------------------------------------
 */

static void assert_token(const moh__tokenizer *tokenizer, int32_t id,
                         const char *text) {
  moh__text token = moh__tokenizer_token(tokenizer, id);
  assert_int_equal(token.n, strlen(text));
  assert_memory_equal(token.bytes, text, token.n);
}

/* The example of Sennrich and others: low 5 times, lower 2, newest 6,
 * widest 3. Counts: es 9, st 9; then est 9; lo 7, ow 7; then low 7; ew, ne,
 * w-est 6, and so on. Equal ones go by the ids of their left sides. */
static const char *const merged[] = {"es",    "est",    "lo",     "low",
                                     "ew",    "new",    "newest", "dest",
                                     "idest", "widest", "er",     "lower"};

static moh__bpe_trainer *fed(void) {
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  feed(trainer, "low", 5);
  feed(trainer, "lower", 2);
  feed(trainer, "newest", 6);
  feed(trainer, "widest", 3);
  return trainer;
}

static void merges_are_those_by_hand(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = finish(fed(), 1000);
  assert_int_equal(moh__tokenizer_size(tokenizer), 257 + 12);
  for (int32_t i = 0; i < 12; i++) {
    assert_token(tokenizer, 257 + i, merged[i]);
    assert_int_equal(moh__tokenizer_id(tokenizer, merged[i]), 257 + i);
  }
  ASSERT_IDS(tokenizer, text_of("lowest"), true, 260, 258);
  ASSERT_IDS(tokenizer, text_of("newer"), true, 262, 267);
  /* "ew" goes before "er". */
  ASSERT_IDS(tokenizer, text_of("ewr"), true, 261,
             moh__tokenizer_id(tokenizer, "r"));
  moh__tokenizer_free(tokenizer);
}

static void the_vocabulary_has_the_size_asked_for(void **state) {
  (void)state;
  for (int32_t n = 257; n < 257 + 12; n++) {
    moh__tokenizer *tokenizer = finish(fed(), n);
    assert_int_equal(moh__tokenizer_size(tokenizer), n);
    moh__tokenizer_free(tokenizer);
  }
  const int64_t wrong[] = {-1, 0, 256, MOH__TOKENS_MAX + 1, INT64_MAX};
  for (size_t i = 0; i < 5; i++) {
    moh__bpe_trainer *trainer = fed();
    moh__tokenizer *tokenizer;
    assert_int_equal(
        moh__bpe_trainer_finish(trainer, wrong[i], &tokenizer, &err),
        MOH_ERR_ARGUMENT);
    assert_null(tokenizer);
    assert_non_null(strstr(err.message, "257"));
    moh__bpe_trainer_free(trainer);
  }
}

static void ties_go_to_lesser_ids(void **state) {
  (void)state;
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  feed(trainer, "zb", 2);
  feed(trainer, "az", 2);
  feed(trainer, "ac", 2);
  moh__tokenizer *tokenizer = finish(trainer, 260);
  assert_token(tokenizer, 257, "ac");
  assert_token(tokenizer, 258, "az");
  assert_token(tokenizer, 259, "zb");
  moh__tokenizer_free(tokenizer);
}

/* Pairs that lie over each other: aaaa has aa three times, and after the
 * merge it is gone for good. */
static void a_run_of_one_letter_is_halved(void **state) {
  (void)state;
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  feed(trainer, "aaaaa", 2);
  moh__tokenizer *tokenizer = finish(trainer, 1000);
  assert_int_equal(moh__tokenizer_size(tokenizer), 260);
  assert_token(tokenizer, 257, "aa");
  assert_token(tokenizer, 258, "aaa");
  assert_token(tokenizer, 259, "aaaaa");
  ASSERT_IDS(tokenizer, text_of("aaaaaaaa"), true, 257, 257, 257, 257);
  moh__tokenizer_free(tokenizer);
}

static void once_is_not_enough(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = trained("ab cd", 1000);
  assert_int_equal(moh__tokenizer_size(tokenizer), 257);
  moh__tokenizer_free(tokenizer);
}

/* ---- alphabet and special tokens --------------------------------------
 */

static void every_byte_is_a_token(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = trained("", 257);
  assert_int_equal(moh__tokenizer_size(tokenizer), 257);
  assert_int_equal(moh__tokenizer_end(tokenizer), 0);
  assert_int_equal(moh__tokenizer_unknown(tokenizer), -1);
  assert_int_equal(moh__tokenizer_id(tokenizer, "!"), 1);
  assert_int_equal(moh__tokenizer_id(tokenizer, "\u00FF"), 188);
  assert_int_equal(moh__tokenizer_id(tokenizer, "\u0100"), 189);
  assert_int_equal(moh__tokenizer_id(tokenizer, "\u0120"), 221);
  assert_int_equal(moh__tokenizer_id(tokenizer, "\u0143"), 256);
  ASSERT_IDS(tokenizer, ((moh__text){"\0 \xAD\xFF", 4}), true, 189, 221,
             256, 188);
  moh__tokenizer_free(tokenizer);
}

static void the_end_is_found_only_when_wanted(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = trained("</s></s> x</s> x</s>", 300);
  int32_t x = moh__tokenizer_id(tokenizer, "\u0120x");
  assert_int_equal(x, 257); /* the only pair: `</s>` is no text */
  assert_int_equal(moh__tokenizer_size(tokenizer), 258);
  ASSERT_IDS(tokenizer, text_of(" x</s> x"), true, x, 0, x);
  moh__ids ids = encoded(tokenizer, text_of(" x</s> x"), false);
  assert_int_equal(ids.n, 6);
  for (size_t i = 0; i < ids.n; i++) assert_int_not_equal(ids.ids[i], 0);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

static void the_pattern_cuts_words(void **state) {
  (void)state;
  /* Blanks before a word go with it but for the last one's others; marks,
   * letters and numbers do not mix; 's and such stand alone. */
  const char *text = "it's  we'll I'd\n\n  x12y \u3000z!?";
  const char *words[] = {"it", "'s", " ",      " we", "'ll",
                         " I", "'d", "\n\n ",  " x",  "12",
                         "y",  " ",  "\u3000", "z",   "!?"};
  size_t n = sizeof(words) / sizeof(words[0]);
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  for (size_t i = 0; i < n; i++) feed(trainer, words[i], 2);
  feed(trainer, text, 1);
  moh__tokenizer *tokenizer = finish(trainer, 1000);
  moh__ids ids = encoded(tokenizer, text_of(text), true);
  assert_int_equal(ids.n, n);
  for (size_t i = 0; i < n; i++)
    assert_token(tokenizer, ids.ids[i], words[i]);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

/* "!", the character, "!": three words, or one when it is no white space.
 */
static void assert_words(const char *character, size_t n_words) {
  char text[16];
  snprintf(text, sizeof(text), "!%s!", character);
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  feed(trainer, text, 2);
  moh__tokenizer *tokenizer = finish(trainer, 1000);
  moh__ids ids = encoded(tokenizer, text_of(text), true);
  if (ids.n != n_words) fail_msg("%zu words in \"%s\"", ids.n, text);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

static void white_space_is_that_of_unicode(void **state) {
  (void)state;
  const char *blanks[] = {"\t",     "\n",       "\v",     "\f",
                          "\r",     "\xC2\x85", "\u00A0", "\u1680",
                          "\u2000", "\u2005",   "\u200A", "\u2028",
                          "\u2029", "\u202F",   "\u205F", "\u3000"};
  const char *others[] = {"\b",     "\x0E",   "\x1F",   "\x7F",  "\xC2\x84",
                          "\u180E", "\u200B", "\u2060", "\uFEFF"};
  for (size_t i = 0; i < sizeof(blanks) / sizeof(blanks[0]); i++) {
    assert_words(blanks[i], 3);
  }
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    assert_words(others[i], 1);
  }
  assert_words(" ", 2);
}

/* ---- any bytes --------------------------------------------------------
 */

/* Bytes of one of several mixtures, from all values to text-like ones. */
static size_t random_bytes(moh__rng *rng, char *bytes, size_t most) {
  static const char *const letters[] = {"", "abc ", "ab\xC3\xA9 \n",
                                        "\xE2\x82\xAC\xF0\x9F\x98\x80 '",
                                        "a\xFF\x00 </s>"};
  size_t n = moh__rng_below(rng, most), kind = moh__rng_below(rng, 5);
  size_t n_letters = kind == 4 ? 8 : strlen(letters[kind]);
  for (size_t i = 0; i < n; i++) {
    bytes[i] = kind == 0 ? (char)moh__rng_below(rng, 256)
                         : letters[kind][moh__rng_below(rng, n_letters)];
  }
  return n;
}

static void any_bytes_come_back(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 60; seed++) {
    moh__rng rng = moh__rng_make(seed, 0);
    char bytes[4096];
    moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
    for (int i = 0; i < 8; i++) {
      moh__text text = {bytes, random_bytes(&rng, bytes, sizeof(bytes))};
      assert_int_equal(moh__bpe_trainer_feed(trainer, text, &err), MOH_OK);
    }
    moh__tokenizer *tokenizer = finish(trainer, 400);
    for (int i = 0; i < 40; i++) {
      size_t n = random_bytes(&rng, bytes, sizeof(bytes));
      assert_round_trip(tokenizer, (moh__text){bytes, n});
    }
    moh__tokenizer_free(tokenizer);
  }
}

/* ---- long words -------------------------------------------------------
 */

static void a_word_may_be_very_long(void **state) {
  (void)state;
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  feed(trainer, "aaaa", 2); /* aa, aaaa */
  moh__tokenizer *tokenizer = finish(trainer, 1000);
  assert_int_equal(moh__tokenizer_size(tokenizer), 259);
  const size_t most = (5 << 20) + 6;
  char *bytes = malloc(most);
  memset(bytes, 'a', most);
  moh__ids ids = encoded(tokenizer, (moh__text){bytes, most}, true);
  assert_int_equal(ids.n, most / 4 + 1);
  for (size_t i = 0; i + 1 < ids.n; i++) assert_int_equal(ids.ids[i], 258);
  assert_int_equal(ids.ids[ids.n - 1], 257);
  moh__ids_free(&ids);
  for (size_t i = 0; i < most; i++) bytes[i] = i % 3 ? 'a' : 'b';
  assert_round_trip(tokenizer, (moh__text){bytes, most});
  free(bytes);
  moh__tokenizer_free(tokenizer);
}

/* The same word of letters that differ, merged as a short one is. */
static void long_and_short_words_merge_alike(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = finish(fed(), 1000);
  enum { TIMES = 1000 };
  char bytes[6 * TIMES];
  for (size_t i = 0; i < TIMES; i++) memcpy(bytes + 6 * i, "lowest", 6);
  moh__ids ids =
      encoded(tokenizer, (moh__text){bytes, sizeof(bytes)}, true);
  assert_int_equal(ids.n, 2 * TIMES);
  for (size_t i = 0; i < ids.n; i++) {
    assert_int_equal(ids.ids[i], i % 2 ? 258 : 260);
  }
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
}

/* ---- files and repetition ---------------------------------------------
 */

static const char story[] =
    "The cat sat on the mat. The cat's hat is on the mat, too!\n"
    "\u201CWho sat on the hat?\u201D asked the bat. 12 cats, 123 hats.\n";

static void assert_same_file(const char *a, const char *b) {
  size_t n_a, n_b;
  unsigned char *bytes_a = temp_read(a, &n_a),
                *bytes_b = temp_read(b, &n_b);
  assert_int_equal(n_a, n_b);
  assert_memory_equal(bytes_a, bytes_b, n_a);
  free(bytes_a);
  free(bytes_b);
}

static void save(const moh__tokenizer *tokenizer, const char *path) {
  assert_int_equal(moh__tokenizer_save(tokenizer, path, &err), MOH_OK);
}

static void a_saved_one_is_the_same(void **state) {
  const char *first = temp_path(state, "a.json");
  const char *second = temp_path(state, "b.json");
  moh__tokenizer *tokenizer = trained(story, 300), *again;
  save(tokenizer, first);
  assert_int_equal(moh__tokenizer_load(&again, first, &err), MOH_OK);
  save(again, second);
  assert_same_file(first, second);
  moh__ids ids = encoded(tokenizer, text_of(story), true);
  assert_ids(again, text_of(story), true, ids.ids, ids.n);
  assert_int_equal(moh__tokenizer_end(again), 0);
  moh__ids_free(&ids);
  moh__tokenizer_free(tokenizer);
  moh__tokenizer_free(again);
}

static void the_same_texts_give_the_same_file(void **state) {
  const char *first = temp_path(state, "a.json");
  const char *second = temp_path(state, "b.json");
  moh__tokenizer *tokenizer = trained(story, 300);
  save(tokenizer, first);
  moh__tokenizer_free(tokenizer);
  moh__bpe_trainer *trainer = trainer_of(MOH__BPE_WORDS);
  size_t line = (size_t)(strchr(story, '\n') + 1 - story);
  moh__text rest = {story + line, strlen(story) - line};
  assert_int_equal(moh__bpe_trainer_feed(trainer, rest, &err), MOH_OK);
  assert_int_equal(
      moh__bpe_trainer_feed(trainer, (moh__text){story, line}, &err),
      MOH_OK);
  tokenizer = finish(trainer, 300);
  save(tokenizer, second);
  moh__tokenizer_free(tokenizer);
  assert_same_file(first, second);
}

static void an_encoder_gives_the_same_ids(void **state) {
  (void)state;
  moh__tokenizer *tokenizer = trained(story, 300);
  moh__encoder *encoder;
  moh__ids ids = {0};
  assert_int_equal(moh__encoder_new(&encoder, tokenizer, &err), MOH_OK);
  for (size_t n = 0; n < strlen(story); n++) {
    moh__text text = {story, n};
    moh__ids once = encoded(tokenizer, text, true);
    ids.n = 0;
    assert_int_equal(moh__encoder_encode(encoder, text, true, &ids, &err),
                     MOH_OK);
    assert_int_equal(ids.n, once.n);
    assert_memory_equal(ids.ids, once.ids, ids.n * sizeof(*ids.ids));
    moh__ids_free(&once);
  }
  moh__ids_free(&ids);
  moh__encoder_free(encoder);
  moh__tokenizer_free(tokenizer);
}

/* ---- memory -----------------------------------------------------------
 */

static void rare_words_are_forgotten(void **state) {
  (void)state;
  moh__bpe_trainer *trainer = trainer_of(8);
  char word[8];
  feed(trainer, "once", 1);
  feed(trainer, "often", 150);
  feed(trainer, "usual", 100);
  for (int i = 0; i < 100; i++) {
    snprintf(word, sizeof(word), "w%d", i);
    feed(trainer, word, 1); /* "w" and a number */
  }
  assert_true(moh__bpe_trainer_forgotten(trainer) > 80);
  moh__tokenizer *tokenizer = finish(trainer, 1000);
  assert_token(tokenizer, MOH__BPE_LEAST, "en");
  assert_true(moh__tokenizer_id(tokenizer, "often") > 0);
  assert_true(moh__tokenizer_id(tokenizer, "usual") > 0);
  assert_int_equal(moh__tokenizer_id(tokenizer, "13"), -1);
  moh__tokenizer_free(tokenizer);
}

/* Words of more bytes than there is room for altogether. */
static void long_words_are_counted_in_stretches(void **state) {
  (void)state;
  enum { N = 10 * MOH__BPE_STRETCH };
  char *bytes = malloc(N);
  moh__rng rng = moh__rng_make(1, 0);
  moh__bpe_trainer *trainer = trainer_of(1);
  for (int times = 0; times < 3; times++) {
    for (size_t i = 0; i < N; i++) {
      bytes[i] = (char)('a' + moh__rng_below(&rng, 26));
    }
    assert_int_equal(
        moh__bpe_trainer_feed(trainer, (moh__text){bytes, N}, &err),
        MOH_OK);
  }
  assert_int_equal(moh__bpe_trainer_forgotten(trainer), 29);
  moh__tokenizer *tokenizer = finish(trainer, 400);
  assert_int_equal(moh__tokenizer_size(tokenizer), 400);
  assert_round_trip(tokenizer, (moh__text){bytes, N});
  free(bytes);
  moh__tokenizer_free(tokenizer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merges_are_those_by_hand),
      cmocka_unit_test(the_vocabulary_has_the_size_asked_for),
      cmocka_unit_test(ties_go_to_lesser_ids),
      cmocka_unit_test(a_run_of_one_letter_is_halved),
      cmocka_unit_test(once_is_not_enough),
      cmocka_unit_test(every_byte_is_a_token),
      cmocka_unit_test(the_end_is_found_only_when_wanted),
      cmocka_unit_test(the_pattern_cuts_words),
      cmocka_unit_test(white_space_is_that_of_unicode),
      cmocka_unit_test(any_bytes_come_back),
      cmocka_unit_test(a_word_may_be_very_long),
      cmocka_unit_test(long_and_short_words_merge_alike),
      cmocka_unit_test_setup_teardown(a_saved_one_is_the_same,
                                      temp_dir_setup, temp_dir_teardown),
      cmocka_unit_test_setup_teardown(the_same_texts_give_the_same_file,
                                      temp_dir_setup, temp_dir_teardown),
      cmocka_unit_test(an_encoder_gives_the_same_ids),
      cmocka_unit_test(rare_words_are_forgotten),
      cmocka_unit_test(long_words_are_counted_in_stretches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
