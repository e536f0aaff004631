/* Adapters of matrices: their sums, and their gradients. */
#include "train/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernel/kernel.h"

enum { ITEM_MAX = 96, COLUMNS = 256, STREAM_LORA = 0x10ca };

typedef struct adapter {
  moh__param *w, *a, *b;
  real *kept; /* W, while `data` has the sum */
} adapter;

struct moh__lora {
  moh__model *model, *params;
  adapter *adapters;
  int n;
  int32_t rank;
  real scale;
  real *sum; /* of the largest matrix */
};

/* ---- which matrices ---- */

static bool can_adapt(const moh__param *w) {
  const unsigned other = MOH__PARAM_BUFFER | MOH__PARAM_ROUTER |
                         MOH__PARAM_EMBEDDING | MOH__PARAM_OUTPUT;
  return w->n_dims == 2 && w->grouping != MOH__PACK_NONE &&
         (w->flags & other) == 0;
}

/* ".item." within a name. */
static bool has_part(const char *name, const char *item, size_t n) {
  for (const char *at = strchr(name, '.'); at != NULL;
       at = strchr(at + 1, '.'))
    if (strncmp(at + 1, item, n) == 0 && at[n + 1] == '.') return true;
  return false;
}

/* What is frozen already has no adapters. */
static moh_status mark_item(moh__model *model, const char *item, size_t n,
                            moh_error *err) {
  int found = 0, frozen = 0;
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (!can_adapt(w) || !has_part(w->name, item, n)) continue;
    found++;
    if ((w->flags & MOH__PARAM_FROZEN) != 0)
      frozen++;
    else
      w->flags |= MOH__PARAM_ADAPTED;
  }
  if (found > frozen) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   found > 0 ? "every matrix called '%.*s' is frozen: none "
                               "is left to adapt"
                             : "no matrix to adapt is called '%.*s': write "
                               "parts of names, such as q_proj,v_proj",
                   (int)(n < ITEM_MAX ? n : ITEM_MAX), item);
}

moh_status moh__lora_mark(moh__model *model, const char *on, moh_error *err) {
  for (const char *at = on;; at++) {
    size_t n = strcspn(at, ",");
    MOH_TRY(mark_item(model, at, n, err));
    at += n;
    if (*at == '\0') break;
  }
  for (int i = 0; i < model->n_params; i++) {
    unsigned *flags = &model->params[i].flags;
    if ((*flags & (MOH__PARAM_ADAPTED | MOH__PARAM_ROUTER)) == 0)
      *flags |= MOH__PARAM_FROZEN;
  }
  return MOH_OK;
}

/* ---- making ---- */

static moh_status declare(moh__lora *l, const moh__param *w, moh_error *err) {
  char name[MOH__NAME_MAX];
  const int64_t a[2] = {l->rank, w->shape[1]}, b[2] = {w->shape[0], l->rank};
  if (l->rank > w->shape[0] || l->rank > w->shape[1])
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "adapters of rank %d are larger than %s, of %lld by "
                     "%lld: train that itself",
                     l->rank, w->name, (long long)w->shape[0],
                     (long long)w->shape[1]);
  snprintf(name, sizeof name, "%.80s.lora_a", w->name);
  MOH_TRY(
      moh__model_declare(l->params, name, 2, a, 0, MOH__PACK_NONE, 1, err));
  snprintf(name, sizeof name, "%.80s.lora_b", w->name);
  return moh__model_declare(l->params, name, 2, b, 0, MOH__PACK_NONE, 1, err);
}

static void start(moh__lora *l, uint64_t seed) {
  for (int i = 0; i < l->n; i++) {
    moh__param *a = l->adapters[i].a;
    moh__rng rng = moh__rng_make(seed, STREAM_LORA + ((uint64_t)i << 16));
    double std = 1 / sqrt((double)a->shape[1]);
    for (int64_t j = 0; j < a->n; j++)
      a->data[j] = (real)(std * moh__rng_normal(&rng));
  }
}

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for adapters");
}

static moh_status open_lora(moh__lora *l, const char *on, uint64_t seed,
                            moh_error *err) {
  int64_t largest = 0;
  MOH_TRY(moh__lora_mark(l->model, on, err));
  MOH_TRY(moh__model_new(&l->params, &l->model->config, err));
  l->adapters = calloc((size_t)l->model->n_params, sizeof(*l->adapters));
  if (l->adapters == NULL) return fail_memory(err);
  for (int i = 0; i < l->model->n_params; i++) {
    moh__param *w = &l->model->params[i];
    if ((w->flags & MOH__PARAM_ADAPTED) == 0) continue;
    MOH_TRY(declare(l, w, err));
    l->adapters[l->n++].w = w;
    if (w->n > largest) largest = w->n;
  }
  MOH_TRY(moh__model_alloc_data(l->params, err));
  MOH_TRY(moh__model_alloc_grads(l->params, err));
  l->sum = calloc((size_t)largest + 1, sizeof(real));
  if (l->sum == NULL) return fail_memory(err);
  for (int i = 0; i < l->n; i++) {
    l->adapters[i].a = &l->params->params[2 * i];
    l->adapters[i].b = &l->params->params[2 * i + 1];
  }
  start(l, seed);
  return MOH_OK;
}

