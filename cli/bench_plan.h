/* What the user asks of moh bench, and the contenders that follow from it. */
#ifndef MOH_CLI_BENCH_PLAN_H
#define MOH_CLI_BENCH_PLAN_H

#include "bench.h"

/* The usual contenders beside all heads. */
typedef enum moh__bench_kind {
  MOH__BENCH_MASKED, /* 75 %, every head computed */
  MOH__BENCH_75,
  MOH__BENCH_50,
  MOH__BENCH_PRUNED, /* 75 %, the first ones */
  MOH__BENCH_KINDS
} moh__bench_kind;

enum { MOH__BENCH_OWN_MAX = 8, MOH__BENCH_PRECISIONS = MOH__PRECISIONS };

typedef struct moh__bench_plan {
  moh__config config; /* with all heads, and experts if any */
  moh__config own[MOH__BENCH_OWN_MAX];
  int n_own;
  bool kinds[MOH__BENCH_KINDS + 1]; /* the last stands for none */
  int64_t contexts[MOH__BENCH_CONTEXTS_MAX];
  int n_contexts;
  bool work[MOH__BENCH_WORKS];
  bool precisions[MOH__BENCH_PRECISIONS];
  int n_threads[MOH__BENCH_POOLS_MAX];
  int n_pools;
  int n_rounds, n_seq;
} moh__bench_plan;

/* Twice the user's own strategies, the usual ones and all heads (or three of
 * experts): each with its router. */
_Static_assert(2 * (3 + MOH__BENCH_KINDS + MOH__BENCH_OWN_MAX) <=
                   MOH__BENCH_CONTENDERS_MAX,
               "room for all contenders");

typedef struct moh__bench_roster {
  moh__contender all[MOH__BENCH_CONTENDERS_MAX];
  int n;
} moh__bench_roster;

/* Contenders for a contest, none of them open; n is 0 where nothing can be
 * measured. */
void moh__bench_roster_make(moh__bench_roster *roster,
                            const moh__bench_plan *plan,
                            const moh__contest *contest);

#endif
