/* Residual sums: y = a + b; da += dy, db += dy. */
#include "kernel/kernel.h"
#include "op/op.h"

enum { GRAIN = 1 << 14 }; /* elements of a task */

typedef struct add_node {
  moh__tape_node node;
  moh__tensor *a, *b, *y;
} add_node;

static void forward(void *context, int64_t begin, int64_t end,
                    void *scratch) {
  (void)scratch;
  const add_node *s = context;
  for (int64_t i = begin; i < end; i++) s->y->v[i] = s->a->v[i] + s->b->v[i];
}

static void add_grads(void *context, int64_t begin, int64_t end,
                      void *scratch) {
  (void)scratch;
  const add_node *s = context;
  moh__kernel()->add(s->a->g + begin, s->y->g + begin, end - begin);
  moh__kernel()->add(s->b->g + begin, s->y->g + begin, end - begin);
}

static void backward(moh__tape *tape, void *context) {
  add_node *s = context;
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
