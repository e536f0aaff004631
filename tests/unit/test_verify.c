/*
 * Checking what is stored: nothing that is whole is called bad, no changed
 * byte of a directory passes, each fault has its file and its reason, and
 * the walk goes on behind it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "store/data_dir.h"
#include "store/verify.h"
#include "support/check.h"
#include "support/small.h"
#include "support/temp_dir.h"
#include "text/shard.h"

/* What was said: "verdict path: reason" lines. */
typedef struct said {
  char text[16384];
  size_t n;
  moh__verify_counts counts;
  int ticks_left; /* -1: any number */
} said;

static void on_finding(void *context, const moh__finding *finding) {
  static const char *const verdicts[] = {"good", "bad", "unlisted"};
  said *s = context;
  assert_int_equal(finding->reason[0] == '\0',
                   finding->verdict == MOH__GOOD);
  s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n,
                           "%s %s: %s\n", verdicts[finding->verdict],
                           finding->path, finding->reason);
  assert_true(s->n < sizeof(s->text));
}

static bool on_tick(void *context, const char *path, int64_t done,
                    int64_t all) {
  said *s = context;
  assert_non_null(path);
  assert_true(done >= 0 && done <= all);
  return s->ticks_left < 0 || s->ticks_left-- > 0;
}

static moh_status run(said *s, const char *path, int ticks) {
  moh__verify_hooks hooks = {on_finding, on_tick, s};
  moh_error err = {MOH_OK, ""};
  *s = (said){.ticks_left = ticks};
  moh_status status = moh__verify(path, &hooks, &s->counts, &err);
  assert_int_equal(status == MOH_OK, err.message[0] == '\0');
  return status;
}

static void verify(said *s, const char *path) {
  assert_int_equal(run(s, path, -1), MOH_OK);
}

static void assert_good(const char *path, int n) {
  said s;
  verify(&s, path);
  if (s.counts.n_bad != 0 || s.counts.n_good != n)
    fail_msg("not %d good files:\n%s", n, s.text);
}

/* One bad file, of this path (from its end) and reason (a part of it). */
static void assert_bad(const char *path, const char *file,
                       const char *reason) {
  said s;
  char start[64];
  snprintf(start, sizeof(start), "%s: ", file);
  verify(&s, path);
  const char *line = strstr(s.text, "bad ");
  const char *place = line != NULL ? strstr(line, start) : NULL;
  if (s.counts.n_bad != 1 || place == NULL ||
      strstr(place, reason) == NULL || strchr(line, '\n') < place)
    fail_msg("'%s', '%s' should be the one fault of\n%s", file, reason,
             s.text);
}

/* ---- directories of models ---- */

static void a_whole_model_is_good(void **state) {
  small_dir(temp_path(state, "m"), 1);
  assert_good(temp_path(state, "m"), 5);
}

/* Flipped, left out, doubled: each byte of each file. */
static void every_changed_byte_is_bad(void **state) {
  static const char *const names[] = {
      "m/config.json", "m/model.safetensors", "m/tokenizer.json",
      "m/tokenizer_config.json", "m/manifest.json"};
  const char *dir = temp_path(state, "m");
  said s;
  small_dir(dir, 1);
  for (int f = 0; f < 5; f++) {
    size_t n;
    const char *path = temp_path(state, names[f]);
    unsigned char *bytes = temp_read(path, &n);
    unsigned char *changed = malloc(n + 1);
    assert_non_null(changed);
    for (size_t i = 0; i < n; i++) {
      memcpy(changed, bytes, n);
      changed[i] ^= (unsigned char)(1 << i % 8);
      temp_write(path, changed, n);
      verify(&s, dir);
      assert_int_equal(s.counts.n_bad, 1);
      memmove(changed + i, bytes + i + 1, n - i - 1);
      temp_write(path, changed, n - 1);
      verify(&s, dir);
      assert_int_equal(s.counts.n_bad, 1);
      memcpy(changed, bytes, i + 1);
      memcpy(changed + i + 1, bytes + i, n - i);
      temp_write(path, changed, n + 1);
      verify(&s, dir);
      assert_int_equal(s.counts.n_bad, 1);
    }
    temp_write(path, bytes, n);
    free(changed);
    free(bytes);
  }
  assert_good(dir, 5);
}

