/*
 * The transformer block: attention over a plan of heads, then the
 * feed-forward, in LLaMA's tensor names:
 *   pre-norm   x += attn(norm(x));  x += ffn(norm(x))
 *   post-norm  x = norm(x + attn(x));  x = norm(x + ffn(x))
 * A dense model, MoH and static pruning run the same lines.
 */
#include "arch/block.h"

/* ---- declaring ---- */

/* Biases and norms of what the matrices give. */
static moh_status declare_vectors(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t kv = c->n_kv_heads * c->d_head;
  if (c->qkv_bias) {
    MOH_TRY(moh__declare_vector(d, "self_attn.q_proj.bias",
                                c->n_heads * c->d_head));
    MOH_TRY(moh__declare_vector(d, "self_attn.k_proj.bias", kv));
    MOH_TRY(moh__declare_vector(d, "self_attn.v_proj.bias", kv));
  }
  if (c->output_bias)
    MOH_TRY(moh__declare_vector(d, "self_attn.o_proj.bias", c->d_model));
  if (!c->qk_norm) return MOH_OK;
  MOH_TRY(moh__declare_vector(d, "self_attn.q_norm.weight", c->d_head));
  return moh__declare_vector(d, "self_attn.k_norm.weight", c->d_head);
}

static moh_status declare_attention(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t q = c->n_heads * c->d_head;
  int64_t kv = c->n_kv_heads * c->d_head;
  MOH_TRY(moh__declare_matrix(d, "self_attn.q_proj.weight", q, c->d_model,
                              MOH__PACK_OUTPUTS, c->n_heads));
  MOH_TRY(moh__declare_matrix(d, "self_attn.k_proj.weight", kv, c->d_model,
                              MOH__PACK_OUTPUTS, 1));
  MOH_TRY(moh__declare_matrix(d, "self_attn.v_proj.weight", kv, c->d_model,
                              MOH__PACK_OUTPUTS, 1));
  if (c->output_projection)
    MOH_TRY(moh__declare_matrix(d, "self_attn.o_proj.weight", c->d_model, q,
                                MOH__PACK_INPUTS, c->n_heads));
  MOH_TRY(declare_vectors(d));
  if (c->position == MOH__POSITION_COPE) {
    int64_t shape[3] = {c->n_heads, c->cope_positions, c->d_head};
    MOH_TRY(moh__declare(d, "self_attn.cope.weight", 3, shape, MOH__PARAM_F32,
                         MOH__PACK_OUTPUTS, c->n_heads));
  }
  if (moh__window_adapts(&c->window)) {
    int64_t shape[1] = {1};
    MOH_TRY(moh__declare(d, "self_attn.window_share", 1, shape,
                         MOH__PARAM_BUFFER, MOH__PACK_NONE, 1));
  }
  if (!moh__config_has_router(c)) return MOH_OK;
  moh__router_shape router = moh__config_router_shape(c);
  MOH_TRY(moh__declare_router(d, "self_attn", &router));
  return moh__declare_router_bias(d, "self_attn", &router, c->bias_balance);
}

moh_status moh__block_declare(const moh__declaration *d) {
  MOH_TRY(moh__declare_norm(d, "input_layernorm"));
  MOH_TRY(declare_attention(d));
  MOH_TRY(moh__declare_norm(d, "post_attention_layernorm"));
  return moh__feed_forward_declare(d);
}

moh__block_params moh__block_find(const moh__model *model,
                                  const char *prefix) {
  moh__block_params p = {.layer = 0};
#define FIND(field, name) p.field = moh__find_param(model, prefix, name)
  p.norm1 = moh__find_norm(model, prefix, "input_layernorm");
  p.norm2 = moh__find_norm(model, prefix, "post_attention_layernorm");
  FIND(q, "self_attn.q_proj.weight");
  FIND(k, "self_attn.k_proj.weight");
  FIND(v, "self_attn.v_proj.weight");
  FIND(o, "self_attn.o_proj.weight");
  FIND(q_bias, "self_attn.q_proj.bias");
  FIND(k_bias, "self_attn.k_proj.bias");
  FIND(v_bias, "self_attn.v_proj.bias");
  FIND(o_bias, "self_attn.o_proj.bias");
  FIND(q_norm, "self_attn.q_norm.weight");
  FIND(k_norm, "self_attn.k_norm.weight");
  FIND(cope, "self_attn.cope.weight");
  FIND(window_share, "self_attn.window_share");
  FIND(router_shared, "self_attn.wg_1.weight");
  FIND(router_routed, "self_attn.wg.weight");
  FIND(router_mix, "self_attn.wg_0.weight");
  FIND(router_bias, "self_attn.wg.bias");
  FIND(head_mass, "self_attn.head_mass");
#undef FIND
  p.ffn = moh__feed_forward_find(model, prefix);
  return p;
}

