/* Least squares by the normal equations, layer by layer. */
#include "infer/router_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

enum { KEPT_OUT = 8 }; /* one window of so many is not fitted */

/* Sums of a layer: X^T X (its lower half), then Z^T X, rows of d each. */
typedef struct layer_sums {
  double *rows; /* [d + n_routed][d] */
  real *router; /* [n_routed][d] */
  int64_t n_chosen, n_agreed;
} layer_sums;

typedef struct fitter {
  moh__model *model;
  moh__pool *pool;
  moh__router_shape shape;
  int64_t d;
  layer_sums *layers;  /* [n_layers] */
  unsigned char *used; /* [context][candidates] by the router */
  real *logits;        /* [context][n_routed] */
  bool checking;
} fitter;

/* ---- sums ---- */

typedef struct sum_job {
  const fitter *f;
  const moh__seen_scores *seen;
  double *rows;
} sum_job;

/* Row i < d: sum over tokens of x_i x_j, j <= i; behind them z_c x_j. */
static void sum_rows(void *context, int64_t begin, int64_t end,
                     void *scratch) {
  (void)scratch;
  const sum_job *job = context;
  const moh__tensor *x = job->seen->x;
  int64_t d = job->f->d, n_routed = job->f->shape.n_routed;
  for (int64_t i = begin; i < end; i++) {
    double *row = job->rows + i * d;
    int64_t n = i < d ? i + 1 : d;
    for (int64_t t = 0; t < x->rows; t++) {
      const real *xt = x->v + t * d;
      double by = i < d ? (double)xt[i]
                        : (double)job->seen->scores[t * n_routed + i - d];
      for (int64_t j = 0; j < n; j++) row[j] += by * (double)xt[j];
    }
  }
}

/* ---- agreement ---- */

static void count_agreed(fitter *f, layer_sums *layer,
                         const moh__seen_scores *seen) {
  int32_t n = (int32_t)seen->x->rows, n_shared = f->shape.n_shared;
  int32_t candidates = n_shared + f->shape.n_routed;
  for (int32_t t = 0; t < n; t++)
    for (int32_t c = 0; c < f->shape.n_routed; c++) {
      real sum = moh__kernel()->dot(seen->x->v + t * f->d,
                                    layer->router + c * f->d, f->d);
      f->logits[t * f->shape.n_routed + c] = sum;
    }
  moh__router_select(&f->shape, n, f->logits, f->used);
  for (int32_t t = 0; t < n; t++)
    for (int32_t c = n_shared; c < candidates; c++) {
      int64_t at = (int64_t)t * candidates + c;
      layer->n_chosen += seen->used[at] != 0;
      layer->n_agreed += seen->used[at] != 0 && f->used[at] != 0;
    }
}

static void see(void *context, const moh__seen_scores *seen) {
  fitter *f = context;
  layer_sums *layer = &f->layers[seen->layer];
  if (f->checking) {
    count_agreed(f, layer, seen);
    return;
  }
  sum_job job = {f, seen, layer->rows};
  moh__range_run(f->pool, f->d + f->shape.n_routed, 16, sum_rows, &job);
}

/* ---- solving ---- */

/* A = L L^T in place of the lower half. */
static bool factorise(double *a, int64_t n) {
  for (int64_t j = 0; j < n; j++) {
    double *row = a + j * n;
    for (int64_t k = 0; k <= j; k++) {
      double sum = row[k];
      for (int64_t i = 0; i < k; i++) sum -= row[i] * a[k * n + i];
      if (k < j)
        row[k] = sum / a[k * n + k];
      else if (!(sum > 0))
        return false;
      else
        row[k] = sqrt(sum);
    }
  }
  return true;
}

/* b = A^-1 b. */
static void solve(const double *l, int64_t n, double *b) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < i; k++) b[i] -= l[i * n + k] * b[k];
    b[i] /= l[i * n + i];
  }
  for (int64_t i = n - 1; i >= 0; i--) {
    b[i] /= l[i * n + i];
    for (int64_t k = 0; k < i; k++) b[k] -= l[i * n + k] * b[i];
  }
}

typedef struct solve_job {
  fitter *f;
  double ridge;
  bool *failed; /* [n_layers] */
} solve_job;

static void solve_layer(void *context, int64_t task, void *scratch) {
  (void)scratch;
  const solve_job *job = context;
  const fitter *f = job->f;
  int64_t d = f->d;
  layer_sums *layer = &f->layers[task];
  double trace = 0;
  for (int64_t i = 0; i < d; i++) trace += layer->rows[i * d + i];
  for (int64_t i = 0; i < d; i++)
    layer->rows[i * d + i] += job->ridge * trace / (double)d;
  job->failed[task] = !factorise(layer->rows, d);
  if (job->failed[task]) return;
  for (int64_t c = 0; c < f->shape.n_routed; c++) {
    double *row = layer->rows + (d + c) * d;
    solve(layer->rows, d, row);
    for (int64_t j = 0; j < d; j++) layer->router[c * d + j] = (real)row[j];
  }
}

