/*
 * GGUF files of the LLaMA family: configuration from the metadata, tensors
 * decoded into ours, the vocabulary into a tokenizer. Whatever would change
 * the arithmetic and is not known here is refused by name.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "format/gguf.h"
#include "model/rope_speed.h"
#include "store/gguf_names.h"
#include "store/gguf_vocab.h"
#include "store/import.h"
#include "store/rope_order.h"
#include "text/utf8.h"

typedef struct source {
  const moh__gguf *file;
  const char *prefix;
  bool turned;
  moh_error *err;
} source;

/* ---- metadata ---- */

enum { KEY = 96 };

static const char *key_of(const source *s, char key[KEY], const char *name) {
  snprintf(key, KEY, "%s.%s", s->prefix, name);
  return key;
}

static bool has(const source *s, const char *name) {
  char key[KEY];
  return moh__gguf_find(s->file, key_of(s, key, name)) != NULL;
}

static moh_status get_size(const source *s, const char *name, int64_t *out) {
  char key[KEY];
  return moh__gguf_get_integer(s->file, key_of(s, key, name), out, s->err);
}

/* Left as it is where the key is missing. */
static moh_status get_size_if(const source *s, const char *name,
                              int64_t *out) {
  return has(s, name) ? get_size(s, name, out) : MOH_OK;
}

/* The shortest decimal number that is this float: 1e-5, where files mean it
 * and have the float next to it. */
static double shortest(float x) {
  char text[32];
  double number = (double)x;
  for (int digits = 6; digits < 10; digits++) {
    snprintf(text, sizeof(text), "%.*g", digits, (double)x);
    number = strtod(text, NULL);
    if ((float)number == x) break;
  }
  return number;
}

static moh_status get_number_if(const source *s, const char *name,
                                double *out) {
  char key[KEY];
  if (!has(s, name)) return MOH_OK;
  MOH_TRY(moh__gguf_get_number(s->file, key_of(s, key, name), out, s->err));
  *out = shortest((float)*out);
  return MOH_OK;
}

static moh_status fail(const source *s, const char *name, const char *why) {
  return moh__fail(s->err, MOH_ERR_UNSUPPORTED, "%s: %s.%s %s", s->file->path,
                   s->prefix, name, why);
}

static bool has_tensor(const source *s, const char *name) {
  return moh__gguf_find_tensor(s->file, name) != NULL;
}

static moh_status read_family(source *s) {
  moh__gguf_string name;
  MOH_TRY(
      moh__gguf_get_string(s->file, "general.architecture", &name, s->err));
  for (int i = 0; i < MOH__FAMILY_NONE; i++) {
    const moh__gguf_family *family = &moh__gguf_families[i];
    if (strlen(family->name) != name.n ||
        memcmp(family->name, name.bytes, name.n) != 0)
      continue;
    s->prefix = family->name;
    s->turned = family->turned;
    return MOH_OK;
  }
  return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                   "%s: general.architecture '%.*s' is not known here; known "
                   "are llama, qwen2 and qwen3",
                   s->file->path,
                   moh__quoted((moh__text){name.bytes, name.n}), name.bytes);
}

/* ---- rotary positions ---- */

static moh_status read_scaling_kind(const source *s, moh__config *c) {
  char key[KEY];
  moh__gguf_string kind = {"linear", 6};
  if (has(s, "rope.scaling.type"))
    MOH_TRY(moh__gguf_get_string(s->file, key_of(s, key, "rope.scaling.type"),
                                 &kind, s->err));
  if (kind.n == 4 && memcmp(kind.bytes, "none", 4) == 0) return MOH_OK;
  if (kind.n != 6 || memcmp(kind.bytes, "linear", 6) != 0)
    return fail(s, "rope.scaling.type", "is neither none nor linear");
  double factor = 0;
  MOH_TRY(get_number_if(s, "rope.scale_linear", &factor));
  MOH_TRY(get_number_if(s, "rope.scaling.factor", &factor));
  if (factor == 0 || factor == 1) return MOH_OK;
  c->rope_scaling =
      (moh__rope_scaling){.kind = MOH__ROPE_LINEAR, .factor = factor};
  return MOH_OK;
}

