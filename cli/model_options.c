/*
 * The table of model options, and how they change a preset. What follows
 * from a change is changed with it, unless it was given, too: the width of
 * a head from d_model and n_heads, KV heads in the preset's ratio, the
 * final norm with pre-norm.
 */
#include "model_options.h"

enum { COPE_POSITIONS = 64 }; /* when CoPE replaces other positions */

static const char *const norms[] = {"rms", "layer", "dyt", NULL};
static const char *const placements[] = {"pre", "post", NULL};
static const char *const switches[] = {"off", "on", NULL};
static const char *const ffns[] = {"swiglu", "relu", NULL};
static const char *const positions[] = {"rope", "learned", "cope", "none",
                                        NULL};
static const char *const biases[] = {"none", "qkv", "all", NULL};
static const char *const gradients[] = {"one-step", "exact", NULL};
static const char *const gate_scales[] = {"unit", "paper", "one", NULL};

#define FIELD(name) .offset = offsetof(moh__model_values, name)
#define SIZE(most) .min = 1, .max = (most)

const moh__option moh__preset_options[] = {
    {"preset", 'p', MOH__OPTION_STRING, "PRESET",
     "sizes to start from: seed, seed-train, nano, moh-xs, moh-s, moh-b",
     NULL, FIELD(preset)},
    {"heads", 0, MOH__OPTION_STRING, "STRATEGY",
     "heads of a token: all; moh:S+K, S shared ones and K by the router; "
     "norm:S+K, the K of the largest queries, without a router; "
     "adaptive:S+MIN-MAX, by the router, each token its own number; "
     "random:S+K, the K by chance; static:N, the first N",
     "the preset's", FIELD(heads)},
    {"route-by", 0, MOH__OPTION_CHOICE, NULL,
     "what the router chooses: query heads, or KV heads with all query "
     "heads that use them; S and K count these",
     "head", FIELD(route_by), .choices = moh__route_by_names},
    {.name = NULL},
};

