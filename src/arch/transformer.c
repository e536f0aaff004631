/*
 * The decoder-only transformer, in LLaMA's tensor names:
 *   pre-norm   x += attn(norm(x));  x += ffn(norm(x));  final norm
 *   post-norm  x = norm(x + attn(x));  x = norm(x + ffn(x))
 * with heads chosen by a plan. All choices are the configuration's; a dense
 * model, MoH and static pruning run the same lines.
 */
#include "arch/transformer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

typedef struct layer_params {
  moh__param *norm1, *norm1_bias;
  moh__param *q, *k, *v, *o;
  moh__param *cope;
  moh__param *router_shared, *router_routed, *router_mix;
  moh__param *norm2, *norm2_bias;
  moh__param *gate, *up, *down;
} layer_params;

/* ---- declaring ---- */

/* Declares "model.layers.<layer>.<name>", or plain <name> for layer < 0. */
typedef struct declaration {
  moh__model *model;
  int64_t layer;
  moh_error *err;
} declaration;

static moh_status declare(const declaration *d, const char *name,
                          int n_dims, const int64_t *shape, unsigned flags,
                          moh__grouping grouping, int64_t n_groups) {
  char full[MOH__NAME_MAX];
  if (d->layer < 0)
    snprintf(full, sizeof(full), "%s", name);
  else
    snprintf(full, sizeof(full), "model.layers.%" PRId64 ".%s", d->layer,
             name);
  return moh__model_declare(d->model, full, n_dims, shape, flags, grouping,
                            n_groups, d->err);
}

static moh_status matrix(const declaration *d, const char *name, int64_t out,
                         int64_t in, moh__grouping grouping,
                         int64_t n_groups) {
  int64_t shape[2] = {out, in};
  return declare(d, name, 2, shape, MOH__PARAM_DECAY, grouping, n_groups);
}

static moh_status router_matrix(const declaration *d, const char *name,
                                int64_t out) {
  int64_t shape[2] = {out, d->model->config.d_model};
  return declare(d, name, 2, shape, MOH__PARAM_DECAY | MOH__PARAM_ROUTER,
                 MOH__PACK_OUTPUTS, 1);
}

static moh_status norm(const declaration *d, const char *name) {
  char full[MOH__NAME_MAX];
  snprintf(full, sizeof(full), "%s.weight", name);
  int64_t shape[1] = {d->model->config.d_model};
  MOH_TRY(declare(d, full, 1, shape, 0, MOH__PACK_NONE, 1));
  if (d->model->config.norm != MOH__NORM_LAYER) return MOH_OK;
  snprintf(full, sizeof(full), "%s.bias", name);
  return declare(d, full, 1, shape, 0, MOH__PACK_NONE, 1);
}

static moh_status declare_router(const declaration *d) {
  const moh__config *c = &d->model->config;
  if (c->heads != MOH__HEADS_MOH) return MOH_OK;
  moh__router_shape shape = moh__config_router_shape(c);
  if (moh__router_has_routed(&shape))
    MOH_TRY(router_matrix(d, "self_attn.wg.weight", shape.n_routed));
  if (moh__router_has_shared(&shape))
    MOH_TRY(router_matrix(d, "self_attn.wg_1.weight", shape.n_shared));
  if (moh__router_has_mix(&shape))
    MOH_TRY(router_matrix(d, "self_attn.wg_0.weight", 2));
  return MOH_OK;
}

static moh_status declare_attention(const declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t q = c->n_heads * c->d_head;
  int64_t kv = c->n_kv_heads * c->d_head;
  MOH_TRY(matrix(d, "self_attn.q_proj.weight", q, c->d_model,
                 MOH__PACK_OUTPUTS, c->n_heads));
  MOH_TRY(matrix(d, "self_attn.k_proj.weight", kv, c->d_model,
                 MOH__PACK_OUTPUTS, 1));
  MOH_TRY(matrix(d, "self_attn.v_proj.weight", kv, c->d_model,
                 MOH__PACK_OUTPUTS, 1));
  if (c->output_projection)
    MOH_TRY(matrix(d, "self_attn.o_proj.weight", c->d_model, q,
                   MOH__PACK_INPUTS, c->n_heads));
  if (c->position == MOH__POSITION_COPE) {
    int64_t shape[3] = {c->n_heads, c->cope_positions, c->d_head};
    MOH_TRY(declare(d, "self_attn.cope.weight", 3, shape, 0,
                    MOH__PACK_NONE, 1));
  }
  return declare_router(d);
}

