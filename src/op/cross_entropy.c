/*
 * Output projection and cross entropy in one, by chunks of rows: a chunk's
 * logits are computed, turned into the loss and into their own gradient,
 * and passed on to x and W before the next chunk. With p = softmax(z), z =
 * W x: loss = ln sum exp(z) - z_target,   dz = weight (p - onehot(target))
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/codes.h"
#include "op/op.h"

enum { CHUNK = 192 }; /* rows whose logits exist at one time */

typedef struct chunk_job {
  moh__tape *tape;
  moh__tensor *x;
  moh__param *w;
  const int32_t *targets;
  const real *weights;
  real *loss;
  real *logits; /* [CHUNK][vocabulary] */
  int64_t first;
  bool x_adds; /* to the gradient of x */
} chunk_job;

/* Row i of the chunk: its loss, and its logits become their gradient. */
static void finish_row(const chunk_job *job, int64_t i) {
  const moh__kernels *kernels = moh__kernel();
  int64_t n = job->w->shape[0];
  int64_t row = job->first + i;
  real *z = job->logits + i * n;
  int32_t target = job->targets[row];
  job->loss[row] = 0;
  if (target < 0) {
    memset(z, 0, (size_t)n * sizeof(real));
    return;
  }
  real at_target = z[target];
  real max = kernels->max(z, n);
  real sum = kernels->exp_sum(z, max, n);
  job->loss[row] = moh__log(sum) + max - at_target;
  if (!job->tape->recording) return;
  real weight = job->weights[row] * job->tape->task_scale;
  kernels->scale(z, weight / sum, z, n);
  z[target] -= weight;
}

static void finish_rows(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  for (int64_t i = begin; i < end; i++) finish_row(context, i);
}

static void pass_back(const chunk_job *job, int64_t rows) {
  int64_t d = job->x->cols;
  int64_t n = job->w->shape[0];
  moh__gemm dx = {.m = rows,
                  .n = d,
                  .k = n,
                  .a = job->logits,
                  .lda = n,
                  .c = job->x->g + job->first * d,
                  .ldc = d,
                  .accumulate = job->x_adds};
  moh__param_operand(job->w, 0, true, &dx);
  moh__gemm_run(job->tape->pool, &dx);
  if (!moh__param_is_trained(job->w)) return;
  moh__gemm dw = {.m = n,
                  .n = d,
                  .k = rows,
                  .a = job->logits,
                  .lda = n,
                  .b = job->x->v + job->first * d,
                  .ldb = d,
                  .c = job->w->grad,
                  .ldc = d,
                  .accumulate = moh__param_adds(job->w),
                  .bf16 = job->w->precision == MOH__PRECISION_BF16};
  moh__gemm_at_run(job->tape->pool, &dw);
}

static void run_chunk(chunk_job *job) {
  int64_t d = job->x->cols;
  int64_t left = job->x->rows - job->first;
  int64_t rows = left < CHUNK ? left : CHUNK;
  moh__coded coded = moh__coded_rows(job->tape, job->w,
                                     job->x->v + job->first * d, rows);
  moh__gemm z = {.m = rows,
                 .n = job->w->shape[0],
                 .k = d,
                 .a = job->x->v + job->first * d,
                 .lda = d,
                 .codes = coded.codes,
                 .codes_ld = coded.ld,
                 .c = job->logits,
                 .ldc = job->w->shape[0]};
  moh__param_operand(job->w, 0, false, &z);
  moh__gemm_run(job->tape->pool, &z);
  moh__coded_release(job->tape, &coded);
  moh__rows_run(job->tape->pool, rows, job->w->shape[0], finish_rows, job);
  if (job->tape->recording) pass_back(job, rows);
}

void moh__op_cross_entropy(moh__tape *tape, moh__tensor *x, moh__param *w,
                           const int32_t *targets, const real *weights,
                           real *loss) {
  chunk_job job = {.tape = tape,
                   .x = x,
                   .w = w,
                   .targets = targets,
                   .weights = weights,
                   .loss = loss};
  size_t mark = moh__tape_mark(tape);
  int64_t rows = x->rows < CHUNK ? x->rows : CHUNK;
  job.logits = moh__tape_reals(tape, rows * w->shape[0]);
  if (tape->recording) job.x_adds = moh__tensor_adds(x);
  if (moh__tape_counting(tape)) {
    moh__coded coded = moh__coded_rows(tape, w, NULL, rows);
    moh__coded_release(tape, &coded);
  } else {
    for (; job.first < x->rows; job.first += CHUNK) run_chunk(&job);
  }
  moh__arena_release(tape->arena, mark); /* nothing is kept for backward */
}
