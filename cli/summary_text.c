/* A summary as sections of a box, and as JSON. */
#include <inttypes.h>
#include <string.h>

#include "model/config_family.h"
#include "numbers.h"
#include "summary.h"

static const char *const part_texts[] = {
#define PART_TEXT(code, key, text) text,
    MOH__PART_MAP(PART_TEXT)
#undef PART_TEXT
};
static const char *const part_keys[] = {
#define PART_KEY(code, key, text) key,
    MOH__PART_MAP(PART_KEY)
#undef PART_KEY
};

/* ---- words for what there is ---- */

static const char *norm_name(const moh__summary *s) {
  if (s->dynamic_tanh) return "DyT";
  return s->layer_norm ? "LayerNorm" : "RMSNorm";
}

static const char *ffn_name(const moh__summary *s) {
  return s->swiglu ? "SwiGLU" : "ReLU";
}

static const char *position_name(const moh__summary *s) {
  if (s->cope) return "cope";
  if (s->rope) return "rope";
  return s->n_positions > 0 ? "learned" : "none";
}

static const char *mixing_name(const moh__summary *s) {
  return s->mixer ? "token mixing" : "attention";
}

static const char *attention_name(const moh__summary *s) {
  if (s->mixer) return "none";
  if (s->n_kv_heads == s->n_heads) return "MHA";
  return s->n_kv_heads == 1 ? "MQA" : "GQA";
}

/* A model of the LLaMA family, or one that differs from it in what is said
 * behind the name. */
static const char *kin_name(moh__family kin, const moh__summary *s,
                            bool sliding) {
  static const char *const qwen2[] = {"Qwen2",
                                      "Qwen2, with a sliding window"};
  static const char *const qwen3[] = {"Qwen3",
                                      "Qwen3, with a sliding window"};
  bool mha = s->n_kv_heads == s->n_heads;
  if (kin == MOH__FAMILY_QWEN2) return qwen2[sliding];
  if (kin == MOH__FAMILY_QWEN3) return qwen3[sliding];
  if (sliding) return mha ? "LLaMA, with a sliding window" : "Mistral";
  if (mha) return "LLaMA, LLaMA 2 7B";
  return s->n_kv_heads > 1 ? "LLaMA 2 70B, LLaMA 3"
                           : "LLaMA, with one KV head";
}

/* Which known family has these choices. Of LLaMA's, by the judgement that moh
 * export goes by. */
static const char *family(const moh__model *model, const moh__summary *s) {
  bool pre = model->config.pre_norm;
  bool learned = !s->rope && !s->cope && s->n_positions > 0;
  bool mha = s->n_kv_heads == s->n_heads;
  if (s->mixer) return "HyperMixer, causal";
  if (model->config.architecture == MOH__HRM)
    return "hierarchical reasoning model";
  bool sliding = model->config.window.kind == MOH__WINDOW_SLIDING;
  if (model->config.window.kind > MOH__WINDOW_SLIDING)
    return "custom, with an adaptive window";
  if (s->cope) return "custom, with contextual positions";
  if (s->dynamic_tanh) return "custom, with dynamic tanh";
  moh__family kin = moh__config_kin(&model->config);
  if (kin != MOH__FAMILY_NONE) return kin_name(kin, s, sliding);
  if (s->layer_norm && !s->swiglu && learned && mha && s->projection &&
      pre == s->final_norm)
    return pre ? "GPT-2 (with ReLU)" : "the original Transformer's decoder";
  return "custom";
}

/* What none of these families has. */
static const char *difference(const moh__summary *s) {
  if (s->routed && s->n_routed_experts > 0) return ", with MoH and experts";
  if (s->routed) return ", with Mixture-of-Heads";
  if (s->by_query && s->n_routed_experts > 0)
    return ", with heads by query norm and experts";
  if (s->by_query) return ", with heads by query norm";
  if (s->drawn && s->n_routed_experts > 0)
    return ", with heads by chance and experts";
  if (s->drawn) return ", with heads by chance";
  if (s->n_routed_experts > 0) return ", with experts";
  return s->active < s->n_heads ? ", with heads left out" : "";
}

