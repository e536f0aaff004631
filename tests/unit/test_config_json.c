/* Reading config.json: what is missing, wrong or unknown is named. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "support/preset.h"

/* Sets a field to a JSON text (NULL: removes it), reads, and expects a
 * message with a part. path: "heads" and "moh" lead into those objects. */
static void assert_unreadable(const char *object, const char *key,
                              const char *value, const char *part) {
  moh__config config = preset("seed"), read = config;
  moh_error err = {0};
  json_t *root = moh__config_to_json(&config), *moh, *target = root;
  moh = json_object_get(root, "moh");
  if (strcmp(object, "moh") == 0) target = moh;
  if (strcmp(object, "heads") == 0) target = json_object_get(moh, "heads");
  if (value == NULL)
    assert_int_equal(json_object_del(target, key), 0);
  else
    json_object_set_new(target, key, json_loads(value, JSON_DECODE_ANY, 0));
  assert_int_not_equal(moh__config_from_json(&read, root, &err), MOH_OK);
  json_decref(root);
  if (strstr(err.message, part) == NULL)
    fail_msg("%s %s: '%s' lacks '%s'", object, key, err.message, part);
  assert_memory_equal(&read, &config, sizeof(read)); /* left alone */
}

static void missing_fields_are_named(void **state) {
  (void)state;
  static const char *const root[] = {"architectures",
                                     "model_type",
                                     "vocab_size",
                                     "hidden_size",
                                     "intermediate_size",
                                     "num_hidden_layers",
                                     "num_attention_heads",
                                     "num_key_value_heads",
                                     "head_dim",
                                     "max_position_embeddings",
                                     "hidden_act",
                                     "rms_norm_eps",
                                     "initializer_range",
                                     "tie_word_embeddings",
                                     "moh"};
  static const char *const moh[] = {
      "architecture", "norm",     "pre_norm",       "final_norm",
      "ffn",          "position", "cope_positions", "output_projection",
      "heads"};
  static const char *const heads[] = {
      "strategy", "n_shared",       "k", "gate_scale", "balance_weight",
      "z_weight", "router_init_std"};
  for (size_t i = 0; i < sizeof(root) / sizeof(root[0]); i++)
    assert_unreadable("root", root[i], NULL, root[i]);
  for (size_t i = 0; i < sizeof(moh) / sizeof(moh[0]); i++)
    assert_unreadable("moh", moh[i], NULL, moh[i]);
  for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
    assert_unreadable("heads", heads[i], NULL, heads[i]);
}

static void wrong_fields_are_named(void **state) {
  (void)state;
  assert_unreadable("root", "vocab_size", "\"605\"", "vocab_size");
  assert_unreadable("root", "vocab_size", "605.0", "vocab_size");
  assert_unreadable("root", "vocab_size", "-1", "vocab_size");
  assert_unreadable("root", "tie_word_embeddings", "1",
                    "tie_word_embeddings");
  assert_unreadable("root", "model_type", "\"gpt2\"", "gpt2");
  assert_unreadable("root", "model_type", "\"llama\"", "architectures");
  assert_unreadable("root", "architectures", "[]", "architectures");
  assert_unreadable("root", "hidden_act", "\"gelu\"", "hidden_act");
  assert_unreadable("root", "hidden_act", "\"relu\"", "hidden_act");
  assert_unreadable("root", "moh", "[]", "moh");
  assert_unreadable("root", "moh", "null", "moh");
  assert_unreadable("moh", "position", "\"rope\"", "cope_positions");
  assert_unreadable("moh", "position", "\"alibi\"", "alibi");
  assert_unreadable("moh", "hrm", "{}", "architecture");
  assert_unreadable("moh", "hypermixer", "{}", "architecture");
  assert_unreadable("moh", "architecture", "\"hypermixer\"", "hypermixer");
  assert_unreadable("moh", "architecture", "\"hrm\"", "hrm");
  assert_unreadable("moh", "window", "4096", "window");
  assert_unreadable("moh", "window", "{\"kind\":\"far\"}", "far");
  assert_unreadable("moh", "window", "{\"kind\":\"sliding\"}", "size");
  assert_unreadable("moh", "window", "{\"kind\":\"sliding\",\"size\":0}",
                    "window.size is 0");
  assert_unreadable("moh", "window",
                    "{\"kind\":\"sliding\",\"size\":3,\"max\":4}", "max");
  assert_unreadable("moh", "window",
                    "{\"kind\":\"length\",\"min\":5,\"max\":4}",
                    "not be above window.max");
  assert_unreadable("moh", "window",
                    "{\"kind\":\"entropy\",\"min\":0,\"max\":4}",
                    "window.min is 0");
  assert_unreadable("moh", "window", "{\"kind\":\"perplexity\",\"size\":4}",
                    "size");
  assert_unreadable("moh", "experts", "8", "experts");
  assert_unreadable("moh", "experts", "{}", "n_shared");
  assert_unreadable("moh", "experts", "{\"capacity\":1}", "capacity");
  assert_unreadable("moh", "experts",
                    "{\"n_shared\":0,\"k\":1,\"n_routed\":0}", "n_routed");
  assert_unreadable("moh", "heads", "\"moh\"", "heads");
  assert_unreadable("heads", "k", "7", "k is 7");
  assert_unreadable("heads", "bias_balance", "0", "bias_balance");
  assert_unreadable("heads", "bias_balance", "2", "bias_balance");
  assert_unreadable("heads", "bias_balance", "true", "bias_balance");
  assert_unreadable("heads", "n_static", "7", "n_static");
  assert_unreadable("heads", "route_by", "\"token\"", "route_by");
  assert_unreadable("heads", "route_by", "1", "route_by");
  assert_unreadable("heads", "strategy", "\"all\"", "not known");
  assert_unreadable("heads", "strategy", "\"static\"", "not known");
}

