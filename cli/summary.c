/* Reading a model's tensors: which kind each is, and what they tell. */
#include "summary.h"

#include <string.h>

#include "arch/declare.h"

static bool contains(const moh__param *w, const char *part) {
  return strstr(w->name, part) != NULL;
}

/* The first match decides. */
static const struct {
  const char *name;
  moh__part part;
} part_names[] = {
    {"embed_tokens", MOH__PART_EMBEDDING},
    {"embed_positions", MOH__PART_POSITION},
    {"cope", MOH__PART_POSITION},
    {"lm_head", MOH__PART_OUTPUT},
    {"q_proj", MOH__PART_QUERY},
    {"k_proj", MOH__PART_KEY},
    {"v_proj", MOH__PART_VALUE},
    {"o_proj", MOH__PART_PROJECTION},
    {"norm", MOH__PART_NORM},
    {"mixer.", MOH__PART_MIXING},
    {"mlp.", MOH__PART_FEED_FORWARD},
};
enum { N_PART_NAMES = sizeof part_names / sizeof part_names[0] };

static moh__part part_of(const moh__param *w) {
  if ((w->flags & MOH__PARAM_ROUTER) != 0)
    return contains(w, "mlp.") ? MOH__PART_EXPERT_ROUTER : MOH__PART_ROUTER;
  for (int i = 0; i < N_PART_NAMES; i++)
    if (contains(w, part_names[i].name)) return part_names[i].part;
  return MOH__PART_OTHER;
}

static void count_params(const moh__model *model, moh__summary *s) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    if ((w->flags & MOH__PARAM_BUFFER) != 0) continue;
    moh__part part = part_of(w);
    s->counts[part] += w->n;
    s->total += w->n;
    s->n_layers += contains(w, "q_proj.weight") ||
                   contains(w, "mixer.read.out.weight");
    if (part == MOH__PART_ROUTER && contains(w, "layers.0."))
      s->routers_per_layer += w->n;
  }
}

static int64_t rows_of(const moh__param *w) {
  return w == NULL ? 0 : w->shape[0];
}

/* Where a token's heads end. A model without data has no masses yet. */
static void read_masses(const moh__model *model, moh__summary *s) {
  s->mass[0] = s->mass[1] = model->config.mass;
  for (int64_t l = 0; l < model->config.n_layers; l++) {
    const moh__param *w = moh__head_mass(model, l);
    if (w == NULL || w->data == NULL) return;
    double mass = (double)w->data[MOH__MASS_LIMIT];
    if (l == 0 || mass < s->mass[0]) s->mass[0] = mass;
    if (l == 0 || mass > s->mass[1]) s->mass[1] = mass;
    s->mean +=
        (double)w->data[MOH__MASS_MEAN] / (double)model->config.n_layers;
  }
}

static void read_heads(const moh__model *model, moh__summary *s) {
  const moh__param *q =
      moh__model_layer_param(model, 0, "self_attn.q_proj.weight");
  const moh__param *k =
      moh__model_layer_param(model, 0, "self_attn.k_proj.weight");
  const moh__param *read =
      moh__model_layer_param(model, 0, "mixer.read.out.weight");
  const moh__param *routed = moh__model_layer_param(
      model, 0, read == NULL ? "self_attn.wg.weight" : "mixer.wg.weight");
  s->mixer = read != NULL;
  s->n_heads = read != NULL ? read->n_groups : q == NULL ? 0 : q->n_groups;
  s->d_head = q == NULL || s->n_heads == 0 ? 0 : q->shape[0] / s->n_heads;
  s->n_kv_heads = s->d_head == 0 ? 0 : rows_of(k) / s->d_head;
  if (s->n_heads > 0 && s->mixer) { /* heads are columns of the hidden states */
    s->d_head = model->config.d_model / s->n_heads;
    s->n_kv_heads = s->n_heads;
  }
  s->routed = s->counts[MOH__PART_ROUTER] > 0;
  s->drawn = model->config.heads == MOH__HEADS_RANDOM;
  s->by_query = model->config.heads == MOH__HEADS_NORM;
  bool untold = s->drawn || s->by_query;
  s->heads_each = (s->routed || untold) &&
                          model->config.route_by == MOH__ROUTE_BY_GROUP &&
                          s->n_kv_heads > 0
                      ? s->n_heads / s->n_kv_heads
                      : 1;
  int64_t candidates = s->n_heads / s->heads_each;
  s->n_routed =
      untold ? candidates - model->config.n_shared : rows_of(routed);
  s->n_shared = s->routed || untold ? candidates - s->n_routed : 0;
  s->active = moh__config_active_heads(&model->config);
  s->least = moh__config_least_heads(&model->config);
  read_masses(model, s);
}

/* d_ff is then the width of an expert. */
static void read_feed_forward(const moh__model *model, moh__summary *s) {
  const moh__param *up =
      moh__model_layer_param(model, 0, "mlp.up_proj.weight");
  s->d_ff = rows_of(up);
  s->swiglu =
      moh__model_layer_param(model, 0, "mlp.gate_proj.weight") != NULL;
  s->n_routed_experts =
      rows_of(moh__model_layer_param(model, 0, "mlp.wg.weight"));
  if (s->n_routed_experts == 0) return;
  up = moh__model_layer_param(model, 0, "mlp.experts.up_proj.weight");
  s->d_ff = up->shape[0] / up->n_groups;
  s->n_shared_experts = up->n_groups - s->n_routed_experts;
  s->swiglu = moh__model_layer_param(model, 0,
                                     "mlp.experts.gate_proj.weight") != NULL;
  s->unused = s->total - moh__model_count_active(model);
}

static void read_positions(const moh__model *model, moh__summary *s) {
  const moh__param *cope =
      moh__model_layer_param(model, 0, "self_attn.cope.weight");
  const moh__param *table =
      moh__model_param(model, "model.embed_positions.weight");
  s->rope = model->config.position == MOH__POSITION_ROPE;
  s->cope = cope != NULL;
  s->n_positions = s->cope ? cope->shape[1] : rows_of(table);
}

void moh__summary_make(const moh__model *model, moh__summary *s) {
  *s = (moh__summary){.total = 0};
  count_params(model, s);
  const moh__param *table =
      moh__model_param(model, "model.embed_tokens.weight");
  s->vocabulary = rows_of(table);
  s->d_model = table == NULL ? 0 : table->shape[1];
  s->tied = s->counts[MOH__PART_OUTPUT] == 0;
  s->projection = s->counts[MOH__PART_PROJECTION] > 0;
  s->final_norm = moh__model_param(model, "model.norm.weight") != NULL;
  s->dynamic_tanh =
      moh__model_layer_param(model, 0, "input_layernorm.alpha") != NULL;
  s->layer_norm =
      !s->dynamic_tanh &&
      moh__model_layer_param(model, 0, "input_layernorm.bias") != NULL;
  read_feed_forward(model, s);
  read_heads(model, s);
  read_positions(model, s);
}
