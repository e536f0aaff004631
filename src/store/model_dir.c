/*
 * Model directories. Saving writes every file into a staging directory
 * inside the model's own, so that a full disk or a crash while writing
 * costs nothing, and then moves them to their names; the old manifest goes
 * first and the new one comes last, so that a directory with a mixture of
 * old and new files has no manifest and is refused.
 */
#include "store/model_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "store/foreign.h"
#include "store/model_parts.h"
#include "store/tokenizer_dir.h"

static const char config_name[] = "config.json";
static const char weights_name[] = "model.safetensors";
static const char tokenizer_name[] = "tokenizer.json";
static const char chat_name[] = "tokenizer_config.json";
const char moh__model_staging[] = ".saving";

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a model");
}

/* ---- saving ---- */

/* config.json, with the end token where other programs expect it. */
static moh_status save_config(const moh__model *model,
                              const moh__tokenizer *tokenizer,
                              moh__block_type weights, const char *path,
                              moh_error *err) {
  json_t *root = moh__config_to_json(&model->config);
  if (root == NULL) return fail_memory(err);
  moh_status status = moh__put_token_ids(root, tokenizer, err);
  if (status == MOH_OK && moh__weights_describe(root, model, weights) != 0)
    status = fail_memory(err);
  if (status == MOH_OK) status = moh__json_save(root, path, err);
  json_decref(root);
  return status;
}

static moh_status save_chat(const moh__model *model,
                            const moh__tokenizer *tokenizer,
                            const char *path, moh_error *err) {
  json_t *root = json_pack("{s:s, s:I, s:s}", "tokenizer_class",
                           "PreTrainedTokenizerFast", "model_max_length",
                           (json_int_t)model->config.max_seq_len,
                           "chat_template", moh__chat_of(tokenizer));
  if (root == NULL) return fail_memory(err);
  moh_status status = moh__put_tokens(root, tokenizer, err);
  if (status == MOH_OK) status = moh__json_save(root, path, err);
  json_decref(root);
  return status;
}

static moh__block_type weights_of(const moh__model_note *note) {
  return note == NULL ? MOH__BLOCK_F32 : note->weights;
}

static const moh__watch *watch_of(const moh__model_note *note) {
  return note == NULL ? NULL : note->watch;
}

/* One file of a model, by its name. */
static moh_status save_file(const moh__model *model,
                            const moh__tokenizer *tokenizer,
                            const moh__model_note *note, const char *name,
                            const char *path, moh_error *err) {
  moh__block_type weights = weights_of(note);
  if (name == config_name)
    return save_config(model, tokenizer, weights, path, err);
  if (name == weights_name)
    return moh__weights_save(model, weights, path, watch_of(note), err);
  if (name == chat_name) return save_chat(model, tokenizer, path, err);
  return moh__tokenizer_save(tokenizer, path, err);
}

static json_t *manifest_fields(const moh__model *model,
                               const moh__model_note *note) {
  json_t *fields =
      json_pack("{s:I}", "parameters", (json_int_t)moh__model_count(model));
  int failed = 0;
  if (note != NULL)
    failed |=
        json_object_set_new(fields, "steps", json_integer(note->steps));
  if (note != NULL && note->description != NULL)
    failed |= json_object_set_new(fields, "description",
                                  json_string(note->description));
  if (note != NULL && note->pruning != NULL)
    failed |=
        json_object_set_new(fields, "pruning", json_deep_copy(note->pruning));
  if (note != NULL && note->upcycling != NULL)
    failed |= json_object_set_new(fields, "upcycling",
                                  json_deep_copy(note->upcycling));
  if (note != NULL && note->import != NULL)
    failed |=
        json_object_set_new(fields, "import", json_deep_copy(note->import));
  if (failed == 0) return fields;
  json_decref(fields);
  return NULL;
}

