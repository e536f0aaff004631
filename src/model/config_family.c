/* config.json outside its "moh" object: see config_family.h. */
#include "model/config_family.h"

#include "model/config_fields.h"
#include "model/config_parts.h"

static const char *const types[] = {"llama", "qwen2", "qwen3", "moh", NULL};
static const char *const classes[] = {"LlamaForCausalLM", "Qwen2ForCausalLM",
                                      "Qwen3ForCausalLM", "MohForCausalLM"};
static const char *const act_names[] = {"silu", "relu", NULL};
static const char *const scaling_names[] = {"default", "linear", "llama3",
                                            NULL};

/* ---- what a model is ---- */

/* The first thing that is in another's place. */
static const char *other_part(const moh__config *c) {
  if (c->architecture != MOH__TRANSFORMER) return "another architecture";
  if (c->norm != MOH__NORM_RMS) return "another norm than RMSNorm";
  if (!c->pre_norm || !c->final_norm) return "norms in other places";
  if (c->ffn != MOH__FFN_SWIGLU) return "another feed-forward than SwiGLU";
  if (c->position != MOH__POSITION_ROPE) return "no rotary positions";
  return c->output_projection ? NULL : "no output projection";
}

/* The first thing that is there besides. */
static const char *addition(const moh__config *c) {
  if (c->heads != MOH__HEADS_ALL) return "heads that not every token uses";
  if (c->experts.n_routed > 0) return "experts";
  return c->window.kind == MOH__WINDOW_NONE ? NULL : "a window";
}

/* By biases, and norms of queries and keys. */
static moh__family by_vectors(const moh__config *c) {
  bool all_or_none = c->qkv_bias == c->output_bias;
  if (c->qk_norm)
    return all_or_none && !c->mlp_bias ? MOH__FAMILY_QWEN3 : MOH__FAMILY_NONE;
  if (all_or_none) return MOH__FAMILY_LLAMA;
  return c->qkv_bias && !c->mlp_bias ? MOH__FAMILY_QWEN2 : MOH__FAMILY_NONE;
}

moh__family moh__config_kin(const moh__config *c) {
  return other_part(c) == NULL ? by_vectors(c) : MOH__FAMILY_NONE;
}

moh__family moh__config_family(const moh__config *c) {
  return addition(c) == NULL ? moh__config_kin(c) : MOH__FAMILY_NONE;
}

const char *moh__config_difference(const moh__config *c) {
  const char *found = other_part(c);
  if (found == NULL) found = addition(c);
  if (found != NULL || by_vectors(c) != MOH__FAMILY_NONE) return found;
  return "biases and norms that none of them has together";
}

/* ---- writing ---- */

static int put_type(json_t *root, moh__family family) {
  json_t *names = json_array();
  return json_array_append_new(names, json_string(classes[family])) |
         json_object_set_new(root, "architectures", names) |
         put_text(root, "model_type", types[family]);
}

static json_t *scaling_to_json(const moh__rope_scaling *s) {
  if (s->kind == MOH__ROPE_LINEAR)
    return json_pack("{s:s, s:f}", "rope_type", scaling_names[s->kind],
                     "factor", s->factor);
  return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type",
                   scaling_names[s->kind], "factor", s->factor,
                   "low_freq_factor", s->low_freq_factor, "high_freq_factor",
                   s->high_freq_factor, "original_max_position_embeddings",
                   (json_int_t)s->original_max);
}

static int put_rope(json_t *root, const moh__config *c) {
  if (c->position != MOH__POSITION_ROPE) return 0;
  int failed = put_real(root, "rope_theta", c->rope_theta);
  if (c->rope_scaling.kind == MOH__ROPE_UNSCALED) return failed;
  return failed | json_object_set_new(root, "rope_scaling",
                                      scaling_to_json(&c->rope_scaling));
}

/* Those of a "moh" model are in its object. */
static int put_biases(json_t *root, const moh__config *c,
                      moh__family family) {
  if (family == MOH__FAMILY_NONE) return 0;
  return put_if(root, "attention_bias", c->output_bias) |
         put_if(root, "mlp_bias", c->mlp_bias);
}

int moh__family_put(json_t *root, const moh__config *c) {
  moh__family family = moh__config_family(c);
  int failed = put_type(root, family);
  for (int i = 0; i < MOH__N_SIZES; i++) {
    const moh__int_field *field = &moh__config_sizes[i];
    failed |= put_int(root, field->name, moh__config_int_value(c, field));
  }
  return failed | put_text(root, "hidden_act", act_names[c->ffn]) |
         put_real(root, "rms_norm_eps", c->norm_eps) |
         put_real(root, "initializer_range", c->init_std) |
         put_bool(root, "tie_word_embeddings", c->tied) |
         put_text(root, "torch_dtype", "float32") | put_rope(root, c) |
         put_biases(root, c, family);
}

