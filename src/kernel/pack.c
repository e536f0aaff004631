/* Packed layouts: weight panels of 64 outputs, and pages of 64 keys. */
#include "base/checked.h"
#include "kernel/kernel.h"

enum { TILE = 16 }; /* rows of the source that are turned together */

/* TILE columns of a panel; zeros from column n on. */
static void pack_columns(real *panel, int64_t width, const real *src,
                         int64_t ld, int64_t k, int64_t n) {
  for (int64_t i = 0; n >= TILE && i < k; i++)
    for (int64_t j = 0; j < TILE; j++) panel[i * width + j] = src[j * ld + i];
  for (int64_t i = 0; n < TILE && i < k; i++)
    for (int64_t j = 0; j < TILE; j++)
      panel[i * width + j] = j < n ? src[j * ld + i] : 0;
}

void moh__pack_transposed(real *dst, const real *src, int64_t ld, int64_t k,
                          int64_t n) {
  for (int64_t p = 0; p * MOH__PANEL < n; p++) {
    int64_t width = moh__panel_width(n, p);
    real *panel = dst + p * MOH__PANEL * k;
    for (int64_t j = 0; j < width; j += TILE) {
      int64_t from = p * MOH__PANEL + j;
      pack_columns(panel + j, width, src + from * ld, ld, k, n - from);
    }
  }
}

void moh__page_write(real *page, int64_t d, int64_t slot, const real *k,
                     const real *v) {
  real *value = page + d * MOH__PANEL + slot * d;
  for (int64_t c = 0; c < d; c++) {
    page[c * MOH__PANEL + slot] = k[c];
    value[c] = v[c];
  }
}
