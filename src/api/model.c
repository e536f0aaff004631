/* Models of moh.h: made, loaded, saved, described. */
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "api/sized.h"
#include "arch/arch.h"
#include "base/json.h"
#include "infer/beam.h"
#include "infer/branches.h"
#include "store/upcycle.h"

void moh_free(void *memory) { free(memory); }

/* ---- a handle ---- */

void moh_model_free(moh_model *model) {
  if (model == NULL) return;
  moh__model_free(model->inner);
  moh_tokenizer_free(model->tokenizer);
  free(model);
}

/* Packs the weights, with a pool that is not needed any longer. */
static moh_status pack(moh__model *model, int32_t n_threads, moh_error *err) {
  moh__pool *pool;
  MOH_TRY(moh__pool_new(&pool, n_threads, err));
  moh_status status = moh__model_pack(model, pool, err);
  moh__pool_free(pool);
  return status;
}

static moh_status new_handle(moh_model **out, moh_error *err) {
  *out = calloc(1, sizeof(**out));
  if (*out == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a model");
  return MOH_OK;
}

/* ---- loading ---- */

static const moh_load_options load_defaults = {.size = sizeof(load_defaults),
                                               .precision = MOH_AS_STORED};

void moh_load_options_default(moh_load_options *options, size_t size) {
  moh__options_init(options, size, &load_defaults, sizeof(load_defaults));
}

static moh_status check_load(const moh_load_options *o, moh_error *err) {
  if (o->precision == MOH_AS_STORED) return MOH_OK;
  if ((unsigned)o->precision >= MOH__PRECISIONS)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no precision",
                     (int)o->precision);
  if (o->trainable && !moh__precision_trains((moh__precision)o->precision))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "weights in %s cannot be trained: load them in f32 or "
                     "bf16",
                     moh__precision_names[o->precision]);
  return MOH_OK;
}

static moh_status load(moh_model *model, const char *dir,
                       const moh_load_options *o, moh_error *err) {
  moh__tokenizer *tokenizer;
  moh__load_options inner = {.verify = o->verify,
                             .writable = o->trainable,
                             .stored = !o->trainable};
  MOH_TRY(check_load(o, err));
  MOH_TRY(moh__model_load(&model->inner, &tokenizer, dir, inner, err));
  moh__model_set_precision(
      model->inner,
      o->precision == MOH_AS_STORED
          ? moh__precision_of(moh__model_stored(model->inner))
          : (moh__precision)o->precision);
  model->trainable = o->trainable;
  if (tokenizer != NULL)
    MOH_TRY(moh__tokenizer_share(&model->tokenizer, tokenizer, err));
  return pack(model->inner, o->n_threads, err);
}

moh_status moh_model_load(moh_model **model, const char *dir,
                          const moh_load_options *options, moh_error *err) {
  MOH__NEED(model, err);
  *model = NULL;
  MOH__NEED(dir, err);
  moh_load_options o = load_defaults;
  MOH_TRY(moh__options_read(&o, sizeof(o), options, "moh_load_options", err));
  moh_model *loaded;
  MOH_TRY(new_handle(&loaded, err));
  moh_status status = load(loaded, dir, &o, err);
  if (status != MOH_OK) {
    moh_model_free(loaded);
    return status;
  }
  *model = loaded;
  return MOH_OK;
}

/* ---- making ---- */

static const moh_model_options model_defaults = {
    .size = sizeof(model_defaults), .preset = "seed-train", .seed = 1};

void moh_model_options_default(moh_model_options *options, size_t size) {
  moh__options_init(options, size, &model_defaults, sizeof(model_defaults));
}

/* Fields of `config` replace those of the preset, in nested objects too. */
static moh_status merge(moh__config *c, const char *config, bool preset,
                        moh_error *err) {
  json_t *given;
  MOH_TRY(moh__json_parse(&given, config, strlen(config), "config", err));
  json_t *all = preset ? moh__config_to_json(c) : json_object();
  moh_status status = MOH_OK;
  if (!json_is_object(given))
    status = moh__fail(err, MOH_ERR_FORMAT, "config: not a JSON object");
  else if (all == NULL || json_object_update_recursive(all, given) != 0)
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for a configuration");
  if (status == MOH_OK) {
    status = moh__config_from_json(c, all, err);
    if (status != MOH_OK) moh__fail_in(err, status, "config");
  }
  json_decref(all);
  json_decref(given);
  return status;
}

