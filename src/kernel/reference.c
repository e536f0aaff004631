/*
 * The plain reference: every kernel as its formula reads, in `real`. It is
 * what the fast tables are compared with, what runs on processors that have
 * none, and, built in double, what gradients are checked with.
 */
#include <assert.h>

#include "kernel/reference.h"

static int64_t row_at(const int32_t *index, int64_t i) {
  return index == NULL ? i : index[i];
}

static real rounded(const moh__gemm *g, real x) {
  return g->bf16 ? moh__bf16_value(moh__bf16_of((float)x)) : x;
}

/* B(k, j) of a packed or plain operand; b_rows only with plain ones. */
static real b_at(const moh__gemm *g, int64_t k, int64_t j) {
  if (g->type == MOH__BLOCK_F16) return moh__reference_f16(g, k, j);
  if (g->b16 != NULL) {
    int64_t p = j / MOH__PANEL;
    int64_t depth = (g->k + 1) / 2 * 2;
    int64_t at = k / 2 * moh__panel_width(g->n, p) + j % MOH__PANEL;
    return moh__bf16_value(
        g->b16[p * MOH__PANEL * depth + at * 2 + 1 - k % 2]);
  }
  if (g->ldb > 0) return g->b[row_at(g->b_rows, k) * g->ldb + j];
  int64_t p = j / MOH__PANEL;
  return g->b[p * MOH__PANEL * g->k + k * moh__panel_width(g->n, p) +
              j % MOH__PANEL];
}

static void reference_pack(const moh__pack *p) {
  int64_t depth = p->dst16 == NULL ? p->k : (p->k + 1) / 2 * 2;
  for (int64_t panel = 0; panel * MOH__PANEL < p->n; panel++)
    moh__pack_words(p, panel, 0, depth, 0, moh__panel_width(p->n, panel));
}

static void integer_gemm(const moh__gemm *g) {
  for (int64_t i = 0; i < g->m; i++) {
    const moh__codes *a = g->codes + row_at(g->a_rows, i) * g->codes_ld;
    real *c = g->c + row_at(g->c_rows, i) * g->ldc;
    for (int64_t j = 0; j < g->n; j++)
      c[j] = moh__reference_chain(g, a, j, g->accumulate ? c[j] : 0);
  }
}

static void reference_gemm(const moh__gemm *g, void *scratch) {
  (void)scratch;
  if (moh__is_integers(g->type)) {
    integer_gemm(g);
    return;
  }
  for (int64_t i = 0; i < g->m; i++) {
    const real *a = g->a + row_at(g->a_rows, i) * g->lda;
    real *c = g->c + row_at(g->c_rows, i) * g->ldc;
    for (int64_t j = 0; j < g->n; j++) {
      real sum = g->accumulate ? c[j] : 0;
      for (int64_t k = 0; k < g->k; k++)
        sum += rounded(g, a[k]) * b_at(g, k, j);
      c[j] = sum;
    }
  }
}

static void reference_gemm_at(const moh__gemm *g, void *scratch) {
  (void)scratch;
  assert(g->c_rows == NULL);
  for (int64_t i = 0; i < g->m; i++) {
    for (int64_t j = 0; j < g->n; j++) {
      real *c = g->c + i * g->ldc + j;
      real sum = g->accumulate ? *c : 0;
      for (int64_t k = 0; k < g->k; k++)
        sum += rounded(g, g->a[row_at(g->a_rows, k) * g->lda + i]) *
               rounded(g, b_at(g, k, j));
      *c = sum;
    }
  }
}

/* ---- rows ---- */

static real plain_dot(const real *x, const real *y, int64_t n) {
  real sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static real reference_sum(const real *x, int64_t n) {
  real sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  return sum;
}

static real reference_max(const real *x, int64_t n) {
  real max = x[0];
  for (int64_t i = 1; i < n; i++)
    if (x[i] > max || isnan(x[i])) max = x[i];
  return max;
}

static void reference_add(real *y, const real *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

static void reference_axpy(real *y, real a, const real *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void reference_scale(real *y, real a, const real *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = a * x[i];
}

static void reference_scale_gain(real *y, const real *x, real shift, real a,
                                 const real *gain, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = (x[i] - shift) * a * (gain == NULL ? 1 : gain[i]);
}

static real reference_exp_sum(real *x, real shift, int64_t n) {
  real sum = 0;
  for (int64_t i = 0; i < n; i++) {
    x[i] = moh__exp(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

static real sigmoid(real z) { return 1 / (1 + moh__exp(-z)); }

static void reference_swiglu(real *y, const real *gate, const real *up,
                             int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

/* silu'(z) = s (1 + z (1 - s)), s = sigmoid(z). */
static void reference_swiglu_grad(real *dgate, real *dup, const real *dy,
                                  const real *gate, const real *up,
                                  int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    real z = gate[i];
    real s = sigmoid(z);
    dgate[i] += dy[i] * up[i] * s * (1 + z * (1 - s));
    dup[i] += dy[i] * z * s;
  }
}

static void reference_gelu(real *y, real *slope, const real *x, real by,
                           int64_t n) {
  const double root_half = 0.70710678118654752440;
  const double inverse_root_2pi = 0.39894228040143267794;
  for (int64_t i = 0; i < n; i++) {
    double z = (double)by * (double)x[i];
    double below = 0.5 * erfc(-z * root_half); /* Phi(z) */
    y[i] = (real)(z * below);
    if (slope != NULL)
      slope[i] = (real)(below + z * inverse_root_2pi * exp(-0.5 * z * z));
  }
}

static void reference_tanh(real *y, const real *x, real by, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = moh__tanh(by * x[i]);
}

static double reference_sum_squares(const real *x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

static void reference_adamw(const moh__adamw *a, real *w, const real *g,
                            real *m, real *v, real *v_max, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    real gi = g[i] * a->grad_scale + a->l2 * w[i];
    m[i] = a->beta1 * m[i] + (1 - a->beta1) * gi;
    v[i] = a->beta2 * v[i] + (1 - a->beta2) * gi * gi;
    if (v_max != NULL && v[i] > v_max[i]) v_max[i] = v[i];
    real second = v_max == NULL ? v[i] : v_max[i];
    real step =
        m[i] / a->correct1 / (moh__sqrt(second / a->correct2) + a->eps);
    w[i] -= a->lr * (step + a->decay * w[i]);
  }
}

const moh__kernels moh__kernels_reference = {
    .name = "reference",
    .pack = reference_pack,
    .encode = moh__reference_encode,
    .gemm = reference_gemm,
    .gemm_at = reference_gemm_at,
    .attention = moh__reference_attention,
    .attention_grad = moh__reference_attention_grad,
    .dot = plain_dot,
    .sum = reference_sum,
    .max = reference_max,
    .add = reference_add,
    .axpy = reference_axpy,
    .scale = reference_scale,
    .scale_gain = reference_scale_gain,
    .exp_sum = reference_exp_sum,
    .swiglu = reference_swiglu,
    .swiglu_grad = reference_swiglu_grad,
    .gelu = reference_gelu,
    .tanh = reference_tanh,
    .sum_squares = reference_sum_squares,
    .adamw = reference_adamw,
};