/* ---- reading: what is not known ---- */

static moh_status refuse(const char *key, moh_error *err) {
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the field \"%s\" is set, which is not supported", key);
}

static bool is_set(const json_t *root, const char *key) {
  return is_given(root, key) && !json_is_false(json_object_get(root, key));
}

/* Qwen's files name a window and say elsewhere whether, and from which layer
 * on, there is one. */
static bool has_window(const json_t *root, moh__family family) {
  const json_t *from = json_object_get(root, "max_window_layers");
  const json_t *layers = json_object_get(root, "num_hidden_layers");
  if (!is_set(root, "sliding_window")) return false;
  if (family != MOH__FAMILY_QWEN2 && family != MOH__FAMILY_QWEN3) return true;
  if (!is_set(root, "use_sliding_window")) return false;
  return !json_is_integer(from) || !json_is_integer(layers) ||
         json_integer_value(from) < json_integer_value(layers);
}

static bool has_other_layers(const json_t *root) {
  size_t i;
  json_t *type;
  json_array_foreach(json_object_get(root, "layer_types"), i, type) {
    const char *text = json_string_value(type);
    if (text == NULL || strcmp(text, "full_attention") != 0) return true;
  }
  return false;
}

/* Weights in blocks of our own are the reader of weights' matter. */
static bool is_quantized_by_others(const json_t *root) {
  const json_t *config = json_object_get(root, "quantization_config");
  const char *method =
      json_string_value(json_object_get(config, "quant_method"));
  return is_set(root, "quantization_config") &&
         (method == NULL || strcmp(method, "moh") != 0);
}

static moh_status check_rotated_part(const json_t *object, moh_error *err) {
  static const char key[] = "partial_rotary_factor";
  const json_t *value = json_object_get(object, key);
  if (!is_given(object, key) ||
      (json_is_number(value) && json_number_value(value) == 1))
    return MOH_OK;
  return refuse(key, err);
}

/* Of models that are LLaMA's but for one thing. */
static moh_status refuse_options(const json_t *root, moh__family family,
                                 moh_error *err) {
  static const char *const options[] = {"attn_logit_softcapping",
                                        "final_logit_softcapping",
                                        "query_pre_attn_scalar",
                                        "attention_multiplier",
                                        "embedding_multiplier",
                                        "residual_multiplier",
                                        "logits_scaling",
                                        "logit_scale",
                                        "attention_chunk_size",
                                        "no_rope_layers",
                                        "use_qk_norm",
                                        "rope_interleaved",
                                        NULL};
  for (int i = 0; options[i] != NULL; i++)
    if (is_set(root, options[i])) return refuse(options[i], err);
  if (family == MOH__FAMILY_NONE && is_set(root, "attention_bias"))
    return refuse("attention_bias", err);
  if (family != MOH__FAMILY_LLAMA && is_set(root, "mlp_bias"))
    return refuse("mlp_bias", err);
  if (has_window(root, family)) return refuse("sliding_window", err);
  if (has_other_layers(root)) return refuse("layer_types", err);
  if (is_quantized_by_others(root)) return refuse("quantization_config", err);
  return check_rotated_part(root, err);
}

/* ---- reading: what is there, and what may be left out ---- */

moh_status moh__family_read_type(const json_t *root, moh__family *family,
                                 moh_error *err) {
  int type;
  MOH_TRY(get_choice(root, "model_type", types, &type, err));
  *family = (moh__family)type;
  const json_t *names = json_object_get(root, "architectures");
  const char *name = json_string_value(json_array_get(names, 0));
  if (name != NULL && strcmp(name, classes[type]) == 0) return MOH_OK;
  if (*family != MOH__FAMILY_NONE && !is_given(root, "architectures"))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"architectures\" must be [\"%s\"] when "
                   "\"model_type\" is \"%s\"",
                   classes[type], types[type]);
}

/* Whether the default is to be taken. */
static bool is_left_out(const json_t *root, moh__family family,
                        const char *key) {
  return family != MOH__FAMILY_NONE && !is_given(root, key);
}

static moh_status read_sizes(moh__config *c, const json_t *root,
                             moh__family family, moh_error *err) {
  static const char *const optional[] = {"num_key_value_heads", "head_dim",
                                         "max_position_embeddings", NULL};
  static const int64_t length[] = {2048, 32768, 32768};
  for (int i = 0; i < MOH__N_SIZES; i++) {
    const moh__int_field *field = &moh__config_sizes[i];
    if (place_of(field->name, optional) >= 0 &&
        is_left_out(root, family, field->name))
      continue;
    MOH_TRY(get_int(root, field->name, moh__config_int(c, field), err));
  }
  if (is_left_out(root, family, optional[0])) c->n_kv_heads = c->n_heads;
  if (is_left_out(root, family, optional[1]))
    c->d_head = family == MOH__FAMILY_QWEN3 ? 128
                : c->n_heads > 0            ? c->d_model / c->n_heads
                                            : 0;
  if (is_left_out(root, family, optional[2])) c->max_seq_len = length[family];
  return MOH_OK;
}

