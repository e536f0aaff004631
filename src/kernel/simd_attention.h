/* What attention needs in both directions. */
#ifndef MOH_KERNEL_SIMD_ATTENTION_H
#define MOH_KERNEL_SIMD_ATTENTION_H

#include "kernel/simd.h"

enum {
  GEMM_SCRATCH = MOH__SCRATCH_BYTES / 2 /* second half: for products */
};

INLINE void *gemm_scratch(void *scratch) {
  return (char *)scratch + GEMM_SCRATCH;
}

INLINE const float *page_at(const moh__keys *keys, int64_t key) {
  return keys->pages + keys->page_ids[key / MOH__PANEL] * keys->page_stride;
}

INLINE int64_t at_most(int64_t n, int64_t limit) {
  return n < limit ? n : limit;
}

/* x = exp(x * scale - shift) over the first n of `width`, 0 behind them;
 * returns the sum. */
INLINE float exp_row(float *x, float scale, float shift, int64_t n,
                     int64_t width) {
  vf sum0 = {0};
  vf sum1 = {0};
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    vf a = vexp_below(load(x + i) * scale - shift);
    vf b = vexp_below(load(x + i + VL) * scale - shift);
    store(x + i, a);
    store(x + i + VL, b);
    sum0 += a;
    sum1 += b;
  }
  for (; i < n; i += VL) { /* what is behind x[n - 1] may be anything */
    vf a = load_up_to(x + i, n - i, -__builtin_inff());
    a = vexp_below(a * scale - shift);
    store(x + i, a);
    sum0 += a;
  }
  for (; i < width; i += VL) store(x + i, (vf){0});
  return lanes_sum(sum0 + sum1);
}

#endif
