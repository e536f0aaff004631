/*
 * Preparing data: shards hold what a dataset made in memory holds; work
 * that is broken off anywhere and taken up again ends in the same bytes,
 * with any number of threads; and what does not fit together is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/prepare.h"
#include "support/check.h"
#include "support/temp_dir.h"
#include "text/dataset.h"

static moh_error err;

/* ---- helpers ----------------------------------------------------------
 */

typedef struct setting {
  const char *paths[3];
  moh__prepare_options options;
} setting;

static setting setting_of(const char *path, const char *out) {
  setting s = {.paths = {path}};
  s.options = (moh__prepare_options){.n_paths = 1,
                                     .out = out,
                                     .tokenizer = "words",
                                     .vocab_size = 300,
                                     .sample_bytes = 1 << 20,
                                     .shard_tokens = 5000};
  return s;
}

/* At most so many steps; whether all is done. */
static moh_status run_steps(setting *s, int threads, int steps,
                            bool *done) {
  moh__pool *pool;
  moh__prepare *prepare;
  moh__prepare_report report;
  s->options.paths = s->paths;
  *done = false;
  assert_int_equal(moh__pool_new(&pool, threads, &err), MOH_OK);
  moh_status status = moh__prepare_open(&prepare, &s->options, pool, &err);
  if (status == MOH_OK) moh__prepare_start(prepare, &report);
  if (status == MOH_OK) *done = report.done;
  for (int i = 0; i < steps && status == MOH_OK && !*done; i++) {
    status = moh__prepare_step(prepare, &report, &err);
    *done = report.done;
  }
  moh__prepare_free(prepare);
  moh__pool_free(pool);
  return status;
}

static void run_all(setting *s, int threads) {
  bool done;
  if (run_steps(s, threads, 1000000, &done) != MOH_OK)
    fail_msg("%s", err.message);
  assert_true(done);
}

static void assert_fails(setting *s, moh_status wanted, const char *part) {
  bool done;
  moh_status status = run_steps(s, 1, 1000000, &done);
  if (status != wanted || strstr(err.message, part) == NULL)
    fail_msg("%s instead of \"%s\": %s", moh_status_name(status), part,
             err.message);
}

static const char *joined(void **state, const char *dir, const char *name) {
  char both[256];
  snprintf(both, sizeof(both), "%s/%s", dir, name);
  return temp_path(state, both);
}

static void assert_same_files(void **state, const char *a, const char *b) {
  moh__data_numbers numbers;
  assert_int_equal(moh__data_check(temp_path(state, a), &numbers, &err),
                   MOH_OK);
  int n = temp_count(temp_path(state, a));
  assert_int_equal(n, numbers.n_shards + 2);
  assert_int_equal(temp_count(temp_path(state, b)), n);
  for (int64_t i = -2; i < numbers.n_shards; i++) {
    char name[MOH__SHARD_NAME] = "manifest.json";
    if (i == -1) strcpy(name, "tokenizer.json");
    if (i >= 0) moh__shard_name(name, i);
    size_t size, other;
    unsigned char *bytes = temp_read(joined(state, a, name), &size);
    unsigned char *same = temp_read(joined(state, b, name), &other);
    assert_int_equal(size, other);
    assert_memory_equal(bytes, same, size);
    free(bytes);
    free(same);
  }
}

/* Lines of 1 to 12 words, in a file of the given format. */
static const char *write_texts(void **state, const char *name, int n) {
  const char *path = temp_path(state, name);
  bool jsonl = strstr(name, ".jsonl") != NULL;
  bool json = !jsonl && strstr(name, ".json") != NULL;
  bool table = strstr(name, "table") != NULL;
  char *text = malloc((size_t)n * 128 + 16), *end = text;
  if (json) *end++ = '[';
  if (table) end += sprintf(end, "n,text\n");
  for (int i = 0; i < n; i++) {
    if (json && i > 0) end += sprintf(end, ", ");
    if (json || jsonl) *end++ = '"';
    if (table) end += sprintf(end, "%d,", i);
    for (int w = 0; w <= i * 7 % 12; w++)
      end += sprintf(end, "%sw%d", w > 0 ? " " : "",
                     (i % 500 * (i % 500) + w * 5) % 97);
    if (i % 3 == 0) end += sprintf(end, " </s>");
    if (json || jsonl) *end++ = '"';
    if (!json) *end++ = '\n';
  }
  if (json) *end++ = ']';
  temp_write(path, text, (size_t)(end - text));
  free(text);
  return path;
}

