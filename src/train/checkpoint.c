/*
 * Writing checkpoints: a model directory with the optimizer's moments and
 * the trainer's counters beside it. It is written under a temporary name
 * and then renamed, so a directory that has its name is whole.
 *
 * state.json needs no random state: generators are functions of the seed
 * and of counters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "store/model_dir.h"
#include "train/trainer_internal.h"

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a checkpoint");
}

/* ---- what the data is known by ---- */

static moh_status add_hash(json_t *hashes, const moh__dataset *dataset,
                           moh_error *err) {
  char hex[MOH__SHA256_HEX];
  if (dataset == NULL) return MOH_OK;
  MOH_TRY(moh__dataset_fingerprint(dataset, hex, err));
  if (json_array_append_new(hashes, json_string(hex)) == 0) return MOH_OK;
  return fail_memory(err);
}

const json_t *moh__trainer_data_hashes(moh__trainer *t, moh_error *err) {
  if (t->data_hashes != NULL) return t->data_hashes;
  json_t *hashes = json_array();
  moh_status status = add_hash(hashes, t->batcher.main.dataset, err);
  if (status == MOH_OK)
    status = add_hash(hashes, t->batcher.mix.dataset, err);
  if (status == MOH_OK) t->data_hashes = json_incref(hashes);
  json_decref(hashes);
  return t->data_hashes;
}

/* ---- moments, and adapters ---- */

enum { MOMENTS = 4 }; /* of a tensor, at most */

/* own: the weights of the model themselves, too. */
static moh_status each_moment(const moh__model *model,
                              const moh__optimizer *optimizer, bool own,
                              moh__moment_fn *fn, void *context,
                              moh_error *err) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    const struct {
      char kind;
      real *data;
    } moments[MOMENTS] = {{'m', moh__optimizer_m(optimizer, w)},
                          {'v', moh__optimizer_v(optimizer, w)},
                          {'x', moh__optimizer_v_max(optimizer, w)},
                          {'w', own ? w->data : NULL}};
    for (int j = 0; j < MOMENTS; j++) {
      char name[MOH__NAME_MAX + 2];
      if (moments[j].data == NULL) continue;
      snprintf(name, sizeof(name), "%c.%s", moments[j].kind, w->name);
      MOH_TRY(fn(context, name, w, moments[j].data, err));
    }
  }
  return MOH_OK;
}

moh_status moh__trainer_each_moment(const moh__trainer *t,
                                    moh__moment_fn *fn, void *context,
                                    moh_error *err) {
  MOH_TRY(each_moment(t->model, t->optimizer, false, fn, context, err));
  if (t->lora == NULL) return MOH_OK;
  return each_moment(moh__lora_params(t->lora), t->lora_optimizer, true, fn,
                     context, err);
}

/* Items and the texts of their names. */
typedef struct moments {
  moh__st_item *items;
  char (*names)[MOH__NAME_MAX + 2];
  size_t n;
} moments;

static moh_status add_moment(void *context, const char *name,
                             const moh__param *w, real *data,
                             moh_error *err) {
  (void)err;
  moments *all = context;
  moh__st_item *item = &all->items[all->n];
  snprintf(all->names[all->n], sizeof(all->names[0]), "%s", name);
  item->name = all->names[all->n++];
  item->dtype = sizeof(real) == sizeof(float) ? MOH__F32 : MOH__F64;
  item->n_dims = w->n_dims;
  memcpy(item->shape, w->shape, sizeof(w->shape));
  item->data = data;
  return MOH_OK;
}

static moh_status save_moments(const moh__trainer *t, const char *path,
                               moh_error *err) {
  size_t n = (size_t)t->model->n_params;
  if (t->lora != NULL) n += (size_t)moh__lora_params(t->lora)->n_params;
  n *= MOMENTS;
  moments all = {.items = calloc(n, sizeof(moh__st_item)),
                 .names = calloc(n, sizeof(all.names[0]))};
  moh_status status = MOH_OK;
  if (all.items == NULL || all.names == NULL) status = fail_memory(err);
  if (status == MOH_OK)
    status = moh__trainer_each_moment(t, add_moment, &all, err);
  if (status == MOH_OK)
    status = moh__safetensors_write(path, all.items, all.n, NULL, err);
  free(all.items);
  free(all.names);
  return status;
}

/* ---- the state ---- */

static moh_status save_state(moh__trainer *t, const char *path,
                             const json_t *extra, moh_error *err) {
  const json_t *hashes = moh__trainer_data_hashes(t, err);
  if (hashes == NULL) return err == NULL ? MOH_ERR_MEMORY : err->status;
  json_t *state =
      json_pack("{s:I, s:I, s:I, s:I, s:O, s:o, s:o, s:O?}", "step",
                (json_int_t)moh__trainer_step_number(t), "n_steps",
                (json_int_t)t->n_steps, "updates",
                (json_int_t)moh__optimizer_steps(t->optimizer), "drawn",
                (json_int_t)t->batcher.n_drawn, "data", hashes, "options",
                moh__train_options_json(&t->options), "outliers",
                moh__outliers_to_json(&t->outliers), "extra", extra);
  if (state == NULL) return fail_memory(err);
  moh_status status = moh__json_save(state, path, err);
  json_decref(state);
  return status;
}

/* ---- the directory ---- */

static moh_status save_parts(moh__trainer *t, const char *dir,
                             const json_t *extra, moh_error *err) {
  char *tensors = moh__path_join(dir, "optimizer.safetensors");
  char *state = moh__path_join(dir, "state.json");
  moh_status status = MOH_OK;
  if (tensors == NULL || state == NULL) status = fail_memory(err);
  if (status == MOH_OK) status = save_moments(t, tensors, err);
  if (status == MOH_OK) status = save_state(t, state, extra, err);
  free(tensors);
  free(state);
  return status;
}

static moh_status save_all(moh__trainer *t, const moh__tokenizer *tokenizer,
                           const char *dir, const json_t *extra,
                           moh_error *err) {
  static const char *const with_tokenizer[] = {"config.json",
                                               "model.safetensors",
                                               "tokenizer.json",
                                               "tokenizer_config.json",
                                               "optimizer.safetensors",
                                               "state.json",
                                               NULL};
  static const char *const without[] = {"config.json", "model.safetensors",
                                        "optimizer.safetensors",
                                        "state.json", NULL};
  moh__model_note note = {.steps = moh__trainer_step_number(t)};
  MOH_TRY(moh__model_save(t->model, tokenizer, dir, &note, err));
  MOH_TRY(save_parts(t, dir, extra, err));
  return moh__manifest_write(
      dir, tokenizer == NULL ? without : with_tokenizer, NULL, err);
}

moh_status moh__trainer_checkpoint(moh__trainer *t,
                                   const moh__tokenizer *tokenizer,
                                   const char *dir, const json_t *extra,
                                   moh_error *err) {
  char *part = NULL;
  if (asprintf(&part, "%s.part", dir) < 0) return fail_memory(err);
  moh_status status = moh__remove_tree(part, err);
  if (status == MOH_OK) status = save_all(t, tokenizer, part, extra, err);
  if (status == MOH_OK) status = moh__replace_dir(part, dir, err);
  if (status != MOH_OK) moh__remove_tree(part, NULL);
  free(part);
  return status;
}