static moh_status declare_feed_forward(const declaration *d) {
  const moh__config *c = &d->model->config;
  if (c->ffn == MOH__FFN_SWIGLU)
    MOH_TRY(matrix(d, "mlp.gate_proj.weight", c->d_ff, c->d_model,
                   MOH__PACK_OUTPUTS, 1));
  MOH_TRY(matrix(d, "mlp.up_proj.weight", c->d_ff, c->d_model,
                 MOH__PACK_OUTPUTS, 1));
  return matrix(d, "mlp.down_proj.weight", c->d_model, c->d_ff,
                MOH__PACK_OUTPUTS, 1);
}

static moh_status declare_layer(const declaration *d) {
  MOH_TRY(norm(d, "input_layernorm"));
  MOH_TRY(declare_attention(d));
  MOH_TRY(norm(d, "post_attention_layernorm"));
  return declare_feed_forward(d);
}

static moh_status declare_embeddings(const declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t shape[2] = {c->vocab_size, c->d_model};
  unsigned flags = MOH__PARAM_DECAY | MOH__PARAM_EMBEDDING;
  MOH_TRY(declare(d, "model.embed_tokens.weight", 2, shape,
                  flags | (c->tied ? MOH__PARAM_OUTPUT : 0),
                  c->tied ? MOH__PACK_OUTPUTS : MOH__PACK_NONE, 1));
  if (c->position != MOH__POSITION_LEARNED) return MOH_OK;
  shape[0] = c->max_seq_len;
  return declare(d, "model.embed_positions.weight", 2, shape, flags,
                 MOH__PACK_NONE, 1);
}

static layer_params find_layer(const moh__model *model, int64_t layer) {
  layer_params p;
#define FIND(field, name) \
  p.field = moh__model_layer_param(model, layer, name)
  FIND(norm1, "input_layernorm.weight");
  FIND(norm1_bias, "input_layernorm.bias");
  FIND(q, "self_attn.q_proj.weight");
  FIND(k, "self_attn.k_proj.weight");
  FIND(v, "self_attn.v_proj.weight");
  FIND(o, "self_attn.o_proj.weight");
  FIND(cope, "self_attn.cope.weight");
  FIND(router_shared, "self_attn.wg_1.weight");
  FIND(router_routed, "self_attn.wg.weight");
  FIND(router_mix, "self_attn.wg_0.weight");
  FIND(norm2, "post_attention_layernorm.weight");
  FIND(norm2_bias, "post_attention_layernorm.bias");
  FIND(gate, "mlp.gate_proj.weight");
  FIND(up, "mlp.up_proj.weight");
  FIND(down, "mlp.down_proj.weight");
#undef FIND
  return p;
}

static moh_status find_layers(moh__model *model, moh_error *err) {
  int64_t n = model->config.n_layers;
  layer_params *layers = calloc((size_t)n, sizeof(*layers));
  if (layers == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %" PRId64
                     " layers", n);
  for (int64_t i = 0; i < n; i++) layers[i] = find_layer(model, i);
  model->layout = layers;
  return MOH_OK;
}

static moh_status transformer_declare(moh__model *model, moh_error *err) {
  const moh__config *c = &model->config;
  declaration d = {model, -1, err};
  MOH_TRY(declare_embeddings(&d));
  for (d.layer = 0; d.layer < c->n_layers; d.layer++)
    MOH_TRY(declare_layer(&d));
  d.layer = -1;
  if (c->final_norm) MOH_TRY(norm(&d, "model.norm"));
  if (!c->tied) {
    int64_t shape[2] = {c->vocab_size, c->d_model};
    MOH_TRY(declare(&d, "lm_head.weight", 2, shape,
                    MOH__PARAM_DECAY | MOH__PARAM_OUTPUT, MOH__PACK_OUTPUTS,
                    1));
  }
  return find_layers(model, err);
}

/* ---- starting values ---- */

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name);
  size_t m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* Standard deviation of a parameter's normal distribution; matrices that
 * write into the residual stream start smaller, as 2 n_layers of them add up
 * (Radford et al. 2019, section 2.3). CoPE's table starts at 0, as released. */
static double init_std_of(const moh__config *c, const moh__param *w) {
  if ((w->flags & MOH__PARAM_ROUTER) != 0) return c->router_init_std;
  if (ends_with(w->name, "cope.weight")) return 0;
  if (ends_with(w->name, "o_proj.weight") ||
      ends_with(w->name, "down_proj.weight"))
    return c->init_std / sqrt(2.0 * (double)c->n_layers);
  return c->init_std;
}

