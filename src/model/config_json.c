/*
 * config.json. Fields that LLaMA checkpoints have keep their names. A dense
 * pre-norm model with RMSNorm, SwiGLU, RoPE and W_O is one of the LLaMA family
 * and is written as such ("llama", "qwen2", "qwen3"; config_family.h), so that
 * common tools read it; every other model is a "moh" one, whose "moh" object
 * holds what those have no field for:
 *
 *   "moh": {"architecture": "transformer" | "hrm" | "hypermixer",
 *     "hypermixer": {"width": 32, "mix": 64},     with hypermixer only
 *     "hrm": {"cycles": 2, "steps": 2, "gradient": "one-step" | "exact",
 *             "supervision": 1},                  with hrm only
 *     "norm": "rms" | "layer" | "dyt",
 *     "pre_norm": true, "final_norm": true, "ffn": "swiglu" | "relu",
 *     "position": "rope" | "learned" | "cope" | "none",
 *     "cope_positions": 64,                       with cope only
 *     "window": {"kind": "sliding", "size": 128}
 *             | {"kind": "length" | "entropy" | "perplexity", "min": 64,
 *                "max": 512},                   where there is one
 *     "experts": {"n_shared": 1, "k": 2, "n_routed": 8, "width": 256,
 *       "balance_weight": 0.01, "z_weight": 0.0, "router_init_std": 0.02,
 *       "bias_balance": 0.001},
 *                                        where the feed-forward has experts
 *     "output_projection": true,
 *     "qkv_bias": true, "output_bias": true, "mlp_bias": true, "qk_norm": true,
 *                                        each where there is such a thing
 *     "heads": {"strategy": "all"}
 *            | {"strategy": "static", "n_static": 6}
 *            | {"strategy": "moh", "n_shared": 2, "k": 4, "gate_scale":
 *               "unit" | "paper" | "one", "balance_weight": 0.01,
 *               "z_weight": 0.0, "router_init_std": 0.02,
 *               "bias_balance": 0.001,         where there are such biases
 *               "route_by": "group"}         where n_shared and k count these
 *            | {"strategy": "adaptive", as "moh" (k: at most), and
 *               "k_min": 1, "mass": 0.7, "sparsity_weight": 0.0}
 *            | {"strategy": "norm", "n_shared": 2, "k": 4, "gate_scale": "one",
 *               "balance_weight": 0.01, "route_by": "group"}
 *            | {"strategy": "random", "n_shared": 2, "k": 4, "seed": 1,
 *               "route_by": "group"}}
 *
 * rms_norm_eps serves all norms proper; rope_theta and rope_scaling are there
 * with RoPE only.
 */
#include "model/config_family.h"
#include "model/config_fields.h"
#include "model/config_parts.h"

static const char *const gradient_names[] = {"one-step", "exact", NULL};
static const char *const norm_names[] = {"rms", "layer", "dyt", NULL};
static const char *const ffn_names[] = {"swiglu", "relu", NULL};
static const char *const position_names[] = {"rope", "learned", "cope",
                                             "none", NULL};
static const char *const strategy_names[] = {"all",    "moh",      "static",
                                             "random", "adaptive", "norm",
                                             NULL};
static const char *const scale_names[] = {"unit", "paper", "one", NULL};

/* ---- writing: 0 is success, as in jansson ---- */

/* How many of what a token uses. */
static int put_counts(json_t *heads, const moh__config *c) {
  int failed = 0;
  if (c->route_by != MOH__ROUTE_BY_HEAD)
    failed = put_text(heads, "route_by", moh__route_by_names[c->route_by]);
  return failed | put_int(heads, "n_shared", c->n_shared) |
         put_int(heads, "k", c->k);
}

static int put_gates(json_t *heads, const moh__config *c) {
  return put_text(heads, "gate_scale", scale_names[c->gate_scale]) |
         put_real(heads, "balance_weight", c->balance_weight);
}

static int put_router(json_t *heads, const moh__config *c) {
  int failed = 0;
  if (c->bias_balance > 0)
    failed = put_real(heads, "bias_balance", c->bias_balance);
  return failed | put_real(heads, "z_weight", c->z_weight) |
         put_real(heads, "router_init_std", c->router_init_std);
}

