/*
 * Backward of tiled attention: a page of keys against all queries of all its
 * heads that see some of it. Weights are computed anew from the kept
 * log-sum-exp.
 */
#include "kernel/simd_attention.h"
#include "kernel/turn.h"

enum {
  BQ = 96,     /* queries of a block */
  BQ_EDGE = 24 /* the same on the edge of what is visible */
};

/* Scratch of backward, for one page. */
typedef struct page_work {
  float *p;  /* [BQ][64] weights P */
  float *ds; /* [BQ][64] dP, then dS */
  float *k;  /* [64][d] keys by rows */
  float *vt; /* [d][64] values transposed */
  int64_t key0;
  int64_t n_keys;
  void *scratch;
} page_work;

/* (rows x d) times a [d][64] panel -> out [rows][64] */
static void times_panel(const float *x, int64_t rows, int64_t d,
                        const float *panel, int64_t n_keys, float *out,
                        void *scratch) {
  moh__gemm g = {.m = rows,
                 .n = moh__round_up(n_keys, 16),
                 .k = d,
                 .a = x,
                 .lda = d,
                 .b = panel,
                 .ldb = MOH__PANEL,
                 .c = out,
                 .ldc = MOH__PANEL};
  SIMD(gemm)(&g, gemm_scratch(scratch));
}

/* P from the kept log-sum-exp; dS = scale P (dP - D), 0 where masked. */
static void row_weights(const moh__attention_grad *b, int64_t i,
                        const page_work *w, float *p, float *ds) {
  const moh__attention *a = &b->forward;
  int64_t visible = at_most(a->pos[i] + 1 - w->key0, w->n_keys);
  int64_t hidden = moh__first_key(a, i) - w->key0;
  int64_t width = moh__round_up(w->n_keys, 16);
  exp_row(p, a->scale, a->lse[i], visible < 0 ? 0 : visible, width);
  for (int64_t j = 0; j < at_most(hidden, visible); j++) p[j] = 0;
  vf total = {0};
  const float *d_o = b->d_o + i * a->d;
  const float *o = a->o + i * a->d;
  for (int64_t c = 0; c < a->d; c += VL)
    total +=
        load_up_to(d_o + c, a->d - c, 0) * load_up_to(o + c, a->d - c, 0);
  float row_d = lanes_sum(total);
  int64_t j = 0;
  for (; j < visible; j++) ds[j] = a->scale * p[j] * (ds[j] - row_d);
  for (; j < width; j++) ds[j] = 0;
}

/* dst (keys x d) += w^T x over the block's queries */
static void add_key_grad(const page_work *w, const float *weights,
                         const float *x, int64_t rows, int64_t d, float *dst,
                         int64_t ld) {
  moh__gemm g = {.m = w->n_keys,
                 .n = d,
                 .k = rows,
                 .a = weights,
                 .lda = MOH__PANEL,
                 .b = x,
                 .ldb = d,
                 .c = dst + w->key0 * ld,
                 .ldc = ld,
                 .accumulate = true};
  SIMD(gemm_at)(&g, gemm_scratch(w->scratch));
}

static void backward_block(const moh__attention_grad *b, int64_t i0,
                           int64_t rows, const page_work *w) {
  const moh__attention *a = &b->forward;
  const float *q = a->q + i0 * a->d;
  const float *d_o = b->d_o + i0 * a->d;
  times_panel(q, rows, a->d, page_at(&a->keys, w->key0), w->n_keys, w->p,
              w->scratch);
  times_panel(d_o, rows, a->d, w->vt, w->n_keys, w->ds, w->scratch);
  for (int64_t r = 0; r < rows; r++)
    row_weights(b, i0 + r, w, w->p + r * MOH__PANEL, w->ds + r * MOH__PANEL);
  add_key_grad(w, w->p, d_o, rows, a->d, b->dv, b->ldk);
  add_key_grad(w, w->ds, q, rows, a->d, b->dk, b->ldk);
  moh__gemm dq = {.m = rows,
                  .n = a->d,
                  .k = w->n_keys,
                  .a = w->ds,
                  .lda = MOH__PANEL,
                  .b = w->k,
                  .ldb = a->d,
                  .c = b->dq + i0 * a->d,
                  .ldc = a->d,
                  .accumulate = true};
  SIMD(gemm)(&dq, gemm_scratch(w->scratch));
}

/* The first query that sees key0. */
static int64_t first_query(const moh__attention *a, int64_t key0) {
  int64_t low = 0;
  int64_t high = a->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (a->pos[middle] < key0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Behind the last query that sees a key before `key`. */
static int64_t end_of_queries(const moh__attention *a, int64_t key) {
  int64_t low = 0;
  int64_t high = a->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (moh__first_key(a, middle) < key)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Queries that do not see the whole page come in smaller blocks, which are
 * spared the keys behind it that none of them sees. The last of all is the
 * last whose window holds one of the keys. */
static void backward_head(const moh__attention_grad *b, const page_work *w) {
  const moh__attention *a = &b->forward;
  int64_t rows = 0;
  int64_t end = end_of_queries(a, w->key0 + w->n_keys);
  for (int64_t i = first_query(a, w->key0); i < end; i += rows) {
    bool whole = a->pos[i] + 1 >= w->key0 + w->n_keys;
    page_work part = *w;
    rows = at_most(end - i, whole ? BQ : BQ_EDGE);
    part.n_keys = at_most(w->n_keys, a->pos[i + rows - 1] + 1 - w->key0);
    backward_block(b, i, rows, &part);
  }
}

/* The last key that a query of one of the heads sees; -1: no queries. */
static int64_t last_key(const moh__attention_grad *b, int64_t n) {
  int64_t last = -1;
  for (int64_t h = 0; h < n; h++) {
    const moh__attention *a = &b[h].forward;
    if (a->n > 0 && a->pos[a->n - 1] > last) last = a->pos[a->n - 1];
  }
  return last;
}

void SIMD(attention_grad)(const moh__attention_grad *b, int64_t n,
                          void *scratch) {
  const moh__attention *a = &b->forward;
  page_work w = {.p = scratch, .scratch = scratch};
  w.ds = w.p + BQ * MOH__PANEL;
  w.k = w.ds + BQ * MOH__PANEL;
  w.vt = w.k + MOH__PANEL * a->d;
  int64_t last = last_key(b, n);
  for (w.key0 = 0; w.key0 <= last; w.key0 += MOH__PANEL) {
    const float *page = page_at(&a->keys, w.key0);
    moh__turn_floats(w.k, a->d, page, MOH__PANEL, a->d, MOH__PANEL);
    moh__turn_floats(w.vt, MOH__PANEL, page + a->d * MOH__PANEL, a->d,
                     MOH__PANEL, a->d);
    w.n_keys = at_most(last + 1 - w.key0, MOH__PANEL);
    for (int64_t h = 0; h < n; h++) backward_head(&b[h], &w);
  }
}
