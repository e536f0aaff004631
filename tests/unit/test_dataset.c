/*
 * Datasets: cutting, counting, packing, splitting, fingerprints; and the
 * numbers of the original project's two files, where they are at hand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "text/dataset.h"

static moh_error err;

static moh__texts parsed(const char *bytes, bool json) {
  moh__texts texts;
  moh_status status =
      moh__texts_parse(&texts, bytes, strlen(bytes), NULL,
                       json ? "t.json" : "t.txt", &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return texts;
}

static moh__dataset *made(const moh__texts *texts,
                          const moh__tokenizer *tokenizer, int64_t max_len) {
  moh__dataset *dataset;
  moh__dataset_options options = {.max_len = max_len};
  moh_status status =
      moh__dataset_make(&dataset, texts, tokenizer, options, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return dataset;
}

static moh__tokenizer *words_of(const moh__texts *texts) {
  moh__tokenizer *tokenizer;
  assert_int_equal(moh__tokenizer_train_words(&tokenizer, texts->texts,
                                              texts->n, &err),
                   MOH_OK);
  return tokenizer;
}

/* Words of `bytes`, made into a dataset with its own vocabulary. */
static moh__dataset *dataset_of(const char *bytes, bool json,
                                int64_t max_len) {
  moh__texts texts = parsed(bytes, json);
  moh__tokenizer *tokenizer = words_of(&texts);
  moh__dataset *dataset = made(&texts, tokenizer, max_len);
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
  return dataset;
}

static void read_sequence(const moh__dataset *dataset, int64_t i,
                          int32_t *ids) {
  const moh__sequence *sequence = &dataset->sequences[i];
  assert_int_equal(moh__dataset_read(dataset, sequence->first, sequence->n,
                                     ids, &err),
                   MOH_OK);
}

/* Sequence i is ids[start[i]] up to ids[start[i + 1]]. */
static void assert_sequences(const moh__dataset *dataset, int64_t n,
                             const int64_t *start, const int32_t *ids) {
  int32_t got[64];
  assert_int_equal(dataset->n_sequences, n);
  assert_int_equal(dataset->n_tokens, start[n]);
  for (int64_t i = 0; i < n; i++) {
    int64_t length = start[i + 1] - start[i];
    assert_int_equal(dataset->sequences[i].n, length);
    read_sequence(dataset, i, got);
    assert_memory_equal(got, ids + start[i], (size_t)length * sizeof(*got));
  }
}

/* ---- datasets --------------------------------------------------------- */

static void examples_are_cut_and_counted(void **state) {
  (void)state;
  /* </s> 0, a 1, b 2, c 3 */
  moh__dataset *dataset = dataset_of(
      "[\"a b c </s>\", \"a\", \"a b c\", \"\", \"c </s>\"]", true, 3);
  assert_true(dataset->examples);
  assert_sequences(dataset, 3, (const int64_t[]){0, 3, 6, 8},
                   (const int32_t[]){1, 2, 3, 1, 2, 3, 3, 0});
  assert_int_equal(dataset->n_long, 1);
  assert_int_equal(dataset->n_unknown, 0);
  moh__dataset_free(dataset);
}

static void a_stream_is_one_sequence(void **state) {
  (void)state;
  moh__dataset *dataset = dataset_of("a b c </s> a\n\nb", false, 3);
  assert_false(dataset->examples);
  assert_sequences(dataset, 1, (const int64_t[]){0, 6},
                   (const int32_t[]){1, 2, 3, 0, 1, 2});
  assert_int_equal(dataset->n_long, 0);
  moh__dataset_free(dataset);
}

static void unknown_words_are_counted(void **state) {
  (void)state;
  moh__texts known = parsed("[\"a b\"]", true);
  moh__texts texts = parsed("[\"a x b y\", \"z a\", \"x\"]", true);
  moh__tokenizer *tokenizer = words_of(&known);
  moh__dataset *dataset = made(&texts, tokenizer, 3);
  assert_sequences(dataset, 2, (const int64_t[]){0, 3, 5},
                   (const int32_t[]){1, 3, 2, 3, 1});
  assert_int_equal(dataset->n_unknown, 2); /* of what was kept */
  moh__dataset_free(dataset);
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
  moh__texts_free(&known);
}

