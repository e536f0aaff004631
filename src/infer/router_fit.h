/*
 * A learned router that stands for the norms of queries (op/query_scores.h):
 * W_r of each layer by least squares, so that W_r x comes close to the scores z
 * of the routed candidates,
 *   W_r = Z^T X (X^T X + lambda I)^-1,   lambda = ridge trace(X^T X) / d,
 * X (tokens, d) the normalised inputs of attention and Z (tokens, n_routed)
 * their scores, both seen while the model reads a text with its heads chosen by
 * norm. Sums are in double. Fitting z or ln softmax(z), which differ by a
 * number of each token, gives routers whose softmax is the same.
 *
 * Every eighth window (of few, the last) is kept out of the fit, and says how
 * many of the router's choices are those of the norms.
 */
#ifndef MOH_INFER_ROUTER_FIT_H
#define MOH_INFER_ROUTER_FIT_H

#include "infer/closeness.h"

typedef struct moh__router_fit {
  int64_t n_fitted, n_checked; /* tokens */
  /* [n_layers] to be freed: of the routed candidates that norms choose, the
   * share that the router chooses, too; and the same of chance. */
  double *agreement;
  double by_chance;
} moh__router_fit;

/* Fills the routers "wg" of a model with learned ones (heads moh:S+K) whose
 * other tensors are there; the model must be packed, and is packed again.
 * text: two windows or more. */
moh_status moh__router_fit_run(moh__router_fit *fit, moh__model *model,
                               moh__pool *pool, const moh__stretch *text,
                               double ridge, moh__reading_stop *stop,
                               void *context, moh_error *err);
void moh__router_fit_free(moh__router_fit *fit);

#endif
