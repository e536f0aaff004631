/*
 * The element-wise parts of feed-forward layers.
 * SwiGLU: y = silu(g) u, silu(z) = z sigmoid(z); its gradients stand in
 * kernel/kernel.h. ReLU: y = max(x, 0), dx += dy where x > 0.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"

enum { GRAIN = 1 << 13 }; /* elements of a task */

typedef struct pair_node {
  moh__tape_node node;
  moh__tensor *a, *b, *y; /* gate, up; ReLU has no b */
  bool a_adds, b_adds;    /* to their gradients */
} pair_node;

static moh__tensor *run(moh__tape *tape, moh__tensor *a, moh__tensor *b,
                        moh__range_fn *forward, moh__backward_fn *backward) {
  pair_node all = {.a = a, .b = b};
  all.y = moh__tape_tensor(tape, a->rows, a->cols);
  pair_node *s = moh__tape_push(tape, sizeof(*s), backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__range_run(tape->pool, a->rows * a->cols, GRAIN, forward, &all);
  return all.y;
}

static void swiglu_forward(void *context, int64_t begin, int64_t end,
                           void *scratch) {
  (void)scratch;
  const pair_node *s = context;
  moh__kernel()->swiglu(s->y->v + begin, s->a->v + begin, s->b->v + begin,
                        end - begin);
}

/* A stretch that is about to be added to, and in the cache then. */
static void begin_grad(bool adds, real *g, int64_t n) {
  if (!adds) memset(g, 0, (size_t)n * sizeof(real));
}

static void swiglu_grads(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const pair_node *s = context;
  begin_grad(s->a_adds, s->a->g + begin, end - begin);
  begin_grad(s->b_adds, s->b->g + begin, end - begin);
  moh__kernel()->swiglu_grad(s->a->g + begin, s->b->g + begin,
                             s->y->g + begin, s->a->v + begin,
                             s->b->v + begin, end - begin);
}

static void swiglu_backward(moh__tape *tape, void *context) {
  pair_node *s = context;
  moh__tape_settle(tape, s->y);
  s->a_adds = moh__tensor_adds(s->a);
  s->b_adds = moh__tensor_adds(s->b);
  moh__range_run(tape->pool, s->a->rows * s->a->cols, GRAIN, swiglu_grads, s);
}

moh__tensor *moh__op_swiglu(moh__tape *tape, moh__tensor *gate,
                            moh__tensor *up) {
  return run(tape, gate, up, swiglu_forward, swiglu_backward);
}

static void relu_forward(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const pair_node *s = context;
  for (int64_t i = begin; i < end; i++)
    s->y->v[i] = s->a->v[i] < 0 ? 0 : s->a->v[i]; /* NaN stays */
}

static void relu_backward(moh__tape *tape, void *context) {
  const pair_node *s = context;
  moh__tape_settle(tape, s->a);
  moh__tape_settle(tape, s->y);
  for (int64_t i = 0; i < s->a->rows * s->a->cols; i++)
    if (s->a->v[i] > 0) s->a->g[i] += s->y->g[i];
}

moh__tensor *moh__op_relu(moh__tape *tape, moh__tensor *x) {
  return run(tape, x, NULL, relu_forward, relu_backward);
}