/* Every length of a cut text is whole characters of it. */
static void a_cut_is_between_characters(void **state) {
  (void)state;
  const char *json = "[\"\u00E9\U0001F600e\u0301\u2019\u65E5\"]";
  const char *text = "\u00E9\U0001F600e\u0301\u2019\u65E5";
  const size_t ends[] = {0, 2, 6, 7, 9, 12, 15};
  moh__texts texts = parsed(json, true);
  moh__tokenizer *tokenizer;
  assert_int_equal(
      moh__tokenizer_train_chars(&tokenizer, texts.texts, 1, &err), MOH_OK);
  for (int64_t n = 2; n <= 6; n++) {
    moh__dataset *dataset = made(&texts, tokenizer, n);
    assert_int_equal(dataset->sequences[0].n, n);
    assert_int_equal(dataset->n_long, n < 6);
    char *decoded;
    int32_t ids[8];
    read_sequence(dataset, 0, ids);
    assert_int_equal(moh__tokenizer_decode(tokenizer, ids, (size_t)n, false,
                                           &decoded, &err),
                     MOH_OK);
    assert_int_equal(strlen(decoded), ends[n]);
    assert_memory_equal(decoded, text, ends[n]);
    free(decoded);
    moh__dataset_free(dataset);
  }
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
}

static void nothing_to_learn_is_refused(void **state) {
  (void)state;
  moh__texts texts = parsed("[\"a\", \"\"]", true);
  moh__tokenizer *tokenizer = words_of(&texts);
  moh__dataset *dataset;
  moh__dataset_options options = {.max_len = 8};
  assert_int_equal(
      moh__dataset_make(&dataset, &texts, tokenizer, options, &err),
      MOH_ERR_FORMAT);
  assert_null(dataset);
  options.max_len = 1;
  assert_int_equal(
      moh__dataset_make(&dataset, &texts, tokenizer, options, &err),
      MOH_ERR_ARGUMENT);
  assert_string_equal(err.message, "sequences of 1 tokens; 2 is the least");
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
}

/* ---- long examples, packing ------------------------------------------- */

static moh__dataset *dataset_by(const char *json,
                                moh__dataset_options options) {
  moh__texts texts = parsed(json, true);
  moh__tokenizer *tokenizer = words_of(&texts);
  moh__dataset *dataset;
  moh_status status =
      moh__dataset_make(&dataset, &texts, tokenizer, options, &err);
  assert_int_equal(status == MOH_OK, dataset != NULL);
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
  return dataset;
}

/* </s> 0, a 1, b 2, c 3, d 4, e 5 */
static const char long_texts[] =
    "[\"a b c d e </s>\", \"a b c\", \"a b c d\", \"e\"]";

static void long_examples_are_split(void **state) {
  (void)state;
  moh__dataset *dataset = dataset_by(
      long_texts,
      (moh__dataset_options){.max_len = 3, .long_rule = MOH__LONG_SPLIT});
  /* 6 tokens: abc, cde, e</s>; 3: abc; 4: abc, cd. */
  assert_sequences(
      dataset, 6, (const int64_t[]){0, 3, 6, 8, 11, 14, 16},
      (const int32_t[]){1, 2, 3, 3, 4, 5, 5, 0, 1, 2, 3, 1, 2, 3, 3, 4});
  assert_int_equal(dataset->n_long, 2);
  moh__dataset_free(dataset);
  dataset = dataset_by(long_texts,
                       (moh__dataset_options){
                           .max_len = 2, .long_rule = MOH__LONG_SPLIT});
  assert_int_equal(dataset->n_sequences, 5 + 2 + 3);
  moh__dataset_free(dataset);
}

static void long_examples_are_dropped(void **state) {
  (void)state;
  moh__dataset_options options = {.max_len = 3,
                                  .long_rule = MOH__LONG_DROP};
  moh__dataset *dataset = dataset_by(long_texts, options);
  assert_sequences(dataset, 1, (const int64_t[]){0, 3},
                   (const int32_t[]){1, 2, 3});
  assert_int_equal(dataset->n_long, 2);
  moh__dataset_free(dataset);
  options.max_len = 2;
  assert_null(dataset_by(long_texts, options));
  assert_non_null(strstr(err.message, "no text of 2 tokens or more"));
}