/* Ignored, these would give a model that runs and is wrong. */
static void unknown_arithmetic_is_refused(void **state) {
  (void)state;
  assert_unreadable("root", "rope_scaling", "{\"type\": \"linear\"}",
                    "rope_scaling");
  assert_unreadable("root", "attention_bias", "true", "attention_bias");
  assert_unreadable("root", "mlp_bias", "true", "mlp_bias");
  assert_unreadable("root", "sliding_window", "4096", "sliding_window");
}

/* ---- files of other programs ---- */

static const char llama_text[] =
    "{\"model_type\":\"llama\",\"vocab_size\":100,\"hidden_size\":64,"
    "\"intermediate_size\":96,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4}";

/* The text above with fields changed: {"key": value, ...}; null removes. */
static moh_status read_llama(moh__config *config, const char *changes,
                             moh_error *err) {
  const char *key;
  json_t *root = json_loads(llama_text, 0, NULL), *value;
  json_t *changed = json_loads(changes, 0, NULL);
  assert_non_null(changed);
  json_object_foreach(changed, key, value)
      json_object_set(root, key, value);
  moh_status status = moh__config_from_json(config, root, err);
  json_decref(changed);
  json_decref(root);
  return status;
}

static moh__config good_llama(const char *changes) {
  moh__config config;
  moh_error err = {0};
  if (read_llama(&config, changes, &err) != MOH_OK)
    fail_msg("%s: %s", changes, err.message);
  return config;
}

static void what_is_left_out_has_its_default(void **state) {
  (void)state;
  moh__config c = good_llama("{}");
  assert_int_equal(c.n_kv_heads, 4);
  assert_int_equal(c.d_head, 16);
  assert_int_equal(c.max_seq_len, 2048);
  assert_true(c.rope_theta == 10000 && c.norm_eps == 1e-6);
  assert_true(c.init_std == 0.02 && !c.tied);
  assert_false(c.qkv_bias || c.output_bias || c.mlp_bias || c.qk_norm);
  c = good_llama("{\"head_dim\":null,\"num_key_value_heads\":null,"
                 "\"rope_scaling\":null,\"rope_theta\":500000}");
  assert_true(c.n_kv_heads == 4 && c.d_head == 16 && c.rope_theta == 5e5);
  c = good_llama("{\"model_type\":\"qwen2\",\"sliding_window\":64,"
                 "\"use_sliding_window\":false,\"max_window_layers\":1}");
  assert_true(c.qkv_bias && !c.output_bias && !c.qk_norm);
  assert_int_equal(c.max_seq_len, 32768);
  c = good_llama("{\"model_type\":\"qwen3\"}");
  assert_true(c.qk_norm && !c.qkv_bias && c.d_head == 128);
}

static void what_changes_nothing_is_passed_over(void **state) {
  (void)state;
  good_llama("{\"use_cache\":true,\"pretraining_tp\":2,\"auto_map\":{},"
             "\"attention_dropout\":0.1,\"partial_rotary_factor\":1.0,"
             "\"layer_types\":[\"full_attention\",\"full_attention\"],"
             "\"quantization_config\":{\"quant_method\":\"moh\"}}");
  good_llama("{\"model_type\":\"qwen2\",\"sliding_window\":64,"
             "\"use_sliding_window\":true,\"max_window_layers\":2}");
}

