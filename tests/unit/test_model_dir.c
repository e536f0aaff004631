/*
 * Model directories: the same bits come back, no changed byte passes,
 * tensors that do not fit are named, and an interrupted save is never taken
 * for a model.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "infer/session.h"
#include "store/model_dir.h"
#include "support/check.h"
#include "support/small.h"
#include "support/temp_dir.h"

static const moh__load_options plain = {.verify = false};
static const moh__load_options verified = {.verify = true};
static const moh__load_options writable = {.verify = true, .writable = true};

static moh__model *load(const char *dir, moh__load_options options) {
  moh__model *model;
  moh_error err;
  small_must(moh__model_load(&model, NULL, dir, options, &err), &err);
  return model;
}

static void assert_same_weights(const moh__model *a, const moh__model *b) {
  assert_int_equal(a->n_params, b->n_params);
  for (int i = 0; i < a->n_params; i++) {
    const moh__param *x = &a->params[i], *y = &b->params[i];
    assert_string_equal(x->name, y->name);
    assert_int_equal(x->n, y->n);
    assert_memory_equal(x->data, y->data, (size_t)x->n * sizeof(real));
  }
}

static void assert_refused(const char *dir, moh__load_options options,
                           const char *part) {
  moh__model *model;
  moh__tokenizer *tokenizer;
  moh_error err = {0};
  moh_status status =
      moh__model_load(&model, &tokenizer, dir, options, &err);
  if (status == MOH_OK) fail_msg("loaded, though %s", part);
  assert_null(model);
  assert_null(tokenizer);
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
}

/* ---- round trips ---- */

static void the_same_bits_come_back(void **state) {
  const char *dir = temp_path(state, "some/model");
  moh__tokenizer *tokenizer = small_tokenizer(), *loaded;
  moh__model *model = small_model(moh__tokenizer_size(tokenizer), 1), *back;
  moh_error err;
  model->params[0].data[0] = -0.0f;
  model->params[0].data[1] = 1e-42f;
  small_save(dir, model, tokenizer);
  assert_int_equal(temp_count(dir), 5);
  small_must(moh__model_load(&back, &loaded, dir, verified, &err), &err);
  assert_same_weights(model, back);
  assert_memory_equal(&back->config, &model->config, sizeof(back->config));
  assert_int_equal(moh__tokenizer_size(loaded),
                   moh__tokenizer_size(tokenizer));
  assert_int_equal(moh__tokenizer_id(loaded, "hi"),
                   moh__tokenizer_id(tokenizer, "hi"));
  moh__tokenizer_free(loaded);
  moh__tokenizer_free(tokenizer);
  moh__model_free(back);
  moh__model_free(model);
}

/* The logits behind a few tokens, to be freed. */
static real *logits_of(moh__model *model) {
  const int32_t tokens[] = {1, 5, 2, 7, 1};
  const real *logits;
  moh__pool *pool;
  moh__session *session;
  moh_error err;
  small_must(moh__pool_new(&pool, 1, &err), &err);
  small_must(moh__model_pack(model, pool, &err), &err);
  small_must(moh__session_new(&session, model, pool, 0, &err), &err);
  small_must(moh__session_feed(session, tokens, 5, &logits, &err), &err);
  size_t n_bytes = (size_t)model->config.vocab_size * sizeof(real);
  real *copy = malloc(n_bytes);
  assert_non_null(copy);
  memcpy(copy, logits, n_bytes);
  moh__session_free(session);
  moh__pool_free(pool);
  return copy;
}

static void assert_same_logits(void **state, const moh__config *config) {
  const char *dir = temp_path(state, "m");
  moh__model *model;
  moh_error err;
  small_must(moh__arch_model_init(&model, config, 3, &err), &err);
  small_save(dir, model, NULL);
  moh__model *back = load(dir, verified);
  real *before = logits_of(model), *after = logits_of(back);
  assert_memory_equal(before, after,
                      (size_t)config->vocab_size * sizeof(real));
  free(before);
  free(after);
  moh__model_free(back);
  moh__model_free(model);
}

/* Every kind of positions with every kind of heads, and the other choices
 * each way. */