static void init_param(const moh__config *c, moh__param *w, int index,
                       uint64_t seed) {
  if (w->n_dims == 1) {
    real value = ends_with(w->name, ".bias") ? 0 : 1;
    for (int64_t i = 0; i < w->n; i++) w->data[i] = value;
    return;
  }
  moh__rng rng =
      moh__rng_make(seed, MOH__STREAM_INIT + ((uint64_t)index << 8));
  double std = init_std_of(c, w);
  for (int64_t i = 0; i < w->n; i++)
    w->data[i] = (real)(std * moh__rng_normal(&rng));
}

static void transformer_init(moh__model *model, uint64_t seed) {
  for (int i = 0; i < model->n_params; i++)
    init_param(&model->config, &model->params[i], i, seed);
}

/* ---- forward ---- */

/* What all layers of a pass share. */
typedef struct pass {
  const moh__model *model;
  moh__tape *tape;
  const moh__batch *batch;
  const moh__plan *fixed_plan; /* all heads or static; NULL with a router */
  const int32_t *fixed_rows;   /* rows of its entries, for rope */
} pass;

static moh__tensor *normed(const pass *p, moh__tensor *x, moh__param *gain,
                           moh__param *bias) {
  const moh__config *c = &p->model->config;
  return moh__op_norm(p->tape, x, c->norm, (real)c->norm_eps, gain, bias);
}

static void make_fixed_plan(pass *p) {
  const moh__config *c = &p->model->config;
  if (c->heads == MOH__HEADS_MOH) return;
  moh__plan *plan = moh__tape_alloc_meta(p->tape, sizeof(*plan));
  int64_t used = moh__config_active_heads(c);
  moh__plan_first(plan, p->tape->arena, p->batch->n, (int32_t)c->n_heads,
                  (int32_t)used);
  p->fixed_plan = plan;
  if (c->position == MOH__POSITION_ROPE)
    p->fixed_rows = moh__plan_entry_rows(p->tape, plan);
}

/* The layer's plan, and its gates (NULL: all 1). */
static moh__tensor *route(const pass *p, const layer_params *w,
                          moh__tensor *x, const moh__plan **plan) {
  const moh__config *c = &p->model->config;
  *plan = p->fixed_plan;
  if (p->fixed_plan != NULL) return NULL;
  moh__router_args args = {
      .shape = moh__config_router_shape(c),
      .heads_each = (int32_t)moh__config_heads_each(c),
      .w_shared = w->router_shared,
      .w_routed = w->router_routed,
      .w_mix = w->router_mix,
      .balance_weight = (real)(c->balance_weight / (double)c->n_layers),
      .z_weight = (real)(c->z_weight / (double)c->n_layers)};
  return moh__op_head_router(p->tape, x, &args, plan);
}

static void rotate(const pass *p, moh__tensor *q, moh__tensor *k,
                   const moh__plan *plan) {
  const moh__config *c = &p->model->config;
  const real *angles = p->model->rope_angles;
  const int32_t *rows = p->fixed_rows;
  if (plan != p->fixed_plan) rows = moh__plan_entry_rows(p->tape, plan);
  moh__op_rope(p->tape, q, c->d_head, angles, p->batch->positions, rows);
  moh__op_rope(p->tape, k, c->d_head, angles, p->batch->positions, NULL);
}

static moh__tensor *attend(const pass *p, const layer_params *w,
                           int64_t layer, moh__tensor *q, moh__tensor *k,
                           moh__tensor *v, const moh__plan *plan) {
  const moh__config *c = &p->model->config;
  moh__attention_args args = {.plan = plan,
                              .batch = p->batch,
                              .slot = (int32_t)layer,
                              .n_heads = (int32_t)c->n_heads,
                              .n_kv_heads = (int32_t)c->n_kv_heads,
                              .d_head = c->d_head};
  if (c->position == MOH__POSITION_COPE)
    return moh__op_attention_cope(p->tape, q, k, v, w->cope, &args);
  return moh__op_attention(p->tape, q, k, v, &args);
}

static moh__tensor *attention(const pass *p, const layer_params *w,
                              int64_t layer, moh__tensor *x) {
  const moh__plan *plan = NULL;
  moh__tensor *gates = route(p, w, x, &plan);
  moh__tensor *q = moh__op_gathered_linear(p->tape, x, w->q, plan);
  moh__tensor *k = moh__op_linear(p->tape, x, w->k);
  moh__tensor *v = moh__op_linear(p->tape, x, w->v);
  if (p->model->config.position == MOH__POSITION_ROPE)
    rotate(p, q, k, plan);
  moh__tensor *o = attend(p, w, layer, q, k, v, plan);
  if (gates != NULL) o = moh__op_gate(p->tape, o, gates);
  if (w->o == NULL) return moh__op_scatter_heads(p->tape, o, plan);
  return moh__op_scattered_linear(p->tape, o, w->o, plan);
}

