/*
 * What heads do for a text: how often tokens use each, and how much the loss
 * depends on each (op/head_probe.c), both means over tokens. Measured by an
 * evaluator, whose texts and loss they belong to.
 */
#ifndef MOH_INFER_HEAD_SCORES_H
#define MOH_INFER_HEAD_SCORES_H

#include "infer/evaluate.h"

typedef struct moh__head_scores {
  int64_t n_layers, n_heads;
  moh__head_probe probe; /* sums over the tokens read, by layer and head */
  double *means; /* [n_layers][n_heads], 0 before they are asked for */
} moh__head_scores;

/* Importance needs gradients: the model gets memory for them, and its weights
 * are frozen. It must be packed afterwards. */
moh_status moh__head_scores_init(moh__head_scores *scores, moh__model *model,
                                 bool importance, moh_error *err);
void moh__head_scores_free(moh__head_scores *scores);

/* Into the means: the share of tokens that used a head, or its importance, of
 * what an evaluation with the probe has read. Passes through a layer (HRM)
 * count each. */
void moh__head_scores_usage(moh__head_scores *scores, int64_t n_tokens);
void moh__head_scores_importance(moh__head_scores *scores, int64_t n_tokens);

#endif
