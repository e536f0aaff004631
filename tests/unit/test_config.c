/* Configurations: every field round-trips, every invalid one is named. */
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
  assert_int_equal(moh__config_set_experts(&config, "1+2/8", NULL), MOH_OK);
  ROUND_TRIP(experts.n_routed, 4096);
  ROUND_TRIP(experts.k, 8);
  ROUND_TRIP(experts.n_shared, 0);
  ROUND_TRIP(experts.width, 5);
  ROUND_TRIP(experts.balance_weight, 0);
  ROUND_TRIP(experts.z_weight, 1e-3);
  ROUND_TRIP(experts.bias_balance, 1e-3);
  ROUND_TRIP(experts.router_init_std, 0.1);
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
#undef ASSERT_OTHER
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

/* ---- what is refused ---- */

static bool names(const moh_error *err, const char *name) {
  return strncmp(err->message, name, strlen(name)) == 0;
}

static void assert_invalid(const moh__config *config, const char *name) {
  moh_error err = {0};
  assert_int_equal(moh__config_check(config, &err), MOH_ERR_CONFIG);
  if (!names(&err, name))
    fail_msg("'%s' does not name '%s'", err.message, name);
}

#define ASSERT_INVALID(base, member, value, name) \
  do {                                            \
    moh__config changed = (base);                 \
    changed.member = (value);                     \
    assert_invalid(&changed, name);               \
  } while (0)

#define ASSERT_VALID(base, member, value)                        \
  do {                                                           \
    moh__config changed = (base);                                \
    changed.member = (value);                                    \
    assert_int_equal(moh__config_check(&changed, NULL), MOH_OK); \
  } while (0)

static void sizes_have_limits(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  ASSERT_INVALID(c, vocab_size, 0, "vocab_size");
  ASSERT_INVALID(c, vocab_size, (1 << 24) + 1, "vocab_size");
  ASSERT_VALID(c, vocab_size, 1 << 24);
  ASSERT_INVALID(c, d_model, 0, "hidden_size");
  ASSERT_INVALID(c, d_model, INT64_MAX, "hidden_size");
  ASSERT_INVALID(c, d_ff, -1, "intermediate_size");
  ASSERT_INVALID(c, d_ff, INT64_MAX, "intermediate_size");
  ASSERT_INVALID(c, n_layers, 0, "num_hidden_layers");
  ASSERT_INVALID(c, n_layers, INT64_MAX, "num_hidden_layers");
  ASSERT_INVALID(c, n_heads, 0, "num_attention_heads");
  ASSERT_INVALID(c, n_heads, INT64_MAX, "num_attention_heads");
  ASSERT_INVALID(c, n_kv_heads, 0, "num_key_value_heads");
  ASSERT_INVALID(c, d_head, 0, "head_dim");
  ASSERT_INVALID(c, d_head, 258, "head_dim");
  ASSERT_VALID(c, d_head, 256);
  ASSERT_INVALID(c, max_seq_len, 0, "max_position_embeddings");
  ASSERT_INVALID(c, max_seq_len, INT64_MAX, "max_position_embeddings");
  ASSERT_VALID(c, max_seq_len, 1 << 20);
  c.n_heads = c.n_kv_heads = 2048; /* 2^11 * 2^20 = 2^31 */
  ASSERT_VALID(c, max_seq_len, (1 << 20) - 1);
  ASSERT_INVALID(c, max_seq_len, 1 << 20, "max_position_embeddings");
}

/* Each size at its limits and one beyond; at them it may be refused with
 * another field, but not for itself. */
static void limits_are_the_stated_ones(void **state) {
  (void)state;
  static const int64_t largest[MOH__N_SIZES] = {
      1 << 24, 1 << 20, 1 << 22, 1 << 10, 1 << 12, 1 << 12, 256, 1 << 20};
  for (int i = 0; i < MOH__N_SIZES; i++) {
    const moh__int_field *field = &moh__config_sizes[i];
    assert_int_equal(field->min, 1);
    assert_int_equal(field->max, largest[i]);
    const int64_t inside[] = {field->min, field->max};
    const int64_t outside[] = {field->min - 1, field->max + 1};
    for (int j = 0; j < 2; j++) {
      moh__config c = preset("moh-s");
      moh_error err = {0};
      c.position = MOH__POSITION_NONE; /* an odd head_dim is fine */
      c.n_heads = c.n_kv_heads = c.n_shared = 1;
      c.k = 0;
      *moh__config_int(&c, field) = inside[j];
      if (field->offset == offsetof(moh__config, n_heads) ||
          field->offset == offsetof(moh__config, n_kv_heads))
        c.n_heads = c.n_kv_heads = inside[j];
      if (moh__config_check(&c, &err) != MOH_OK)
        fail_msg("%s at %" PRId64 ": %s", field->name, inside[j],
                 err.message);
      *moh__config_int(&c, field) = outside[j];
      assert_int_equal(moh__config_check(&c, &err), MOH_ERR_CONFIG);
      assert_true(names(&err, field->name));
    }
  }
}

