/*
 * What single operations must be, whatever their numbers: rotations keep norms
 * and see differences of positions only, contextual positions count gates,
 * norms ignore scale. In double.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"
#include "support/check.h"
#include "support/tiny.h"

enum { D = 8, N = 6, POSITIONS = 4 };

typedef struct work {
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
} work;

static void open_work(work *w) {
  moh_error err;
  assert_int_equal(moh__pool_new(&w->pool, 1, &err), MOH_OK);
  assert_int_equal(moh__arena_init(&w->arena, 1 << 20, &err), MOH_OK);
  assert_int_equal(moh__tape_init(&w->tape, &w->arena, w->pool, &err),
                   MOH_OK);
  moh__tape_reset(&w->tape, false);
}

static void close_work(work *w) {
  moh__tape_free(&w->tape);
  moh__arena_free(&w->arena);
  moh__pool_free(w->pool);
}

static moh__tensor *noise(work *w, int64_t rows, int64_t cols,
                          uint64_t seed) {
  moh__tensor *x = moh__tape_tensor(&w->tape, rows, cols);
  for (int64_t i = 0; i < rows * cols; i++)
    x->v[i] = tiny_noise(seed, (uint64_t)i);
  return x;
}

static void assert_close(double a, double b) {
  if (!(fabs(a - b) <= 1e-12)) fail_msg("%.15g is not %.15g", a, b);
}

/* ---- rope ---- */

static void make_angles(real *angles) {
  for (int64_t t = 0; t < 100; t++)
    for (int64_t i = 0; i < D / 2; i++) {
      double angle = (double)t * pow(10000, -2.0 * (double)i / D);
      angles[t * D + 2 * i] = cos(angle);
      angles[t * D + 2 * i + 1] = sin(angle);
    }
}

static double dot(const real *a, const real *b) {
  double sum = 0;
  for (int i = 0; i < D; i++) sum += a[i] * b[i];
  return sum;
}

/* (R_m q) . (R_n k) for fixed q and k. */
static double rotated_dot(work *w, const real *angles, int32_t m,
                          int32_t n) {
  int32_t positions[2] = {m, n};
  moh__tensor *x = noise(w, 2, D, 4);
  double before = dot(x->v, x->v);
  moh__op_rope(&w->tape, x, D, angles, positions, NULL);
  assert_close(dot(x->v, x->v), before); /* the norm is kept */
  return dot(x->v, x->v + D);
}

static void rope_sees_differences_only(void **state) {
  (void)state;
  work w;
  open_work(&w);
  real angles[100 * D];
  make_angles(angles);
  moh__tensor *plain = noise(&w, 2, D, 4);
  assert_close(rotated_dot(&w, angles, 0, 0), dot(plain->v, plain->v + D));
  double five = rotated_dot(&w, angles, 5, 0);
  assert_close(rotated_dot(&w, angles, 47, 42), five);
  assert_close(rotated_dot(&w, angles, 99, 94), five);
  assert_true(fabs(rotated_dot(&w, angles, 6, 0) - five) > 1e-3);
  close_work(&w);
}

/* ---- CoPE ---- */

/* Attention of N tokens of one head: key j has the score a_ij = scores[j] for
 * every query, and values[j] of N fixed rows. Gives the outputs, [N][D]. */
static moh__tensor *cope_of(work *w, const double *scores,
                            const int *values, moh__param *table) {
  static const int32_t positions[N] = {0, 1, 2, 3, 4, 5};
  static const int32_t seq_start[2] = {0, N};
  moh__batch batch = {.n = N, .positions = positions, .n_seq = 1,
                      .seq_start = seq_start};
  moh__plan plan;
  moh__plan_first(&plan, w->tape.arena, N, 1, 1);
  moh__tensor *q = noise(w, N, D, 0);
  moh__tensor *k = noise(w, N, D, 0);
  moh__tensor *rows = noise(w, N, D, 9);
  moh__tensor *v = noise(w, N, D, 9);
  memset(q->v, 0, N * D * sizeof(real));
  memset(k->v, 0, N * D * sizeof(real));
  for (int i = 0; i < N; i++) {
    q->v[i * D] = 1;
    k->v[i * D] = scores[i] * sqrt(D);
    memcpy(v->v + i * D, rows->v + values[i] * D, D * sizeof(real));
  }
  moh__attention_args args = {.plan = &plan, .batch = &batch, .n_heads = 1,
                              .n_kv_heads = 1, .d_head = D};
  return moh__op_attention_cope(&w->tape, q, k, v, table, &args);
}

static const int in_order[N] = {0, 1, 2, 3, 4, 5};

static moh__tensor *cope(work *w, double score, moh__param *table) {
  const double scores[N] = {score, score, score, score, score, score};
  return cope_of(w, scores, in_order, table);
}

