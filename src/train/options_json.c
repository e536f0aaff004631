/* Training options as JSON, for run.json and checkpoints, and back. */
#include <inttypes.h>
#include <math.h>

#include "base/json.h"
#include "train/trainer.h"

json_t *moh__train_options_json(const moh__train_options *o) {
  return json_pack(
      "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:i, s:i, "
      "s:i, s:f, s:I, s:b, s:b, s:f, s:s, s:b, s:s*, s:f, s:f, s:b, s:I, "
      "s:f, s:i, s:f, s:s*}",
      "lr", o->lr, "lr_final", o->lr_final, "warmup", o->warmup, "beta1",
      o->beta1, "beta2", o->beta2, "eps", o->eps, "weight_decay",
      o->weight_decay, "clip", o->clip, "router_lr", o->router_lr, "epochs",
      (json_int_t)o->epochs, "steps", (json_int_t)o->steps, "batch", o->batch,
      "accumulate", o->accumulate, "context", o->context, "mix_share",
      o->mix_share, "seed", (json_int_t)o->seed, "l2", o->l2, "amsgrad",
      o->amsgrad, "skip_outliers", o->skip_outliers, "precision",
      moh__precision_names[o->precision], "recompute", o->recompute, "freeze",
      o->freeze, "anomaly", o->anomaly, "agc", o->agc, "centralize",
      o->centralize, "heads_warmup", (json_int_t)o->heads_warmup,
      "target_heads", o->target_heads, "lora_rank", o->lora_rank,
      "lora_alpha", o->lora_alpha, "lora_on", o->lora_on);
}

/* Borrowed from the JSON; NULL when it is not there. */
static moh_status get_late_text(const json_t *json, const char *key,
                                const char **text, moh_error *err) {
  if (json_object_get(json, key) == NULL) return MOH_OK;
  return moh__json_get_string(json, key, text, err);
}

/* f32 where it is not there: earlier versions had no other. */
static moh_status get_precision(moh__train_options *o, const json_t *json,
                                moh_error *err) {
  const char *name;
  if (json_object_get(json, "precision") == NULL) return MOH_OK;
  MOH_TRY(moh__json_get_string(json, "precision", &name, err));
  if (moh__precision_find(name, &o->precision) &&
      moh__precision_trains(o->precision))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "\"precision\" is '%s', neither f32 nor bf16", name);
}

/* False where it is not there. */
static moh_status get_late_bool(const json_t *json, const char *key,
                                bool *value, moh_error *err) {
  *value = false;
  if (json_object_get(json, key) == NULL) return MOH_OK;
  return moh__json_get_bool(json, key, value, err);
}

/* A number from 0 on; what is too large shows when a trainer is made. */
static moh_status get_real(const json_t *json, const char *key, double *value,
                           moh_error *err) {
  MOH_TRY(moh__json_get_real(json, key, value, err));
  if (*value >= 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" is %g, less than 0", key,
                   *value);
}

/* 0 where it is not there: earlier versions had no such thing. */
static moh_status get_late_real(const json_t *json, const char *key,
                                double *value, moh_error *err) {
  *value = 0;
  if (json_object_get(json, key) == NULL) return MOH_OK;
  return get_real(json, key, value, err);
}

static moh_status get_late_int(const json_t *json, const char *key,
                               int64_t *value, moh_error *err) {
  *value = 0;
  if (json_object_get(json, key) == NULL) return MOH_OK;
  return moh__json_get_int(json, key, 0, INT64_C(1) << 40, value, err);
}

static moh_status get_int32(const json_t *json, const char *key,
                            int32_t *value, moh_error *err) {
  int64_t wide;
  MOH_TRY(moh__json_get_int(json, key, 1, 1 << 20, &wide, err));
  *value = (int32_t)wide;
  return MOH_OK;
}

static moh_status get_counts(moh__train_options *o, const json_t *json,
                             moh_error *err) {
  int64_t seed;
  static const int64_t most = INT64_C(1) << 40;
  MOH_TRY(moh__json_get_int(json, "epochs", 0, most, &o->epochs, err));
  MOH_TRY(moh__json_get_int(json, "steps", 0, most, &o->steps, err));
  MOH_TRY(get_int32(json, "batch", &o->batch, err));
  MOH_TRY(get_int32(json, "accumulate", &o->accumulate, err));
  MOH_TRY(get_int32(json, "context", &o->context, err));
  MOH_TRY(moh__json_get_int(json, "seed", INT64_MIN, INT64_MAX, &seed, err));
  o->seed = (uint64_t)seed;
  return MOH_OK;
}

static moh_status get_lora(moh__train_options *o, const json_t *json,
                           moh_error *err) {
  int64_t rank = 0;
  if (json_object_get(json, "lora_rank") != NULL)
    MOH_TRY(
        moh__json_get_int(json, "lora_rank", 0, 1 << 12, &rank, err));
  o->lora_rank = (int32_t)rank;
  MOH_TRY(get_late_real(json, "lora_alpha", &o->lora_alpha, err));
  return get_late_text(json, "lora_on", &o->lora_on, err);
}

moh_status moh__train_options_from_json(moh__train_options *o,
                                        const json_t *json, moh_error *err) {
  if (!json_is_object(json))
    return moh__fail(err, MOH_ERR_FORMAT, "\"options\" must be an object");
  moh__train_options_default(o);
  const struct {
    const char *key;
    double *value;
  } reals[] = {{"lr", &o->lr},
               {"lr_final", &o->lr_final},
               {"warmup", &o->warmup},
               {"beta1", &o->beta1},
               {"beta2", &o->beta2},
               {"eps", &o->eps},
               {"weight_decay", &o->weight_decay},
               {"clip", &o->clip},
               {"router_lr", &o->router_lr},
               {"mix_share", &o->mix_share},
               {"skip_outliers", &o->skip_outliers}};
  for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++)
    MOH_TRY(get_real(json, reals[i].key, reals[i].value, err));
  MOH_TRY(get_counts(o, json, err));
  MOH_TRY(get_late_text(json, "freeze", &o->freeze, err));
  MOH_TRY(get_lora(o, json, err));
  MOH_TRY(get_precision(o, json, err));
  MOH_TRY(get_late_bool(json, "recompute", &o->recompute, err));
  MOH_TRY(get_late_bool(json, "centralize", &o->centralize, err));
  MOH_TRY(get_late_real(json, "anomaly", &o->anomaly, err));
  MOH_TRY(get_late_real(json, "agc", &o->agc, err));
  MOH_TRY(get_late_int(json, "heads_warmup", &o->heads_warmup, err));
  MOH_TRY(get_late_real(json, "target_heads", &o->target_heads, err));
  MOH_TRY(moh__json_get_bool(json, "l2", &o->l2, err));
  return moh__json_get_bool(json, "amsgrad", &o->amsgrad, err);
}
