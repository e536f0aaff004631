/*
 * Directories of the LLaMA family as other programs write them: config.json,
 * tensors in one file or several, tokenizer.json and a chat template. Tensors
 * have our names already. Two kinds are there and not used: tables of rotary
 * positions that older files keep, and the output matrix of a model that ties
 * it to its embedding.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/json.h"
#include "format/safetensors_set.h"
#include "model/config_family.h"
#include "store/fit.h"
#include "store/import.h"
#include "store/model_parts.h"

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for an import");
}

/* ---- tensors ---- */

static bool is_unused(const moh__config *c, const char *name) {
  static const char table[] = ".rotary_emb.inv_freq";
  size_t n = strlen(name), m = strlen(table);
  if (n > m && strcmp(name + n - m, table) == 0) return true;
  return c->tied && strcmp(name, "lm_head.weight") == 0;
}

static moh_status check_known(const moh__model *model,
                              const moh__safetensors *file, const char *path,
                              moh_error *err) {
  for (size_t i = 0; i < file->n_tensors; i++) {
    const char *name = file->tensors[i].name;
    if (!is_unused(&model->config, name) &&
        moh__model_param(model, name) == NULL)
      return moh__fail(err, MOH_ERR_UNSUPPORTED,
                       "%s: the tensor '%.100s' is unknown to a model as "
                       "config.json describes it",
                       path, name);
  }
  return MOH_OK;
}

/* All are there, of the right shapes, before there is memory for them. */
static moh_status check_tensors(const moh__model *model,
                                const moh__st_set *set, const char *dir,
                                moh_error *err) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    const char *path = dir;
    const moh__st_tensor *tensor = moh__st_set_find(set, w->name, &path);
    moh_status status = moh__model_check_tensor(w, tensor, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "%s", path);
  }
  for (size_t i = 0; i < set->n_files; i++)
    MOH_TRY(check_known(model, set->files[i], set->paths[i], err));
  return MOH_OK;
}

static void copy_tensor(moh__param *w, const moh__st_tensor *tensor) {
  static const moh__block_type types[] = {[MOH__F32] = MOH__BLOCK_F32,
                                          [MOH__F16] = MOH__BLOCK_F16,
                                          [MOH__BF16] = MOH__BLOCK_BF16};
  if (tensor->dtype != MOH__F64) {
    moh__block_decode(types[tensor->dtype], tensor->data, w->n, w->data);
    return;
  }
  for (int64_t i = 0; i < w->n; i++)
    w->data[i] = (real)moh__st_number(tensor, i);
}

static moh_status fill(moh__model *model, const moh__st_set *set,
                       moh_error *err) {
  MOH_TRY(moh__model_alloc_data(model, err));
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    const char *path;
    copy_tensor(w, moh__st_set_find(set, w->name, &path));
    moh_status status = moh__check_fit(w, MOH__BLOCK_F32, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "%s", path);
  }
  return MOH_OK;
}

/* The type of all matrices, f32 where they differ. */
static moh__block_type type_of(const moh__model *model,
                               const moh__st_set *set) {
  bool half = true, brain = true;
  for (int i = 0; i < model->n_params; i++) {
    if (model->params[i].n_dims == 1) continue;
    moh__dtype type =
        moh__st_set_find(set, model->params[i].name, NULL)->dtype;
    half = half && type == MOH__F16;
    brain = brain && type == MOH__BF16;
  }
  if (half) return MOH__BLOCK_F16;
  return brain ? MOH__BLOCK_BF16 : MOH__BLOCK_F32;
}

static moh_status read_weights(moh__imported *out, const char *dir,
                               moh_error *err) {
  moh__st_set set;
  MOH_TRY(moh__st_set_open(&set, dir, err));
  moh_status status = check_tensors(out->model, &set, dir, err);
  if (status == MOH_OK) {
    out->weights = type_of(out->model, &set);
    status = fill(out->model, &set, err);
  }
  moh__st_set_close(&set);
  return status;
}

/* ---- what comes with them ---- */

typedef struct paths {
  char *config, *tokenizer;
} paths;

static void paths_free(paths *p) {
  free(p->config);
  free(p->tokenizer);
}

static paths paths_make(const char *dir) {
  return (paths){moh__path_join(dir, "config.json"),
                 moh__path_join(dir, "tokenizer.json")};
}

static moh_status read_tokenizer(moh__imported *out, const char *dir,
                                 const paths *p, moh_error *err) {
  if (access(p->tokenizer, F_OK) != 0) return MOH_OK;
  return moh__model_load_tokenizer_dir(&out->tokenizer, dir,
                                       out->model->config.vocab_size, err);
}

/* ---- the whole ---- */

/* The directory is there, so its files should be. */
static moh_status read_config(moh__config *config, const char *path,
                              moh_error *err) {
  if (access(path, F_OK) != 0 && errno == ENOENT)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: is missing: there is no model in this directory",
                     path);
  MOH_TRY(moh__model_load_config(config, path, err));
  if (moh__config_family(config) != MOH__FAMILY_NONE) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "%s: describes a model of moh itself, which needs no "
                   "import",
                   path);
}

static moh_status read_all(moh__imported *out, const char *dir,
                           const paths *p, moh_error *err) {
  moh__config config;
  if (p->config == NULL || p->tokenizer == NULL) return fail_memory(err);
  MOH_TRY(read_config(&config, p->config, err));
  MOH_TRY(moh__arch_model(&out->model, &config, err));
  MOH_TRY(read_weights(out, dir, err));
  moh_status status = moh__model_make_tables(out->model, err);
  if (status != MOH_OK) return moh__fail_in(err, status, "%s", p->config);
  return read_tokenizer(out, dir, p, err);
}

moh_status moh__import_llama(moh__imported *out, const char *path,
                             moh_error *err) {
  *out = (moh__imported){.model = NULL};
  paths p = paths_make(path);
  moh_status status = read_all(out, path, &p, err);
  paths_free(&p);
  if (status != MOH_OK) moh__imported_free(out);
  return status;
}
