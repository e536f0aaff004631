/*
 * Configurations: the defaults, and what a valid one is. Every rule that
 * spans fields stands here, and nowhere else.
 */
#include "model/config.h"

#include <inttypes.h>
#include <math.h>

#include "kernel/kernel.h"
#include "model/config_fields.h"

#define FIELD(member) offsetof(moh__config, member)

const moh__int_field moh__config_sizes[MOH__N_SIZES] = {
    {"vocab_size", FIELD(vocab_size), 1, 1 << 24},
    {"hidden_size", FIELD(d_model), 1, 1 << 20},
    {"intermediate_size", FIELD(d_ff), 1, 1 << 22},
    {"num_hidden_layers", FIELD(n_layers), 1, 1 << 10},
    {"num_attention_heads", FIELD(n_heads), 1, 1 << 12},
    {"num_key_value_heads", FIELD(n_kv_heads), 1, 1 << 12},
    {"head_dim", FIELD(d_head), 1, MOH__MAX_HEAD},
    {"max_position_embeddings", FIELD(max_seq_len), 1, 1 << 20},
};

/* CoPE rows are looked up by a position in [0, rows - 1], between two rows.
 */
static const moh__int_field cope_field = {"cope_positions",
                                          FIELD(cope_positions), 2,
                                          MOH__COPE_MAX};

enum { HRM_PASSES_MAX = 1 << 12, HYPER_STATE_MAX = 1 << 14 };

const char *const moh__architecture_names[] = {"transformer", "hrm",
                                               "hypermixer", NULL};

void moh__config_default(moh__config *config) {
  *config = (moh__config){
      .architecture = MOH__TRANSFORMER,
      .d_model = 128,
      .d_ff = 344,
      .n_layers = 4,
      .n_heads = 4,
      .n_kv_heads = 4,
      .d_head = 32,
      .max_seq_len = 256,
      .norm = MOH__NORM_RMS,
      .norm_eps = 1e-6,
      .pre_norm = true,
      .final_norm = true,
      .ffn = MOH__FFN_SWIGLU,
      .position = MOH__POSITION_ROPE,
      .rope_theta = 10000,
      .output_projection = true,
      .heads = MOH__HEADS_ALL,
      .gate_scale = MOH__GATE_UNIT,
      .route_seed = 1,
      .mass = 0.7,
      .balance_weight = 0.01,
      .init_std = 0.02,
      .router_init_std = 0.02,
      .experts = {.balance_weight = 0.01, .router_init_std = 0.02},
  };
}

/* ---- validity ---- */

static moh_status check_int(const moh__config *config,
                            const moh__int_field *field, moh_error *err) {
  int64_t value = moh__config_int_value(config, field);
  if (value >= field->min && value <= field->max) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "%s is %" PRId64 ", it must lie between %" PRId64
                   " and %" PRId64,
                   field->name, value, field->min, field->max);
}

/* NaN lies in no range. */
static moh_status check_real(const char *name, double value, double min,
                             double max, moh_error *err) {
  if (value >= min && value <= max) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "%s is %g, it must lie between %g and %g", name, value,
                   min, max);
}

static moh_status check_choice(const char *name, unsigned value,
                               unsigned last, moh_error *err) {
  if (value <= last) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG, "%s has no choice number %u", name,
                   value);
}

static moh_status check_choices(const moh__config *c, moh_error *err) {
  MOH_TRY(
      check_choice("architecture", c->architecture, MOH__HYPERMIXER, err));
  MOH_TRY(check_choice("norm", c->norm, MOH__NORM_DYT, err));
  MOH_TRY(check_choice("ffn", c->ffn, MOH__FFN_RELU, err));
  MOH_TRY(check_choice("position", c->position, MOH__POSITION_NONE, err));
  MOH_TRY(check_choice("rope_scaling", c->rope_scaling.kind, MOH__ROPE_LLAMA3,
                       err));
  MOH_TRY(
      check_choice("window", c->window.kind, MOH__WINDOW_PERPLEXITY, err));
  MOH_TRY(check_choice("strategy", c->heads, MOH__HEADS_NORM, err));
  MOH_TRY(check_choice("route_by", c->route_by, MOH__ROUTE_BY_GROUP, err));
  return check_choice("gate_scale", c->gate_scale, MOH__GATE_ONE, err);
}

