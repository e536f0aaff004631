/* Sums, y = a + b: da += dy, db += dy; and multiples, y = s x: dx += s dy. */
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"

enum { GRAIN = 1 << 14 }; /* elements of a task */

typedef struct add_node {
  moh__tape_node node;
  moh__tensor *a, *b, *y;
  bool a_adds, b_adds; /* to their gradients */
} add_node;

static void forward(void *context, int64_t begin, int64_t end,
                    void *scratch) {
  (void)scratch;
  const add_node *s = context;
  for (int64_t i = begin; i < end; i++) s->y->v[i] = s->a->v[i] + s->b->v[i];
}

/* x += y, or x = y. */
static void pass(bool adds, real *x, const real *y, int64_t n) {
  if (adds)
    moh__kernel()->add(x, y, n);
  else
    memcpy(x, y, (size_t)n * sizeof(real));
}

static void add_grads(void *context, int64_t begin, int64_t end,
                      void *scratch) {
  (void)scratch;
  const add_node *s = context;
  pass(s->a_adds, s->a->g + begin, s->y->g + begin, end - begin);
  pass(s->b_adds, s->b->g + begin, s->y->g + begin, end - begin);
}

static void backward(moh__tape *tape, void *context) {
  add_node *s = context;
  moh__tape_settle(tape, s->y);
  s->a_adds = moh__tensor_adds(s->a);
  s->b_adds = moh__tensor_adds(s->b);
  moh__range_run(tape->pool, s->y->rows * s->y->cols, GRAIN, add_grads, s);
}

moh__tensor *moh__op_add(moh__tape *tape, moh__tensor *a, moh__tensor *b) {
  add_node all = {.a = a, .b = b};
  all.y = moh__tape_tensor(tape, a->rows, a->cols);
  add_node *s = moh__tape_push(tape, sizeof(*s), backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__range_run(tape->pool, a->rows * a->cols, GRAIN, forward, &all);
  return all.y;
}

/* ---- multiples ---- */

typedef struct scale_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  real by;
} scale_node;

static void scale_values(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const scale_node *s = context;
  moh__kernel()->scale(s->y->v + begin, s->by, s->x->v + begin, end - begin);
}

static void scale_grads(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  const scale_node *s = context;
  moh__kernel()->axpy(s->x->g + begin, s->by, s->y->g + begin, end - begin);
}

static void scale_backward(moh__tape *tape, void *context) {
  scale_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  moh__range_run(tape->pool, s->y->rows * s->y->cols, GRAIN, scale_grads, s);
}

moh__tensor *moh__op_scale(moh__tape *tape, moh__tensor *x, real by) {
  scale_node all = {.x = x, .by = by};
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  scale_node *s = moh__tape_push(tape, sizeof(*s), scale_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__range_run(tape->pool, x->rows * x->cols, GRAIN, scale_values, &all);
  return all.y;
}
