/*
 * y = x W^T. With dy the gradient of y (n, out) and W (out, in):
 *   dx += dy W,   dW += dy^T x.
 */
#include "kernel/kernel.h"
#include "op/codes.h"
#include "op/op.h"

typedef struct linear_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  moh__param *w;
} linear_node;

static void linear_backward(moh__tape *tape, void *context) {
  linear_node *s = context;
  int64_t n = s->x->rows;
  int64_t in = s->x->cols;
  int64_t out = s->y->cols;
  moh__tape_settle(tape, s->y);
  moh__gemm dx = {.m = n,
                  .n = in,
                  .k = out,
                  .a = s->y->g,
                  .lda = out,
                  .c = s->x->g,
                  .ldc = in,
                  .accumulate = moh__tensor_adds(s->x)};
  moh__param_operand(s->w, 0, true, &dx);
  moh__gemm_run(tape->pool, &dx);
  if (!moh__param_is_trained(s->w)) return;
  moh__gemm dw = {.m = out,
                  .n = in,
                  .k = n,
                  .a = s->y->g,
                  .lda = out,
                  .b = s->x->v,
                  .ldb = in,
                  .c = s->w->grad,
                  .ldc = in,
                  .accumulate = moh__param_adds(s->w),
                  .bf16 = s->w->precision == MOH__PRECISION_BF16};
  moh__gemm_at_run(tape->pool, &dw);
}

moh__tensor *moh__op_linear(moh__tape *tape, moh__tensor *x, moh__param *w) {
  int64_t in = w->shape[1];
  int64_t out = w->shape[0];
  moh__tensor *y = moh__tape_tensor(tape, x->rows, out);
  linear_node *s = moh__tape_push(tape, sizeof(*s), linear_backward);
  if (s != NULL) {
    s->x = x;
    s->y = y;
    s->w = w;
  }
  moh__coded coded = moh__coded_rows(tape, w, x->v, x->rows);
  if (!moh__tape_counting(tape)) {
    moh__gemm g = {.m = x->rows,
                   .n = out,
                   .k = in,
                   .a = x->v,
                   .lda = in,
                   .codes = coded.codes,
                   .codes_ld = coded.ld,
                   .c = y->v,
                   .ldc = out};
    moh__param_operand(w, 0, false, &g);
    moh__gemm_run(tape->pool, &g);
  }
  moh__coded_release(tape, &coded);
  return y;
}
