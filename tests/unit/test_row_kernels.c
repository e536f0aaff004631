/*
 * Row operations of every instruction set against the reference, at all
 * small lengths and some odd large ones. Behind each output stands a guard
 * that must keep its bits.
 */
#include <string.h>

#include "support/tables.h"

enum { GUARD = 5, N_LENGTHS = 80 };
#define GUARD_VALUE 1234.5f

static int64_t length(int i) {
  static const int64_t large[] = {127, 128, 129, 255, 513, 1000, 4099};
  return i < 73 ? i + 1 : large[i - 73];
}

/* Inputs of one length, and outputs that start out the same for both. */
typedef struct rows {
  int64_t n;
  real *x, *y, *z;        /* inputs */
  real *out[2], *out2[2]; /* of the table and of the reference */
} rows;

static real *guarded(moh__rng *rng, int64_t n) {
  real *x = random_reals(rng, n + GUARD, 1);
  for (int64_t i = n; i < n + GUARD; i++) x[i] = GUARD_VALUE;
  return x;
}

static rows make_rows(int64_t n, double std) {
  moh__rng rng = moh__rng_make((uint64_t)n, 21);
  rows r = {.n = n,
            .x = random_reals(&rng, n, std),
            .y = random_reals(&rng, n, std),
            .z = random_reals(&rng, n, std),
            .out = {guarded(&rng, n)},
            .out2 = {guarded(&rng, n)}};
  r.out[1] = copied_reals(r.out[0], n + GUARD);
  r.out2[1] = copied_reals(r.out2[0], n + GUARD);
  return r;
}

static void assert_row(const real *row[2], int64_t n, real tolerance,
                       const char *what, const moh__kernels *table) {
  real size = 1 + largest_of(row[1], n);
  if (!(largest_difference(row[0], row[1], n) <= tolerance * size))
    fail_msg("%s of %s, %d elements: off by %g", what, table->name, (int)n,
             (double)largest_difference(row[0], row[1], n));
  for (int64_t i = n; i < n + GUARD; i++)
    if (row[0][i] != GUARD_VALUE)
      fail_msg("%s of %s writes behind %d elements", what, table->name,
               (int)n);
}

static void finish_rows(rows *r, const char *what,
                        const moh__kernels *table) {
  const real *out[2] = {r->out[0], r->out[1]};
  const real *out2[2] = {r->out2[0], r->out2[1]};
  assert_row(out, r->n, 2e-6f, what, table);
  assert_row(out2, r->n, 2e-6f, what, table);
  free(r->x);
  free(r->y);
  free(r->z);
  for (int i = 0; i < 2; i++) {
    free(r->out[i]);
    free(r->out2[i]);
  }
}

/* Runs call with the table, then with the reference. */
typedef void row_fn(const moh__kernels *k, const rows *r, real *out,
                    real *out2);

static void check_rows(const moh__kernels *table, row_fn *call,
                       const char *what, double std) {
  for (int i = 0; i < N_LENGTHS; i++) {
    rows r = make_rows(length(i), std);
    call(table, &r, r.out[0], r.out2[0]);
    call(&moh__kernels_reference, &r, r.out[1], r.out2[1]);
    finish_rows(&r, what, table);
  }
}

static void call_sums(const moh__kernels *k, const rows *r, real *out,
                      real *out2) {
  out[0] = k->dot(r->x, r->y, r->n);
  out2[0] = k->sum(r->x, r->n);
}

static void call_squares(const moh__kernels *k, const rows *r, real *out,
                         real *out2) {
  out[0] = (real)k->sum_squares(r->x, r->n);
  out2[0] = k->max(r->x, r->n);
}

static void call_adds(const moh__kernels *k, const rows *r, real *out,
                      real *out2) {
  k->add(out, r->x, r->n);
  k->axpy(out2, (real)0.7, r->x, r->n);
}

static void call_scales(const moh__kernels *k, const rows *r, real *out,
                        real *out2) {
  k->scale(out, (real)-1.3, r->x, r->n);
  k->scale_gain(out2, r->x, (real)0.2, (real)1.7, r->y, r->n);
}

static void call_scale_alone(const moh__kernels *k, const rows *r,
                             real *out, real *out2) {
  k->scale_gain(out, r->x, (real)0.2, (real)1.7, NULL, r->n);
  memcpy(out2, r->x, (size_t)r->n * sizeof(real));
  out[0] += k->exp_sum(out2, (real)3, r->n);
}

static void call_swiglu(const moh__kernels *k, const rows *r, real *out,
                        real *out2) {
  k->swiglu(out, r->x, r->y, r->n);
  k->swiglu(out2, r->y, r->z, r->n);
}

static void call_gelu(const moh__kernels *k, const rows *r, real *out,
                      real *out2) {
  k->gelu(out, out2, r->x, 0.5f, r->n);
  k->gelu(out, NULL, out, -1.5f, r->n); /* in place, without slopes */
}

static void call_tanh(const moh__kernels *k, const rows *r, real *out,
                      real *out2) {
  k->tanh(out, r->x, 0.5f, r->n);
  k->tanh(out2, r->y, -1.5f, r->n);
  k->tanh(out2, out2, 1, r->n); /* in place */
}

static void call_swiglu_grad(const moh__kernels *k, const rows *r,
                             real *out, real *out2) {
  k->swiglu_grad(out, out2, r->z, r->x, r->y, r->n);
}

