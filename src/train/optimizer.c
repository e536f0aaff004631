/* Adam: moments lie in blocks, those of what is updated one behind the other.
 */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/checked.h"
#include "kernel/kernel.h"

enum { PIECE = 1 << 14 }; /* elements of a task */

/* A stretch of one trained tensor. */
typedef struct piece {
  moh__param *w;
  int64_t begin, end;
} piece;

struct moh__optimizer {
  moh__model *model;
  real *m, *v, *v_max; /* v_max may be NULL */
  int64_t *at; /* [n_params] where in these a parameter's begin; -1: none */
  piece *pieces;
  int64_t n_pieces;
  double *sums; /* [n_pieces] squares */
  int64_t step;
  moh__adamw_options options; /* of the step in work */
  double grad_scale;
};

static int64_t pieces_of(const moh__param *w) {
  bool updated =
      moh__param_is_trained(w) && (w->flags & MOH__PARAM_ADAPTED) == 0;
  return updated ? (w->n + PIECE - 1) / PIECE : 0;
}

static void cut_pieces(moh__optimizer *o) {
  piece *next = o->pieces;
  for (int i = 0; i < o->model->n_params; i++) {
    moh__param *w = &o->model->params[i];
    for (int64_t p = 0; p < pieces_of(w); p++, next++) {
      next->w = w;
      next->begin = p * PIECE;
      next->end = next->begin + PIECE < w->n ? next->begin + PIECE : w->n;
    }
  }
}

/* Gives the elements of a block. */
static int64_t place_moments(moh__optimizer *o) {
  int64_t n = 0;
  for (int i = 0; i < o->model->n_params; i++) {
    const moh__param *w = &o->model->params[i];
    bool updated = pieces_of(w) > 0;
    o->at[i] = updated ? n : -1;
    if (updated) n += moh__round_up(w->n, MOH__ALIGN);
  }
  return n;
}

static real *zeros(size_t n) {
  real *x = moh__block_alloc(n * sizeof(real));
  if (x != NULL) memset(x, 0, n * sizeof(real));
  return x;
}

