/*
 * Backward of tiled attention: a page of keys against all queries of all its
 * heads that see some of it. Weights are computed anew from the kept
 * log-sum-exp.
 *
 * Contextual positions need sums over later keys, and their gradients sums
 * over earlier ones. A stretch of queries goes over its pages twice: from the
 * newest to the oldest, until all positions are clamped, to note for each page
 * the gates behind it, then from the oldest on as without positions. That
 * takes memory for a stretch times its pages, never for all queries times all
 * keys.
 */
#include "kernel/simd_attention.h"
#include "kernel/turn.h"

enum {
  BQ = 96,     /* queries of a block */
  BQ_EDGE = 24, /* the same on the edge of what is visible */
  STRETCH = 4 * BQ /* at most; turning a page is paid once for it */
};

/* Positions of a stretch of queries, in scratch. */
typedef struct positions {
  int64_t stride; /* of z and dz */
  float *z;
  float *dz;
  float *d_gate; /* [queries] sum of dp over the keys before the page */
  float *gates;  /* [queries][n_pages] sum of the gates behind each page */
  int64_t page0, n_pages;
} positions;

/* Scratch of backward, for one page. */
typedef struct page_work {
  float *p;  /* [BQ][64] weights P */
  float *ds; /* [BQ][64] dP, then dS */
  float *k;  /* [64][d] keys by rows */
  float *vt; /* [d][64] values transposed */
  int64_t key0;
  int64_t n_keys;
  const positions *positions; /* NULL: none */
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

/* D_i */
INLINE float row_d_of(const moh__attention_grad *b, int64_t i) {
  const moh__attention *a = &b->forward;
  vf total = {0};
  const float *d_o = b->d_o + i * a->d;
  const float *o = a->o + i * a->d;
  for (int64_t c = 0; c < a->d; c += VL)
    total +=
        load_up_to(d_o + c, a->d - c, 0) * load_up_to(o + c, a->d - c, 0);
  return lanes_sum(total);
}

/* The keys of a page that query i sees. */
INLINE cope_row seen(const moh__attention *a, const page_work *w, int64_t i) {
  const positions *s = w->positions;
  return cope_row_of(a, s->z + i * s->stride, moh__first_key(a, i) - w->key0,
                     at_most(a->pos[i] + 1 - w->key0, w->n_keys));
}

static void row_positions(const moh__attention_grad *b, int64_t i,
                          const page_work *w, float *p, float *ds) {
  const moh__attention *a = &b->forward;
  const positions *s = w->positions;
  int64_t page = w->key0 / MOH__PANEL - s->page0;
  cope_row_grad grad = {.row = seen(a, w, i),
                        .width = moh__round_up(w->n_keys, 16),
                        .gates = s->gates[i * s->n_pages + page],
                        .lse = a->lse[i],
                        .row_d = row_d_of(b, i),
                        .d_gate = s->d_gate + i,
                        .dz = s->dz + i * s->stride};
  if (grad.row.begin < grad.row.end) {
    hide(p, grad.row.begin);
    SIMD(cope_row_backward)(&grad, p, ds);
    return;
  }
  memset(p, 0, (size_t)grad.width * sizeof(float));
  memset(ds, 0, (size_t)grad.width * sizeof(float));
}

/* P from the kept log-sum-exp; dS = scale P (dP - D), 0 where masked. */
static void row_weights(const moh__attention_grad *b, int64_t i,
                        const page_work *w, float *p, float *ds) {
  const moh__attention *a = &b->forward;
  int64_t visible = at_most(a->pos[i] + 1 - w->key0, w->n_keys);
  int64_t hidden = moh__first_key(a, i) - w->key0;
  int64_t width = moh__round_up(w->n_keys, 16);
  hide(p, at_most(hidden, visible));
  exp_row(p, a->scale, a->lse[i], visible < 0 ? 0 : visible, width);
  float row_d = row_d_of(b, i);
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
  for (int64_t r = 0; r < rows; r++) {
    float *p = w->p + r * MOH__PANEL;
    float *ds = w->ds + r * MOH__PANEL;
    if (w->positions != NULL)
      row_positions(b, i0 + r, w, p, ds);
    else
      row_weights(b, i0 + r, w, p, ds);
  }
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

static void read_page(page_work *w, const moh__attention *a, int64_t key0,
                      int64_t last) {
  const float *page = page_at(&a->keys, key0);
  moh__turn_floats(w->k, a->d, page, MOH__PANEL, a->d, MOH__PANEL);
  moh__turn_floats(w->vt, MOH__PANEL, page + a->d * MOH__PANEL, a->d,
                   MOH__PANEL, a->d);
  w->key0 = key0;
  w->n_keys = at_most(last + 1 - key0, MOH__PANEL);
}

/* ---- with contextual positions ---- */

/* Queries [i0, i0 + n) of a head. */
static moh__attention_grad stretch_of(const moh__attention_grad *b,
                                      int64_t i0, int64_t n) {
  moh__attention_grad part = *b;
  moh__attention *a = &part.forward;
  a->n = n;
  a->q += i0 * a->d;
  a->o += i0 * a->d;
  a->pos += i0;
  if (a->first != NULL) a->first += i0;
  a->lse += i0;
  part.d_o += i0 * a->d;
  part.dq += i0 * a->d;
  return part;
}

/* One block of queries from its newest page to the oldest: the sum of the
 * gates behind each. Where all are clamped, pages before have the same. */
static void block_gates(const moh__attention *a, int64_t i0, int64_t rows,
                        page_work *w) {
  const positions *s = w->positions;
  bool open = true;
  float sums[BQ_EDGE] = {0};
  for (int64_t page = s->n_pages - 1; page >= 0; page--) {
    for (int64_t r = 0; r < rows; r++)
      s->gates[(i0 + r) * s->n_pages + page] = sums[r];
    w->key0 = (s->page0 + page) * MOH__PANEL;
    w->n_keys = at_most(a->pos[i0 + rows - 1] + 1 - w->key0, MOH__PANEL);
    if (!open || w->n_keys <= 0) continue;
    times_panel(a->q + i0 * a->d, rows, a->d, page_at(&a->keys, w->key0),
                w->n_keys, w->p, w->scratch);
    open = false;
    for (int64_t r = 0; r < rows; r++) {
      cope_row row = seen(a, w, i0 + r);
      float *x = w->p + r * MOH__PANEL;
      if (!cope_open(&row, sums[r])) continue;
      open = true;
      if (row.begin >= row.end) continue;
      hide(x, row.begin);
      sums[r] = SIMD(cope_gates)(&row, x, sums[r]);
    }
  }
}

/* dq += dz e, de += dz^T q */
static void table_grads(const moh__attention_grad *b, const page_work *w) {
  const moh__attention *a = &b->forward;
  const positions *s = w->positions;
  moh__gemm dq = {.m = a->n,
                  .n = a->d,
                  .k = a->cope.n_positions,
                  .a = s->dz,
                  .lda = s->stride,
                  .b = a->cope.packed_back,
                  .c = b->dq,
                  .ldc = a->d,
                  .accumulate = true};
  moh__gemm de = {.m = a->cope.n_positions,
                  .n = a->d,
                  .k = a->n,
                  .a = s->dz,
                  .lda = s->stride,
                  .b = a->q,
                  .ldb = a->d,
                  .c = b->d_table,
                  .ldc = a->d,
                  .accumulate = true};
  SIMD(gemm)(&dq, gemm_scratch(w->scratch));
  if (b->d_table != NULL) SIMD(gemm_at)(&de, gemm_scratch(w->scratch));
}

/* Floats of scratch behind the buffers of a page. */
INLINE int64_t floats_left(const page_work *w, int64_t d) {
  return GEMM_SCRATCH / 4 - (w->vt + d * MOH__PANEL - w->p);
}

/* Queries of a stretch, whose positions must fit into scratch. */
static int64_t stretch_rows(const moh__attention *a, const page_work *w) {
  int64_t pages = a->pos[a->n - 1] / MOH__PANEL + 1;
  int64_t each = 2 * cope_stride(&a->cope) + 1 + pages;
  return at_most(floats_left(w, a->d) / each, STRETCH);
}

static positions make_positions(const moh__attention *a,
                                const page_work *w) {
  positions s = {.stride = cope_stride(&a->cope)};
  s.page0 = moh__first_key(a, 0) / MOH__PANEL;
  s.n_pages = a->pos[a->n - 1] / MOH__PANEL + 1 - s.page0;
  s.z = w->vt + a->d * MOH__PANEL;
  s.dz = s.z + a->n * s.stride;
  s.d_gate = s.dz + a->n * s.stride;
  s.gates = s.d_gate + a->n;
  SIMD(cope_z)(a, 0, a->n, s.z, w->scratch);
  memset(s.dz, 0, (size_t)(a->n * s.stride) * sizeof(float));
  memset(s.d_gate, 0, (size_t)a->n * sizeof(float));
  return s;
}

static void backward_stretch(const moh__attention_grad *b,
                             const page_work *buffers) {
  const moh__attention *a = &b->forward;
  positions s = make_positions(a, buffers);
  page_work w = *buffers;
  int64_t last = a->pos[a->n - 1];
  w.positions = &s;
  for (int64_t i = 0; i < a->n; i += BQ_EDGE)
    block_gates(a, i, at_most(a->n - i, BQ_EDGE), &w);
  for (int64_t page = 0; page < s.n_pages; page++) {
    read_page(&w, a, (s.page0 + page) * MOH__PANEL, last);
    backward_head(b, &w);
  }
  table_grads(b, &w);
}

static void backward_positions(const moh__attention_grad *b,
                               const page_work *w) {
  int64_t n = b->forward.n;
  if (n == 0) return;
  int64_t rows = stretch_rows(&b->forward, w);
  for (int64_t i = 0; i < n; i += rows) {
    moh__attention_grad part = stretch_of(b, i, at_most(n - i, rows));
    backward_stretch(&part, w);
  }
}

/* ---- the whole ---- */

void SIMD(attention_grad)(const moh__attention_grad *b, int64_t n,
                          void *scratch) {
  const moh__attention *a = &b->forward;
  page_work w = {.p = scratch, .scratch = scratch};
  w.ds = w.p + BQ * MOH__PANEL;
  w.k = w.ds + BQ * MOH__PANEL;
  w.vt = w.k + MOH__PANEL * a->d;
  if (a->cope.n_positions > 0) {
    for (int64_t h = 0; h < n; h++) backward_positions(&b[h], &w);
    return;
  }
  int64_t last = last_key(b, n);
  for (int64_t key0 = 0; key0 <= last; key0 += MOH__PANEL) {
    read_page(&w, a, key0, last);
    for (int64_t h = 0; h < n; h++) backward_head(&b[h], &w);
  }
}