static moh_status make_config(moh__config *c, const moh_tokenizer *tokenizer,
                              const moh_model_options *o, moh_error *err) {
  if (o->preset == NULL && o->config == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a model needs a preset or a config");
  if (o->preset != NULL) MOH_TRY(moh__config_preset(c, o->preset, err));
  if (tokenizer != NULL) c->vocab_size = moh_tokenizer_size(tokenizer);
  if (o->config != NULL) MOH_TRY(merge(c, o->config, o->preset != NULL, err));
  if (tokenizer != NULL) c->vocab_size = moh_tokenizer_size(tokenizer);
  if (o->heads != NULL) MOH_TRY(moh__config_set_heads(c, o->heads, err));
  if (o->route_by != NULL)
    MOH_TRY(moh__config_set_route_by(c, o->route_by, err));
  if (o->experts != NULL) MOH_TRY(moh__config_set_experts(c, o->experts, err));
  if (o->expert_hidden != 0) {
    if (c->experts.n_routed == 0)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "expert_hidden is set, and there are no experts");
    c->experts.width = o->expert_hidden;
  }
  if (o->max_length != 0) c->max_seq_len = o->max_length;
  return moh__config_check(c, err);
}

static moh_status make(moh_model *model, const moh_tokenizer *tokenizer,
                       const moh_model_options *o, moh_error *err) {
  moh__config config;
  moh__config_default(&config);
  MOH_TRY(make_config(&config, tokenizer, o, err));
  MOH_TRY(moh__arch_model_init(&model->inner, &config, o->seed, err));
  model->trainable = true;
  model->tokenizer = moh__tokenizer_retain(tokenizer);
  return pack(model->inner, 0, err);
}

moh_status moh_model_new(moh_model **model, const moh_tokenizer *tokenizer,
                         const moh_model_options *options, moh_error *err) {
  MOH__NEED(model, err);
  *model = NULL;
  moh_model_options o = model_defaults;
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_model_options", err));
  moh_model *made;
  MOH_TRY(new_handle(&made, err));
  moh_status status = make(made, tokenizer, &o, err);
  if (status != MOH_OK) {
    moh_model_free(made);
    return status;
  }
  *model = made;
  return MOH_OK;
}

static moh_status upcycle(moh_model *model, const moh_model *dense,
                          const char *heads, const char *route_by,
                          moh_error *err) {
  moh__config c = dense->inner->config;
  if (strncmp(heads, "norm:", 5) != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is nothing to upcycle to: write norm:S+K",
                     heads);
  if (route_by != NULL) MOH_TRY(moh__config_set_route_by(&c, route_by, err));
  MOH_TRY(moh__upcycle(&model->inner, dense->inner, heads, c.route_by, err));
  model->trainable = true;
  model->tokenizer = moh__tokenizer_retain(dense->tokenizer);
  return pack(model->inner, 0, err);
}

moh_status moh_model_upcycle(moh_model **model, const moh_model *dense,
                             const char *heads, const char *route_by,
                             moh_error *err) {
  MOH__NEED(model, err);
  *model = NULL;
  MOH__NEED(dense, err);
  MOH__NEED(heads, err);
  moh_model *made;
  MOH_TRY(new_handle(&made, err));
  moh_status status = upcycle(made, dense, heads, route_by, err);
  if (status != MOH_OK) {
    moh_model_free(made);
    return status;
  }
  *model = made;
  return MOH_OK;
}

/* ---- saving ---- */

moh_status moh_model_save(const moh_model *model, const char *dir,
                          const char *note, moh_error *err) {
  MOH__NEED(model, err);
  MOH__NEED(dir, err);
  moh__model_note about = {.description = note, .steps = model->n_steps};
  return moh__model_save(model->inner, moh__model_tokenizer(model), dir,
                         &about, err);
}

/* ---- describing ---- */

