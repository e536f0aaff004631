/*
 * Products of f32 matrices on one thread: which parts of A and B are copied
 * together (packed) before the tiles run over them, and in what order.
 */
#include "kernel/simd_tile.h"

enum {
  KC = 512,     /* depth of a block of gemm: 64 columns of B stay in L2 */
  MC = 192,     /* rows of A at a time, where B is packed: they stay in L2 */
  KC_AT = 352,  /* the same of gemm_at, */
  NC_AT = 384,  /* its columns of B packed at a time */
  MC_AT = 192,  /* and its rows of A: a multiple of MR */
  AT_ONCE = 4,   /* rows of A that gemm_at packs together */
  FEW_ROWS = 24 /* of A, for which B is not worth packing */
};

/* ---- C = A B, A by rows ---- */

/* A block of depth kc from k0 of one panel of columns. */
typedef struct block {
  const moh__gemm *g;
  int64_t k0, kc;
  int64_t i0, rows;
  int64_t j0, columns;
  const float *b; /* at (k0, j0), readable in whole vectors */
  int64_t ldb;
} block;

static void run_block(const block *s) {
  const moh__gemm *g = s->g;
  tile t = {.k = s->kc,
            .b = s->b,
            .ldb = s->ldb,
            .from_c = g->accumulate || s->k0 > 0};
  tile_fn *const *row = SIMD(tiles)[0][(s->columns + VL - 1) / VL - 1];
  int rows = 0;
  for (int64_t i = s->i0; i < s->i0 + s->rows; i += rows) {
    int which = tile_size(s->i0 + s->rows - i, &rows);
    for (int r = 0; r < rows; r++) {
      t.a_row[r] = g->a + row_at(g->a_rows, i + r) * g->lda + s->k0;
      t.c[r] = g->c + row_at(g->c_rows, i + r) * g->ldc + s->j0;
    }
    run_columns(row[which], &t, rows, s->columns);
  }
}

/* Rows of plain B, `columns` of them behind each other up to whole vectors,
 * zeros behind the last column. b_rows NULL: rows from k0 on. */
static void pack_rows(float *dst, const float *b, int64_t ldb,
                      const int32_t *b_rows, int64_t k0, int64_t kc,
                      int64_t columns) {
  int64_t width = moh__round_up(columns, VL);
  for (int64_t k = 0; k < kc; k++, dst += width) {
    const float *src = b + row_at(b_rows, k0 + k) * ldb;
    int64_t j = 0;
    for (; j + VL <= columns; j += VL) store(dst + j, load(src + j));
    if (j < columns) store(dst + j, load_part(src + j, columns - j, 0));
  }
}

static void run_plain(block *s, float *scratch) {
  const moh__gemm *g = s->g;
  bool in_place = g->m <= FEW_ROWS || g->ldb <= MOH__PANEL;
  for (s->j0 = 0; s->j0 < g->n; s->j0 += NR) {
    s->columns = g->n - s->j0 < NR ? g->n - s->j0 : NR;
    s->ldb = g->ldb;
    s->b = g->b + s->k0 * g->ldb + s->j0;
    if (!in_place || s->columns % VL != 0) {
      pack_rows(scratch, g->b + s->j0, g->ldb, NULL, s->k0, s->kc,
                s->columns);
      s->b = scratch;
      s->ldb = moh__round_up(s->columns, VL);
    }
    run_block(s);
  }
}

static void run_packed(block *s) {
  const moh__gemm *g = s->g;
  for (s->i0 = 0; s->i0 < g->m; s->i0 += MC) {
    s->rows = g->m - s->i0 < MC ? g->m - s->i0 : MC;
    for (s->j0 = 0; s->j0 < g->n; s->j0 += NR) {
      int64_t p = s->j0 / MOH__PANEL;
      int64_t width = moh__panel_width(g->n, p);
      s->columns = g->n - s->j0 < NR ? g->n - s->j0 : NR;
      s->ldb = width;
      s->b =
          g->b + p * MOH__PANEL * g->k + s->k0 * width + s->j0 % MOH__PANEL;
      run_block(s);
    }
  }
}

/* Equal blocks of at most `most`. */
INLINE int64_t block_depth(int64_t k, int64_t most) {
  int64_t n = (k + most - 1) / most;
  return n == 0 ? 0 : (k + n - 1) / n;
}

void SIMD(gemm)(const moh__gemm *g, void *scratch) {
  int64_t depth = block_depth(g->k, KC);
  for (int64_t k0 = 0; k0 < g->k; k0 += depth) {
    block s = {.g = g, .k0 = k0, .rows = g->m};
    s.kc = g->k - k0 < depth ? g->k - k0 : depth;
    if (g->ldb == 0)
      run_packed(&s);
    else
      run_plain(&s, scratch);
  }
}

/* ---- C = A^T B ---- */

/* From one tile of packed A to the next: a cache line more than a tile, as
 * all of them are written in turns and powers of two share a cache set. */