static moh_status read_biases(moh__config *c, const json_t *root,
                              moh__family family, moh_error *err) {
  if (family == MOH__FAMILY_NONE) return MOH_OK;
  if (family == MOH__FAMILY_QWEN2) {
    c->qkv_bias = true;
    return MOH_OK;
  }
  c->qk_norm = family == MOH__FAMILY_QWEN3;
  if (is_given(root, "attention_bias"))
    MOH_TRY(moh__json_get_bool(root, "attention_bias", &c->output_bias, err));
  c->qkv_bias = c->output_bias;
  if (!is_given(root, "mlp_bias")) return MOH_OK;
  return moh__json_get_bool(root, "mlp_bias", &c->mlp_bias, err);
}

/* The defaults are those of moh__config_default. */
static moh_status read_real(const json_t *root, moh__family family,
                            const char *key, double *value, moh_error *err) {
  if (is_left_out(root, family, key)) return MOH_OK;
  return moh__json_get_real(root, key, value, err);
}

moh_status moh__family_read(moh__config *c, const json_t *root,
                            moh__family family, moh_error *err) {
  MOH_TRY(refuse_options(root, family, err));
  MOH_TRY(read_sizes(c, root, family, err));
  MOH_TRY(read_real(root, family, "rms_norm_eps", &c->norm_eps, err));
  MOH_TRY(read_real(root, family, "initializer_range", &c->init_std, err));
  MOH_TRY(read_biases(c, root, family, err));
  if (is_left_out(root, family, "tie_word_embeddings")) return MOH_OK;
  return moh__json_get_bool(root, "tie_word_embeddings", &c->tied, err);
}

/* ---- RoPE ---- */

static moh_status check_one_type(const json_t *object, moh_error *err) {
  if (!is_given(object, "rope_type") || !is_given(object, "type") ||
      json_equal(json_object_get(object, "rope_type"),
                 json_object_get(object, "type")))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "\"rope_type\" and \"type\" say different things");
}

/* "rope_type", or "type" in older files. */
static moh_status read_scaling(moh__config *c, json_t *object,
                               moh_error *err) {
  static const char *const known[] = {"rope_type",
                                      "type",
                                      "factor",
                                      "low_freq_factor",
                                      "high_freq_factor",
                                      "original_max_position_embeddings",
                                      "rope_theta",
                                      "partial_rotary_factor",
                                      NULL};
  moh__rope_scaling *s = &c->rope_scaling;
  int kind;
  const char *key = is_given(object, "rope_type") ? "rope_type" : "type";
  MOH_TRY(check_one_type(object, err));
  MOH_TRY(get_choice(object, key, scaling_names, &kind, err));
  MOH_TRY(refuse_unknown(object, "rope_scaling", known, err));
  MOH_TRY(check_rotated_part(object, err));
  s->kind = (moh__rope_scaling_kind)kind;
  if (is_given(object, "rope_theta"))
    MOH_TRY(moh__json_get_real(object, "rope_theta", &c->rope_theta, err));
  if (kind == MOH__ROPE_UNSCALED) return MOH_OK;
  MOH_TRY(moh__json_get_real(object, "factor", &s->factor, err));
  if (kind == MOH__ROPE_LINEAR) return MOH_OK;
  MOH_TRY(moh__json_get_real(object, "low_freq_factor", &s->low_freq_factor,
                             err));
  MOH_TRY(moh__json_get_real(object, "high_freq_factor", &s->high_freq_factor,
                             err));
  return get_int(object, "original_max_position_embeddings", &s->original_max,
                 err);
}

/* Newer files have all of it in "rope_parameters". */
static moh_status find_scaling(const json_t *root, const char **key,
                               moh_error *err) {
  bool old = is_set(root, "rope_scaling");
  bool new = is_set(root, "rope_parameters");
  *key = new ? "rope_parameters" : old ? "rope_scaling" : NULL;
  if (!old || !new) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "there are both \"rope_scaling\" and \"rope_parameters\"");
}

moh_status moh__family_read_rope(moh__config *c, const json_t *root,
                                 moh__family family, moh_error *err) {
  const char *key;
  json_t *object;
  MOH_TRY(find_scaling(root, &key, err));
  if (key != NULL) {
    MOH_TRY(get_object(root, key, &object, err));
    moh_status status = read_scaling(c, object, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "%s", key);
  }
  if (c->position != MOH__POSITION_ROPE) return MOH_OK;
  if (key != NULL && is_given(json_object_get(root, key), "rope_theta") &&
      !is_given(root, "rope_theta"))
    return MOH_OK;
  return read_real(root, family, "rope_theta", &c->rope_theta, err);
}