/* The smallest norm_eps stays positive in float, its square too. */
static moh_status check_reals(const moh__config *c, moh_error *err) {
  MOH_TRY(check_real("rms_norm_eps", c->norm_eps, 1e-18, 1, err));
  MOH_TRY(check_real("initializer_range", c->init_std, 1e-9, 1e3, err));
  if (c->position == MOH__POSITION_ROPE)
    MOH_TRY(check_real("rope_theta", c->rope_theta, 1, 1e12, err));
  if (!moh__config_has_scores(c)) return MOH_OK;
  MOH_TRY(check_real("balance_weight", c->balance_weight, 0, 1e6, err));
  MOH_TRY(check_real("bias_balance", c->bias_balance, 0, 1, err));
  MOH_TRY(check_real("z_weight", c->z_weight, 0, 1e6, err));
  if (c->heads == MOH__HEADS_ADAPTIVE) {
    MOH_TRY(check_real("mass", c->mass, 1e-6, 1, err));
    MOH_TRY(check_real("sparsity_weight", c->sparsity_weight, 0, 1e6, err));
  }
  return check_real("router_init_std", c->router_init_std, 0, 1e3, err);
}

static moh_status check_attention(const moh__config *c, moh_error *err) {
  if (c->n_heads % c->n_kv_heads != 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "num_key_value_heads is %" PRId64
                     ", it must divide num_attention_heads, %" PRId64,
                     c->n_kv_heads, c->n_heads);
  if (!c->output_projection && c->n_heads * c->d_head != c->d_model)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "output_projection is off, so num_attention_heads * "
                     "head_dim (%" PRId64 ") must be hidden_size (%" PRId64
                     ")",
                     c->n_heads * c->d_head, c->d_model);
  if (c->max_seq_len * c->n_heads > INT32_MAX) /* entries of a plan */
    return moh__fail(err, MOH_ERR_CONFIG,
                     "max_position_embeddings is %" PRId64
                     ", times num_attention_heads it must stay below 2^31",
                     c->max_seq_len);
  return MOH_OK;
}

static const moh__int_field window_fields[] = {
    {"window.size", FIELD(window.size), 1, 1 << 20},
    {"window.min", FIELD(window.min), 1, 1 << 20},
    {"window.max", FIELD(window.max), 1, 1 << 20},
};

static moh_status check_window(const moh__config *c, moh_error *err) {
  if (c->window.kind == MOH__WINDOW_NONE) return MOH_OK;
  if (c->window.kind == MOH__WINDOW_SLIDING)
    return check_int(c, &window_fields[0], err);
  MOH_TRY(check_int(c, &window_fields[1], err));
  MOH_TRY(check_int(c, &window_fields[2], err));
  if (c->window.min <= c->window.max) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "window.min is %" PRId64
                   ", it must not be above window.max, %" PRId64,
                   c->window.min, c->window.max);
}

static const moh__int_field original_max_field = {
    "original_max_position_embeddings", FIELD(rope_scaling.original_max), 1,
    1 << 20};

static moh_status check_rope_scaling(const moh__config *c, moh_error *err) {
  const moh__rope_scaling *s = &c->rope_scaling;
  if (s->kind == MOH__ROPE_UNSCALED) return MOH_OK;
  if (c->position != MOH__POSITION_ROPE)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "rope_scaling needs position to be rope");
  MOH_TRY(check_real("factor of rope_scaling", s->factor, 1, 1e6, err));
  if (s->kind == MOH__ROPE_LINEAR) return MOH_OK;
  MOH_TRY(check_real("low_freq_factor", s->low_freq_factor, 1e-6, 1e6, err));
  MOH_TRY(
      check_real("high_freq_factor", s->high_freq_factor, 1e-6, 1e6, err));
  MOH_TRY(check_int(c, &original_max_field, err));
  if (s->low_freq_factor < s->high_freq_factor) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "low_freq_factor is %g, it must be below "
                   "high_freq_factor, %g",
                   s->low_freq_factor, s->high_freq_factor);
}

/* A bias belongs to a matrix that is there. */
static moh_status check_biases(const moh__config *c, moh_error *err) {
  if (c->output_bias && !c->output_projection)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "output_bias needs output_projection");
  if (c->mlp_bias && c->experts.n_routed > 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "mlp_bias does not go with experts");
  return MOH_OK;
}

static moh_status check_position(const moh__config *c, moh_error *err) {
  if (c->position == MOH__POSITION_COPE)
    return check_int(c, &cope_field, err);
  if (c->position == MOH__POSITION_ROPE && c->d_head % 2 != 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "head_dim is %" PRId64
                     ", it must be even: RoPE turns pairs",
                     c->d_head);
  return MOH_OK;
}

