/*
 * Taking heads out of a model for good. The same number stays in every layer,
 * so that the rest is an ordinary model; with grouped queries the same number
 * for every KV head, or whole KV heads with all their query heads.
 *
 * Heads keep their order. Shared heads of a router stay, for every token uses
 * them; its rows for other heads go with these, and tokens choose among those
 * left, k of them or all. Where heads are switched off (static), those go
 * first.
 */
#ifndef MOH_STORE_PRUNE_H
#define MOH_STORE_PRUNE_H

#include "model/model.h"

typedef struct moh__pruning {
  int64_t n_layers, n_heads, n_keep; /* heads of a layer, before and after */
  bool groups;                       /* KV heads go with their query heads */
  unsigned char *kept;               /* [n_layers][n_heads] */
} moh__pruning;

/*
 * Chooses by scores, [n_layers][n_heads]: in each layer the best stay; ties go
 * to the lower head. A KV head counts the sum of its query heads. What cannot
 * be taken apart so is MOH_ERR_ARGUMENT with the reason.
 */
moh_status moh__pruning_choose(moh__pruning *pruning,
                               const moh__config *config,
                               const double *scores, int64_t n_keep,
                               bool groups, moh_error *err);
void moh__pruning_free(moh__pruning *pruning);

/* A new model, not packed, of the heads that are kept. */
moh_status moh__prune(moh__model **out, const moh__model *model,
                      const moh__pruning *pruning, moh_error *err);

#endif
