/*
 * Products with weights of 4 and 8 bits in blocks of 32. Rows of A come as
 * integers, too (encode). A tile keeps its sums in registers; for each block
 * it adds up products of integers, exactly, and then one multiply-add an
 * element: what a tile's shape is changes nothing.
 */
#include <math.h>

#include "kernel/simd_half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512VNNI__)
enum { MR = 3, NRV = 4 };
#else
enum { MR = 2, NRV = 2 }; /* products are kept in two vectors */
#endif
enum { NR = NRV * VL, KC = 256 /* depth whose weights stay in L1 */ };

typedef vi vi_any __attribute__((aligned(1), may_alias));
INLINE vi load_words(const void *p) { return *(const vi_any *)p; }

/* ---- rows of A ---- */

/* To the nearest, ties to even. */
INLINE vi nearest(vf x) {
#if defined(__AVX512F__)
  return (vi)_mm512_cvtps_epi32((__m512)x);
#elif defined(__AVX2__)
  return (vi)_mm256_cvtps_epi32((__m256)x);
#elif defined(__x86_64__)
  return (vi)_mm_cvtps_epi32((__m128)x);
#else
  vi y;
  for (int i = 0; i < VL; i++) y[i] = (int32_t)lrintf(x[i]);
  return y;
#endif
}

INLINE int32_t lanes_total(vi v) {
  FOLD_LANES(v, LANES_PLUS);
  return v[0];
}

/* Numbers without their signs have the order of their bits, and NaN is above
 * all. */
INLINE vi larger_bits(vi a, vi b) {
  vi above = a > b;
  return (a & above) | (b & ~above);
}

/* The largest magnitude; NaN if any is. */
INLINE float largest_magnitude(const float *x) {
  vi most = {0};
  UNROLL
  for (int i = 0; i < MOH__BLOCK; i += VL)
    most = larger_bits((vi)load(x + i) & 0x7fffffff, most);
  FOLD_LANES(most, larger_bits);
  return ((vf)most)[0];
}

typedef int8_t bytes __attribute__((vector_size(VL)));

INLINE void encode_block(moh__codes *dst, const float *x, int32_t weight) {
  float most = largest_magnitude(x);
  if (!(most >= 0x1p-100F && most <= __FLT_MAX__)) {
    memset(dst, 0, sizeof(*dst));
    if (!(most <= __FLT_MAX__)) dst->scale = NAN;
    return;
  }
  vf inverse = splat(127 / most);
  vi sum = {0};
  UNROLL
  for (int i = 0; i < MOH__BLOCK; i += VL) {
    vi q = nearest(load(x + i) * inverse);
    bytes narrow = __builtin_convertvector(q, bytes);
    memcpy(dst->q + i, &narrow, sizeof(narrow));
    sum += q;
  }
  dst->scale = most / 127;
  dst->start = weight * lanes_total(sum);
}

void SIMD(encode)(moh__codes *dst, moh__block_type type, const float *x,
                  int64_t k) {
  int32_t weight = type == MOH__BLOCK_Q8_0 ? -128 : -8;
  for (int64_t i = 0; i < k; i += MOH__BLOCK)
    encode_block(dst++, x + i, weight);
}

/* ---- sums of products of integers ---- */

/*
 * VNNI: four products of a lane are added to it by one instruction. Other x86:
 * bytes are widened to 16 bits; two neighbours' products are added to a lane,
 * and a column has two lanes, in `low` (the first half of each 16 bytes) or
 * `high`. Elsewhere: plain vectors.
 */
typedef struct total {
#if defined(__x86_64__) && !defined(__AVX512VNNI__)
  vi low, high;
#else
  vi all;
#endif
} total;

/* A row's block, as products want it. */
typedef struct row_block {
#if defined(__x86_64__) && !defined(__AVX512VNNI__)
  int16_t q[MOH__BLOCK];
#else
  const int8_t *q;
#endif
  int32_t start;
  float scale;
} row_block;

#if defined(__AVX512VNNI__)

INLINE int32_t word_at(const int8_t *p) {
  int32_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}
INLINE void open_block(row_block *r, const moh__codes *a) {
  *r = (row_block){a->q, a->start, a->scale};
}
INLINE void open_total(total *t, const row_block *r) {
  t->all = (vi){0} + r->start;
}
/* Columns' words w times quad q of a row. */
INLINE void add_products(total *t, vi w, const row_block *r, int quad) {
  t->all = (vi)_mm512_dpbusd_epi32(
      (__m512i)t->all, (__m512i)w,
      _mm512_set1_epi32(word_at(r->q + (ptrdiff_t)4 * quad)));
}
INLINE vi close_total(const total *t, const row_block *r) {
  (void)r;
  return t->all;
}

#elif defined(__x86_64__)

