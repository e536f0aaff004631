/*
 * A factor that is learned, one for all elements: y = s x, dx += s dy,
 * ds += sum of dy x. Rows are summed in their order, whatever the threads.
 */
#include "kernel/kernel.h"
#include "op/op.h"

typedef struct scale_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  moh__param *scale;
  real *along; /* [rows] of ds */
} scale_node;

static void forward_rows(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const scale_node *s = context;
  int64_t d = s->x->cols;
  moh__kernel()->scale(s->y->v + begin * d, s->scale->data[0],
                       s->x->v + begin * d, (end - begin) * d);
}

static void backward_rows(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  (void)scratch;
  const scale_node *s = context;
  int64_t d = s->x->cols;
  for (int64_t r = begin; r < end; r++) {
    const real *dy = s->y->g + r * d;
    s->along[r] = moh__kernel()->dot(dy, s->x->v + r * d, d);
    moh__kernel()->axpy(s->x->g + r * d, s->scale->data[0], dy, d);
  }
}

static void scale_backward(moh__tape *tape, void *context) {
  scale_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  moh__param_settle(s->scale, tape->pool);
  moh__rows_run(tape->pool, s->x->rows, s->x->cols, backward_rows, s);
  double sum = 0;
  if (!moh__param_is_trained(s->scale)) return;
  for (int64_t r = 0; r < s->x->rows; r++) sum += (double)s->along[r];
  s->scale->grad[0] += (real)sum;
}

moh__tensor *moh__op_learned_scale(moh__tape *tape, moh__tensor *x,
                                   moh__param *scale) {
  scale_node all = {.x = x, .scale = scale};
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  if (tape->recording) all.along = moh__tape_reals(tape, x->rows);
  scale_node *s = moh__tape_push(tape, sizeof(*s), scale_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, x->rows, x->cols, forward_rows, &all);
  return all.y;
}