/* ---- sections ---- */

static void print_hrm(const moh__box *box, const moh__config *c) {
  char losses[40] = "";
  if (c->architecture != MOH__HRM) return;
  if (c->hrm_supervision > 1)
    snprintf(losses, sizeof(losses), ", %" PRId64 " losses",
             c->hrm_supervision);
  moh__box_field(box, "HRM",
                 "%" PRId64 " cycles of %" PRId64 " + 1 steps, %" PRId64
                 " passes; gradient %s%s",
                 c->hrm_cycles, c->hrm_steps, moh__config_passes(c),
                 c->hrm_exact ? "exact" : "of one step", losses);
}

static void print_base(const moh__box *box, const moh__model *model,
                       const moh__summary *s) {
  moh__number vocabulary;
  moh__box_field(box, "vocabulary", "%s tokens",
                 moh__number_grouped(&vocabulary, s->vocabulary));
  moh__box_field(box, "width",
                 "%" PRId64 ", %s %" PRId64 ", heads of %" PRId64, s->d_model,
                 s->n_routed_experts > 0 ? "experts of" : "feed-forward",
                 s->d_ff, s->d_head);
  moh__box_field(box, "layers", "%" PRId64, s->n_layers);
  print_hrm(box, &model->config);
  moh__box_field(box, "longest sequence", "%" PRId64 " tokens",
                 model->config.max_seq_len);
}

static void print_norms(const moh__box *box, const moh__model *model,
                        const moh__summary *s) {
  moh__box_field(box, "norm", "%s, %s, %s", norm_name(s),
                 model->config.pre_norm ? "before the sub-layers (pre-norm)"
                                        : "after the sums (post-norm)",
                 s->final_norm ? "final norm" : "no final norm");
  moh__box_field(box, "feed-forward", "%s", ffn_name(s));
}

static void print_biases(const moh__box *box, double rate) {
  if (rate > 0)
    moh__box_field(box, "", "biases balance the choice, by %g at a step",
                   rate);
}

static void print_experts(const moh__box *box, const moh__model *model,
                          const moh__summary *s) {
  const moh__experts *x = &model->config.experts;
  if (s->n_routed_experts == 0) return;
  moh__box_field(box, "experts",
                 "%" PRId64 " shared + %" PRId64 " of %" PRId64
                 " by a router, for each token",
                 s->n_shared_experts, x->k, s->n_routed_experts);
  moh__box_field(box, "", "%.0f %% of them are not computed; beta %g, z %g",
                 100.0 * (double)(s->n_routed_experts - x->k) /
                     (double)(s->n_shared_experts + s->n_routed_experts),
                 x->balance_weight, x->z_weight);
  print_biases(box, x->bias_balance);
}

static void print_rope(const moh__box *box, const moh__config *c) {
  char scaling[80];
  moh__box_field(box, "positions", "RoPE, theta %g", c->rope_theta);
  if (c->rope_scaling.kind == MOH__ROPE_UNSCALED) return;
  moh__config_rope_scaling_text(c, scaling, sizeof scaling);
  moh__box_field(box, "", "scaled, %s", scaling);
}

static void print_positions(const moh__box *box, const moh__model *model,
                            const moh__summary *s) {
  if (s->cope)
    moh__box_field(box, "positions", "CoPE, %" PRId64 " for each head",
                   s->n_positions);
  else if (s->rope)
    print_rope(box, &model->config);
  else if (s->n_positions > 0)
    moh__box_field(box, "positions", "learned, %" PRId64, s->n_positions);
  else
    moh__box_field(box, "positions", "none");
}

