/*
 * Which tensors training leaves alone: chosen by their names, or by words
 * for kinds of them.
 */
#ifndef MOH_TRAIN_FREEZE_H
#define MOH_TRAIN_FREEZE_H

#include "model/model.h"

/*
 * Flags the model's parameters FROZEN that one of the items matches, and no
 * others. items (NULL: none) has commas between them; each is one of the
 * words embeddings, output, router, attention, feed-forward, norms, or a
 * shell pattern for whole names, such as model.layers.0.*.
 * MOH_ERR_ARGUMENT, when an item matches nothing or nothing is left to
 * train; no flag is set then.
 */
moh_status moh__freeze(moh__model *model, const char *items,
                       moh_error *err);

#endif
