/*
 * Products of operands rounded to bfloat16 (8 bits of significand), summed
 * up in f32. Neighbours in k go together as pairs of 16 bits, which is how
 * the dot-product instruction of AVX-512 BF16 takes them; elsewhere pairs
 * are widened to f32. A is rounded while it is packed, once for 64 columns
 * of C and more; weights come packed.
 *
 * The chain of an element runs over pairs with k ascending; the last pair
 * of an odd depth has 0 in its second place.
 */
#include "kernel/simd.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AVX512BF16__)
#define SIX_ROWS 1
enum { MR = 6, NRV = 4 };
#elif VL == 16
enum { MR = 4, NRV = 4 };
#else
enum { MR = 4, NRV = 2 }; /* widening needs registers */
#endif
enum {
  NR = NRV * VL,
  KC = 512,             /* depth of a block, even */
  NC = 512,             /* columns of B packed at a time by gemm_at */
  MC = 192,             /* rows of A packed at a time: a multiple of MR */
  AT_ONCE = 4,          /* pairs of them that gemm_at packs together */
  A_PAIRS = MC * KC / 2 /* room for packed A */
};

/* From one tile of A packed for gemm_at to the next: a cache line more than
 * a tile, as all of them are written in turns and powers of two share a
 * set. */
INLINE int64_t tile_stride(int64_t n_pairs) { return n_pairs * MR + 16; }

/* k in the high half, k + 1 in the low one: the instruction adds the product
 * of the high halves first, so the chain of an element has k ascending. */
typedef int32_t pair;
typedef vi vi_any __attribute__((aligned(4), may_alias));

INLINE vi load_pairs(const pair *p) { return *(const vi_any *)p; }
INLINE void store_pairs(pair *p, vi v) { *(vi_any *)p = v; }

#if !defined(__AVX512BF16__)
/* To the nearest, ties to even; NaN stays NaN. The result is in the high
 * half, the low one is not cleared. */
INLINE vi round_high(vf x) {
  vi u = (vi)x;
  vi rounded = u + 0x7fff + ((u >> 16) & 1);
  vi nan = (vi)(x != x);
  return (rounded & ~nan) | ((u | 0x400000) & nan);
}
#endif

/* Pairs of x (even k) and y (odd k), lane by lane. */
INLINE vi pair_up(vf x, vf y) {
#if defined(__AVX512BF16__)
  const __m512i order = _mm512_set_epi32(
      0x001f000f, 0x001e000e, 0x001d000d, 0x001c000c, 0x001b000b, 0x001a000a,
      0x00190009, 0x00180008, 0x00170007, 0x00160006, 0x00150005, 0x00140004,
      0x00130003, 0x00120002, 0x00110001, 0x00100000);
  __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)x, (__m512)y);
  return (vi)_mm512_permutexvar_epi16(order, both);
#else
  vi high = round_high(x);
  vi low = round_high(y);
  return ((low >> 16) & 0xffff) | (high & (int32_t)0xffff0000);
#endif
}

static uint32_t round_one(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof(u));
  if (x != x) return (u | 0x400000) >> 16;
  return (u + 0x7fff + ((u >> 16) & 1)) >> 16;
}

INLINE pair pair_of(float x, float y) {
  return (pair)(round_one(x) << 16 | round_one(y));
}

/* A row of k floats as pairs. */
static void round_row(pair *dst, const float *src, int64_t k) {
  int64_t i = 0;
#if defined(__AVX512BF16__)
  for (; i + 2 * VL <= k; i += 2 * VL) {
    __m512bh both = _mm512_cvtne2ps_pbh((__m512)load(src + i + VL),
                                        (__m512)load(src + i));
    store_pairs(dst + i / 2, (vi)_mm512_rol_epi32((__m512i)both, 16));
  }
#endif
  for (; i + 1 < k; i += 2) dst[i / 2] = pair_of(src[i], src[i + 1]);
  if (i < k) dst[i / 2] = pair_of(src[i], 0);
}

/* ---- tiles ---- */

typedef struct tile {
  int64_t n_pairs;
  const pair *a; /* pair p of row i: a[i * a_row + p * a_step] */
  int64_t a_row, a_step;
  const pair *b; /* pair p of column j: b[p * ldb + j] */
  int64_t ldb;
  float *c[MR];
  bool from_c;
} tile;

INLINE vf add_product(vf sum, pair a, vi b) {
#if defined(__AVX512BF16__)
  return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a),
                              (__m512bh)b);
#else
  float low, high;
  pair bits = (pair)((uint32_t)a << 16);
  memcpy(&low, &bits, sizeof(low));
  bits = (pair)((uint32_t)a & 0xffff0000);
  memcpy(&high, &bits, sizeof(high));
  sum += splat(high) * (vf)(b & (int32_t)0xffff0000);
  sum += splat(low) * (vf)(b << 16);
  return sum;
#endif
}

