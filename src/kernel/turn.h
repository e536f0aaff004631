/* Squares of 4 x 4 words, turned over in vectors of 128 bits. */
#ifndef MOH_KERNEL_TURN_H
#define MOH_KERNEL_TURN_H

#include <stdint.h>

typedef int32_t moh__words __attribute__((vector_size(16)));
typedef int32_t moh__words_any
    __attribute__((vector_size(16), aligned(4), may_alias));

static inline moh__words moh__words_load(const void *p) {
  return *(const moh__words_any *)p;
}
static inline void moh__words_store(void *p, moh__words v) {
  *(moh__words_any *)p = v;
}

/* Rows become columns. */
static inline void moh__words_turn(moh__words r[4]) {
  moh__words a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  moh__words b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  moh__words c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  moh__words d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* dst[c * ld_dst + r] = src[r * ld_src + c], r < rows, c < columns. */
static inline void moh__turn_floats(float *dst, int64_t ld_dst,
                                    const float *src, int64_t ld_src,
                                    int64_t rows, int64_t columns) {
  int64_t whole_rows = rows / 4 * 4;
  int64_t whole_columns = columns / 4 * 4;
  for (int64_t r = 0; r < whole_rows; r += 4)
    for (int64_t c = 0; c < whole_columns; c += 4) {
      moh__words w[4];
      for (int q = 0; q < 4; q++)
        w[q] = moh__words_load(src + (r + q) * ld_src + c);
      moh__words_turn(w);
      for (int q = 0; q < 4; q++)
        moh__words_store(dst + (c + q) * ld_dst + r, w[q]);
    }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
      dst[c * ld_dst + r] = src[r * ld_src + c];
}

#endif
