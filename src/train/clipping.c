/* Gradients, row by row. */
#include "train/clipping.h"

#include <math.h>

#include "kernel/kernel.h"

enum { TASK = 1 << 14 }; /* elements of a task, about */

/* The floor of a unit's norm: weights that start at 0 must be able to
 * leave it. */
static const double least_norm = 1e-3;

typedef struct clip_job {
  const moh__clipping *clipping;
  const moh__param *w;
  int64_t n_rows, n; /* elements of a row */
  int64_t rows_each; /* of a task */
} clip_job;

static void centralize(real *g, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)g[i];
  real mean = (real)(sum / (double)n);
  for (int64_t i = 0; i < n; i++) g[i] -= mean;
}

static void clip_unit(real *g, const real *w, int64_t n, double lambda) {
  double g_norm = sqrt(moh__kernel()->sum_squares(g, n));
  double w_norm = sqrt(moh__kernel()->sum_squares(w, n));
  double most = lambda * fmax(w_norm, least_norm);
  if (g_norm <= most) return;
  real scale = (real)(most / g_norm);
  for (int64_t i = 0; i < n; i++) g[i] *= scale;
}

static void clip_task(void *context, int64_t task, void *scratch) {
  (void)scratch;
  const clip_job *job = context;
  const moh__param *w = job->w;
  bool exempt = (w->flags & MOH__PARAM_OUTPUT) != 0;
  int64_t row = task * job->rows_each;
  int64_t end = row + job->rows_each;
  for (; row < job->n_rows && row < end; row++) {
    real *g = w->grad + row * job->n;
    if (job->clipping->centralize && w->n_dims > 1) centralize(g, job->n);
    if (job->clipping->agc > 0 && !exempt)
      clip_unit(g, w->data + row * job->n, job->n, job->clipping->agc);
  }
}

static void clip_param(const moh__clipping *clipping, const moh__param *w,
                       moh__pool *pool) {
  int64_t n = w->shape[w->n_dims - 1];
  clip_job job = {.clipping = clipping, .w = w, .n_rows = w->n / n, .n = n};
  job.rows_each = (TASK + n - 1) / n;
  int64_t n_tasks = (job.n_rows + job.rows_each - 1) / job.rows_each;
  moh__pool_run(pool, n_tasks, clip_task, &job);
}

void moh__clip_rows(const moh__clipping *clipping, moh__model *model,
                    moh__pool *pool) {
  for (int i = 0; i < model->n_params; i++)
    if (moh__param_is_trained(&model->params[i]))
      clip_param(clipping, &model->params[i], pool);
}

double moh__clip_scale(double norm, double most) {
  return most > 0 && norm > most ? most / norm : 1;
}
