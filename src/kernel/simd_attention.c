/*
 * Tiled causal attention of one head's list of queries, forward and
 * backward (the tiling of FlashAttention, arXiv 2205.14135 and 2307.08691):
 * blocks of queries against pages of keys, a running maximum and sum per
 * query, never a T x T matrix.
 *
 * A query's result does not depend on its neighbours in the list: keys are
 * taken in the same steps for all, a masked score has weight exactly 0, and
 * a step in which a query sees nothing leaves it as it was.
 */
#include "kernel/simd_tile.h"

enum {
  BQ = 48,                              /* queries of a block */
  BK = 4 * MOH__PANEL,                  /* keys of a forward step */
  GEMM_SCRATCH = MOH__SCRATCH_BYTES / 2 /* second half: for gemm */
};

INLINE void *gemm_scratch(void *scratch) {
  return (char *)scratch + GEMM_SCRATCH;
}

INLINE const float *page_at(const moh__keys *keys, int64_t key) {
  return keys->pages + keys->page_ids[key / MOH__PANEL] * keys->page_stride;
}

INLINE int64_t at_most(int64_t n, int64_t limit) {
  return n < limit ? n : limit;
}

/* x = exp(x * scale - shift) over the first n of `width`, 0 behind them;
 * returns the sum. */
static float exp_row(float *x, float scale, float shift, int64_t n,
                     int64_t width) {
  vf sum0 = {0};
  vf sum1 = {0};
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    vf a = vexp(load(x + i) * scale - shift);
    vf b = vexp(load(x + i + VL) * scale - shift);
    store(x + i, a);
    store(x + i + VL, b);
    sum0 += a;
    sum1 += b;
  }
  for (; i < n; i += VL) {
    vf a = vexp(load(x + i) * scale - shift);
    if (n - i < VL) {
      store(x + i, a);
      a = load_part(x + i, n - i, 0);
    }
    store(x + i, a);
    sum0 += a;
  }
  for (; i < width; i += VL) store(x + i, (vf){0});
  return lanes_sum(sum0 + sum1);
}

static float max_row(const float *x, int64_t n) {
  vf best0 = splat(-__builtin_inff());
  vf best1 = best0;
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    best0 = larger(load(x + i), best0);
    best1 = larger(load(x + i + VL), best1);
  }
  for (; i < n; i += VL)
    best0 = larger(load_up_to(x + i, n - i, -__builtin_inff()), best0);
  float t[VL];
  store(t, larger(best0, best1));
  float m = t[0];
  for (int j = 1; j < VL; j++)
    if (t[j] > m) m = t[j];
  return m;
}

/* S[i][j] = q_i . k_j for the n_keys keys from key0 on. */
static void scores(const moh__attention *a, int64_t i0, int64_t rows,
                   int64_t key0, int64_t n_keys, float *s, void *scratch) {
  for (int64_t j = 0; j < n_keys; j += MOH__PANEL) {
    moh__gemm g = {.m = rows,
                   .n = moh__round_up(at_most(n_keys - j, MOH__PANEL), 16),
                   .k = a->d,
                   .a = a->q + i0 * a->d,
                   .lda = a->d,
                   .b = page_at(&a->keys, key0 + j),
                   .ldb = MOH__PANEL,
                   .c = s + j,
                   .ldc = BK};
    SIMD(gemm)(&g, gemm_scratch(scratch));
  }
}

/* o_i += sum_j P_ij v_j */
static void weighted_values(const moh__attention *a, int64_t i0,
                            int64_t rows, int64_t key0, int64_t n_keys,
                            const float *p, bool accumulate,
                            void *scratch) {
  for (int64_t j = 0; j < n_keys; j += MOH__PANEL) {
    moh__gemm g = {.m = rows,
                   .n = a->d,
                   .k = at_most(n_keys - j, MOH__PANEL),
                   .a = p + j,
                   .lda = BK,
                   .b = page_at(&a->keys, key0 + j) + a->d * MOH__PANEL,
                   .ldb = a->d,
                   .c = a->o + i0 * a->d,
                   .ldc = a->d,
                   .accumulate = accumulate || j > 0};
    SIMD(gemm)(&g, gemm_scratch(scratch));
  }
}