static json_t *heads_to_json(const moh__config *c) {
  json_t *heads = json_object();
  int failed = put_text(heads, "strategy", strategy_names[c->heads]);
  if (moh__config_routes(c)) failed |= put_counts(heads, c);
  if (moh__config_has_scores(c)) failed |= put_gates(heads, c);
  if (moh__config_has_router(c)) failed |= put_router(heads, c);
  if (c->heads == MOH__HEADS_ADAPTIVE)
    failed |= put_int(heads, "k_min", c->k_min) |
              put_real(heads, "mass", c->mass) |
              put_real(heads, "sparsity_weight", c->sparsity_weight);
  if (c->heads == MOH__HEADS_RANDOM)
    failed |= put_int(heads, "seed", c->route_seed);
  if (c->heads == MOH__HEADS_STATIC)
    failed |= put_int(heads, "n_static", c->n_static);
  if (failed == 0) return heads;
  json_decref(heads);
  return NULL;
}

static json_t *window_to_json(const moh__window *w) {
  json_t *window = json_object();
  int failed = put_text(window, "kind", moh__window_names[w->kind]);
  if (w->kind == MOH__WINDOW_SLIDING)
    failed |= put_int(window, "size", w->size);
  else
    failed |= put_int(window, "min", w->min) | put_int(window, "max", w->max);
  if (failed == 0) return window;
  json_decref(window);
  return NULL;
}

static json_t *hrm_to_json(const moh__config *c) {
  return json_pack("{s:I, s:I, s:s, s:I}", "cycles",
                   (json_int_t)c->hrm_cycles, "steps",
                   (json_int_t)c->hrm_steps, "gradient",
                   gradient_names[c->hrm_exact], "supervision",
                   (json_int_t)c->hrm_supervision);
}

static json_t *hypermixer_to_json(const moh__config *c) {
  return json_pack("{s:I, s:I}", "width", (json_int_t)c->hyper_width, "mix",
                   (json_int_t)c->hyper_mix);
}

static json_t *experts_to_json(const moh__experts *x) {
  json_t *experts =
      json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "n_shared",
                (json_int_t)x->n_shared, "k", (json_int_t)x->k, "n_routed",
                (json_int_t)x->n_routed, "width", (json_int_t)x->width,
                "balance_weight", x->balance_weight, "z_weight", x->z_weight,
                "router_init_std", x->router_init_std);
  if (experts == NULL || x->bias_balance == 0 ||
      put_real(experts, "bias_balance", x->bias_balance) == 0)
    return experts;
  json_decref(experts);
  return NULL;
}

static json_t *moh_to_json(const moh__config *c) {
  json_t *moh = json_object();
  int failed =
      put_text(moh, "architecture", moh__architecture_names[c->architecture]) |
      put_text(moh, "norm", norm_names[c->norm]) |
      put_bool(moh, "pre_norm", c->pre_norm) |
      put_bool(moh, "final_norm", c->final_norm) |
      put_text(moh, "ffn", ffn_names[c->ffn]) |
      put_text(moh, "position", position_names[c->position]);
  if (c->position == MOH__POSITION_COPE)
    failed |= put_int(moh, "cope_positions", c->cope_positions);
  if (c->architecture == MOH__HYPERMIXER)
    failed |= json_object_set_new(moh, "hypermixer", hypermixer_to_json(c));
  if (c->architecture == MOH__HRM)
    failed |= json_object_set_new(moh, "hrm", hrm_to_json(c));
  if (c->window.kind != MOH__WINDOW_NONE)
    failed |= json_object_set_new(moh, "window", window_to_json(&c->window));
  if (c->experts.n_routed > 0)
    failed |=
        json_object_set_new(moh, "experts", experts_to_json(&c->experts));
  failed |= put_bool(moh, "output_projection", c->output_projection) |
            put_if(moh, "qkv_bias", c->qkv_bias) |
            put_if(moh, "output_bias", c->output_bias) |
            put_if(moh, "mlp_bias", c->mlp_bias) |
            put_if(moh, "qk_norm", c->qk_norm) |
            json_object_set_new(moh, "heads", heads_to_json(c));
  if (failed == 0) return moh;
  json_decref(moh);
  return NULL;
}

json_t *moh__config_to_json(const moh__config *config) {
  json_t *root = json_object();
  int failed = moh__family_put(root, config);
  if (moh__config_family(config) == MOH__FAMILY_NONE)
    failed |= json_object_set_new(root, "moh", moh_to_json(config));
  if (failed == 0) return root;
  json_decref(root);
  return NULL;
}

/* ---- reading ---- */