INLINE void run_tile(const tile *t, const bool rows, const int mr,
                     const int nv) {
  vf sum[MR][NRV];
  if (t->from_c)
    load_tile(&sum[0][0], NRV, t->c, mr, nv);
  else
    load_tile(&sum[0][0], NRV, NULL, mr, nv);
  const pair *b = t->b;
  const pair *a[MR];
  int64_t a_step = rows ? 1 : MR;
  UNROLL
  for (int i = 0; i < mr; i++) a[i] = t->a + i * (rows ? t->a_row : 1);
  for (int64_t p = 0; p < t->n_pairs; p++, b += t->ldb) {
    vi bv[NRV];
    UNROLL
    for (int j = 0; j < nv; j++) bv[j] = load_pairs(b + j * VL);
    UNROLL
    for (int i = 0; i < mr; i++) {
      pair x = a[i][p * a_step];
      UNROLL
      for (int j = 0; j < nv; j++)
        sum[i][j] = add_product(sum[i][j], x, bv[j]);
    }
  }
  store_tile(&sum[0][0], NRV, t->c, mr, nv);
}

typedef void tile_fn(const tile *t);

#define TILE(rows, mr, nv)                                         \
  static __attribute__((noinline)) void tile_##rows##_##mr##_##nv( \
      const tile *t) {                                             \
    run_tile(t, rows, mr, nv);                                     \
  }
#if defined(SIX_ROWS)
#define TILES(rows, nv) \
  TILE(rows, 1, nv) TILE(rows, 2, nv) TILE(rows, 4, nv) TILE(rows, 6, nv)
#define ROW(rows, nv)                                                 \
  {                                                                   \
    tile_##rows##_1_##nv, tile_##rows##_2_##nv, tile_##rows##_4_##nv, \
        tile_##rows##_6_##nv                                          \
  }