/* One query's step: the scores s of keys from key0 on become weights, and
 * its running maximum and sum (and o, so far) move along. */
static void softmax_step(const moh__attention *a, int64_t i, int64_t key0,
                         int64_t n_keys, float *s, float *max, float *sum) {
  int64_t visible = at_most(a->pos[i] + 1 - key0, n_keys);
  int64_t width = moh__round_up(n_keys, VL);
  if (visible <= 0) {
    memset(s, 0, (size_t)width * sizeof(float));
    return;
  }
  float m = max_row(s, visible) * a->scale;
  if (key0 > 0 && *max > m) m = *max;
  float step_sum = exp_row(s, a->scale, m, visible, width);
  if (key0 == 0) {
    *sum = step_sum;
  } else {
    float keep = __builtin_expf(*max - m);
    *sum = *sum * keep + step_sum;
    float *o = a->o + i * a->d;
    for (int64_t c = 0; c < a->d; c++) o[c] *= keep;
  }
  *max = m;
}

static void finish_rows(const moh__attention *a, int64_t i0, int64_t rows,
                        const float *max, const float *sum) {
  for (int64_t r = 0; r < rows; r++) {
    float *o = a->o + (i0 + r) * a->d;
    float inverse = 1.0f / sum[r];
    for (int64_t c = 0; c < a->d; c++) o[c] *= inverse;
    a->lse[i0 + r] = max[r] + __builtin_logf(sum[r]);
  }
}

static void forward_block(const moh__attention *a, int64_t i0, int64_t rows,
                          float *s, void *scratch) {
  float max[BQ];
  float sum[BQ];
  int64_t last = a->pos[i0 + rows - 1];
  for (int64_t key0 = 0; key0 <= last; key0 += BK) {
    int64_t n_keys = at_most(last + 1 - key0, BK);
    scores(a, i0, rows, key0, n_keys, s, scratch);
    for (int64_t r = 0; r < rows; r++)
      softmax_step(a, i0 + r, key0, n_keys, s + r * BK, &max[r], &sum[r]);
    weighted_values(a, i0, rows, key0, n_keys, s, key0 > 0, scratch);
  }
  finish_rows(a, i0, rows, max, sum);
}

void SIMD(attention)(const moh__attention *a, void *scratch) {
  float *s = scratch; /* [BQ][BK] */
  for (int64_t i = 0; i < a->n; i += BQ)
    forward_block(a, i, at_most(a->n - i, BQ), s, scratch);
}

/* ---- backward: a page of keys against all queries that see some of it
 * ---- */

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

static void transpose(float *dst, const float *src, int64_t rows,
                      int64_t cols) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++)
      dst[c * rows + r] = src[r * cols + c];
}

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
  int64_t width = moh__round_up(w->n_keys, 16);
  exp_row(p, a->scale, a->lse[i], visible < 0 ? 0 : visible, width);
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
                         const float *x, int64_t rows, int64_t d,
                         float *dst, int64_t ld) {
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
    row_weights(b, i0 + r, w, w->p + r * MOH__PANEL,
                w->ds + r * MOH__PANEL);
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

void SIMD(attention_grad)(const moh__attention_grad *b, void *scratch) {
  const moh__attention *a = &b->forward;
  if (a->n == 0) return;
  page_work w = {.p = scratch, .scratch = scratch};
  w.ds = w.p + BQ * MOH__PANEL;
  w.k = w.ds + BQ * MOH__PANEL;
  w.vt = w.k + MOH__PANEL * a->d;
  int64_t last = a->pos[a->n - 1];
  int64_t first = 0; /* the first query that sees the page */
  for (w.key0 = 0; w.key0 <= last; w.key0 += MOH__PANEL) {
    w.n_keys = at_most(last + 1 - w.key0, MOH__PANEL);
    const float *page = page_at(&a->keys, w.key0);
    transpose(w.k, page, a->d, MOH__PANEL);
    transpose(w.vt, page + a->d * MOH__PANEL, MOH__PANEL, a->d);
    while (a->pos[first] < w.key0) first++;
    for (int64_t i = first; i < a->n; i += BQ)
      backward_block(b, i, at_most(a->n - i, BQ), &w);
  }
}
