/*
 * Vectors of MOH_SIMD_LANES floats by the compiler's vector extensions: one
 * source for SSE2, AVX2, AVX-512 and NEON. Included by the simd_*.c files
 * only, each compiled once per instruction set; SIMD(x) gives every build
 * its own names.
 */
#ifndef MOH_KERNEL_SIMD_H
#define MOH_KERNEL_SIMD_H

#include <string.h>

#include "base/checked.h"
#include "kernel/kernel.h"

#define VL MOH_SIMD_LANES
#define SIMD_JOIN_(a, b) a##_##b
#define SIMD_JOIN(a, b) SIMD_JOIN_(a, b)
#define SIMD(x) SIMD_JOIN(moh__##x, MOH_SIMD_NAME)
#define SIMD_TEXT_(x) #x
#define SIMD_TEXT(x) SIMD_TEXT_(x)
#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef float vf_any
    __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vf load(const float *p) { return *(const vf_any *)p; }
INLINE void store(float *p, vf v) { *(vf_any *)p = v; }
INLINE vf splat(float x) { return x - (vf){0}; }

/* The first n < VL of a vector; the others are `rest`. */
INLINE vf load_part(const float *p, int64_t n, float rest) {
  float t[VL];
  for (int i = 0; i < VL; i++) t[i] = rest;
  memcpy(t, p, (size_t)n * sizeof(float));
  return load(t);
}
INLINE void store_part(float *p, vf v, int64_t n) {
  float t[VL];
  store(t, v);
  memcpy(p, t, (size_t)n * sizeof(float));
}
INLINE vf load_up_to(const float *p, int64_t left, float rest) {
  return left >= VL ? load(p) : load_part(p, left, rest);
}
INLINE void store_up_to(float *p, vf v, int64_t left) {
  if (left >= VL)
    store(p, v);
  else
    store_part(p, v, left);
}

/* A tile's sums, mr rows of nv vectors (constants), from C and back to it.
 * c NULL: from zero. */
INLINE void load_tile(vf *sum, const int width, float *const *c, const int mr,
                      const int nv) {
  UNROLL
  for (int i = 0; i < mr; i++) {
    UNROLL
    for (int j = 0; j < nv; j++)
      sum[i * width + j] = c == NULL ? (vf){0} : load(c[i] + j * VL);
  }
}
INLINE void store_tile(const vf *sum, const int width, float *const *c,
                       const int mr, const int nv) {
  UNROLL
  for (int i = 0; i < mr; i++) {
    UNROLL
    for (int j = 0; j < nv; j++) store(c[i] + j * VL, sum[i * width + j]);
  }
}

/* Stands in for rows of C whose last vector is not whole: n rows of
 * `columns` floats are copied here and back. */
typedef struct edge {
  float rows[8][4 * VL];
  float *c[8];
} edge;

INLINE void edge_enter(edge *e, float **c, int n, int64_t columns) {
  for (int r = 0; r < n; r++) {
    memset(e->rows[r], 0, sizeof(e->rows[r]));
    memcpy(e->rows[r], c[r], (size_t)columns * sizeof(float));
    e->c[r] = c[r];
    c[r] = e->rows[r];
  }
}
INLINE void edge_leave(const edge *e, int n, int64_t columns) {
  for (int r = 0; r < n; r++)
    memcpy(e->c[r], e->rows[r], (size_t)columns * sizeof(float));
}

INLINE int64_t row_at(const int32_t *index, int64_t i) {
  return index == NULL ? i : index[i];
}

INLINE vf choose(vi mask, vf yes, vf no) {
  return (vf)(((vi)yes & mask) | ((vi)no & ~mask));
}
/* NaN in either operand of a > b gives b. */
INLINE vf larger(vf a, vf b) { return choose((vi)(a > b), a, b); }

