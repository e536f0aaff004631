/*
 * How many heads tokens use where that is up to a mass (route/head_router.h):
 * what training sees of it, and the controller that holds a mean.
 *
 * A token uses one more head for each of its masses (moh__router_masses) below
 * the limit. So with q the share of optional heads that the target asks for,
 * the limit that would have given a micro-batch its target is the q-quantile of
 * all its masses. Each layer's limit moves towards the mean of its
 * micro-batches' quantiles, and only when the optimizer changes weights: all
 * of it in the first update, less and less then, a fifth from the fifth on.
 * The mean number of heads is kept in the same way. Both lie in the model
 * (arch/declare.h), so they are saved and loaded with it.
 */
#ifndef MOH_TRAIN_HEAD_CONTROL_H
#define MOH_TRAIN_HEAD_CONTROL_H

#include "model/model.h"
#include "op/tape.h"

/* Sums over the micro-batches of a step; HRM's passes count each. */
typedef struct moh__layer_control {
  int64_t n;
  double heads;    /* that a token used */
  double quantile; /* of the masses */
} moh__layer_control;

typedef struct moh__head_control {
  bool on;      /* a target is held */
  double share; /* q */
  int64_t n_layers;
  moh__layer_control *layers; /* NULL: no heads by mass */
} moh__head_control;

/* target: query heads of a token; 0: none is held. MOH_ERR_ARGUMENT when the
 * model's heads cannot have that mean. */
moh_status moh__head_control_init(moh__head_control *control,
                                  const moh__config *config, double target,
                                  moh_error *err);
void moh__head_control_free(moh__head_control *control);

/* Before a step; the use of a micro-batch, whose masses are put into another
 * order; and behind update number n_updates, from 1. */
void moh__head_control_clear(moh__head_control *control);
void moh__head_control_take(moh__head_control *control,
                            const moh__head_use *use);
void moh__head_control_update(moh__head_control *control, moh__model *model,
                              int64_t n_updates);

/* The q-quantile of n > 0 values, which are put into another order: with share
 * q of them below it, as near as there are values; 1 for all of them. */
real moh__quantile(real *values, int64_t n, double q);

#endif
