/* Balance loss, z-loss and load entropy in double. */
#include <string.h>

#include "base/rng.h"
#include "route/balance.h"
#include "route/topk.h"
#include "support/check.h"
#include "support/gradcheck.h"

enum { MAX = 8192 };

static real logits[MAX];
static real d_logits[MAX];
static unsigned char selected[MAX];
static real mean_p[MAX];
static real load[MAX];

/* Row t uses the k candidates from t on: an even load when n divides T. */
static void select_round_robin(int32_t rows, int32_t n, int32_t k) {
  memset(selected, 0, sizeof(selected));
  for (int32_t t = 0; t < rows; t++)
    for (int32_t i = 0; i < k; i++) selected[t * n + (t + i) % n] = 1;
}

static void uniform_routing_gives_k(void **state) {
  (void)state;
  const int32_t ns[] = {1, 6, 8, 11, 70};
  for (int i = 0; i < 5; i++)
    for (int32_t k = 0; k <= ns[i] && k < 12; k++) {
      int32_t n = ns[i];
      int32_t rows = MAX / (n * n) * n; /* a multiple of n */
      memset(logits, 0, sizeof(logits));
      select_round_robin(rows, n, k);
      double loss =
          moh__balance_loss(logits, selected, n, rows, n, mean_p, load);
      assert_true(fabs(loss - k) < 1e-6);
      for (int32_t c = 0; c < n; c++) {
        assert_true(fabs(mean_p[c] - 1.0 / n) < 1e-9);
        assert_true(fabs(load[c] - (double)k / n) < 1e-9);
      }
    }
}

/* All rows put probability 1/k on the same k candidates: n. */
static void collapse_gives_n(void **state) {
  (void)state;
  for (int32_t k = 1; k <= 6; k++) {
    memset(selected, 0, sizeof(selected));
    for (int32_t t = 0; t < 50; t++)
      for (int32_t i = 0; i < 6; i++) {
        logits[t * 6 + i] = i < k ? 40 : -40;
        selected[t * 6 + i] = i < k;
      }
    double loss =
        moh__balance_loss(logits, selected, 6, 50, 6, mean_p, load);
    assert_true(fabs(loss - 6) < 1e-6);
  }
}

/* P = 0.9 on one of 4 that every row uses: 4 * 0.9. */
static void near_collapse_is_counted(void **state) {
  (void)state;
  memset(selected, 0, sizeof(selected));
  for (int32_t t = 0; t < 10; t++)
    for (int32_t i = 0; i < 4; i++) {
      logits[t * 4 + i] = log(i == 2 ? 0.9 : 0.1 / 3);
      selected[t * 4 + i] = i == 2;
    }
  double loss = moh__balance_loss(logits, selected, 4, 10, 4, mean_p, load);
  assert_true(fabs(loss - 3.6) < 1e-9);
  assert_true(fabs(mean_p[2] - 0.9) < 1e-9);
  assert_true(load[2] == 1 && load[0] == 0);
}

/* Marks of routed heads stand behind those of shared heads in each row. */
static void load_is_read_with_its_stride(void **state) {
  (void)state;
  const unsigned char marks[3][5] = {
      {1, 1, 1, 0, 0}, {1, 1, 0, 1, 0}, {1, 1, 1, 0, 0}};
  memset(logits, 0, sizeof(logits));
  double loss =
      moh__balance_loss(logits, &marks[0][2], 5, 3, 3, mean_p, load);
  assert_true(fabs(load[0] - 2.0 / 3) < 1e-12);
  assert_true(fabs(load[1] - 1.0 / 3) < 1e-12);
  assert_true(load[2] == 0);
  assert_true(fabs(loss - 1) < 1e-12);
}

static void fill_logits(int32_t n, double std) {
  moh__rng rng = moh__rng_make(3, 9);
  for (int32_t i = 0; i < n; i++) logits[i] = std * moh__rng_normal(&rng);
  memset(d_logits, 0, sizeof(d_logits));
}

enum {
  T = 7,
  N = 5,
  STRIDE = 8
}; /* selected: 3 shared heads stand first */

static double balance_scalar(void *context) {
  real scratch_p[N];
  real scratch_load[N];
  (void)context;
  return 0.7 * moh__balance_loss(logits, selected + 3, STRIDE, T, N,
                                 scratch_p, scratch_load);
}

static void balance_gradients_are_exact(void **state) {
  (void)state;
  const double stds[] = {0.05, 1, 5};
  for (int s = 0; s < 3; s++) {
    fill_logits(T * N, stds[s]);
    memset(selected, 1, sizeof(selected));
    for (int32_t t = 0; t < T; t++)
      moh__topk_mark(logits + t * N, N, 2, selected + t * STRIDE + 3);
    moh__balance_loss(logits, selected + 3, STRIDE, T, N, mean_p, load);
    moh__balance_loss_grad(logits, load, T, N, 0.7, d_logits);
    gradcheck_input input = {"logits", logits, d_logits, T * N};
    assert_gradients(balance_scalar, NULL, &input, 1, 0, 1e-5);
  }
}

