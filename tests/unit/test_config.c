/* Configurations: every field round-trips, in files and as text. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/config_fields.h"
#include "support/preset.h"

/* ---- the same configuration ---- */

#define ASSERT_SAME(member) assert_true(a->member == b->member)

/* Field by field: what a choice makes meaningless is compared only where it
 * has a meaning. */
static void assert_same(const moh__config *a, const moh__config *b) {
  ASSERT_SAME(architecture);
  ASSERT_SAME(vocab_size);
  ASSERT_SAME(d_model);
  ASSERT_SAME(d_ff);
  ASSERT_SAME(n_layers);
  ASSERT_SAME(n_heads);
  ASSERT_SAME(n_kv_heads);
  ASSERT_SAME(d_head);
  ASSERT_SAME(max_seq_len);
  ASSERT_SAME(norm);
  ASSERT_SAME(norm_eps);
  ASSERT_SAME(pre_norm);
  ASSERT_SAME(final_norm);
  ASSERT_SAME(ffn);
  ASSERT_SAME(position);
  ASSERT_SAME(tied);
  ASSERT_SAME(output_projection);
  ASSERT_SAME(qkv_bias);
  ASSERT_SAME(output_bias);
  ASSERT_SAME(mlp_bias);
  ASSERT_SAME(qk_norm);
  ASSERT_SAME(rope_scaling.kind);
  if (a->rope_scaling.kind != MOH__ROPE_UNSCALED)
    ASSERT_SAME(rope_scaling.factor);
  if (a->rope_scaling.kind == MOH__ROPE_LLAMA3) {
    ASSERT_SAME(rope_scaling.low_freq_factor);
    ASSERT_SAME(rope_scaling.high_freq_factor);
    ASSERT_SAME(rope_scaling.original_max);
  }
  ASSERT_SAME(heads);
  ASSERT_SAME(n_shared);
  ASSERT_SAME(k);
  ASSERT_SAME(n_static);
  ASSERT_SAME(init_std);
  if (a->position == MOH__POSITION_ROPE) ASSERT_SAME(rope_theta);
  if (a->position == MOH__POSITION_COPE) ASSERT_SAME(cope_positions);
  ASSERT_SAME(window.kind);
  if (a->architecture == MOH__HYPERMIXER) {
    ASSERT_SAME(hyper_width);
    ASSERT_SAME(hyper_mix);
  }
  if (a->architecture == MOH__HRM) {
    ASSERT_SAME(hrm_cycles);
    ASSERT_SAME(hrm_steps);
    ASSERT_SAME(hrm_exact);
    ASSERT_SAME(hrm_supervision);
  }
  if (a->window.kind == MOH__WINDOW_SLIDING) ASSERT_SAME(window.size);
  if (a->window.kind > MOH__WINDOW_SLIDING) {
    ASSERT_SAME(window.min);
    ASSERT_SAME(window.max);
  }
  ASSERT_SAME(experts.n_routed);
  if (a->experts.n_routed > 0) {
    ASSERT_SAME(experts.n_shared);
    ASSERT_SAME(experts.k);
    ASSERT_SAME(experts.width);
    ASSERT_SAME(experts.balance_weight);
    ASSERT_SAME(experts.z_weight);
    ASSERT_SAME(experts.bias_balance);
    ASSERT_SAME(experts.router_init_std);
  }
  if (a->heads == MOH__HEADS_ADAPTIVE) {
    ASSERT_SAME(k_min);
    ASSERT_SAME(mass);
    ASSERT_SAME(sparsity_weight);
  }
  if (a->heads == MOH__HEADS_RANDOM) {
    ASSERT_SAME(route_seed);
    ASSERT_SAME(route_by);
  }
  if (!moh__config_has_router(a)) return;
  ASSERT_SAME(gate_scale);
  ASSERT_SAME(balance_weight);
  ASSERT_SAME(z_weight);
  ASSERT_SAME(bias_balance);
  ASSERT_SAME(router_init_std);
  ASSERT_SAME(route_by);
}

