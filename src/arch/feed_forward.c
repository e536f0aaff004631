/* Feed-forward parts, dense and of experts: see feed_forward.h. */
#include "arch/feed_forward.h"

/* ---- declaring ---- */

static moh_status declare_dense(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  if (c->ffn == MOH__FFN_SWIGLU)
    MOH_TRY(moh__declare_matrix(d, "mlp.gate_proj.weight", c->d_ff,
                                c->d_model, MOH__PACK_OUTPUTS, 1));
  MOH_TRY(moh__declare_matrix(d, "mlp.up_proj.weight", c->d_ff, c->d_model,
                              MOH__PACK_OUTPUTS, 1));
  MOH_TRY(moh__declare_matrix(d, "mlp.down_proj.weight", c->d_model, c->d_ff,
                              MOH__PACK_OUTPUTS, 1));
  if (!c->mlp_bias) return MOH_OK;
  if (c->ffn == MOH__FFN_SWIGLU)
    MOH_TRY(moh__declare_vector(d, "mlp.gate_proj.bias", c->d_ff));
  MOH_TRY(moh__declare_vector(d, "mlp.up_proj.bias", c->d_ff));
  return moh__declare_vector(d, "mlp.down_proj.bias", c->d_model);
}

/* The matrices of all experts, one behind the other in one tensor. */
static moh_status declare_experts(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  int64_t n = c->experts.n_shared + c->experts.n_routed;
  int64_t hidden = n * c->experts.width;
  if (c->ffn == MOH__FFN_SWIGLU)
    MOH_TRY(moh__declare_matrix(d, "mlp.experts.gate_proj.weight", hidden,
                                c->d_model, MOH__PACK_OUTPUTS, n));
  MOH_TRY(moh__declare_matrix(d, "mlp.experts.up_proj.weight", hidden,
                              c->d_model, MOH__PACK_OUTPUTS, n));
  MOH_TRY(moh__declare_matrix(d, "mlp.experts.down_proj.weight", c->d_model,
                              hidden, MOH__PACK_INPUTS, n));
  moh__router_shape router = moh__config_expert_shape(c);
  MOH_TRY(moh__declare_router(d, "mlp", &router));
  return moh__declare_router_bias(d, "mlp", &router, c->experts.bias_balance);
}

moh_status moh__feed_forward_declare(const moh__declaration *d) {
  if (d->model->config.experts.n_routed > 0) return declare_experts(d);
  return declare_dense(d);
}

moh__feed_forward moh__feed_forward_find(const moh__model *model,
                                         const char *prefix) {
  moh__feed_forward f = {.router =
                             moh__find_param(model, prefix, "mlp.wg.weight")};
  bool experts = f.router != NULL;
#define FIND(field, name)    \
  f.field = moh__find_param( \
      model, prefix,         \
      experts ? "mlp.experts." name ".weight" : "mlp." name ".weight")
  FIND(gate, "gate_proj");
  FIND(up, "up_proj");
  FIND(down, "down_proj");
#undef FIND
  f.gate_bias = moh__find_param(model, prefix, "mlp.gate_proj.bias");
  f.up_bias = moh__find_param(model, prefix, "mlp.up_proj.bias");
  f.down_bias = moh__find_param(model, prefix, "mlp.down_proj.bias");
  f.router_bias = moh__find_param(model, prefix, "mlp.wg.bias");
  return f;
}

/* ---- forward ---- */

static moh__tensor *route(const moh__model *model, moh__tape *tape,
                          const moh__feed_forward *w, moh__tensor *x,
                          const moh__plan **plan) {
  const moh__config *c = &model->config;
  double n_passes = (double)moh__config_trained_passes(c);
  moh__router_args args = {
      .shape = moh__config_expert_shape(c),
      .heads_each = 1,
      .experts = true,
      .w_routed = w->router,
      .bias = w->router_bias,
      .balance_weight = (real)(c->experts.balance_weight / n_passes),
      .z_weight = (real)(c->experts.z_weight / n_passes)};
  return moh__op_head_router(tape, x, &args, plan);
}

static moh__tensor *run_experts(const moh__model *model, moh__tape *tape,
                                const moh__feed_forward *w, moh__tensor *x) {
  const moh__plan *plan = NULL;
  moh__tensor *weights = route(model, tape, w, x, &plan);
  moh__tensor *up = moh__op_gathered_linear(tape, x, w->up, plan);
  moh__tensor *h =
      w->gate == NULL
          ? moh__op_relu(tape, up)
          : moh__op_swiglu(
                tape, moh__op_gathered_linear(tape, x, w->gate, plan), up);
  h = moh__op_gate(tape, h, weights);
  return moh__op_scattered_linear(tape, h, w->down, plan);
}

/* W x, plus b where there is one. */
static moh__tensor *affine(moh__tape *tape, moh__tensor *x, moh__param *w,
                           moh__param *b) {
  moh__tensor *y = moh__op_linear(tape, x, w);
  return b == NULL ? y : moh__op_bias(tape, y, b, NULL);
}

static moh__tensor *run_dense(moh__tape *tape, const moh__feed_forward *w,
                              moh__tensor *x) {
  moh__tensor *up = affine(tape, x, w->up, w->up_bias);
  moh__tensor *h =
      w->gate == NULL
          ? moh__op_relu(tape, up)
          : moh__op_swiglu(tape, affine(tape, x, w->gate, w->gate_bias), up);
  return affine(tape, h, w->down, w->down_bias);
}

moh__tensor *moh__feed_forward_run(const moh__model *model, moh__tape *tape,
                                   const moh__feed_forward *w,
                                   moh__tensor *x) {
  if (w->router != NULL) return run_experts(model, tape, w, x);
  return run_dense(tape, w, x);
}