/* The next double beyond a limit is refused. */
static void real_limits_are_the_stated_ones(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
#define LIMITS(member, min, max, name)                         \
  do {                                                         \
    ASSERT_VALID(c, member, min);                              \
    ASSERT_VALID(c, member, max);                              \
    ASSERT_INVALID(c, member, nextafter(min, -1), name);       \
    ASSERT_INVALID(c, member, nextafter(max, INFINITY), name); \
  } while (0)
  LIMITS(norm_eps, 1e-18, 1, "rms_norm_eps");
  LIMITS(init_std, 1e-9, 1e3, "initializer_range");
  LIMITS(rope_theta, 1, 1e12, "rope_theta");
  LIMITS(balance_weight, 0, 1e6, "balance_weight");
  LIMITS(z_weight, 0, 1e6, "z_weight");
  LIMITS(bias_balance, 0, 1, "bias_balance");
  LIMITS(router_init_std, 0, 1e3, "router_init_std");
#undef LIMITS
}

static void sizes_must_fit_together(void **state) {
  (void)state;
  moh__config c = preset("seed");
  ASSERT_INVALID(c, n_kv_heads, 3, "num_key_value_heads");
  ASSERT_INVALID(c, n_kv_heads, 16, "num_key_value_heads");
  ASSERT_INVALID(c, d_head, 32, "output_projection");
  ASSERT_INVALID(c, cope_positions, 1, "cope_positions");
  ASSERT_INVALID(c, cope_positions, INT64_MAX, "cope_positions");
  c.output_projection = true;
  ASSERT_VALID(c, d_head, 15);
  c.position = MOH__POSITION_ROPE;
  ASSERT_VALID(c, cope_positions, 0);
  ASSERT_VALID(c, d_head, 32);
  ASSERT_INVALID(c, d_head, 15, "head_dim");
}

static void numbers_must_be_finite_and_sensible(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  const double bad[] = {NAN, INFINITY, -INFINITY, -1};
  for (int i = 0; i < 4; i++) {
    ASSERT_INVALID(c, norm_eps, bad[i], "rms_norm_eps");
    ASSERT_INVALID(c, rope_theta, bad[i], "rope_theta");
    ASSERT_INVALID(c, balance_weight, bad[i], "balance_weight");
    ASSERT_INVALID(c, z_weight, bad[i], "z_weight");
    ASSERT_INVALID(c, init_std, bad[i], "initializer_range");
    ASSERT_INVALID(c, router_init_std, bad[i], "router_init_std");
  }
  ASSERT_INVALID(c, norm_eps, 0, "rms_norm_eps");
  ASSERT_INVALID(c, rope_theta, 0, "rope_theta");
  ASSERT_INVALID(c, init_std, 0, "initializer_range");
  ASSERT_VALID(c, balance_weight, 0);
  ASSERT_VALID(c, z_weight, 0);
  ASSERT_VALID(c, router_init_std, 0);
}

static void hypermixer_has_limits(void **state) {
  (void)state;
  moh__config c = preset("nano");
  c.vocab_size = 9;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  assert_round_trip(&c);
  c.cope_positions = 4;
  c.hyper_mix = 7;
  c.hyper_width = 9;
  assert_round_trip(&c);
  ASSERT_INVALID(c, hyper_width, 0, "width");
  ASSERT_INVALID(c, hyper_mix, 0, "mix");
  ASSERT_INVALID(c, hyper_mix, (1 << 14) / 32 + 1, "mix");
  ASSERT_VALID(c, hyper_mix, (1 << 14) / 32);
  ASSERT_INVALID(c, n_kv_heads, 2, "num_key_value_heads");
  ASSERT_INVALID(c, route_by, MOH__ROUTE_BY_GROUP, "route_by");
  ASSERT_INVALID(c, position, MOH__POSITION_ROPE, "position rope");
  ASSERT_INVALID(c, position, MOH__POSITION_COPE, "position cope");
  ASSERT_INVALID(c, output_projection, true, "output_projection");
  ASSERT_VALID(c, position, MOH__POSITION_NONE);
  c.window.size = 3;
  ASSERT_INVALID(c, window.kind, MOH__WINDOW_SLIDING, "a window");
}

