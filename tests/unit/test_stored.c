/*
 * Model directories whose matrices are in blocks: run from what is stored as
 * from its numbers, to the bit; saved again they keep their bytes; what does
 * not fit is refused by name.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "infer/session.h"
#include "store/model_parts.h"
#include "store/verify.h"
#include "support/check.h"
#include "support/small.h"
#include "support/tables.h"
#include "support/temp_dir.h"

enum { VOCAB = 70 };

static const moh__block_type types[] = {MOH__BLOCK_BF16, MOH__BLOCK_F16,
                                        MOH__BLOCK_Q8_0, MOH__BLOCK_Q4_0};
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static const moh__load_options kept = {.verify = true, .stored = true};
static const moh__load_options decoded = {.verify = true};

static moh__config config_of(bool tied, int64_t d_head) {
  moh__config c = small_blocks_config(16);
  c.d_head = d_head;
  c.tied = tied;
  return c;
}

static moh__model *make_model(bool tied, int64_t d_head) {
  moh__config c = config_of(tied, d_head);
  moh__model *model;
  moh_error err;
  small_must(moh__arch_model_init(&model, &c, 5, &err), &err);
  moh__rng rng = moh__rng_make(4, 21);
  for (int i = 0; i < model->n_params; i++)
    for (int64_t j = 0; j < model->params[i].n; j++)
      model->params[i].data[j] = (real)(0.2 * moh__rng_normal(&rng));
  return model;
}

static void save(const moh__model *model, const char *dir,
                 moh__block_type type) {
  moh__model_note note = {.weights = type};
  moh_error err;
  small_must(moh__model_save(model, NULL, dir, &note, &err), &err);
}

static moh__model *load(const char *dir, moh__load_options options) {
  moh__model *model;
  moh_error err;
  small_must(moh__model_load(&model, NULL, dir, options, &err), &err);
  return model;
}

/* The logits behind a few tokens, to be freed; the model, too, is freed. */
static real *logits_of(moh__model *model, moh__precision precision) {
  const int32_t tokens[] = {1, 5, 2, 69, 1};
  const real *logits;
  moh__pool *pool;
  moh__session *session;
  moh_error err;
  moh__model_set_precision(model, precision);
  small_must(moh__pool_new(&pool, 2, &err), &err);
  small_must(moh__model_pack(model, pool, &err), &err);
  small_must(moh__session_new(&session, model, pool, 0, &err), &err);
  small_must(moh__session_feed(session, tokens, 5, &logits, &err), &err);
  real *copy = copied_reals(logits, VOCAB);
  moh__session_free(session);
  moh__pool_free(pool);
  moh__model_free(model);
  return copy;
}

/* From what is stored, and from its numbers. */
static void assert_same_run(const char *dir, moh__precision precision) {
  real *a = logits_of(load(dir, kept), precision);
  real *b = logits_of(load(dir, decoded), precision);
  assert_true(largest_of(a, VOCAB) > 0);
  assert_memory_equal(a, b, VOCAB * sizeof(real));
  free(a);
  free(b);
}

static void stored_runs_like_decoded(void **state) {
  for (int x = 0; x < 4 * N_TYPES; x++) {
    moh__block_type type = types[x / 4];
    char name[16];
    snprintf(name, sizeof(name), "m%d", x);
    const char *dir = temp_path(state, name);
    moh__model *model = make_model(x % 2, x / 2 % 2 ? 24 : 32);
    save(model, dir, type);
    moh__model_free(model);
    assert_same_run(dir, moh__precision_of(type));
    assert_same_run(dir, MOH__PRECISION_F32);
    assert_same_run(dir, MOH__PRECISION_Q4_0);
  }
}

