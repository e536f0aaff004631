/*
 * AdamW and its relatives over a model's parameters (kernel/kernel.h has the
 * formulas), and the global norm of the gradients. Both
 * go over fixed pieces of every tensor, so the number of threads changes no
 * bit.
 */
#ifndef MOH_TRAIN_OPTIMIZER_H
#define MOH_TRAIN_OPTIMIZER_H

#include "base/pool.h"
#include "model/model.h"

typedef struct moh__optimizer moh__optimizer;

typedef struct moh__adamw_options {
  double lr;
  double router_lr; /* factor on lr for parameters flagged ROUTER */
  double beta1, beta2, eps;
  double weight_decay; /* for parameters flagged DECAY */
  bool l2; /* decay is part of the gradient (Adam), not apart from it */
} moh__adamw_options;

/* The model must have gradients. Moments start at 0. amsgrad: the largest
 * second moment so far is kept and used. */
moh_status moh__optimizer_new(moh__optimizer **out, moh__model *model,
                              bool amsgrad, moh_error *err);
void moh__optimizer_free(moh__optimizer *optimizer);

/* Euclidean norm over the gradients of all parameters that are trained. A
 * gradient that is not finite is MOH_ERR_DIVERGED with the tensor's name. */
moh_status moh__optimizer_norm(moh__optimizer *optimizer, moh__pool *pool,
                               double *norm, moh_error *err);

/* After moh__optimizer_norm of the same gradients: an element larger than
 * `most` in absolute value is MOH_ERR_DIVERGED with the name of the tensor
 * that has the largest. */
moh_status moh__optimizer_check(const moh__optimizer *optimizer, double most,
                                moh_error *err);

/* One update with the gradients times grad_scale; the packed weights are
 * renewed. */
moh_status moh__optimizer_step(moh__optimizer *optimizer, moh__pool *pool,
                               const moh__adamw_options *options,
                               double grad_scale, moh_error *err);

/* Updates so far, which the correction of the moments goes by; set when a
 * state is loaded. */
int64_t moh__optimizer_steps(const moh__optimizer *optimizer);
void moh__optimizer_set_steps(moh__optimizer *optimizer, int64_t steps);

/* First and second moments of a parameter, and the largest second moments so
 * far, [w->n]; NULL for what is not updated. */
real *moh__optimizer_m(const moh__optimizer *optimizer, const moh__param *w);
real *moh__optimizer_v(const moh__optimizer *optimizer, const moh__param *w);
real *moh__optimizer_v_max(const moh__optimizer *optimizer,
                           const moh__param *w);

#endif
