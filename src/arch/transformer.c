/* The decoder-only transformer: blocks one behind the other. */
#include "arch/transformer.h"

#include "arch/ends.h"
#include "arch/layers.h"

static moh__tensor *run_layers(const moh__pass *p) {
  size_t mark = moh__tape_mark(p->tape);
  moh__tensor *x = moh__pass_embed(p);
  for (int64_t layer = 0; layer < p->model->config.n_layers; layer++) {
    x = moh__layer_run(p, layer, (int32_t)layer, x);
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

const moh__arch moh__transformer = {.name = "transformer",
                                    .declare = moh__layers_declare,
                                    .init = moh__init_params,
                                    .forward = transformer_forward,
                                    .attention = moh__layer_attention,
                                    .route = moh__layer_route,
                                    .feed_forward = moh__layer_feed_forward};
