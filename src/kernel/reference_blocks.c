/*
 * The plain reference of products with weights in blocks: rows rounded to
 * integers, sums of integers, and what a packed block holds.
 */
#include <string.h>

#include "kernel/reference.h"

void moh__reference_encode(moh__codes *dst, moh__block_type type,
                           const real *x, int64_t k) {
  for (; k > 0; k -= MOH__BLOCK, x += MOH__BLOCK, dst++) {
    float most = 0;
    for (int i = 0; i < MOH__BLOCK; i++) {
      float size = fabsf((float)x[i]);
      if (size > most || isnan(size)) most = size;
    }
    memset(dst, 0, sizeof(*dst));
    if (!isfinite(most)) dst->scale = NAN;
    if (!isfinite(most) || most < 0x1p-100F) continue;
    float inverse = 127 / most;
    int32_t sum = 0;
    dst->scale = most / 127;
    for (int i = 0; i < MOH__BLOCK; i++) {
      dst->q[i] = (int8_t)lrintf((float)x[i] * inverse);
      sum += dst->q[i];
    }
    dst->start = sum * (type == MOH__BLOCK_Q8_0 ? -128 : -8);
  }
}

/* A block of depth of a panel, and a column of it. */
typedef struct place {
  const unsigned char *block;
  int64_t width, j;
} place;

static place place_of(const moh__gemm *g, int64_t b, int64_t j) {
  int64_t p = j / MOH__PANEL;
  int64_t width = moh__panel_width(g->n, p);
  const unsigned char *panel =
      (const unsigned char *)g->blocks +
      p * MOH__PANEL * moh__packed_column_bytes(g->type, g->k);
  int64_t size = width * (int64_t)moh__block_bytes(g->type);
  return (place){panel + b * size, width, j % MOH__PANEL};
}

static float f16_of(const unsigned char *at) {
  uint16_t bits;
  memcpy(&bits, at, sizeof(bits));
  return moh__f16_value(bits);
}

/* What is stored of the integer for k of a block: with 128 or 8 more. */
static int32_t integer_at(const moh__gemm *g, const place *at, int k) {
  const unsigned char *words = at->block + 2 * at->width;
  if (g->type == MOH__BLOCK_Q8_0)
    return words[(k / 4 * at->width + at->j) * 4 + k % 4];
  int byte = words[(k % 16 / 4 * at->width + at->j) * 4 + k % 4];
  return k < 16 ? byte & 15 : byte >> 4;
}

real moh__reference_chain(const moh__gemm *g, const moh__codes *a, int64_t j,
                          real sum) {
  for (int64_t b = 0; b < g->k / MOH__BLOCK; b++, a++) {
    place at = place_of(g, b, j);
    int32_t total = a->start;
    for (int k = 0; k < MOH__BLOCK; k++)
      total += a->q[k] * integer_at(g, &at, k);
    float scale = a->scale * f16_of(at.block + 2 * at.j);
    sum += scale * (real)total;
  }
  return sum;
}

real moh__reference_f16(const moh__gemm *g, int64_t k, int64_t j) {
  place at = place_of(g, k, j);
  return f16_of(at.block + 2 * at.j);
}