INLINE void open_block(row_block *r, const moh__codes *a) {
  for (int i = 0; i < MOH__BLOCK; i++)
    r->q[i] = a->q[i]; /* NOLINT: numbers, not characters */
  r->start = a->start;
  r->scale = a->scale;
}
INLINE void open_total(total *t, const row_block *r) {
  (void)r;
  t->low = t->high = (vi){0};
}
typedef int64_t vl __attribute__((vector_size(VL * 4)));
INLINE void add_products(total *t, vi w, const row_block *r, int quad) {
  int64_t four;
  memcpy(&four, r->q + (ptrdiff_t)4 * quad, sizeof(four));
  vl a = (vl){0} + four;
#if VL == 16
  __m512i zero = _mm512_setzero_si512();
  t->low += (vi)_mm512_madd_epi16(_mm512_unpacklo_epi8((__m512i)w, zero),
                                  (__m512i)a);
  t->high += (vi)_mm512_madd_epi16(_mm512_unpackhi_epi8((__m512i)w, zero),
                                   (__m512i)a);
#elif VL == 8
  __m256i zero = _mm256_setzero_si256();
  t->low += (vi)_mm256_madd_epi16(_mm256_unpacklo_epi8((__m256i)w, zero),
                                  (__m256i)a);
  t->high += (vi)_mm256_madd_epi16(_mm256_unpackhi_epi8((__m256i)w, zero),
                                   (__m256i)a);
#else
  __m128i zero = _mm_setzero_si128();
  t->low +=
      (vi)_mm_madd_epi16(_mm_unpacklo_epi8((__m128i)w, zero), (__m128i)a);
  t->high +=
      (vi)_mm_madd_epi16(_mm_unpackhi_epi8((__m128i)w, zero), (__m128i)a);
#endif
}
/* Columns 0, 1 of each four are in low, 2 and 3 in high. */
INLINE vi close_total(const total *t, const row_block *r) {
#if VL == 16
  __m512 low = (__m512)t->low, high = (__m512)t->high;
  return (vi)_mm512_shuffle_ps(low, high, 0x88) +
         (vi)_mm512_shuffle_ps(low, high, 0xdd) + r->start;
#elif VL == 8
  __m256 low = (__m256)t->low, high = (__m256)t->high;
  return (vi)_mm256_shuffle_ps(low, high, 0x88) +
         (vi)_mm256_shuffle_ps(low, high, 0xdd) + r->start;
#else
  __m128 low = (__m128)t->low, high = (__m128)t->high;
  return (vi)_mm_shuffle_ps(low, high, 0x88) +
         (vi)_mm_shuffle_ps(low, high, 0xdd) + r->start;
#endif
}

#else

INLINE void open_block(row_block *r, const moh__codes *a) {
  *r = (row_block){a->q, a->start, a->scale};
}
INLINE void open_total(total *t, const row_block *r) {
  t->all = (vi){0} + r->start;
}
INLINE void add_products(total *t, vi w, const row_block *r, int quad) {
  UNROLL
  for (int i = 0; i < 4; i++)
    t->all += (w >> 8 * i & 0xff) * r->q[4 * quad + i];
}
INLINE vi close_total(const total *t, const row_block *r) {
  (void)r;
  return t->all;
}

#endif

/* ---- tiles ---- */

typedef struct tile {
  int64_t n_blocks;
  const moh__codes *a[MR];
  const unsigned char *b; /* the first block, its first column's scale */
  int64_t width;          /* of the panel */
  int64_t to_words;       /* bytes from a column's scale to its first word */
  float *c[MR];
  bool from_c;
} tile;

/* Word r of the columns times its rows of A: of 4 bytes, or of 8 halves. */
INLINE void add_word(total (*sums)[NRV], const row_block *rows,
                     const unsigned char *words, int r, const bool q4,
                     const int mr, const int nv) {
  UNROLL
  for (int j = 0; j < nv; j++) {
    vi w = load_words(words + (ptrdiff_t)4 * j * VL);
    vi low = q4 ? w & 0x0f0f0f0f : w;
    vi high = w >> 4 & 0x0f0f0f0f;
    UNROLL
    for (int i = 0; i < mr; i++) {
      add_products(&sums[i][j], low, &rows[i], r);
      if (q4) add_products(&sums[i][j], high, &rows[i], r + 4);
    }
  }
}

/* One row waits for memory. The processor reads ahead by itself, but not from
 * one page to the next: a few words of what is to come lead it there. */
INLINE void read_ahead(const unsigned char *b) {
  enum { AHEAD = 4096, APART = 512 };
  UNROLL
  for (int i = 0; i < 4; i++)
    __builtin_prefetch(b + AHEAD + (ptrdiff_t)i * APART, 0, 2);
}

