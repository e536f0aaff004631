/*
 * Row operations, and the table of this instruction set. Sums run in four
 * vectors of partial sums and are added up in a fixed order.
 */
#include "kernel/simd.h"

static float rows_dot(const float *x, const float *y, int64_t n) {
  vf part[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL) UNROLL
  for (int j = 0; j < 4; j++)
    part[j] += load(x + i + j * VL) * load(y + i + j * VL);
  for (; i < n; i += VL)
    part[0] += load_up_to(x + i, n - i, 0) * load_up_to(y + i, n - i, 0);
  return lanes_sum((part[0] + part[1]) + (part[2] + part[3]));
}

static float rows_sum(const float *x, int64_t n) {
  vf part[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL) UNROLL
  for (int j = 0; j < 4; j++) part[j] += load(x + i + j * VL);
  for (; i < n; i += VL) part[0] += load_up_to(x + i, n - i, 0);
  return lanes_sum((part[0] + part[1]) + (part[2] + part[3]));
}

/* NaN is sticky: a lane that has seen one keeps it. */
INLINE vf larger_or_nan(vf a, vf b) {
  return choose((vi)(a > b) | (vi)(a != a), a, b);
}

static float rows_max(const float *x, int64_t n) {
  vf best = splat(x[0]);
  for (int64_t i = 0; i < n; i += VL) {
    vf v = load_up_to(x + i, n - i, x[0]);
    best = choose((vi)(v != v), v, larger_or_nan(best, v));
  }
  float t[VL];
  store(t, best);
  float m = t[0];
  for (int i = 1; i < VL; i++)
    if (t[i] > m || t[i] != t[i]) m = t[i];
  return m;
}