static moh_status stage(const moh__model *model,
                        const moh__tokenizer *tokenizer,
                        const moh__model_note *note, const char *staging,
                        const char *const *names, moh_error *err) {
  MOH_TRY(moh__make_dirs(staging, err));
  for (size_t i = 0; names[i] != NULL; i++) {
    char *path = moh__path_join(staging, names[i]);
    if (path == NULL) return fail_memory(err);
    moh_status status =
        save_file(model, tokenizer, note, names[i], path, err);
    free(path);
    MOH_TRY(status);
  }
  json_t *fields = manifest_fields(model, note);
  if (fields == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "out of memory, or a description that is not UTF-8");
  moh_status status = moh__manifest_write(staging, names, fields, err);
  json_decref(fields);
  return status == MOH_OK ? moh__watch_ask(watch_of(note), 0, err) : status;
}

static moh_status move_one(const char *staging, const char *dir,
                           const char *name, moh_error *err) {
  char *from = moh__path_join(staging, name);
  char *to = moh__path_join(dir, name);
  moh_status status = from == NULL || to == NULL
                          ? fail_memory(err)
                          : moh__move_file(from, to, err);
  free(from);
  free(to);
  return status;
}

/* From here on the old model is given up. */
static moh_status publish(const char *staging, const char *dir,
                          const char *const *names, moh_error *err) {
  char *old = moh__path_join(dir, moh__manifest_name);
  if (old == NULL) return fail_memory(err);
  moh_status status = moh__remove_file(old, err);
  free(old);
  for (size_t i = 0; status == MOH_OK && names[i] != NULL; i++)
    status = move_one(staging, dir, names[i], err);
  if (status == MOH_OK)
    status = move_one(staging, dir, moh__manifest_name, err);
  return status;
}

static void remove_one(const char *dir, const char *name) {
  char *path = moh__path_join(dir, name);
  if (path != NULL) unlink(path);
  free(path);
}

static void remove_files(const char *dir, const char *const *names) {
  for (size_t i = 0; names[i] != NULL; i++) remove_one(dir, names[i]);
  remove_one(dir, moh__manifest_name);
}

/* Removes what is left in the staging directory and, of a directory that was
 * made for a model which is not there now, all of it; `there`: bytes of its
 * path that were there before. */
static void clean_up(const char *staging, const char *dir, size_t there,
                     const char *const *names, bool failed) {
  remove_files(staging, names);
  rmdir(staging);
  if (!failed || there == strlen(dir)) return;
  remove_files(dir, names);
  moh__remove_dirs(dir, there);
}

/* What was trained has diverged; what was read is the file's fault. */
static moh_status check_weights(const moh__model *model,
                                const moh__model_note *note,
                                moh_error *err) {
  const char *source = note == NULL ? NULL : note->source;
  moh__block_type weights = weights_of(note);
  if (source == NULL) {
    MOH_TRY(moh__model_check_finite(model, err));
    if (weights == MOH__BLOCK_F32) return MOH_OK;
  }
  moh_status status = moh__weights_check(model, weights, err);
  if (status == MOH_OK || source == NULL) return status;
  return moh__fail_in(err, status, "%s", source);
}

moh_status moh__model_save(const moh__model *model,
                           const moh__tokenizer *tokenizer, const char *dir,
                           const moh__model_note *note, moh_error *err) {
  const char *names[] = {config_name, weights_name, tokenizer_name,
                         chat_name, NULL};
  if (tokenizer == NULL) names[2] = NULL;
  MOH_TRY(check_weights(model, note, err));
  char *staging = moh__path_join(dir, moh__model_staging);
  if (staging == NULL) return fail_memory(err);
  size_t there = moh__dir_front(dir);
  moh_status status = stage(model, tokenizer, note, staging, names, err);
  if (status == MOH_OK) status = publish(staging, dir, names, err);
  clean_up(staging, dir, there, names, status != MOH_OK);
  free(staging);
  return status;
}

/* ---- loading ---- */