/* The directory's sequences are those that the same file gives in memory.
 */
static void assert_same_data(const char *path, const char *dir,
                             moh__dataset_options how) {
  moh__texts texts;
  moh__tokens *tokens;
  moh__tokenizer *tokenizer;
  moh__data_numbers numbers;
  moh__dataset *wanted, *got;
  assert_int_equal(moh__data_load(dir, &tokens, &tokenizer, &numbers, &err),
                   MOH_OK);
  assert_int_equal(moh__dataset_of_tokens(&got, tokens, how, &err), MOH_OK);
  moh__tokens_free(tokens);
  assert_int_equal(moh__texts_load(&texts, path, NULL, &err), MOH_OK);
  assert_int_equal(moh__dataset_make(&wanted, &texts, tokenizer, how, &err),
                   MOH_OK);
  assert_int_equal(got->n_sequences, wanted->n_sequences);
  assert_int_equal(got->n_tokens, wanted->n_tokens);
  assert_int_equal(got->examples, wanted->examples);
  assert_int_equal(got->n_long, wanted->n_long);
  int32_t *a = malloc((size_t)wanted->n_tokens * sizeof(*a));
  int32_t *b = malloc((size_t)wanted->n_tokens * sizeof(*b));
  for (int64_t i = 0; i < wanted->n_sequences; i++) {
    moh__sequence x = wanted->sequences[i], y = got->sequences[i];
    assert_int_equal(x.n, y.n);
    assert_int_equal(moh__dataset_read(wanted, x.first, x.n, a, &err),
                     MOH_OK);
    assert_int_equal(moh__dataset_read(got, y.first, y.n, b, &err), MOH_OK);
    assert_memory_equal(a, b, (size_t)x.n * sizeof(*a));
  }
  free(a);
  free(b);
  moh__dataset_free(wanted);
  moh__dataset_free(got);
  moh__tokenizer_free(tokenizer);
  moh__texts_free(&texts);
}

/* ---- what comes out ---------------------------------------------------
 */

static void shards_hold_the_data(void **state) {
  const moh__dataset_options whole = {.max_len = 80};
  const moh__dataset_options cut = {.max_len = 5,
                                    .long_rule = MOH__LONG_SPLIT};
  const char *names[] = {"t.txt", "t.jsonl", "t.json", "t.csv"};
  const char *kinds[] = {"words", "chars", "bpe"};
  for (int i = 0; i < 12; i++) {
    char out[32];
    snprintf(out, sizeof(out), "out-%d", i);
    const char *path = write_texts(state, names[i % 4], 2000);
    setting s = setting_of(path, temp_path(state, out));
    s.options.tokenizer = kinds[i / 4];
    s.options.shard_tokens = 12000;
    run_all(&s, 2);
    assert_same_data(path, s.options.out, whole);
    assert_same_data(path, s.options.out, cut);
  }
}

/* Longer than a stretch, so that it is cut; BPE must not see where. */
static void stretches_change_no_token(void **state) {
  const char *path = write_texts(state, "long.txt", 30000);
  setting s = setting_of(path, temp_path(state, "out"));
  size_t n;
  free(temp_read(path, &n));
  assert_in_range(n, 2 * MOH__STRETCH, 8 * MOH__STRETCH);
  s.options.tokenizer = "bpe";
  s.options.shard_tokens = 50000;
  run_all(&s, 2);
  assert_same_data(path, s.options.out,
                   (moh__dataset_options){.max_len = 80});
}

