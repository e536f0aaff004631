/* Whether a number format holds what a tensor has: rounding makes infinity of
 * what is too large for it, and no model can run on that. */
#ifndef MOH_STORE_FIT_H
#define MOH_STORE_FIT_H

#include "model/model.h"

/* MOH_ERR_FORMAT with the tensor's name and its largest weight when that would
 * become infinite in a type, or when a weight is not finite already. */
moh_status moh__check_fit(const moh__param *w, moh__block_type type,
                          moh_error *err);

#endif