INLINE int64_t tile_stride(int64_t kc) { return kc * MR + 16; }

/* n rows of A, i0.. of their columns, go to tiles of [kc][MR]: to `to`, and
 * on. Where there are two words more they are copied, too, as part of one
 * vector: the next row, or what lies between two tiles, takes their place. */
static void pack_few(float *to, int64_t stride, const float *const *src,
                     int64_t n, int64_t rows) {
  int64_t i = 0;
  for (; i + MR + 2 <= rows; i += MR, to += stride)
    for (int64_t q = 0; q < n; q++)
      memcpy(to + q * MR, src[q] + i, (MR + 2) * sizeof(float));
  for (; i < rows; i += MR, to += stride)
    for (int64_t q = 0; q < n; q++)
      memcpy(to + q * MR, src[q] + i,
             (size_t)(rows - i < MR ? rows - i : MR) * sizeof(float));
}

/* Columns i0.. of A as tiles, [kc][MR] each. */
static void pack_columns(float *dst, const moh__gemm *g, int64_t i0,
                         int64_t rows, int64_t k0, int64_t kc) {
  const float *src[AT_ONCE];
  for (int64_t k = 0; k < kc; k += AT_ONCE) {
    int64_t n = kc - k < AT_ONCE ? kc - k : AT_ONCE;
    for (int64_t q = 0; q < n; q++)
      src[q] = g->a + row_at(g->a_rows, k0 + k + q) * g->lda + i0;
    pack_few(dst + k * MR, tile_stride(kc), src, n, rows);
  }
}

/* A block of gemm_at: depth kc from k0, its packed B. */
typedef struct at_block {
  const moh__gemm *g;
  int64_t k0, kc;
  int64_t j0, columns; /* of the packed B, panels of NR */
  const float *b;
  float *a; /* scratch for packed A; NULL: A is read in place */
} at_block;

static void run_at_panel(const at_block *s, int64_t i0, int64_t rows,
                         int64_t j, int64_t columns) {
  const moh__gemm *g = s->g;
  tile t = {.k = s->kc,
            .b = s->b + j * s->kc,
            .ldb = moh__round_up(columns, VL),
            .from_c = g->accumulate || s->k0 > 0};
  tile_fn *const *row = SIMD(tiles)[1][(columns + VL - 1) / VL - 1];
  int n = 0;
  for (int64_t i = i0; i < i0 + rows; i += n) {
    int which = tile_size(i0 + rows - i, &n);
    for (int r = 0; r < n; r++) t.c[r] = g->c + (i + r) * g->ldc + s->j0 + j;
    if (s->a != NULL) {
      t.at = s->a + (i - i0) / MR * tile_stride(s->kc) + (i - i0) % MR;
      t.at_step = MR;
    } else {
      t.at_step = g->lda;
      t.a_index = g->a_rows == NULL ? NULL : g->a_rows + s->k0;
      t.at = g->a + i + (g->a_rows == NULL ? s->k0 * g->lda : 0);
    }
    run_columns(row[which], &t, n, columns);
  }
}

static void run_at_block(const at_block *s) {
  const moh__gemm *g = s->g;
  for (int64_t i0 = 0; i0 < g->m; i0 += MC_AT) {
    int64_t rows = g->m - i0 < MC_AT ? g->m - i0 : MC_AT;
    if (s->a != NULL) pack_columns(s->a, g, i0, rows, s->k0, s->kc);
    for (int64_t j = 0; j < s->columns; j += NR)
      run_at_panel(s, i0, rows, j, s->columns - j < NR ? s->columns - j : NR);
  }
}

/* All columns j0.. of B, in panels of NR. */
static void pack_b(float *dst, const at_block *s) {
  const moh__gemm *g = s->g;
  for (int64_t j = 0; j < s->columns; j += NR) {
    int64_t columns = s->columns - j < NR ? s->columns - j : NR;
    pack_rows(dst + j * s->kc, g->b + s->j0 + j, g->ldb, g->b_rows, s->k0,
              s->kc, columns);
  }
}

void SIMD(gemm_at)(const moh__gemm *g, void *scratch) {
  float *b = scratch;
  int64_t depth = block_depth(g->k, KC_AT);
  float *a = b + depth * moh__round_up(g->n < NC_AT ? g->n : NC_AT, VL);
  for (int64_t j0 = 0; j0 < g->n; j0 += NC_AT)
    for (int64_t k0 = 0; k0 < g->k; k0 += depth) {
      at_block s = {.g = g, .k0 = k0, .j0 = j0, .b = b};
      s.kc = g->k - k0 < depth ? g->k - k0 : depth;
      s.columns = g->n - j0 < NC_AT ? g->n - j0 : NC_AT;
      s.a = s.columns > NR && g->lda > MOH__PANEL ? a : NULL;
      pack_b(b, &s);
      run_at_block(&s);
    }
}