/* The other side of put_counts. */
static moh_status read_counts(moh__config *c, const json_t *heads,
                              moh_error *err) {
  int route_by = MOH__ROUTE_BY_HEAD;
  MOH_TRY(get_int(heads, "n_shared", &c->n_shared, err));
  MOH_TRY(get_int(heads, "k", &c->k, err));
  if (json_object_get(heads, "route_by") != NULL)
    MOH_TRY(
        get_choice(heads, "route_by", moh__route_by_names, &route_by, err));
  c->route_by = (moh__route_by)route_by;
  return MOH_OK;
}

static moh_status read_random(moh__config *c, json_t *heads, moh_error *err) {
  static const char *const known[] = {"strategy", "n_shared", "k",
                                      "seed",     "route_by", NULL};
  MOH_TRY(refuse_unknown(heads, "heads", known, err));
  MOH_TRY(read_counts(c, heads, err));
  return get_int(heads, "seed", &c->route_seed, err);
}

/* 0 where it is not there, and where it is, more. */
static moh_status get_bias_balance(const json_t *object, double *rate,
                                   moh_error *err) {
  *rate = 0;
  if (json_object_get(object, "bias_balance") == NULL) return MOH_OK;
  MOH_TRY(moh__json_get_real(object, "bias_balance", rate, err));
  if (*rate > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"bias_balance\" is %g, it must be more than 0",
                   *rate);
}

/* The other side of put_gates. */
static moh_status read_gates(moh__config *c, const json_t *heads,
                             moh_error *err) {
  int scale;
  MOH_TRY(read_counts(c, heads, err));
  MOH_TRY(get_choice(heads, "gate_scale", scale_names, &scale, err));
  c->gate_scale = (moh__gate_scale)scale;
  return moh__json_get_real(heads, "balance_weight", &c->balance_weight, err);
}

static moh_status read_norm(moh__config *c, json_t *heads, moh_error *err) {
  static const char *const known[] = {
      "strategy",       "n_shared", "k",  "gate_scale",
      "balance_weight", "route_by", NULL};
  MOH_TRY(refuse_unknown(heads, "heads", known, err));
  return read_gates(c, heads, err);
}

static moh_status read_router(moh__config *c, const json_t *heads,
                              moh_error *err) {
  MOH_TRY(read_gates(c, heads, err));
  MOH_TRY(moh__json_get_real(heads, "z_weight", &c->z_weight, err));
  MOH_TRY(
      moh__json_get_real(heads, "router_init_std", &c->router_init_std, err));
  return get_bias_balance(heads, &c->bias_balance, err);
}

static moh_status read_moh_heads(moh__config *c, json_t *heads,
                                 moh_error *err) {
  static const char *const known[] = {
      "strategy",        "n_shared",       "k",
      "gate_scale",      "balance_weight", "z_weight",
      "router_init_std", "route_by",       "bias_balance", NULL};
  MOH_TRY(refuse_unknown(heads, "heads", known, err));
  return read_router(c, heads, err);
}

static moh_status read_adaptive(moh__config *c, json_t *heads,
                                moh_error *err) {
  static const char *const known[] = {"strategy",
                                      "n_shared",
                                      "k",
                                      "gate_scale",
                                      "balance_weight",
                                      "z_weight",
                                      "router_init_std",
                                      "route_by",
                                      "k_min",
                                      "mass",
                                      "sparsity_weight",
                                      NULL};
  MOH_TRY(refuse_unknown(heads, "heads", known, err));
  MOH_TRY(get_int(heads, "k_min", &c->k_min, err));
  MOH_TRY(moh__json_get_real(heads, "mass", &c->mass, err));
  MOH_TRY(
      moh__json_get_real(heads, "sparsity_weight", &c->sparsity_weight, err));
  return read_router(c, heads, err);
}

static moh_status read_heads(moh__config *c, json_t *heads, moh_error *err) {
  static const char *const known_all[] = {"strategy", NULL};
  static const char *const known_static[] = {"strategy", "n_static", NULL};
  int strategy;
  MOH_TRY(get_choice(heads, "strategy", strategy_names, &strategy, err));
  c->heads = (moh__head_strategy)strategy;
  if (c->heads == MOH__HEADS_MOH) return read_moh_heads(c, heads, err);
  if (c->heads == MOH__HEADS_ADAPTIVE) return read_adaptive(c, heads, err);
  if (c->heads == MOH__HEADS_RANDOM) return read_random(c, heads, err);
  if (c->heads == MOH__HEADS_NORM) return read_norm(c, heads, err);
  if (c->heads == MOH__HEADS_ALL)
    return refuse_unknown(heads, "heads", known_all, err);
  MOH_TRY(refuse_unknown(heads, "heads", known_static, err));
  return get_int(heads, "n_static", &c->n_static, err);
}

