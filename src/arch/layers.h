/*
 * The blocks of a model, "model.layers.0" and on, which architectures compose:
 * declared one behind the other, found in model->layout.
 */
#ifndef MOH_ARCH_LAYERS_H
#define MOH_ARCH_LAYERS_H

#include "arch/block.h"

/* Embeddings, config.n_layers blocks, and what is behind them. */
moh_status moh__layers_declare(moh__model *model, moh_error *err);

static inline const moh__block_params *moh__layer(const moh__model *model,
                                                  int64_t i) {
  return (const moh__block_params *)model->layout + i;
}

/* A block of a pass as a segment of the tape: its layer's parameters, keys and
 * values in a state slot. The pass must live as long as the step. */
moh__tensor *moh__layer_run(const moh__pass *p, int64_t layer, int32_t slot,
                            moh__tensor *x);

/* moh__arch.attention, .route and .feed_forward. */
const moh__feed_forward *moh__layer_feed_forward(const moh__model *model,
                                                 int64_t layer);
moh__tensor *moh__layer_attention(const moh__model *model, moh__tape *tape,
                                  const moh__batch *batch, int64_t layer,
                                  moh__tensor *x);
moh__tensor *moh__layer_route(const moh__model *model, moh__tape *tape,
                              const moh__batch *batch, int64_t layer,
                              moh__tensor *x);

#endif