static void what_is_stored(void **state) {
  for (int t = 0; t < N_TYPES; t++) {
    const char *dir = temp_path(state, moh__block_name(types[t]));
    moh__model *model = make_model(false, 32);
    save(model, dir, types[t]);
    moh__model *back = load(dir, kept);
    assert_int_equal(moh__model_stored(back), types[t]);
    for (int i = 0; i < model->n_params; i++) {
      const moh__param *w = &back->params[i];
      bool router = (w->flags & MOH__PARAM_ROUTER) != 0;
      assert_true((w->data == NULL) == (w->n_dims == 2 && !router));
      assert_true((w->stored != NULL) == (w->data == NULL));
      if (w->data != NULL)
        assert_memory_equal(w->data, model->params[i].data,
                            (size_t)w->n * sizeof(real));
    }
    assert_true(moh__model_measure(back).data <
                0.6 * (double)moh__model_measure(model).data);
    assert_int_equal(moh__model_measure(back).decoded,
                     moh__model_measure(model).data);
    moh__model_free(back);
    moh__model_free(model);
  }
}

static char *text_of(const char *dir, const char *name) {
  moh_error err;
  moh__map map;
  char *path = moh__path_join(dir, name);
  small_must(moh__map_open(&map, path, &err), &err);
  char *text = calloc(map.size + 1, 1);
  assert_non_null(text);
  memcpy(text, map.bytes, map.size);
  moh__map_close(&map);
  free(path);
  return text;
}

static void config_names_the_format(void **state) {
  static const char *const said[N_TYPES] = {"\"bfloat16\"", "\"float16\"",
                                            "\"q8_0\"", "\"q4_0\""};
  for (int t = 0; t < N_TYPES; t++) {
    const char *dir = temp_path(state, moh__block_name(types[t]));
    moh__model *model = make_model(false, 32);
    save(model, dir, types[t]);
    char *text = text_of(dir, "config.json");
    assert_non_null(strstr(text, said[t]));
    free(text);
    moh__model_free(model);
  }
}

static bool same_files(const char *a, const char *b) {
  char *x = moh__path_join(a, "model.safetensors");
  char *y = moh__path_join(b, "model.safetensors");
  moh__map p, q;
  moh_error err;
  small_must(moh__map_open(&p, x, &err), &err);
  small_must(moh__map_open(&q, y, &err), &err);
  bool same = p.size == q.size && memcmp(p.bytes, q.bytes, p.size) == 0;
  moh__map_close(&p);
  moh__map_close(&q);
  free(x);
  free(y);
  return same;
}

/* As it is, and by way of f32 and back. */
static void saving_again_keeps_every_byte(void **state) {
  for (int t = 0; t < N_TYPES; t++) {
    char names[3][16];
    const char *dirs[3];
    for (int i = 0; i < 3; i++) {
      snprintf(names[i], sizeof(names[i]), "%d-%d", t, i);
      dirs[i] = temp_path(state, names[i]);
    }
    moh__model *model = make_model(true, 32);
    save(model, dirs[0], types[t]);
    moh__model_free(model);
    model = load(dirs[0], kept);
    save(model, dirs[1], MOH__BLOCK_F32);
    moh__model_free(model);
    assert_true(same_files(dirs[0], dirs[1]));
    model = load(dirs[0], decoded);
    save(model, dirs[2], types[t]);
    moh__model_free(model);
    assert_true(same_files(dirs[0], dirs[2]));
  }
}

static void decoding_gives_data(void **state) {
  const char *dir = temp_path(state, "m");
  moh__model *model = make_model(true, 32);
  moh__pool *pool;
  moh_error err;
  save(model, dir, MOH__BLOCK_Q8_0);
  moh__model_free(model);
  moh__model *a = load(dir, kept), *b = load(dir, decoded);
  small_must(moh__pool_new(&pool, 2, &err), &err);
  small_must(moh__model_decode(a, pool, &err), &err);
  for (int i = 0; i < a->n_params; i++)
    assert_memory_equal(a->params[i].data, b->params[i].data,
                        (size_t)a->params[i].n * sizeof(real));
  moh__pool_free(pool);
  moh__model_free(a);
  moh__model_free(b);
}

/* ---- what is refused ---- */

