/*
 * Work over a thread pool. What is cut, and where, depends on the shape
 * alone; each piece writes its own part of the output.
 */
#include "base/checked.h"
#include "kernel/kernel.h"

enum {
  PIECE_ROWS = 96,            /* rows of C in a piece: a multiple of 6 */
  PIECE_COLUMNS = 4 * MOH__PANEL,
  SMALL_PRODUCT = 1 << 15 /* multiply-adds below which one thread does it */
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
  if (job->at || g.a_rows == NULL)
    g.a += job->at ? i : i * g.lda;
  else
    g.a_rows += i;
  if (g.c_rows == NULL)
    g.c += i * g.ldc;
  else
    g.c_rows += i;
  g.n = g.n - j < job->columns ? g.n - j : job->columns;
  g.b += g.ldb == 0 ? j * g.k : j; /* j is a multiple of a panel */
  g.c += j;
  return g;
}

static void run_piece(void *context, int64_t task, void *scratch) {
  const gemm_job *job = context;
  int64_t i = task / job->n_across * job->rows;
  int64_t j = task % job->n_across * job->columns;
  moh__gemm g = piece_of(job, i, j);
  if (job->at)
    moh__kernel()->gemm_at(&g, scratch);
  else
    moh__kernel()->gemm(&g, scratch);
}

static void run(moh__pool *pool, const moh__gemm *g, bool at) {
  if (g->m == 0 || g->n == 0) return;
  gemm_job job = {.g = g,
                  .at = at,
                  .rows = PIECE_ROWS,
                  .columns = PIECE_COLUMNS};
  if (g->m * g->n * g->k <= SMALL_PRODUCT) {
    job.rows = g->m;
    job.columns = moh__round_up(g->n, MOH__PANEL);
  } else if (g->m <= PIECE_ROWS) {
    job.columns = MOH__PANEL;
  }
  job.n_across = (g->n + job.columns - 1) / job.columns;
  int64_t n_down = (g->m + job.rows - 1) / job.rows;
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
