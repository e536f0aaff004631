/*
 * A contest: contenders, each on every number of threads, take turns within
 * a round, in an order that rotates, so that a busy machine is busy for all
 * of them. A ratio is that of two neighbours in a round; its median counts.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench.h"
#include "status_line.h"

/* What a sample should last at least, in seconds, at two warm runs' pace. */
static const double SAMPLE = 0.02;
enum { WARM_RUNS = 2, TIMES_MAX = 100000 };

static moh__sample now(void) {
  return (moh__sample){.clock = moh__now(),
                       .processor = moh__thread_seconds()};
}

/* Seconds of one piece of work, over n_times. */
static moh_status take_sample(const moh__contest *t, int contender, int pool,
                              int n_times, moh__sample *sample,
                              moh_error *err) {
  moh__contender *c = &t->contenders[contender];
  moh__sample start = now();
  for (int i = 0; i < n_times; i++)
    MOH_TRY(moh__contender_run(c, pool, t->pools, err));
  moh__sample end = now();
  sample->clock = (end.clock - start.clock) / n_times;
  sample->processor = (end.processor - start.processor) / n_times;
  return MOH_OK;
}

/* Runs before the first round: memory is touched, and how often the work is
 * repeated within a sample is found. */
static moh_status warm(const moh__contest *t, int contender, int pool,
                       int *n_times, moh_error *err) {
  moh__sample sample = {0};
  for (int i = 0; i < WARM_RUNS; i++)
    MOH_TRY(take_sample(t, contender, pool, 1, &sample, err));
  double n = ceil(SAMPLE / (sample.clock + 1e-7));
  *n_times = n < TIMES_MAX ? (int)n : TIMES_MAX;
  return MOH_OK;
}

/* How far the contest is, on a terminal only: lines would be in the way of
 * scripts. Between samples, so that it is not measured. */
static void show_turn(moh__status_line *status, const moh__contest *t,
                      int64_t done, int64_t all) {
  moh__line line = {.n = 0};
  if (!status->terminal || !moh__status_line_due(status, done, all)) return;
  moh__line_add(&line, "%s, %d tokens  ", moh__bench_work_names[t->work],
                t->context);
  moh__line_add_times(&line, moh__now() - status->start, 0, done, all);
  moh__status_line_show(status, done, all, "", line.text);
}

/* Turn number u: contenders in order, each on all numbers of threads. */
static moh_status play(const moh__contest *t, int *n_times,
                       moh__status_line *status, moh_error *err) {
  int n = t->n_contenders * t->n_pools;
  int64_t done = 0, all = (int64_t)n * t->n_rounds;
  for (int u = 0; u < n; u++)
    MOH_TRY(warm(t, u / t->n_pools, u % t->n_pools, &n_times[u], err));
  moh__status_line_start(status, 0, all);
  for (int round = 0; round < t->n_rounds; round++)
    for (int i = 0; i < n; i++) {
      int u = (i + round) % n;
      int contender = u / t->n_pools, pool = u % t->n_pools;
      MOH_TRY(take_sample(t, contender, pool, n_times[u],
                          &t->contenders[contender].samples[pool][round],
                          err));
      show_turn(status, t, ++done, all);
    }
  return MOH_OK;
}

moh_status moh__contest_run(moh__contest *t, moh_error *err) {
  for (int i = 0; i < t->n_contenders; i++) {
    if (i > 0) t->contenders[i].donor = t->contenders;
    MOH_TRY(moh__contender_open(&t->contenders[i], t->pools, t->n_pools,
                                t->n_rounds, err));
  }
  size_t n = (size_t)t->n_contenders * (size_t)t->n_pools;
  int *n_times = calloc(n, sizeof(int));
  if (n_times == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a benchmark");
  moh__status_line line = {.terminal = false};
  moh_status status = play(t, n_times, &line, err);
  moh__status_line_end(&line);
  free(n_times);
  return status;
}

/* ---- statistics ---- */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of sorted numbers; between two neighbours where the place falls there. */
static double quantile(const double *x, int n, double q) {
  double at = q * (n - 1);
  int below = (int)at;
  if (below + 1 >= n) return x[n - 1];
  return x[below] + (at - below) * (x[below + 1] - x[below]);
}

moh__spread moh__spread_of(double *x, int n) {
  qsort(x, (size_t)n, sizeof(*x), compare);
  return (moh__spread){.low = quantile(x, n, 0.25),
                       .median = quantile(x, n, 0.5),
                       .high = quantile(x, n, 0.75)};
}

static double seconds_of(const moh__contest *t, const moh__contender *c,
                         int pool, int round) {
  const moh__sample *s = &c->samples[pool][round];
  return t->n_threads[pool] == 1 ? s->processor : s->clock;
}

/* The pool of one thread, -1 when there is none or it is this one. */
static int single_pool(const moh__contest *t, int pool) {
  for (int i = 0; i < t->n_pools; i++)
    if (t->n_threads[i] == 1) return i == pool ? -1 : i;
  return -1;
}

static void find_spreads(const moh__contest *t, const moh__contender *c,
                         int pool, double *x, moh__result *r) {
  const moh__contender *base = &t->contenders[c->base];
  int n = t->n_rounds, single = single_pool(t, pool);
  for (int i = 0; i < n; i++) x[i] = seconds_of(t, c, pool, i);
  r->seconds = moh__spread_of(x, n);
  for (int i = 0; i < n; i++)
    x[i] = seconds_of(t, c, pool, i) / seconds_of(t, base, pool, i);
  r->ratio = moh__spread_of(x, n);
  r->speed_up = (moh__spread){NAN, NAN, NAN};
  if (single < 0) return;
  for (int i = 0; i < n; i++)
    x[i] = c->samples[single][i].clock / c->samples[pool][i].clock;
  r->speed_up = moh__spread_of(x, n);
}

/* Decoding is bound by bytes where they shrink less than multiply-adds. */
static void find_kept(moh__result *r) {
  double bound = r->counted;
  r->kept_of_bytes = r->counted_bytes > r->counted; /* false for NaN */
  if (r->kept_of_bytes) bound = r->counted_bytes;
  r->kept = bound < 0.9999 ? (1 - r->ratio.median) / (1 - bound) : NAN;
}

static moh_status find_memory(const moh__contender *c,
                              const moh__contender *base, moh__result *r,
                              moh_error *err) {
  MOH_TRY(moh__contender_measure(base, &r->memory, err));
  double bytes = (double)moh__contender_bytes(&r->memory);
  MOH_TRY(moh__contender_measure(c, &r->memory, err));
  r->memory_ratio = (double)moh__contender_bytes(&r->memory) / bytes;
  return MOH_OK;
}

moh_status moh__contest_result(const moh__contest *t, int contender, int pool,
                               moh__result *r, moh_error *err) {
  const moh__contender *c = &t->contenders[contender];
  const moh__contender *base = &t->contenders[c->base];
  double *x = calloc((size_t)t->n_rounds, sizeof(double));
  if (x == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a benchmark");
  find_spreads(t, c, pool, x, r);
  free(x);
  r->counted = moh__contender_count(c) / moh__contender_count(base);
  r->bytes_read = moh__contender_bytes_read(c);
  r->counted_bytes = r->bytes_read > 0
                         ? r->bytes_read / moh__contender_bytes_read(base)
                         : NAN;
  find_kept(r);
  if (c->work == MOH__BENCH_ROUTER) r->kept = NAN; /* a part, no saving */
  return find_memory(c, base, r, err);
}