/* softmax over keys of bias[position] applied to the values. */
static void assert_positions(work *w, const moh__tensor *o,
                             const real *table, bool count_keys) {
  moh__tensor *v = noise(w, N, D, 9);
  for (int i = 0; i < N; i++)
    for (int c = 0; c < D; c++) {
      double sum = 0;
      double total = 0;
      for (int j = 0; j <= i; j++) {
        int p = count_keys ? i - j + 1 : 0;
        if (p > POSITIONS - 1) p = POSITIONS - 1;
        double weight = exp(table[p * D]);
        total += weight;
        sum += weight * v->v[j * D + c];
      }
      assert_true(fabs(o->v[i * D + c] - sum / total) < 1e-9);
    }
}

/* Gates of 1 make the relative position i - j + 1, clamped; gates of 0 make
 * every position 0. */
static void cope_counts_gates(void **state) {
  (void)state;
  real data[POSITIONS * D] = {0};
  for (int p = 0; p < POSITIONS; p++) data[p * D] = 0.7 * p - 0.2 * p * p;
  moh__param table = {.n_dims = 3, .shape = {1, POSITIONS, D}, .data = data};
  work w;
  open_work(&w);
  assert_positions(&w, cope(&w, 40, &table), data, true);
  assert_positions(&w, cope(&w, -40, &table), data, false);
  close_work(&w);
}

/* The last token's output with three distant tokens in two orders. */
static double shuffled(work *w, double distant, moh__param *table) {
  const double a[N] = {distant, distant - 1, distant - 2, 1, 0.5, -0.5};
  const double b[N] = {distant - 2, distant, distant - 1, 1, 0.5, -0.5};
  static const int turned[N] = {2, 0, 1, 3, 4, 5};
  const real *x = cope_of(w, a, in_order, table)->v + (N - 1) * D;
  const real *y = cope_of(w, b, turned, table)->v + (N - 1) * D;
  double off = 0;
  for (int c = 0; c < D; c++) off = fmax(off, fabs(x[c] - y[c]));
  return off;
}

/* With closed gates their order changes nothing, positions of the near ones
 * included; with open gates it does. */
static void cope_ignores_the_order_of_closed_gates(void **state) {
  (void)state;
  real data[POSITIONS * D] = {0};
  for (int p = 0; p < POSITIONS; p++) data[p * D] = 0.7 * p - 0.2 * p * p;
  moh__param table = {.n_dims = 3, .shape = {1, POSITIONS, D}, .data = data};
  work w;
  open_work(&w);
  assert_true(shuffled(&w, -40, &table) < 1e-12);
  assert_true(shuffled(&w, 0.5, &table) > 1e-3);
  close_work(&w);
}

/* ---- evenness ---- */

/* Values that are rows of the identity make the output of a query its weights:
 * their entropy is what is measured. */
static void weights_are_measured(moh__window window, moh__param *table) {
  work w;
  open_work(&w);
  int32_t positions[N], seq_start[2] = {0, N};
  for (int32_t i = 0; i < N; i++) positions[i] = i;
  moh__batch batch = {
      .n = N, .positions = positions, .n_seq = 1, .seq_start = seq_start};
  moh__evenness cell = {0};
  moh__plan plan;
  moh__plan_first(&plan, &w.arena, N, 1, 1);
  moh__attention_args args = {.plan = &plan,
                              .batch = &batch,
                              .n_heads = 1,
                              .n_kv_heads = 1,
                              .d_head = D,
                              .window = window,
                              .evenness = &cell};
  moh__tensor *q = noise(&w, N, D, 5), *k = noise(&w, N, D, 6);
  moh__tensor *v = moh__tape_tensor(&w.tape, N, D);
  for (int i = 0; i < N * D; i++) v->v[i] = i / D == i % D;
  const moh__tensor *o =
      table == NULL ? moh__op_attention(&w.tape, q, k, v, &args)
                    : moh__op_attention_cope(&w.tape, q, k, v, table, &args);
  double sum = 0;
  for (int i = 1; i < N; i++) {
    double entropy = 0;
    for (int j = 0; j < N; j++) {
      double p = o->v[i * D + j];
      if (p > 0) entropy -= p * log(p);
    }
    sum += entropy / log((double)moh__window_size(&window, i));
  }
  assert_int_equal(cell.n, N - 1);
  assert_true(sum > 1 && sum < N - 1);
  assert_close(cell.sum, sum);
  close_work(&w);
}