static void every_option_has_the_same_logits(void **state) {
  static const char *const heads[] = {"all", "moh:2+1", "static:3"};
  moh__model *model = small_model(9, 1);
  moh__config c = model->config;
  moh_error err;
  moh__model_free(model);
  c.d_head = 2;
  c.max_seq_len = 8;
  for (int i = 0; i < 12; i++) {
    c.position = (moh__position_kind)(i / 3);
    small_must(moh__config_set_heads(&c, heads[i % 3], &err), &err);
    c.norm = (moh__norm_kind)((i + i / 3) % 3);
    c.ffn = i % 4 < 2 ? MOH__FFN_SWIGLU : MOH__FFN_RELU;
    c.pre_norm = c.final_norm = i % 8 < 4;
    c.gate_scale = (moh__gate_scale)(i / 4);
    c.n_kv_heads = 1 << i % 3;
    c.tied = i % 5 == 0;
    c.bias_balance = i % 2 == 0 ? 0.01 : 0;
    c.output_projection = i % 7 != 0;
    c.d_model = c.output_projection ? 4 : 8;
    c.window = (moh__window){(moh__window_kind)(i % 5), 3, 1, 5};
    assert_same_logits(state, &c);
  }
}

static void saving_twice_gives_the_same_bytes(void **state) {
  static const char *const names[] = {
      "config.json", "model.safetensors", "tokenizer.json",
      "tokenizer_config.json", "manifest.json"};
  small_dir(temp_path(state, "a"), 1);
  small_dir(temp_path(state, "b"), 1);
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    char path[64];
    size_t n, m;
    snprintf(path, sizeof(path), "a/%s", names[i]);
    unsigned char *a = temp_read(temp_path(state, path), &n);
    path[0] = 'b';
    unsigned char *b = temp_read(temp_path(state, path), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
  }
}

static void a_writable_model_is_a_copy(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  moh__model *model = load(dir, plain), *copy = load(dir, writable);
  assert_same_weights(model, copy);
  copy->params[0].data[0] += 1;
  assert_true(model->params[0].data[0] != copy->params[0].data[0]);
  moh__model_free(copy);
  copy = load(dir, verified); /* the file did not change */
  moh__model_free(copy);
  moh__model_free(model);
}

/* A model that lies in the mapped file may be saved over that file. */
static void a_mapped_model_saves_over_itself(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  moh__model *model = load(dir, plain), *back;
  small_save(dir, model, NULL);
  back = load(dir, verified);
  assert_same_weights(model, back);
  moh__model_free(back);
  moh__model_free(model);
}

static void a_model_without_tokenizer(void **state) {
  const char *dir = temp_path(state, "m");
  moh__model *model = small_model(9, 1), *back;
  moh__tokenizer *tokenizer = (moh__tokenizer *)model;
  moh_error err;
  small_must(moh__model_save(model, NULL, dir, NULL, &err), &err);
  assert_int_equal(temp_count(dir), 3);
  small_must(moh__model_load(&back, &tokenizer, dir, verified, &err), &err);
  assert_null(tokenizer);
  moh__model_free(back);
  moh__model_free(model);
}

static void fields_for_other_readers(void **state) {
  const char *dir = temp_path(state, "m");
  moh__tokenizer *tokenizer = small_tokenizer();
  json_t *json;
  const char *text;
  int64_t value;
  small_dir(dir, 1);
  small_must(moh__json_load(
                 &json, temp_path(state, "m/tokenizer_config.json"), NULL),
             NULL);
  assert_int_equal(moh__json_get_string(json, "chat_template", &text, NULL),
                   MOH_OK);
  assert_non_null(strstr(text, "add_generation_prompt"));
  moh__json_get_string(json, "eos_token", &text, NULL);
  assert_string_equal(text, "</s>");
  json_decref(json);
  small_must(moh__json_load(&json, temp_path(state, "m/config.json"), NULL),
             NULL);
  moh__json_get_int(json, "eos_token_id", 0, 99, &value, NULL);
  assert_int_equal(value, moh__tokenizer_end(tokenizer));
  json_decref(json);
  moh__tokenizer_free(tokenizer);
}

