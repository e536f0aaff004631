/*
 * Gates: y_e = g_e x_e on a head's output row, before the output projection
 * (so that an unused head, gate 0, adds 0 x w and changes no bit).
 *   dx_e += g_e dy_e,  dg_e += dy_e . x_e
 */
#include "kernel/kernel.h"
#include "op/op.h"

typedef struct gate_node {
  moh__tape_node node;
  moh__tensor *x, *gates, *y;
} gate_node;

static void backward_rows(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  (void)scratch;
  const gate_node *s = context;
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->x->cols;
  for (int64_t e = begin; e < end; e++) {
    const real *dy = s->y->g + e * d;
    kernels->axpy(s->x->g + e * d, s->gates->v[e], dy, d);
    s->gates->g[e] += kernels->dot(dy, s->x->v + e * d, d);
  }
}

static void gate_backward(moh__tape *tape, void *context) {
  gate_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->gates);
  moh__tape_settle(tape, s->y);
  moh__rows_run(tape->pool, s->x->rows, s->x->cols, backward_rows, s);
}

static void forward_rows(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const gate_node *s = context;
  int64_t d = s->x->cols;
  for (int64_t e = begin; e < end; e++)
    moh__kernel()->scale(s->y->v + e * d, s->gates->v[e], s->x->v + e * d, d);
}

moh__tensor *moh__op_gate(moh__tape *tape, moh__tensor *x,
                          moh__tensor *gates) {
  gate_node all = {.x = x, .gates = gates};
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  gate_node *s = moh__tape_push(tape, sizeof(*s), gate_backward);
  if (s != NULL) {
    s->x = x;
    s->gates = gates;
    s->y = all.y;
  }
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, x->rows, x->cols, forward_rows, &all);
  return all.y;
}