static void missing_and_additional_files(void **state) {
  const char *dir = temp_path(state, "m");
  said s;
  small_dir(dir, 1);
  temp_write(temp_path(state, "m/notes.txt"), "x", 1);
  verify(&s, dir);
  assert_int_equal(s.counts.n_bad, 0);
  assert_int_equal(s.counts.n_unlisted, 1);
  assert_non_null(strstr(s.text, "m/notes.txt: the manifest does not"));
  assert_int_equal(unlink(temp_path(state, "m/tokenizer.json")), 0);
  assert_bad(dir, "m/tokenizer.json", "is missing");
  small_dir(dir, 1);
  assert_int_equal(unlink(temp_path(state, "m/manifest.json")), 0);
  assert_bad(dir, "/m", "holds no manifest.json");
}

/* All faults are found, not the first only. */
static void the_walk_goes_on(void **state) {
  const char *dir = temp_path(state, "m");
  said s;
  small_dir(dir, 1);
  temp_write(temp_path(state, "m/config.json"), "{}", 2);
  temp_write(temp_path(state, "m/tokenizer.json"), "{}", 2);
  verify(&s, dir);
  assert_int_equal(s.counts.n_bad, 2);
  assert_int_equal(s.counts.n_good, 3);
}

/* ---- what files mean, behind true hashes ---- */

static const char *const all_files[] = {
    "config.json",           "model.safetensors",     "tokenizer.json",
    "tokenizer_config.json", "optimizer.safetensors", NULL};

/* A manifest over the files that are there. */
static void reseal(void **state) {
  const char *files[6];
  char name[64];
  int n = 0;
  moh_error err;
  for (int i = 0; all_files[i] != NULL; i++) {
    snprintf(name, sizeof(name), "m/%s", all_files[i]);
    if (temp_exists(temp_path(state, name))) files[n++] = all_files[i];
  }
  files[n] = NULL;
  small_must(moh__manifest_write(temp_path(state, "m"), files, NULL, &err),
             &err);
}

static void put(void **state, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof(path), "m/%s", name);
  temp_write(temp_path(state, path), text, strlen(text));
  reseal(state);
}

static void files_must_make_sense(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  put(state, "tokenizer.json", "{\"model\": 3}");
  assert_bad(dir, "m/tokenizer.json", "model");
  small_dir(dir, 1);
  put(state, "tokenizer_config.json", "[1]");
  assert_bad(dir, "m/tokenizer_config.json", "no JSON object");
  small_dir(dir, 1);
  put(state, "config.json", "{\"model_type\": \"gpt2\"}");
  assert_bad(dir, "m/config.json", "gpt2");
  small_dir(dir, 1);
  put(state, "model.safetensors", "short");
  assert_bad(dir, "m/model.safetensors", "too few");
  small_dir(dir, 1);
  assert_int_equal(unlink(temp_path(state, "m/config.json")), 0);
  reseal(state);
  assert_bad(dir, "/m", "lists no config.json");
}

/* A tokenizer with more tokens than the embedding has rows. */
static void the_tokenizer_must_fit(void **state) {
  const char *dir = temp_path(state, "m");
  moh__tokenizer *tokenizer = small_tokenizer();
  moh__model *model = small_model(moh__tokenizer_size(tokenizer) - 1, 1);
  small_save(dir, model, tokenizer);
  assert_bad(dir, "m/tokenizer.json", "vocab_size");
  moh__model_free(model);
  moh__tokenizer_free(tokenizer);
}

static void write_tensor(void **state, const char *file, const char *name,
                         int64_t rows, int64_t columns, const float *data) {
  const moh__st_item item = {name, MOH__F32, 2, {rows, columns}, data};
  char path[64];
  moh_error err;
  snprintf(path, sizeof(path), "m/%s", file);
  small_must(
      moh__safetensors_write(temp_path(state, path), &item, 1, NULL, &err),
      &err);
  reseal(state);
}

static void tensors_must_be_the_models(void **state) {
  static const float zeros[64];
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  write_tensor(state, "model.safetensors", "other", 1, 1, zeros);
  assert_bad(dir, "m/model.safetensors", "embed_tokens");
  small_dir(dir, 1);
  write_tensor(state, "optimizer.safetensors", "m.lm_head.weight", 5, 4,
               zeros);
  assert_good(dir, 6);
  write_tensor(state, "optimizer.safetensors", "m.lm_head.weight", 4, 5,
               zeros);
  assert_bad(dir, "m/optimizer.safetensors", "no moment");
  write_tensor(state, "optimizer.safetensors", "q.lm_head.weight", 5, 4,
               zeros);
  assert_bad(dir, "m/optimizer.safetensors", "no moment");
}

