/*
 * How well a model predicts texts: the cross entropy of every token but the
 * first of each text, in windows of at most `context` tokens. The first
 * window predicts as many tokens as it reads, the others `stride` each:
 * then every prediction but those of a text's beginning has at least
 * context - stride tokens before it, and each token is predicted once. With
 * stride = context the windows lie side by side, as in the trainer's
 * evaluation.
 */
#ifndef MOH_INFER_EVALUATE_H
#define MOH_INFER_EVALUATE_H

#include "base/pool.h"
#include "model/model.h"

typedef struct moh__evaluate_options {
  int32_t context; /* tokens that a window reads; 0: the model's most */
  int32_t stride;  /* in [1, context]; 0: context */
  int64_t limit;   /* predictions in all; 0: none */
  int32_t unknown; /* token that stands for unknown ones; -1: none */
  const moh__head_probe *probe; /* looks at the heads; NULL: none */
  /* Token by token, as a text is generated: with a cache, one forward pass for
   * each. The same numbers but for rounding. Not with a probe. */
  bool decode;
  /* Called now and then with the predictions so far; false ends the
   * evaluation with MOH_ERR_INTERRUPTED. May be NULL. */
  bool (*on_progress)(void *progress, int64_t n_predicted);
  void *progress;
} moh__evaluate_options;

/* Sums over all texts so far, in their order, so that they do not depend on
 * the number of threads. */
typedef struct moh__evaluation {
  int64_t n_texts;     /* of which something was predicted */
  int64_t n_predicted; /* tokens */
  int64_t n_unknown;   /* of them */
  int64_t n_windows;
  double nats; /* sum of -ln p */
} moh__evaluation;

typedef struct moh__evaluator moh__evaluator;

/* The model must be packed, and have gradients where the probe asks for
 * importance. It and the pool must outlive the evaluator.
 * Belongs to one thread at a time. */
moh_status moh__evaluator_new(moh__evaluator **out, const moh__model *model,
                              moh__pool *pool,
                              const moh__evaluate_options *options,
                              moh_error *err);
void moh__evaluator_free(moh__evaluator *evaluator);

/* Adds a text of n tokens. *taken: how many of them were read or predicted,
 * n unless the limit was reached; NULL is fine. A loss that is not finite
 * is MOH_ERR_DIVERGED. */
moh_status moh__evaluator_add(moh__evaluator *evaluator,
                              const int32_t *tokens, int64_t n,
                              int64_t *taken, moh_error *err);

/* All sums so far. */
moh_status moh__evaluator_result(moh__evaluator *evaluator,
                                 moh__evaluation *result, moh_error *err);

#endif