INLINE void run_tile(const tile *t, const bool q4, const int mr,
                     const int nv) {
  enum { WORDS_8 = 8, WORDS_4 = 4 };
  const int n_words = q4 ? WORDS_4 : WORDS_8;
  vf sum[MR][NRV];
  load_tile(&sum[0][0], NRV, t->from_c ? t->c : NULL, mr, nv);
  const unsigned char *b = t->b;
  int64_t row = 4 * t->width;
  for (int64_t at = 0; at < t->n_blocks; at++) {
    row_block rows[MR];
    total totals[MR][NRV];
    if (mr == 1) read_ahead(b);
    UNROLL
    for (int i = 0; i < mr; i++) {
      open_block(&rows[i], t->a[i] + at);
      UNROLL
      for (int j = 0; j < nv; j++) open_total(&totals[i][j], &rows[i]);
    }
    const unsigned char *words = b + t->to_words;
    UNROLL
    for (int r = 0; r < n_words; r++)
      add_word(totals, rows, words + r * row, r, q4, mr, nv);
    UNROLL
    for (int j = 0; j < nv; j++) {
      vf scale = load_f16((const uint16_t *)(const void *)b + j * VL);
      UNROLL
      for (int i = 0; i < mr; i++)
        sum[i][j] +=
            scale * rows[i].scale *
            __builtin_convertvector(close_total(&totals[i][j], &rows[i]), vf);
    }
    b += t->width * 2 + n_words * row;
  }
  store_tile(&sum[0][0], NRV, t->c, mr, nv);
}

typedef void tile_fn(const tile *t);

#define TILE(q4, mr, nv)                                         \
  static __attribute__((noinline)) void tile_##q4##_##mr##_##nv( \
      const tile *t) {                                           \
    run_tile(t, q4, mr, nv);                                     \
  }
#if defined(__AVX512VNNI__)
#define TILES(q4, nv) TILE(q4, 1, nv) TILE(q4, 2, nv) TILE(q4, 3, nv)
#define ROW(q4, nv) \
  { tile_##q4##_1_##nv, tile_##q4##_2_##nv, tile_##q4##_3_##nv }
TILES(0, 1)
TILES(1, 1)
TILES(0, 4) TILES(1, 4) static tile_fn *const tiles[2][2][MR] = {
    {ROW(0, 1), ROW(0, 4)}, {ROW(1, 1), ROW(1, 4)}};
#else
#define TILES(q4, nv) TILE(q4, 1, nv) TILE(q4, 2, nv)
#define ROW(q4, nv) \
  { tile_##q4##_1_##nv, tile_##q4##_2_##nv }
TILES(0, 1)
TILES(1, 1)
TILES(0, 2) TILES(1, 2)
    /* By [4 bits][one vector, or NRV][rows - 1]. */
    static tile_fn *const tiles[2][2][MR] = {{ROW(0, 1), ROW(0, 2)},
                                             {ROW(1, 1), ROW(1, 2)}};
#endif

/* ---- products ---- */

/* All rows against some columns of a part of a panel. */
typedef struct part {
  const moh__gemm *g;
  int64_t k0, kc;
  int64_t j0, columns;
} part;

static void run_part(const part *s, tile *t) {
  const moh__gemm *g = s->g;
  bool wide = s->columns > NR - VL;
  tile_fn *const *row = tiles[g->type == MOH__BLOCK_Q4_0][wide];
  int64_t n;
  for (int64_t i = 0; i < g->m; i += n) {
    n = g->m - i < MR ? g->m - i : MR;
    for (int r = 0; r < n; r++) {
      t->a[r] = g->codes + row_at(g->a_rows, i + r) * g->codes_ld +
                s->k0 / MOH__BLOCK;
      t->c[r] = g->c + row_at(g->c_rows, i + r) * g->ldc + s->j0;
    }
    if (s->columns % VL == 0) {
      row[n - 1](t);
      continue;
    }
    edge e;
    edge_enter(&e, t->c, (int)n, s->columns);
    row[n - 1](t);
    edge_leave(&e, (int)n, s->columns);
  }
}

/* Columns of panel p, as many at a time as a tile takes. */
static void run_panel(const moh__gemm *g, int64_t p, int64_t k0, int64_t kc) {
  int64_t width = moh__panel_width(g->n, p);
  int64_t size = (int64_t)moh__block_bytes(g->type);
  const unsigned char *b =
      (const unsigned char *)g->blocks +
      p * MOH__PANEL * moh__packed_column_bytes(g->type, g->k) +
      k0 / MOH__BLOCK * size * width;
  int64_t first = p * MOH__PANEL;
  int64_t left = g->n - first < MOH__PANEL ? g->n - first : MOH__PANEL;
  int64_t step;
  for (int64_t j = 0; j < left; j += step) {
    step = left - j > NR - VL ? NR : VL;
    part s = {g, k0, kc, first + j, left - j < step ? left - j : step};
    tile t = {.n_blocks = kc / MOH__BLOCK,
              .b = b + 2 * j,
              .width = width,
              .to_words = 2 * width + 2 * j,
              .from_c = g->accumulate || k0 > 0};
    run_part(&s, &t);
  }
}

/* A few rows go through a panel once, from front to back. */
void SIMD(gemm_blocks)(const moh__gemm *g) {
  int64_t depth = g->m <= MR ? g->k : KC;
  for (int64_t p = 0; p * MOH__PANEL < g->n; p++)
    for (int64_t k0 = 0; k0 < g->k; k0 += depth)
      run_panel(g, p, k0, g->k - k0 < depth ? g->k - k0 : depth);
}
