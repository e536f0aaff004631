/* A loaded model with another choice of heads, for measuring what a choice
 * costs: the same tensors, where the choice needs no other ones. */
#ifndef MOH_STORE_REHEADING_H
#define MOH_STORE_REHEADING_H

#include "model/model.h"

/* Replaces *model, which is not packed, by one whose heads are `heads` (as of
 * moh__config_set_heads). Tensors that are not needed stay unused; one that is
 * missing is MOH_ERR_ARGUMENT with its name, as another number of shared heads
 * than the routers' is, and nothing has changed. */
moh_status moh__model_set_heads(moh__model **model, const char *heads,
                                moh_error *err);

#endif