static void check_all_rows(const moh__kernels *table) {
  check_rows(table, call_sums, "dot or sum", 1);
  check_rows(table, call_squares, "sum_squares or max", 1);
  check_rows(table, call_adds, "add or axpy", 1);
  check_rows(table, call_scales, "scale or scale_gain", 1);
  check_rows(table, call_scale_alone, "scale_gain or exp_sum", 1);
  for (double std = 0.1; std < 200; std *= 10) {
    check_rows(table, call_swiglu, "swiglu", std);
    check_rows(table, call_gelu, "gelu", std);
    check_rows(table, call_tanh, "tanh", std);
    check_rows(table, call_swiglu_grad, "swiglu_grad", std);
  }
}

static void rows_are_the_references(void **state) {
  (void)state;
  for_each_table(check_all_rows);
}

/* ---- exp ---- */

/* Relative error over the whole range; 0 far below it, never a subnormal
 * surprise; infinity stays, NaN stays. */
static void check_exp(const moh__kernels *table) {
  for (double x = -87; x <= 80; x += 0.0137) {
    real value = (real)x;
    real sum = table->exp_sum(&value, 0, 1);
    double exact = exp((double)(real)x);
    assert_true(sum == value);
    if (!(fabs((double)value - exact) <= 3e-7 * exact))
      fail_msg("exp(%g) of %s is %g", x, table->name, (double)value);
  }
  real special[] = {-INFINITY, -1000, NAN};
  table->exp_sum(special, 0, 3);
  assert_true(special[0] == 0 && special[1] >= 0 && special[1] < 1e-37f);
  assert_true(isnan(special[2]));
}

static void exp_is_exact_to_rounding(void **state) {
  (void)state;
  for_each_table(check_exp);
}

/* Also near 0, where 1 - 2 / (exp(2 z) + 1) would lose everything. */
static void check_tanh(const moh__kernels *table) {
  for (double x = 1e-30; x < 100; x *= 1.0171)
    for (int sign = -1; sign < 2; sign += 2) {
      real value = (real)(sign * x);
      double exact = tanh((double)value);
      table->tanh(&value, &value, 1, 1);
      if (!(fabs((double)value - exact) <= 4e-7 * fabs(exact)))
        fail_msg("tanh(%g) of %s is %.9g", sign * x, table->name,
                 (double)value);
    }
  real special[] = {-INFINITY, INFINITY, 0, NAN};
  table->tanh(special, special, 1, 4);
  assert_true(special[0] == -1 && special[1] == 1 && special[2] == 0);
  assert_true(isnan(special[3]));
}

static void tanh_is_exact_to_rounding(void **state) {
  (void)state;
  for_each_table(check_tanh);
}

static void check_max(const moh__kernels *table) {
  for (int64_t n = 1; n < 70; n++)
    for (int64_t at = 0; at < n; at++) {
      real x[70];
      for (int64_t i = 0; i < n; i++) x[i] = -3 - (real)i;
      x[at] = -2;
      assert_true(table->max(x, n) == -2);
      x[at] = NAN;
      assert_true(isnan(table->max(x, n)));
    }
}

static void a_nan_is_the_largest(void **state) {
  (void)state;
  for_each_table(check_max);
}

/* ---- Adam ---- */

static real *squares(const real *x, int64_t n) {
  real *y = copied_reals(x, n);
  for (int64_t i = 0; i < n; i++) y[i] *= x[i];
  return y;
}

/* Several steps with each choice: decay apart or in the gradient, AMSGrad.
 */
static void check_adam_length(const moh__kernels *table, int64_t n,
                              int choice) {
  const moh__kernels *kernels[2] = {table, &moh__kernels_reference};
  moh__rng rng = moh__rng_make((uint64_t)n, 22);
  real *g = random_reals(&rng, n, 1), *w[2], *m[2], *v[2], *x[2];
  w[0] = guarded(&rng, n);
  w[1] = copied_reals(w[0], n + GUARD);
  real *start = copied_reals(w[0], n);
  for (int i = 0; i < 2; i++) {
    m[i] = copied_reals(g, n);
    v[i] = squares(g, n);
    x[i] = squares(start, n); /* above v for some, below for others */
    for (int step = 1; step <= 3; step++) {
      moh__adamw a = {.lr = 0.01f,
                      .beta1 = 0.9f,
                      .beta2 = 0.9f,
                      .eps = 1e-8f,
                      .correct1 = 0.5f,
                      .correct2 = 0.4f,
                      .grad_scale = 0.3f};
      a.decay = choice & 1 ? 0.1f : 0;
      a.l2 = choice & 2 ? 0.1f : 0;
      kernels[i]->adamw(&a, w[i], g, m[i], v[i], choice & 4 ? x[i] : NULL,
                        n);
    }
  }
  const real *out[2] = {w[0], w[1]};
  assert_row(out, n, 2e-6f, "adamw", table);
  assert_true(largest_difference(m[0], m[1], n) < 1e-6f);
  assert_true(largest_difference(v[0], v[1], n) < 1e-5f);
  assert_true(largest_difference(x[0], x[1], n) < 1e-5f);
  free(g);
  free(start);
  for (int i = 0; i < 2; i++) {
    free(w[i]);
    free(m[i]);
    free(v[i]);
    free(x[i]);
  }
}

static void check_adam(const moh__kernels *table) {
  for (int choice = 0; choice < 8; choice++)
    for (int i = 0; i < N_LENGTHS; i += 3)
      check_adam_length(table, length(i), choice);
}

static void adam_is_the_references(void **state) {
  (void)state;
  for_each_table(check_adam);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_the_references),
      cmocka_unit_test(exp_is_exact_to_rounding),
      cmocka_unit_test(tanh_is_exact_to_rounding),
      cmocka_unit_test(a_nan_is_the_largest),
      cmocka_unit_test(adam_is_the_references),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