/* LLaMA 3's scaling in GGUF is only the factors that come of it. */
static moh_status read_rope_factors(const source *s, moh__config *c) {
  const moh__gguf_tensor *tensor =
      moh__gguf_find_tensor(s->file, moh__gguf_rope_factors);
  if (tensor == NULL) return MOH_OK;
  float factors[256];
  if (tensor->n != c->d_head / 2 || tensor->n > 256)
    return moh__fail(s->err, MOH_ERR_FORMAT,
                     "%s: tensor '%s' has %" PRId64
                     " numbers, not half of a head's %" PRId64,
                     s->file->path, tensor->name, tensor->n, c->d_head);
  moh__block_decode(tensor->type, tensor->data, tensor->n, factors);
  if (c->rope_scaling.kind != MOH__ROPE_UNSCALED)
    return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                     "%s: positions are scaled twice, by rope.scaling and by "
                     "the tensor '%s'",
                     s->file->path, tensor->name);
  if (moh__rope_find_scaling(c, factors)) return MOH_OK;
  return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                   "%s: the factors of tensor '%s' are not those of LLaMA 3",
                   s->file->path, tensor->name);
}

static moh_status read_rope(const source *s, moh__config *c) {
  int64_t turned = c->d_head;
  MOH_TRY(get_number_if(s, "rope.freq_base", &c->rope_theta));
  MOH_TRY(get_size_if(s, "rope.dimension_count", &turned));
  if (turned != c->d_head)
    return fail(s, "rope.dimension_count",
                "is not the whole of a head's elements");
  MOH_TRY(read_scaling_kind(s, c));
  return read_rope_factors(s, c);
}

/* ---- configuration ---- */

static moh_status read_heads(const source *s, moh__config *c) {
  MOH_TRY(get_size(s, "attention.head_count", &c->n_heads));
  c->n_kv_heads = c->n_heads;
  MOH_TRY(get_size_if(s, "attention.head_count_kv", &c->n_kv_heads));
  c->d_head = c->n_heads > 0 ? c->d_model / c->n_heads : 0;
  MOH_TRY(get_size_if(s, "attention.key_length", &c->d_head));
  int64_t value = c->d_head;
  MOH_TRY(get_size_if(s, "attention.value_length", &value));
  if (value == c->d_head) return MOH_OK;
  return fail(s, "attention.value_length", "is not attention.key_length");
}

/* Factors and limits of models of others, each with the value that changes
 * nothing. 0 is as good as no key, but for attn_factor. */
static moh_status refuse_factors(const source *s, const moh__config *c) {
  const struct {
    const char *name;
    double nothing;
  } keys[] = {{"attention.scale", 1 / sqrt((double)c->d_head)},
              {"logit_scale", 1},
              {"residual_scale", 1},
              {"embedding_scale", 1},
              {"attn_logit_softcapping", 0},
              {"final_logit_softcapping", 0},
              {"attention.clamp_kqv", 0},
              {"attention.max_alibi_bias", 0},
              {"rope.scaling.attn_factor", 1}};
  for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
    double nothing = keys[i].nothing, x = nothing;
    MOH_TRY(get_number_if(s, keys[i].name, &x));
    bool unset = x == 0 && strncmp(keys[i].name, "rope.", 5) != 0;
    if (!unset && !(fabs(x - nothing) <= 1e-6 * nothing))
      return fail(s, keys[i].name,
                  "would change the arithmetic, in a way that is not known "
                  "here");
  }
  return MOH_OK;
}

static moh_status refuse_non_causal(const source *s) {
  char key[KEY];
  bool causal = true;
  if (has(s, "attention.causal"))
    MOH_TRY(moh__gguf_get_bool(s->file, key_of(s, key, "attention.causal"),
                               &causal, s->err));
  return causal ? MOH_OK
                : fail(s, "attention.causal",
                       "is false: tokens would see those behind them");
}

static moh_status check_vocab(const source *s, int64_t n_rows) {
  int64_t n = n_rows;
  MOH_TRY(get_size_if(s, "vocab_size", &n));
  if (n == n_rows) return MOH_OK;
  return moh__fail(s->err, MOH_ERR_FORMAT,
                   "%s: %s.vocab_size is %" PRId64
                   ", but the tensor 'token_embd.weight' has %" PRId64
                   " rows",
                   s->file->path, s->prefix, n, n_rows);
}

