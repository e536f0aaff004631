/*
 * A contest: pieces of work that are timed in turns within rounds, so that
 * a busy machine is busy for all of them. Times are processor time of the
 * thread; what counts are the ratios, each the median over rounds.
 */
#ifndef MOH_BENCH_CONTEST_H
#define MOH_BENCH_CONTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "op/tape.h"

enum { CONTENDERS_MAX = 24, ROUNDS_MAX = 200 };

typedef void run_fn(void *context);

typedef struct contender {
  const char *name;
  run_fn *run;
  void *context;
  double work;                /* multiply-adds times two, or bytes */
  int times;                  /* runs of one sample */
  double samples[ROUNDS_MAX]; /* seconds of one run */
} contender;

typedef struct contest {
  int n, n_rounds;
  contender all[CONTENDERS_MAX];
} contest;

/* Gives the number of the contender. */
int contest_add(contest *c, const char *name, run_fn *run, void *context,
                double work);

/* Samples of at least 3 ms each. */
void contest_run(contest *c, int n_rounds);

double contest_seconds(const contest *c, int i); /* median */
/* Quartiles over the median: how far samples lie apart. */
double contest_spread(const contest *c, int i);
/* Median over rounds of time i / time j, each for equal work. */
double contest_ratio(const contest *c, int i, int j);
/* Work of contender i in a second, in units of 1e9. */
double contest_rate(const contest *c, int i);

/* Runs an op that is on a tape once more, without a record, and gives back what
 * it took. */
void forward_again(moh__tape *tape, run_fn *apply, void *context);

/* Multiply-adds that this thread can do, GFLOP/s: a median. */
double peak_rate(bool bf16);

/* n floats in [-1, 1), 64-byte aligned, never given back. */
float *random_floats(int64_t n);

#endif