const moh__option moh__model_options[] = {
    {"architecture", 0, MOH__OPTION_CHOICE, NULL,
     "blocks one behind the other; two modules of half of the blocks each "
     "that take turns (HRM; post-norm, if not said otherwise); or blocks "
     "that mix tokens by a hypernetwork, without attention (HyperMixer)",
     "transformer", FIELD(architecture), .choices = moh__architecture_names},
    {"hrm-cycles", 0, MOH__OPTION_INT, "N", "steps of HRM's higher module",
     "2", FIELD(hrm_cycles), SIZE(256)},
    {"hrm-steps", 0, MOH__OPTION_INT, "N",
     "steps of HRM's lower module in each cycle", "2", FIELD(hrm_steps),
     SIZE(256)},
    {"hrm-gradient", 0, MOH__OPTION_CHOICE, NULL,
     "through the last step of each module, or through all steps, which "
     "takes memory for all of them",
     "one-step", FIELD(hrm_gradient), .choices = gradients},
    {"hrm-supervision", 0, MOH__OPTION_INT, "N",
     "train with N losses, behind equal parts of the cycles, between which "
     "the states are held",
     "1", FIELD(hrm_supervision), SIZE(256)},
    {"hyper-width", 0, MOH__OPTION_INT, "N",
     "hidden layer of HyperMixer's hypernetworks", "d-model / 4",
     FIELD(hyper_width), SIZE(1 << 16)},
    {"hyper-mix", 0, MOH__OPTION_INT, "N",
     "rows of the state of a head of HyperMixer", "64", FIELD(hyper_mix),
     SIZE(1 << 14)},
    {"layers", 0, MOH__OPTION_INT, "N", "transformer layers", NULL,
     FIELD(n_layers), SIZE(1024)},
    {"d-model", 0, MOH__OPTION_INT, "N", "width of the hidden states", NULL,
     FIELD(d_model), SIZE(1 << 20)},
    {"d-ff", 0, MOH__OPTION_INT, "N", "width of the feed-forward part", NULL,
     FIELD(d_ff), SIZE(1 << 22)},
    {"n-heads", 0, MOH__OPTION_INT, "N", "query heads", NULL, FIELD(n_heads),
     SIZE(4096)},
    {"kv-heads", 0, MOH__OPTION_INT, "N", "key and value heads",
     "in the preset's ratio", FIELD(n_kv_heads), SIZE(4096)},
    {"d-head", 0, MOH__OPTION_INT, "N", "width of a head",
     "d-model / n-heads", FIELD(d_head), SIZE(1 << 16)},
    {"max-seq-len", 0, MOH__OPTION_INT, "N", "longest sequence, in tokens",
     NULL, FIELD(max_seq_len), SIZE(1 << 24)},
    {"norm", 0, MOH__OPTION_CHOICE, NULL,
     "RMSNorm, LayerNorm, or dynamic tanh in their place", NULL, FIELD(norm),
     .choices = norms},
    {"norm-placement", 0, MOH__OPTION_CHOICE, NULL,
     "norms before the sub-layers, or after the residual sums", NULL,
     FIELD(norm_placement), .choices = placements},
    {"final-norm", 0, MOH__OPTION_CHOICE, NULL,
     "a norm before the output matrix", "on with pre-norm", FIELD(final_norm),
     .choices = switches},
    {"ffn", 0, MOH__OPTION_CHOICE, NULL, "feed-forward part", NULL,
     FIELD(ffn), .choices = ffns},
    {"experts", 0, MOH__OPTION_STRING, "S+K/E",
     "experts in place of one feed-forward part: S shared ones for every "
     "token, and K of E by a router; or none",
     "none", FIELD(experts)},
    {"expert-hidden", 0, MOH__OPTION_INT, "N", "width of an expert", "d-ff",
     FIELD(expert_hidden), SIZE(1 << 22)},
    {"position", 0, MOH__OPTION_CHOICE, NULL, "positional encoding", NULL,
     FIELD(position), .choices = positions},
    {"rope-theta", 0, MOH__OPTION_REAL, "X", "base of rotary positions", NULL,
     FIELD(rope_theta), .min = 1, .max = 1e12},
    {"rope-scaling", 0, MOH__OPTION_STRING, "SCALING",
     "rotary positions for longer sequences: none; linear:F, F times as "
     "slow; llama3:F,LOW,HIGH,LENGTH, as LLaMA 3.1's, the slow ones alone",
     "none", FIELD(rope_scaling)},
    {"cope-positions", 0, MOH__OPTION_INT, "N", "contextual positions", NULL,
     FIELD(cope_positions), SIZE(1 << 20)},
    {"window", 0, MOH__OPTION_STRING, "WINDOW",
     "keys that a token sees: none (all of them); N, the last N; "
     "length:MIN-MAX, half of the sequence so far, within these; "
     "entropy:MIN-MAX or perplexity:MIN-MAX, by layer, wide while attention "
     "is spread or the loss is high",
     "none", FIELD(window)},
    {"output-projection", 0, MOH__OPTION_CHOICE, NULL,
     "the matrix W_O behind the heads", NULL, FIELD(output_projection),
     .choices = switches},
    {"attention-bias", 0, MOH__OPTION_CHOICE, NULL,
     "biases of Q, K and V (as Qwen2), or of the output projection, too",
     "none", FIELD(attention_bias), .choices = biases},
    {"mlp-bias", 0, MOH__OPTION_FLAG, NULL,
     "biases of the feed-forward's matrices", NULL, FIELD(mlp_bias)},
    {"qk-norm", 0, MOH__OPTION_FLAG, NULL,
     "RMSNorm of every query and key before positions (as Qwen3)", NULL,
     FIELD(qk_norm)},
    {"tied", 0, MOH__OPTION_FLAG, NULL, "the output matrix is the embedding",
     NULL, FIELD(tied)},
    {"untied", 0, MOH__OPTION_FLAG, NULL,
     "the output matrix is one of its own", NULL, FIELD(untied)},
    {"gate-scale", 0, MOH__OPTION_CHOICE, NULL,
     "gates of mean 1, as in equation 5 of the paper, or 0/1", NULL,
     FIELD(gate_scale), .choices = gate_scales},
    {"bias-balance", 0, MOH__OPTION_REAL, "U",
     "balance the heads without a loss: a bias for each, used in the choice "
     "alone, that moves by U against its load at each step, such as 0.001; "
     "with --beta 0",
     "0", FIELD(bias_balance), .min = 0, .max = 1},
    {"expert-bias-balance", 0, MOH__OPTION_REAL, "U",
     "the same of experts; with --expert-beta 0", "0",
     FIELD(expert_bias_balance), .min = 0, .max = 1},
    {"head-mass", 0, MOH__OPTION_REAL, "X",
     "adaptive heads of a token are taken until their probabilities reach "
     "this",
     "0.7", FIELD(head_mass), .min = 1e-6, .max = 1},
    {"route-seed", 0, MOH__OPTION_INT, "N", "seed of heads by chance", "1",
     FIELD(route_seed), .min = 0, .max = INT64_C(1) << 53},
    {.name = NULL},
};

