/* Tiles of all sizes, and small products made of them. */
#include "kernel/simd_tile.h"

/* at, indexed, mr and nv are constants wherever this is expanded. */
INLINE void run_tile(const tile *t, const bool at, const bool indexed,
                     const int mr, const int nv) {
  vf sum[MR][NRV];
  if (t->from_c)
    load_tile(&sum[0][0], NRV, t->c, mr, nv);
  else
    load_tile(&sum[0][0], NRV, NULL, mr, nv);
  const float *a[MR];
  UNROLL
  for (int i = 0; i < mr; i++) a[i] = t->a_row[i];
  const float *b = t->b;
  const float *ak = t->at;
  int64_t ldb = t->ldb;
  int64_t at_step = t->at_step;
  for (int64_t k = 0; k < t->k; k++) {
    if (indexed) ak = t->at + t->a_index[k] * at_step;
    vf bv[NRV];
    UNROLL
    for (int j = 0; j < nv; j++) bv[j] = load(b + j * VL);
    UNROLL
    for (int i = 0; i < mr; i++) {
      vf x = splat(at ? ak[i] : a[i][k]);
      UNROLL
      for (int j = 0; j < nv; j++) sum[i][j] += x * bv[j];
    }
    b += ldb;
    if (at && !indexed) ak += at_step;
  }
  store_tile(&sum[0][0], NRV, t->c, mr, nv);
}

#define TILE(at, mr, nv)                                         \
  static __attribute__((noinline)) void tile_##at##_##mr##_##nv( \
      const tile *t) {                                           \
    if ((at) && t->a_index != NULL)                                \
      run_tile(t, at, true, mr, nv);                             \
    else                                                         \
      run_tile(t, at, false, mr, nv);                            \
  }
#define TILES_OF(at, nv) \
  TILE(at, 1, nv) TILE(at, 2, nv) TILE(at, 4, nv) TILE(at, 6, nv)
#define ROW_OF(at, nv)                                          \
  {                                                             \
    tile_##at##_1_##nv, tile_##at##_2_##nv, tile_##at##_4_##nv, \
        tile_##at##_6_##nv                                      \
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

tile_fn *const SIMD(tiles)[2][NRV][4] = {TABLE(0), TABLE(1)};

void SIMD(product)(const moh__gemm *g, bool at) {
  for (int64_t j = 0; j < g->n; j += NR) {
    tile t = {.k = g->k,
              .b = g->b + j,
              .ldb = g->ldb,
              .at_step = g->lda,
              .from_c = g->accumulate};
    int64_t columns = g->n - j < NR ? g->n - j : NR;
    tile_fn *const *row = SIMD(tiles)[at][(columns + VL - 1) / VL - 1];
    int rows = 0;
    for (int64_t i = 0; i < g->m; i += rows) {
      int which = tile_size(g->m - i, &rows);
      for (int r = 0; r < rows; r++) {
        if (!at) t.a_row[r] = g->a + row_at(g->a_rows, i + r) * g->lda;
        t.c[r] = g->c + row_at(g->c_rows, i + r) * g->ldc + j;
      }
      t.at = g->a + i;
      t.a_index = at ? g->a_rows : NULL;
      run_columns(row[which], &t, rows, columns);
    }
  }
}