/* Through the text of config.json. */
static void assert_round_trip(const moh__config *config) {
  moh__config back;
  moh_error err = {0};
  json_t *json = moh__config_to_json(config), *parsed;
  char *text = json_dumps(json, JSON_REAL_PRECISION(17));
  assert_non_null(text);
  moh_status status =
      moh__json_parse(&parsed, text, strlen(text), "config.json", &err);
  if (status == MOH_OK) {
    status = moh__config_from_json(&back, parsed, &err);
    json_decref(parsed);
  }
  free(text);
  json_decref(json);
  if (status != MOH_OK) fail_msg("%s", err.message);
  assert_same(config, &back);
}

static void presets_round_trip(void **state) {
  (void)state;
  for (const char *const *name = moh__config_preset_names(); *name;
       name++) {
    moh__config config = preset(*name);
    assert_int_equal(moh__config_check(&config, NULL), MOH_OK);
    assert_round_trip(&config);
  }
}

/* Every field in turn takes a value that is not the default. */
static void every_field_round_trips(void **state) {
  (void)state;
  moh__config config = preset("seed");
#define ROUND_TRIP(member, value) \
  do {                            \
    moh__config old = config;     \
    config.member = (value);      \
    assert_round_trip(&config);   \
    config = old;                 \
  } while (0)
  config.output_projection = true; /* frees d_model from n_heads * d_head */
  ROUND_TRIP(output_projection, false);
  ROUND_TRIP(qkv_bias, true);
  ROUND_TRIP(output_bias, true);
  ROUND_TRIP(mlp_bias, true);
  ROUND_TRIP(qk_norm, true);
  ROUND_TRIP(vocab_size, 7);
  ROUND_TRIP(d_model, 96);
  ROUND_TRIP(d_ff, 1);
  ROUND_TRIP(n_layers, 5);
  ROUND_TRIP(n_heads, 12);
  ROUND_TRIP(n_kv_heads, 2);
  ROUND_TRIP(d_head, 256);
  ROUND_TRIP(max_seq_len, 1);
  ROUND_TRIP(norm, MOH__NORM_LAYER);
  ROUND_TRIP(norm, MOH__NORM_DYT);
  ROUND_TRIP(norm_eps, 1.0 / 3e5);
  ROUND_TRIP(pre_norm, true);
  ROUND_TRIP(final_norm, true);
  ROUND_TRIP(ffn, MOH__FFN_RELU);
  ROUND_TRIP(tied, true);
  ROUND_TRIP(cope_positions, 2);
  ROUND_TRIP(n_shared, 0);
  ROUND_TRIP(k, 0);
  ROUND_TRIP(gate_scale, MOH__GATE_PAPER);
  ROUND_TRIP(gate_scale, MOH__GATE_ONE);
  ROUND_TRIP(balance_weight, 0);
  ROUND_TRIP(z_weight, 1e-3);
  ROUND_TRIP(bias_balance, 1e-3);
  ROUND_TRIP(init_std, 0.1 / 3);
  ROUND_TRIP(router_init_std, 0);
  config.k = 1; /* 2 + 1 of 4 KV heads */
  ROUND_TRIP(route_by, MOH__ROUTE_BY_GROUP);
  config.heads = MOH__HEADS_ADAPTIVE;
  config.k_min = 1;
  config.k = 2;
  ROUND_TRIP(k_min, 2);
  ROUND_TRIP(mass, 1.0 / 3);
  ROUND_TRIP(sparsity_weight, 1e-3);
  ROUND_TRIP(gate_scale, MOH__GATE_ONE);
  ROUND_TRIP(route_by, MOH__ROUTE_BY_GROUP);
  config.k = 1;
  config.heads = MOH__HEADS_RANDOM;
  ROUND_TRIP(route_by, MOH__ROUTE_BY_GROUP);
  ROUND_TRIP(route_seed, 0);
  ROUND_TRIP(route_seed, INT64_C(1) << 53);
  config.heads = MOH__HEADS_MOH;
  config.window.size = 7;
  config.window.min = 2;
  config.window.max = 9;
  ROUND_TRIP(window.kind, MOH__WINDOW_SLIDING);
  ROUND_TRIP(window.kind, MOH__WINDOW_LENGTH);
  ROUND_TRIP(window.kind, MOH__WINDOW_ENTROPY);
  ROUND_TRIP(window.kind, MOH__WINDOW_PERPLEXITY);
  config.n_layers = 6;
  moh__config_set_architecture(&config, MOH__HRM);
  ROUND_TRIP(hrm_cycles, 7);
  ROUND_TRIP(hrm_steps, 5);
  ROUND_TRIP(hrm_exact, true);
  config.hrm_cycles = 6;
  ROUND_TRIP(hrm_supervision, 3);
  config.architecture = MOH__TRANSFORMER;
  config.hrm_exact = false;
  ROUND_TRIP(position, MOH__POSITION_LEARNED);
  ROUND_TRIP(position, MOH__POSITION_NONE);
  config.position = MOH__POSITION_ROPE;
  ROUND_TRIP(rope_theta, 500000);
  config.rope_scaling = (moh__rope_scaling){MOH__ROPE_UNSCALED, 8, 1, 4, 99};
  ROUND_TRIP(rope_scaling.kind, MOH__ROPE_LINEAR);
  config.rope_scaling.kind = MOH__ROPE_LLAMA3;
  ROUND_TRIP(rope_scaling.factor, 1.0 / 3 + 1);
  ROUND_TRIP(rope_scaling.low_freq_factor, 1.0 / 3);
  ROUND_TRIP(rope_scaling.high_freq_factor, 3.5);
  ROUND_TRIP(rope_scaling.original_max, 8192);
  assert_int_equal(moh__config_set_experts(&config, "1+2/8", NULL), MOH_OK);
  ROUND_TRIP(experts.n_routed, 4096);
  ROUND_TRIP(experts.k, 8);
  ROUND_TRIP(experts.n_shared, 0);
  ROUND_TRIP(experts.width, 5);
  ROUND_TRIP(experts.balance_weight, 0);
  ROUND_TRIP(experts.z_weight, 1e-3);
  ROUND_TRIP(experts.bias_balance, 1e-3);
  ROUND_TRIP(experts.router_init_std, 0.1);
  config = preset("nano");
  moh__config_set_architecture(&config, MOH__HYPERMIXER);
  ROUND_TRIP(cope_positions, 4);
  ROUND_TRIP(hyper_mix, 7);
  ROUND_TRIP(hyper_width, 9);
#undef ROUND_TRIP
}

