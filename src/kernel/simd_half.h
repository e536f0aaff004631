/* Vectors of f16, widened to f32. */
#ifndef MOH_KERNEL_SIMD_HALF_H
#define MOH_KERNEL_SIMD_HALF_H

#include "kernel/simd.h"

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
INLINE vf load_f16(const uint16_t *p) {
  return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
#elif defined(__F16C__)
INLINE vf load_f16(const uint16_t *p) {
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
#else
typedef uint16_t halves __attribute__((vector_size(VL * 2)));

/* Exponents of f32 begin 112 lower; a product sees to subnormal numbers. */
INLINE vf load_f16(const uint16_t *p) {
  halves bits;
  memcpy(&bits, p, sizeof(bits));
  vi wide = __builtin_convertvector(bits, vi);
  vi rest = (wide & 0x7fff) << 13;
  vf size = (vf)rest * 0x1p112F;
  vi special = (vi)(rest >= 31 << 23);
  return (vf)((vi)choose(special, (vf)(rest | 0x7f800000), size) |
              (wide & 0x8000) << 16);
}
#endif

#endif