moh_status moh__lora_new(moh__lora **out, moh__model *model, int32_t rank,
                         double alpha, const char *on, uint64_t seed,
                         moh_error *err) {
  *out = NULL;
  moh__lora *l = calloc(1, sizeof(*l));
  if (l == NULL) return fail_memory(err);
  l->model = model;
  l->rank = rank;
  l->scale = (real)(alpha / rank);
  moh_status status = open_lora(l, on, seed, err);
  if (status != MOH_OK) {
    moh__lora_free(l);
    return status;
  }
  *out = l;
  return MOH_OK;
}

void moh__lora_free(moh__lora *l) {
  if (l == NULL) return;
  for (int i = 0; i < l->model->n_params; i++)
    l->model->params[i].flags &= ~(unsigned)MOH__PARAM_ADAPTED;
  for (int i = 0; i < l->n; i++) free(l->adapters[i].kept);
  moh__model_free(l->params);
  free(l->adapters);
  free(l->sum);
  free(l);
}

moh__model *moh__lora_params(const moh__lora *l) { return l->params; }

/* ---- sums ---- */

typedef struct job {
  const moh__lora *l;
  const adapter *x;
  real *to;
} job;

/* Rows o of W + s B A, ranks in ascending order. */
static void sum_rows(void *context, int64_t begin, int64_t end,
                     void *scratch) {
  (void)scratch;
  const job *j = context;
  int64_t in = j->x->w->shape[1], rank = j->l->rank;
  for (int64_t o = begin; o < end; o++) {
    memmove(j->to + o * in, j->x->w->data + o * in,
            (size_t)in * sizeof(real));
    for (int64_t r = 0; r < rank; r++)
      moh__kernel()->axpy(j->to + o * in,
                          j->l->scale * j->x->b->data[o * rank + r],
                          j->x->a->data + r * in, in);
  }
}

static void make_sum(const moh__lora *l, const adapter *x, real *to,
                     moh__pool *pool) {
  job j = {l, x, to};
  moh__rows_run(pool, x->w->shape[0], x->w->shape[1], sum_rows, &j);
}

void moh__lora_pack(moh__lora *l, moh__pool *pool) {
  for (int i = 0; i < l->n; i++) {
    moh__param *w = l->adapters[i].w;
    real *data = w->data;
    make_sum(l, &l->adapters[i], l->sum, pool);
    w->data = l->sum;
    moh__param_pack(w, pool);
    w->data = data;
  }
}

static void drop_kept(moh__lora *l) {
  for (int i = 0; i < l->n; i++) {
    free(l->adapters[i].kept);
    l->adapters[i].kept = NULL;
  }
}

moh_status moh__lora_merge(moh__lora *l, moh__pool *pool, moh_error *err) {
  for (int i = 0; i < l->n; i++) {
    adapter *x = &l->adapters[i];
    size_t bytes = (size_t)x->w->n * sizeof(real);
    x->kept = malloc(bytes);
    if (x->kept == NULL) {
      drop_kept(l);
      return fail_memory(err);
    }
    memcpy(x->kept, x->w->data, bytes);
  }
  moh__lora_settle(l, pool);
  return MOH_OK;
}

void moh__lora_unmerge(moh__lora *l) {
  for (int i = 0; i < l->n; i++)
    memcpy(l->adapters[i].w->data, l->adapters[i].kept,
           (size_t)l->adapters[i].w->n * sizeof(real));
  drop_kept(l);
}

void moh__lora_settle(moh__lora *l, moh__pool *pool) {
  for (int i = 0; i < l->n; i++)
    make_sum(l, &l->adapters[i], l->adapters[i].w->data, pool);
}

/* ---- gradients ---- */

/* Rows o of dB: s dW_o . A_r. */
static void b_rows(void *context, int64_t begin, int64_t end, void *scratch) {
  (void)scratch;
  const job *j = context;
  int64_t in = j->x->w->shape[1], rank = j->l->rank;
  for (int64_t o = begin; o < end; o++)
    for (int64_t r = 0; r < rank; r++)
      j->x->b->grad[o * rank + r] =
          j->l->scale * moh__kernel()->dot(j->x->w->grad + o * in,
                                           j->x->a->data + r * in, in);
}

/* Blocks of columns of dA: the sum over o, in order, of s B_or dW_o. */
static void a_columns(void *context, int64_t begin, int64_t end,
                      void *scratch) {
  (void)scratch;
  const job *j = context;
  int64_t in = j->x->w->shape[1], rank = j->l->rank;
  int64_t first = begin * COLUMNS;
  int64_t n = (end * COLUMNS < in ? end * COLUMNS : in) - first;
  for (int64_t r = 0; r < rank; r++)
    memset(j->x->a->grad + r * in + first, 0, (size_t)n * sizeof(real));
  for (int64_t o = 0; o < j->x->w->shape[0]; o++)
    for (int64_t r = 0; r < rank; r++)
      moh__kernel()->axpy(j->x->a->grad + r * in + first,
                          j->l->scale * j->x->b->data[o * rank + r],
                          j->x->w->grad + o * in + first, n);
}

void moh__lora_gradients(moh__lora *l, moh__pool *pool) {
  for (int i = 0; i < l->n; i++) {
    job j = {l, &l->adapters[i], NULL};
    const moh__param *w = l->adapters[i].w;
    moh__rows_run(pool, w->shape[0], w->shape[1], b_rows, &j);
    moh__range_run(pool, (w->shape[1] + COLUMNS - 1) / COLUMNS, 1, a_columns,
                   &j);
    l->adapters[i].a->fresh = l->adapters[i].b->fresh = false;
  }
}