static moh_status solve_all(fitter *f, double ridge, moh_error *err) {
  int64_t n = f->model->config.n_layers;
  solve_job job = {f, ridge, calloc((size_t)n, sizeof(bool))};
  moh_status status = MOH_OK;
  if (job.failed == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a fit");
  moh__pool_run(f->pool, n, solve_layer, &job);
  for (int64_t l = 0; l < n && status == MOH_OK; l++)
    if (job.failed[l])
      status = moh__fail(err, MOH_ERR_DIVERGED,
                         "the inputs of layer %lld give no router: they are "
                         "not finite, or all alike",
                         (long long)l);
  free(job.failed);
  return status;
}

/* ---- from start to end ---- */

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the fit of routers");
}

static moh_status open_fitter(fitter *f, int32_t context, moh_error *err) {
  const moh__config *c = &f->model->config;
  size_t n_routed = (size_t)f->shape.n_routed, d = (size_t)f->d;
  size_t candidates = n_routed + (size_t)f->shape.n_shared;
  f->layers = calloc((size_t)c->n_layers, sizeof(*f->layers));
  f->used = calloc((size_t)context, candidates);
  f->logits = calloc((size_t)context * n_routed, sizeof(real));
  if (f->layers == NULL || f->used == NULL || f->logits == NULL)
    return fail_memory(err);
  for (int64_t l = 0; l < c->n_layers; l++) {
    moh__param *w =
        moh__model_layer_param(f->model, l, "self_attn.wg.weight");
    f->layers[l].rows = calloc((d + n_routed) * d, sizeof(double));
    if (f->layers[l].rows == NULL) return fail_memory(err);
    f->layers[l].router = w->data;
  }
  return MOH_OK;
}

static void close_fitter(fitter *f) {
  for (int64_t l = 0; f->layers != NULL && l < f->model->config.n_layers; l++)
    free(f->layers[l].rows);
  free(f->layers);
  free(f->used);
  free(f->logits);
}

static bool is_kept_out(const moh__stretch *text, int64_t w) {
  int64_t n = moh__stretch_windows(text);
  return n < KEPT_OUT ? w == n - 1 : w % KEPT_OUT == KEPT_OUT - 1;
}

/* Reads the windows that are fitted, or those that are not. */
static moh_status read_text(fitter *f, moh__router_fit *fit,
                            const moh__stretch *text, moh__reading_stop *stop,
                            void *context, moh_error *err) {
  moh__score_watch watch = {see, f};
  moh__reading reading;
  moh_status status = MOH_OK;
  MOH_TRY(
      moh__reading_init(&reading, f->model, f->pool, text->context, 0, err));
  reading.tape.watch = &watch;
  for (int64_t w = 0; w < moh__stretch_windows(text); w++) {
    if (is_kept_out(text, w) != f->checking) continue;
    if (stop != NULL && stop(context)) {
      status = moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
      break;
    }
    int64_t n = moh__reading_window(&reading, text, w)->rows;
    if (f->checking)
      fit->n_checked += n;
    else
      fit->n_fitted += n;
  }
  moh__reading_free(&reading);
  return status;
}

static moh_status count_all(const fitter *f, moh__router_fit *fit,
                            moh_error *err) {
  int64_t n = f->model->config.n_layers;
  fit->agreement = calloc((size_t)n, sizeof(double));
  if (fit->agreement == NULL) return fail_memory(err);
  for (int64_t l = 0; l < n; l++)
    fit->agreement[l] =
        (double)f->layers[l].n_agreed / (double)f->layers[l].n_chosen;
  fit->by_chance = (double)f->shape.k / (double)f->shape.n_routed;
  return MOH_OK;
}

static moh_status run_all(fitter *f, moh__router_fit *fit,
                          const moh__stretch *text, double ridge,
                          moh__reading_stop *stop, void *context,
                          moh_error *err) {
  MOH_TRY(open_fitter(f, text->context, err));
  MOH_TRY(read_text(f, fit, text, stop, context, err));
  MOH_TRY(solve_all(f, ridge, err));
  f->checking = true;
  MOH_TRY(read_text(f, fit, text, stop, context, err));
  return count_all(f, fit, err);
}

moh_status moh__router_fit_run(moh__router_fit *fit, moh__model *model,
                               moh__pool *pool, const moh__stretch *text,
                               double ridge, moh__reading_stop *stop,
                               void *context, moh_error *err) {
  *fit = (moh__router_fit){.agreement = NULL};
  if (moh__stretch_windows(text) < 2)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%lld tokens to fit routers on are too few: more than a "
                     "window of %d are needed",
                     (long long)text->n, text->context);
  fitter f = {.model = model,
              .pool = pool,
              .shape = moh__config_router_shape(&model->config),
              .d = model->config.d_model};
  moh__head_strategy heads = model->config.heads;
  model->config.heads = MOH__HEADS_NORM; /* while it reads */
  moh_status status = run_all(&f, fit, text, ridge, stop, context, err);
  model->config.heads = heads;
  close_fitter(&f);
  if (status != MOH_OK) moh__router_fit_free(fit);
  return status == MOH_OK ? moh__model_pack(model, pool, err) : status;
}

void moh__router_fit_free(moh__router_fit *fit) {
  free(fit->agreement);
  *fit = (moh__router_fit){.agreement = NULL};
}
