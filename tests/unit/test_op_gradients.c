/*
 * Each operation alone against central differences, in double, at input
 * scales 0.05, 1 and 20, with random gradients from above. Plans have an
 * empty list, a full one and gathered ones.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"
#include "support/check.h"
#include "support/gradcheck.h"
#include "support/tiny.h"

enum { N = 7, D = 4, HEADS = 4, WIDTH = HEADS * D, POSITIONS = 3 };

/* One operation under test: inputs in, one tensor out. */
typedef struct subject subject;
typedef moh__tensor *apply_fn(subject *s);
struct subject {
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  apply_fn *apply;
  moh__plan plan;
  real *x[3]; /* inputs, kept between runs */
  int64_t rows[3], cols[3];
  moh__tensor *in[3];
  moh__param w, bias, alpha;
  real *packed;
};

static const int32_t positions[N] = {0, 1, 2, 3, 0, 1, 2};
static const int32_t seq_start[3] = {0, 4, 7};
static const int32_t ids[N] = {2, 0, 2, 1, 1, 2, 0};
static const moh__batch batch = {.n = N,
                                 .tokens = ids,
                                 .positions = positions,
                                 .n_seq = 2,
                                 .seq_start = seq_start};

static real upstream(int64_t i) { return tiny_noise(50, (uint64_t)i); }

static void make_plan(subject *s) {
  unsigned char used[N * HEADS] = {0};
  for (int t = 0; t < N; t++) {
    used[t * HEADS] = 1;          /* head 0: all */
    used[t * HEADS + 2] = t != 3; /* head 1: none */
    used[t * HEADS + 3] = t % 2;
  }
  moh__plan_new(&s->plan, s->tape.arena, N, HEADS, N * HEADS);
  moh__plan_fill(&s->plan, used);
}

/* A fresh tape with the inputs on it; the loss is sum r_i y_i. */
static moh__tensor *run(subject *s, bool recording) {
  moh__tape_reset(&s->tape, recording);
  make_plan(s);
  if (s->w.grouping != MOH__PACK_NONE) moh__param_pack(&s->w, s->pool);
  for (int i = 0; i < 3; i++) {
    if (s->x[i] == NULL) continue;
    s->in[i] = moh__tape_tensor(&s->tape, s->rows[i], s->cols[i]);
    memcpy(s->in[i]->v, s->x[i],
           (size_t)(s->rows[i] * s->cols[i]) * sizeof(real));
  }
  return s->apply(s);
}

static double loss_of(void *context) {
  const moh__tensor *y = run(context, false);
  double sum = 0;
  for (int64_t i = 0; i < y->rows * y->cols; i++)
    sum += upstream(i) * y->v[i];
  return sum;
}

static void add_input(subject *s, int i, int64_t rows, int64_t cols,
                      double scale) {
  s->rows[i] = rows;
  s->cols[i] = cols;
  s->x[i] = malloc((size_t)(rows * cols) * sizeof(real));
  for (int64_t k = 0; k < rows * cols; k++)
    s->x[i][k] = scale * tiny_noise(10 + (uint64_t)i, (uint64_t)k);
}

static void add_param(moh__param *w, int n_dims, const int64_t *shape,
                      moh__grouping grouping, int64_t n_groups) {
  memset(w, 0, sizeof(*w));
  w->n_dims = n_dims;
  w->n = 1;
  for (int i = 0; i < n_dims; i++) {
    w->shape[i] = shape[i];
    w->n *= shape[i];
  }
  w->grouping = grouping;
  w->n_groups = n_groups;
  w->data = calloc((size_t)w->n, sizeof(real));
  w->grad = calloc((size_t)w->n, sizeof(real));
  w->packed = calloc((size_t)moh__param_packed_bytes(w) + 1, 1);
  w->packed_back = calloc((size_t)moh__param_packed_back_bytes(w) + 1, 1);
  for (int64_t k = 0; k < w->n; k++)
    w->data[k] = 0.7 * tiny_noise(30, (uint64_t)k) + (n_dims == 1);
}

static void open_subject(subject *s, apply_fn *apply) {
  moh_error err;
  memset(s, 0, sizeof(*s));
  s->apply = apply;
  assert_int_equal(moh__pool_new(&s->pool, 1, &err), MOH_OK);
  assert_int_equal(moh__arena_init(&s->arena, 1 << 21, &err), MOH_OK);
  assert_int_equal(moh__tape_init(&s->tape, &s->arena, s->pool, &err),
                   MOH_OK);
}

static void free_param(moh__param *w) {
  free(w->data);
  free(w->grad);
  free(w->packed);
  free(w->packed_back);
}

