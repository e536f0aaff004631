/*
 * Packed layouts: weight panels of 64 outputs in f32 and in pairs of bf16,
 * and pages of 64 keys. Panels are filled by squares of 4 x 4 words, which
 * vectors of 128 bits turn over.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/kernel.h"
#include "kernel/turn.h"

moh__bf16 moh__bf16_of(real x) {
  float f = (float)x;
  uint32_t u;
  memcpy(&u, &f, sizeof(u));
  if (f != f) return (moh__bf16)((u | 0x400000) >> 16);
  return (moh__bf16)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* What a panel is filled from, and where its columns begin. */
typedef struct source {
  const real *src;
  int64_t ld;
  bool transposed; /* B(k, j) = src[j * ld + k]; else src[k * ld + j] */
  int64_t k, n;
} source;

static real element(const source *s, int64_t k, int64_t j) {
  if (k >= s->k || j >= s->n) return 0;
  return s->transposed ? s->src[j * s->ld + k] : s->src[k * s->ld + j];
}

/* ---- word by word: edges, and everything in double ---- */

static void fill_f32(real *panel, int64_t width, const source *s, int64_t k0,
                     int64_t n_k, int64_t j0, int64_t n_j, int64_t j_panel) {
  for (int64_t k = k0; k < k0 + n_k; k++)
    for (int64_t j = j0; j < j0 + n_j; j++)
      panel[k * width + j] = element(s, k, j_panel + j);
}

static void fill_bf16(moh__bf16 *panel, int64_t width, const source *s,
                      int64_t k0, int64_t n_k, int64_t j0, int64_t n_j,
                      int64_t j_panel) {
  for (int64_t k = k0; k < k0 + n_k; k++)
    for (int64_t j = j0; j < j0 + n_j; j++)
      panel[(k / 2 * width + j) * 2 + 1 - k % 2] =
          moh__bf16_of(element(s, k, j_panel + j));
}

/* ---- by vectors: how much of a panel they fill ---- */

typedef struct filled {
  int64_t k, j; /* whole columns of whole blocks in depth */
} filled;

#ifdef MOH_REAL_DOUBLE
static filled fill_f32_fast(real *panel, int64_t width, const source *s,
                            int64_t j_panel) {
  (void)panel, (void)width, (void)s, (void)j_panel;
  return (filled){0, 0};
}
static filled fill_bf16_fast(moh__bf16 *panel, int64_t width, const source *s,
                             int64_t j_panel) {
  (void)panel, (void)width, (void)s, (void)j_panel;
  return (filled){0, 0};
}
#else
typedef float v4 __attribute__((vector_size(16)));
typedef moh__words i4;

/* As moh__bf16_of; the result is in the low half. */
static inline i4 round4(i4 u) {
  v4 x = (v4)u;
  i4 nan = (i4)(x != x);
  i4 rounded = u + 0x7fff + ((u >> 16) & 1);
  return (((rounded & ~nan) | ((u | 0x400000) & nan)) >> 16) & 0xffff;
}
static inline i4 pair_up(i4 even, i4 odd) {
  return round4(even) << 16 | round4(odd);
}

/* Columns of a panel that exist, in fours. */
static int64_t whole_columns(const source *s, int64_t width,
                             int64_t j_panel) {
  int64_t n = s->n - j_panel < width ? s->n - j_panel : width;
  return n / 4 * 4;
}

static filled fill_f32_fast(real *panel, int64_t width, const source *s,
                            int64_t j_panel) {
  filled done = {s->k / 4 * 4, whole_columns(s, width, j_panel)};
  for (int64_t k = 0; k < done.k; k += 4)
    for (int64_t j = 0; j < done.j; j += 4) {
      i4 r[4];
      for (int q = 0; q < 4; q++)
        r[q] = moh__words_load(s->transposed
                                   ? s->src + (j_panel + j + q) * s->ld + k
                                   : s->src + (k + q) * s->ld + j_panel + j);
      if (s->transposed) moh__words_turn(r);
      for (int q = 0; q < 4; q++)
        moh__words_store(panel + (k + q) * width + j, r[q]);
    }
  return done;
}

