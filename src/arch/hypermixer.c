/* HyperMixer: see hypermixer.h. */
#include "arch/hypermixer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arch/block.h"
#include "arch/ends.h"

/* A hypernetwork: hidden layer, and outputs by head. */
typedef struct hyper_net {
  moh__param *hidden, *hidden_bias, *out, *out_bias;
} hyper_net;

typedef struct hyper_layer {
  moh__block_params block; /* norms, router, feed-forward */
  hyper_net write, read;   /* w1, w2 */
  moh__norm_params mix_norm;
} hyper_layer;

/* ---- declaring ---- */

static moh_status declare_bias(const moh__declaration *d, const char *name,
                               int64_t n) {
  return moh__declare(d, name, 1, &n, 0, MOH__PACK_NONE, 1);
}

static moh_status declare_net(const moh__declaration *d, const char *hidden,
                              const char *hidden_bias, const char *out,
                              const char *out_bias, int64_t n_groups) {
  const moh__config *c = &d->model->config;
  int64_t n = c->n_heads * c->hyper_mix;
  MOH_TRY(moh__declare_matrix(d, hidden, c->hyper_width, c->d_model,
                              MOH__PACK_OUTPUTS, 1));
  MOH_TRY(declare_bias(d, hidden_bias, c->hyper_width));
  MOH_TRY(moh__declare_matrix(d, out, n, c->hyper_width, MOH__PACK_OUTPUTS,
                              n_groups));
  return declare_bias(d, out_bias, n);
}

static moh_status declare_layer(const moh__declaration *d) {
  const moh__config *c = &d->model->config;
  MOH_TRY(moh__declare_norm(d, "input_layernorm"));
  MOH_TRY(declare_net(d, "mixer.write.hidden.weight",
                      "mixer.write.hidden.bias", "mixer.write.out.weight",
                      "mixer.write.out.bias", 1));
  MOH_TRY(declare_net(d, "mixer.read.hidden.weight", "mixer.read.hidden.bias",
                      "mixer.read.out.weight", "mixer.read.out.bias",
                      c->n_heads));
  MOH_TRY(moh__declare_norm(d, "mixer.norm"));
  if (moh__config_has_router(c)) {
    moh__router_shape router = moh__config_router_shape(c);
    MOH_TRY(moh__declare_router(d, "mixer", &router));
    MOH_TRY(moh__declare_router_bias(d, "mixer", &router, c->bias_balance));
  }
  MOH_TRY(moh__declare_norm(d, "post_attention_layernorm"));
  return moh__feed_forward_declare(d);
}

static hyper_layer find_layer(const moh__model *model, const char *prefix) {
  hyper_layer l = {.block = moh__block_find(model, prefix)};
#define FIND(field, name) l.field = moh__find_param(model, prefix, name)
  FIND(block.router_shared, "mixer.wg_1.weight");
  FIND(block.router_routed, "mixer.wg.weight");
  FIND(block.router_mix, "mixer.wg_0.weight");
  FIND(block.router_bias, "mixer.wg.bias");
  FIND(block.head_mass, "mixer.head_mass");
  FIND(write.hidden, "mixer.write.hidden.weight");
  FIND(write.hidden_bias, "mixer.write.hidden.bias");
  FIND(write.out, "mixer.write.out.weight");
  FIND(write.out_bias, "mixer.write.out.bias");
  FIND(read.hidden, "mixer.read.hidden.weight");
  FIND(read.hidden_bias, "mixer.read.hidden.bias");
  FIND(read.out, "mixer.read.out.weight");
  FIND(read.out_bias, "mixer.read.out.bias");
#undef FIND
  l.mix_norm = moh__find_norm(model, prefix, "mixer.norm");
  return l;
}

static moh_status hypermixer_declare(moh__model *model, moh_error *err) {
  moh__declaration d = {.model = model, .err = err};
  int64_t n = model->config.n_layers;
  hyper_layer *layers = calloc((size_t)n, sizeof(*layers));
  if (layers == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %" PRId64 " layers",
                     n);
  model->layout = layers;
  MOH_TRY(moh__declare_embeddings(&d));
  for (int64_t i = 0; i < n; i++) {
    moh__declaration_layer(&d, i);
    MOH_TRY(declare_layer(&d));
  }
  d.prefix[0] = '\0';
  MOH_TRY(moh__declare_output(&d));
  for (int64_t i = 0; i < n; i++) {
    moh__declaration_layer(&d, i);
    layers[i] = find_layer(model, d.prefix);
    layers[i].block.layer = i;
  }
  return MOH_OK;
}

static const hyper_layer *layer_of(const moh__model *model, int64_t i) {
  return (const hyper_layer *)model->layout + i;
}

/* ---- forward ---- */

