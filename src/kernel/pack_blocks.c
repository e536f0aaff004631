/*
 * Packing of weights that are stored as blocks, without a change of value:
 * words of a block go to where kernels read those of 64 outputs together.
 */
#include <string.h>

#include "kernel/kernel.h"

/* A panel: `width` columns, of which n exist. */
typedef struct panel {
  const unsigned char *rows;
  int64_t row_bytes, width, n;
} panel;

static uint32_t word_at(const unsigned char *at) {
  uint32_t word;
  memcpy(&word, at, sizeof(word));
  return word;
}

/* One block of each column: its scale and words of four bytes. Columns that
 * do not exist have the scale 0. */
static void pack_integers(unsigned char *dst, const panel *p, int64_t at,
                          int n_words, uint32_t flip) {
  unsigned char *words = dst + 2 * p->width;
  for (int64_t j = 0; j < p->width; j++) {
    static const unsigned char none[2 + MOH__BLOCK] = {0};
    const unsigned char *src =
        j < p->n ? p->rows + j * p->row_bytes + at : none;
    memcpy(dst + 2 * j, src, 2);
    for (int i = 0; i < n_words; i++) {
      uint32_t word = word_at(src + 2 + (ptrdiff_t)4 * i) ^ flip;
      memcpy(words + (i * p->width + j) * 4, &word, sizeof(word));
    }
  }
}

static void pack_panel(unsigned char *dst, const panel *p,
                       moh__block_type type, int64_t k) {
  int64_t size = (int64_t)moh__block_bytes(type);
  for (int64_t b = 0; b < k / MOH__BLOCK; b++, dst += size * p->width)
    if (type == MOH__BLOCK_Q8_0)
      pack_integers(dst, p, b * size, MOH__BLOCK / 4, 0x80808080);
    else
      pack_integers(dst, p, b * size, MOH__BLOCK / 8, 0);
}

static void pack_f16(unsigned char *dst, const panel *p, int64_t k) {
  memset(dst, 0, (size_t)(k * p->width) * 2);
  for (int64_t j = 0; j < p->n; j++)
    for (int64_t i = 0; i < k; i++)
      memcpy(dst + (i * p->width + j) * 2, p->rows + j * p->row_bytes + 2 * i,
             2);
}

void moh__pack_blocks(void *dst, moh__block_type type, const void *rows,
                      int64_t row_bytes, int64_t k, int64_t n) {
  for (int64_t j = 0; j < n; j += MOH__PANEL) {
    panel p = {(const unsigned char *)rows + j * row_bytes, row_bytes,
               moh__panel_width(n, j / MOH__PANEL),
               n - j < MOH__PANEL ? n - j : MOH__PANEL};
    unsigned char *to =
        (unsigned char *)dst + j * moh__packed_column_bytes(type, k);
    if (type == MOH__BLOCK_F16)
      pack_f16(to, &p, k);
    else
      pack_panel(to, &p, type, k);
  }
}
