/*
 * Products with weights in f16, computed in f32. For many rows a part of a
 * panel is widened into the cache and the tiles of f32 run over it; few rows
 * have tiles that widen what they read, and go through a panel from front to
 * back.
 */
#include "kernel/simd_half.h"
#include "kernel/simd_tile.h"

enum {
  KC = 512,      /* depth of a part that many rows share, */
  FEW_ROWS = 12, /* and for so many rows or fewer: it stays in L1 */
  KC_FEW = 128,
  MC = 192, /* rows at a time */
  MR_FEW = 4
};

/* Some columns of a panel, from k0 on. */
typedef struct part {
  const moh__gemm *g;
  int64_t k0, kc, j0, columns;
  const uint16_t *b; /* (k, j) at b[k * width + j] */
  int64_t width;
} part;

static part part_of(const moh__gemm *g, int64_t k0, int64_t depth,
                    int64_t j0) {
  int64_t p = j0 / MOH__PANEL;
  part s = {.g = g,
            .k0 = k0,
            .kc = g->k - k0 < depth ? g->k - k0 : depth,
            .j0 = j0,
            .columns = g->n - j0 < NR ? g->n - j0 : NR,
            .width = moh__panel_width(g->n, p)};
  s.b = (const uint16_t *)g->blocks + p * MOH__PANEL * g->k + k0 * s.width +
        j0 % MOH__PANEL;
  return s;
}

/* n rows from i on: where a tile reads and writes them. */
static void set_rows(tile *t, const part *s, int64_t i, int n) {
  const moh__gemm *g = s->g;
  for (int r = 0; r < n; r++) {
    t->a_row[r] = g->a + row_at(g->a_rows, i + r) * g->lda + s->k0;
    t->c[r] = g->c + row_at(g->c_rows, i + r) * g->ldc + s->j0;
  }
}

static tile tile_of(const part *s) {
  return (tile){.k = s->kc, .from_c = s->g->accumulate || s->k0 > 0};
}

/* ---- many rows ---- */

static void widen(float *dst, const part *s, int64_t columns) {
  const uint16_t *src = s->b;
  for (int64_t k = 0; k < s->kc; k++, src += s->width, dst += columns)
    for (int64_t j = 0; j < columns; j += VL)
      store(dst + j, load_f16(src + j));
}

static void run_many(const part *s, int64_t i0, int64_t i1, float *scratch) {
  tile t = tile_of(s);
  t.b = scratch;
  t.ldb = moh__round_up(s->columns, VL);
  widen(scratch, s, t.ldb);
  tile_fn *const *row = SIMD(tiles)[0][t.ldb / VL - 1];
  int n = 0;
  for (int64_t i = i0; i < i1; i += n) {
    int which = tile_size(i1 - i, &n);
    set_rows(&t, s, i, n);
    run_columns(row[which], &t, n, s->columns);
  }
}

static void gemm_many(const moh__gemm *g, float *scratch) {
  for (int64_t i0 = 0; i0 < g->m; i0 += MC)
    for (int64_t k0 = 0; k0 < g->k; k0 += KC)
      for (int64_t j0 = 0; j0 < g->n; j0 += NR) {
        part s = part_of(g, k0, KC, j0);
        run_many(&s, i0, g->m - i0 < MC ? g->m : i0 + MC, scratch);
      }
}

/* ---- few rows ---- */

INLINE void run_tile(const tile *t, const uint16_t *b, int64_t width,
                     const int mr, const int nv) {
  vf sum[MR_FEW][NRV];
  load_tile(&sum[0][0], NRV, t->from_c ? t->c : NULL, mr, nv);
  for (int64_t k = 0; k < t->k; k++, b += width) {
    UNROLL
    for (int j = 0; j < nv; j++) {
      vf w = load_f16(b + (ptrdiff_t)j * VL);
      UNROLL
      for (int i = 0; i < mr; i++) sum[i][j] += splat(t->a_row[i][k]) * w;
    }
  }
  store_tile(&sum[0][0], NRV, t->c, mr, nv);
}

/* Of mr rows: whole tiles, and vector by vector what is left of columns. */
#define ROWS(mr)                                                            \
  static __attribute__((noinline)) void rows_##mr(tile *t, const part *s) { \
    if (s->columns > NR - VL) {                                             \
      run_tile(t, s->b, s->width, mr, NRV);                                 \
      return;                                                               \
    }                                                                       \
    for (int64_t j = 0; j < s->columns; j += VL) {                          \
      run_tile(t, s->b + j, s->width, mr, 1);                               \
      for (int r = 0; r < (mr); r++) t->c[r] += VL;                         \
    }                                                                       \
  }
ROWS(1)
ROWS(2)
ROWS(4)

static void run_few(const part *s) {
  static void (*const rows[])(tile * t, const part *s) = {rows_1, rows_2,
                                                          rows_4};
  tile t = tile_of(s);
  int64_t m = s->g->m;
  int n;
  for (int64_t i = 0; i < m; i += n) {
    int which = m - i >= MR_FEW ? 2 : m - i >= 2;
    n = 1 << which;
    set_rows(&t, s, i, n);
    if (s->columns % VL == 0) {
      rows[which](&t, s);
      continue;
    }
    edge e;
    edge_enter(&e, t.c, n, s->columns);
    rows[which](&t, s);
    edge_leave(&e, n, s->columns);
  }
}

void SIMD(gemm_f16)(const moh__gemm *g, void *scratch) {
  if (g->m > FEW_ROWS) {
    gemm_many(g, scratch);
    return;
  }
  for (int64_t j0 = 0; j0 < g->n; j0 += NR)
    for (int64_t k0 = 0; k0 < g->k; k0 += KC_FEW) {
      part s = part_of(g, k0, KC_FEW, j0);
      run_few(&s);
    }
}