/* Checks, then frees everything. */
static void check_subject(subject *s) {
  moh__tensor *y = run(s, true);
  for (int64_t i = 0; i < y->rows * y->cols; i++) y->g[i] = upstream(i);
  y->fresh = false;
  moh__tape_backward(&s->tape);
  gradcheck_input inputs[6];
  real *grads[3] = {NULL, NULL, NULL};
  int n = 0;
  for (int i = 0; i < 3; i++) {
    if (s->x[i] == NULL) continue;
    int64_t size = s->rows[i] * s->cols[i];
    grads[i] = malloc((size_t)size * sizeof(real));
    memcpy(grads[i], s->in[i]->g, (size_t)size * sizeof(real));
    inputs[n++] = (gradcheck_input){"input", s->x[i], grads[i], size};
  }
  if (s->w.grad != NULL)
    inputs[n++] =
        (gradcheck_input){"weights", s->w.data, s->w.grad, s->w.n};
  if (s->bias.grad != NULL)
    inputs[n++] =
        (gradcheck_input){"bias", s->bias.data, s->bias.grad, s->bias.n};
  if (s->alpha.grad != NULL)
    inputs[n++] =
        (gradcheck_input){"alpha", s->alpha.data, s->alpha.grad, s->alpha.n};
  assert_gradients(loss_of, s, inputs, n, 0, 2e-5);
  for (int i = 0; i < 3; i++) free(grads[i]);
  for (int i = 0; i < 3; i++) free(s->x[i]);
  free_param(&s->w);
  free_param(&s->bias);
  free_param(&s->alpha);
  moh__tape_free(&s->tape);
  moh__arena_free(&s->arena);
  moh__pool_free(s->pool);
}

static const double scales[3] = {0.05, 1, 20};

/* ---- linear ---- */

static moh__tensor *apply_linear(subject *s) {
  return moh__op_linear(&s->tape, s->in[0], &s->w);
}
static moh__tensor *apply_gathered(subject *s) {
  return moh__op_gathered_linear(&s->tape, s->in[0], &s->w, &s->plan);
}
static moh__tensor *apply_scattered(subject *s) {
  return moh__op_scattered_linear(&s->tape, s->in[0], &s->w, &s->plan);
}
static moh__tensor *apply_heads(subject *s) {
  return moh__op_scatter_heads(&s->tape, s->in[0], &s->plan);
}

enum { ENTRIES = N + (N - 1) + 3 };

static void linear(void **state) {
  (void)state;
  for (int at = 0; at < 3; at++) {
    double scale = scales[at];
    subject s;
    open_subject(&s, apply_linear);
    add_input(&s, 0, N, 5, scale);
    add_param(&s.w, 2, (int64_t[]){70, 5}, MOH__PACK_OUTPUTS, 1);
    check_subject(&s);
  }
}

static moh__tensor *apply_gather_heads(subject *s) {
  return moh__op_gather_heads(&s->tape, s->in[0], &s->plan);
}

static void linear_over_a_plan(void **state) {
  (void)state;
  for (int at = 0; at < 3; at++) {
    double scale = scales[at];
    subject s;
    open_subject(&s, apply_gathered);
    add_input(&s, 0, N, 5, scale);
    add_param(&s.w, 2, (int64_t[]){WIDTH, 5}, MOH__PACK_OUTPUTS, HEADS);
    check_subject(&s);
    open_subject(&s, apply_scattered);
    add_input(&s, 0, ENTRIES, D, scale);
    add_param(&s.w, 2, (int64_t[]){5, WIDTH}, MOH__PACK_INPUTS, HEADS);
    check_subject(&s);
    open_subject(&s, apply_heads);
    add_input(&s, 0, ENTRIES, D, scale);
    check_subject(&s);
    open_subject(&s, apply_gather_heads);
    add_input(&s, 0, N * HEADS, D, scale);
    check_subject(&s);
  }
}

/* ---- element by element ---- */

static moh__tensor *apply_gate(subject *s) {
  return moh__op_gate(&s->tape, s->in[0], s->in[1]);
}
static moh__tensor *apply_add(subject *s) {
  return moh__op_add(&s->tape, s->in[0], s->in[1]);
}
static moh__tensor *apply_swiglu(subject *s) {
  return moh__op_swiglu(&s->tape, s->in[0], s->in[1]);
}
static moh__tensor *apply_relu(subject *s) {
  return moh__op_relu(&s->tape, s->in[0]);
}
static moh__tensor *apply_select(subject *s) {
  return moh__op_select_rows(&s->tape, s->in[0], ids, N);
}
static moh__tensor *apply_embed(subject *s) {
  return moh__op_embed(&s->tape, &s->w, ids, N);
}