/* n_shared and k count heads or KV groups. */
static const moh__int_field hrm_fields[] = {
    {"cycles", FIELD(hrm_cycles), 1, 256},
    {"steps", FIELD(hrm_steps), 1, 256},
    {"supervision", FIELD(hrm_supervision), 1, 256},
};

static moh_status check_hrm(const moh__config *c, moh_error *err) {
  if (c->architecture != MOH__HRM) return MOH_OK;
  MOH_TRY(check_int(c, &hrm_fields[0], err));
  MOH_TRY(check_int(c, &hrm_fields[1], err));
  MOH_TRY(check_int(c, &hrm_fields[2], err));
  if (c->hrm_cycles % c->hrm_supervision != 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "supervision is %" PRId64
                     ", it must divide the number of cycles, %" PRId64,
                     c->hrm_supervision, c->hrm_cycles);
  if (c->n_layers % 2 != 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "num_hidden_layers is %" PRId64
                     ", it must be even with hrm: half of them are in each "
                     "module",
                     c->n_layers);
  if (moh__config_passes(c) > HRM_PASSES_MAX)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "num_hidden_layers, cycles and steps make %" PRId64
                     " passes through blocks, more than %d",
                     moh__config_passes(c), HRM_PASSES_MAX);
  return MOH_OK;
}

static const moh__int_field hyper_fields[] = {
    {"width", FIELD(hyper_width), 1, 1 << 16},
    {"mix", FIELD(hyper_mix), 1, 1 << 14},
};

/* What needs keys does not go with HyperMixer, which has none. */
static const char *without_keys(const moh__config *c) {
  if (c->n_kv_heads != c->n_heads)
    return "num_key_value_heads other than num_attention_heads";
  if (c->route_by != MOH__ROUTE_BY_HEAD) return "route_by group";
  if (c->heads == MOH__HEADS_NORM) return "strategy norm";
  if (c->position == MOH__POSITION_ROPE) return "position rope";
  if (c->position == MOH__POSITION_COPE) return "position cope";
  if (c->window.kind != MOH__WINDOW_NONE) return "a window";
  if (c->qkv_bias) return "qkv_bias";
  if (c->qk_norm) return "qk_norm";
  if (c->output_bias) return "output_bias";
  return c->output_projection ? "output_projection" : NULL;
}

static moh_status check_hypermixer(const moh__config *c, moh_error *err) {
  if (c->architecture != MOH__HYPERMIXER) return MOH_OK;
  const char *wrong = without_keys(c);
  if (wrong != NULL)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "%s does not go with the architecture hypermixer, which "
                     "has no attention",
                     wrong);
  MOH_TRY(check_int(c, &hyper_fields[0], err));
  MOH_TRY(check_int(c, &hyper_fields[1], err));
  if (c->hyper_mix * c->d_head > HYPER_STATE_MAX)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "mix is %" PRId64 ", times head_dim it must not be "
                     "above %d",
                     c->hyper_mix, HYPER_STATE_MAX);
  return MOH_OK;
}

/* Integers up to this are numbers of JSON for every reader. */
static const moh__int_field seed_field = {"seed", FIELD(route_seed), 0,
                                          INT64_C(1) << 53};

enum { EXPERTS_MAX = 1 << 12, EXPERTS_WIDTH_MAX = 1 << 22 };

static const moh__int_field expert_fields[] = {
    {"experts.n_routed", FIELD(experts.n_routed), 1, EXPERTS_MAX},
    {"experts.n_shared", FIELD(experts.n_shared), 0, EXPERTS_MAX},
    {"experts.width", FIELD(experts.width), 1, EXPERTS_WIDTH_MAX},
};

/* Sizes stay within the limits of one dense feed-forward, the entries of a
 * plan within int32_t. */
static moh_status check_expert_sizes(const moh__config *c, moh_error *err) {
  for (int i = 0; i < 3; i++) MOH_TRY(check_int(c, &expert_fields[i], err));
  int64_t n = c->experts.n_shared + c->experts.n_routed;
  if (n * c->experts.width > EXPERTS_WIDTH_MAX)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "experts.width is %" PRId64 ", times %" PRId64
                     " experts it must not be above %d",
                     c->experts.width, n, EXPERTS_WIDTH_MAX);
  if (c->max_seq_len * n > INT32_MAX)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "max_position_embeddings is %" PRId64 ", times %" PRId64
                     " experts it must stay below 2^31",
                     c->max_seq_len, n);
  return MOH_OK;
}