/* By layer, where layers have their own. */
static void print_adapted(const moh__box *box, const moh__model *model) {
  const moh__window *w = &model->config.window;
  char sizes[64] = "";
  int64_t least = w->max, most = w->min;
  for (int64_t i = 0; i < model->config.n_layers; i++) {
    int64_t size = moh__model_window(model, i);
    size_t used = strlen(sizes);
    snprintf(sizes + used, sizeof sizes - used, " %" PRId64, size);
    if (size < least) least = size;
    if (size > most) most = size;
  }
  moh__box_field(box, "window", "%" PRId64 " to %" PRId64 " tokens by %s",
                 w->min, w->max, moh__window_names[w->kind]);
  if (strlen(sizes) < sizeof sizes - 1)
    moh__box_field(box, "", "now, by layer:%s", sizes);
  else
    moh__box_field(box, "", "now %" PRId64 " to %" PRId64 ", by layer", least,
                   most);
}

static void print_window(const moh__box *box, const moh__model *model) {
  const moh__config *c = &model->config;
  const moh__window *w = &c->window;
  if (w->kind == MOH__WINDOW_SLIDING)
    moh__box_field(box, "window", "the last %" PRId64 " tokens%s", w->size,
                   w->size < c->max_seq_len ? "" : " (all there can be)");
  if (w->kind == MOH__WINDOW_LENGTH)
    moh__box_field(box, "window",
                   "half of the tokens so far, %" PRId64 " to %" PRId64,
                   w->min, w->max);
  if (moh__window_adapts(w)) print_adapted(box, model);
  if (w->kind == MOH__WINDOW_NONE)
    moh__box_field(box, "window", "all earlier tokens");
}

/* Biases, and norms of queries and keys. */
static void print_vectors(const moh__box *box, const moh__config *c) {
  if (c->qk_norm) moh__box_field(box, "", "queries and keys are normed");
  if (c->qkv_bias || c->output_bias || c->mlp_bias)
    moh__box_field(box, "biases of", "%s%s%s", c->qkv_bias ? "Q, K, V  " : "",
                   c->output_bias ? "O  " : "",
                   c->mlp_bias ? "feed-forward" : "");
}

static void print_attention(const moh__box *box, const moh__model *model,
                            const moh__summary *s) {
  if (s->mixer) {
    moh__box_field(box, "mixing",
                   "HyperMixer, %" PRId64 " heads of %" PRId64 " x %" PRId64
                   ", width %" PRId64,
                   s->n_heads, model->config.hyper_mix, s->d_head,
                   model->config.hyper_width);
    return;
  }
  if (s->n_kv_heads == s->n_heads)
    moh__box_field(box, "attention", "MHA, %" PRId64 " heads", s->n_heads);
  else
    moh__box_field(
        box, "attention",
        "%s, %" PRId64 " query heads on %" PRId64
        " KV heads: cache %.0f %% smaller",
        attention_name(s), s->n_heads, s->n_kv_heads,
        100.0 - 100.0 * (double)s->n_kv_heads / (double)s->n_heads);
  if (!s->projection) moh__box_field(box, "", "no output projection");
  print_vectors(box, &model->config);
  print_window(box, model);
}

/* "1 shared + 1 to 3 of 3 by the router = 2 to 4 of 4", and when it is. */
static void print_adaptive(const moh__box *box, const moh__config *c,
                           const moh__summary *s) {
  int64_t each = s->heads_each;
  moh__box_field(box, "heads of a token",
                 "adaptive: %" PRId64 " shared + %" PRId64 " to %" PRId64
                 " of %" PRId64 " by the router = %" PRId64 " to %" PRId64,
                 s->n_shared * each, c->k_min * each, c->k * each,
                 s->n_routed * each, s->least, s->active);
  if (s->mass[0] < s->mass[1])
    moh__box_field(box, "", "until their probabilities reach %.3f to %.3f",
                   s->mass[0], s->mass[1]);
  else
    moh__box_field(box, "", "until their probabilities reach %.3g",
                   s->mass[0]);
  if (s->mean > 0)
    moh__box_field(box, "", "%.2f on average when it was trained", s->mean);
}

