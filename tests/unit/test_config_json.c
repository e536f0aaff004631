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
      cmocka_unit_test(what_is_no_object_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