/* Ids of the whole directory as one stream; to be freed. */
static int32_t *stream_of(const char *dir, int64_t *n,
                          moh__tokenizer **tokenizer) {
  moh__tokens *tokens;
  moh__data_numbers numbers;
  assert_int_equal(moh__data_load(dir, &tokens, tokenizer, &numbers, &err),
                   MOH_OK);
  assert_false(numbers.examples);
  int32_t *ids = malloc((size_t)tokens->n * sizeof(*ids));
  assert_int_equal(moh__tokens_read(tokens, 0, tokens->n, ids, &err),
                   MOH_OK);
  *n = tokens->n;
  moh__tokens_free(tokens);
  return ids;
}

static void assert_stream(const char *dir, const char *wanted) {
  int64_t n;
  char *text;
  moh__tokenizer *tokenizer;
  int32_t *ids = stream_of(dir, &n, &tokenizer);
  assert_int_equal(
      moh__tokenizer_decode(tokenizer, ids, (size_t)n, false, &text, &err),
      MOH_OK);
  assert_string_equal(text, wanted);
  free(text);
  free(ids);
  moh__tokenizer_free(tokenizer);
}

static void files_of_a_stream_are_kept_apart(void **state) {
  const char *a = temp_path(state, "a.txt"), *b = temp_path(state, "b.txt");
  temp_write(a, "x y", 3);
  temp_write(b, "y </s>\n", 7);
  setting s = setting_of(a, temp_path(state, "out"));
  s.paths[1] = b;
  s.paths[2] = a;
  s.options.n_paths = 3;
  s.options.shard_tokens = 2;
  run_all(&s, 1);
  assert_stream(s.options.out, "x y </s> y </s> x y");
}

static void packing_closes_examples(void **state) {
  const char *a = temp_path(state, "a.jsonl");
  const char *b = temp_path(state, "b.txt");
  temp_write(a, "\"x y\"\n\"\"\n\"y </s>\"\n", 18);
  temp_write(b, "x\ny\n", 4);
  setting s = setting_of(a, temp_path(state, "out"));
  s.paths[1] = b;
  s.paths[2] = a;
  s.options.n_paths = 3;
  assert_fails(&s, MOH_ERR_ARGUMENT, "prepare them apart, or pack all");
  s.options.pack = true;
  run_all(&s, 1);
  assert_stream(s.options.out, "x y </s> y </s> x y </s> x y </s> y </s>");
  setting chars = setting_of(a, temp_path(state, "chars"));
  chars.options.pack = true;
  chars.options.tokenizer = "chars";
  assert_fails(&chars, MOH_ERR_ARGUMENT, "no end token </s>");
}

/* Shards end before the example that would not fit; a longer one than a
 * shard has one for itself. Counts add up. */
static void examples_stay_whole(void **state) {
  const char *path = temp_path(state, "a.jsonl");
  const char text[] =
      "\"a b c\"\n\"d\"\n\"a b </s>\"\n\"a b c d e f\"\n\"\"\n\"q q\"\n";
  moh__data_numbers n;
  moh__tokens *tokens;
  temp_write(path, text, sizeof(text) - 1);
  setting s = setting_of(path, temp_path(state, "out"));
  s.options.shard_tokens = 5;
  run_all(&s, 2);
  assert_int_equal(moh__data_load(s.options.out, &tokens, NULL, &n, &err),
                   MOH_OK);
  const int64_t sizes[] = {3, 3, 6, 2};
  assert_int_equal(n.n_shards, 4);
  for (int i = 0; i < 4; i++)
    assert_int_equal(tokens->segments[i].n, sizes[i]);
  assert_int_equal(n.n_tokens, 14);
  assert_int_equal(n.n_examples, 4);
  assert_int_equal(n.n_short, 2);
  assert_int_equal(n.n_open, 3);
  assert_int_equal(n.n_unknown, 0);
  assert_int_equal(n.n_bytes, 5 + 1 + 8 + 11 + 0 + 3);
  moh__tokens_free(tokens);
}