static void experts_have_limits(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  assert_int_equal(moh__config_set_experts(&c, "1+2/8", NULL), MOH_OK);
  ASSERT_INVALID(c, experts.n_routed, -1, "experts.n_routed");
  ASSERT_INVALID(c, experts.n_routed, 1, "experts.k");
  ASSERT_INVALID(c, experts.n_routed, INT64_MAX, "experts.n_routed");
  ASSERT_INVALID(c, experts.k, 0, "experts.k");
  ASSERT_INVALID(c, experts.k, 9, "experts.k");
  ASSERT_VALID(c, experts.k, 8);
  ASSERT_INVALID(c, experts.n_shared, -1, "experts.n_shared");
  ASSERT_INVALID(c, experts.n_shared, INT64_MAX, "experts.n_shared");
  ASSERT_INVALID(c, experts.width, 0, "experts.width");
  ASSERT_INVALID(c, experts.width, INT64_MAX, "experts.width");
  ASSERT_VALID(c, experts.width, (1 << 22) / 9);
  ASSERT_INVALID(c, experts.width, (1 << 22) / 9 + 1, "experts.width");
  const double bad[] = {NAN, INFINITY, -1};
  for (int i = 0; i < 3; i++) {
    ASSERT_INVALID(c, experts.balance_weight, bad[i],
                   "experts.balance_weight");
    ASSERT_INVALID(c, experts.z_weight, bad[i], "experts.z_weight");
    ASSERT_INVALID(c, experts.router_init_std, bad[i],
                   "experts.router_init_std");
  }
  c.experts.n_shared = 0;
  c.experts.width = 1;
  c.experts.n_routed = 1 << 11;
  ASSERT_VALID(c, max_seq_len, (1 << 20) - 1);
  ASSERT_INVALID(c, max_seq_len, 1 << 20, "max_position_embeddings");
}

static void hrm_has_limits(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  moh__config_set_architecture(&c, MOH__HRM);
  assert_int_equal(moh__config_check(&c, NULL), MOH_OK);
  ASSERT_INVALID(c, n_layers, 5, "num_hidden_layers");
  ASSERT_INVALID(c, hrm_cycles, 0, "cycles");
  ASSERT_INVALID(c, hrm_steps, 257, "steps");
  ASSERT_INVALID(c, hrm_supervision, 0, "supervision");
  ASSERT_INVALID(c, hrm_supervision, 3, "supervision"); /* of 2 cycles */
  c.hrm_cycles = c.hrm_steps = 256;
  ASSERT_INVALID(c, d_ff, 8, "num_hidden_layers, cycles and steps");
}

static void choices_must_exist(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  ASSERT_INVALID(c, architecture, (moh__architecture)3, "architecture");
  ASSERT_INVALID(c, norm, (moh__norm_kind)3, "norm");
  ASSERT_INVALID(c, ffn, (moh__ffn_kind)2, "ffn");
  ASSERT_INVALID(c, position, (moh__position_kind)4, "position");
  ASSERT_INVALID(c, heads, (moh__head_strategy)5, "strategy");
  ASSERT_INVALID(c, gate_scale, (moh__gate_scale)3, "gate_scale");
  ASSERT_INVALID(c, route_by, (moh__route_by)2, "route_by");
}