static void every_strategy_round_trips(void **state) {
  (void)state;
  static const char *const texts[] = {
      "all",      "moh:0+1",    "moh:8+0",        "moh:3+5",       "static:1",
      "static:8", "random:2+3", "adaptive:2+1-5", "adaptive:0+8-8"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    char text[64];
    moh__config config = preset("seed");
    assert_int_equal(moh__config_set_heads(&config, texts[i], NULL),
                     MOH_OK);
    assert_round_trip(&config);
    moh__config_heads_text(&config, text, sizeof(text));
    assert_string_equal(text, texts[i]);
  }
}

static void every_scaling_round_trips(void **state) {
  (void)state;
  static const char *const texts[] = {"none", "linear:2.5",
                                      "llama3:8,1,4,8192"};
  static const char *const bad[] = {
      "",       "linear",   "linear:", "linear:2,", "llama3:8,1,4",
      "llama3", "yarn:4",   "linear:2x", "llama3:8,1,4,8192,", "None"};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    char text[64];
    moh__config c = preset("moh-s");
    assert_int_equal(moh__config_set_rope_scaling(&c, texts[i], NULL),
                     MOH_OK);
    assert_round_trip(&c);
    moh__config_rope_scaling_text(&c, text, sizeof(text));
    assert_string_equal(text, texts[i]);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    moh__config c = preset("moh-s");
    assert_int_equal(moh__config_set_rope_scaling(&c, bad[i], NULL),
                     MOH_ERR_ARGUMENT);
    assert_int_equal(c.rope_scaling.kind, MOH__ROPE_UNSCALED);
  }
}