/* The bytes of one weight are overwritten where they lie. */
static void set_weight(void **state, const char *name, size_t i,
                       float value) {
  const char *path = temp_path(state, "m/model.safetensors");
  moh__safetensors *file;
  size_t n;
  unsigned char *bytes = temp_read(path, &n);
  assert_int_equal(moh__safetensors_parse(&file, bytes, n, "x", NULL),
                   MOH_OK);
  const moh__st_tensor *tensor = moh__safetensors_find(file, name);
  memcpy(bytes + (tensor->data - bytes) + i * sizeof(value), &value,
         sizeof(value));
  moh__safetensors_close(file);
  temp_write(path, bytes, n);
  free(bytes);
  reseal(state);
}

static void weights_must_be_finite(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  set_weight(state, "lm_head.weight", 9, NAN);
  assert_bad(dir, "m/model.safetensors",
             "'lm_head.weight' is NaN at [2, 1]");
  small_dir(dir, 1);
  set_weight(state, "model.layers.0.input_layernorm.weight", 3, -INFINITY);
  assert_bad(dir, "m/model.safetensors",
             "'model.layers.0.input_layernorm.weight' is infinite at [3]");
  small_dir(dir, 1);
  set_weight(state, "lm_head.weight", 0, 3e38f);
  assert_good(dir, 5);
}

/* ---- runs ---- */

static const char good_log[] =
    "{\"step\":1,\"loss\":2.5}\n"
    "{\"eval\":{\"step\":1,\"loss\":2.4}}\n"
    "{\"step\":2,\"loss\":2.3}\n"
    "{\"eval\":{\"step\":2,\"loss\":2.2}}\n";

static void make_run(void **state) {
  moh_error err;
  small_must(moh__make_dirs(temp_path(state, "r/checkpoints"), &err), &err);
  temp_write(temp_path(state, "r/run.json"), "{}", 2);
  temp_write(temp_path(state, "r/log.jsonl"), good_log, strlen(good_log));
  small_dir(temp_path(state, "r/checkpoints/step-000010"), 1);
  small_dir(temp_path(state, "r/final"), 2);
}

static void a_whole_run_is_good(void **state) {
  make_run(state);
  assert_good(temp_path(state, "r"), 2 + 5 + 5);
}

static void the_parts_of_a_run_are_checked(void **state) {
  const char *run_dir = temp_path(state, "r");
  said s;
  make_run(state);
  temp_write(temp_path(state, "r/run.json"), "{", 1);
  assert_bad(run_dir, "r/run.json", "not valid JSON");
  make_run(state);
  temp_write(temp_path(state, "r/final/config.json"), "{}", 2);
  assert_bad(run_dir, "r/final/config.json", "has 2 bytes");
  make_run(state);
  temp_write(
      temp_path(state, "r/checkpoints/step-000010/model.safetensors"), "x",
      1);
  assert_bad(run_dir, "step-000010/model.safetensors", "has 1 bytes");
  make_run(state);
  assert_int_equal(unlink(temp_path(state, "r/log.jsonl")), 0);
  assert_bad(run_dir, "r/log.jsonl", "No such file");
  make_run(state);
  temp_write(temp_path(state, "r/mine.txt"), "x", 1);
  small_dir(temp_path(state, "r/checkpoints/step-000020.part"), 1);
  verify(&s, run_dir);
  assert_int_equal(s.counts.n_bad, 0);
  assert_int_equal(s.counts.n_unlisted, 2);
}

static void assert_bad_log(void **state, const char *log,
                           const char *reason) {
  const char *path = temp_path(state, "log.jsonl");
  temp_write(path, log, strlen(log));
  assert_bad(path, "log.jsonl", reason);
}

static void logs_are_read_line_by_line(void **state) {
  const char *path = temp_path(state, "log.jsonl");
  temp_write(path, "", 0);
  assert_good(path, 1);
  temp_write(path, good_log, strlen(good_log));
  assert_good(path, 1);
  assert_bad_log(state, "{\"step\":1}\n{\"step\":2}", "line 2: cut");
  assert_bad_log(state, "{\"step\":1}\n{\"step\":1}\n",
                 "line 2: step 1 comes after step 1");
  assert_bad_log(state, "{\"step\":3}\n{\"eval\":{\"step\":2}}\n",
                 "line 2: step 2 comes after step 3");
  assert_bad_log(state, "{\"step\":1}\n{\"loss\":1}\n", "line 2: ");
  assert_bad_log(state, "{\"step\":-1}\n", "line 1: ");
  assert_bad_log(state, "[1]\n", "line 1: is no JSON object");
  assert_bad_log(state, "{\"step\":1}\n{\"step\n", "line 2: column ");
}