/* What chooses heads, KV heads, and the strategy's name. */
typedef struct chooser {
  const char *name, *by, *choose;
} chooser;

static chooser chooser_of(const moh__summary *s) {
  if (s->drawn) return (chooser){"random", "chance", "tokens draw"};
  if (s->by_query)
    return (chooser){"norm", "||q||", "queries choose"};
  return (chooser){"MoH", "the router", "the router chooses"};
}

static void print_chosen(const moh__box *box, const moh__config *c,
                         const moh__summary *s) {
  chooser by = chooser_of(s);
  if (c->heads == MOH__HEADS_ADAPTIVE) {
    print_adaptive(box, c, s);
    return;
  }
  moh__box_field(box, "heads of a token",
                 "%s: %" PRId64 " shared + %" PRId64 " of %" PRId64
                 " by %s = %" PRId64 " of %" PRId64,
                 by.name, s->n_shared * s->heads_each, c->k * s->heads_each,
                 s->n_routed * s->heads_each, by.by, s->active, s->n_heads);
  if (c->route_by == MOH__ROUTE_BY_GROUP)
    moh__box_field(
        box, "", "%s KV heads, each with its %" PRId64 " query heads",
        by.choose, s->heads_each);
}

typedef struct words {
  char text[96];
} words;

static words router_text(const moh__config *c) {
  words w;
  if (c->heads == MOH__HEADS_RANDOM)
    snprintf(w.text, sizeof w.text, "seed %" PRId64, c->route_seed);
  else if (c->heads == MOH__HEADS_NORM)
    snprintf(w.text, sizeof w.text, "beta %g", c->balance_weight);
  else if (c->heads == MOH__HEADS_ADAPTIVE)
    snprintf(w.text, sizeof w.text, "beta %g, z %g, sparsity %g",
             c->balance_weight, c->z_weight, c->sparsity_weight);
  else
    snprintf(w.text, sizeof w.text, "beta %g, z %g", c->balance_weight,
             c->z_weight);
  return w;
}

static void print_skipped(const moh__box *box, const moh__summary *s,
                          double skipped, const char *weights) {
  double most = 100.0 - 100.0 * (double)s->least / (double)s->n_heads;
  if (s->least == s->active) {
    moh__box_field(box, "", "%.0f %% of the heads are not computed; %s",
                   skipped, weights);
    return;
  }
  moh__box_field(box, "", "%.0f to %.0f %% of the heads are not computed",
                 skipped, most);
  moh__box_field(box, "", "%s", weights);
}

static void print_heads(const moh__box *box, const moh__model *model,
                        const moh__summary *s) {
  const moh__config *c = &model->config;
  double skipped = 100.0 - 100.0 * (double)s->active / (double)s->n_heads;
  if (s->routed || s->drawn || s->by_query) {
    print_chosen(box, c, s);
    print_skipped(box, s, skipped, router_text(c).text);
    if (s->by_query)
      moh__box_field(box, "", "but for queries, which rank the heads");
    if (s->routed) print_biases(box, c->bias_balance);
  } else if (s->active < s->n_heads) {
    moh__box_field(box, "heads of a token",
                   "the first %" PRId64 " of %" PRId64
                   "; %.0f %% are not computed",
                   s->active, s->n_heads, skipped);
  } else {
    moh__box_field(box, "heads of a token", "all %" PRId64, s->n_heads);
  }
}

