/* A step's report as a line of log.jsonl. */
#include <math.h>

#include "train/trainer.h"

static json_t *layer_json(const moh__layer_load *layer) {
  json_t *load = json_array();
  for (int32_t h = 0; h < layer->n_routed; h++)
    json_array_append_new(load, json_real((double)layer->load[h]));
  json_t *json =
      json_pack("{s:f, s:f, s:i, s:f, s:o}", "balance", layer->balance,
                "entropy", layer->entropy, "dead", layer->n_dead, "per_token",
                layer->per_token, "load", load);
  if (!isnan(layer->mass))
    json_object_set_new(json, "mass", json_real(layer->mass));
  return json;
}

static json_t *windows_json(const moh__step_report *r) {
  json_t *windows = json_array();
  for (int32_t i = 0; i < r->n_windows; i++)
    json_array_append_new(windows, json_integer(r->windows[i]));
  return windows;
}

static void set_layers(json_t *json, const char *key,
                       const moh__layer_load *layers, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; i < n; i++)
    json_array_append_new(array, layer_json(&layers[i]));
  json_object_set_new(json, key, array);
}

json_t *moh__step_report_json(const moh__step_report *r) {
  json_t *json = json_pack(
      "{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f}", "step",
      (json_int_t)r->step, "epoch", r->epoch, "loss", r->task_loss,
      "balance_loss", r->balance_loss, "total_loss", r->total_loss,
      "grad_norm", r->grad_norm, "clipped_norm", r->clipped_norm, "lr", r->lr,
      "tokens", (json_int_t)r->n_tokens, "tokens_per_second",
      r->seconds > 0 ? (double)r->n_tokens / r->seconds : 0.0);
  if (json == NULL) return NULL;
  if (r->every_head) json_object_set_new(json, "every_head", json_true());
  if (r->skipped) json_object_set_new(json, "skipped", json_true());
  if (!isnan(r->main_loss)) /* a small step may be all mixed in */
    json_object_set_new(json, "main_loss", json_real(r->main_loss));
  if (!isnan(r->mix_loss))
    json_object_set_new(json, "mix_loss", json_real(r->mix_loss));
  if (r->n_windows > 0) json_object_set_new(json, "windows", windows_json(r));
  if (r->n_routed_layers > 0) {
    json_object_set_new(json, "z_loss", json_real(r->z_loss));
    json_object_set_new(json, "sparsity_loss", json_real(r->sparsity_loss));
    json_object_set_new(json, "mean_heads", json_real(r->heads));
    set_layers(json, "heads", r->layers, r->n_routed_layers);
  }
  if (r->n_expert_layers > 0) {
    json_object_set_new(json, "expert_balance_loss",
                        json_real(r->expert_balance_loss));
    json_object_set_new(json, "expert_z_loss", json_real(r->expert_z_loss));
    set_layers(json, "experts", r->expert_layers, r->n_expert_layers);
  }
  return json;
}