/* ---- shards, single files, stopping ---- */

static void make_shards(void **state) {
  const int32_t ids[] = {0, 1, 2, 3, 4, 0};
  moh__tokenizer *tokenizer = small_tokenizer();
  moh__data_numbers numbers = {.n_shards = 1,
                               .n_tokens = 6,
                               .vocab = moh__tokenizer_size(tokenizer),
                               .n_unknown = 1};
  moh__shard shard = {.head = {.vocab = numbers.vocab, .n_unknown = 1}};
  json_t *arguments = json_object();
  moh_error err;
  assert_int_equal(moh__tokenizer_unknown(tokenizer), 4);
  small_must(moh__make_dirs(temp_path(state, "d"), &err), &err);
  small_must(moh__shard_add(&shard, ids, 6, &err), &err);
  small_must(moh__shard_write(&shard,
                              temp_path(state, "d/shard-000000.bin"), &err),
             &err);
  small_must(moh__tokenizer_save(
                 tokenizer, temp_path(state, "d/tokenizer.json"), &err),
             &err);
  small_must(moh__data_manifest_write(temp_path(state, "d"), &numbers,
                                      arguments, &err),
             &err);
  json_decref(arguments);
  moh__shard_free(&shard);
  moh__tokenizer_free(tokenizer);
}

static void shards_are_checked(void **state) {
  const char *dir = temp_path(state, "d");
  const char *path = temp_path(state, "d/shard-000000.bin");
  size_t n;
  make_shards(state);
  assert_good(dir, 3);
  assert_good(path, 1);
  unsigned char *bytes = temp_read(path, &n);
  bytes[MOH__SHARD_HEAD] = 99; /* an id outside the vocabulary */
  temp_write(path, bytes, n);
  assert_bad(dir, "d/shard-000000.bin", "its SHA-256");
  assert_bad(path, "d/shard-000000.bin", "99");
  temp_write(path, bytes, n - 1);
  assert_bad(path, "d/shard-000000.bin", "bytes");
  free(bytes);
}

/* Counts of the shards that the manifest states wrongly. */
static void the_counts_of_shards_are_checked(void **state) {
  const char *dir = temp_path(state, "d");
  moh__data_numbers numbers;
  json_t *arguments = json_object();
  make_shards(state);
  assert_int_equal(moh__data_check(dir, &numbers, NULL), MOH_OK);
  numbers.n_tokens++;
  assert_int_equal(moh__data_manifest_write(dir, &numbers, arguments, NULL),
                   MOH_OK);
  assert_bad(dir, "/d", "the manifest says 7");
  json_decref(arguments);
}

static void single_files(void **state) {
  small_dir(temp_path(state, "m"), 1);
  assert_good(temp_path(state, "m/config.json"), 1);
  assert_good(temp_path(state, "m/model.safetensors"), 1);
  assert_good(temp_path(state, "m/tokenizer.json"), 1);
  temp_write(temp_path(state, "x.txt"), "x", 1);
  assert_bad(temp_path(state, "x.txt"), "x.txt", "no kind of file");
  assert_bad(temp_path(state, "none"), "none", "No such file");
  assert_bad("/dev/zero", "/dev/zero", "not a regular file");
}

static void a_watch_stops_it(void **state) {
  said s;
  small_dir(temp_path(state, "m"), 1);
  for (int ticks = 0; ticks < 4; ticks++)
    assert_int_equal(run(&s, temp_path(state, "m"), ticks),
                     MOH_ERR_INTERRUPTED);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIR(a_whole_model_is_good),
      WITH_DIR(every_changed_byte_is_bad),
      WITH_DIR(missing_and_additional_files),
      WITH_DIR(the_walk_goes_on),
      WITH_DIR(files_must_make_sense),
      WITH_DIR(the_tokenizer_must_fit),
      WITH_DIR(tensors_must_be_the_models),
      WITH_DIR(weights_must_be_finite),
      WITH_DIR(a_whole_run_is_good),
      WITH_DIR(the_parts_of_a_run_are_checked),
      WITH_DIR(logs_are_read_line_by_line),
      WITH_DIR(shards_are_checked),
      WITH_DIR(the_counts_of_shards_are_checked),
      WITH_DIR(single_files),
      WITH_DIR(a_watch_stops_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