/* ---- forward ---- */

moh__tensor *moh__pass_norm(const moh__pass *p, moh__tensor *x,
                            const moh__norm_params *norm) {
  const moh__config *c = &p->model->config;
  if (c->norm == MOH__NORM_DYT)
    return moh__op_dynamic_tanh(p->tape, x, norm->alpha, norm->gain,
                                norm->bias);
  return moh__op_norm(p->tape, x, c->norm, (real)c->norm_eps, norm->gain,
                      norm->bias);
}

static void make_fixed_plan(moh__pass *p) {
  const moh__config *c = &p->model->config;
  bool by_query = c->heads == MOH__HEADS_NORM;
  if (moh__config_routes(c) && !by_query) return;
  moh__plan *plan = moh__tape_alloc_meta(p->tape, sizeof(*plan));
  int64_t used = by_query ? c->n_heads : moh__config_active_heads(c);
  moh__plan_first(plan, p->tape->arena, p->batch->n, (int32_t)c->n_heads,
                  (int32_t)used);
  if (by_query) {
    p->every_head = plan;
    return;
  }
  p->fixed_plan = plan;
  if (c->position == MOH__POSITION_ROPE)
    p->fixed_rows = moh__plan_entry_rows(p->tape, plan);
}

void moh__pass_begin(moh__pass *p, const moh__model *model, moh__tape *tape,
                     const moh__batch *batch) {
  *p = (moh__pass){.model = model, .tape = tape, .batch = batch};
  make_fixed_plan(p);
}

/* Bias and norm, where there are; plan: of entries, NULL for rows. */
static moh__tensor *finish(const moh__pass *p, moh__tensor *x,
                           moh__param *bias, moh__param *norm,
                           const moh__plan *plan) {
  if (bias != NULL) x = moh__op_bias(p->tape, x, bias, plan);
  if (norm == NULL) return x;
  return moh__op_norm(p->tape, x, MOH__NORM_RMS,
                      (real)p->model->config.norm_eps, norm, NULL);
}

/* Queries of a plan's entries, without a norm of their own. */
static moh__tensor *queries(const moh__pass *p, const moh__block_params *w,
                            moh__tensor *x, const moh__plan *plan) {
  moh__tensor *q = moh__op_gathered_linear(p->tape, x, w->q, plan);
  return finish(p, q, w->q_bias, NULL, plan);
}

static moh__router_args router_args(const moh__config *c,
                                    const moh__block_params *w) {
  double n_passes = (double)moh__config_trained_passes(c);
  return (moh__router_args){
      .shape = moh__config_router_shape(c),
      .heads_each = (int32_t)moh__config_heads_each(c),
      .w_shared = w->router_shared,
      .w_routed = w->router_routed,
      .w_mix = w->router_mix,
      .bias = w->router_bias,
      .balance_weight = (real)(c->balance_weight / n_passes),
      .z_weight = (real)(c->z_weight / n_passes),
      .sparsity_weight = (real)(moh__config_sparsity(c) / n_passes),
      .layer = (int32_t)w->layer};
}

