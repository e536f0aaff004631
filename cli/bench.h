/*
 * moh bench in parts. A contender is a model with random weights and what it
 * needs to do one piece of work over and over (bench_contender.c,
 * bench_work.c); its costs are counted (bench_count.c). A contest lets
 * contenders take turns, on every number of threads (bench_contest.c), and
 * its results become a table (bench_table.c) or JSON (bench_json.c).
 */
#ifndef MOH_CLI_BENCH_H
#define MOH_CLI_BENCH_H

#include <jansson.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "train/optimizer.h"

typedef enum moh__bench_work {
  MOH__BENCH_TRAINING,    /* a whole step: gradients, clipping norm, AdamW */
  MOH__BENCH_PREFILL,     /* a session reads all tokens, from an empty one */
  MOH__BENCH_DECODING,    /* one token behind a cache of context - 1 */
  MOH__BENCH_ATTENTION,   /* one layer's attention, forward and backward */
  MOH__BENCH_ROUTER,      /* its router alone: scores, top-k, plan, gates */
  MOH__BENCH_FEED_FORWARD /* one layer's, forward and backward */
} moh__bench_work;

enum { MOH__BENCH_WORKS = 6 };
extern const char *const moh__bench_work_names[MOH__BENCH_WORKS + 1];

enum {
  MOH__BENCH_POOLS_MAX = 4,
  MOH__BENCH_CONTEXTS_MAX = 16,
  MOH__BENCH_CONTENDERS_MAX = 30
};

/* One turn. The processor's seconds are those of the calling thread. */
typedef struct moh__sample {
  double clock, processor;
} moh__sample;

/* The one place that counts bytes of a contender. */
typedef struct moh__contender_memory {
  int64_t weights; /* as in files */
  int64_t packed;  /* the same in the order of the kernels */
  int64_t gradients, moments;
  int64_t cache; /* keys and values */
  int64_t work;  /* activations, at most */
} moh__contender_memory;

typedef struct moh__contender moh__contender;
struct moh__contender {
  /* Set by whoever makes it; all else is made by moh__contender_open. */
  char label[40];
  moh__config config;
  moh__precision precision;
  bool masked; /* all heads and experts computed, unused ones times zero */
  moh__bench_work work;
  int32_t context, n_seq;
  int base; /* number of the contender that its ratios are to */
  const moh__contender *twin;  /* an open one whose model it shares */
  const moh__contender *donor; /* an open one whose weights it copies */

  moh__model *model; /* the twin's when there is one */
  moh__optimizer *optimizer;
  moh__session *sessions[MOH__BENCH_POOLS_MAX]; /* one a pool */
  moh__arena arena;
  moh__tape tape;
  int32_t *tokens, *positions, *targets; /* [n_seq * context] */
  int32_t *seq_start;                    /* [n_seq + 1] */
  real *weights, *loss;                  /* [n_seq * context] */
  real *input, *d_output; /* rows of a layer, their gradients */
  int32_t last;           /* row of the last token */
  int64_t n_runs;         /* of decoding */
  double kv_share; /* of the KV heads whose cache a token reads: decoding */
  moh__batch batch;
  moh__sample *samples[MOH__BENCH_POOLS_MAX]; /* [n_rounds] each */
};

/* ---- bench_contender.c ---- */

moh_status moh__contender_open(moh__contender *c, moh__pool *const *pools,
                               int n_pools, int n_rounds, moh_error *err);
/* Twins after those that share their model. */
void moh__contender_close(moh__contender *c);

/* Exact, from what was allocated. */
moh_status moh__contender_measure(const moh__contender *c,
                                  moh__contender_memory *memory,
                                  moh_error *err);
int64_t moh__contender_bytes(const moh__contender_memory *memory);

/* ---- bench_work.c ---- */

/* Does the work once, with pool number `pool` of those it was opened for. */
moh_status moh__contender_run(moh__contender *c, int pool,
                              moh__pool *const *pools, moh_error *err);

/* Decoding: finds kv_share from the plans of tokens, all in use or not. */
moh_status moh__contender_watch(moh__contender *c, moh_error *err);

/* Bytes of arena that the work needs at most, by a dry run. */
moh_status moh__contender_arena_bytes(moh__contender *c, size_t *bytes,
                                      moh_error *err);

/* ---- bench_count.c ---- */

/* Multiply-adds of the work, counted. Backward costs twice the forward pass
 * in matrix products, and 5/2 of it in attention, whose scores are computed
 * anew. The optimizer's arithmetic is no multiply-add of a matrix product and
 * is left out. */
double moh__contender_count(const moh__contender *c);

/* Bytes of weights and of the cache that a token of decoding reads; 0 for
 * other work, which is not bound by them. */
double moh__contender_bytes_read(const moh__contender *c);

/* ---- bench_contest.c ---- */

typedef struct moh__contest {
  moh__bench_work work;
  int32_t context, n_seq;
  moh__precision precision;
  const moh__config *config; /* with all heads, and experts if any */
  int n_rounds;
  int n_pools;
  int n_threads[MOH__BENCH_POOLS_MAX];
  moh__pool *const *pools;
  moh__contender *contenders;
  int n_contenders;
} moh__contest;

/* Opens the contenders and lets them take turns. They stay open. */
moh_status moh__contest_run(moh__contest *contest, moh_error *err);

/* A median with its quartiles. */
typedef struct moh__spread {
  double low, median, high;
} moh__spread;
/* Of n > 0 numbers, which are sorted. */
moh__spread moh__spread_of(double *x, int n);

typedef struct moh__result {
  moh__spread seconds;  /* processor with one thread, else clock */
  moh__spread ratio;    /* to the base, round by round */
  moh__spread speed_up; /* over one thread, by the clock; NaN: not known */
  double counted;       /* the ratio of multiply-adds */
  double counted_bytes; /* of bytes read; NaN: not bound by them */
  double kept;          /* share of the counted saving; NaN: none */
  bool kept_of_bytes;   /* against the bytes, the smaller saving */
  double bytes_read;    /* 0: not counted */
  moh__contender_memory memory;
  double memory_ratio; /* of all bytes, to the base */
} moh__result;

moh_status moh__contest_result(const moh__contest *contest, int contender,
                               int pool, moh__result *result, moh_error *err);

/* ---- bench_table.c, bench_json.c: of one number of threads ---- */

moh_status moh__contest_print(const moh__contest *contest, int pool,
                              moh_error *err);
moh_status moh__contest_json(const moh__contest *contest, int pool,
                             json_t *tables, moh_error *err);

/* Ratios by the length of the context, to say from where on skipping pays.
 */
typedef struct moh__payoff {
  int n_contexts;
  int32_t contexts[MOH__BENCH_CONTEXTS_MAX];
  double ratios[MOH__BENCH_CONTEXTS_MAX][MOH__BENCH_CONTENDERS_MAX]
               [MOH__BENCH_POOLS_MAX];
} moh__payoff;

/* A contest that has been held; all of a payoff have equal contenders. */
moh_status moh__payoff_add(moh__payoff *payoff, const moh__contest *contest,
                           moh_error *err);
/* The shortest length from which on all that were measured took less time
 * than all heads did; 0: none. */
int32_t moh__payoff_from(const moh__payoff *payoff, int contender, int pool);
/* Nothing for a single length. contest: the last one. */
void moh__payoff_print(const moh__payoff *payoff,
                       const moh__contest *contest);

#endif
