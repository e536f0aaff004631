/*
 * Matrix products over row lists, on one thread. A tile of up to 6 rows by
 * NRV vectors of C stays in registers while k runs; it starts from C, so every
 * element is one chain of multiply-adds with k ascending (kernel.h, the rule
 * of bits). Rows of A are read where they are, through row indices: gathering
 * costs nothing.
 */
#include "kernel/simd.h"

#if VL == 16 || (VL == 4 && defined(__aarch64__))
enum { MR = 6, NRV = 4 }; /* 32 registers: 24 sums */
#else
enum { MR = 6, NRV = 2 }; /* 16 registers: 12 sums */
#endif
enum {
  NR = NRV * VL,
  KC = 512 /* depth of a block: 64 columns of it stay in the L2 cache */
};

/* One tile's work. Either a_row (A by rows) or at (A transposed) is used. */
typedef struct tile {
  int64_t k;
  const float *a_row[MR];
  const float *at;
  int64_t lda;
  const int32_t *a_index; /* of k, for at */
  const float *b;
  int64_t ldb;
  const int32_t *b_index; /* of k */
  float *c[MR];
  int64_t columns; /* that exist, <= NR */
  bool from_c;
} tile;

INLINE int64_t row_at(const int32_t *index, int64_t k) {
  return index == NULL ? k : index[k];
}

INLINE void load_sums(const tile *t, const int mr, const int nv,
                      vf sum[MR][NRV]) {
  UNROLL
  for (int i = 0; i < mr; i++) {
    UNROLL
    for (int j = 0; j < nv; j++) {
      if (!t->from_c)
        sum[i][j] = (vf){0};
      else
        sum[i][j] = load_up_to(t->c[i] + j * VL, t->columns - j * VL, 0);
    }
  }
}

INLINE void store_sums(const tile *t, const int mr, const int nv,
                       vf sum[MR][NRV]) {
  UNROLL
  for (int i = 0; i < mr; i++) {
    UNROLL
    for (int j = 0; j < nv; j++)
      store_up_to(t->c[i] + j * VL, sum[i][j], t->columns - j * VL);
  }
}

/* at, mr and nv are constants wherever this is expanded. */
INLINE void run_tile(const tile *t, const bool at, const int mr,
                     const int nv) {
  vf sum[MR][NRV];
  load_sums(t, mr, nv, sum);
  const float *a[MR];
  UNROLL
  for (int i = 0; i < mr; i++) a[i] = t->a_row[i];
  for (int64_t k = 0; k < t->k; k++) {
    const float *b = t->b + (at ? row_at(t->b_index, k) : k) * t->ldb;
    const float *ak = at ? t->at + row_at(t->a_index, k) * t->lda : NULL;
    vf bv[NRV];
    UNROLL
    for (int j = 0; j < nv; j++) bv[j] = load(b + j * VL);
    UNROLL
    for (int i = 0; i < mr; i++) {
      vf x = splat(at ? ak[i] : a[i][k]);
      UNROLL
      for (int j = 0; j < nv; j++) sum[i][j] += x * bv[j];
    }
  }
  store_sums(t, mr, nv, sum);
}

#define TILE(at, mr, nv)                                                  \
  static __attribute__((noinline)) void tile_##at##_##mr##_##nv(          \
      const tile *t) {                                                    \
    run_tile(t, at, mr, nv);                                              \
  }
#define TILES_OF(at, nv) \
  TILE(at, 1, nv) TILE(at, 2, nv) TILE(at, 4, nv) TILE(at, 6, nv)
#define ROW_OF(at, nv)                                      \
  {                                                         \
    tile_##at##_1_##nv, tile_##at##_2_##nv, tile_##at##_4_##nv, \
        tile_##at##_6_##nv                                  \
  }
#if VL == 16 || (VL == 4 && defined(__aarch64__))
#define TILES(at) \
  TILES_OF(at, 1) TILES_OF(at, 2) TILES_OF(at, 3) TILES_OF(at, 4)
#define TABLE(at) \
  { ROW_OF(at, 1), ROW_OF(at, 2), ROW_OF(at, 3), ROW_OF(at, 4) }
#else
#define TILES(at) TILES_OF(at, 1) TILES_OF(at, 2)
#define TABLE(at) \
  { ROW_OF(at, 1), ROW_OF(at, 2) }
#endif

TILES(0)
TILES(1)

typedef void tile_fn(const tile *t);
/* [A transposed][vectors - 1][rows: 1, 2, 4, 6] */
static tile_fn *const tiles[2][NRV][4] = {TABLE(0), TABLE(1)};

