/*
 * One contender of a benchmark: a model with random weights and what it
 * needs to do one piece of work over and over.
 */
#ifndef MOH_CLI_BENCH_H
#define MOH_CLI_BENCH_H

#include "arch/arch.h"
#include "infer/session.h"

typedef enum moh__bench_work {
  MOH__BENCH_TRAINING, /* forward and backward over one sequence */
  MOH__BENCH_PREFILL,  /* forward, logits of the last token */
  MOH__BENCH_DECODING  /* one token behind a full cache */
} moh__bench_work;

typedef struct moh__contender {
  const char *label;
  moh__config config;
  bool masked; /* every head computed, unused ones times zero */
  moh__bench_work work;
  int32_t context;
  moh__model *model;
  moh__pool *pool; /* the caller's */
  moh__session *session;
  moh__arena arena;
  moh__tape tape;
  int32_t *tokens, *positions, *targets; /* [context] */
  int32_t seq_start[2];
  int32_t last; /* row of the last token */
  real *weights, *loss;
  moh__batch batch;
  double *seconds; /* [n_rounds] of one piece of work */
} moh__contender;

/* label, config, masked, work, context and pool stand; all else is made. */
moh_status moh__contender_open(moh__contender *c, int n_rounds,
                               moh_error *err);
void moh__contender_close(moh__contender *c);

/* Does the work once. */
moh_status moh__contender_run(moh__contender *c, moh_error *err);

/* Multiply-adds of the work, counted. Backward costs twice the forward pass
 * in matrix products, and 5/2 of it in attention, whose scores are computed
 * anew. */
double moh__contender_count(const moh__contender *c);

/* Bytes that the work took at most, weights left out: exact. */
int64_t moh__contender_bytes(const moh__contender *c);

/* Of n > 0 numbers, which are sorted: 0.5 is the median. */
double moh__quantile(double *x, int n, double q);

#endif