static void long_examples_are_refused(void **state) {
  (void)state;
  moh__dataset_options options = {.max_len = 5,
                                  .long_rule = MOH__LONG_REFUSE};
  assert_null(dataset_by(long_texts, options));
  assert_int_equal(err.status, MOH_ERR_FORMAT);
  assert_string_equal(
      err.message,
      "text 0 (counted from 0) has 6 tokens, the context takes 5; shorten "
      "it, or have long texts cut, split or dropped");
  options.max_len = 6;
  moh__dataset *dataset = dataset_by(long_texts, options);
  assert_int_equal(dataset->n_sequences, 3);
  assert_int_equal(dataset->n_long, 0);
  moh__dataset_free(dataset);
}

static void packed_examples_are_one_stream(void **state) {
  (void)state;
  moh__dataset_options options = {.max_len = 3, .pack = true};
  moh__dataset *dataset =
      dataset_by("[\"a b </s>\", \"\", \"c\", \"b a\"]", options);
  assert_false(dataset->examples);
  assert_sequences(dataset, 1, (const int64_t[]){0, 8},
                   (const int32_t[]){1, 2, 0, 3, 0, 2, 1, 0});
  assert_int_equal(dataset->n_long, 0);
  moh__dataset_free(dataset);
}

static void packing_needs_an_end_token(void **state) {
  (void)state;
  moh__texts texts = parsed("[\"ab\", \"ba\"]", true);
  moh__tokenizer *chars;
  moh__dataset *dataset;
  moh__dataset_options options = {.max_len = 3, .pack = true};
  assert_int_equal(
      moh__tokenizer_train_chars(&chars, texts.texts, texts.n, &err),
      MOH_OK);
  assert_int_equal(moh__dataset_make(&dataset, &texts, chars, options, &err),
                   MOH_ERR_ARGUMENT);
  assert_null(dataset);
  assert_non_null(strstr(err.message, "no end token"));
  moh__tokenizer_free(chars);
  moh__texts_free(&texts);
}

/* ---- fingerprints ----------------------------------------------------- */

static void take_fingerprint(moh__dataset *dataset, char hex[]) {
  assert_int_equal(moh__dataset_fingerprint(dataset, hex, &err), MOH_OK);
  assert_int_equal(strlen(hex), 64);
  moh__dataset_free(dataset);
}

/* Texts 0 and 1 are the same data; every other one differs from all. */
static void fingerprints_tell_data_apart(void **state) {
  (void)state;
  const char *texts[] = {
      "[\"a b c\", \"b c\"]", "[\"a  b\\nc\", \"b c\"]",
      "[\"a b c\", \"c b\"]", "[\"a b c b\", \"c c\"]",
      "[\"a b c\", \"b c\", \"c c\"]",
  };
  enum { N = sizeof(texts) / sizeof(texts[0]) };
  char hex[N + 1][MOH__SHA256_HEX];
  for (int i = 0; i < N; i++)
    take_fingerprint(dataset_of(texts[i], true, 8), hex[i]);
  take_fingerprint(dataset_of("a b c b c", false, 8), hex[N]);
  for (int i = 0; i <= N; i++)
    for (int j = 0; j < i; j++)
      assert_int_equal(strcmp(hex[i], hex[j]) == 0, i == 1 && j == 0);
}

static void parts_have_fingerprints_of_their_own(void **state) {
  (void)state;
  char whole[MOH__SHA256_HEX], first[MOH__SHA256_HEX];
  char second[MOH__SHA256_HEX];
  moh__dataset *dataset = dataset_of("a b c d e f", false, 8);
  moh__dataset *train, *held_out;
  assert_int_equal(
      moh__dataset_split(dataset, 0.5, &train, &held_out, &err), MOH_OK);
  take_fingerprint(dataset, whole);
  take_fingerprint(train, first);
  take_fingerprint(held_out, second);
  assert_string_not_equal(whole, first);
  assert_string_not_equal(first, second);
}

/* ---- splitting -------------------------------------------------------- */

/* Twenty examples; the i-th is twice the number i. */
static moh__dataset *twenty_examples(void) {
  char json[256] = "[\"10 10\"";
  for (int i = 11; i < 30; i++) {
    char one[16];
    snprintf(one, sizeof(one), ", \"%d %d\"", i, i);
    strcat(json, one);
  }
  strcat(json, "]");
  return dataset_of(json, true, 8);
}