static void evenness_is_that_of_the_weights(void **state) {
  (void)state;
  static const moh__window windows[] = {{MOH__WINDOW_NONE, 0, 0, 0},
                                        {MOH__WINDOW_SLIDING, 3, 0, 0}};
  real rows[POSITIONS * D];
  for (int i = 0; i < POSITIONS * D; i++)
    rows[i] = 2 * tiny_noise(9, (uint64_t)i);
  moh__param table = {.n_dims = 3, .shape = {1, POSITIONS, D},
                      .n = POSITIONS * D, .data = rows};
  for (int i = 0; i < 2; i++) {
    weights_are_measured(windows[i], NULL);
    weights_are_measured(windows[i], &table);
  }
}

/* ---- norms ---- */

static const real *normed(work *w, moh__norm_kind kind, double scale,
                          double shift, moh__param *gain) {
  moh__tensor *x = noise(w, 1, D, 3);
  for (int i = 0; i < D; i++) x->v[i] = scale * (x->v[i] + shift);
  return moh__op_norm(&w->tape, x, kind, 1e-30, gain, NULL)->v;
}

static void norms_ignore_scale(void **state) {
  (void)state;
  real ones[D];
  for (int i = 0; i < D; i++) ones[i] = 1;
  moh__param gain = {.n_dims = 1, .shape = {D}, .n = D, .data = ones};
  work w;
  open_work(&w);
  for (int kind = 0; kind < 2; kind++) {
    moh__norm_kind norm = (moh__norm_kind)kind;
    const real *a = normed(&w, norm, 1, 0, &gain);
    const real *b = normed(&w, norm, 1000, 0, &gain);
    const real *shifted = normed(&w, norm, 1, 5, &gain);
    double mean = 0;
    double off = 0;
    for (int i = 0; i < D; i++) {
      assert_close(a[i], b[i]);
      mean += shifted[i] / D;
      off = fmax(off, fabs(shifted[i] - a[i]));
    }
    /* LayerNorm takes the mean away, RMSNorm leaves it. */
    if (norm == MOH__NORM_LAYER) assert_true(fabs(mean) < 1e-12 && off < 1e-12);
    if (norm == MOH__NORM_RMS) assert_true(mean > 0.5 && off > 0.1);
  }
  close_work(&w);
}

/* gain tanh(alpha x) + bias, each element for itself. */
static void dynamic_tanh_by_hand(void **state) {
  (void)state;
  real alpha_data[] = {0.5}, gain_data[] = {2, -1, 3},
       bias_data[] = {0, 1, 5};
  static const real x_data[] = {0, 1, -2, 1e9, 1, -1e9};
  const real expected[] = {
      0, 1 - 0.46211715726000976, 5 - 3 * 0.76159415595576489,
      2, 1 - 0.46211715726000976, 2};
  moh__param alpha = {.n = 1, .data = alpha_data};
  moh__param gain = {.n = 3, .data = gain_data};
  moh__param bias = {.n = 3, .data = bias_data};
  work w;
  open_work(&w);
  moh__tensor *x = moh__tape_tensor(&w.tape, 2, 3);
  memcpy(x->v, x_data, sizeof(x_data));
  const moh__tensor *y =
      moh__op_dynamic_tanh(&w.tape, x, &alpha, &gain, &bias);
  for (int i = 0; i < 6; i++) assert_close(y->v[i], expected[i]);
  close_work(&w);
}

/* A gradient along the normalised input changes only the scale of the output,
 * which a norm takes away: dx is 0 (gain of ones). */
static void norms_have_no_gradient_along_themselves(void **state) {
  (void)state;
  real ones[D];
  real gain_grad[D] = {0};
  for (int i = 0; i < D; i++) ones[i] = 1;
  moh__param gain = {.n_dims = 1, .shape = {D}, .n = D, .data = ones,
                     .grad = gain_grad};
  work w;
  open_work(&w);
  for (int i = 0; i < 6; i++) {
    static const double scales[3] = {0.05, 1, 20};
    moh__tape_reset(&w.tape, true);
    moh__tensor *x = noise(&w, 1, D, 3);
    for (int j = 0; j < D; j++) x->v[j] *= scales[i / 2];
    moh__tensor *y = moh__op_norm(&w.tape, x, (moh__norm_kind)(i % 2),
                                  1e-30, &gain, NULL);
    memcpy(y->g, y->v, D * sizeof(real));
    y->fresh = false;
    moh__tape_backward(&w.tape);
    for (int j = 0; j < D; j++) assert_true(fabs(x->g[j]) < 1e-12);
  }
  close_work(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rope_sees_differences_only),
      cmocka_unit_test(cope_counts_gates),
      cmocka_unit_test(cope_ignores_the_order_of_closed_gates),
      cmocka_unit_test(evenness_is_that_of_the_weights),
      cmocka_unit_test(norms_ignore_scale),
      cmocka_unit_test(dynamic_tanh_by_hand),
      cmocka_unit_test(norms_have_no_gradient_along_themselves),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
