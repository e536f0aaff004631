/*
 * Checkpoints: a model directory with the optimizer's moments and the
 * trainer's counters beside it. It is written under a temporary name and then
 * renamed, so a directory that has its name is whole.
 *
 * state.json needs no random state: generators are functions of the seed and
 * of counters.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "store/model_dir.h"
#include "train/trainer_internal.h"

/* "m.<name>", "v.<name>" and with AMSGrad "x.<name>" (the largest v) of every
 * trained tensor. */
typedef struct moments {
  moh__st_item *items;
  char (*names)[MOH__NAME_MAX + 2];
  size_t n;
} moments;

static void add_moment(moments *all, const moh__param *w, char kind,
                       const real *data) {
  moh__st_item *item = &all->items[all->n];
  char *name = all->names[all->n++];
  snprintf(name, sizeof(all->names[0]), "%c.%s", kind, w->name);
  item->name = name;
  item->dtype = sizeof(real) == sizeof(float) ? MOH__F32 : MOH__F64;
  item->n_dims = w->n_dims;
  memcpy(item->shape, w->shape, sizeof(w->shape));
  item->data = data;
}

static moh_status save_moments(const moh__trainer *t, const char *path,
                               moh_error *err) {
  size_t n = (size_t)t->model->n_params * 3;
  moments all = {.items = calloc(n, sizeof(moh__st_item)),
                 .names = calloc(n, sizeof(all.names[0]))};
  moh_status status = MOH_OK;
  if (all.items == NULL || all.names == NULL)
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for a checkpoint");
  for (int i = 0; status == MOH_OK && i < t->model->n_params; i++) {
    const moh__param *w = &t->model->params[i];
    if (w->grad == NULL) continue;
    add_moment(&all, w, 'm', moh__optimizer_m(t->optimizer, w));
    add_moment(&all, w, 'v', moh__optimizer_v(t->optimizer, w));
    if (t->options.amsgrad)
      add_moment(&all, w, 'x', moh__optimizer_v_max(t->optimizer, w));
  }
  if (status == MOH_OK)
    status = moh__safetensors_write(path, all.items, all.n, NULL, err);
  free(all.items);
  free(all.names);
  return status;
}

static json_t *options_json(const moh__train_options *o) {
  return json_pack(
      "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:i, s:i, "
      "s:i, s:f, s:I, s:b, s:b}",
      "lr", o->lr, "lr_final", o->lr_final, "warmup", o->warmup, "beta1",
      o->beta1, "beta2", o->beta2, "eps", o->eps, "weight_decay",
      o->weight_decay, "clip", o->clip, "router_lr", o->router_lr, "epochs",
      (json_int_t)o->epochs, "steps", (json_int_t)o->steps, "batch",
      o->batch, "accumulate", o->accumulate, "context", o->context,
      "mix_share", o->mix_share, "seed", (json_int_t)o->seed, "l2", o->l2,
      "amsgrad", o->amsgrad);
}

static moh_status save_state(const moh__trainer *t, const char *path,
                             moh_error *err) {
  json_t *options = options_json(&t->options);
  json_t *state = json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:o*}", "step",
      (json_int_t)moh__trainer_step_number(t), "n_steps",
      (json_int_t)t->n_steps, "drawn", (json_int_t)t->batcher.n_drawn,
      "drawn_main", (json_int_t)t->batcher.main.n_drawn, "drawn_mix",
      (json_int_t)t->batcher.mix.n_drawn, "options", options);
  if (state == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a checkpoint");
  moh_status status = moh__json_save(state, path, err);
  json_decref(state);
  return status;
}

static moh_status save_file(const moh__trainer *t, const char *dir,
                            const char *name,
                            moh_status (*save)(const moh__trainer *,
                                               const char *, moh_error *),
                            moh_error *err) {
  char *path = moh__path_join(dir, name);
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  moh_status status = save(t, path, err);
  free(path);
  return status;
}

static moh_status save_all(const moh__trainer *t,
                           const moh__tokenizer *tokenizer, const char *dir,
                           moh_error *err) {
  static const char *const with_tokenizer[] = {
      "config.json",           "model.safetensors", "tokenizer.json",
      "tokenizer_config.json", "optimizer.safetensors", "state.json", NULL};
  static const char *const without[] = {"config.json", "model.safetensors",
                                        "optimizer.safetensors",
                                        "state.json", NULL};
  moh__model_note note = {.steps = moh__trainer_step_number(t)};
  MOH_TRY(moh__model_save(t->model, tokenizer, dir, &note, err));
  MOH_TRY(save_file(t, dir, "optimizer.safetensors", save_moments, err));
  MOH_TRY(save_file(t, dir, "state.json", save_state, err));
  return moh__manifest_write(
      dir, tokenizer == NULL ? without : with_tokenizer, NULL, err);
}

moh_status moh__trainer_checkpoint(const moh__trainer *t,
                                   const moh__tokenizer *tokenizer,
                                   const char *dir, moh_error *err) {
  size_t n = strlen(dir) + sizeof(".part");
  char *part = malloc(n);
  if (part == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  snprintf(part, n, "%s.part", dir);
  moh_status status = save_all(t, tokenizer, part, err);
  if (status == MOH_OK && rename(part, dir) != 0)
    status = moh__fail(err, MOH_ERR_IO, "cannot rename %s to %s: %s", part,
                       dir, strerror(errno));
  free(part);
  return status;
}