static void the_manifest_tells_of_the_model(void **state) {
  const char *dir = temp_path(state, "m");
  json_t *manifest;
  int64_t value;
  const char *text;
  moh__model *model = small_model(9, 1);
  small_save(dir, model, NULL);
  assert_int_equal(moh__manifest_check(dir, true, &manifest, NULL), MOH_OK);
  moh__json_get_int(manifest, "parameters", 0, 1 << 20, &value, NULL);
  assert_int_equal(value, moh__model_count(model));
  moh__json_get_int(manifest, "steps", 0, 99, &value, NULL);
  assert_int_equal(value, 17);
  moh__json_get_string(manifest, "description", &text, NULL);
  assert_string_equal(text, "a test");
  json_decref(manifest);
  moh__model_free(model);
}

/* ---- changed bytes ---- */

/* One file of the directory with every byte flipped, left out and doubled.
 */
static void try_every_byte(void **state, const char *dir,
                           const char *name) {
  const char *path = temp_path(state, name);
  size_t n;
  unsigned char *bytes = temp_read(path, &n);
  unsigned char *changed = malloc(n + 1);
  assert_non_null(changed);
  for (size_t i = 0; i < n; i++) {
    memcpy(changed, bytes, n);
    changed[i] ^= (unsigned char)(1 << i % 8);
    temp_write(path, changed, n);
    assert_refused(dir, verified, "");
    memmove(changed + i, bytes + i + 1, n - i - 1);
    temp_write(path, changed, n - 1);
    assert_refused(dir, verified, "");
    memcpy(changed + i, bytes + i, 1);
    memcpy(changed + i + 1, bytes + i, n - i);
    temp_write(path, changed, n + 1);
    assert_refused(dir, verified, "");
  }
  temp_write(path, bytes, n);
  free(changed);
  free(bytes);
}

static void every_changed_byte_is_refused(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  try_every_byte(state, dir, "m/config.json");
  try_every_byte(state, dir, "m/model.safetensors");
  try_every_byte(state, dir, "m/tokenizer.json");
  try_every_byte(state, dir, "m/tokenizer_config.json");
  try_every_byte(state, dir, "m/manifest.json");
  moh__model_free(load(dir, verified));
}

static void sizes_are_checked_without_hashes(void **state) {
  const char *dir = temp_path(state, "m");
  const char *path = temp_path(state, "m/model.safetensors");
  size_t n;
  small_dir(dir, 1);
  unsigned char *bytes = temp_read(path, &n);
  temp_write(path, bytes, n - 1);
  assert_refused(dir, plain, "not fully copied");
  bytes[n - 1] ^= 1;
  temp_write(path, bytes, n);
  moh__model_free(load(dir, plain)); /* a hash would be needed to see it */
  assert_refused(dir, verified, "model.safetensors: its SHA-256");
  assert_int_equal(unlink(path), 0);
  assert_refused(dir, plain, "model.safetensors");
  free(bytes);
}

/* ---- manifests ---- */

/* Writes a manifest of this directory with fields put over its own. */
static void forge(void **state, const char *dir, const json_t *extra) {
  static const char *const files[] = {"config.json", "model.safetensors",
                                      NULL};
  moh_error err;
  (void)state;
  small_must(moh__manifest_write(dir, files, extra, &err), &err);
}

static void replace_text(const char *path, const char *old,
                         const char *new) {
  size_t n;
  unsigned char *bytes = temp_read(path, &n);
  assert_int_equal(strlen(old), strlen(new));
  unsigned char *at = memmem(bytes, n, old, strlen(old));
  assert_non_null(at);
  memcpy(at, new, strlen(new));
  temp_write(path, bytes, n);
  free(bytes);
}

static void newer_versions_are_refused(void **state) {
  const char *dir = temp_path(state, "m");
  const char *path = temp_path(state, "m/manifest.json");
  moh__model *model = small_model(9, 1);
  moh_error err = {0};
  small_save(dir, model, NULL);
  replace_text(path, "\"format_version\": 1", "\"format_version\": 2");
  assert_int_equal(moh__manifest_check(dir, false, NULL, &err),
                   MOH_ERR_UNSUPPORTED);
  assert_refused(dir, plain, "format version 2");
  replace_text(path, "\"format_version\": 2", "\"format_version\": 0");
  assert_refused(dir, plain, "format_version");
  moh__model_free(model);
}

