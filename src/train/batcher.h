/*
 * What a step trains on. Sequences come from one or two datasets in an order
 * that depends on the seed and on how many were drawn, nothing else: the
 * batcher's whole state is two counters.
 */
#ifndef MOH_TRAIN_BATCHER_H
#define MOH_TRAIN_BATCHER_H

#include "op/batch.h"
#include "text/dataset.h"

/* A stretch of a dataset: tokens [first, first + n_inputs], the last of which
 * is predicted only. */
typedef struct moh__span {
  const moh__dataset *dataset;
  int64_t first;
  int32_t n_inputs;
  bool mixed; /* from the second dataset */
} moh__span;

/* Draws from one dataset: examples in a new order every epoch, or windows of
 * a stream at random places. */
typedef struct moh__drawer {
  const moh__dataset *dataset;
  uint64_t seed;
  uint64_t stream;
  int64_t n_drawn;
  int32_t context;
  int64_t *order; /* [n_sequences] of the epoch in work; examples only */
} moh__drawer;

typedef struct moh__batcher {
  moh__drawer main, mix; /* mix.dataset NULL: none */
  double mix_share;
  int64_t n_drawn; /* sequences of both */
} moh__batcher;

moh_status moh__batcher_init(moh__batcher *batcher, const moh__dataset *main,
                             const moh__dataset *mix, double mix_share,
                             int32_t context, uint64_t seed, moh_error *err);
void moh__batcher_free(moh__batcher *batcher);

/* Sequences that one pass over the main dataset takes, mixed ones included. */
int64_t moh__batcher_epoch(const moh__batcher *batcher);

/* Tokens that a sequence predicts, on average. */
double moh__batcher_mean_inputs(const moh__batcher *batcher);

moh__span moh__batcher_draw(moh__batcher *batcher);

/* Goes on as if n_drawn sequences of both datasets had been drawn. */
void moh__batcher_seek(moh__batcher *batcher, int64_t n_drawn);

/* The spans of a dataset in order, for evaluation: examples each once, a
 * stream in non-overlapping windows. False behind the last. */
bool moh__dataset_span(const moh__dataset *dataset, int64_t i,
                       int32_t context, moh__span *span);

/* Arrays for a micro-batch of at most n_seq spans of `context` inputs. */
typedef struct moh__micro_batch {
  moh__batch batch;
  int32_t *tokens, *positions, *seq_start, *targets; /* owned */
  real *weights;
  real *loss;
} moh__micro_batch;

moh_status moh__micro_batch_init(moh__micro_batch *micro, int32_t n_seq,
                                 int32_t context, moh_error *err);
void moh__micro_batch_free(moh__micro_batch *micro);
/* Fills it; every predicted token gets the same weight. Fails when the data
 * cannot be read. */
moh_status moh__micro_batch_fill(moh__micro_batch *micro,
                                 const moh__span *spans, int32_t n,
                                 real weight, moh_error *err);

#endif