static moh_status alloc_all(moh__optimizer *o, bool amsgrad,
                            moh_error *err) {
  o->at = calloc((size_t)o->model->n_params + 1, sizeof(int64_t));
  if (o->at == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  size_t n = (size_t)place_moments(o) + 1;
  for (int i = 0; i < o->model->n_params; i++)
    o->n_pieces += pieces_of(&o->model->params[i]);
  o->m = zeros(n);
  o->v = zeros(n);
  if (amsgrad) o->v_max = zeros(n);
  o->pieces = calloc((size_t)o->n_pieces + 1, sizeof(piece));
  o->sums = calloc((size_t)o->n_pieces + 1, sizeof(double));
  if (o->m == NULL || o->v == NULL || (amsgrad && o->v_max == NULL) ||
      o->pieces == NULL || o->sums == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for the optimizer: %zu bytes",
                     (amsgrad ? 3 : 2) * n * sizeof(real));
  cut_pieces(o);
  return MOH_OK;
}

moh_status moh__optimizer_new(moh__optimizer **out, moh__model *model,
                              bool amsgrad, moh_error *err) {
  *out = NULL;
  moh__optimizer *o = calloc(1, sizeof(*o));
  if (o == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  o->model = model;
  moh_status status = alloc_all(o, amsgrad, err);
  if (status != MOH_OK) {
    moh__optimizer_free(o);
    return status;
  }
  *out = o;
  return MOH_OK;
}

void moh__optimizer_free(moh__optimizer *o) {
  if (o == NULL) return;
  free(o->m);
  free(o->v);
  free(o->v_max);
  free(o->at);
  free(o->pieces);
  free(o->sums);
  free(o);
}

static void sum_piece(void *context, int64_t task, void *scratch) {
  (void)scratch;
  moh__optimizer *o = context;
  const piece *p = &o->pieces[task];
  o->sums[task] =
      moh__kernel()->sum_squares(p->w->grad + p->begin, p->end - p->begin);
}

moh_status moh__optimizer_norm(moh__optimizer *o, moh__pool *pool,
                               double *norm, moh_error *err) {
  moh__pool_run(pool, o->n_pieces, sum_piece, o);
  double total = 0;
  for (int64_t i = 0; i < o->n_pieces; i++) {
    if (!isfinite(o->sums[i]))
      return moh__fail(err, MOH_ERR_DIVERGED,
                       "the gradient of %s is not finite; no weight was "
                       "changed. A lower learning rate or a longer warm-up "
                       "usually helps",
                       o->pieces[i].w->name);
    total += o->sums[i];
  }
  *norm = sqrt(total);
  return MOH_OK;
}

static double largest_of(const piece *p) {
  double largest = 0;
  for (int64_t i = p->begin; i < p->end; i++)
    largest = fmax(largest, fabs((double)p->w->grad[i]));
  return largest;
}

/* Only pieces whose squares add up to those of `most` can have one: as a rule
 * none is read. */
moh_status moh__optimizer_check(const moh__optimizer *o, double most,
                                moh_error *err) {
  const moh__param *worst = NULL;
  double largest = most;
  for (int64_t i = 0; i < o->n_pieces; i++) {
    if (o->sums[i] < most * most) continue;
    double here = largest_of(&o->pieces[i]);
    if (here > largest) worst = o->pieces[i].w;
    largest = fmax(largest, here);
  }
  if (worst == NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_DIVERGED,
                   "the gradient of %s has an element of %g, and more than "
                   "%g is taken for an anomaly; no weight was changed. A "
                   "lower learning rate or a longer warm-up usually helps",
                   worst->name, largest, most);
}

static real *part_of(const moh__optimizer *o, real *block,
                     const moh__param *w) {
  int64_t at = o->at[w - o->model->params];
  return block == NULL || at < 0 ? NULL : block + at;
}

real *moh__optimizer_m(const moh__optimizer *o, const moh__param *w) {
  return part_of(o, o->m, w);
}

real *moh__optimizer_v(const moh__optimizer *o, const moh__param *w) {
  return part_of(o, o->v, w);
}

real *moh__optimizer_v_max(const moh__optimizer *o, const moh__param *w) {
  return part_of(o, o->v_max, w);
}

static void update_piece(void *context, int64_t task, void *scratch) {
  (void)scratch;
  const moh__optimizer *o = context;
  const moh__adamw_options *x = &o->options;
  const piece *p = &o->pieces[task];
  bool router = (p->w->flags & MOH__PARAM_ROUTER) != 0;
  bool decays = (p->w->flags & MOH__PARAM_DECAY) != 0;
  double decay = decays ? x->weight_decay : 0;
  real *v_max = moh__optimizer_v_max(o, p->w);
  moh__adamw a = {.lr = (real)(router ? x->lr * x->router_lr : x->lr),
                  .beta1 = (real)x->beta1,
                  .beta2 = (real)x->beta2,
                  .eps = (real)x->eps,
                  .decay = (real)(x->l2 ? 0 : decay),
                  .l2 = (real)(x->l2 ? decay : 0),
                  .correct1 = (real)(1 - pow(x->beta1, (double)o->step)),
                  .correct2 = (real)(1 - pow(x->beta2, (double)o->step)),
                  .grad_scale = (real)o->grad_scale};
  moh__kernel()->adamw(&a, p->w->data + p->begin, p->w->grad + p->begin,
                       moh__optimizer_m(o, p->w) + p->begin,
                       moh__optimizer_v(o, p->w) + p->begin,
                       v_max == NULL ? NULL : v_max + p->begin,
                       p->end - p->begin);
}

moh_status moh__optimizer_step(moh__optimizer *o, moh__pool *pool,
                               const moh__adamw_options *options,
                               double grad_scale, moh_error *err) {
  o->step++;
  o->options = *options;
  o->grad_scale = grad_scale;
  moh__pool_run(pool, o->n_pieces, update_piece, o);
  return moh__model_repack(o->model, pool, err);
}

int64_t moh__optimizer_steps(const moh__optimizer *o) { return o->step; }

void moh__optimizer_set_steps(moh__optimizer *o, int64_t steps) {
  o->step = steps;
}