static void every_choice_of_experts_round_trips(void **state) {
  (void)state;
  static const char *const texts[] = {"none", "0+1/1", "2+3/64"};
  static const char *const bad[] = {
      "",       "0",      "0+1",  "0+1/",   "0+1/0",         "+1/2",
      "0+1/2 ", "-1+1/2", "None", "0+1/2/", "9999999999+1/2"};
  char text[64];
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    moh__config config = preset("moh-s");
    assert_int_equal(moh__config_set_experts(&config, texts[i], NULL),
                     MOH_OK);
    assert_round_trip(&config);
    moh__config_experts_text(&config, text, sizeof(text));
    assert_string_equal(text, texts[i]);
    assert_int_equal(config.experts.width, i == 0 ? 0 : config.d_ff);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    moh__config config = preset("moh-s");
    assert_int_equal(moh__config_set_experts(&config, bad[i], NULL),
                     MOH_ERR_ARGUMENT);
    assert_int_equal(config.experts.n_routed, 0);
  }
}

/* ---- what common tools read ---- */

static void assert_type(const moh__config *config, const char *type,
                        const char *class) {
  json_t *json = moh__config_to_json(config);
  const json_t *classes = json_object_get(json, "architectures");
  assert_string_equal(
      json_string_value(json_object_get(json, "model_type")), type);
  assert_string_equal(json_string_value(json_array_get(classes, 0)), class);
  assert_int_equal(json_object_get(json, "moh") != NULL,
                   strcmp(type, "moh") == 0);
  json_decref(json);
}

/* One choice away from LLaMA is no LLaMA any more. */
static void only_a_llama_is_written_as_one(void **state) {
  (void)state;
  moh__config llama, other;
  moh__config_default(&llama);
  llama.vocab_size = 100;
  assert_type(&llama, "llama", "LlamaForCausalLM");
#define ASSERT_OTHER(member, value)               \
  do {                                            \
    other = llama;                                \
    other.member = (value);                       \
    assert_type(&other, "moh", "MohForCausalLM"); \
  } while (0)
  ASSERT_OTHER(norm, MOH__NORM_LAYER);
  ASSERT_OTHER(pre_norm, false);
  ASSERT_OTHER(final_norm, false);
  ASSERT_OTHER(ffn, MOH__FFN_RELU);
  ASSERT_OTHER(position, MOH__POSITION_NONE);
  ASSERT_OTHER(output_projection, false);
  ASSERT_OTHER(heads, MOH__HEADS_MOH);
  ASSERT_OTHER(heads, MOH__HEADS_STATIC);
  ASSERT_OTHER(heads, MOH__HEADS_RANDOM);
  ASSERT_OTHER(heads, MOH__HEADS_ADAPTIVE);
  ASSERT_OTHER(heads, MOH__HEADS_NORM);
#undef ASSERT_OTHER
}

/* Biases and norms decide which of the family a model is, and those that none
 * of them has are in the "moh" object. */