static moh_status refuse_others(const source *s) {
  int64_t n = 0;
  MOH_TRY(get_size_if(s, "expert_count", &n));
  if (n > 0) return fail(s, "expert_count", "is not 0: experts of others");
  n = 0;
  MOH_TRY(get_size_if(s, "attention.sliding_window", &n));
  if (n != 0) return fail(s, "attention.sliding_window", "is not 0");
  return refuse_non_causal(s);
}

static moh_status check_config(const source *s, const moh__config *c) {
  if (moh__config_check(c, s->err) == MOH_OK) return MOH_OK;
  return moh__fail_in(s->err, MOH_ERR_FORMAT, "%s", s->file->path);
}

static moh_status read_config(const source *s, moh__config *c) {
  const moh__gguf_tensor *embedding =
      moh__gguf_find_tensor(s->file, "token_embd.weight");
  if (embedding == NULL)
    return moh__fail(s->err, MOH_ERR_FORMAT,
                     "%s: the tensor 'token_embd.weight' is missing",
                     s->file->path);
  moh__config_default(c);
  c->vocab_size = embedding->dims[1];
  MOH_TRY(check_vocab(s, c->vocab_size));
  MOH_TRY(get_size(s, "embedding_length", &c->d_model));
  MOH_TRY(get_size(s, "feed_forward_length", &c->d_ff));
  MOH_TRY(get_size(s, "block_count", &c->n_layers));
  MOH_TRY(get_size(s, "context_length", &c->max_seq_len));
  MOH_TRY(get_number_if(s, "attention.layer_norm_rms_epsilon", &c->norm_eps));
  MOH_TRY(read_heads(s, c));
  MOH_TRY(refuse_others(s));
  c->tied = !has_tensor(s, "output.weight");
  c->qkv_bias = has_tensor(s, "blk.0.attn_q.bias");
  c->output_bias = has_tensor(s, "blk.0.attn_output.bias");
  c->mlp_bias = has_tensor(s, "blk.0.ffn_gate.bias");
  c->qk_norm = has_tensor(s, "blk.0.attn_q_norm.weight");
  MOH_TRY(check_config(s, c));
  MOH_TRY(refuse_factors(s, c));
  MOH_TRY(read_rope(s, c));
  return check_config(s, c);
}

/* ---- tensors ---- */

static moh_status find_tensor(const source *s, const moh__param *w,
                              const moh__gguf_tensor **out) {
  char name[MOH__GGUF_NAME];
  if (!moh__gguf_name(name, w->name))
    return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                     "%s: no GGUF name is known for '%s'", s->file->path,
                     w->name);
  *out = moh__gguf_find_tensor(s->file, name);
  if (*out == NULL)
    return moh__fail(s->err, MOH_ERR_FORMAT, "%s: the tensor '%s' is missing",
                     s->file->path, name);
  for (int i = 0; i < MOH__GGUF_DIMS; i++) {
    int64_t want = i < w->n_dims ? w->shape[w->n_dims - 1 - i] : 1;
    if ((*out)->dims[i] == want) continue;
    return moh__fail(s->err, MOH_ERR_FORMAT,
                     "%s: the tensor '%s' has %" PRId64
                     " in dimension %d, but the metadata ask for %" PRId64,
                     s->file->path, name, (*out)->dims[i], i, want);
  }
  return MOH_OK;
}

/* Row by row, into our order. */
static void copy_tensor(moh__param *w, const moh__gguf_tensor *tensor,
                        int64_t turned) {
  int64_t width = w->n_dims == 1 ? 1 : tensor->dims[0];
  if (turned == 0) {
    moh__block_decode(tensor->type, tensor->data, tensor->n, w->data);
    return;
  }
  int64_t bytes = 0;
  moh__block_row_bytes(tensor->type, width, &bytes); /* as the file's */
  for (int64_t row = 0; row < tensor->n / width; row++)
    moh__block_decode(tensor->type, tensor->data + row * bytes, width,
                      w->data + moh__rope_row(row, turned) * width);
}