static moh_status check_experts(const moh__config *c, moh_error *err) {
  const moh__experts *x = &c->experts;
  if (x->n_routed == 0) return MOH_OK;
  MOH_TRY(check_expert_sizes(c, err));
  if (x->k < 1 || x->k > x->n_routed)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "experts.k is %" PRId64
                     ", it must lie between 1 and experts.n_routed, %" PRId64,
                     x->k, x->n_routed);
  MOH_TRY(
      check_real("experts.balance_weight", x->balance_weight, 0, 1e6, err));
  MOH_TRY(check_real("experts.z_weight", x->z_weight, 0, 1e6, err));
  MOH_TRY(check_real("experts.bias_balance", x->bias_balance, 0, 1, err));
  return check_real("experts.router_init_std", x->router_init_std, 0, 1e3,
                    err);
}

static moh_status check_routing(const moh__config *c, moh_error *err) {
  bool groups = c->route_by == MOH__ROUTE_BY_GROUP;
  int64_t n = moh__config_candidates(c);
  if (c->n_shared < 0 || c->n_shared > n)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "n_shared is %" PRId64
                     ", it must lie between 0 and %s, %" PRId64,
                     c->n_shared,
                     groups ? "num_key_value_heads (routing is by group)"
                            : "num_attention_heads",
                     n);
  if (c->k < 0 || c->k > n - c->n_shared)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "k is %" PRId64
                     ", it must lie between 0 and the number of routed "
                     "%s, %" PRId64,
                     c->k, groups ? "KV groups" : "heads", n - c->n_shared);
  if (c->n_shared + c->k == 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "n_shared and k are both 0, so no head would work: "
                     "one of them must be positive");
  return MOH_OK;
}

/* The upper end is k's, which check_routing knows. */
static moh_status check_adaptive(const moh__config *c, moh_error *err) {
  if (c->bias_balance > 0)
    return moh__fail(err, MOH_ERR_CONFIG,
                     "bias_balance is %g, it does not go with adaptive heads: "
                     "a mass is reached in the order of probabilities",
                     c->bias_balance);
  if (c->k_min >= 1 && c->k_min <= c->k) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "k_min is %" PRId64
                   ", it must lie between 1 and k, %" PRId64,
                   c->k_min, c->k);
}

/* What needs a router's logits or gates of its own. */
static const char *without_router(const moh__config *c) {
  if (c->gate_scale != MOH__GATE_ONE) return "gate_scale other than one";
  if (c->z_weight != 0) return "z_weight, which is for logits,";
  return c->bias_balance > 0 ? "bias_balance" : NULL;
}

static moh_status check_norm(const moh__config *c, moh_error *err) {
  const char *wrong = without_router(c);
  if (wrong == NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "%s does not go with the strategy norm: heads are chosen "
                   "by the norms of their queries, and have gates of 1",
                   wrong);
}

static moh_status check_heads(const moh__config *c, moh_error *err) {
  if (c->heads == MOH__HEADS_RANDOM) MOH_TRY(check_int(c, &seed_field, err));
  if (c->heads == MOH__HEADS_ADAPTIVE) MOH_TRY(check_adaptive(c, err));
  if (c->heads == MOH__HEADS_NORM) MOH_TRY(check_norm(c, err));
  if (moh__config_routes(c)) return check_routing(c, err);
  if (c->heads == MOH__HEADS_STATIC &&
      (c->n_static < 1 || c->n_static > c->n_heads))
    return moh__fail(err, MOH_ERR_CONFIG,
                     "n_static is %" PRId64
                     ", it must lie between 1 and num_attention_heads, "
                     "%" PRId64,
                     c->n_static, c->n_heads);
  return MOH_OK;
}

moh_status moh__config_check(const moh__config *config, moh_error *err) {
  for (int i = 0; i < MOH__N_SIZES; i++)
    MOH_TRY(check_int(config, &moh__config_sizes[i], err));
  MOH_TRY(check_choices(config, err));
  MOH_TRY(check_reals(config, err));
  MOH_TRY(check_attention(config, err));
  MOH_TRY(check_position(config, err));
  MOH_TRY(check_rope_scaling(config, err));
  MOH_TRY(check_window(config, err));
  MOH_TRY(check_hrm(config, err));
  MOH_TRY(check_hypermixer(config, err));
  MOH_TRY(check_experts(config, err));
  MOH_TRY(check_biases(config, err));
  return check_heads(config, err);
}