static void set_int(int64_t *field, int64_t value) {
  *field = moh__int_or(value, *field);
}

/* Query heads, KV heads in the old ratio, width of a head. */
static void set_heads(const moh__model_values *v, moh__config *c) {
  int64_t group = c->n_heads / (c->n_kv_heads > 0 ? c->n_kv_heads : 1);
  bool derived = c->d_head * c->n_heads == c->d_model;
  set_int(&c->n_heads, v->n_heads);
  set_int(&c->d_model, v->d_model);
  if (moh__is_set_int(v->n_kv_heads))
    c->n_kv_heads = v->n_kv_heads;
  else if (moh__is_set_int(v->n_heads))
    c->n_kv_heads = group > 0 && c->n_heads % group == 0 ? c->n_heads / group
                                                         : c->n_heads;
  if (moh__is_set_int(v->d_head))
    c->d_head = v->d_head;
  else if (derived && c->d_model % c->n_heads == 0)
    c->d_head = c->d_model / c->n_heads;
}

static void set_norms(const moh__model_values *v, moh__config *c) {
  static const moh__norm_kind kinds[] = {MOH__NORM_RMS, MOH__NORM_LAYER,
                                         MOH__NORM_DYT};
  if (moh__is_set_choice(v->norm)) c->norm = kinds[v->norm];
  if (moh__is_set_choice(v->norm_placement)) {
    c->pre_norm = v->norm_placement == 0;
    c->final_norm = c->pre_norm;
  }
  c->final_norm = moh__choice_or(v->final_norm, c->final_norm);
}

static void set_kinds(const moh__model_values *v, moh__config *c) {
  static const moh__ffn_kind ffn[] = {MOH__FFN_SWIGLU, MOH__FFN_RELU};
  static const moh__position_kind position[] = {
      MOH__POSITION_ROPE, MOH__POSITION_LEARNED, MOH__POSITION_COPE,
      MOH__POSITION_NONE};
  static const moh__gate_scale scale[] = {MOH__GATE_UNIT, MOH__GATE_PAPER,
                                          MOH__GATE_ONE};
  if (moh__is_set_choice(v->ffn)) c->ffn = ffn[v->ffn];
  if (moh__is_set_choice(v->position)) c->position = position[v->position];
  if (c->position == MOH__POSITION_COPE && c->cope_positions == 0)
    c->cope_positions = COPE_POSITIONS;
  if (moh__is_set_choice(v->gate_scale)) c->gate_scale = scale[v->gate_scale];
  if (moh__is_set_choice(v->output_projection))
    c->output_projection = v->output_projection == 1;
  c->qkv_bias = moh__choice_or(v->attention_bias, 0) > 0;
  c->output_bias = moh__choice_or(v->attention_bias, 0) > 1;
  c->mlp_bias = v->mlp_bias;
  c->qk_norm = v->qk_norm;
  if (moh__is_set_choice(v->route_by))
    c->route_by = (moh__route_by)v->route_by;
  set_int(&c->route_seed, v->route_seed);
  c->bias_balance = moh__real_or(v->bias_balance, c->bias_balance);
  c->experts.bias_balance =
      moh__real_or(v->expert_bias_balance, c->experts.bias_balance);
  c->mass = moh__real_or(v->head_mass, c->mass);
  if (v->tied || v->untied) c->tied = v->tied;
}

