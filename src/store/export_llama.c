/* Directories for other programs: see export_llama.h. */
#include "store/export_llama.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "model/config_family.h"
#include "store/fit.h"

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for an export");
}

/* ---- what can be written ---- */

moh_status moh__export_check(const moh__model *model, moh_error *err) {
  const char *difference = moh__config_difference(&model->config);
  if (difference == NULL) return MOH_OK;
  return moh__fail(
      err, MOH_ERR_ARGUMENT,
      "this is no LLaMA, Qwen2 or Qwen3 model, so their programs "
      "cannot run it: it has %s",
      difference);
}

static moh_status check_weights(const moh__model *model, moh__block_type type,
                                const char *source, moh_error *err) {
  for (int i = 0; i < model->n_params; i++) {
    moh_status status = moh__check_fit(&model->params[i], type, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "%s", source);
  }
  return MOH_OK;
}

/* ---- weights ---- */

static moh__dtype dtype_of(moh__block_type type) {
  if (type == MOH__BLOCK_F16) return MOH__F16;
  return type == MOH__BLOCK_BF16 ? MOH__BF16 : MOH__F32;
}

/* All parameters behind each other, each as in the file. */
static void describe(const moh__model *model, moh__block_type type,
                     moh__st_item *items, unsigned char *bytes) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    items[i] = (moh__st_item){.name = w->name,
                              .dtype = dtype_of(type),
                              .n_dims = w->n_dims,
                              .data = w->data};
    for (int d = 0; d < w->n_dims; d++) items[i].shape[d] = w->shape[d];
    if (type == MOH__BLOCK_F32) continue;
    moh__block_encode(type, w->data, w->n, bytes);
    items[i].data = bytes;
    bytes += (size_t)w->n * moh__block_bytes(type);
  }
}

static moh_status write_weights(const moh__model *model, moh__block_type type,
                                const char *path, const moh__watch *watch,
                                moh_error *err) {
  size_t n = (size_t)model->n_params, n_bytes = 1;
  for (size_t i = 0; i < n && type != MOH__BLOCK_F32; i++)
    n_bytes += (size_t)model->params[i].n * moh__block_bytes(type);
  moh__st_item *items = calloc(n + 1, sizeof(*items));
  unsigned char *bytes = malloc(n_bytes);
  json_t *metadata = json_pack("{s:s}", "format", "pt");
  moh_status status;
  if (items == NULL || bytes == NULL || metadata == NULL) {
    status = fail_memory(err);
  } else {
    describe(model, type, items, bytes);
    status =
        moh__safetensors_write_watched(path, items, n, metadata, watch, err);
  }
  json_decref(metadata);
  free(bytes);
  free(items);
  return status;
}

/* ---- the other files ---- */

/* Ids of tokens that the source's config.json has, where it has them. */
static int keep_ids(json_t *root, const json_t *source) {
  static const char *const keys[] = {"bos_token_id", "eos_token_id",
                                     "pad_token_id"};
  int failed = 0;
  for (int i = 0; i < 3; i++) {
    json_t *value = json_object_get(source, keys[i]);
    if (value != NULL) failed |= json_object_set(root, keys[i], value);
  }
  return failed;
}

static moh_status write_config(const moh__model *model, moh__block_type type,
                               const char *from, const char *to,
                               moh_error *err) {
  static const char *const names[] = {[MOH__BLOCK_F32] = "float32",
                                      [MOH__BLOCK_F16] = "float16",
                                      [MOH__BLOCK_BF16] = "bfloat16"};
  json_t *source;
  MOH_TRY(moh__json_load(&source, from, err));
  json_t *root = moh__config_to_json(&model->config);
  int failed =
      json_object_set_new(root, "torch_dtype", json_string(names[type])) |
      keep_ids(root, source);
  moh_status status =
      failed ? fail_memory(err) : moh__json_save(root, to, err);
  json_decref(root);
  json_decref(source);
  return status;
}

static moh_status copy_file(const char *from, const char *to,
                            moh_error *err) {
  moh__map map;
  if (access(from, F_OK) != 0) return MOH_OK;
  MOH_TRY(moh__map_open(&map, from, err));
  moh_status status = moh__write_file(to, map.bytes, map.size, err);
  moh__map_close(&map);
  return status;
}

/* ---- the whole ---- */

typedef struct export {
  const moh__model *model;
  moh__block_type weights;
  const char *from, *to;
  const moh__watch *watch;
}
export;

static moh_status write_one(const export *e, const char *name,
                            moh_error *err) {
  char *from = moh__path_join(e->from, name);
  char *to = moh__path_join(e->to, name);
  moh_status status;
  if (from == NULL || to == NULL)
    status = fail_memory(err);
  else if (strcmp(name, "model.safetensors") == 0)
    status = write_weights(e->model, e->weights, to, e->watch, err);
  else if (strcmp(name, "config.json") == 0)
    status = write_config(e->model, e->weights, from, to, err);
  else
    status = copy_file(from, to, err);
  free(from);
  free(to);
  return status;
}

/* The files that were written, and directories behind the first bytes of dir
 * that were there before. */
static void take_back(const char *dir, const char *const *names, size_t n,
                      size_t there) {
  for (size_t i = 0; i < n; i++) {
    char *path = moh__path_join(dir, names[i]);
    if (path != NULL) unlink(path);
    free(path);
  }
  moh__remove_dirs(dir, there);
}

moh_status moh__export_llama(const moh__model *model, const char *source,
                             moh__block_type weights, const char *dir,
                             const moh__watch *watch, moh_error *err) {
  static const char *const names[] = {
      "model.safetensors", "tokenizer.json", "tokenizer_config.json",
      "generation_config.json", "config.json"};
  const export e = {model, weights, source, dir, watch};
  MOH_TRY(moh__export_check(model, err));
  MOH_TRY(check_weights(model, weights, source, err));
  size_t n = sizeof(names) / sizeof(names[0]), done = 0;
  size_t there = moh__dir_front(dir);
  moh_status status = moh__make_dirs(dir, err);
  while (status == MOH_OK && done < n) {
    status = write_one(&e, names[done++], err);
    if (status == MOH_OK) status = moh__watch_ask(watch, 0, err);
  }
  if (status == MOH_OK) return MOH_OK;
  take_back(dir, names, done, there);
  return status;
}
