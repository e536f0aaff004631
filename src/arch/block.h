/*
 * The transformer block, of which architectures are made, and the pass that
 * goes through them.
 */
#ifndef MOH_ARCH_BLOCK_H
#define MOH_ARCH_BLOCK_H

#include "arch/declare.h"
#include "arch/feed_forward.h"
#include "op/op.h"

/* Parameters of a block; NULL where the configuration has none. */
typedef struct moh__block_params {
  int64_t layer; /* its number; not known to moh__block_find */
  moh__norm_params norm1, norm2;
  moh__param *q, *k, *v, *o;
  moh__param *q_bias, *k_bias, *v_bias, *o_bias;
  moh__param *q_norm, *k_norm; /* (d_head), one for all heads */
  moh__param *cope;
  moh__param *window_share; /* of a window that adapts: a buffer */
  moh__param *router_shared, *router_routed, *router_mix, *router_bias;
  moh__param *head_mass; /* of heads by mass: a buffer */
  moh__feed_forward ffn;
} moh__block_params;

/* Declares a block's parameters under d->prefix, and finds them again. */
moh_status moh__block_declare(const moh__declaration *d);
moh__block_params moh__block_find(const moh__model *model,
                                  const char *prefix);

/* What all blocks of a pass share. */
typedef struct moh__pass {
  const moh__model *model;
  moh__tape *tape;
  const moh__batch *batch;
  const moh__plan *fixed_plan; /* all heads or static; NULL when routed */
  const int32_t *fixed_rows;   /* rows of its entries, for rope */
  const moh__plan *every_head; /* where queries rank the heads; else NULL */
} moh__pass;

void moh__pass_begin(moh__pass *p, const moh__model *model, moh__tape *tape,
                     const moh__batch *batch);

/* The model's norm. */
moh__tensor *moh__pass_norm(const moh__pass *p, moh__tensor *x,
                            const moh__norm_params *norm);

/* x (n, d_model) -> (n, d_model), keys and values in the given state slot. */
moh__tensor *moh__block_run(const moh__pass *p, const moh__block_params *w,
                            int32_t slot, moh__tensor *x);

/* Its attention by itself, from normed rows. */
moh__tensor *moh__block_attention(const moh__pass *p,
                                  const moh__block_params *w, int32_t slot,
                                  moh__tensor *x);

/* The choice of heads by itself. */
typedef struct moh__routed {
  const moh__plan *plan;
  moh__tensor *gates;   /* (entries, 1); NULL: all 1 */
  moh__tensor *queries; /* of every head, where they ranked them; NULL */
} moh__routed;
moh__routed moh__block_route(const moh__pass *p, const moh__block_params *w,
                             int32_t slot, moh__tensor *x);

#endif