static void changed_manifests_are_refused(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  replace_text(temp_path(state, "m/manifest.json"), "a test", "A test");
  assert_refused(dir, plain, "was changed since");
}

/* Sealed with a true hash, but leading out of the directory. */
static void names_stay_in_the_directory(void **state) {
  static const char *const names[] = {"../outside", "sub/inside",
                                      ".hidden"};
  const char *dir = temp_path(state, "m");
  moh_error err = {0};
  small_must(moh__make_dirs(temp_path(state, "m/sub"), &err), &err);
  temp_write(temp_path(state, "outside"), "x", 1);
  temp_write(temp_path(state, "m/sub/inside"), "x", 1);
  temp_write(temp_path(state, "m/.hidden"), "x", 1);
  for (int i = 0; i < 3; i++) {
    const char *const files[] = {names[i], NULL};
    small_must(moh__manifest_write(dir, files, NULL, &err), &err);
    assert_int_equal(moh__manifest_check(dir, false, NULL, &err),
                     MOH_ERR_FORMAT);
    assert_non_null(strstr(err.message, names[i]));
  }
}

static void a_directory_of_something_else(void **state) {
  const char *dir = temp_path(state, "m");
  const char *const files[] = {"x", NULL};
  moh_error err;
  small_must(moh__make_dirs(dir, &err), &err);
  assert_refused(dir, plain, "not a model directory");
  temp_write(temp_path(state, "m/x"), "x", 1);
  small_must(moh__manifest_write(dir, files, NULL, &err), &err);
  assert_refused(dir, plain, "lists no config.json");
}

/* ---- tensors ---- */

enum { MAX_ITEMS = 64 };

/* Writes model.safetensors anew with items of a model, and a true manifest.
 */
static void write_items(void **state, const moh__st_item *items, size_t n) {
  const char *dir = temp_path(state, "m");
  moh_error err;
  small_must(moh__safetensors_write(temp_path(state, "m/model.safetensors"),
                                    items, n, NULL, &err),
             &err);
  forge(state, dir, NULL);
}

static size_t items_of(const moh__model *model, moh__st_item *items) {
  assert_true(model->n_params < MAX_ITEMS);
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    items[i] = (moh__st_item){w->name, MOH__F32, w->n_dims, {0}, w->data};
    memcpy(items[i].shape, w->shape, sizeof(w->shape));
  }
  return (size_t)model->n_params;
}

static void tensors_that_do_not_fit_are_named(void **state) {
  static const float number[64];
  const char *dir = temp_path(state, "m");
  moh__model *model = small_model(9, 1);
  moh__st_item items[MAX_ITEMS + 1];
  small_save(dir, model, NULL);
  size_t n = items_of(model, items);
  write_items(state, items, n);
  moh__model_free(load(dir, verified));
  write_items(state, items, n - 1);
  assert_refused(dir, verified, items[n - 1].name);
  assert_refused(dir, verified, "is missing");
  items[n] = (moh__st_item){"one.more", MOH__F32, 1, {1}, number};
  write_items(state, items, n + 1);
  assert_refused(dir, verified, "'one.more' is unknown");
  items[0].shape[0]--;
  write_items(state, items, n);
  assert_refused(dir, verified, "[8, 4], but config.json asks for [9, 4]");
  items[0] = (moh__st_item){items[0].name, MOH__I32, 2, {9, 4}, number};
  write_items(state, items, n);
  assert_refused(dir, verified, "type I32");
  moh__model_free(model);
}

/* The order in the file does not matter. */
static void tensors_are_found_by_name(void **state) {
  const char *dir = temp_path(state, "m");
  moh__model *model = small_model(9, 1), *back;
  moh__st_item items[MAX_ITEMS], first;
  small_save(dir, model, NULL);
  size_t n = items_of(model, items);
  first = items[0];
  items[0] = items[n - 1];
  items[n - 1] = first;
  write_items(state, items, n);
  back = load(dir, verified);
  assert_same_weights(model, back);
  moh__model_free(back);
  moh__model_free(model);
}