static void every_tenth_example_is_held_out(void **state) {
  (void)state;
  moh__dataset *dataset = twenty_examples(), *train, *held_out;
  dataset->n_long = 7;
  dataset->n_unknown = 9;
  assert_int_equal(
      moh__dataset_split(dataset, 0.1, &train, &held_out, &err), MOH_OK);
  assert_int_equal(train->n_sequences, 18);
  assert_true(train->examples);
  assert_true(held_out->examples);
  assert_int_equal(held_out->n_long, 7);
  assert_int_equal(train->n_unknown, 9);
  /* Words "10".."29" have the ids 0..19. */
  assert_sequences(held_out, 2, (const int64_t[]){0, 2, 4},
                   (const int32_t[]){9, 9, 19, 19});
  int32_t ids[2];
  read_sequence(train, 9, ids);
  assert_int_equal(ids[0], 10);
  assert_int_equal(train->n_tokens, 36);
  assert_int_equal(dataset->n_sequences, 20);
  moh__dataset_free(train);
  moh__dataset_free(held_out);
  moh__dataset_free(dataset);
}

static void the_end_of_a_stream_is_held_out(void **state) {
  (void)state;
  moh__dataset *dataset = dataset_of("a b c d e f g h i j", false, 8);
  moh__dataset *train, *held_out;
  assert_int_equal(
      moh__dataset_split(dataset, 0.3, &train, &held_out, &err), MOH_OK);
  assert_sequences(train, 1, (const int64_t[]){0, 7},
                   (const int32_t[]){1, 2, 3, 4, 5, 6, 7});
  assert_sequences(held_out, 1, (const int64_t[]){0, 3},
                   (const int32_t[]){8, 9, 10});
  assert_false(held_out->examples);
  moh__dataset_free(train);
  moh__dataset_free(held_out);
  moh__dataset_free(dataset);
}

static void a_share_of_zero_is_all(void **state) {
  (void)state;
  moh__dataset *dataset = twenty_examples(), *train, *held_out;
  assert_int_equal(moh__dataset_split(dataset, 0, &train, &held_out, &err),
                   MOH_OK);
  assert_null(held_out);
  assert_int_equal(train->n_sequences, 20);
  assert_memory_equal(train->sequences, dataset->sequences,
                      20 * sizeof(moh__sequence));
  moh__dataset_free(dataset); /* the ids live on in the part */
  int32_t ids[2];
  read_sequence(train, 19, ids);
  assert_int_equal(ids[1], 19);
  moh__dataset_free(train);
}

static void shares_that_leave_nothing_are_refused(void **state) {
  (void)state;
  moh__dataset *dataset = twenty_examples(), *train, *held_out;
  const double shares[] = {-0.1, 1, 2, 0.04, 0.0 / 0.0, 1e-300};
  for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
    assert_int_equal(
        moh__dataset_split(dataset, shares[i], &train, &held_out, &err),
        MOH_ERR_ARGUMENT);
    assert_null(train);
    assert_null(held_out);
  }
  moh__dataset_free(dataset);
  dataset = dataset_of("a b c d", false, 8);
  assert_int_equal(
      moh__dataset_split(dataset, 0.25, &train, &held_out, &err),
      MOH_ERR_ARGUMENT);
  assert_int_equal(
      moh__dataset_split(dataset, 0.75, &train, &held_out, &err),
      MOH_ERR_ARGUMENT);
  moh__dataset_free(dataset);
}

/* ---- the original project's data -------------------------------------- */

/* False, with a message, where the file is not at hand. */
static bool load_seed(moh__texts *texts, const char *name) {
  const char *shared = getenv("MOH_SHARED");
  char path[1024];
  snprintf(path, sizeof(path), "%s/data/seed/%s",
           shared ? shared : MOH_SOURCE_DIR "/../shared", name);
  if (access(path, R_OK) != 0) {
    print_message("no %s; set MOH_SHARED to the folder of data/\n", path);
    return false;
  }
  assert_int_equal(moh__texts_load(texts, path, NULL, &err), MOH_OK);
  return true;
}

/* Words of both texts; 1,518 and <unk>. */
static moh__tokenizer *seed_words(const moh__texts *facts,
                                  const moh__texts *chat) {
  moh__text *all = calloc(facts->n + chat->n, sizeof(*all));
  memcpy(all, facts->texts, facts->n * sizeof(*all));
  memcpy(all + facts->n, chat->texts, chat->n * sizeof(*all));
  moh__texts both = {all, facts->n + chat->n, true, NULL};
  moh__tokenizer *tokenizer = words_of(&both);
  free(all);
  return tokenizer;
}