/* VL lanes of v and then w, from lane n of v on. */
#if VL == 16
#define LANES_FROM(v, w, n)                                                 \
  __builtin_shufflevector(v, w, (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4,    \
                          (n) + 5, (n) + 6, (n) + 7, (n) + 8, (n) + 9,      \
                          (n) + 10, (n) + 11, (n) + 12, (n) + 13, (n) + 14, \
                          (n) + 15)
#elif VL == 8
#define LANES_FROM(v, w, n)                                              \
  __builtin_shufflevector(v, w, (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, \
                          (n) + 5, (n) + 6, (n) + 7)
#else
#define LANES_FROM(v, w, n) \
  __builtin_shufflevector(v, w, (n), (n) + 1, (n) + 2, (n) + 3)
#endif

/* v with its lanes turned by a half, a quarter, ... of their number. */
#define TURN_LANES(v, n) LANES_FROM(v, v, n)

/* Joins all lanes of v by halves, a fixed tree: the first holds the result. */
#if VL == 16
#define FOLD_TO_8(v, join) (v) = join(v, TURN_LANES(v, 8))
#else
#define FOLD_TO_8(v, join)
#endif
#if VL >= 8
#define FOLD_TO_4(v, join) (v) = join(v, TURN_LANES(v, 4))
#else
#define FOLD_TO_4(v, join)
#endif
#define FOLD_LANES(v, join)          \
  do {                               \
    FOLD_TO_8(v, join);              \
    FOLD_TO_4(v, join);              \
    (v) = join(v, TURN_LANES(v, 2)); \
    (v) = join(v, TURN_LANES(v, 1)); \
  } while (0)
#define LANES_PLUS(v, w) ((v) + (w))

INLINE float lanes_sum(vf v) {
  FOLD_LANES(v, LANES_PLUS);
  return v[0];
}

/* Each lane becomes the sum of itself and those behind it. */
INLINE vf sums_from_behind(vf v) {
  const vf zero = {0};
  v += LANES_FROM(v, zero, 1);
  v += LANES_FROM(v, zero, 2);
#if VL >= 8
  v += LANES_FROM(v, zero, 4);
#endif
#if VL == 16
  v += LANES_FROM(v, zero, 8);
#endif
  return v;
}

/* Each lane becomes the sum of itself and those before it. */
INLINE vf sums_from_before(vf v) {
  const vf zero = {0};
  v += LANES_FROM(zero, v, VL - 1);
  v += LANES_FROM(zero, v, VL - 2);
#if VL >= 8
  v += LANES_FROM(zero, v, VL - 4);
#endif
#if VL == 16
  v += LANES_FROM(zero, v, VL - 8);
#endif
  return v;
}

/* The largest lane; none may be NaN. */
INLINE float lanes_max(vf v) {
  FOLD_LANES(v, larger);
  return v[0];
}

/*
 * exp(x) with a relative error under 2e-7: x = n ln 2 + r, |r| <= ln 2 / 2,
 * a polynomial of degree 7 for exp(r) (Taylor with the coefficients of
 * Cephes' expf), times 2^n. exp(0) is exactly 1; below -87.3 the result is
 * exactly 0, above 88.7 (vexp_below: not asked for) it is infinite; NaN stays
 * NaN.
 */
INLINE vf vexp_below(vf x) {
  vi low = (vi)(x < -87.3f);
  vf clamped = choose(low, splat(-87.3f), x);
  vf shifted = clamped * 1.44269504088896341f + 12582912.0f;
  vf n = shifted - 12582912.0f; /* rounded to a whole number */
  vf power = (vf)((((vi)shifted) << 23) + 0x3f800000); /* 2^n */
  vf r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vf p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return choose(low, splat(0.0f), p * power);
}
INLINE vf vexp(vf x) {
  vi high = (vi)(x > 88.7f);
  vf y = vexp_below(choose(high, splat(0.0f), x));
  return choose(high, splat(__builtin_inff()), y);
}

/* Between the simd_*.c files of one instruction set. */
void SIMD(gemm)(const moh__gemm *g, void *scratch);
void SIMD(gemm_at)(const moh__gemm *g, void *scratch);
void SIMD(pack)(const moh__pack *p);
void SIMD(gemm_f16)(const moh__gemm *g, void *scratch);
void SIMD(gemm_blocks)(const moh__gemm *g);
void SIMD(encode)(moh__codes *dst, moh__block_type type, const float *x,
                  int64_t k);
void SIMD(gemm_bf16)(const moh__gemm *g, void *scratch);
void SIMD(gemm_at_bf16)(const moh__gemm *g, void *scratch);
void SIMD(attention)(const moh__attention *a, void *scratch);
void SIMD(attention_grad)(const moh__attention_grad *b, int64_t n,
                          void *scratch);

#endif