/* The embedding in another element type; the rest stays F32. */
static void assert_converted(void **state, moh__model *model,
                             moh__dtype dtype, const void *data,
                             const float *expected, int n_expected) {
  moh__st_item items[MAX_ITEMS];
  size_t n = items_of(model, items);
  items[0].dtype = dtype;
  items[0].data = data;
  write_items(state, items, n);
  moh__model *back = load(temp_path(state, "m"), verified);
  for (int i = 0; i < n_expected; i++)
    assert_memory_equal(&back->params[0].data[i], &expected[i],
                        sizeof(float));
  assert_memory_equal(back->params[1].data, model->params[1].data,
                      (size_t)model->params[1].n * sizeof(real));
  moh__model_free(back);
}

static void other_element_types_are_converted(void **state) {
  moh__model *model = small_model(9, 1);
  /* 1, -2, largest, smallest normal, largest subnormal, smallest, -0, inf
   */
  static const uint16_t half[36] = {0x3c00, 0xc000, 0x7bff, 0x0400,
                                    0x03ff, 0x0001, 0x8000, 0x7c00};
  static const float halves[] = {
      1, -2, 65504, 0x1p-14f, 1023 * 0x1p-24f, 0x1p-24f, -0.0f, INFINITY};
  static const uint16_t brain[36] = {0x3f80, 0xc000, 0x7f7f, 0x0001,
                                     0x8000};
  static const float brains[] = {1, -2, 0x1.fep127f, 0x1p-133f, -0.0f};
  static const double wide[36] = {0.1, -3, 1e-50};
  static const float wides[] = {0.1f, -3, 0};
  small_save(temp_path(state, "m"), model, NULL);
  assert_converted(state, model, MOH__F16, half, halves, 8);
  assert_converted(state, model, MOH__BF16, brain, brains, 5);
  assert_converted(state, model, MOH__F64, wide, wides, 3);
  moh__model_free(model);
}

/* A few bytes of config.json could ask for a gigabyte of rotary positions:
 * such a table must be no larger than the model, or than 64 MiB. */
static void tables_are_no_larger_than_models(void **state) {
  const char *dir = temp_path(state, "m");
  moh__model *model = small_model(9, 1), *rotary;
  moh__config config = model->config;
  moh_error err;
  moh__model_free(model);
  config.position = MOH__POSITION_ROPE;
  config.output_projection = true;
  config.d_head = 256;
  config.max_seq_len = 1 << 16; /* times 256: 2^24 numbers */
  small_must(moh__arch_model_init(&rotary, &config, 1, &err), &err);
  small_save(dir, rotary, NULL);
  moh__model_free(rotary);
  moh__model_free(load(dir, verified));
  replace_text(temp_path(state, "m/config.json"),
               "\"max_position_embeddings\": 65536",
               "\"max_position_embeddings\": 65537");
  forge(state, dir, NULL);
  assert_refused(dir, verified, "config.json: max_position_embeddings");
}

static void a_tokenizer_must_fit_the_vocabulary(void **state) {
  const char *dir = temp_path(state, "m");
  moh__tokenizer *tokenizer = small_tokenizer();
  moh__model *model = small_model(moh__tokenizer_size(tokenizer) - 1, 1);
  small_save(dir, model, tokenizer);
  assert_refused(dir, plain, "vocab_size");
  moh__model_free(model);
  moh__tokenizer_free(tokenizer);
}

/* ---- interrupted saves ---- */

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_costs_nothing(void **state) {
  const char *dir = temp_path(state, "m");
  struct rlimit old, small;
  moh_error err = {0};
  small_dir(dir, 1);
  moh__model *first = load(dir, plain), *second = small_model(5, 2), *back;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = 1500; /* config.json fits, model.safetensors does not */
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  moh_status status = moh__model_save(second, NULL, dir, NULL, &err);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(status, MOH_ERR_IO);
  assert_non_null(strstr(err.message, "model.safetensors"));
  assert_int_equal(temp_count(dir), 5);
  back = load(dir, verified);
  assert_same_weights(first, back);
  moh__model_free(back);
  moh__model_free(second);
  moh__model_free(first);
}

/* Stops at one of its questions. */
static bool stop_at(void *context, size_t n_bytes) {
  int *left = context;
  (void)n_bytes;
  return (*left)-- > 0;
}

/* Wherever it is stopped, a new directory and its parent are gone, and one
 * that was there has the files of before. */