/* A sample that is too small for all words leaves some unknown. */
static void samples_are_spread(void **state) {
  const char *path = temp_path(state, "a.jsonl");
  char *text = malloc(100000), *end = text;
  for (int i = 0; i < 1000; i++) end += sprintf(end, "\"w%d x\"\n", i);
  temp_write(path, text, (size_t)(end - text));
  free(text);
  setting s = setting_of(path, temp_path(state, "out"));
  moh__data_numbers n;
  moh__tokenizer *tokenizer;
  s.options.sample_bytes = 600; /* about a tenth */
  run_all(&s, 1);
  assert_int_equal(
      moh__data_load(s.options.out, NULL, &tokenizer, &n, &err), MOH_OK);
  assert_in_range(n.vocab, 100, 160);
  assert_int_equal(n.n_unknown, 1000 - (n.vocab - 3)); /* x, </s>, <unk> */
  int late = 0;
  for (int i = 900; i < 1000; i++) {
    char word[8];
    snprintf(word, sizeof(word), "w%d", i);
    late += moh__tokenizer_id(tokenizer, word) >= 0;
  }
  assert_in_range(late, 5, 20);
  moh__tokenizer_free(tokenizer);
}

/* ---- going on ---------------------------------------------------------
 */

/* Cannot write a certain shard, as when the disk is full. */
static void run_until(setting *s, int threads, const char *shard) {
  bool done;
  assert_int_equal(mkdir(shard, 0700), 0);
  assert_int_equal(run_steps(s, threads, 1000000, &done), MOH_ERR_IO);
  assert_int_equal(rmdir(shard), 0);
}

/* Broken off at every shard and taken up again, by one thread and two. */
static void broken_off_work_ends_the_same(void **state) {
  const char *names[] = {"t.txt", "t.jsonl", "table.csv", "t.json"};
  for (int i = 0; i < 4; i++) {
    char whole[32], parts[32];
    snprintf(whole, sizeof(whole), "whole-%d", i);
    snprintf(parts, sizeof(parts), "parts-%d", i);
    const char *path = write_texts(state, names[i], 60000);
    setting a = setting_of(path, temp_path(state, whole));
    setting b = setting_of(path, temp_path(state, parts));
    a.options.shard_tokens = b.options.shard_tokens = 60001;
    a.options.format.field = b.options.format.field = "text";
    run_all(&a, 3);
    bool done;
    assert_int_equal(run_steps(&b, 1, 0, &done), MOH_OK);
    int64_t n = temp_count(a.options.out) - 2;
    assert_in_range(n, 6, 10);
    for (int64_t k = 0; k < n; k++) {
      char name[MOH__SHARD_NAME];
      moh__shard_name(name, k);
      run_until(&b, 1 + (int)(k % 2), joined(state, parts, name));
    }
    run_all(&b, 1);
    assert_same_files(state, whole, parts);
  }
}

/* The shards are there, the manifest is not: as after a kill between. */
static void a_missing_manifest_is_made_up_for(void **state) {
  const char *path = write_texts(state, "t.txt", 3000);
  setting a = setting_of(path, temp_path(state, "a"));
  setting b = setting_of(path, temp_path(state, "b"));
  bool done;
  run_all(&a, 1);
  assert_int_equal(run_steps(&b, 1, 1, &done), MOH_OK);
  assert_false(done);
  char *progress = (char *)temp_path(state, "b/progress.json");
  size_t n;
  unsigned char *before = temp_read(progress, &n);
  run_all(&b, 1);
  temp_write(progress, before, n);
  free(before);
  run_all(&b, 1); /* the manifest counts */
  moh__remove_file(progress, &err);
  assert_same_files(state, "a", "b");
}

static void done_work_is_left_alone(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  run_all(&s, 1);
  bool done;
  assert_int_equal(run_steps(&s, 1, 0, &done), MOH_OK);
  assert_true(done);
}

static void other_work_is_refused(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  setting other = s;
  bool done;
  other.options.shard_tokens = 2000;
  run_all(&s, 1);
  assert_fails(&other, MOH_ERR_ARGUMENT,
               "shards of other data or argument");
  other.options.overwrite = true;
  run_all(&other, 1);
  assert_same_data(path, s.options.out,
                   (moh__dataset_options){.max_len = 80});
  /* Unfinished work, too. */
  setting half = setting_of(path, temp_path(state, "half"));
  half.options.shard_tokens = 1000;
  assert_int_equal(run_steps(&half, 1, 1, &done), MOH_OK);
  assert_false(done);
  setting other_half = half;
  other_half.options.tokenizer = "chars";
  assert_fails(&other_half, MOH_ERR_ARGUMENT, "unfinished shards of other");
  usleep(10000);
  write_texts(state, "t.txt", 1000);
  assert_fails(&half, MOH_ERR_ARGUMENT, "a file has changed");
  half.options.overwrite = true;
  run_all(&half, 1);
}