static moh_status set_architecture(const moh__model_values *v, moh__config *c,
                                   moh_error *err) {
  int architecture = moh__choice_or(v->architecture, MOH__TRANSFORMER);
  if (architecture != MOH__HRM &&
      (moh__is_set_int(v->hrm_cycles) || moh__is_set_int(v->hrm_steps) ||
       moh__is_set_choice(v->hrm_gradient) ||
       moh__is_set_int(v->hrm_supervision)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--hrm-cycles, --hrm-steps, --hrm-gradient and "
                     "--hrm-supervision need --architecture hrm");
  if (architecture != MOH__HYPERMIXER &&
      (moh__is_set_int(v->hyper_width) || moh__is_set_int(v->hyper_mix)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--hyper-width and --hyper-mix need --architecture "
                     "hypermixer");
  moh__config_set_architecture(c, (moh__architecture)architecture);
  set_int(&c->hrm_cycles, v->hrm_cycles);
  set_int(&c->hrm_steps, v->hrm_steps);
  set_int(&c->hrm_supervision, v->hrm_supervision);
  c->hrm_exact = moh__choice_or(v->hrm_gradient, 0) == 1;
  return MOH_OK;
}

/* After d-ff, which is the width of an expert, too. */
static moh_status set_experts(const moh__model_values *v, moh__config *c,
                              moh_error *err) {
  if (v->experts != NULL)
    MOH_TRY(moh__as_usage(moh__config_set_experts(c, v->experts, err), err));
  set_int(&c->experts.width, v->expert_hidden);
  return MOH_OK;
}

/* An option that would change nothing is a mistake of whoever typed it. */
static moh_status check_needs(const moh__model_values *v,
                              const moh__config *c, moh_error *err) {
  bool router = moh__config_has_router(c), experts = c->experts.n_routed > 0;
  const struct {
    bool given, useful;
    const char *message;
  } options[] = {
      {moh__is_set_choice(v->gate_scale), moh__config_has_scores(c),
       "--gate-scale needs --heads moh:S+K"},
      {moh__is_set_choice(v->route_by), moh__config_routes(c),
       "--route-by needs heads that tokens choose (--heads moh:S+K)"},
      {moh__is_set_int(v->route_seed), c->heads == MOH__HEADS_RANDOM,
       "--route-seed needs --heads random:S+K"},
      {moh__is_set_real(v->head_mass), c->heads == MOH__HEADS_ADAPTIVE,
       "--head-mass needs --heads adaptive:S+MIN-MAX"},
      {moh__is_set_real(v->bias_balance), router || c->bias_balance == 0,
       "--bias-balance needs --heads moh:S+K"},
      {moh__is_set_real(v->expert_bias_balance),
       experts || c->experts.bias_balance == 0,
       "--expert-bias-balance needs --experts"},
      {moh__is_set_int(v->expert_hidden), experts,
       "--expert-hidden needs --experts"},
      {moh__is_set_int(v->cope_positions), c->position == MOH__POSITION_COPE,
       "--cope-positions needs --position cope"},
      {moh__is_set_real(v->rope_theta), c->position == MOH__POSITION_ROPE,
       "--rope-theta needs --position rope"},
  };
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    if (options[i].given && !options[i].useful)
      return moh__fail(err, MOH_ERR_ARGUMENT, "%s", options[i].message);
  return MOH_OK;
}

moh_status moh__model_options_config(const moh__model_values *v,
                                     const char *default_preset,
                                     moh__config *config, moh_error *err) {
  const char *preset = v->preset != NULL ? v->preset : default_preset;
  if (v->tied && v->untied)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--tied and --untied exclude each other");
  MOH_TRY(moh__as_usage(moh__config_preset(config, preset, err), err));
  MOH_TRY(set_architecture(v, config, err));
  set_int(&config->n_layers, v->n_layers);
  set_int(&config->d_ff, v->d_ff);
  set_int(&config->max_seq_len, v->max_seq_len);
  set_int(&config->cope_positions, v->cope_positions);
  config->rope_theta = moh__real_or(v->rope_theta, config->rope_theta);
  set_heads(v, config);
  if (config->architecture == MOH__HYPERMIXER)
    config->hyper_width =
        moh__int_or(v->hyper_width, (config->d_model + 3) / 4);
  set_int(&config->hyper_mix, v->hyper_mix);
  set_norms(v, config);
  if (v->heads != NULL)
    MOH_TRY(moh__as_usage(moh__config_set_heads(config, v->heads, err), err));
  set_kinds(v, config);
  MOH_TRY(set_experts(v, config, err));
  if (v->window != NULL)
    MOH_TRY(
        moh__as_usage(moh__config_set_window(config, v->window, err), err));
  if (v->rope_scaling != NULL)
    MOH_TRY(moh__as_usage(
        moh__config_set_rope_scaling(config, v->rope_scaling, err), err));
  return check_needs(v, config, err);
}

moh_status moh__model_options_check(const moh__config *config,
                                    moh_error *err) {
  return moh__as_usage(moh__config_check(config, err), err);
}
