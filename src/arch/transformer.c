/* The decoder-only transformer: blocks one behind the other. */
#include "arch/transformer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arch/ends.h"

/* ---- declaring ---- */

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
  }
  model->layout = layers;
  return MOH_OK;
}

static moh_status transformer_declare(moh__model *model, moh_error *err) {
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

static const moh__block_params *layer_of(const moh__model *model, int64_t i) {
  return (const moh__block_params *)model->layout + i;
}

/* ---- forward ---- */

/* A layer of a pass, as a segment of the tape. */
typedef struct layer_segment {
  const moh__pass *pass;
  int64_t layer;
} layer_segment;

static moh__tensor *segment(moh__tape *tape, void *context, moh__tensor *x) {
  (void)tape; /* the pass's */
  const layer_segment *s = context;
  return moh__block_run(s->pass, layer_of(s->pass->model, s->layer),
                        (int32_t)s->layer, x);
}

static moh__tensor *run_layers(const moh__pass *p) {
  size_t mark = moh__tape_mark(p->tape);
  moh__tensor *x = moh__pass_embed(p);
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
  /* Backward needs it, too. */
  moh__pass *p = moh__tape_alloc_meta(tape, sizeof(*p));
  moh__pass_begin(p, model, tape, batch);
  return moh__pass_output(p, run_layers(p));
}

/* ---- parts of a layer ---- */

static moh__tensor *transformer_attention(const moh__model *model,
                                          moh__tape *tape,
                                          const moh__batch *batch,
                                          int64_t layer, moh__tensor *x) {
  moh__pass p;
  moh__pass_begin(&p, model, tape, batch);
  return moh__block_attention(&p, layer_of(model, layer), (int32_t)layer, x);
}

static moh__tensor *transformer_route(const moh__model *model,
                                      moh__tape *tape,
                                      const moh__batch *batch, int64_t layer,
                                      moh__tensor *x) {
  moh__pass p;
  const moh__plan *plan = NULL;
  moh__pass_begin(&p, model, tape, batch);
  return moh__block_route(&p, layer_of(model, layer), x, &plan);
}

/* ---- the table's entry ---- */

static int transformer_n_slots(const moh__config *config) {
  return (int)config->n_layers;
}

const moh__arch moh__transformer = {.name = "transformer",
                                    .declare = transformer_declare,
                                    .init = moh__init_params,
                                    .forward = transformer_forward,
                                    .attention = transformer_attention,
                                    .route = transformer_route,
                                    .n_slots = transformer_n_slots};