/* The file of q8_0 with one tensor of another type or shape. */
static void assert_refused(void **state, const char *name, moh__dtype dtype,
                           int64_t columns, const char *part) {
  const char *dir = temp_path(state, "m"), *path = temp_path(state, "bad");
  moh__model *model = make_model(false, 32);
  moh__safetensors *file;
  moh__st_item items[64];
  moh_error err = {0};
  save(model, dir, MOH__BLOCK_Q8_0);
  char *good = moh__path_join(dir, "model.safetensors");
  small_must(moh__safetensors_open(&file, good, &err), &err);
  assert_true(file->n_tensors <= 64);
  static const unsigned char zeros[1 << 20];
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__st_tensor *t = &file->tensors[i];
    items[i] = (moh__st_item){t->name, t->dtype, t->n_dims, {0}, t->data};
    memcpy(items[i].shape, t->shape, sizeof(t->shape));
    if (strcmp(t->name, name) != 0) continue;
    items[i].dtype = dtype;
    items[i].shape[t->n_dims - 1] = columns;
    items[i].data = zeros;
  }
  small_must(moh__safetensors_write(path, items, file->n_tensors, NULL, &err),
             &err);
  moh__config c = model->config;
  moh__model_free(model);
  small_must(moh__arch_model(&model, &c, &err), &err);
  assert_int_equal(moh__weights_load(model, path, kept, &err),
                   MOH_ERR_FORMAT);
  if (strstr(err.message, name) == NULL || strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s' or '%s'", err.message, name, part);
  moh__safetensors_close(file);
  moh__model_free(model);
  free(good);
}

static void wrong_sizes_are_refused_by_name(void **state) {
  const char *q = "model.layers.0.self_attn.q_proj.weight";
  assert_refused(state, q, MOH__U8, 67, "shape [128, 67]");
  assert_refused(state, q, MOH__U8, 64, "shape [128, 64]");
  assert_refused(state, q, MOH__U8, 34, "blocks of q8_0 or q4_0");
  assert_refused(state, q, MOH__I32, 64, "which are no weights");
  assert_refused(state, q, MOH__F16, 63, "shape [128, 63]");
  assert_refused(state, "model.layers.0.self_attn.wg.weight", MOH__U8, 68,
                 "which are no weights");
  assert_refused(state, "model.norm.weight", MOH__U8, 68,
                 "which are no weights");
}

static void ignore(void *context, const moh__finding *finding) {
  char *reason = context;
  if (finding->verdict == MOH__BAD)
    snprintf(reason, 256, "%s", finding->reason);
}
static bool go_on(void *context, const char *path, int64_t done,
                  int64_t all) {
  (void)context;
  (void)path;
  (void)done;
  (void)all;
  return true;
}

/* A scale that is NaN, with every sum right. */
static void verify_looks_at_scales(void **state) {
  const char *dir = temp_path(state, "m");
  const char *files[] = {"config.json", "model.safetensors", NULL};
  char reason[256] = "";
  moh__verify_hooks hooks = {ignore, go_on, reason};
  moh__verify_counts counts = {0, 0, 0};
  moh__safetensors *file;
  moh_error err;
  moh__model *model = make_model(false, 32);
  save(model, dir, MOH__BLOCK_Q8_0);
  moh__model_free(model);
  small_must(moh__verify(dir, &hooks, &counts, &err), &err);
  assert_int_equal(counts.n_bad, 0);
  char *path = moh__path_join(dir, files[1]);
  small_must(moh__safetensors_open(&file, path, &err), &err);
  const moh__st_tensor *t = moh__safetensors_find(file, "lm_head.weight");
  long at = (long)(t->data - (const unsigned char *)file->map.bytes) + 3 * 68;
  moh__safetensors_close(file);
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  assert_int_equal(fseek(f, at, SEEK_SET), 0);
  assert_int_equal(fwrite("\x01\x7e", 1, 2, f), 2);
  fclose(f);
  small_must(moh__manifest_write(dir, files, NULL, &err), &err);
  small_must(moh__verify(dir, &hooks, &counts, &err), &err);
  assert_int_equal(counts.n_bad, 1);
  assert_non_null(strstr(reason, "lm_head.weight' is NaN in row 3"));
  free(path);
}

#define temp_test(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      temp_test(stored_runs_like_decoded),
      temp_test(what_is_stored),
      temp_test(config_names_the_format),
      temp_test(saving_again_keeps_every_byte),
      temp_test(decoding_gives_data),
      temp_test(wrong_sizes_are_refused_by_name),
      temp_test(verify_looks_at_scales),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
