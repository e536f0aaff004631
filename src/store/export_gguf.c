/* GGUF files of ours: see export_gguf.h. */
#include "store/export_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "model/rope_speed.h"
#include "store/export_llama.h"
#include "store/gguf_names.h"
#include "store/gguf_vocab.h"
#include "store/model_parts.h"
#include "store/rope_order.h"

typedef struct export {
  const moh__model *model;
  const moh__tokenizer *tokenizer;
  const moh__gguf_family *family;
  moh__block_type weights;
  moh_error *err;
}
export;

/* ---- what can be written ---- */

static moh_status refuse(const export *e, const char *what) {
  return moh__fail(e->err, MOH_ERR_ARGUMENT,
                   "a GGUF file of the architecture %s has no place for %s",
                   e->family->name, what);
}

static bool has_factors(const moh__config *c) {
  return c->rope_scaling.kind == MOH__ROPE_LLAMA3;
}

static moh_status check(const export *e) {
  const moh__config *c = &e->model->config;
  if (c->qk_norm && c->qkv_bias) return refuse(e, "biases of attention");
  if (has_factors(c) && !e->family->turned)
    return refuse(e, "the scaling \"llama3\" of positions");
  if (e->tokenizer != NULL) return MOH_OK;
  return moh__fail(e->err, MOH_ERR_UNSUPPORTED,
                   "the model has no tokenizer, and a GGUF file needs one");
}

/* ---- metadata ---- */

enum { KEY = 96 };

static const char *key_of(const export *e, char key[KEY], const char *name) {
  snprintf(key, KEY, "%s.%s", e->family->name, name);
  return key;
}

static void put_text(moh__gguf_metadata *m, const char *key,
                     const char *text) {
  moh__gguf_put_string(m, key, (moh__gguf_string){text, strlen(text)});
}

static void put_sizes(const export *e, moh__gguf_metadata *m) {
  const moh__config *c = &e->model->config;
  const struct {
    const char *name;
    int64_t size;
  } sizes[] = {{"vocab_size", c->vocab_size},
               {"context_length", c->max_seq_len},
               {"embedding_length", c->d_model},
               {"block_count", c->n_layers},
               {"feed_forward_length", c->d_ff},
               {"attention.head_count", c->n_heads},
               {"attention.head_count_kv", c->n_kv_heads},
               {"attention.key_length", c->d_head},
               {"attention.value_length", c->d_head},
               {"rope.dimension_count", c->d_head}};
  char key[KEY];
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
    moh__gguf_put_u32(m, key_of(e, key, sizes[i].name),
                      (uint32_t)sizes[i].size);
}

static void put_numbers(const export *e, moh__gguf_metadata *m) {
  const moh__config *c = &e->model->config;
  char key[KEY];
  moh__gguf_put_f32(m, key_of(e, key, "attention.layer_norm_rms_epsilon"),
                    (float)c->norm_eps);
  moh__gguf_put_f32(m, key_of(e, key, "rope.freq_base"),
                    (float)c->rope_theta);
  if (c->rope_scaling.kind != MOH__ROPE_LINEAR) return;
  put_text(m, key_of(e, key, "rope.scaling.type"), "linear");
  moh__gguf_put_f32(m, key_of(e, key, "rope.scaling.factor"),
                    (float)c->rope_scaling.factor);
}

static moh_status put_metadata(const export *e, moh__gguf_metadata *m) {
  put_text(m, "general.architecture", e->family->name);
  put_sizes(e, m);
  put_numbers(e, m);
  return moh__gguf_put_vocab(m, e->tokenizer, e->model->config.vocab_size,
                             e->err);
}

/* ---- tensors ---- */

static moh__block_type type_of(const export *e, const moh__param *w) {
  return moh__param_stores(w, e->weights) ? e->weights : MOH__BLOCK_F32;
}

static moh_status describe(const export *e, moh__gguf_item *items) {
  const moh__model *model = e->model;
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    items[i] = (moh__gguf_item){.type = type_of(e, w), .n_dims = w->n_dims};
    if (!moh__gguf_name(items[i].name, w->name))
      return moh__fail(e->err, MOH_ERR_ARGUMENT,
                       "no GGUF name is known for '%s'", w->name);
    for (int d = 0; d < w->n_dims; d++)
      items[i].dims[d] = w->shape[w->n_dims - 1 - d];
  }
  if (!has_factors(&model->config)) return MOH_OK;
  moh__gguf_item *factors = &items[model->n_params];
  *factors = (moh__gguf_item){.type = MOH__BLOCK_F32,
                              .n_dims = 1,
                              .dims = {model->config.d_head / 2}};
  snprintf(factors->name, sizeof(factors->name), "%s",
           moh__gguf_rope_factors);
  return MOH_OK;
}

static void write_factors(const moh__config *c, float *dst) {
  for (int64_t i = 0; i < c->d_head / 2; i++)
    dst[i] = (float)moh__rope_factor(c, i);
}

static void write_row(void *context, size_t item, int64_t row, float *dst) {
  const export *e = context;
  const moh__config *c = &e->model->config;
  if (item == (size_t)e->model->n_params) {
    write_factors(c, dst);
    return;
  }
  const moh__param *w = &e->model->params[item];
  int64_t turned = e->family->turned ? moh__gguf_turned(w, c) : 0;
  if (w->n_dims == 1) {
    for (int64_t i = 0; i < w->n; i++)
      dst[i] = w->data[turned ? moh__rope_row(i, turned) : i];
    return;
  }
  int64_t width = moh__param_in(w);
  if (turned) row = moh__rope_row(row, turned);
  memcpy(dst, w->data + row * width, (size_t)width * sizeof(*dst));
}

/* ---- the whole ---- */

static moh_status write_all(export *e, const moh__gguf_metadata *m,
                            const char *path, const moh__watch *watch) {
  size_t n = (size_t)e->model->n_params;
  moh__gguf_item *items = calloc(n + 1, sizeof(*items));
  if (items == NULL)
    return moh__fail(e->err, MOH_ERR_MEMORY, "out of memory for an export");
  moh_status status = describe(e, items);
  if (has_factors(&e->model->config)) n++;
  if (status == MOH_OK)
    status = moh__gguf_write(path, m, items, n, write_row, e, watch, e->err);
  free(items);
  return status;
}

moh_status moh__export_gguf(const moh__model *model,
                            const moh__tokenizer *tokenizer,
                            const char *source, moh__block_type weights,
                            const char *path, const moh__watch *watch,
                            moh_error *err) {
  moh__gguf_metadata m = {0};
  MOH_TRY(moh__export_check(model, err));
  moh__family family = moh__config_family(&model->config);
  export e = {model, tokenizer, &moh__gguf_families[family], weights, err};
  MOH_TRY(check(&e));
  moh_status status = moh__weights_check(model, weights, err);
  if (status != MOH_OK) return moh__fail_in(err, status, "%s", source);
  status = put_metadata(&e, &m);
  if (status == MOH_OK) status = write_all(&e, &m, path, watch);
  moh__gguf_metadata_free(&m);
  return status;
}