static moh__tensor *hidden(const moh__pass *p, const hyper_net *net,
                           moh__tensor *h) {
  moh__tensor *y = moh__op_linear(p->tape, h, net->hidden);
  return moh__op_relu(p->tape,
                      moh__op_bias(p->tape, y, net->hidden_bias, NULL));
}

/* (n, d_model) -> (n, d_model), from normed rows. */
static moh__tensor *mix(const moh__pass *p, const hyper_layer *l,
                        int32_t slot, moh__tensor *h) {
  const moh__config *c = &p->model->config;
  moh__routed r = moh__block_route(p, &l->block, slot, h);
  const moh__plan *plan = r.plan;
  moh__tensor *w1 =
      moh__op_linear(p->tape, hidden(p, &l->write, h), l->write.out);
  moh__tensor *w2 = moh__op_gathered_linear(p->tape, hidden(p, &l->read, h),
                                            l->read.out, plan);
  moh__op_bias(p->tape, w1, l->write.out_bias, NULL);
  moh__op_bias(p->tape, w2, l->read.out_bias, plan);
  moh__mix_args args = {.plan = plan,
                        .batch = p->batch,
                        .slot = slot,
                        .n_heads = (int32_t)c->n_heads,
                        .d_head = c->d_head,
                        .width = c->hyper_mix};
  moh__tensor *y = moh__op_causal_mix(p->tape, h, w1, w2, &args);
  if (r.gates != NULL) y = moh__op_gate(p->tape, y, r.gates);
  y = moh__op_head_probe(p->tape, y, plan, l->block.layer);
  y = moh__op_scatter_heads(p->tape, y, plan);
  return moh__pass_norm(p, y, &l->mix_norm);
}

static moh__tensor *run_layer(const moh__pass *p, const hyper_layer *l,
                              int32_t slot, moh__tensor *x) {
  const moh__block_params *w = &l->block;
  bool pre = p->model->config.pre_norm;
  moh__tensor *h = pre ? moh__pass_norm(p, x, &w->norm1) : x;
  x = moh__op_add(p->tape, x, mix(p, l, slot, h));
  if (!pre) x = moh__pass_norm(p, x, &w->norm1);
  h = pre ? moh__pass_norm(p, x, &w->norm2) : x;
  x = moh__op_add(p->tape, x,
                  moh__feed_forward_run(p->model, p->tape, &w->ffn, h));
  return pre ? x : moh__pass_norm(p, x, &w->norm2);
}

typedef struct layer_segment {
  const moh__pass *pass;
  int64_t layer;
} layer_segment;

static moh__tensor *segment(moh__tape *tape, void *context, moh__tensor *x) {
  (void)tape; /* the pass's */
  const layer_segment *s = context;
  return run_layer(s->pass, layer_of(s->pass->model, s->layer),
                   (int32_t)s->layer, x);
}

static moh__tensor *hypermixer_forward(const moh__model *model,
                                       moh__tape *tape,
                                       const moh__batch *batch) {
  moh__pass *p = moh__tape_alloc_meta(tape, sizeof(*p));
  moh__pass_begin(p, model, tape, batch);
  size_t mark = moh__tape_mark(tape);
  moh__tensor *x = moh__pass_embed(p);
  for (int64_t i = 0; i < model->config.n_layers; i++) {
    layer_segment *s = moh__tape_alloc_meta(tape, sizeof(*s));
    *s = (layer_segment){p, i};
    x = moh__tape_segment(tape, segment, s, x);
    moh__tape_release(tape, mark, x);
  }
  return moh__pass_output(p, x);
}

/* ---- parts of a layer ---- */

static moh__tensor *hypermixer_mix(const moh__model *model, moh__tape *tape,
                                   const moh__batch *batch, int64_t layer,
                                   moh__tensor *x) {
  moh__pass p;
  moh__pass_begin(&p, model, tape, batch);
  return mix(&p, layer_of(model, layer), (int32_t)layer, x);
}

static moh__tensor *hypermixer_route(const moh__model *model, moh__tape *tape,
                                     const moh__batch *batch, int64_t layer,
                                     moh__tensor *x) {
  moh__pass p;
  moh__pass_begin(&p, model, tape, batch);
  return moh__block_route(&p, &layer_of(model, layer)->block, (int32_t)layer,
                          x)
      .gates;
}

static const moh__feed_forward *hypermixer_feed_forward(
    const moh__model *model, int64_t layer) {
  return &layer_of(model, layer)->block.ffn;
}

const moh__arch moh__hypermixer = {.name = "hypermixer",
                                   .declare = hypermixer_declare,
                                   .init = moh__init_params,
                                   .forward = hypermixer_forward,
                                   .attention = hypermixer_mix,
                                   .route = hypermixer_route,
                                   .feed_forward = hypermixer_feed_forward};
