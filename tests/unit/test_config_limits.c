/* Configurations that cannot be: each is refused, and the field named. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "model/config_fields.h"
#include "support/preset.h"

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

static void scaling_has_limits(void **state) {
  (void)state;
  moh__config c = preset("moh-s");
  c.rope_scaling = (moh__rope_scaling){MOH__ROPE_LLAMA3, 8, 1, 4, 8192};
  assert_int_equal(moh__config_check(&c, NULL), MOH_OK);
  const double bad[] = {NAN, INFINITY, -1, 0};
  for (int i = 0; i < 4; i++) {
    ASSERT_INVALID(c, rope_scaling.factor, bad[i], "factor");
    ASSERT_INVALID(c, rope_scaling.low_freq_factor, bad[i],
                   "low_freq_factor");
    ASSERT_INVALID(c, rope_scaling.high_freq_factor, bad[i],
                   "high_freq_factor");
  }
  ASSERT_INVALID(c, rope_scaling.low_freq_factor, 4, "low_freq_factor");
  ASSERT_INVALID(c, rope_scaling.original_max, 0, "original_max");
  ASSERT_INVALID(c, rope_scaling.original_max, INT64_MAX, "original_max");
  ASSERT_INVALID(c, position, MOH__POSITION_NONE, "rope_scaling");
  c.rope_scaling = (moh__rope_scaling){MOH__ROPE_LINEAR, 2, 0, 0, 0};
  ASSERT_VALID(c, rope_scaling.factor, 1);
  ASSERT_INVALID(c, rope_scaling.factor, 0.5, "factor");
}

static void biases_need_their_matrices(void **state) {
  (void)state;
  moh__config c = preset("seed");
  ASSERT_VALID(c, qkv_bias, true);
  ASSERT_VALID(c, qk_norm, true);
  ASSERT_VALID(c, mlp_bias, true);
  ASSERT_INVALID(c, output_bias, true, "output_bias");
  assert_int_equal(moh__config_set_experts(&c, "1+2/8", NULL), MOH_OK);
  ASSERT_INVALID(c, mlp_bias, true, "mlp_bias");
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
  c.cope_positions = 4;
  c.hyper_mix = 7;
  c.hyper_width = 9;
  ASSERT_INVALID(c, hyper_width, 0, "width");
  ASSERT_INVALID(c, hyper_mix, 0, "mix");
  ASSERT_INVALID(c, hyper_mix, (1 << 14) / 32 + 1, "mix");
  ASSERT_VALID(c, hyper_mix, (1 << 14) / 32);
  ASSERT_INVALID(c, n_kv_heads, 2, "num_key_value_heads");
  ASSERT_INVALID(c, route_by, MOH__ROUTE_BY_GROUP, "route_by");
  ASSERT_INVALID(c, heads, MOH__HEADS_NORM, "strategy norm");
  ASSERT_INVALID(c, position, MOH__POSITION_ROPE, "position rope");
  ASSERT_INVALID(c, position, MOH__POSITION_COPE, "position cope");
  ASSERT_INVALID(c, output_projection, true, "output_projection");
  ASSERT_INVALID(c, qkv_bias, true, "qkv_bias");
  ASSERT_INVALID(c, qk_norm, true, "qk_norm");
  ASSERT_VALID(c, mlp_bias, true);
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
  ASSERT_INVALID(c, heads, (moh__head_strategy)6, "strategy");
  ASSERT_INVALID(c, gate_scale, (moh__gate_scale)3, "gate_scale");
  ASSERT_INVALID(c, route_by, (moh__route_by)2, "route_by");
  ASSERT_INVALID(c, rope_scaling.kind, (moh__rope_scaling_kind)3,
                 "rope_scaling");
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_have_limits),
      cmocka_unit_test(limits_are_the_stated_ones),
      cmocka_unit_test(real_limits_are_the_stated_ones),
      cmocka_unit_test(sizes_must_fit_together),
      cmocka_unit_test(scaling_has_limits),
      cmocka_unit_test(biases_need_their_matrices),
      cmocka_unit_test(numbers_must_be_finite_and_sensible),
      cmocka_unit_test(hypermixer_has_limits),
      cmocka_unit_test(experts_have_limits),
      cmocka_unit_test(hrm_has_limits),
      cmocka_unit_test(choices_must_exist),
      cmocka_unit_test(heads_must_exist),
      cmocka_unit_test(groups_must_exist),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