moh_status moh__model_load_config(moh__config *config, const char *path,
                                  moh_error *err) {
  json_t *root = NULL;
  MOH_TRY(moh__json_load(&root, path, err));
  moh_status status = moh__config_from_json(config, root, err);
  json_decref(root);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

/* The files that the manifest lists are there, and the needed ones listed.
 */
static moh_status check_dir(const char *dir, bool verify,
                            bool *has_tokenizer, moh_error *err) {
  json_t *manifest = NULL;
  MOH_TRY(moh__manifest_check(dir, verify, &manifest, err));
  const json_t *files = json_object_get(manifest, "files");
  bool whole = json_object_get(files, config_name) != NULL &&
               json_object_get(files, weights_name) != NULL;
  *has_tokenizer = json_object_get(files, tokenizer_name) != NULL;
  json_decref(manifest);
  if (whole) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s/%s lists no %s or no %s: it is no model directory",
                   dir, moh__manifest_name, config_name, weights_name);
}

static moh_status check_size(moh__tokenizer **tokenizer, const char *path,
                             int64_t vocab_size, moh_error *err) {
  int32_t n = moh__tokenizer_size(*tokenizer);
  if (n <= vocab_size) return MOH_OK;
  moh__tokenizer_free(*tokenizer);
  *tokenizer = NULL;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: the tokenizer has %" PRId32
                   " tokens, but the model's vocab_size is %" PRId64,
                   path, n, vocab_size);
}

moh_status moh__model_load_tokenizer(moh__tokenizer **tokenizer,
                                     const char *path, int64_t vocab_size,
                                     moh_error *err) {
  MOH_TRY(moh__tokenizer_load(tokenizer, path, err));
  return check_size(tokenizer, path, vocab_size, err);
}

moh_status moh__model_load_tokenizer_dir(moh__tokenizer **tokenizer,
                                         const char *dir, int64_t vocab_size,
                                         moh_error *err) {
  MOH_TRY(moh__tokenizer_load_dir(tokenizer, dir, err));
  return check_size(tokenizer, dir, vocab_size, err);
}

/* The paths of a directory's files. */
typedef struct paths {
  const char *dir;
  char *config, *weights;
} paths;

static void paths_free(paths *p) {
  free(p->config);
  free(p->weights);
}

static moh_status paths_make(paths *p, const char *dir, moh_error *err) {
  p->dir = dir;
  p->config = moh__path_join(dir, config_name);
  p->weights = moh__path_join(dir, weights_name);
  if (p->config != NULL && p->weights != NULL) return MOH_OK;
  paths_free(p);
  return fail_memory(err);
}

/* tokenizer is NULL when it is not wanted or not there. On failure what was
 * made already is left to the caller. */
static moh_status load_parts(const paths *p, moh__load_options options,
                             moh__model **model, moh__tokenizer **tokenizer,
                             moh_error *err) {
  moh__config config;
  MOH_TRY(moh__model_load_config(&config, p->config, err));
  MOH_TRY(moh__arch_model(model, &config, err));
  MOH_TRY(moh__weights_load(*model, p->weights, options, err));
  moh_status status = moh__model_make_tables(*model, err);
  if (status != MOH_OK) return moh__fail_in(err, status, "%s", p->config);
  if (tokenizer == NULL) return MOH_OK;
  return moh__model_load_tokenizer_dir(tokenizer, p->dir, config.vocab_size,
                                       err);
}

moh_status moh__model_load(moh__model **model, moh__tokenizer **tokenizer,
                           const char *dir, moh__load_options options,
                           moh_error *err) {
  bool has_tokenizer;
  paths p;
  *model = NULL;
  if (tokenizer != NULL) *tokenizer = NULL;
  MOH_TRY(moh__refuse_foreign(dir, err));
  MOH_TRY(check_dir(dir, options.verify, &has_tokenizer, err));
  MOH_TRY(paths_make(&p, dir, err));
  moh_status status = load_parts(&p, options, model,
                                 has_tokenizer ? tokenizer : NULL, err);
  paths_free(&p);
  if (status == MOH_OK) return MOH_OK;
  moh__model_free(*model);
  *model = NULL;
  return status;
}