static moh_status read_window(moh__config *c, json_t *window,
                              moh_error *err) {
  static const char *const sliding[] = {"kind", "size", NULL};
  static const char *const ranged[] = {"kind", "min", "max", NULL};
  int kind;
  MOH_TRY(get_choice(window, "kind", moh__window_names, &kind, err));
  c->window.kind = (moh__window_kind)kind;
  if (kind == MOH__WINDOW_SLIDING) {
    MOH_TRY(refuse_unknown(window, "window", sliding, err));
    return get_int(window, "size", &c->window.size, err);
  }
  MOH_TRY(refuse_unknown(window, "window", ranged, err));
  if (kind == MOH__WINDOW_NONE) return MOH_OK;
  MOH_TRY(get_int(window, "min", &c->window.min, err));
  return get_int(window, "max", &c->window.max, err);
}

/* The object of an architecture, "hrm": NULL where the model is of another,
 * which must not have one. */
static moh_status get_own(const moh__config *c, const json_t *moh,
                          moh__architecture architecture, json_t **own,
                          moh_error *err) {
  const char *name = moh__architecture_names[architecture];
  *own = NULL;
  if (c->architecture == architecture) return get_object(moh, name, own, err);
  if (json_object_get(moh, name) == NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"%s\" needs \"architecture\" to be \"%s\"",
                   name, name);
}

static moh_status read_hypermixer(moh__config *c, const json_t *moh,
                                  moh_error *err) {
  static const char *const known[] = {"width", "mix", NULL};
  json_t *own;
  MOH_TRY(get_own(c, moh, MOH__HYPERMIXER, &own, err));
  if (own == NULL) return MOH_OK;
  MOH_TRY(refuse_unknown(own, "hypermixer", known, err));
  MOH_TRY(get_int(own, "width", &c->hyper_width, err));
  return get_int(own, "mix", &c->hyper_mix, err);
}

static moh_status read_hrm(moh__config *c, const json_t *moh,
                           moh_error *err) {
  static const char *const known[] = {"cycles", "steps", "gradient",
                                      "supervision", NULL};
  json_t *hrm;
  int exact;
  MOH_TRY(get_own(c, moh, MOH__HRM, &hrm, err));
  if (hrm == NULL) return MOH_OK;
  MOH_TRY(refuse_unknown(hrm, "hrm", known, err));
  MOH_TRY(get_int(hrm, "cycles", &c->hrm_cycles, err));
  MOH_TRY(get_int(hrm, "steps", &c->hrm_steps, err));
  MOH_TRY(get_choice(hrm, "gradient", gradient_names, &exact, err));
  c->hrm_exact = exact == 1;
  return get_int(hrm, "supervision", &c->hrm_supervision, err);
}

/* Where the object is, there are experts: none would be read as a dense
 * model of another shape. */
static moh_status read_experts(moh__config *c, const json_t *moh,
                               moh_error *err) {
  static const char *const known[] = {"n_shared",
                                      "k",
                                      "n_routed",
                                      "width",
                                      "balance_weight",
                                      "z_weight",
                                      "router_init_std",
                                      "bias_balance",
                                      NULL};
  moh__experts *x = &c->experts;
  json_t *json;
  if (json_object_get(moh, "experts") == NULL) return MOH_OK;
  MOH_TRY(get_object(moh, "experts", &json, err));
  MOH_TRY(refuse_unknown(json, "experts", known, err));
  MOH_TRY(get_int(json, "n_shared", &x->n_shared, err));
  MOH_TRY(get_int(json, "k", &x->k, err));
  MOH_TRY(
      moh__json_get_int(json, "n_routed", 1, INT64_MAX, &x->n_routed, err));
  MOH_TRY(get_int(json, "width", &x->width, err));
  MOH_TRY(
      moh__json_get_real(json, "balance_weight", &x->balance_weight, err));
  MOH_TRY(moh__json_get_real(json, "z_weight", &x->z_weight, err));
  MOH_TRY(
      moh__json_get_real(json, "router_init_std", &x->router_init_std, err));
  return get_bias_balance(json, &x->bias_balance, err);
}