static void other_files_are_safe(void **state) {
  const char *path = write_texts(state, "t.txt", 100);
  const char *dir = temp_path(state, "model");
  assert_int_equal(moh__make_dirs(dir, &err), MOH_OK);
  temp_write(temp_path(state, "model/config.json"), "{}", 2);
  setting s = setting_of(path, dir);
  s.options.overwrite = true;
  assert_fails(&s, MOH_ERR_ARGUMENT, "holds other files");
  assert_int_equal(temp_count(dir), 1);
}

/* Names like ours, in a directory that is not: all of them stay. */
static void foreign_names_are_safe(void **state) {
  const char *path = write_texts(state, "t.txt", 100);
  const char *dir = temp_path(state, "notes");
  setting s = setting_of(path, dir);
  s.options.overwrite = true;
  assert_int_equal(moh__make_dirs(dir, &err), MOH_OK);
  temp_write(temp_path(state, "notes/shard-7-2.tmp"), "a", 1);
  temp_write(temp_path(state, "notes/tokenizer.json.1-2.tmp"), "a", 1);
  assert_fails(&s, MOH_ERR_ARGUMENT, "holds other files");
  assert_int_equal(temp_count(dir), 2);
  temp_write(temp_path(state, "notes/tokenizer.json"), "{}", 2);
  temp_write(temp_path(state, "notes/progress.json"), "{\"at\": 3}", 9);
  assert_fails(&s, MOH_ERR_FORMAT, "not written by 'moh data'");
  assert_int_equal(temp_count(dir), 4);
}

/* In a directory of ours only the exact names are. */
static void leftovers_go_and_others_stay(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  run_all(&s, 1);
  temp_write(temp_path(state, "out/shard-notes.txt"), "a", 1);
  temp_write(temp_path(state, "out/tokenizer.json.bak"), "a", 1);
  temp_write(temp_path(state, "out/shard-000001.bin.12-3.tmp"), "a", 1);
  temp_write(temp_path(state, "out/manifest.json.12-3.tmp"), "a", 1);
  int n = temp_count(s.options.out);
  run_all(&s, 1);
  assert_int_equal(temp_count(s.options.out), n - 2);
  assert_false(
      temp_exists(temp_path(state, "out/shard-000001.bin.12-3.tmp")));
  s.options.shard_tokens = 100000;
  s.options.overwrite = true;
  run_all(&s, 1);
  assert_true(temp_exists(temp_path(state, "out/shard-notes.txt")));
  assert_true(temp_exists(temp_path(state, "out/tokenizer.json.bak")));
  assert_false(temp_exists(temp_path(state, "out/shard-000001.bin")));
}

/* A shard of work whose replacement was killed early. */
static void stale_shards_go_at_the_end(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  setting same = setting_of(path, temp_path(state, "same"));
  bool done;
  assert_int_equal(run_steps(&s, 1, 0, &done), MOH_OK);
  temp_write(temp_path(state, "out/shard-000700.bin"), "a", 1);
  run_all(&s, 1);
  run_all(&same, 1);
  assert_same_files(state, "same", "out");
}