moh__routed moh__block_route(const moh__pass *p, const moh__block_params *w,
                             int32_t slot, moh__tensor *x) {
  const moh__config *c = &p->model->config;
  moh__routed r = {.plan = p->fixed_plan};
  if (p->fixed_plan != NULL) return r;
  moh__random_heads draw = {.seed = (uint64_t)c->route_seed,
                            .pass = slot,
                            .positions = p->batch->positions,
                            .tokens = p->batch->tokens};
  moh__router_args args = router_args(c, w);
  if (c->heads == MOH__HEADS_RANDOM) args.draw = &draw;
  if (p->every_head != NULL) r.queries = queries(p, w, x, p->every_head);
  args.queries = r.queries;
  if (w->head_mass != NULL && !moh__tape_counting(p->tape))
    args.shape.mass = w->head_mass->data[MOH__MASS_LIMIT];
  if (p->tape->every_head) {
    args.shape.k = args.shape.n_routed;
    args.shape.n_optional = 0;
  }
  r.gates = moh__op_head_router(p->tape, x, &args, &r.plan);
  return r;
}

static void rotate(const moh__pass *p, moh__tensor *q, moh__tensor *k,
                   const moh__plan *plan) {
  const moh__config *c = &p->model->config;
  const real *angles = p->model->rope_angles;
  const int32_t *rows = p->fixed_rows;
  if (plan != p->fixed_plan) rows = moh__plan_entry_rows(p->tape, plan);
  moh__op_rope(p->tape, q, c->d_head, angles, p->batch->positions, rows);
  moh__op_rope(p->tape, k, c->d_head, angles, p->batch->positions, NULL);
}

static moh__tensor *attend(const moh__pass *p, const moh__block_params *w,
                           int32_t slot, moh__tensor *q, moh__tensor *k,
                           moh__tensor *v, const moh__plan *plan) {
  const moh__config *c = &p->model->config;
  moh__attention_args args = {
      .plan = plan,
      .batch = p->batch,
      .slot = slot,
      .n_heads = (int32_t)c->n_heads,
      .n_kv_heads = (int32_t)c->n_kv_heads,
      .d_head = c->d_head,
      .window = moh__layer_window(c, w->window_share)};
  if (p->tape->evenness != NULL)
    args.evenness = p->tape->evenness + w->layer * c->n_heads;
  if (c->position == MOH__POSITION_COPE)
    return moh__op_attention_cope(p->tape, q, k, v, w->cope, &args);
  return moh__op_attention(p->tape, q, k, v, &args);
}

moh__tensor *moh__block_attention(const moh__pass *p,
                                  const moh__block_params *w, int32_t slot,
                                  moh__tensor *x) {
  moh__routed r = moh__block_route(p, w, slot, x);
  const moh__plan *plan = r.plan;
  moh__tensor *q = r.queries == NULL
                       ? queries(p, w, x, plan)
                       : moh__op_gather_heads(p->tape, r.queries, plan);
  moh__tensor *k = moh__op_linear(p->tape, x, w->k);
  moh__tensor *v = moh__op_linear(p->tape, x, w->v);
  q = finish(p, q, NULL, w->q_norm, plan);
  k = finish(p, k, w->k_bias, w->k_norm, NULL);
  v = finish(p, v, w->v_bias, NULL, NULL);
  if (p->model->config.position == MOH__POSITION_ROPE) rotate(p, q, k, plan);
  moh__tensor *o = attend(p, w, slot, q, k, v, plan);
  if (r.gates != NULL) o = moh__op_gate(p->tape, o, r.gates);
  o = moh__op_head_probe(p->tape, o, plan, w->layer);
  if (w->o == NULL) return moh__op_scatter_heads(p->tape, o, plan);
  o = moh__op_scattered_linear(p->tape, o, w->o, plan);
  return finish(p, o, w->o_bias, NULL, NULL);
}

moh__tensor *moh__block_run(const moh__pass *p, const moh__block_params *w,
                            int32_t slot, moh__tensor *x) {
  bool pre = p->model->config.pre_norm;
  moh__tensor *h = pre ? moh__pass_norm(p, x, &w->norm1) : x;
  x = moh__op_add(p->tape, x, moh__block_attention(p, w, slot, h));
  if (!pre) x = moh__pass_norm(p, x, &w->norm1);
  h = pre ? moh__pass_norm(p, x, &w->norm2) : x;
  x = moh__op_add(p->tape, x,
                  moh__feed_forward_run(p->model, p->tape, &w->ffn, h));
  return pre ? x : moh__pass_norm(p, x, &w->norm2);
}
