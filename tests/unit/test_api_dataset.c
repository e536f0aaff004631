/*
 * Datasets through moh.h: from texts, ids, files and prepared directories,
 * and wrong arguments.
 */
#include <stdlib.h>
#include <string.h>

#include "store/prepare.h"
#include "support/api.h"
#include "support/temp_dir.h"

static moh_dataset_info info_of(const moh_dataset *dataset) {
  moh_error err;
  moh_dataset_info info;
  must(moh_dataset_describe(dataset, &info, sizeof(info), &err), &err);
  return info;
}

static void datasets_from_texts_and_ids(void **state) {
  (void)state;
  moh_error err;
  const moh_text texts[] = {{"ab", 2}, {"abcabc", 6}, {"c", 1}, {"ba", 2}};
  moh_tokenizer *tokenizer =
      trained_tokenizer(MOH_TOKENIZER_CHARS, texts, 4);
  moh_dataset_options o;
  moh_dataset_options_default(&o, sizeof(o));
  o.max_length = 4;
  moh_dataset *made;
  moh_dataset_info info;
  must(moh_dataset_new(&made, tokenizer, texts, 4, &o, &err), &err);
  must(moh_dataset_describe(made, &info, sizeof(info), &err), &err);
  assert_true(info.n_sequences == 3 && info.n_tokens == 2 + 4 + 2);
  assert_true(info.n_long == 1 && info.n_unknown == 0 && !info.stream);
  moh_dataset_free(made);
  o.long_rule = MOH_LONG_DROP;
  const int32_t ids[] = {0, 1, 0, 1, 2, 0, 1, 2, 2, 1, 0};
  const int64_t starts[] = {0, 2, 8, 9, 11};
  must(moh_dataset_from_tokens(&made, ids, 11, starts, 4, &o, &err), &err);
  must(moh_dataset_describe(made, &info, sizeof(info), &err), &err);
  assert_true(info.n_sequences == 2 && info.n_tokens == 4);
  moh_dataset_free(made);
  must(moh_dataset_from_tokens(&made, ids, 11, NULL, 0, NULL, &err), &err);
  must(moh_dataset_describe(made, &info, sizeof(info), &err), &err);
  assert_true(info.stream && info.n_tokens == 11);
  moh_dataset *train, *held_out;
  must(moh_dataset_split(made, 0, &train, &held_out, &err), &err);
  assert_null(held_out);
  moh_dataset_free(train);
  must(moh_dataset_split(made, 0.3, &train, &held_out, &err), &err);
  moh_dataset_free(made); /* its parts stand */
  must(moh_dataset_describe(held_out, &info, sizeof(info), &err), &err);
  assert_in_range(info.n_tokens, 3, 5);
  moh_dataset_free(train);
  moh_dataset_free(held_out);
  moh_tokenizer_free(tokenizer);
}

static void wrong_datasets_are_refused(void **state) {
  (void)state;
  moh_error err;
  moh_dataset *made = (moh_dataset *)&err;
  moh_dataset *other;
  const int32_t ids[] = {0, 1, 2, -1};
  const int64_t falling[] = {0, 2, 1, 3};
  const int64_t beyond[] = {0, 2, 4};
  refused(moh_dataset_from_tokens(&made, ids, 4, NULL, 0, NULL, &err), &err,
          "token 3 is -1");
  assert_null(made);
  refused(moh_dataset_from_tokens(&made, ids, 3, falling, 3, NULL, &err),
          &err, "rise from 0 to 3");
  refused(moh_dataset_from_tokens(&made, ids, 3, beyond, 2, NULL, &err),
          &err, "rise");
  refused(moh_dataset_from_tokens(&made, ids, 3, falling, 0, NULL, &err),
          &err, "0 examples");
  refused(moh_dataset_from_tokens(&made, NULL, 3, NULL, 0, NULL, &err), &err,
          "tokens");
  moh_dataset_options o;
  moh_dataset_options_default(&o, sizeof(o));
  o.max_length = 1;
  refused(moh_dataset_from_tokens(&made, ids, 3, NULL, 0, &o, &err), &err,
          "max_length");
  o.max_length = 2;
  o.long_rule = (moh_long_rule)7;
  refused(moh_dataset_from_tokens(&made, ids, 3, NULL, 0, &o, &err), &err,
          "long_rule");
  o.long_rule = MOH_LONG_REFUSE;
  const int64_t one[] = {0, 3};
  assert_int_equal(moh_dataset_from_tokens(&made, ids, 3, one, 1, &o, &err),
                   MOH_ERR_FORMAT);
  const moh_text text = {"ab", 2}, broken = {NULL, 3};
  refused(moh_dataset_new(&made, NULL, &text, 1, NULL, &err), &err,
          "tokenizer");
  moh_tokenizer *tokenizer;
  refused(moh_tokenizer_train(&tokenizer, &broken, 1, NULL, &err), &err,
          "text 0 has 3 bytes");
  must(moh_dataset_from_tokens(&made, ids, 3, NULL, 0, NULL, &err), &err);
  moh_dataset *parts = made;
  refused(moh_dataset_split(made, 1, &parts, &other, &err), &err, "1");
  assert_null(parts);
  refused(moh_dataset_split(NULL, 0, &parts, &other, &err), &err, "dataset");
  refused(moh_dataset_describe(made, NULL, 0, &err), &err, "info");
  moh_dataset_free(made);
  moh_dataset_free(NULL);
}

