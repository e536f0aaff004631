/*
 * The micro-kernel of f32 products. A tile of up to MR rows by NRV vectors
 * of C stays in registers while k runs; it starts from C, so every element
 * is one chain of multiply-adds with k ascending (kernel.h, the rule of
 * bits). Rows of A are read where they are, through pointers: gathering
 * costs nothing.
 */
#ifndef MOH_KERNEL_SIMD_TILE_H
#define MOH_KERNEL_SIMD_TILE_H

#include "kernel/simd.h"

#if VL == 16 || (VL == 4 && defined(__aarch64__))
enum { MR = 6, NRV = 4 }; /* 32 registers: 24 sums */
#else
enum { MR = 6, NRV = 2 }; /* 16 registers: 12 sums */
#endif
enum { NR = NRV * VL };

/* One tile's work. Either a_row (A by rows) or at (A transposed) is used.
 */
typedef struct tile {
  int64_t k;
  const float *a_row[MR];
  const float *at; /* A(i, k) = at[row(k) * at_step + i] */
  int64_t at_step;
  const int32_t *a_index; /* row(k) of at; NULL: k itself */
  const float *b;         /* B(k, j) = b[k * ldb + j] */
  int64_t ldb;
  float *c[MR];
  bool from_c;
} tile;

typedef void tile_fn(const tile *t);

/* By [A transposed][vectors - 1][rows: 1, 2, 4, 6]; B is read, and C
 * written, in whole vectors. */
extern tile_fn *const SIMD(tiles)[2][NRV][4];

/* Runs a tile of n rows of which only `columns` exist. */
INLINE void run_columns(tile_fn *fn, tile *t, int n, int64_t columns) {
  if (columns % VL == 0) {
    fn(t);
    return;
  }
  edge e;
  edge_enter(&e, t->c, n, columns);
  fn(t);
  edge_leave(&e, n, columns);
}

/* The largest tile that fits into the rows that are left: its place in the
 * table. */
INLINE int tile_size(int64_t rows_left, int *rows) {
  int which = rows_left >= 6 ? 3 : rows_left >= 4 ? 2 : rows_left >= 2;
  *rows = which == 3 ? 6 : 1 << which;
  return which;
}

/*
 * C (+)= A B for a narrow B that lies in the cache: m rows of A, k deep, times
 * B (k, n) with rows ldb apart, readable up to a whole vector. at: A(i, k) =
 * a[row(k) * lda + i].
 */
void SIMD(product)(const moh__gemm *g, bool at);

#endif