/* The largest tile that fits into the rows that are left. */
INLINE int tile_size(int64_t rows_left, int *rows) {
  static const int sizes[4] = {1, 2, 4, 6};
  int which = 3;
  while (sizes[which] > rows_left) which--;
  *rows = sizes[which];
  return which;
}

/* A block of depth kc from k0 of one panel of columns. */
typedef struct block {
  const moh__gemm *g;
  bool at;
  int64_t k0, kc;
  int64_t j0, columns;
  const float *b; /* at (k0, j0) */
  int64_t ldb;
  const int32_t *b_index;
} block;

static void set_rows(const block *s, int64_t i0, int rows, tile *t) {
  const moh__gemm *g = s->g;
  for (int i = 0; i < rows; i++) {
    int64_t ci = row_at(g->c_rows, i0 + i);
    t->c[i] = g->c + ci * g->ldc + s->j0;
    if (!s->at)
      t->a_row[i] = g->a + row_at(g->a_rows, i0 + i) * g->lda + s->k0;
  }
  if (!s->at) return;
  t->a_index = g->a_rows == NULL ? NULL : g->a_rows + s->k0;
  t->at = g->a + i0 + (g->a_rows == NULL ? s->k0 * g->lda : 0);
}

static void run_block(const block *s) {
  const moh__gemm *g = s->g;
  tile t = {.k = s->kc,
            .lda = g->lda,
            .b = s->b,
            .ldb = s->ldb,
            .b_index = s->b_index,
            .columns = s->columns,
            .from_c = g->accumulate || s->k0 > 0};
  int nv = (int)((s->columns + VL - 1) / VL);
  int rows = 0;
  for (int64_t i = 0; i < g->m; i += rows) {
    int which = tile_size(g->m - i, &rows);
    set_rows(s, i, rows, &t);
    tiles[s->at][nv - 1][which](&t);
  }
}

/* Copies the last columns of a plain B, which do not fill whole vectors, into
 * scratch with zeros behind them. */
static void pad_columns(block *s, float *scratch) {
  int64_t width = (s->columns + VL - 1) / VL * VL;
  for (int64_t k = 0; k < s->kc; k++) {
    float *row = scratch + k * width;
    memset(row, 0, (size_t)width * sizeof(float));
    memcpy(row, s->b + row_at(s->b_index, k) * s->ldb,
           (size_t)s->columns * sizeof(float));
  }
  s->b = scratch;
  s->ldb = width;
  s->b_index = NULL;
}

static void run_plain(block *s, float *scratch) {
  const moh__gemm *g = s->g;
  for (s->j0 = 0; s->j0 < g->n; s->j0 += NR) {
    s->columns = g->n - s->j0 < NR ? g->n - s->j0 : NR;
    s->ldb = g->ldb;
    s->b_index = g->b_rows == NULL ? NULL : g->b_rows + s->k0;
    s->b = g->b + s->j0 + (s->b_index == NULL ? s->k0 * g->ldb : 0);
    if (s->columns % VL != 0) pad_columns(s, scratch);
    run_block(s);
  }
}

static void run_packed(block *s) {
  const moh__gemm *g = s->g;
  for (s->j0 = 0; s->j0 < g->n; s->j0 += NR) {
    int64_t p = s->j0 / MOH__PANEL;
    int64_t width = moh__panel_width(g->n, p);
    s->columns = g->n - s->j0 < NR ? g->n - s->j0 : NR;
    s->ldb = width;
    s->b_index = NULL;
    s->b = g->b + p * MOH__PANEL * g->k + s->k0 * width + s->j0 % MOH__PANEL;
    run_block(s);
  }
}

static void clear_c(const moh__gemm *g) {
  for (int64_t i = 0; i < g->m; i++)
    memset(g->c + row_at(g->c_rows, i) * g->ldc, 0,
           (size_t)g->n * sizeof(float));
}

static void run_gemm(const moh__gemm *g, bool at, float *scratch) {
  if (g->k == 0 && !g->accumulate) clear_c(g);
  for (int64_t k0 = 0; k0 < g->k; k0 += KC) {
    block s = {.g = g, .at = at, .k0 = k0};
    s.kc = g->k - k0 < KC ? g->k - k0 : KC;
    if (g->ldb == 0)
      run_packed(&s);
    else
      run_plain(&s, scratch);
  }
}

void SIMD(gemm)(const moh__gemm *g, void *scratch) {
  run_gemm(g, false, scratch);
}

void SIMD(gemm_at)(const moh__gemm *g, void *scratch) {
  run_gemm(g, true, scratch);
}