static void print_layers(const moh__box *box, const moh__model *model,
                         const moh__summary *s) {
  char range[48];
  int64_t last = 4 * s->n_layers;
  snprintf(range, sizeof range, "1 - %" PRId64, last);
  moh__box_field(box, "0", "embedding");
  if (model->config.pre_norm)
    moh__box_field(box, range, "%" PRId64 " x (%s, %s, %s, %s)", s->n_layers,
                   norm_name(s), mixing_name(s), norm_name(s), ffn_name(s));
  else
    moh__box_field(box, range, "%" PRId64 " x (%s, %s, %s, %s)", s->n_layers,
                   mixing_name(s), norm_name(s), ffn_name(s), norm_name(s));
  if (s->final_norm) {
    snprintf(range, sizeof range, "%" PRId64, ++last);
    moh__box_field(box, range, "%s", norm_name(s));
  }
  snprintf(range, sizeof range, "%" PRId64, ++last);
  moh__box_field(box, range, "output matrix%s",
                 s->tied ? " (the embedding's)" : "");
}

static void print_counts(const moh__box *box, const moh__summary *s) {
  moh__number n;
  for (int i = 0; i < MOH__N_PARTS; i++) {
    if (s->counts[i] == 0) continue;
    moh__box_field(box, part_texts[i], "%14s  %5.1f %%",
                   moh__number_grouped(&n, s->counts[i]),
                   100.0 * (double)s->counts[i] / (double)s->total);
  }
  moh__box_field(box, "total", "%14s", moh__number_grouped(&n, s->total));
  if (s->unused > 0)
    moh__box_field(box, "in use for a token", "%14s  %5.1f %%",
                   moh__number_grouped(&n, s->total - s->unused),
                   100.0 * (double)(s->total - s->unused) / (double)s->total);
  if (s->routed)
    moh__box_field(box, "router of a layer", "%14s",
                   moh__number_grouped(&n, s->routers_per_layer));
}

void moh__summary_print(const moh__box *box, const moh__model *model,
                        const moh__summary *s) {
  print_base(box, model, s);
  moh__box_section(box, "choices");
  print_norms(box, model, s);
  print_positions(box, model, s);
  print_attention(box, model, s);
  print_heads(box, model, s);
  print_experts(box, model, s);
  moh__box_field(box, "family", "%s%s", family(model, s), difference(s));
  moh__box_section(box, "layers");
  print_layers(box, model, s);
  moh__box_section(box, "parameters");
  print_counts(box, s);
}

/* ---- JSON ---- */

static json_t *counts_json(const moh__summary *s) {
  json_t *object = json_object();
  for (int i = 0; i < MOH__N_PARTS; i++)
    json_object_set_new(object, part_keys[i], json_integer(s->counts[i]));
  json_object_set_new(object, "total", json_integer(s->total));
  json_object_set_new(object, "active", json_integer(s->total - s->unused));
  json_object_set_new(object, "router_per_layer",
                      json_integer(s->routers_per_layer));
  return object;
}

/* Of each layer, where they adapt; otherwise NULL. */
static json_t *windows_json(const moh__model *model) {
  if (!moh__window_adapts(&model->config.window)) return NULL;
  json_t *windows = json_array();
  for (int64_t i = 0; i < model->config.n_layers; i++)
    json_array_append_new(windows, json_integer(moh__model_window(model, i)));
  return windows;
}

json_t *moh__summary_json(const moh__model *model, const moh__summary *s) {
  return json_pack(
      "{s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, "
      "s:o, s:o*}",
      "config", moh__config_to_json(&model->config), "norm", norm_name(s),
      "feed_forward", ffn_name(s), "position", position_name(s), "attention",
      attention_name(s), "layers", (json_int_t)s->n_layers, "heads",
      (json_int_t)s->n_heads, "kv_heads", (json_int_t)s->n_kv_heads,
      "active_heads", (json_int_t)s->active, "shared_heads",
      (json_int_t)s->n_shared * s->heads_each, "heads_each",
      (json_int_t)s->heads_each, "least_heads", (json_int_t)s->least,
      "mean_heads", s->mean > 0 ? json_real(s->mean) : json_null(),
      "parameters", counts_json(s), "windows", windows_json(model));
}