static void rows_add(float *y, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

static void rows_axpy(float *y, float a, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void rows_scale(float *y, float a, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
}

static void rows_scale_gain(float *y, const float *x, float shift, float a,
                            const float *gain, int64_t n) {
  if (gain == NULL) {
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - shift) * a;
    return;
  }
  for (int64_t i = 0; i < n; i++) y[i] = (x[i] - shift) * a * gain[i];
}

static float rows_exp_sum(float *x, float shift, int64_t n) {
  vf part[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL) UNROLL
  for (int j = 0; j < 4; j++) {
    vf e = vexp(load(x + i + j * VL) - shift);
    store(x + i + j * VL, e);
    part[j] += e;
  }
  for (; i < n; i += VL) {
    float nothing = -__builtin_inff(); /* its exponential is 0 */
    vf e = vexp(load_up_to(x + i, n - i, nothing) - shift);
    store_up_to(x + i, e, n - i);
    if (n - i < VL) e = load_part(x + i, n - i, 0);
    part[0] += e;
  }
  return lanes_sum((part[0] + part[1]) + (part[2] + part[3]));
}

INLINE vf sigmoid(vf z) { return 1.0f / (1.0f + vexp(-z)); }

static void rows_swiglu(float *y, const float *gate, const float *up,
                        int64_t n) {
  for (int64_t i = 0; i < n; i += VL) {
    vf z = load_up_to(gate + i, n - i, 0);
    vf u = load_up_to(up + i, n - i, 0);
    store_up_to(y + i, z * sigmoid(z) * u, n - i);
  }
}

/* silu'(z) = s (1 + z (1 - s)), s = sigmoid(z). */
static void rows_swiglu_grad(float *dgate, float *dup, const float *dy,
                             const float *gate, const float *up,
                             int64_t n) {
  for (int64_t i = 0; i < n; i += VL) {
    vf z = load_up_to(gate + i, n - i, 0);
    vf u = load_up_to(up + i, n - i, 0);
    vf d = load_up_to(dy + i, n - i, 0);
    vf s = sigmoid(z);
    vf dz = d * u * s * (1.0f + z * (1.0f - s));
    vf du = d * z * s;
    store_up_to(dgate + i, load_up_to(dgate + i, n - i, 0) + dz, n - i);
    store_up_to(dup + i, load_up_to(dup + i, n - i, 0) + du, n - i);
  }
}

static double rows_sum_squares(const float *x, int64_t n) {
  double part[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++)
      part[j] += (double)x[i + j] * (double)x[i + j];
  for (; i < n; i++) part[i % 8] += (double)x[i] * (double)x[i];
  return ((part[0] + part[4]) + (part[1] + part[5])) +
         ((part[2] + part[6]) + (part[3] + part[7]));
}

/* Phi(-|z|) / exp(-z^2 / 2), by the rational approximation of the error
 * function in Abramowitz and Stegun, 7.1.26, whose absolute error is under
 * 1.5e-7. */
INLINE vf tail_over_exp(vf z) {
  vf size = choose((vi)(z < 0.0f), -z, z) * 0.70710678f;
  vf t = 1.0f / (1.0f + 0.3275911f * size);
  vf p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  return 0.5f * p * t;
}

INLINE void gelu_of(vf z, vf *y, vf *slope) {
  vf e = vexp_below(-0.5f * z * z);
  vf tail = tail_over_exp(z) * e;
  vf below = choose((vi)(z < 0.0f), tail, 1.0f - tail);
  *y = z * below;
  *slope = below + z * 0.39894228f * e;
}

static void rows_gelu(float *y, float *slope, const float *x, float by,
                      int64_t n) {
  for (int64_t i = 0; i < n; i += VL) {
    vf value, steep;
    gelu_of(load_up_to(x + i, n - i, 0) * by, &value, &steep);
    store_up_to(y + i, value, n - i);
    if (slope != NULL) store_up_to(slope + i, steep, n - i);
  }
}

/* tanh with a relative error under 4e-7: near 0 z plus a polynomial in z^2
 * (the coefficients of Cephes' tanhf), elsewhere 1 - 2 / (exp(2 |z|) + 1) with
 * the sign of z. NaN stays NaN. */
INLINE vf tanh_of(vf z) {
  vf size = choose((vi)(z < 0.0f), -z, z);
  vf square = z * z;
  vf p = splat(-5.70498872745e-3f);
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  vf near = z + z * square * p;
  vf far = 1.0f - 2.0f / (vexp(2.0f * size) + 1.0f);
  far = choose((vi)(z < 0.0f), -far, far);
  return choose((vi)(size < 0.625f), near, far);
}

static void rows_tanh(float *y, const float *x, float by, int64_t n) {
  for (int64_t i = 0; i < n; i += VL)
    store_up_to(y + i, tanh_of(load_up_to(x + i, n - i, 0) * by), n - i);
}

/* `second`: where the second moment of the step is taken from, and kept. */
static inline void adamw_element(const moh__adamw *a, float *w, float g,
                                 float *m, float *v, float *second) {
  float gi = g * a->grad_scale + a->l2 * *w;
  *m = a->beta1 * *m + (1 - a->beta1) * gi;
  *v = a->beta2 * *v + (1 - a->beta2) * gi * gi;
  *second = *v > *second ? *v : *second;
  float m_hat = *m / a->correct1;
  float v_hat = *second / a->correct2;
  float step = m_hat / (__builtin_sqrtf(v_hat) + a->eps);
  *w -= a->lr * (step + a->decay * *w);
}

static void rows_adamw(const moh__adamw *a, float *w, const float *g,
                       float *m, float *v, float *v_max, int64_t n) {
  if (v_max != NULL) {
    for (int64_t i = 0; i < n; i++)
      adamw_element(a, w + i, g[i], m + i, v + i, v_max + i);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    float second = 0; /* v is never negative: the largest is v itself */
    adamw_element(a, w + i, g[i], m + i, v + i, &second);
  }
}

/* ---- the table ---- */

/* Nothing is added up, so nothing would be written. */
static void clear_c(const moh__gemm *g) {
  for (int64_t i = 0; i < g->m; i++)
    memset(g->c + row_at(g->c_rows, i) * g->ldc, 0,
           (size_t)g->n * sizeof(float));
}

static void rows_gemm(const moh__gemm *g, void *scratch) {
  if (g->k == 0 && !g->accumulate) clear_c(g);
  if (moh__is_integers(g->type))
    SIMD(gemm_blocks)(g);
  else if (g->type == MOH__BLOCK_F16)
    SIMD(gemm_f16)(g, scratch);
  else if (g->bf16)
    SIMD(gemm_bf16)(g, scratch);
  else
    SIMD(gemm)(g, scratch);
}

static void rows_gemm_at(const moh__gemm *g, void *scratch) {
  if (g->k == 0 && !g->accumulate) clear_c(g);
  if (g->bf16)
    SIMD(gemm_at_bf16)(g, scratch);
  else
    SIMD(gemm_at)(g, scratch);
}

const moh__kernels SIMD(kernels);
const moh__kernels SIMD(kernels) = {
    .name = SIMD_TEXT(MOH_SIMD_NAME),
    .pack = SIMD(pack),
    .encode = SIMD(encode),
    .gemm = rows_gemm,
    .gemm_at = rows_gemm_at,
    .attention = SIMD(attention),
    .attention_grad = SIMD(attention_grad),
    .dot = rows_dot,
    .sum = rows_sum,
    .max = rows_max,
    .add = rows_add,
    .axpy = rows_axpy,
    .scale = rows_scale,
    .scale_gain = rows_scale_gain,
    .exp_sum = rows_exp_sum,
    .swiglu = rows_swiglu,
    .swiglu_grad = rows_swiglu_grad,
    .gelu = rows_gelu,
    .tanh = rows_tanh,
    .sum_squares = rows_sum_squares,
    .adamw = rows_adamw,
};