static void scaling_is_read_in_both_spellings(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{\"rope_theta\":5e5,\"rope_scaling\":{\"rope_type\":\"llama3\",",
      "{\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\",",
      "{\"rope_parameters\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\",",
  };
  static const char rest[] =
      "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
      "\"original_max_position_embeddings\":8192}}";
  for (int i = 0; i < 3; i++) {
    char text[512];
    snprintf(text, sizeof(text), "%s%s", texts[i], rest);
    moh__config c = good_llama(text);
    moh__rope_scaling s = c.rope_scaling;
    assert_true(c.rope_theta == 5e5);
    assert_true(s.kind == MOH__ROPE_LLAMA3 && s.factor == 8);
    assert_true(s.low_freq_factor == 1 && s.high_freq_factor == 4);
    assert_int_equal(s.original_max, 8192);
  }
  moh__config c = good_llama(
      "{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7}}");
  assert_true(c.rope_theta == 7 && c.rope_scaling.kind == MOH__ROPE_UNSCALED);
  c = good_llama(
      "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}");
  assert_true(c.rope_scaling.kind == MOH__ROPE_LINEAR &&
              c.rope_scaling.factor == 4);
}

static void foreign_arithmetic_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *changes, *part;
  } rows[] = {
      {"{\"sliding_window\":4096}", "sliding_window"},
      {"{\"model_type\":\"qwen2\",\"sliding_window\":64,"
       "\"use_sliding_window\":true}",
       "sliding_window"},
      {"{\"model_type\":\"qwen3\",\"sliding_window\":64,"
       "\"use_sliding_window\":true,\"max_window_layers\":1}",
       "sliding_window"},
      {"{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
       "layer_types"},
      {"{\"partial_rotary_factor\":0.5}", "partial_rotary_factor"},
      {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}}", "yarn"},
      {"{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}}", "dynamic"},
      {"{\"rope_scaling\":{\"factor\":4}}", "rope_scaling"},
      {"{\"rope_scaling\":[4]}", "rope_scaling"},
      {"{\"rope_scaling\":{\"type\":\"linear\"}}", "factor"},
      {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":4,"
       "\"mscale\":1}}",
       "mscale"},
      {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}}", "factor"},
      {"{\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"llama3\","
       "\"factor\":2}}",
       "\"rope_type\" and \"type\" say different things"},
      {"{\"rope_parameters\":{\"rope_type\":\"default\"},"
       "\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}",
       "rope_parameters"},
      {"{\"rope_parameters\":{\"rope_type\":\"default\","
       "\"partial_rotary_factor\":0.25}}",
       "partial_rotary_factor"},
      {"{\"quantization_config\":{\"quant_method\":\"gptq\"}}",
       "quantization_config"},
      {"{\"hidden_act\":\"gelu\"}", "hidden_act"},
      {"{\"hidden_act\":\"relu\"}", "hidden_act"},
      {"{\"model_type\":\"mistral\"}", "mistral"},
      {"{\"architectures\":[\"LlamaForSequenceClassification\"]}",
       "architectures"},
      {"{\"model_type\":\"qwen2\",\"mlp_bias\":true}", "mlp_bias"},
      {"{\"attention_bias\":1}", "attention_bias"},
      {"{\"logits_scaling\":8.0}", "logits_scaling"},
      {"{\"rope_interleaved\":true}", "rope_interleaved"},
      {"{\"hidden_size\":null}", "hidden_size"},
      {"{\"num_attention_heads\":0}", "head"},
      {"{\"num_key_value_heads\":-1}", "num_key_value_heads"},
      {"{\"num_key_value_heads\":3}", "num_key_value_heads"},
      {"{\"rms_norm_eps\":\"1e-6\"}", "rms_norm_eps"},
      {"{\"rope_theta\":0}", "rope_theta"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    moh__config config;
    moh_error err = {0};
    if (read_llama(&config, rows[i].changes, &err) == MOH_OK)
      fail_msg("%s is read", rows[i].changes);
    if (strstr(err.message, rows[i].part) == NULL)
      fail_msg("%s: '%s' lacks '%s'", rows[i].changes, err.message,
               rows[i].part);
  }
}

static void what_is_no_object_is_refused(void **state) {
  (void)state;
  moh__config config;
  json_t *array = json_array();
  assert_int_equal(moh__config_from_json(&config, array, NULL),
                   MOH_ERR_FORMAT);
  json_decref(array);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(missing_fields_are_named),
      cmocka_unit_test(wrong_fields_are_named),
      cmocka_unit_test(unknown_arithmetic_is_refused),
      cmocka_unit_test(what_is_left_out_has_its_default),
      cmocka_unit_test(what_changes_nothing_is_passed_over),
      cmocka_unit_test(scaling_is_read_in_both_spellings),
      cmocka_unit_test(foreign_arithmetic_is_refused),
      cmocka_unit_test(what_is_no_object_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
