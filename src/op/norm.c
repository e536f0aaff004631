/*
 * RMSNorm and LayerNorm. With h = (x - mean) / s (mean = 0 for RMSNorm),
 * y = gain h (+ bias), and a_i = gain_i dy_i:
 *   dx += (a - h mean(a h) - mean(a) [LayerNorm only]) / s
 *   dgain += sum over rows of dy h,  dbias += sum over rows of dy
 * A gain shorter than a row is one for all heads of it: each is a row then.
 */
#include "base/checked.h"
#include "kernel/kernel.h"
#include "op/op.h"

enum { COLUMNS = 64 }; /* of a task */

typedef struct norm_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  int64_t rows, cols; /* cols: of the gain */
  moh__param *gain, *bias;
  moh__norm_kind kind;
  real eps;
  real *mean;    /* [rows] */
  real *inverse; /* [rows] 1 / s */
  bool adds;     /* to the gradient of x */
} norm_node;

static void forward_row(const norm_node *s, int64_t r) {
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->cols;
  const real *x = s->x->v + r * d;
  real *y = s->y->v + r * d;
  real mean = 0;
  real squares = 0;
  if (s->kind == MOH__NORM_LAYER) {
    mean = kernels->sum(x, d) / (real)d;
    kernels->scale_gain(y, x, mean, 1, NULL, d);
    squares = kernels->dot(y, y, d);
  } else {
    squares = kernels->dot(x, x, d);
  }
  s->mean[r] = mean;
  s->inverse[r] = 1 / moh__sqrt(squares / (real)d + s->eps);
  kernels->scale_gain(y, x, mean, s->inverse[r], s->gain->data, d);
  if (s->bias != NULL) kernels->add(y, s->bias->data, d);
}

static void forward_rows(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  for (int64_t r = begin; r < end; r++) forward_row(context, r);
}

/* a and h: scratch rows. */
static void backward_row(const norm_node *s, int64_t r, real *a, real *h) {
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->cols;
  real inverse = s->inverse[r];
  real *dx = s->x->g + r * d;
  kernels->scale_gain(h, s->x->v + r * d, s->mean[r], inverse, NULL, d);
  kernels->scale_gain(a, s->y->g + r * d, 0, 1, s->gain->data, d);
  real along = kernels->dot(a, h, d) / (real)d;
  real shift = s->kind == MOH__NORM_LAYER ? kernels->sum(a, d) / (real)d : 0;
  kernels->axpy(a, -along, h, d);
  if (s->adds) {
    kernels->scale_gain(a, a, shift, inverse, NULL, d);
    kernels->add(dx, a, d);
  } else {
    kernels->scale_gain(dx, a, shift, inverse, NULL, d);
  }
}

static void backward_rows(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  const norm_node *s = context;
  real *a = scratch;
  real *h = a + moh__round_up(s->cols, MOH__ALIGN);
  for (int64_t r = begin; r < end; r++) backward_row(s, r, a, h);
}

/* Columns [begin, end) of dgain, rows in order. */
static void backward_gain(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  (void)scratch;
  const norm_node *s = context;
  int64_t d = s->cols;
  for (int64_t r = 0; r < s->rows; r++) {
    const real *x = s->x->v + r * d;
    const real *dy = s->y->g + r * d;
    for (int64_t c = begin; c < end; c++)
      s->gain->grad[c] += dy[c] * ((x[c] - s->mean[r]) * s->inverse[r]);
  }
}

/* And of dbias. */
static void backward_bias(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  (void)scratch;
  const norm_node *s = context;
  for (int64_t r = 0; r < s->rows; r++) {
    const real *dy = s->y->g + r * s->cols;
    for (int64_t c = begin; c < end; c++) s->bias->grad[c] += dy[c];
  }
}

static void backward_param(moh__tape *tape, norm_node *s, moh__param *w,
                           moh__range_fn *fn) {
  if (w == NULL || !moh__param_is_trained(w)) return;
  moh__param_settle(w, tape->pool);
  moh__range_run(tape->pool, s->cols, COLUMNS, fn, s);
}

static void norm_backward(moh__tape *tape, void *context) {
  norm_node *s = context;
  moh__tape_settle(tape, s->y);
  s->adds = moh__tensor_adds(s->x);
  moh__rows_run(tape->pool, s->rows, s->cols, backward_rows, s);
  backward_param(tape, s, s->gain, backward_gain);
  backward_param(tape, s, s->bias, backward_bias);
}

moh__tensor *moh__op_norm(moh__tape *tape, moh__tensor *x,
                          moh__norm_kind kind, real eps, moh__param *gain,
                          moh__param *bias) {
  norm_node all = {.x = x,
                   .rows = x->rows * (x->cols / gain->n),
                   .cols = gain->n,
                   .gain = gain,
                   .bias = bias,
                   .kind = kind,
                   .eps = eps};
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  all.mean = moh__tape_reals(tape, all.rows);
  all.inverse = moh__tape_reals(tape, all.rows);
  norm_node *s = moh__tape_push(tape, sizeof(*s), norm_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, all.rows, all.cols, forward_rows, &all);
  return all.y;
}