static double z_scalar(void *context) {
  (void)context;
  return 0.3 * moh__z_loss(logits, T, N);
}

static void z_gradients_are_exact(void **state) {
  (void)state;
  const double stds[] = {0.05, 1, 5};
  for (int s = 0; s < 3; s++) {
    fill_logits(T * N, stds[s]);
    moh__z_loss_grad(logits, T, N, 0.3, d_logits);
    gradcheck_input input = {"logits", logits, d_logits, T * N};
    assert_gradients(z_scalar, NULL, &input, 1, 0, 1e-5);
  }
}

/* Zeros: (ln n)^2; adding c to all logits of a row adds c to its logsumexp.
 */
static void z_loss_values(void **state) {
  (void)state;
  memset(logits, 0, sizeof(logits));
  assert_true(fabs(moh__z_loss(logits, 9, 6) - log(6) * log(6)) < 1e-12);
  for (int i = 0; i < 54; i++) logits[i] = i < 6 ? 2.5 : 0;
  double lse = log(6);
  double mean = (8 * lse * lse + (lse + 2.5) * (lse + 2.5)) / 9;
  assert_true(fabs(moh__z_loss(logits, 9, 6) - mean) < 1e-12);
}

static void gradients_accumulate(void **state) {
  (void)state;
  fill_logits(T * N, 1);
  for (int i = 0; i < N; i++) load[i] = 0.1 * i;
  moh__balance_loss_grad(logits, load, T, N, 1, d_logits);
  moh__z_loss_grad(logits, T, N, 1, d_logits);
  real both = d_logits[4];
  moh__balance_loss_grad(logits, load, T, N, 1, d_logits);
  moh__z_loss_grad(logits, T, N, 1, d_logits);
  assert_true(both != 0);
  assert_true(fabs(d_logits[4] - 2 * both) < 1e-14);
}

static void large_logits_stay_finite(void **state) {
  (void)state;
  for (int i = 0; i < T * N; i++) logits[i] = 1000 + i % 3;
  memset(selected, 1, sizeof(selected));
  memset(d_logits, 0, sizeof(d_logits));
  double loss = moh__balance_loss(logits, selected, N, T, N, mean_p, load);
  assert_true(fabs(loss - N) < 1e-9); /* every candidate is used: n sum P */
  moh__balance_loss_grad(logits, load, T, N, 1, d_logits);
  assert_true(isfinite(moh__z_loss(logits, T, N)));
  moh__z_loss_grad(logits, T, N, 1, d_logits);
  for (int i = 0; i < T * N; i++) assert_true(isfinite(d_logits[i]));
}

static void no_rows_no_loss(void **state) {
  (void)state;
  load[0] = mean_p[0] = 5;
  assert_true(moh__balance_loss(NULL, NULL, 4, 0, 4, mean_p, load) == 0);
  assert_true(load[0] == 0 && mean_p[0] == 0);
  assert_true(moh__z_loss(NULL, 0, 4) == 0);
}

static void entropy_of_load(void **state) {
  (void)state;
  const real even[] = {0.5, 0.5, 0.5, 0.5};
  const real one[] = {0, 1, 0, 0};
  const real half[] = {1, 0, 1, 0};
  const real none[] = {0, 0, 0, 0};
  const real uneven[] = {0.75, 0.25};
  assert_true(fabs(moh__load_entropy(even, 4) - log(4)) < 1e-12);
  assert_true(moh__load_entropy(one, 4) == 0);
  assert_true(fabs(moh__load_entropy(half, 4) - log(2)) < 1e-12);
  assert_true(moh__load_entropy(none, 4) == 0);
  double expected = -0.75 * log(0.75) - 0.25 * log(0.25);
  assert_true(fabs(moh__load_entropy(uneven, 2) - expected) < 1e-12);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(uniform_routing_gives_k),
      cmocka_unit_test(collapse_gives_n),
      cmocka_unit_test(near_collapse_is_counted),
      cmocka_unit_test(load_is_read_with_its_stride),
      cmocka_unit_test(balance_gradients_are_exact),
      cmocka_unit_test(z_gradients_are_exact),
      cmocka_unit_test(z_loss_values),
      cmocka_unit_test(gradients_accumulate),
      cmocka_unit_test(large_logits_stay_finite),
      cmocka_unit_test(no_rows_no_loss),
      cmocka_unit_test(entropy_of_load),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
