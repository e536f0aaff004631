/*
 * Thread pool. A job is n_tasks independent tasks, handed out one by one; the
 * caller works too. Which thread runs a task must never change a result.
 * Idle workers sleep on a condition variable after a short spin.
 */
#ifndef MOH_BASE_POOL_H
#define MOH_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct moh__pool moh__pool;

/* thread is 0..n_threads-1 and names the scratch memory that is free to use;
 * scratch is that memory, MOH__SCRATCH_BYTES long, 64-byte aligned. */
typedef void moh__task_fn(void *context, int64_t task, void *scratch);

enum { MOH__SCRATCH_BYTES = 1 << 20 };

/* n_threads counts the caller; 0 means the processors in the affinity mask
 * (and in the cgroup's quota, where it can be read). */
moh_status moh__pool_new(moh__pool **out, int n_threads, moh_error *err);
void moh__pool_free(moh__pool *pool);
int moh__pool_threads(const moh__pool *pool);

/* Runs fn for every task and returns when all are done. One job at a time;
 * not to be called from a task. */
void moh__pool_run(moh__pool *pool, int64_t n_tasks, moh__task_fn *fn,
                   void *context);

/* The same in the calling thread alone. */
void moh__pool_run_here(moh__pool *pool, int64_t n_tasks, moh__task_fn *fn,
                        void *context);

#endif
