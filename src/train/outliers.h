/*
 * Steps that fall out of line: a loss or a gradient norm far above those of
 * the steps before. A freak batch then changes nothing. The rule knows
 * numbers only, no time and no chance, so runs repeat to the bit.
 *
 * A value is compared with a window of the last 128 ordinary ones. Outliers
 * do not enter the window, or they would hide the next one. After ten in a
 * row the change is taken for one that lasts: the next step is done
 * whatever it is, and the windows start anew.
 */
#ifndef MOH_TRAIN_OUTLIERS_H
#define MOH_TRAIN_OUTLIERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { MOH__OUTLIER_WINDOW = 128, MOH__OUTLIERS_IN_A_ROW = 10 };

typedef struct moh__outliers {
  double loss[MOH__OUTLIER_WINDOW]; /* the oldest first */
  double norm[MOH__OUTLIER_WINDOW];
  int32_t n;          /* values in each window */
  int32_t n_in_a_row; /* steps that were just skipped */
  int64_t n_skipped;  /* in all */
} moh__outliers;

/* True when the loss or the norm lies more than z standard deviations above
 * the mean of its window: the step is to be skipped. Until the windows are
 * full nothing is. Both numbers must be finite. */
bool moh__outliers_check(moh__outliers *outliers, double z, double loss,
                         double norm);

/* The state for a checkpoint: a new reference, NULL when memory ran out. */
json_t *moh__outliers_to_json(const moh__outliers *outliers);
/* Fills *outliers, or fails with the field's name and leaves it alone. */
moh_status moh__outliers_from_json(moh__outliers *outliers,
                                   const json_t *json, moh_error *err);

#endif
