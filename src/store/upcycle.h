/*
 * A mixture of heads out of a trained dense model (sparse upcycling): the same
 * tensors, with heads chosen by the norms of queries, or by a router that is
 * still to be filled. With all heads in use it is the dense model, to the bit.
 */
#ifndef MOH_STORE_UPCYCLE_H
#define MOH_STORE_UPCYCLE_H

#include "model/model.h"

/* heads: norm:S+K or moh:S+K (with gates of 1); route_by: what S and K count.
 * Refuses sources that are no dense transformers and what config_check refuses,
 * as MOH_ERR_ARGUMENT or MOH_ERR_CONFIG. The new model has all data of its
 * own, is not packed, and its routers are 0. */
moh_status moh__upcycle(moh__model **out, const moh__model *model,
                        const char *heads, moh__route_by route_by,
                        moh_error *err);

#endif
