/* What one core can do: chains of multiply-adds that stay in registers. */
#include "base/clock.h"
#include "contest.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 24, STEPS = 20000, TRIES = 25 };

/* Sums must be used, or they would not be computed. */
static volatile float sink;

__attribute__((target("avx512f"))) static void run_avx512(void) {
  __m512 sum[CHAINS];
  __m512 a = _mm512_set1_ps(1.0f - 1e-7f);
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
  for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_fmadd_ps(sum[i], a, a);
  }
  for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  sink = _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static void run_bf16(void) {
  __m512 sum[CHAINS];
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f003f00);
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
  for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], a, a);
  }
  for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  sink = _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx2,fma"))) static void run_avx2(void) {
  __m256 sum[12];
  __m256 a = _mm256_set1_ps(1.0f - 1e-7f);
  for (int i = 0; i < 12; i++) sum[i] = _mm256_set1_ps((float)i);
  for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) sum[i] = _mm256_fmadd_ps(sum[i], a, a);
  }
  float out[8];
  for (int i = 1; i < 12; i++) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  _mm256_storeu_ps(out, sum[0]);
  sink = out[0];
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_rate(void (*run)(void), double flops) {
  double rates[TRIES];
  for (int i = 0; i < TRIES; i++) {
    double start = moh__thread_seconds();
    run();
    rates[i] = flops / (moh__thread_seconds() - start) * 1e-9;
  }
  qsort(rates, TRIES, sizeof(double), compare);
  return rates[TRIES / 2];
}

double peak_rate(bool bf16) {
  if (bf16)
    return __builtin_cpu_supports("avx512bf16")
               ? median_rate(run_bf16, 64.0 * CHAINS * STEPS)
               : 0;
  if (__builtin_cpu_supports("avx512f"))
    return median_rate(run_avx512, 32.0 * CHAINS * STEPS);
  if (__builtin_cpu_supports("avx2"))
    return median_rate(run_avx2, 16.0 * 12 * STEPS);
  return 0;
}
#else
double peak_rate(bool bf16) {
  (void)bf16;
  return 0;
}
#endif
