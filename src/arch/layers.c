/* Blocks one behind the other. */
#include "arch/layers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arch/ends.h"

static moh_status find_layers(moh__model *model, moh_error *err) {
  int64_t n = model->config.n_layers;
  moh__block_params *layers = calloc((size_t)n, sizeof(*layers));
  if (layers == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %" PRId64 " layers",
                     n);
  moh__declaration d = {.model = model};
  for (int64_t i = 0; i < n; i++) {
    moh__declaration_layer(&d, i);
    layers[i] = moh__block_find(model, d.prefix);
    layers[i].layer = i;
  }
  model->layout = layers;
  return MOH_OK;
}

moh_status moh__layers_declare(moh__model *model, moh_error *err) {
  moh__declaration d = {.model = model, .err = err};
  MOH_TRY(moh__declare_embeddings(&d));
  for (int64_t layer = 0; layer < model->config.n_layers; layer++) {
    moh__declaration_layer(&d, layer);
    MOH_TRY(moh__block_declare(&d));
  }
  d.prefix[0] = '\0';
  MOH_TRY(moh__declare_output(&d));
  return find_layers(model, err);
}

/* ---- forward ---- */

typedef struct layer_segment {
  const moh__pass *pass;
  int64_t layer;
  int32_t slot;
} layer_segment;

static moh__tensor *segment(moh__tape *tape, void *context, moh__tensor *x) {
  (void)tape; /* the pass's */
  const layer_segment *s = context;
  return moh__block_run(s->pass, moh__layer(s->pass->model, s->layer),
                        s->slot, x);
}

moh__tensor *moh__layer_run(const moh__pass *p, int64_t layer, int32_t slot,
                            moh__tensor *x) {
  layer_segment *s = moh__tape_alloc_meta(p->tape, sizeof(*s));
  *s = (layer_segment){p, layer, slot};
  return moh__tape_segment(p->tape, segment, s, x);
}

/* ---- parts of a layer ---- */

moh__tensor *moh__layer_attention(const moh__model *model, moh__tape *tape,
                                  const moh__batch *batch, int64_t layer,
                                  moh__tensor *x) {
  moh__pass p;
  moh__pass_begin(&p, model, tape, batch);
  return moh__block_attention(&p, moh__layer(model, layer), (int32_t)layer,
                              x);
}

moh__tensor *moh__layer_route(const moh__model *model, moh__tape *tape,
                              const moh__batch *batch, int64_t layer,
                              moh__tensor *x) {
  moh__pass p;
  moh__pass_begin(&p, model, tape, batch);
  return moh__block_route(&p, moh__layer(model, layer), (int32_t)layer, x)
      .gates;
}

const moh__feed_forward *moh__layer_feed_forward(const moh__model *model,
                                                 int64_t layer) {
  return &moh__layer(model, layer)->ffn;
}