static void heads_must_exist(void **state) {
  (void)state;
  moh__config c = preset("seed"); /* 8 heads, 2 + 4 */
  ASSERT_INVALID(c, n_shared, -1, "n_shared");
  ASSERT_INVALID(c, n_shared, 9, "n_shared");
  ASSERT_INVALID(c, n_shared, INT64_MAX, "n_shared");
  ASSERT_INVALID(c, k, -1, "k");
  ASSERT_INVALID(c, k, 7, "k");
  ASSERT_INVALID(c, k, INT64_MAX, "k");
  ASSERT_VALID(c, k, 6);
  ASSERT_VALID(c, k, 0);
  ASSERT_VALID(c, n_shared, 0);
  ASSERT_VALID(c, n_shared, 4);
  ASSERT_INVALID(c, n_shared, 5, "k");
  c.n_shared = 0;
  ASSERT_INVALID(c, k, 0, "n_shared and k");
  ASSERT_VALID(c, k, 8);
  c.n_shared = 8;
  ASSERT_VALID(c, k, 0);
  ASSERT_INVALID(c, k, 1, "k");
  c = preset("seed");
  c.heads = MOH__HEADS_ADAPTIVE;
  c.k_min = 2;
  ASSERT_INVALID(c, k_min, 0, "k_min");
  ASSERT_INVALID(c, k_min, 5, "k_min");
  ASSERT_VALID(c, k_min, 4);
  ASSERT_INVALID(c, k, 7, "k");
  ASSERT_INVALID(c, mass, 0, "mass");
  ASSERT_INVALID(c, mass, 1.001, "mass");
  ASSERT_INVALID(c, mass, NAN, "mass");
  ASSERT_INVALID(c, sparsity_weight, -1, "sparsity_weight");
  ASSERT_INVALID(c, bias_balance, 0.1, "bias_balance");
  ASSERT_VALID(c, mass, 1);
  assert_int_equal(moh__config_least_heads(&c), 4);
  assert_int_equal(moh__config_active_heads(&c), 6);
  c.heads = MOH__HEADS_RANDOM;
  assert_int_equal(moh__config_least_heads(&c), 6);
  ASSERT_INVALID(c, k, 7, "k");
  ASSERT_INVALID(c, n_shared, 9, "n_shared");
  ASSERT_INVALID(c, route_seed, -1, "seed");
  ASSERT_VALID(c, route_seed, INT64_C(1) << 53);
  ASSERT_INVALID(c, route_seed, (INT64_C(1) << 53) + 1, "seed");
  c.heads = MOH__HEADS_STATIC;
  ASSERT_INVALID(c, n_static, 0, "n_static");
  ASSERT_INVALID(c, n_static, 9, "n_static");
  ASSERT_VALID(c, n_static, 8);
  ASSERT_VALID(c, n_static, 1);
}

/* 8 heads on 4 KV heads: the same rules, counted in groups. */
static void groups_must_exist(void **state) {
  (void)state;
  moh__config c = preset("seed");
  c.route_by = MOH__ROUTE_BY_GROUP;
  c.k = 2;
  assert_int_equal(moh__config_active_heads(&c), 8);
  ASSERT_VALID(c, k, 0);
  ASSERT_INVALID(c, k, 3, "k");
  ASSERT_INVALID(c, n_shared, 5, "n_shared");
  ASSERT_INVALID(c, n_shared, 3, "k");
  c.k = 1;
  assert_int_equal(moh__config_active_heads(&c), 6);
  moh__router_shape shape = moh__config_router_shape(&c);
  assert_int_equal(shape.n_shared, 2);
  assert_int_equal(shape.n_routed, 2);
  assert_int_equal(shape.k, 1);
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
      cmocka_unit_test(every_choice_of_experts_round_trips),
      cmocka_unit_test(only_a_llama_is_written_as_one),
      cmocka_unit_test(llama_fields_have_their_names),
      cmocka_unit_test(sizes_have_limits),
      cmocka_unit_test(limits_are_the_stated_ones),
      cmocka_unit_test(real_limits_are_the_stated_ones),
      cmocka_unit_test(sizes_must_fit_together),
      cmocka_unit_test(numbers_must_be_finite_and_sensible),
      cmocka_unit_test(hrm_has_limits),
      cmocka_unit_test(hypermixer_has_limits),
      cmocka_unit_test(experts_have_limits),
      cmocka_unit_test(choices_must_exist),
      cmocka_unit_test(heads_must_exist),
      cmocka_unit_test(groups_must_exist),
      cmocka_unit_test(harmless_fields_are_ignored),
      cmocka_unit_test(wrong_spellings_are_refused),
      cmocka_unit_test(heads_in_use),
      cmocka_unit_test(unknown_presets_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