/* What cannot be done leaves the work whole that it would replace. */
static void failures_replace_nothing(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  moh__data_numbers numbers;
  run_all(&s, 1);
  setting other = setting_of(temp_path(state, "bad.jsonl"), s.options.out);
  other.options.overwrite = true;
  temp_write(other.paths[0], "\"a b\"\n{\"text\": 3}\n", 18);
  assert_fails(&other, MOH_ERR_FORMAT, "bad.jsonl: line 2");
  temp_write(other.paths[0], "\n", 1);
  assert_fails(&other, MOH_ERR_FORMAT, "bad.jsonl: it is empty");
  temp_write(other.paths[0], "\"a b\"\n", 6);
  other.options.tokenizer = temp_path(state, "bad.json");
  assert_fails(&other, MOH_ERR_IO, "bad.json");
  temp_write(other.options.tokenizer, "{}", 2);
  assert_fails(&other, MOH_ERR_FORMAT, "bad.json");
  other.options.tokenizer = temp_path(state, "out/tokenizer.json");
  assert_fails(&other, MOH_ERR_ARGUMENT, "out/tokenizer.json lies in ");
  other.options.tokenizer = "chars";
  other.options.pack = true;
  assert_fails(&other, MOH_ERR_ARGUMENT, "no end token");
  other.options.pack = false;
  other.paths[0] = temp_path(state, "out/manifest.json");
  assert_fails(&other, MOH_ERR_ARGUMENT, "out/manifest.json lies in ");
  assert_int_equal(moh__data_check(s.options.out, &numbers, &err), MOH_OK);
  assert_int_equal(temp_count(s.options.out), numbers.n_shards + 2);
}

static void one_process_works_at_a_time(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  moh__pool *pool;
  moh__prepare *prepare;
  s.options.paths = s.paths;
  assert_int_equal(moh__pool_new(&pool, 1, &err), MOH_OK);
  assert_int_equal(moh__prepare_open(&prepare, &s.options, pool, &err),
                   MOH_OK);
  temp_write(temp_path(state, "out/shard-000000.bin.1-2.tmp"), "a", 1);
  assert_fails(&s, MOH_ERR_IO, "another process is working in ");
  assert_true(
      temp_exists(temp_path(state, "out/shard-000000.bin.1-2.tmp")));
  moh__prepare_free(prepare);
  moh__pool_free(pool);
  run_all(&s, 1);
}

/* Sets a number of progress.json: of its "at", or of that one's "numbers".
 */
static void set_number(const char *path, const char *where, const char *key,
                       int64_t value) {
  json_t *file = json_load_file(path, 0, NULL);
  json_t *object = json_object_get(file, "at");
  if (strcmp(where, "numbers") == 0)
    object = json_object_get(object, where);
  assert_non_null(json_object_get(object, key));
  json_object_set_new(object, key, json_integer(value));
  assert_int_equal(json_dump_file(file, path, 0), 0);
  json_decref(file);
}

static void edited_numbers_are_refused(void **state) {
  static const char *const keys[][2] = {{"at", "records"},
                                        {"at", "offset"},
                                        {"at", "line"},
                                        {"at", "texts_done"},
                                        {"at", "tokens_done"},
                                        {"numbers", "text_bytes"},
                                        {"numbers", "short_texts"},
                                        {"numbers", "tokens"}};
  const char *path = write_texts(state, "t.jsonl", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  const char *progress = temp_path(state, "out/progress.json");
  bool done;
  s.options.shard_tokens = 1000;
  assert_int_equal(run_steps(&s, 1, 1, &done), MOH_OK);
  size_t n;
  unsigned char *bytes = temp_read(progress, &n);
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
    set_number(progress, keys[i][0], keys[i][1], INT64_MAX);
    assert_fails(&s, MOH_ERR_FORMAT, keys[i][1]);
    assert_non_null(strstr(err.message, "progress.json"));
    temp_write(progress, bytes, n);
  }
  set_number(progress, "numbers", "shards", 9);
  assert_fails(&s, MOH_ERR_FORMAT,
               "is missing: its directory should have 9");
  temp_write(progress, bytes, n);
  free(bytes);
  run_all(&s, 1);
}

