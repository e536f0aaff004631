/* Timing in turns, and order statistics. */
#include "contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"

static const double SAMPLE_SECONDS = 3e-3;

int contest_add(contest *c, const char *name, run_fn *run, void *context,
                double work) {
  if (c->n == CONTENDERS_MAX) {
    fprintf(stderr, "too many contenders\n");
    exit(1);
  }
  c->all[c->n] =
      (contender){.name = name, .run = run, .context = context, .work = work};
  return c->n++;
}

static double time_runs(const contender *c, int times) {
  double start = moh__thread_seconds();
  for (int i = 0; i < times; i++) c->run(c->context);
  return (moh__thread_seconds() - start) / times;
}

void contest_run(contest *c, int n_rounds) {
  c->n_rounds = n_rounds < ROUNDS_MAX ? n_rounds : ROUNDS_MAX;
  for (int i = 0; i < c->n; i++) {
    time_runs(&c->all[i], 1);
    double once = time_runs(&c->all[i], 2) + 1e-9;
    c->all[i].times = 1 + (int)(SAMPLE_SECONDS / once);
  }
  for (int round = 0; round < c->n_rounds; round++)
    for (int i = 0; i < c->n; i++) {
      contender *one = &c->all[(i + round) % c->n];
      one->samples[round] = time_runs(one, one->times);
    }
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const double *x, int n, double q) {
  double sorted[ROUNDS_MAX];
  memcpy(sorted, x, (size_t)n * sizeof(double));
  qsort(sorted, (size_t)n, sizeof(double), compare);
  return sorted[(int)(q * (n - 1) + 0.5)];
}

double contest_seconds(const contest *c, int i) {
  return quantile(c->all[i].samples, c->n_rounds, 0.5);
}

double contest_spread(const contest *c, int i) {
  const double *x = c->all[i].samples;
  double low = quantile(x, c->n_rounds, 0.25);
  double high = quantile(x, c->n_rounds, 0.75);
  return (high - low) / 2 / contest_seconds(c, i);
}

double contest_ratio(const contest *c, int i, int j) {
  double ratios[ROUNDS_MAX];
  for (int r = 0; r < c->n_rounds; r++)
    ratios[r] = c->all[i].samples[r] / c->all[j].samples[r];
  return quantile(ratios, c->n_rounds, 0.5);
}

double contest_rate(const contest *c, int i) {
  return c->all[i].work / contest_seconds(c, i) * 1e-9;
}

float *random_floats(int64_t n) {
  size_t bytes = ((size_t)n * sizeof(float) + 4095) / 4096 * 4096;
  float *x = aligned_alloc(4096, bytes);
  if (x == NULL) {
    fprintf(stderr, "no memory for %lld floats\n", (long long)n);
    exit(1);
  }
  moh__rng rng = moh__rng_make(1, (uint64_t)n);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(2 * moh__rng_uniform(&rng) - 1);
  return x;
}

void forward_again(moh__tape *tape, run_fn *apply, void *context) {
  size_t mark = moh__tape_mark(tape);
  moh__tape_node *last = tape->last;
  tape->recording = false;
  apply(context);
  tape->recording = true;
  tape->last = last;
  moh__arena_release(tape->arena, mark);
}