/* Four pairs of the row of column j, from k on. */
static inline i4 row_pairs(const source *s, int64_t k, int64_t j) {
  const float *src = s->src + j * s->ld + k;
  i4 a = moh__words_load(src);
  i4 b = moh__words_load(src + 4);
  return pair_up(__builtin_shufflevector(a, b, 0, 2, 4, 6),
                 __builtin_shufflevector(a, b, 1, 3, 5, 7));
}

static filled fill_bf16_fast(moh__bf16 *panel, int64_t width, const source *s,
                             int64_t j_panel) {
  filled done = {s->k / 8 * 8, whole_columns(s, width, j_panel)};
  for (int64_t k = 0; k < done.k; k += 8)
    for (int64_t j = 0; j < done.j; j += 4) {
      i4 r[4];
      for (int q = 0; q < 4; q++)
        r[q] =
            s->transposed
                ? row_pairs(s, k, j_panel + j + q)
                : pair_up(moh__words_load(s->src + (k + 2 * q) * s->ld +
                                          j_panel + j),
                          moh__words_load(s->src + (k + 2 * q + 1) * s->ld +
                                          j_panel + j));
      if (s->transposed) moh__words_turn(r);
      for (int q = 0; q < 4; q++)
        moh__words_store(panel + ((k / 2 + q) * width + j) * 2, r[q]);
    }
  return done;
}
#endif

/* ---- all panels ---- */

static void pack_f32(real *dst, const source *s) {
  for (int64_t p = 0; p * MOH__PANEL < s->n; p++) {
    int64_t j = p * MOH__PANEL;
    int64_t width = moh__panel_width(s->n, p);
    real *panel = dst + j * s->k;
    filled done = fill_f32_fast(panel, width, s, j);
    fill_f32(panel, width, s, 0, done.k, done.j, width - done.j, j);
    fill_f32(panel, width, s, done.k, s->k - done.k, 0, width, j);
  }
}

static void pack_bf16(moh__bf16 *dst, const source *s) {
  int64_t depth = moh__round_up(s->k, 2);
  for (int64_t p = 0; p * MOH__PANEL < s->n; p++) {
    int64_t j = p * MOH__PANEL;
    int64_t width = moh__panel_width(s->n, p);
    moh__bf16 *panel = dst + j * depth;
    filled done = fill_bf16_fast(panel, width, s, j);
    fill_bf16(panel, width, s, 0, done.k, done.j, width - done.j, j);
    fill_bf16(panel, width, s, done.k, depth - done.k, 0, width, j);
  }
}

void moh__pack_transposed(real *dst, const real *src, int64_t ld, int64_t k,
                          int64_t n) {
  pack_f32(dst, &(source){src, ld, true, k, n});
}

void moh__pack_rows(real *dst, const real *src, int64_t ld, int64_t k,
                    int64_t n) {
  pack_f32(dst, &(source){src, ld, false, k, n});
}

void moh__pack_transposed_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                               int64_t k, int64_t n) {
  pack_bf16(dst, &(source){src, ld, true, k, n});
}

void moh__pack_rows_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                         int64_t k, int64_t n) {
  pack_bf16(dst, &(source){src, ld, false, k, n});
}

/* ---- pages ---- */

void moh__page_write(real *page, int64_t d, int64_t slot, int64_t n,
                     const real *k, const real *v, int64_t ld) {
  real *value = page + d * MOH__PANEL + slot * d;
  for (int64_t i = 0; i < n; i++)
    memcpy(value + i * d, v + i * ld, (size_t)d * sizeof(real));
#ifdef MOH_REAL_DOUBLE
  for (int64_t i = 0; i < n; i++)
    for (int64_t c = 0; c < d; c++)
      page[c * MOH__PANEL + slot + i] = k[i * ld + c];
#else
  moh__turn_floats(page + slot, MOH__PANEL, k, ld, n, d);
#endif
}
