/* Checkpoints of llama2.c: the only ones whose numbers that are not in the
 * file, of norms and rotary positions, are those of its program. */
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "format/llama2c.h"
#include "store/import.h"
#include "store/model_parts.h"
#include "store/rope_order.h"
#include "text/vocab_document.h"

static const struct {
  moh__llama2c_kind kind;
  const char *name;
  bool turned; /* rows are in the other order */
} layer_parts[] = {
    {MOH__LLAMA2C_NORM1, "input_layernorm.weight", false},
    {MOH__LLAMA2C_Q, "self_attn.q_proj.weight", true},
    {MOH__LLAMA2C_K, "self_attn.k_proj.weight", true},
    {MOH__LLAMA2C_V, "self_attn.v_proj.weight", false},
    {MOH__LLAMA2C_O, "self_attn.o_proj.weight", false},
    {MOH__LLAMA2C_NORM2, "post_attention_layernorm.weight", false},
    {MOH__LLAMA2C_GATE, "mlp.gate_proj.weight", false},
    {MOH__LLAMA2C_DOWN, "mlp.down_proj.weight", false},
    {MOH__LLAMA2C_UP, "mlp.up_proj.weight", false},
};

static moh__config config_of(const moh__llama2c *f) {
  moh__config c;
  moh__config_default(&c);
  c.vocab_size = f->vocab_size;
  c.d_model = f->d_model;
  c.d_ff = f->d_ff;
  c.n_layers = f->n_layers;
  c.n_heads = f->n_heads;
  c.n_kv_heads = f->n_kv_heads;
  c.d_head = f->d_model / f->n_heads;
  c.max_seq_len = f->max_seq_len;
  c.norm_eps = 1e-5;
  c.rope_theta = 10000;
  c.tied = f->tied;
  return c;
}

/* The tensors of one layer after the other; layer: which of them. */
static void copy(const moh__llama2c *f, moh__llama2c_kind kind, int64_t layer,
                 moh__param *w) {
  const unsigned char *data =
      f->data[kind] + (size_t)(layer * w->n) * sizeof(float);
  memcpy(w->data, data, (size_t)w->n * sizeof(float));
}

static void copy_turned(const moh__llama2c *f, moh__llama2c_kind kind,
                        int64_t layer, int64_t d_head, moh__param *w) {
  size_t row_bytes = (size_t)w->shape[1] * sizeof(float);
  const unsigned char *data =
      f->data[kind] + (size_t)(layer * w->shape[0]) * row_bytes;
  for (int64_t row = 0; row < w->shape[0]; row++)
    memcpy(w->data + moh__rope_row(row, d_head) * w->shape[1],
           data + (size_t)row * row_bytes, row_bytes);
}

static void copy_layer(const moh__llama2c *f, moh__model *model,
                       int64_t layer) {
  for (size_t i = 0; i < sizeof(layer_parts) / sizeof(layer_parts[0]); i++) {
    moh__param *w = moh__model_layer_param(model, layer, layer_parts[i].name);
    if (layer_parts[i].turned)
      copy_turned(f, layer_parts[i].kind, layer, model->config.d_head, w);
    else
      copy(f, layer_parts[i].kind, layer, w);
  }
}

static moh_status read_model(const moh__llama2c *f, moh__model **out,
                             const char *path, moh_error *err) {
  moh__config config = config_of(f);
  moh_status status = moh__config_check(&config, err);
  if (status != MOH_OK) return moh__fail_in(err, MOH_ERR_FORMAT, "%s", path);
  MOH_TRY(moh__arch_model(out, &config, err));
  MOH_TRY(moh__model_alloc_data(*out, err));
  MOH_TRY(moh__model_make_tables(*out, err));
  copy(f, MOH__LLAMA2C_EMBEDDING, 0,
       moh__model_param(*out, "model.embed_tokens.weight"));
  copy(f, MOH__LLAMA2C_NORM, 0, moh__model_param(*out, "model.norm.weight"));
  if (!f->tied)
    copy(f, MOH__LLAMA2C_OUTPUT, 0, moh__model_param(*out, "lm_head.weight"));
  for (int64_t l = 0; l < f->n_layers; l++) copy_layer(f, *out, l);
  return MOH_OK;
}

static bool is_json(const char *path) {
  size_t n = strlen(path);
  return n >= 5 && strcmp(path + n - 5, ".json") == 0;
}

static moh_status read_tokenizer(moh__tokenizer **out, const char *path,
                                 int64_t vocab_size, moh_error *err) {
  if (is_json(path))
    return moh__model_load_tokenizer(out, path, vocab_size, err);
  return moh__tokenizer_load_llama2c(out, path, vocab_size, err);
}

moh_status moh__import_llama2c(moh__imported *out, const char *path,
                               const char *tokenizer_path, moh_error *err) {
  *out = (moh__imported){.weights = MOH__BLOCK_F32};
  moh__llama2c file;
  MOH_TRY(moh__llama2c_open(&file, path, err));
  moh_status status = read_model(&file, &out->model, path, err);
  if (status == MOH_OK && tokenizer_path != NULL)
    status =
        read_tokenizer(&out->tokenizer, tokenizer_path, file.vocab_size, err);
  moh__llama2c_close(&file);
  if (status != MOH_OK) moh__imported_free(out);
  return status;
}
