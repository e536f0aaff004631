/*
 * What is done to gradients row by row, before the global norm is clipped:
 *   centralize  the mean of each row is subtracted from it (arXiv 2004.01461,
 *               equation 1), in tensors of more than one dimension;
 *   AGC         g_u *= min(1, lambda max(||w_u||, 1e-3) / ||g_u||) for each
 *               unit u (arXiv 2102.06171, equation 3): a row of a matrix,
 *               which is what one output is made with, or a row of a table;
 *               a vector is one unit. Output matrices are exempt, as the last
 *               layer is there.
 * In that order. A row is the work of one thread, so the number of threads
 * changes no bit; a row that is within its bound keeps its bits.
 */
#ifndef MOH_TRAIN_CLIPPING_H
#define MOH_TRAIN_CLIPPING_H

#include <stdbool.h>

#include "base/pool.h"
#include "model/model.h"

typedef struct moh__clipping {
  bool centralize;
  double agc; /* lambda; 0: off */
} moh__clipping;

/* Changes the gradients of all parameters that are trained. They must be
 * finite. */
void moh__clip_rows(const moh__clipping *clipping, moh__model *model,
                    moh__pool *pool);

/* What a gradient of that norm is to be multiplied with, so that its norm is
 * at most `most`; 0: no limit. */
double moh__clip_scale(double norm, double most);

#endif