/* ---- heads ---- */

bool moh__config_has_router(const moh__config *config) {
  return config->heads == MOH__HEADS_MOH ||
         config->heads == MOH__HEADS_ADAPTIVE;
}

bool moh__config_has_scores(const moh__config *config) {
  return config->heads == MOH__HEADS_NORM || moh__config_has_router(config);
}

bool moh__config_routes(const moh__config *config) {
  return config->heads == MOH__HEADS_RANDOM || moh__config_has_scores(config);
}

int64_t moh__config_candidates(const moh__config *config) {
  return config->route_by == MOH__ROUTE_BY_GROUP ? config->n_kv_heads
                                                 : config->n_heads;
}

int64_t moh__config_heads_each(const moh__config *config) {
  return config->n_heads / moh__config_candidates(config);
}

double moh__config_sparsity(const moh__config *config) {
  return config->heads == MOH__HEADS_ADAPTIVE ? config->sparsity_weight : 0;
}

int64_t moh__config_active_heads(const moh__config *config) {
  switch (config->heads) {
    case MOH__HEADS_MOH:
    case MOH__HEADS_RANDOM:
    case MOH__HEADS_ADAPTIVE:
    case MOH__HEADS_NORM:
      return (config->n_shared + config->k) * moh__config_heads_each(config);
    case MOH__HEADS_STATIC:
      return config->n_static;
    case MOH__HEADS_ALL:
      break;
  }
  return config->n_heads;
}

int64_t moh__config_least_heads(const moh__config *config) {
  moh__router_shape s = moh__config_router_shape(config);
  return moh__config_active_heads(config) -
         s.n_optional * moh__config_heads_each(config);
}

int64_t moh__config_page_size(const moh__config *c) {
  if (c->architecture == MOH__HYPERMIXER)
    return c->n_heads * c->hyper_mix * c->d_head;
  return c->n_kv_heads * 2 * c->d_head * MOH__PANEL;
}

int64_t moh__config_page_tokens(const moh__config *c) {
  return c->architecture == MOH__HYPERMIXER ? INT32_MAX : MOH__PANEL;
}

int64_t moh__config_passes(const moh__config *c) {
  if (c->architecture != MOH__HRM) return c->n_layers;
  return c->n_layers / 2 * c->hrm_cycles * (c->hrm_steps + 1);
}

int64_t moh__config_trained_passes(const moh__config *c) {
  if (c->architecture != MOH__HRM || c->hrm_exact)
    return moh__config_passes(c);
  return c->n_layers * moh__config_losses(c);
}

int64_t moh__config_losses(const moh__config *c) {
  return c->architecture == MOH__HRM ? c->hrm_supervision : 1;
}

void moh__config_set_architecture(moh__config *c,
                                  moh__architecture architecture) {
  c->architecture = architecture;
  if (architecture == MOH__HYPERMIXER) {
    c->position = MOH__POSITION_LEARNED;
    c->output_projection = false;
    c->n_kv_heads = c->n_heads;
    c->hyper_width = c->d_model / 4;
    c->hyper_mix = 64;
  }
  if (architecture != MOH__HRM) return;
  c->pre_norm = false;
  c->final_norm = false;
  c->hrm_cycles = 2;
  c->hrm_steps = 2;
  c->hrm_supervision = 1;
  c->n_layers += c->n_layers % 2;
}

moh__router_shape moh__config_router_shape(const moh__config *config) {
  moh__router_shape shape = {.scale = config->gate_scale};
  if (!moh__config_routes(config)) return shape;
  if (!moh__config_has_router(config)) shape.scale = MOH__GATE_ONE;
  shape.n_shared = (int32_t)config->n_shared;
  shape.n_routed =
      (int32_t)(moh__config_candidates(config) - config->n_shared);
  shape.k = (int32_t)config->k;
  if (config->heads != MOH__HEADS_ADAPTIVE) return shape;
  shape.n_optional = (int32_t)(config->k - config->k_min);
  shape.mass = (real)config->mass;
  return shape;
}

moh__router_shape moh__config_expert_shape(const moh__config *config) {
  const moh__experts *x = &config->experts;
  return (moh__router_shape){.n_shared = (int32_t)x->n_shared,
                             .n_routed = (int32_t)x->n_routed,
                             .k = (int32_t)x->k,
                             .scale = MOH__GATE_EXPERT};
}
