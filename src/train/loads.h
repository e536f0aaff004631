/*
 * What routed layers did over a step: means over its micro-batches, of heads or
 * of experts.
 */
#ifndef MOH_TRAIN_LOADS_H
#define MOH_TRAIN_LOADS_H

#include "op/param.h"
#include "op/tape.h"
#include "train/trainer.h"

typedef struct moh__loads {
  int32_t n_layers;        /* 0: nothing is routed */
  moh__layer_load *layers; /* [n_layers] */
  real *values;            /* [n_layers][n_routed], those of the layers */
  double balance, z;       /* means over layers of L_b and of the z-loss, */
  double sparsity;         /* of the entropy of p, */
  double per_token;        /* and of the heads, or experts, of a token */
  moh__param **biases;     /* [n_layers] of the selection; NULL: none */
  real *sum;               /* [n_routed] of those that share a bias */
} moh__loads;

/* n_layers of the given candidates. */
moh_status moh__loads_init(moh__loads *loads, int64_t n_layers,
                           const moh__router_shape *shape, moh_error *err);
void moh__loads_free(moh__loads *loads);

/* Before a step, after each micro-batch, which is a `share` of it, and after
 * the last. */
void moh__loads_begin(moh__loads *loads);
void moh__loads_add(moh__loads *loads, const moh__head_use *use,
                    double share);
void moh__loads_end(moh__loads *loads);

/* Behind an update: moves the biases by a rate against the loads of the step
 * (route/balance.h). Passes through one layer count together; what is frozen
 * stays. */
void moh__loads_balance(moh__loads *loads, double rate);

#endif