static void a_stopped_save_leaves_nothing(void **state) {
  const char *old = temp_path(state, "m"), *new = temp_path(state, "a/b");
  moh__model *model = small_model(5, 2);
  moh_status status = MOH_ERR_INTERRUPTED;
  small_dir(old, 1);
  int n = 0;
  while (status == MOH_ERR_INTERRUPTED) {
    int left = n, again = n;
    moh__watch watch = {stop_at, &left}, other = {stop_at, &again};
    moh__model_note note = {.watch = &watch};
    moh_error err = {0};
    status = moh__model_save(model, NULL, new, &note, &err);
    if (status == MOH_OK) break;
    assert_non_null(strstr(err.message, "nothing was written"));
    assert_false(temp_exists(temp_path(state, "a")));
    note.watch = &other;
    assert_int_equal(moh__model_save(model, NULL, old, &note, &err), status);
    assert_int_equal(temp_count(old), 5);
    moh__model_free(load(old, verified));
    n++;
  }
  assert_int_equal(status, MOH_OK);
  assert_true(n > 2 * model->n_params);
  moh__model_free(load(new, verified));
  moh__model_free(model);
}

/* Killed while a file was written: the temporary file is all there is. */
static void a_killed_save_keeps_the_old_model(void **state) {
  const char *dir = temp_path(state, "m");
  const char *path = temp_path(state, "m/model.safetensors");
  moh__writer *writer;
  small_dir(dir, 1);
  assert_int_equal(moh__writer_open(&writer, path, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(writer, "half a mod", 10, NULL), MOH_OK);
  moh__model_free(load(dir, verified));
  moh__writer_discard(writer);
  moh__model_free(load(dir, verified));
  assert_int_equal(temp_count(dir), 5);
}

/* What a save that stopped between two files leaves behind. */
static void a_mixture_is_no_model(void **state) {
  const char *dir = temp_path(state, "m");
  small_dir(dir, 1);
  assert_int_equal(unlink(temp_path(state, "m/manifest.json")), 0);
  assert_refused(dir, plain, "never finished");
  small_dir(dir, 2);
  moh__model_free(load(dir, verified));
}

/* A training gone wrong does not replace what was good. */
static void weights_that_are_not_finite_stay_out(void **state) {
  const char *dir = temp_path(state, "model");
  moh_error err;
  small_dir(dir, 1);
  moh__model *model = load(dir, writable);
  moh__param *w = moh__model_layer_param(model, 0, "mlp.up_proj.weight");
  w->data[1] = NAN;
  assert_int_equal(moh__model_save(model, NULL, dir, NULL, &err),
                   MOH_ERR_DIVERGED);
  assert_non_null(strstr(err.message, w->name));
  moh__model_free(model);
  model = load(dir, verified);
  assert_int_equal(moh__model_check_finite(model, &err), MOH_OK);
  moh__model_free(model);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIR(the_same_bits_come_back),
      WITH_DIR(every_option_has_the_same_logits),
      WITH_DIR(saving_twice_gives_the_same_bytes),
      WITH_DIR(a_writable_model_is_a_copy),
      WITH_DIR(a_mapped_model_saves_over_itself),
      WITH_DIR(a_model_without_tokenizer),
      WITH_DIR(fields_for_other_readers),
      WITH_DIR(the_manifest_tells_of_the_model),
      WITH_DIR(every_changed_byte_is_refused),
      WITH_DIR(sizes_are_checked_without_hashes),
      WITH_DIR(newer_versions_are_refused),
      WITH_DIR(changed_manifests_are_refused),
      WITH_DIR(names_stay_in_the_directory),
      WITH_DIR(a_directory_of_something_else),
      WITH_DIR(tensors_that_do_not_fit_are_named),
      WITH_DIR(tensors_are_found_by_name),
      WITH_DIR(other_element_types_are_converted),
      WITH_DIR(tables_are_no_larger_than_models),
      WITH_DIR(a_tokenizer_must_fit_the_vocabulary),
      WITH_DIR(a_full_disk_costs_nothing),
      WITH_DIR(a_stopped_save_leaves_nothing),
      WITH_DIR(a_killed_save_keeps_the_old_model),
      WITH_DIR(a_mixture_is_no_model),
      WITH_DIR(weights_that_are_not_finite_stay_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
