/*
 * Reading checkpoints. Nothing is believed: hashes are compared first, then
 * every field of state.json and every tensor of the moments is checked
 * against the model, the options and the data of the trainer that is to go
 * on.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "store/model_dir.h"
#include "train/trainer_internal.h"

/* ---- state.json ---- */

static moh_status read_extra(moh__checkpoint *c, moh_error *err) {
  c->extra = json_object_get(c->state, "extra");
  if (json_is_null(c->extra)) c->extra = NULL;
  if (c->extra == NULL || json_is_object(c->extra)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "\"extra\" must be an object");
}

static moh_status read_state(moh__checkpoint *c, moh_error *err) {
  int64_t drawn;
  moh__outliers outliers; /* checked here, taken when a trainer goes on */
  static const int64_t most = INT64_C(1) << 40;
  MOH_TRY(
      moh__json_get_int(c->state, "n_steps", 1, most, &c->n_steps, err));
  MOH_TRY(
      moh__json_get_int(c->state, "step", 0, c->n_steps, &c->step, err));
  MOH_TRY(moh__train_options_from_json(
      &c->options, json_object_get(c->state, "options"), err));
  int64_t per_step = (int64_t)c->options.batch * c->options.accumulate;
  MOH_TRY(moh__json_get_int(c->state, "drawn", 0, INT64_MAX, &drawn, err));
  if (drawn % per_step != 0 || drawn / per_step != c->step)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"drawn\" is %" PRId64 ", which is not %" PRId64
                     " steps of %" PRId64 " sequences",
                     drawn, c->step, per_step);
  MOH_TRY(
      moh__json_get_int(c->state, "updates", 0, c->step, &c->updates, err));
  MOH_TRY(moh__outliers_from_json(
      &outliers, json_object_get(c->state, "outliers"), err));
  if (!json_is_array(json_object_get(c->state, "data")))
    return moh__fail(err, MOH_ERR_FORMAT, "\"data\" must be an array");
  return read_extra(c, err);
}

moh_status moh__checkpoint_parse(moh__checkpoint *c, const char *bytes,
                                 size_t n, const char *name,
                                 moh_error *err) {
  *c = (moh__checkpoint){.dir = NULL};
  MOH_TRY(moh__json_parse(&c->state, bytes, n, name, err));
  moh_status status =
      json_is_object(c->state)
          ? read_state(c, err)
          : moh__fail(err, MOH_ERR_FORMAT, "the state must be an object");
  if (status == MOH_OK) return MOH_OK;
  moh__checkpoint_close(c);
  return moh__fail_in(err, status, "%s", name);
}

static moh_status load_state(moh__checkpoint *c, const char *path,
                             moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__checkpoint_parse(c, (const char *)map.bytes,
                                            map.size, path, err);
  moh__map_close(&map);
  return status;
}

moh_status moh__checkpoint_open(moh__checkpoint *c, const char *dir,
                                moh_error *err) {
  *c = (moh__checkpoint){.dir = NULL};
  MOH_TRY(moh__manifest_check(dir, true, NULL, err));
  char *path = moh__path_join(dir, "state.json");
  char *copy = strdup(dir);
  moh_status status =
      path != NULL && copy != NULL
          ? load_state(c, path, err)
          : moh__fail(err, MOH_ERR_MEMORY, "no memory for a checkpoint");
  free(path);
  if (status == MOH_OK)
    c->dir = copy;
  else
    free(copy);
  return status;
}

void moh__checkpoint_close(moh__checkpoint *c) {
  json_decref(c->state);
  free(c->dir);
  *c = (moh__checkpoint){.dir = NULL};
}

/* ---- moments ---- */

static bool same_shape(const moh__param *w, const moh__st_tensor *tensor) {
  return w->n_dims == tensor->n_dims &&
         memcmp(w->shape, tensor->shape,
                (size_t)w->n_dims * sizeof(w->shape[0])) == 0;
}

/* The file, and how many of its tensors were asked for. */
typedef struct reader {
  const moh__safetensors *file;
  size_t n_read;
} reader;

static moh_status read_moment(void *context, const char *name,
                              const moh__param *w, real *data,
                              moh_error *err) {
  reader *r = context;
  const moh__st_tensor *tensor = moh__safetensors_find(r->file, name);
  if (tensor == NULL)
    return moh__fail(err, MOH_ERR_FORMAT, "the tensor %s is missing", name);
  if (tensor->dtype != MOH__F32 || !same_shape(w, tensor))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the tensor %s has another shape or type than the "
                     "model's",
                     name);
  memcpy(data, tensor->data, tensor->n_bytes);
  r->n_read++;
  return MOH_OK;
}

static moh_status load_moments(const moh__trainer *t, const char *path,
                               moh_error *err) {
  moh__safetensors *file;
  MOH_TRY(moh__safetensors_open(&file, path, err));
  reader r = {file, 0};
  moh_status status = moh__trainer_each_moment(t, read_moment, &r, err);
  if (status == MOH_OK && r.n_read != file->n_tensors)
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "%zu tensors, but the optimizer has %zu",
                       file->n_tensors, r.n_read);
  moh__safetensors_close(file);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

/* ---- going on ---- */

static moh_status check_options(const moh__trainer *t,
                                const moh__checkpoint *c, moh_error *err) {
  json_t *own = moh__train_options_json(&t->options);
  json_t *saved = moh__train_options_json(&c->options);
  bool same = own != NULL && json_equal(own, saved) == 1;
  json_decref(own);
  json_decref(saved);
  if (same) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s was made with other training options", c->dir);
}

static moh_status check_data(moh__trainer *t, const moh__checkpoint *c,
                             moh_error *err) {
  const json_t *hashes = moh__trainer_data_hashes(t, err);
  if (hashes == NULL) return err == NULL ? MOH_ERR_MEMORY : err->status;
  if (json_equal(hashes, json_object_get(c->state, "data")) &&
      t->n_steps == c->n_steps)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the data are not those that %s was trained on: they "
                   "were changed, or are read in another way",
                   c->dir);
}

moh_status moh__trainer_restore(moh__trainer *t, const moh__checkpoint *c,
                                moh_error *err) {
  MOH_TRY(check_options(t, c, err));
  MOH_TRY(check_data(t, c, err));
  char *path = moh__path_join(c->dir, "optimizer.safetensors");
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = load_moments(t, path, err);
  free(path);
  MOH_TRY(status);
  MOH_TRY(moh__outliers_from_json(
      &t->outliers, json_object_get(c->state, "outliers"), err));
  t->step = c->step;
  moh__optimizer_set_steps(t->optimizer, c->updates);
  if (t->lora != NULL) {
    moh__optimizer_set_steps(t->lora_optimizer, c->updates);
    moh__lora_pack(t->lora, t->pool);
  }
  moh__batcher_seek(&t->batcher,
                    c->step * t->options.batch * t->options.accumulate);
  return MOH_OK;
}