static moh__tensor *feed_forward(const pass *p, const layer_params *w,
                                 moh__tensor *x) {
  moh__tensor *up = moh__op_linear(p->tape, x, w->up);
  moh__tensor *h = NULL;
  if (w->gate == NULL)
    h = moh__op_relu(p->tape, up);
  else
    h = moh__op_swiglu(p->tape, moh__op_linear(p->tape, x, w->gate), up);
  return moh__op_linear(p->tape, h, w->down);
}

static const layer_params *layer_of(const moh__model *model, int64_t i) {
  return (const layer_params *)model->layout + i;
}

static moh__tensor *run_layer(const pass *p, int64_t layer, moh__tensor *x) {
  const layer_params *w = layer_of(p->model, layer);
  bool pre = p->model->config.pre_norm;
  moh__tensor *h = pre ? normed(p, x, w->norm1, w->norm1_bias) : x;
  x = moh__op_add(p->tape, x, attention(p, w, layer, h));
  if (!pre) x = normed(p, x, w->norm1, w->norm1_bias);
  h = pre ? normed(p, x, w->norm2, w->norm2_bias) : x;
  x = moh__op_add(p->tape, x, feed_forward(p, w, h));
  return pre ? x : normed(p, x, w->norm2, w->norm2_bias);
}

static moh__tensor *embed(const pass *p) {
  const moh__batch *batch = p->batch;
  moh__param *table =
      moh__model_param(p->model, "model.embed_tokens.weight");
  moh__tensor *x = moh__op_embed(p->tape, table, batch->tokens, batch->n);
  if (p->model->config.position != MOH__POSITION_LEARNED) return x;
  table = moh__model_param(p->model, "model.embed_positions.weight");
  return moh__op_add(
      p->tape, x,
      moh__op_embed(p->tape, table, batch->positions, batch->n));
}

/* A layer of a pass, as a segment of the tape. */
typedef struct layer_segment {
  const pass *pass;
  int64_t layer;
} layer_segment;

static moh__tensor *segment(moh__tape *tape, void *context, moh__tensor *x) {
  (void)tape; /* the pass's */
  const layer_segment *s = context;
  return run_layer(s->pass, s->layer, x);
}

static moh__tensor *run_layers(const pass *p) {
  size_t mark = moh__tape_mark(p->tape);
  moh__tensor *x = embed(p);
  for (int64_t layer = 0; layer < p->model->config.n_layers; layer++) {
    layer_segment *s = moh__tape_alloc_meta(p->tape, sizeof(*s));
    *s = (layer_segment){p, layer};
    x = moh__tape_segment(p->tape, segment, s, x);
    moh__tape_release(p->tape, mark, x);
  }
  return x;
}

static moh__tensor *transformer_forward(const moh__model *model,
                                        moh__tape *tape,
                                        const moh__batch *batch) {
  pass *p = moh__tape_alloc_meta(tape, sizeof(*p)); /* for backward, too */
  *p = (pass){.model = model, .tape = tape, .batch = batch};
  make_fixed_plan(p);
  moh__tensor *x = run_layers(p);
  x = moh__op_select_rows(tape, x, batch->out_rows, batch->n_out);
  if (!model->config.final_norm) return x;
  return normed(p, x, moh__model_param(model, "model.norm.weight"),
                moh__model_param(model, "model.norm.bias"));
}

/* ---- parts of a layer ---- */

static moh__tensor *transformer_attention(const moh__model *model,
                                          moh__tape *tape,
                                          const moh__batch *batch,
                                          int64_t layer, moh__tensor *x) {
  pass p = {.model = model, .tape = tape, .batch = batch};
  make_fixed_plan(&p);
  return attention(&p, layer_of(model, layer), layer, x);
}

static moh__tensor *transformer_route(const moh__model *model,
                                      moh__tape *tape,
                                      const moh__batch *batch,
                                      int64_t layer, moh__tensor *x) {
  pass p = {.model = model, .tape = tape, .batch = batch};
  const moh__plan *plan = NULL;
  make_fixed_plan(&p);
  return route(&p, layer_of(model, layer), x, &plan);
}

/* ---- the table's entry ---- */

static int transformer_n_slots(const moh__config *config) {
  return (int)config->n_layers;
}

const moh__arch moh__transformer = {.name = "transformer",
                                    .declare = transformer_declare,
                                    .init = transformer_init,
                                    .forward = transformer_forward,
                                    .attention = transformer_attention,
                                    .route = transformer_route,
                                    .n_slots = transformer_n_slots};