#else
#define TILES(rows, nv) TILE(rows, 1, nv) TILE(rows, 2, nv) TILE(rows, 4, nv)
#define ROW(rows, nv) \
  { tile_##rows##_1_##nv, tile_##rows##_2_##nv, tile_##rows##_4_##nv }
#endif
#define TILES_2(rows) TILES(rows, 1) TILES(rows, 2)
#if VL == 16
#define TILES_ALL(rows) TILES_2(rows) TILES(rows, 3) TILES(rows, 4)
#define ROWS(rows) \
  { ROW(rows, 1), ROW(rows, 2), ROW(rows, 3), ROW(rows, 4) }
#else
#define TILES_ALL(rows) TILES_2(rows)
#define ROWS(rows) \
  { ROW(rows, 1), ROW(rows, 2) }
#endif
TILES_ALL(0)
TILES_ALL(1)
/* By [A by rows][vectors - 1][rows: 1, 2, 4, 6]. */
static tile_fn *const tiles[2][NRV][4] = {ROWS(0), ROWS(1)};

INLINE int tile_size(int64_t left, int *rows) {
  int which = left >= 4 ? 2 : left >= 2;
  if (MR == 6 && left >= 6) which = 3;
  *rows = which == 3 ? 6 : 1 << which;
  return which;
}

/* A block of a product: packed A rows i0.., pairs of depth kc from k0. */
typedef struct block {
  const moh__gemm *g;
  int64_t k0, kc, n_pairs;
  int64_t i0, rows;
  const pair *a;
  bool a_by_rows; /* [rows][n_pairs], or tiles of [n_pairs][MR] */
} block;

/* Columns j0.. against one panel of B. */
static void run_panel(const block *s, int64_t j0, int64_t columns,
                      const pair *b, int64_t ldb) {
  const moh__gemm *g = s->g;
  tile t = {.n_pairs = s->n_pairs,
            .a_row = s->n_pairs,
            .b = b,
            .ldb = ldb,
            .from_c = g->accumulate || s->k0 > 0};
  tile_fn *const *row = tiles[s->a_by_rows][(columns + VL - 1) / VL - 1];
  int n = 0;
  for (int64_t i = 0; i < s->rows; i += n) {
    int which = tile_size(s->rows - i, &n);
    for (int r = 0; r < n; r++)
      t.c[r] = g->c + row_at(g->c_rows, s->i0 + i + r) * g->ldc + j0;
    t.a = s->a_by_rows ? s->a + i * s->n_pairs
                       : s->a + i / MR * tile_stride(s->n_pairs) + i % MR;
    if (columns % VL == 0) {
      row[which](&t);
      continue;
    }
    edge e;
    edge_enter(&e, t.c, n, columns);
    row[which](&t);
    edge_leave(&e, n, columns);
  }
}

/* ---- C = A B, B packed ---- */

static void run_packed(const block *s) {
  const moh__gemm *g = s->g;
  int64_t total = (g->k + 1) / 2;
  for (int64_t j0 = 0; j0 < g->n; j0 += NR) {
    int64_t p = j0 / MOH__PANEL;
    int64_t width = moh__panel_width(g->n, p);
    const pair *b = (const pair *)g->b16 + p * MOH__PANEL * total +
                    s->k0 / 2 * width + j0 % MOH__PANEL;
    run_panel(s, j0, g->n - j0 < NR ? g->n - j0 : NR, b, width);
  }
}

/* A block is as deep as the room for its rows allows, so that a few rows
 * read every panel of B from front to back. */
INLINE int64_t depth_for(int64_t k, int64_t rows) {
  int64_t most = A_PAIRS / (rows < MC ? rows : MC) * 2;
  int64_t n = (k + most - 1) / most;
  return n == 0 ? 0 : moh__round_up((k + n - 1) / n, 2);
}

void SIMD(gemm_bf16)(const moh__gemm *g, void *scratch) {
  pair *a = scratch;
  int64_t depth = depth_for(g->k, g->m);
  for (int64_t k0 = 0; k0 < g->k; k0 += depth)
    for (int64_t i0 = 0; i0 < g->m; i0 += MC) {
      block s = {.g = g, .k0 = k0, .i0 = i0, .a = a, .a_by_rows = true};
      s.kc = g->k - k0 < depth ? g->k - k0 : depth;
      s.n_pairs = (s.kc + 1) / 2;
      s.rows = g->m - i0 < MC ? g->m - i0 : MC;
      for (int64_t i = 0; i < s.rows; i++)
        round_row(a + i * s.n_pairs,
                  g->a + row_at(g->a_rows, i0 + i) * g->lda + k0, s.kc);
      run_packed(&s);
    }
}

/* ---- C = A^T B, both rounded here ---- */

/* Columns j.. of pair p of rows, n of them; the last pair of an odd depth has
 * no second row. */
INLINE void pair_rows(pair *dst, const block *s, const float *x, int64_t ld,
                      const int32_t *rows, int64_t p, int64_t j, int64_t n) {
  int64_t k = s->k0 + 2 * p;
  bool two = k + 1 < s->g->k;
  const float *even = x + row_at(rows, k) * ld;
  const float *odd = x + row_at(rows, two ? k + 1 : k) * ld;
  for (int64_t i = 0; i < n; i += VL) {
    vf low = two ? load_up_to(odd + j + i, n - i, 0) : (vf){0};
    store_pairs(dst + i, pair_up(load_up_to(even + j + i, n - i, 0), low));
  }
}

static void pack_b(pair *dst, const block *s, int64_t j0, int64_t columns) {
  const moh__gemm *g = s->g;
  int64_t width = moh__round_up(columns, VL);
  for (int64_t p = 0; p < s->n_pairs; p++, dst += width)
    pair_rows(dst, s, g->b, g->ldb, g->b_rows, p, j0, columns);
}

/* Columns i0.. of A, which are rows of C, as tiles of [n_pairs][MR]. Two pairs
 * more are copied with each row of a tile, as part of one vector: the next
 * row, or what lies between two tiles, takes their place. */
static void pack_a(pair *dst, const block *s) {
  const moh__gemm *g = s->g;
  int64_t stride = tile_stride(s->n_pairs);
  pair row[AT_ONCE][MC + VL];
  for (int64_t p = 0; p < s->n_pairs; p += AT_ONCE) {
    int64_t n = s->n_pairs - p < AT_ONCE ? s->n_pairs - p : AT_ONCE;
    for (int64_t q = 0; q < n; q++)
      pair_rows(row[q], s, g->a, g->lda, g->a_rows, p + q, s->i0, s->rows);
    pair *to = dst + p * MR;
    for (int64_t i = 0; i < s->rows; i += MR, to += stride)
      for (int64_t q = 0; q < n; q++)
        memcpy(to + q * MR, row[q] + i, (MR + 2) * sizeof(pair));
  }
}

void SIMD(gemm_at_bf16)(const moh__gemm *g, void *scratch) {
  pair *a = scratch;
  pair *b = a + A_PAIRS + MC / MR * 16;
  int64_t depth = depth_for(g->k, MC);
  for (int64_t j0 = 0; j0 < g->n; j0 += NC)
    for (int64_t k0 = 0; k0 < g->k; k0 += depth) {
      block s = {.g = g, .k0 = k0, .a = a};
      s.kc = g->k - k0 < depth ? g->k - k0 : depth;
      s.n_pairs = (s.kc + 1) / 2;
      int64_t columns = g->n - j0 < NC ? g->n - j0 : NC;
      for (int64_t j = 0; j < columns; j += NR)
        pack_b(b + j * s.n_pairs, &s, j0 + j,
               columns - j < NR ? columns - j : NR);
      for (s.i0 = 0; s.i0 < g->m; s.i0 += MC) {
        s.rows = g->m - s.i0 < MC ? g->m - s.i0 : MC;
        pack_a(a, &s);
        for (int64_t j = 0; j < columns; j += NR)
          run_panel(&s, j0 + j, columns - j < NR ? columns - j : NR,
                    b + j * s.n_pairs,
                    moh__round_up(columns - j < NR ? columns - j : NR, VL));
      }
    }
}
