/*
 * Work over a thread pool: each piece writes its own part of the output,
 * and no element depends on the cut.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/kernel.h"

enum {
  PIECES = 3,      /* of a thread: the last to end is waited for */
  PIECES_AT = 2,   /* the same of gemm_at */
  PANEL_PIECES = 6, /* the same along the columns: panels are coarse */
  LEAST_ROWS = 48, /* of a piece, which reads all of B; */
  LEAST_ROWS_AT = 96, /* and packs it */
  SMALL_PRODUCT = 1 << 15, /* multiply-adds below which one thread does it */
  CLEAR = 1 << 16 /* elements worth a task where all they become is 0 */
};

typedef struct gemm_job {
  const moh__gemm *g;
  bool at;
  int64_t rows, columns; /* of a piece */
  int64_t n_across;      /* pieces along the columns */
} gemm_job;

/* The part of a product that starts at row i and column j of C. */
static moh__gemm piece_of(const gemm_job *job, int64_t i, int64_t j) {
  moh__gemm g = *job->g;
  g.m = g.m - i < job->rows ? g.m - i : job->rows;
  if (job->at)
    g.a += i;
  else if (g.a_rows != NULL)
    g.a_rows += i;
  else
    moh__gemm_skip_rows(&g, i);
  if (g.c_rows == NULL)
    g.c += i * g.ldc;
  else
    g.c_rows += i;
  moh__gemm_columns(&g, j, g.n - j < job->columns ? g.n - j : job->columns);
  return g;
}

static void run_product(const moh__gemm *g, bool at, void *scratch) {
  if (at)
    moh__kernel()->gemm_at(g, scratch);
  else
    moh__kernel()->gemm(g, scratch);
}

static void run_piece(void *context, int64_t task, void *scratch) {
  const gemm_job *job = context;
  int64_t i = task / job->n_across * job->rows;
  int64_t j = task % job->n_across * job->columns;
  moh__gemm g = piece_of(job, i, j);
  run_product(&g, job->at, scratch);
}

static void run_whole(void *context, int64_t task, void *scratch) {
  (void)task;
  const gemm_job *job = context;
  run_product(job->g, job->at, scratch);
}

static int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }

/*
 * Cuts C into pieces, a few for each thread: along the rows, where pieces can
 * be equal and A is packed once, and along the panels of columns where rows
 * are too few. Every element is one chain whatever the cut, so the number of
 * threads may decide it.
 */
static void cut(gemm_job *job, int64_t n_threads) {
  const moh__gemm *g = job->g;
  int64_t down = g->m / (job->at ? LEAST_ROWS_AT : LEAST_ROWS);
  int64_t most = n_threads * (job->at ? PIECES_AT : PIECES);
  if (down > most) down = most;
  if (down < 1) down = 1;
  job->rows = moh__round_up(divide_up(g->m, down), 6);
  int64_t panels = divide_up(g->n, MOH__PANEL);
  int64_t across = down >= n_threads ? 1 : n_threads * PANEL_PIECES / down;
  if (across > panels) across = panels;
  job->columns = divide_up(panels, across) * MOH__PANEL;
  job->n_across = divide_up(g->n, job->columns);
}

static void run(moh__pool *pool, const moh__gemm *g, bool at) {
  if (g->m == 0 || g->n == 0) return;
  gemm_job job = {.g = g, .at = at};
  int n_threads = moh__pool_threads(pool);
  if (n_threads == 1 || g->m * g->n * g->k <= SMALL_PRODUCT) {
    moh__pool_run(pool, 1, run_whole, &job);
    return;
  }
  cut(&job, n_threads);
  int64_t n_down = divide_up(g->m, job.rows);
  moh__pool_run(pool, n_down * job.n_across, run_piece, &job);
}

void moh__gemm_run(moh__pool *pool, const moh__gemm *g) {
  run(pool, g, false);
}

void moh__gemm_at_run(moh__pool *pool, const moh__gemm *g) {
  run(pool, g, true);
}

typedef struct range_job {
  moh__range_fn *fn;
  void *context;
  int64_t n, grain;
} range_job;

static void run_range(void *context, int64_t task, void *scratch) {
  const range_job *job = context;
  int64_t begin = task * job->grain;
  int64_t end = begin + job->grain < job->n ? begin + job->grain : job->n;
  job->fn(job->context, begin, end, scratch);
}

void moh__range_run(moh__pool *pool, int64_t n, int64_t grain,
                    moh__range_fn *fn, void *context) {
  range_job job = {fn, context, n, grain};
  moh__pool_run(pool, (n + grain - 1) / grain, run_range, &job);
}

void moh__rows_run(moh__pool *pool, int64_t n_rows, int64_t width,
                   moh__range_fn *fn, void *context) {
  int64_t grain = MOH__GRAIN / (width > 0 ? width : 1);
  moh__range_run(pool, n_rows, grain > 1 ? grain : 1, fn, context);
}

static void clear_range(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  memset((real *)context + begin, 0, (size_t)(end - begin) * sizeof(real));
}

void moh__clear_run(moh__pool *pool, real *x, int64_t n) {
  moh__range_run(pool, n, CLEAR, clear_range, x);
}

void moh__tasks_run(moh__pool *pool, int64_t n_tasks, int64_t work,
                    moh__task_fn *fn, void *context) {
  if (work <= SMALL_PRODUCT)
    moh__pool_run_here(pool, n_tasks, fn, context);
  else
    moh__pool_run(pool, n_tasks, fn, context);
}