static void assert_lengths(const moh__texts *texts,
                           const moh__tokenizer *tokenizer, int64_t n,
                           int64_t n_tokens, int64_t least, int64_t most) {
  moh__dataset *dataset = made(texts, tokenizer, 80);
  int64_t shortest = INT64_MAX, longest = 0;
  assert_int_equal(dataset->n_sequences, n);
  for (int64_t i = 0; i < n; i++) {
    int64_t length = dataset->sequences[i].n;
    shortest = length < shortest ? length : shortest;
    longest = length > longest ? length : longest;
    int32_t ids[80];
    read_sequence(dataset, i, ids);
    assert_int_equal(ids[length - 1], moh__tokenizer_end(tokenizer));
  }
  assert_int_equal(dataset->n_tokens, n_tokens);
  assert_int_equal(shortest, least);
  assert_int_equal(longest, most);
  assert_int_equal(dataset->n_unknown, 0);
  assert_int_equal(dataset->n_long, 0);
  moh__dataset_free(dataset);
}

/* As the tokenizer has texts begin; not where a text is a stretch of one. */
static void examples_begin_as_texts_do(void **state) {
  (void)state;
  moh__tokenizer *tokenizer;
  moh_error error;
  int32_t ids[80];
  const char *path = MOH_SOURCE_DIR "/tests/golden/tokenizers/llama2.json";
  assert_int_equal(moh__tokenizer_load(&tokenizer, path, &error), MOH_OK);
  moh__text two[] = {{"a b", 3}, {"c", 1}};
  moh__texts texts = {two, 2, true, NULL};
  moh__dataset *dataset = made(&texts, tokenizer, 80);
  assert_int_equal(dataset->n_sequences, 2);
  for (int64_t i = 0; i < 2; i++) {
    read_sequence(dataset, i, ids);
    assert_int_equal(ids[0], moh__tokenizer_bos(tokenizer));
  }
  moh__dataset_free(dataset);
  texts.examples = false;
  dataset = made(&texts, tokenizer, 80);
  read_sequence(dataset, 0, ids);
  assert_int_not_equal(ids[0], moh__tokenizer_bos(tokenizer));
  moh__dataset_free(dataset);
  moh__tokenizer_free(tokenizer);
}

static void the_seed_has_its_known_counts(void **state) {
  (void)state;
  moh__texts facts, chat;
  if (!load_seed(&facts, "pretraining_data.json")) skip();
  if (!load_seed(&chat, "chat_training_data.json")) skip();
  moh__tokenizer *tokenizer = seed_words(&facts, &chat);
  assert_int_equal(moh__tokenizer_size(tokenizer), 1518 + 1);
  /* Predicted positions: 2,966 - 317 = 2,649 and 1,269 - 53 = 1,216. */
  assert_lengths(&facts, tokenizer, 317, 2966, 5, 20);
  assert_lengths(&chat, tokenizer, 53, 1269, 16, 29);
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&facts);
  moh__texts_free(&chat);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(examples_are_cut_and_counted),
      cmocka_unit_test(a_stream_is_one_sequence),
      cmocka_unit_test(unknown_words_are_counted),
      cmocka_unit_test(a_cut_is_between_characters),
      cmocka_unit_test(nothing_to_learn_is_refused),
      cmocka_unit_test(long_examples_are_split),
      cmocka_unit_test(long_examples_are_dropped),
      cmocka_unit_test(long_examples_are_refused),
      cmocka_unit_test(packed_examples_are_one_stream),
      cmocka_unit_test(packing_needs_an_end_token),
      cmocka_unit_test(fingerprints_tell_data_apart),
      cmocka_unit_test(parts_have_fingerprints_of_their_own),
      cmocka_unit_test(every_tenth_example_is_held_out),
      cmocka_unit_test(the_end_of_a_stream_is_held_out),
      cmocka_unit_test(a_share_of_zero_is_all),
      cmocka_unit_test(shares_that_leave_nothing_are_refused),
      cmocka_unit_test(examples_begin_as_texts_do),
      cmocka_unit_test(the_seed_has_its_known_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