static moh_status read_choices(moh__config *c, const json_t *moh,
                               moh_error *err) {
  int architecture, norm, ffn, position;
  MOH_TRY(get_choice(moh, "architecture", moh__architecture_names,
                     &architecture,
                     err));
  MOH_TRY(get_choice(moh, "norm", norm_names, &norm, err));
  MOH_TRY(get_choice(moh, "ffn", ffn_names, &ffn, err));
  MOH_TRY(get_choice(moh, "position", position_names, &position, err));
  c->architecture = (moh__architecture)architecture;
  c->norm = (moh__norm_kind)norm;
  c->ffn = (moh__ffn_kind)ffn;
  c->position = (moh__position_kind)position;
  return MOH_OK;
}

static moh_status read_vectors(moh__config *c, const json_t *moh,
                               moh_error *err) {
  MOH_TRY(get_bool_if(moh, "qkv_bias", &c->qkv_bias, err));
  MOH_TRY(get_bool_if(moh, "output_bias", &c->output_bias, err));
  MOH_TRY(get_bool_if(moh, "mlp_bias", &c->mlp_bias, err));
  return get_bool_if(moh, "qk_norm", &c->qk_norm, err);
}

static moh_status read_moh(moh__config *c, json_t *moh, moh_error *err) {
  static const char *const known[] = {"architecture",
                                      "norm",
                                      "pre_norm",
                                      "final_norm",
                                      "ffn",
                                      "position",
                                      "output_projection",
                                      "qkv_bias",
                                      "output_bias",
                                      "mlp_bias",
                                      "qk_norm",
                                      "heads",
                                      "cope_positions",
                                      "window",
                                      "hrm",
                                      "hypermixer",
                                      "experts",
                                      NULL};
  json_t *heads = NULL, *window = NULL;
  MOH_TRY(refuse_unknown(moh, "moh", known, err));
  MOH_TRY(read_choices(c, moh, err));
  MOH_TRY(moh__json_get_bool(moh, "pre_norm", &c->pre_norm, err));
  MOH_TRY(moh__json_get_bool(moh, "final_norm", &c->final_norm, err));
  MOH_TRY(moh__json_get_bool(moh, "output_projection", &c->output_projection,
                             err));
  MOH_TRY(read_vectors(c, moh, err));
  if (c->position == MOH__POSITION_COPE)
    MOH_TRY(get_int(moh, "cope_positions", &c->cope_positions, err));
  else if (json_object_get(moh, "cope_positions") != NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the field \"cope_positions\" needs \"position\" to be "
                     "\"cope\"");
  MOH_TRY(read_hrm(c, moh, err));
  MOH_TRY(read_hypermixer(c, moh, err));
  MOH_TRY(read_experts(c, moh, err));
  if (json_object_get(moh, "window") != NULL) {
    MOH_TRY(get_object(moh, "window", &window, err));
    MOH_TRY(read_window(c, window, err));
  }
  MOH_TRY(get_object(moh, "heads", &heads, err));
  return read_heads(c, heads, err);
}

/* What goes with the feed-forward; a file of the family may leave it out. */
static moh_status check_act(const moh__config *c, const json_t *root,
                            moh__family family, moh_error *err) {
  static const char *const names[] = {"silu", "relu", NULL};
  int act;
  if (family != MOH__FAMILY_NONE && !is_given(root, "hidden_act"))
    return MOH_OK;
  MOH_TRY(get_choice(root, "hidden_act", names, &act, err));
  if (act == (int)c->ffn) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"hidden_act\" is \"%s\", but \"%s\" is what "
                   "goes with \"%s\"",
                   names[act], names[c->ffn], ffn_names[c->ffn]);
}

moh_status moh__config_from_json(moh__config *config, const json_t *root,
                                 moh_error *err) {
  moh__config c;
  moh__family family;
  json_t *moh = NULL;
  moh__config_default(&c);
  MOH_TRY(moh__family_read_type(root, &family, err));
  MOH_TRY(moh__family_read(&c, root, family, err));
  if (family == MOH__FAMILY_NONE) {
    MOH_TRY(get_object(root, "moh", &moh, err));
    MOH_TRY(read_moh(&c, moh, err));
  }
  MOH_TRY(check_act(&c, root, family, err));
  MOH_TRY(moh__family_read_rope(&c, root, family, err));
  MOH_TRY(moh__config_check(&c, err));
  *config = c;
  return MOH_OK;
}