static void describe(const moh_model *model, moh_model_info *info) {
  const moh__config *c = &model->inner->config;
  *info = (moh_model_info){
      .vocab_size = c->vocab_size,
      .max_length = c->max_seq_len,
      .d_model = c->d_model,
      .d_ff = c->d_ff,
      .d_head = c->d_head,
      .n_layers = c->n_layers,
      .n_heads = c->n_heads,
      .n_kv_heads = c->n_kv_heads,
      .n_shared_heads =
          moh__config_routes(c) ? c->n_shared * moh__config_heads_each(c) : 0,
      .n_active_heads = moh__config_active_heads(c),
      .n_parameters = moh__model_count(model->inner),
      .n_router_parameters = moh__model_count_routers(model->inner),
      .trainable = model->trainable,
      .n_heads_each = moh__config_routes(c) ? moh__config_heads_each(c) : 1};
  moh__config_heads_text(c, info->heads, sizeof(info->heads));
  info->n_active_parameters = moh__model_count_active(model->inner);
  const moh__experts *x = &c->experts;
  if (x->n_routed == 0) return;
  info->n_shared_experts = x->n_shared;
  info->n_routed_experts = x->n_routed;
  info->n_active_experts = x->n_shared + x->k;
  info->expert_hidden = x->width;
}

moh_status moh_model_describe(const moh_model *model, moh_model_info *info,
                              size_t size, moh_error *err) {
  MOH__NEED(model, err);
  MOH__NEED(info, err);
  moh_model_info known;
  describe(model, &known);
  moh__result_write(info, size, &known, sizeof(known));
  return MOH_OK;
}

moh_status moh_model_window(const moh_model *model, int64_t layer,
                            int64_t *n_tokens, moh_error *err) {
  MOH__NEED(model, err);
  MOH__NEED(n_tokens, err);
  int64_t n = model->inner->config.n_layers;
  if (layer < 0 || layer >= n)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "there is no layer %lld, the model has %lld",
                     (long long)layer, (long long)n);
  *n_tokens = moh__model_window(model->inner, layer);
  return MOH_OK;
}

moh_status moh_model_macs(const moh_model *model, int64_t context,
                          moh_macs *macs, moh_error *err) {
  MOH__NEED(model, err);
  MOH__NEED(macs, err);
  if (context < 1 || context > model->inner->config.max_seq_len)
    return moh__fail(
        err, MOH_ERR_ARGUMENT, "a context has 1 to %lld tokens, not %lld",
        (long long)model->inner->config.max_seq_len, (long long)context);
  moh__macs inner = moh__arch_macs(&model->inner->config, context);
  *macs = (moh_macs){inner.dense, inner.active, inner.router};
  return MOH_OK;
}

/* n_beams 0: no search. */
static moh_status find_memory(const moh_model *model, int32_t max_length,
                              int32_t n_beams, moh_memory *memory,
                              moh_error *err) {
  MOH__NEED(model, err);
  MOH__NEED(memory, err);
  int32_t most = (int32_t)model->inner->config.max_seq_len;
  if (max_length == 0) max_length = most;
  if (max_length < 1 || max_length > most)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a session holds 1 to %d tokens, not %d", most,
                     max_length);
  moh__session_bytes session;
  MOH_TRY(moh__branches_measure(model->inner, max_length, n_beams, &session,
                                err));
  moh__model_bytes bytes = moh__model_measure(model->inner);
  *memory = (moh_memory){.weights = bytes.data,
                         .packed = bytes.packed,
                         .cache = (int64_t)session.pages,
                         .work = (int64_t)(session.gates + session.work)};
  return MOH_OK;
}

moh_status moh_model_memory(const moh_model *model, int32_t max_length,
                            moh_memory *memory, moh_error *err) {
  return find_memory(model, max_length, 0, memory, err);
}

moh_status moh_model_memory_beams(const moh_model *model, int32_t max_length,
                                  int32_t n_beams, moh_memory *memory,
                                  moh_error *err) {
  if (n_beams < 1 || n_beams > MOH__BEAM_WIDTH_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a search has 1 to %d beams, not %d",
                     MOH__BEAM_WIDTH_MAX, n_beams);
  return find_memory(model, max_length, n_beams, memory, err);
}

moh_status moh_model_config(const moh_model *model, char **json,
                            moh_error *err) {
  MOH__NEED(json, err);
  *json = NULL;
  MOH__NEED(model, err);
  json_t *config = moh__config_to_json(&model->inner->config);
  if (config != NULL) *json = json_dumps(config, JSON_INDENT(2));
  json_decref(config);
  if (*json == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a configuration");
  return MOH_OK;
}

const moh_tokenizer *moh_model_tokenizer(const moh_model *model) {
  return model == NULL ? NULL : model->tokenizer;
}