/* ---- files ---- */

static void write_text(const char *path, const char *text) {
  temp_write(path, text, strlen(text));
}

static const moh_text alphabet = {"abc ", 4};

static void files_of_texts(void **state) {
  moh_error err;
  moh_tokenizer *tokenizer =
      trained_tokenizer(MOH_TOKENIZER_CHARS, &alphabet, 1);
  const char *lines = temp_path(state, "texts.jsonl");
  const char *plain = temp_path(state, "text.txt");
  write_text(lines, "{\"t\": \"ab\"}\n{\"t\": \"abcab\"}\n");
  write_text(plain, "abc abc cab");
  moh_dataset *made;
  moh_dataset_options o;
  moh_dataset_options_default(&o, sizeof(o));
  o.field = "t";
  must(moh_dataset_load(&made, tokenizer, lines, &o, &err), &err);
  moh_dataset_info info = info_of(made);
  assert_true(info.n_sequences == 2 && info.n_tokens == 7 && !info.stream);
  moh_dataset_free(made);
  o.stream = true;
  must(moh_dataset_load(&made, tokenizer, lines, &o, &err), &err);
  info = info_of(made);
  assert_true(info.n_sequences == 1 && info.n_tokens == 7 && info.stream);
  moh_dataset_free(made);
  must(moh_dataset_load(&made, tokenizer, plain, NULL, &err), &err);
  info = info_of(made);
  assert_true(info.n_tokens == 11 && info.stream);
  moh_dataset_free(made);
  assert_int_equal(moh_dataset_load(&made, tokenizer, lines, NULL, &err),
                   MOH_ERR_FORMAT); /* no field "text" */
  assert_non_null(strstr(err.message, "texts.jsonl"));
  assert_null(made);
  assert_int_equal(moh_dataset_load(&made, tokenizer,
                                    temp_path(state, "none.txt"), NULL, &err),
                   MOH_ERR_IO);
  refused(moh_dataset_load(&made, NULL, plain, NULL, &err), &err,
          "tokenizer");
  refused(moh_dataset_load(&made, tokenizer, NULL, NULL, &err), &err, "path");
  moh_tokenizer_free(tokenizer);
}

/* What moh data does. */
static void prepare(const char *path, const char *tokenizer,
                    const char *out) {
  moh_error err;
  moh__pool *pool;
  moh__prepare *work;
  moh__prepare_report report = {.done = false};
  const char *const paths[] = {path};
  moh__prepare_options o = {.paths = paths,
                            .n_paths = 1,
                            .out = out,
                            .tokenizer = tokenizer,
                            .sample_bytes = 1 << 20,
                            .shard_tokens = 1 << 20};
  must(moh__pool_new(&pool, 1, &err), &err);
  must(moh__prepare_open(&work, &o, pool, &err), &err);
  while (!report.done) must(moh__prepare_step(work, &report, &err), &err);
  moh__prepare_free(work);
  moh__pool_free(pool);
}

static void prepared_directories(void **state) {
  moh_error err;
  const char *path = temp_path(state, "text.txt");
  const char *dir = temp_path(state, "data");
  write_text(path, "abc abc cab");
  prepare(path, "chars", dir);
  moh_tokenizer *tokenizer;
  moh_dataset *made;
  must(moh_tokenizer_load(&tokenizer,
                          temp_path(state, "data/tokenizer.json"), &err),
       &err);
  must(moh_dataset_load(&made, tokenizer, dir, NULL, &err), &err);
  moh_dataset_info info = info_of(made);
  assert_true(info.n_tokens == 11 && info.stream && info.n_unknown == 0);
  moh_dataset_free(made);
  moh_tokenizer_free(tokenizer);
  const moh_text other = {"abcd ", 5};
  tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &other, 1);
  refused(moh_dataset_load(&made, tokenizer, dir, NULL, &err), &err,
          "another tokenizer");
  assert_non_null(strstr(err.message, dir));
  assert_null(made);
  moh_tokenizer_free(tokenizer);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(datasets_from_texts_and_ids),
      cmocka_unit_test(wrong_datasets_are_refused),
      WITH_DIR(files_of_texts),
      WITH_DIR(prepared_directories),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
