/*
 * Windows that adapt (op/window.h): what moves a layer's share of the range.
 * It is a moving average, a fifth of it new at each update, of
 *   entropy     how evenly the layer attends: the entropy of a query's weights
 *               as a share of the logarithm of the keys it sees, averaged over
 *               some queries of the heads in use, in the first micro-batch;
 *   perplexity  the loss of the step as a share of ln(vocabulary), at most 1.
 * It starts at 1, the widest window: until something is known, nothing is
 * hidden. Steps that change no weight do not move it, and sessions see it
 * change when weights do.
 */
#ifndef MOH_TRAIN_WINDOWS_H
#define MOH_TRAIN_WINDOWS_H

#include "model/model.h"

typedef struct moh__windows {
  moh__model *model;
  int32_t n_layers;        /* 0: windows do not adapt */
  int64_t *sizes;          /* [n_layers] of the step in work */
  moh__evenness *evenness; /* [n_layers][n_heads]; NULL: not by entropy */
} moh__windows;

moh_status moh__windows_init(moh__windows *w, moh__model *model,
                             moh_error *err);
void moh__windows_free(moh__windows *w);

/* At the start of a step. */
void moh__windows_begin(moh__windows *w);

/* Behind an update, with the loss of its step. */
void moh__windows_update(moh__windows *w, double loss);

#endif