static void damage_is_refused(void **state) {
  const char *path = write_texts(state, "t.txt", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  bool done;
  s.options.shard_tokens = 1000;
  assert_int_equal(run_steps(&s, 1, 1, &done), MOH_OK);
  const char *shard = temp_path(state, "out/shard-000003.bin");
  size_t n;
  unsigned char *bytes = temp_read(shard, &n);
  temp_write(shard, bytes, n - 8);
  assert_fails(&s, MOH_ERR_FORMAT, "shard-000003.bin: ");
  temp_write(shard, bytes, n);
  free(bytes);
  const char *progress = temp_path(state, "out/progress.json");
  bytes = temp_read(progress, &n);
  temp_write(progress, bytes, n / 2);
  assert_fails(&s, MOH_ERR_FORMAT, "progress.json, line ");
  temp_write(progress, bytes, n);
  free(bytes);
  temp_write(temp_path(state, "out/tokenizer.json"), "{}", 2);
  assert_fails(&s, MOH_ERR_FORMAT, "tokenizer.json has changed");
}

static void empty_files_are_refused(void **state) {
  const char *path = temp_path(state, "e.jsonl");
  setting s = setting_of(path, temp_path(state, "out"));
  temp_write(path, "\n\n", 2);
  assert_fails(&s, MOH_ERR_FORMAT, "e.jsonl: it is empty");
  temp_write(path, "\"a\"\n\"\"\n", 7);
  s.options.out = temp_path(state, "out-2");
  assert_fails(&s, MOH_ERR_FORMAT, "e.jsonl: no text of 2 tokens");
  temp_write(path, "\"a b\"\n{\"text\": 3}\n", 18);
  s.options.out = temp_path(state, "out-3");
  assert_fails(&s, MOH_ERR_FORMAT, "e.jsonl: line 2 has no string");
}

/* ---- checking ---------------------------------------------------------
 */

static void checks_find_what_is_wrong(void **state) {
  const char *path = write_texts(state, "t.jsonl", 1000);
  setting s = setting_of(path, temp_path(state, "out"));
  moh__data_numbers numbers;
  size_t n;
  run_all(&s, 1);
  const char *shard = temp_path(state, "out/shard-000001.bin");
  unsigned char *bytes = temp_read(shard, &n);
  const struct {
    size_t at;
    unsigned char value;
    const char *part;
  } cases[] = {
      {64 + 2 * 10 + 1, 200, "shard-000001.bin: token 10 is "},
      {64, (unsigned char)(bytes[64] ^ 2), "SHA-256"},
      {48, 77, "or their other counts differ"},
      {3, 'X', "shard-000001.bin: not a shard"},
  };
  for (size_t i = 0; i < 4; i++) {
    unsigned char kept = bytes[cases[i].at];
    bytes[cases[i].at] = cases[i].value;
    temp_write(shard, bytes, n);
    bytes[cases[i].at] = kept;
    assert_int_equal(moh__data_check(s.options.out, &numbers, &err),
                     MOH_ERR_FORMAT);
    if (strstr(err.message, cases[i].part) == NULL)
      fail_msg("\"%s\" is not in: %s", cases[i].part, err.message);
  }
  temp_write(shard, bytes, n);
  free(bytes);
  assert_int_equal(moh__data_check(s.options.out, &numbers, &err), MOH_OK);
  assert_int_equal(numbers.n_examples, 1000);
  assert_int_equal(
      moh__data_check(temp_path(state, "none"), &numbers, &err),
      MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "no manifest.json"));
}

#define IN_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_DIR(shards_hold_the_data),
      IN_DIR(stretches_change_no_token),
      IN_DIR(files_of_a_stream_are_kept_apart),
      IN_DIR(packing_closes_examples),
      IN_DIR(examples_stay_whole),
      IN_DIR(samples_are_spread),
      IN_DIR(broken_off_work_ends_the_same),
      IN_DIR(a_missing_manifest_is_made_up_for),
      IN_DIR(done_work_is_left_alone),
      IN_DIR(other_work_is_refused),
      IN_DIR(other_files_are_safe),
      IN_DIR(foreign_names_are_safe),
      IN_DIR(leftovers_go_and_others_stay),
      IN_DIR(stale_shards_go_at_the_end),
      IN_DIR(failures_replace_nothing),
      IN_DIR(one_process_works_at_a_time),
      IN_DIR(edited_numbers_are_refused),
      IN_DIR(damage_is_refused),
      IN_DIR(empty_files_are_refused),
      IN_DIR(checks_find_what_is_wrong),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