/* used: by the tensor's number. */
static moh_status check_used(const source *s, const bool *used) {
  for (size_t i = 0; i < s->file->n_tensors; i++) {
    const char *name = s->file->tensors[i].name;
    if (used[i] || strcmp(name, moh__gguf_rope_factors) == 0) continue;
    return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                     "%s: the tensor '%s' has no place in a %s model",
                     s->file->path, name, s->prefix);
  }
  return MOH_OK;
}

/* They are there, of the right shapes, and no others. */
static moh_status check_tensors(const source *s, const moh__model *model) {
  bool *used = calloc(s->file->n_tensors + 1, sizeof(*used));
  moh_status status = MOH_OK;
  if (used == NULL)
    return moh__fail(s->err, MOH_ERR_MEMORY, "out of memory for an import");
  for (int i = 0; i < model->n_params && status == MOH_OK; i++) {
    const moh__gguf_tensor *tensor = NULL;
    status = find_tensor(s, &model->params[i], &tensor);
    if (status == MOH_OK) used[tensor - s->file->tensors] = true;
  }
  if (status == MOH_OK) status = check_used(s, used);
  free(used);
  return status;
}

static moh_status fill(const source *s, moh__model *model) {
  const moh__gguf_tensor *tensor = NULL;
  MOH_TRY(check_tensors(s, model)); /* before memory for all of it */
  MOH_TRY(moh__model_alloc_data(model, s->err));
  moh_status status = moh__model_make_tables(model, s->err);
  if (status != MOH_OK)
    return moh__fail_in(s->err, status, "%s", s->file->path);
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    MOH_TRY(find_tensor(s, w, &tensor));
    copy_tensor(w, tensor,
                s->turned ? moh__gguf_turned(w, &model->config) : 0);
  }
  return MOH_OK;
}

/* The one type of all matrices with whole blocks of inputs, where we have an
 * encoder of it and it has blocks: others cannot be in it, and stay f32. */
static bool is_in_blocks(const moh__gguf *file, moh__block_type *type) {
  *type = MOH__BLOCK_TYPES;
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__gguf_tensor *tensor = &file->tensors[i];
    if (tensor->n_dims == 1 || tensor->dims[0] % MOH__BLOCK != 0) continue;
    if (*type == MOH__BLOCK_TYPES) *type = tensor->type;
    if (*type != tensor->type) return false;
  }
  return *type < MOH__BLOCK_TYPES && moh__block_encodes(*type) &&
         moh__block_elements(*type) > 1;
}

/* The type of all matrices; where they differ or there is no encoder, f16,
 * which loses next to nothing of any of them but f32. */
static moh__block_type type_of(const moh__gguf *file) {
  moh__block_type type;
  if (is_in_blocks(file, &type)) return type;
  type = MOH__BLOCK_TYPES;
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__gguf_tensor *tensor = &file->tensors[i];
    if (tensor->n_dims == 1) continue;
    if (tensor->type == MOH__BLOCK_F32) return MOH__BLOCK_F32;
    if (type == MOH__BLOCK_TYPES) type = tensor->type;
    if (type != tensor->type) type = MOH__BLOCK_F16;
  }
  return type < MOH__BLOCK_TYPES && moh__block_encodes(type) ? type
                                                             : MOH__BLOCK_F16;
}

/* ---- the whole ---- */

static moh_status read_model(source *s, moh__imported *out) {
  moh__config config;
  MOH_TRY(read_family(s));
  MOH_TRY(read_config(s, &config));
  MOH_TRY(moh__arch_model(&out->model, &config, s->err));
  MOH_TRY(fill(s, out->model));
  out->weights = type_of(s->file);
  return moh__gguf_read_vocab(s->file, config.vocab_size, &out->tokenizer,
                              s->err);
}

moh_status moh__import_gguf(moh__imported *out, const char *path,
                            moh_error *err) {
  *out = (moh__imported){.model = NULL};
  moh__gguf *file;
  MOH_TRY(moh__gguf_open(&file, path, err));
  source s = {.file = file, .err = err};
  moh_status status = read_model(&s, out);
  moh__gguf_close(file);
  if (status != MOH_OK) moh__imported_free(out);
  return status;
}
