/*
 * A small training for tests: examples in a pattern that can be learned, a
 * model, threads and a trainer.
 */
#ifndef MOH_TESTS_TRAINING_H
#define MOH_TESTS_TRAINING_H

#include "support/tiny.h"
#include "train/trainer.h"

enum { N_EXAMPLES = 12, EXAMPLE = 9 };

typedef struct bench {
  moh__model *model;
  moh__pool *pool;
  moh__dataset *data;
  moh__trainer *trainer;
} bench;

/* N_EXAMPLES of EXAMPLE tokens each. */
moh__dataset *training_data(void);

/* One shared and two of three routed heads. */
moh__config routed_config(void);

/* 20 steps of 4 sequences. */
moh__train_options short_run(void);

void open_bench(bench *b, const moh__config *c, const moh__train_options *o,
                int n_threads);
void close_bench(bench *b);

/* The same tokens as one stream, and a new trainer for them. */
void use_stream(bench *b, const moh__train_options *o);

/* One step, which must not fail. */
moh__step_report step(bench *b);

/* The largest difference of a weight. */
real furthest_weight(const bench *a, const bench *b);

#endif
