/*
 * Packing of weights: panels are filled by squares of 4 x 4 words, which
 * vectors of 128 bits turn over; edges word by word.
 */
#include "kernel/simd.h"
#include "kernel/turn.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

typedef moh__words i4;

#if defined(__AVX512BF16__)
/* x and y, four floats each, as bf16 in the order of memory. */
INLINE i4 round_both(i4 x, i4 y) {
  __m256 both = _mm256_setr_m128((__m128)x, (__m128)y);
  return (i4)_mm256_cvtneps_pbh(both);
}
INLINE i4 pair_up(i4 even, i4 odd) {
  __m128i both = (__m128i)round_both(odd, even);
  return (i4)_mm_unpacklo_epi16(both, _mm_unpackhi_epi64(both, both));
}
/* Neighbours become pairs, the first in the upper half. */
INLINE i4 pair_neighbours(i4 x, i4 y) {
  return (i4)_mm_rol_epi32((__m128i)round_both(x, y), 16);
}
#else
typedef float v4 __attribute__((vector_size(16)));

/* As moh__bf16_of; the result is in the low half. */
INLINE i4 round4(i4 u) {
  v4 x = (v4)u;
  i4 nan = (i4)(x != x);
  i4 rounded = u + 0x7fff + ((u >> 16) & 1);
  return (((rounded & ~nan) | ((u | 0x400000) & nan)) >> 16) & 0xffff;
}
INLINE i4 pair_up(i4 even, i4 odd) {
  return round4(even) << 16 | round4(odd);
}
INLINE i4 pair_neighbours(i4 x, i4 y) {
  return pair_up(__builtin_shufflevector(x, y, 0, 2, 4, 6),
                 __builtin_shufflevector(x, y, 1, 3, 5, 7));
}
#endif

/* Whole columns of whole blocks in depth, of panel p. */
typedef struct filled {
  int64_t k, j;
} filled;

static filled whole_part(const moh__pack *p, int64_t panel, int64_t block) {
  int64_t left = p->n - panel * MOH__PANEL;
  int64_t columns = left < MOH__PANEL ? left : MOH__PANEL;
  return (filled){p->k / block * block, columns / 4 * 4};
}

static filled fill_f32(const moh__pack *p, int64_t panel) {
  int64_t width = moh__panel_width(p->n, panel);
  int64_t first = panel * MOH__PANEL;
  float *dst = p->dst + first * p->k;
  filled done = whole_part(p, panel, 4);
  for (int64_t k = 0; k < done.k; k += 4)
    for (int64_t j = 0; j < done.j; j += 4) {
      i4 r[4];
      for (int q = 0; q < 4; q++)
        r[q] = moh__words_load(p->transposed
                                   ? p->src + (first + j + q) * p->ld + k
                                   : p->src + (k + q) * p->ld + first + j);
      if (p->transposed) moh__words_turn(r);
      for (int q = 0; q < 4; q++)
        moh__words_store(dst + (k + q) * width + j, r[q]);
    }
  return done;
}

/* Four pairs of column j from k on; and pair k of four columns from j on. */
INLINE i4 pairs_down(const moh__pack *p, int64_t k, int64_t j) {
  const float *src = p->src + j * p->ld + k;
  return pair_neighbours(moh__words_load(src), moh__words_load(src + 4));
}
INLINE i4 pairs_along(const moh__pack *p, int64_t k, int64_t j) {
  const float *src = p->src + k * p->ld + j;
  return pair_up(moh__words_load(src), moh__words_load(src + p->ld));
}

static filled fill_bf16(const moh__pack *p, int64_t panel) {
  int64_t width = moh__panel_width(p->n, panel);
  int64_t first = panel * MOH__PANEL;
  moh__bf16 *dst = p->dst16 + first * moh__round_up(p->k, 2);
  filled done = whole_part(p, panel, 8);
  for (int64_t k = 0; k < done.k; k += 8)
    for (int64_t j = 0; j < done.j; j += 4) {
      i4 r[4];
      for (int q = 0; q < 4; q++)
        r[q] = p->transposed ? pairs_down(p, k, first + j + q)
                             : pairs_along(p, k + 2 * q, first + j);
      if (p->transposed) moh__words_turn(r);
      for (int q = 0; q < 4; q++)
        moh__words_store(dst + ((k / 2 + q) * width + j) * 2, r[q]);
    }
  return done;
}

void SIMD(pack)(const moh__pack *p) {
  int64_t depth = p->dst16 == NULL ? p->k : moh__round_up(p->k, 2);
  for (int64_t panel = 0; panel * MOH__PANEL < p->n; panel++) {
    int64_t width = moh__panel_width(p->n, panel);
    filled done = p->dst16 == NULL ? fill_f32(p, panel) : fill_bf16(p, panel);
    moh__pack_words(p, panel, 0, done.k, done.j, width - done.j);
    moh__pack_words(p, panel, done.k, depth - done.k, 0, width);
  }
}
