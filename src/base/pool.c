/* Thread pool: one job slot, tasks taken by an atomic counter. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPIN_TURNS = 20000, STACK_BYTES = 1 << 20, MAX_THREADS = 256 };

typedef struct worker {
  moh__pool *pool;
  pthread_t thread;
  int index;
} worker;

struct moh__pool {
  int n_threads;
  void **scratch;  /* one block of MOH__SCRATCH_BYTES a thread */
  worker *workers; /* n_threads - 1 started threads */
  int n_started;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_cond_t done;
  atomic_uint_fast64_t generation; /* a new number is a new job */
  atomic_bool stop;
  /* the job */
  moh__task_fn *fn;
  void *context;
  int64_t n_tasks;
  atomic_int_fast64_t next_task;
  atomic_int n_busy; /* workers that have not finished this job */
};

static void work(moh__pool *pool, int thread) {
  for (;;) {
    int64_t task = atomic_fetch_add(&pool->next_task, 1);
    if (task >= pool->n_tasks) return;
    pool->fn(pool->context, task, pool->scratch[thread]);
  }
}

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Waits until the generation is no longer `seen`: first by spinning, as jobs
 * follow each other closely within a step, then asleep. */
static uint64_t wait_for_job(moh__pool *pool, uint64_t seen) {
  for (int turn = 0; turn < SPIN_TURNS; turn++) {
    uint64_t now = atomic_load(&pool->generation);
    if (now != seen) return now;
    pause_cpu();
  }
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->generation) == seen)
    pthread_cond_wait(&pool->wake, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
  return atomic_load(&pool->generation);
}

static void *worker_main(void *argument) {
  worker *self = argument;
  moh__pool *pool = self->pool;
  uint64_t seen = 0;
  for (;;) {
    seen = wait_for_job(pool, seen);
    if (atomic_load(&pool->stop)) return NULL;
    work(pool, self->index);
    if (atomic_fetch_sub(&pool->n_busy, 1) == 1) {
      pthread_mutex_lock(&pool->mutex);
      pthread_cond_signal(&pool->done);
      pthread_mutex_unlock(&pool->mutex);
    }
  }
}

/* The cgroup's quota in whole processors, 0 when there is none to read. */
static int cgroup_quota(void) {
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (file == NULL) return 0;
  long quota = 0;
  long period = 0;
  int fields = fscanf(file, "%ld %ld", &quota, &period); /* NOLINT: kernel */
  fclose(file);
  if (fields != 2 || period <= 0 || quota <= 0) return 0;
  return (int)((quota + period - 1) / period);
}

static int default_threads(void) {
  cpu_set_t set;
  int n = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) n = CPU_COUNT(&set);
  int quota = cgroup_quota();
  if (quota > 0 && quota < n) n = quota;
  return n < 1 ? 1 : n;
}

static moh_status start_workers(moh__pool *pool, moh_error *err) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  moh_status status = MOH_OK;
  for (int i = 1; i < pool->n_threads; i++) {
    worker *w = &pool->workers[i - 1];
    w->pool = pool;
    w->index = i;
    if (pthread_create(&w->thread, &attributes, worker_main, w) != 0) {
      status = moh__fail(err, MOH_ERR_MEMORY, "cannot start thread %d", i);
      break;
    }
    pool->n_started++;
  }
  pthread_attr_destroy(&attributes);
  return status;
}

static moh_status alloc_scratch(moh__pool *pool, moh_error *err) {
  for (int i = 0; i < pool->n_threads; i++) {
    pool->scratch[i] = aligned_alloc(64, MOH__SCRATCH_BYTES);
    if (pool->scratch[i] == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "no memory for thread scratch");
  }
  return MOH_OK;
}

moh_status moh__pool_new(moh__pool **out, int n_threads, moh_error *err) {
  *out = NULL;
  if (n_threads == 0) n_threads = default_threads();
  if (n_threads < 1 || n_threads > MAX_THREADS)
    return moh__fail(err, MOH_ERR_ARGUMENT, "threads must be 1 to %d, not %d",
                     MAX_THREADS, n_threads);
  moh__pool *pool = calloc(1, sizeof(*pool));
  if (pool == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->done, NULL);
  pool->n_threads = n_threads;
  pool->scratch = calloc((size_t)n_threads, sizeof(void *));
  pool->workers = calloc((size_t)n_threads, sizeof(worker));
  moh_status status = MOH_OK;
  if (pool->scratch == NULL || pool->workers == NULL)
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for a thread pool");
  if (status == MOH_OK) status = alloc_scratch(pool, err);
  if (status == MOH_OK) status = start_workers(pool, err);
  if (status != MOH_OK) {
    moh__pool_free(pool);
    return status;
  }
  *out = pool;
  return MOH_OK;
}

static void announce(moh__pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->generation, 1);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

void moh__pool_free(moh__pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->stop, true);
  announce(pool);
  for (int i = 0; i < pool->n_started; i++)
    pthread_join(pool->workers[i].thread, NULL);
  for (int i = 0; pool->scratch != NULL && i < pool->n_threads; i++)
    free(pool->scratch[i]);
  free((void *)pool->scratch);
  free(pool->workers);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

int moh__pool_threads(const moh__pool *pool) { return pool->n_threads; }

static void wait_done(moh__pool *pool) {
  for (int turn = 0; turn < SPIN_TURNS; turn++) {
    if (atomic_load(&pool->n_busy) == 0) return;
    pause_cpu();
  }
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->n_busy) != 0)
    pthread_cond_wait(&pool->done, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
}

void moh__pool_run_here(moh__pool *pool, int64_t n_tasks, moh__task_fn *fn,
                        void *context) {
  for (int64_t task = 0; task < n_tasks; task++)
    fn(context, task, pool->scratch[0]);
}

void moh__pool_run(moh__pool *pool, int64_t n_tasks, moh__task_fn *fn,
                   void *context) {
  if (n_tasks <= 1 || pool->n_threads == 1) {
    moh__pool_run_here(pool, n_tasks, fn, context);
    return;
  }
  pool->fn = fn;
  pool->context = context;
  pool->n_tasks = n_tasks;
  atomic_store(&pool->next_task, 0);
  atomic_store(&pool->n_busy, pool->n_started);
  announce(pool);
  work(pool, 0);
  wait_done(pool);
}