static void families_are_written_as_what_they_are(void **state) {
  (void)state;
  static const struct {
    bool qkv, output, mlp, norm;
    const char *type, *class;
  } rows[] = {
      {true, true, false, false, "llama", "LlamaForCausalLM"},
      {false, false, true, false, "llama", "LlamaForCausalLM"},
      {true, false, false, false, "qwen2", "Qwen2ForCausalLM"},
      {false, false, false, true, "qwen3", "Qwen3ForCausalLM"},
      {true, true, false, true, "qwen3", "Qwen3ForCausalLM"},
      {false, true, false, false, "moh", "MohForCausalLM"},
      {true, false, true, false, "moh", "MohForCausalLM"},
      {true, false, false, true, "moh", "MohForCausalLM"},
      {false, false, true, true, "moh", "MohForCausalLM"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    moh__config c;
    moh__config_default(&c);
    c.vocab_size = 100;
    c.qkv_bias = rows[i].qkv;
    c.output_bias = rows[i].output;
    c.mlp_bias = rows[i].mlp;
    c.qk_norm = rows[i].norm;
    assert_type(&c, rows[i].type, rows[i].class);
    assert_round_trip(&c);
  }
}

static void llama_fields_have_their_names(void **state) {
  (void)state;
  moh__config config;
  moh__config_default(&config);
  config.vocab_size = 11;
  json_t *json = moh__config_to_json(&config);
  static const char expected[] =
      "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
      "\"vocab_size\":11,\"hidden_size\":128,\"intermediate_size\":344,"
      "\"num_hidden_layers\":4,\"num_attention_heads\":4,"
      "\"num_key_value_heads\":4,\"head_dim\":32,"
      "\"max_position_embeddings\":256,\"hidden_act\":\"silu\","
      "\"rms_norm_eps\":1e-6,\"initializer_range\":0.02,"
      "\"tie_word_embeddings\":false,\"torch_dtype\":\"float32\","
      "\"rope_theta\":10000.0}";
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
  assert_string_equal(text, expected);
  free(text);
  json_decref(json);
}

/* ---- reading ---- */

static void harmless_fields_are_ignored(void **state) {
  (void)state;
  moh__config config = preset("seed"), back;
  json_t *root = moh__config_to_json(&config);
  json_object_set_new(root, "use_cache", json_true());
  json_object_set_new(root, "rope_scaling", json_null());
  json_object_set_new(root, "attention_bias", json_false());
  assert_int_equal(moh__config_from_json(&back, root, NULL), MOH_OK);
  assert_same(&config, &back);
  json_decref(root);
}

/* ---- heads as text ---- */

static void wrong_spellings_are_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {"",
                                      "ALL",
                                      "all ",
                                      "moh",
                                      "moh:",
                                      "moh:2",
                                      "moh:2+",
                                      "moh:+4",
                                      "moh:2+4 ",
                                      "moh: 2+4",
                                      "moh:2+4x",
                                      "moh:-1+4",
                                      "static",
                                      "static:",
                                      "static:x",
                                      "static:4.5",
                                      "moh:2+99999999999",
                                      "moh:0x2+4"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    moh__config config = preset("seed"), old = config;
    assert_int_equal(moh__config_set_heads(&config, wrong[i], NULL),
                     MOH_ERR_ARGUMENT);
    assert_memory_equal(&config, &old, sizeof(config));
  }
}

static void heads_in_use(void **state) {
  (void)state;
  moh__config config = preset("seed");
  moh__router_shape shape = moh__config_router_shape(&config);
  assert_int_equal(moh__config_active_heads(&config), 6);
  assert_int_equal(shape.n_shared, 2);
  assert_int_equal(shape.n_routed, 6);
  assert_int_equal(shape.k, 4);
  assert_int_equal(shape.scale, MOH__GATE_UNIT);
  moh__config_set_heads(&config, "static:3", NULL);
  shape = moh__config_router_shape(&config);
  assert_int_equal(moh__config_active_heads(&config), 3);
  assert_false(moh__router_has_shared(&shape));
  assert_false(moh__router_has_mix(&shape));
  assert_false(moh__router_has_routed(&shape));
  moh__config_set_heads(&config, "all", NULL);
  assert_int_equal(moh__config_active_heads(&config), 8);
}

static void unknown_presets_are_refused(void **state) {
  (void)state;
  moh__config config;
  moh_error err = {0};
  assert_int_equal(moh__config_preset(&config, "huge", &err),
                   MOH_ERR_ARGUMENT);
  for (const char *const *name = moh__config_preset_names(); *name; name++)
    assert_non_null(strstr(err.message, *name));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(presets_round_trip),
      cmocka_unit_test(every_field_round_trips),
      cmocka_unit_test(every_strategy_round_trips),
      cmocka_unit_test(every_scaling_round_trips),
      cmocka_unit_test(every_choice_of_experts_round_trips),
      cmocka_unit_test(only_a_llama_is_written_as_one),
      cmocka_unit_test(families_are_written_as_what_they_are),
      cmocka_unit_test(llama_fields_have_their_names),
      cmocka_unit_test(harmless_fields_are_ignored),
      cmocka_unit_test(wrong_spellings_are_refused),
      cmocka_unit_test(heads_in_use),
      cmocka_unit_test(unknown_presets_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
