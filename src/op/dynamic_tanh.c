/*
 * Dynamic tanh: y = gain tanh(alpha x) + bias, in place of a norm (arXiv
 * 2503.10622, equation 1). Unlike norms it knows no statistics: an element is
 * made of itself alone. With t = tanh(alpha x) and a = gain dy (1 - t^2):
 *   dx += alpha a,  dalpha += sum of a x,
 *   dgain += sum over rows of dy t,  dbias += sum over rows of dy
 * Backward computes t again.
 */
#include "base/checked.h"
#include "kernel/kernel.h"
#include "op/op.h"

enum { COLUMNS = 64 }; /* of a task */

typedef struct tanh_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  moh__param *alpha, *gain, *bias;
  real *along; /* [rows] of dalpha */
} tanh_node;

static void forward_rows(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const tanh_node *s = context;
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->x->cols;
  for (int64_t r = begin; r < end; r++) {
    real *y = s->y->v + r * d;
    kernels->tanh(y, s->x->v + r * d, s->alpha->data[0], d);
    kernels->scale_gain(y, y, 0, 1, s->gain->data, d);
    kernels->add(y, s->bias->data, d);
  }
}

/* a and t: scratch rows. */
static void backward_row(const tanh_node *s, int64_t r, real *a, real *t) {
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->x->cols;
  real alpha = s->alpha->data[0];
  const real *x = s->x->v + r * d;
  kernels->tanh(t, x, alpha, d);
  kernels->scale_gain(a, s->y->g + r * d, 0, 1, s->gain->data, d);
  for (int64_t i = 0; i < d; i++) a[i] *= 1 - t[i] * t[i];
  s->along[r] = kernels->dot(a, x, d);
  kernels->axpy(s->x->g + r * d, alpha, a, d);
}

static void backward_rows(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  const tanh_node *s = context;
  real *a = scratch;
  real *t = a + moh__round_up(s->x->cols, MOH__ALIGN);
  for (int64_t r = begin; r < end; r++) backward_row(s, r, a, t);
}

/* Columns [begin, end) of dgain and dbias, rows in order. */
static void backward_gain(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  const tanh_node *s = context;
  int64_t d = s->x->cols, n = end - begin;
  real *t = scratch;
  bool gain = moh__param_is_trained(s->gain);
  bool bias = moh__param_is_trained(s->bias);
  for (int64_t r = 0; r < s->x->rows; r++) {
    const real *dy = s->y->g + r * d + begin;
    moh__kernel()->tanh(t, s->x->v + r * d + begin, s->alpha->data[0], n);
    for (int64_t c = 0; gain && c < n; c++)
      s->gain->grad[begin + c] += dy[c] * t[c];
    for (int64_t c = 0; bias && c < n; c++)
      s->bias->grad[begin + c] += dy[c];
  }
}

static void tanh_backward(moh__tape *tape, void *context) {
  tanh_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  moh__param_settle(s->alpha, tape->pool);
  moh__param_settle(s->gain, tape->pool);
  moh__param_settle(s->bias, tape->pool);
  moh__rows_run(tape->pool, s->x->rows, s->x->cols, backward_rows, s);
  moh__range_run(tape->pool, s->x->cols, COLUMNS, backward_gain, s);
  double sum = 0;
  if (!moh__param_is_trained(s->alpha)) return;
  for (int64_t r = 0; r < s->x->rows; r++) sum += (double)s->along[r];
  s->alpha->grad[0] += (real)sum;
}

moh__tensor *moh__op_dynamic_tanh(moh__tape *tape, moh__tensor *x,
                                  moh__param *alpha, moh__param *gain,
                                  moh__param *bias) {
  tanh_node all = {.x = x, .alpha = alpha, .gain = gain, .bias = bias};
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  if (tape->recording) all.along = moh__tape_reals(tape, x->rows);
  tanh_node *s = moh__tape_push(tape, sizeof(*s), tanh_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, x->rows, x->cols, forward_rows, &all);
  return all.y;
}
