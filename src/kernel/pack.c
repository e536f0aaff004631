/*
 * Packed layouts, word by word: weight panels of 64 outputs in f32 and in pairs
 * of bf16, and pages of 64 keys. simd_pack.c has the fast part.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/kernel.h"
#include "kernel/turn.h"

/* B(k, j), 0 outside of it. */
static real element(const moh__pack *p, int64_t k, int64_t j) {
  if (k >= p->k || j >= p->n) return 0;
  return p->transposed ? p->src[j * p->ld + k] : p->src[k * p->ld + j];
}

void moh__pack_words(const moh__pack *p, int64_t panel, int64_t k0,
                     int64_t n_k, int64_t j0, int64_t n_j) {
  int64_t width = moh__panel_width(p->n, panel);
  int64_t first = panel * MOH__PANEL;
  int64_t depth = moh__round_up(p->k, 2);
  for (int64_t k = k0; k < k0 + n_k; k++)
    for (int64_t j = j0; j < j0 + n_j; j++) {
      real x = element(p, k, first + j);
      if (p->dst16 == NULL)
        p->dst[first * p->k + k * width + j] = x;
      else
        p->dst16[first * depth + (k / 2 * width + j) * 2 + 1 - k % 2] =
            moh__bf16_of((float)x);
    }
}

void moh__pack_transposed(real *dst, const real *src, int64_t ld, int64_t k,
                          int64_t n) {
  moh__pack p = {src, ld, k, n, true, dst, NULL};
  moh__kernel()->pack(&p);
}

void moh__pack_rows(real *dst, const real *src, int64_t ld, int64_t k,
                    int64_t n) {
  moh__pack p = {src, ld, k, n, false, dst, NULL};
  moh__kernel()->pack(&p);
}

void moh__pack_transposed_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                               int64_t k, int64_t n) {
  moh__pack p = {src, ld, k, n, true, NULL, dst};
  moh__kernel()->pack(&p);
}

void moh__pack_rows_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                         int64_t k, int64_t n) {
  moh__pack p = {src, ld, k, n, false, NULL, dst};
  moh__kernel()->pack(&p);
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