static void element_by_element(void **state) {
  (void)state;
  static apply_fn *const two[] = {apply_add, apply_swiglu};
  static apply_fn *const one[] = {apply_relu, apply_select};
  subject s;
  for (int at = 0; at < 3; at++) {
    double scale = scales[at];
    open_subject(&s, apply_gate);
    add_input(&s, 0, N, 5, scale);
    add_input(&s, 1, N, 1, scale);
    check_subject(&s);
    for (int i = 0; i < 2; i++) {
      open_subject(&s, two[i]);
      add_input(&s, 0, N, 5, scale);
      add_input(&s, 1, N, 5, scale);
      check_subject(&s);
      open_subject(&s, one[i]);
      add_input(&s, 0, N, 5, scale);
      check_subject(&s);
    }
  }
  open_subject(&s, apply_embed);
  add_param(&s.w, 2, (int64_t[]){3, 5}, MOH__PACK_NONE, 1);
  check_subject(&s);
}

/* ---- norms ---- */

static moh__tensor *apply_rms(subject *s) {
  return moh__op_norm(&s->tape, s->in[0], MOH__NORM_RMS, 1e-6, &s->w, NULL);
}
static moh__tensor *apply_layer_norm(subject *s) {
  return moh__op_norm(&s->tape, s->in[0], MOH__NORM_LAYER, 1e-5, &s->w,
                      &s->bias);
}

static moh__tensor *apply_dynamic_tanh(subject *s) {
  return moh__op_dynamic_tanh(&s->tape, s->in[0], &s->alpha, &s->w, &s->bias);
}

static moh__tensor *apply_learned_scale(subject *s) {
  return moh__op_learned_scale(&s->tape, s->in[0], &s->alpha);
}

static void norms(void **state) {
  (void)state;
  for (int at = 0; at < 3; at++) {
    double scale = scales[at];
    subject s;
    open_subject(&s, apply_rms);
    add_input(&s, 0, N, 9, scale);
    add_param(&s.w, 1, (int64_t[]){9}, MOH__PACK_NONE, 1);
    check_subject(&s);
    open_subject(&s, apply_layer_norm);
    add_input(&s, 0, N, 9, scale);
    add_param(&s.w, 1, (int64_t[]){9}, MOH__PACK_NONE, 1);
    add_param(&s.bias, 1, (int64_t[]){9}, MOH__PACK_NONE, 1);
    check_subject(&s);
    open_subject(&s, apply_dynamic_tanh);
    add_input(&s, 0, N, 9, scale);
    add_param(&s.w, 1, (int64_t[]){9}, MOH__PACK_NONE, 1);
    add_param(&s.bias, 1, (int64_t[]){9}, MOH__PACK_NONE, 1);
    add_param(&s.alpha, 1, (int64_t[]){1}, MOH__PACK_NONE, 1);
    check_subject(&s);
    open_subject(&s, apply_learned_scale);
    add_input(&s, 0, N, 9, scale);
    add_param(&s.alpha, 1, (int64_t[]){1}, MOH__PACK_NONE, 1);
    check_subject(&s);
  }
}

/* ---- attention ---- */

static moh__attention_args args_of(subject *s) {
  int32_t n_kv = (int32_t)(s->cols[1] / D);
  moh__attention_args args = {.plan = &s->plan,
                              .batch = &batch,
                              .n_heads = HEADS,
                              .n_kv_heads = n_kv,
                              .d_head = D};
  return args;
}
static moh__tensor *apply_attention(subject *s) {
  moh__attention_args args = args_of(s);
  return moh__op_attention(&s->tape, s->in[0], s->in[1], s->in[2], &args);
}
static moh__tensor *apply_cope(subject *s) {
  moh__attention_args args = args_of(s);
  return moh__op_attention_cope(&s->tape, s->in[0], s->in[1], s->in[2],
                                &s->w, &args);
}

static void check_attention(apply_fn *apply, int n_kv, double scale) {
  subject s;
  open_subject(&s, apply);
  add_input(&s, 0, ENTRIES, D, scale);
  add_input(&s, 1, N, n_kv * D, scale);
  add_input(&s, 2, N, n_kv * D, scale);
  if (apply == apply_cope)
    add_param(&s.w, 3, (int64_t[]){HEADS, POSITIONS, D}, MOH__PACK_NONE, 1);
  check_subject(&s);
}

static void attention(void **state) {
  (void)state;
  static const int kv[] = {1, 2, 4};
  for (int i = 0; i < 3; i++) {
    for (int at = 0; at < 3; at++)
      check_attention(apply_attention, kv[i], scales[at]);
    /* At scale 20 the gates of CoPE are whole and its positions lie on the
     * kinks between table rows, where there is no derivative. */
    check_attention(apply_cope, kv[i], 0.05);
    check_attention(apply_cope, kv[i], 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(linear),
      cmocka_unit_test(linear_over_a_plan),
      cmocka_unit_test(element_by_element),
      cmocka_unit_test(norms),
      cmocka_unit_test(attention),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
