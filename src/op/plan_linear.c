/*
 * Linear over a dispatch plan: only the (token, head) pairs that the plan
 * names are computed. With rows R_c of candidate c and its weights W_c:
 *   gathered   y_e = W_c x_r                 for entry e of c, r = rows[e]
 *     dx_r += W_c^T dy_e,  dW_c += dy_e x_r^T
 *   scattered  y_r = sum_c W_c x_e           c ascending
 *     dx_e += W_c^T dy_r,  dW_c += dy_r x_e^T
 * Scattering goes by blocks of tokens, and head by head within a block, so
 * that the block of the output stays in the cache and every element is one
 * chain, whatever the number of threads.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/codes.h"
#include "op/op.h"

enum {
  TOKEN_BLOCK = 96, /* output rows of a scatter task; a multiple of 6 */
  ENTRY_BLOCK = 192 /* entries of a gather task */
};

typedef struct plan_job {
  const moh__plan *plan;
  moh__param *w;
  const real *from; /* row- or entry-major input, */
  moh__coded coded; /* and rounded, where W has integers */
  real *to;
  int64_t in, out;           /* of a group */
  bool backward;             /* multiply by W_c^T */
  bool adds;                 /* to what `to` holds */
  int64_t columns, n_across; /* of a scatter task, tasks along them */
} plan_job;

/* Multiply-adds. */
static int64_t work_of(const plan_job *job) {
  return moh__plan_entries(job->plan) * job->in * job->out;
}

/* ---- rows in: task t is (candidate, block of its entries) ---- */

static void gather_block(const plan_job *job, int32_t c, int32_t first,
                         int32_t count, void *scratch) {
  const moh__plan *plan = job->plan;
  moh__gemm g = {.m = count,
                 .n = job->out,
                 .k = job->in,
                 .a = job->from,
                 .lda = job->in,
                 .codes = job->coded.codes,
                 .codes_ld = job->coded.ld,
                 .c = job->to + (int64_t)first * job->out,
                 .ldc = job->out,
                 .accumulate = job->adds};
  if (plan->rows == NULL)
    moh__gemm_skip_rows(&g, first - plan->start[c]);
  else
    g.a_rows = plan->rows + first;
  moh__param_operand(job->w, c, job->backward, &g);
  moh__kernel()->gemm(&g, scratch);
}

static void gather_task(void *context, int64_t task, void *scratch) {
  const plan_job *job = context;
  int32_t n = job->plan->n_candidates;
  int32_t c = (int32_t)(task % n);
  int32_t first = job->plan->start[c] + (int32_t)(task / n) * ENTRY_BLOCK;
  int32_t left = job->plan->start[c + 1] - first;
  if (left <= 0) return;
  gather_block(job, c, first, left < ENTRY_BLOCK ? left : ENTRY_BLOCK,
               scratch);
}

static void gather(moh__tape *tape, plan_job *job) {
  int64_t blocks = (job->plan->n_rows + ENTRY_BLOCK - 1) / ENTRY_BLOCK;
  moh__tasks_run(tape->pool, blocks * job->plan->n_candidates, work_of(job),
                 gather_task, job);
}

/* ---- rows out: a task is a block of tokens and some columns, all
 * candidates in order ---- */

/* Where a task writes. */
typedef struct scatter_part {
  int32_t t0, t1;
  int64_t j, n; /* columns */
} scatter_part;

static void scatter_candidate(const plan_job *job, int32_t c,
                              const scatter_part *part, void *scratch) {
  const moh__plan *plan = job->plan;
  int32_t first = moh__plan_lower_bound(plan, c, part->t0);
  int32_t last = moh__plan_lower_bound(plan, c, part->t1);
  if (first == last) return;
  moh__gemm g = {.m = last - first,
                 .n = job->out,
                 .k = job->in,
                 .a = job->from,
                 .lda = job->in,
                 .codes = job->coded.codes,
                 .codes_ld = job->coded.ld,
                 .c = job->to,
                 .ldc = job->out,
                 .accumulate = true};
  moh__gemm_skip_rows(&g, first);
  if (plan->rows == NULL)
    g.c += (first - plan->start[c]) * job->out;
  else
    g.c_rows = plan->rows + first;
  moh__param_operand(job->w, c, job->backward, &g);
  moh__gemm_columns(&g, part->j, part->n);
  moh__kernel()->gemm(&g, scratch);
}

static void clear_part(const plan_job *job, const scatter_part *part) {
  for (int32_t t = part->t0; t < part->t1; t++)
    memset(job->to + t * job->out + part->j, 0,
           (size_t)part->n * sizeof(real));
}

static void scatter_task(void *context, int64_t task, void *scratch) {
  const plan_job *job = context;
  int64_t j = task % job->n_across * job->columns;
  int32_t t0 = (int32_t)(task / job->n_across) * TOKEN_BLOCK;
  int32_t left = job->plan->n_rows - t0;
  scatter_part part = {
      t0, t0 + (left < TOKEN_BLOCK ? left : TOKEN_BLOCK), j,
      job->out - j < job->columns ? job->out - j : job->columns};
  if (!job->adds) clear_part(job, &part);
  for (int32_t c = 0; c < job->plan->n_candidates; c++)
    scatter_candidate(job, c, &part, scratch);
}

/* Columns are cut where blocks of tokens alone would leave threads without
 * work; no element depends on it. */
static void scatter(moh__tape *tape, plan_job *job) {
  int64_t blocks = (job->plan->n_rows + TOKEN_BLOCK - 1) / TOKEN_BLOCK;
  int64_t panels = (job->out + MOH__PANEL - 1) / MOH__PANEL;
  int64_t threads = moh__pool_threads(tape->pool);
  int64_t across = threads == 1 ? 1 : (4 * threads + blocks - 1) / blocks;
  if (across > panels) across = panels;
  job->columns = (panels + across - 1) / across * MOH__PANEL;
  job->n_across = (job->out + job->columns - 1) / job->columns;
  moh__tasks_run(tape->pool, blocks * job->n_across, work_of(job),
                 scatter_task, job);
}

/* ---- nodes ---- */

typedef struct plan_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  moh__param *w;
  const moh__plan *plan;
} plan_node;

static void save_node(plan_node *s, moh__tensor *x, moh__tensor *y,
                      moh__param *w, const moh__plan *plan) {
  if (s == NULL) return;
  s->x = x;
  s->y = y;
  s->w = w;
  s->plan = plan;
}

static void run(moh__tape *tape, const moh__tensor *x, moh__param *w,
                const moh__plan *plan, const moh__tensor *y,
                void (*products)(moh__tape *tape, plan_job *job)) {
  plan_job job = {.plan = plan,
                  .w = w,
                  .from = x->v,
                  .coded = moh__coded_rows(tape, w, x->v, x->rows),
                  .to = y->v,
                  .in = x->cols,
                  .out = y->cols};
  if (!moh__tape_counting(tape)) products(tape, &job);
  moh__coded_release(tape, &job.coded);
}

/* dW_c: a product over the candidate's entries. rows_in says which operand
 * is indexed by token rows: x (gathered) or dy (scattered). */
typedef struct weight_job {
  const plan_node *s;
  bool gathered;
  bool adds;
} weight_job;

static void weight_task(void *context, int64_t task, void *scratch) {
  const weight_job *job = context;
  const plan_node *s = job->s;
  int32_t c = (int32_t)task;
  const int32_t *rows = moh__plan_rows(s->plan, c);
  int64_t first = s->plan->start[c];
  int64_t in = moh__param_group_in(s->w);
  int64_t out = moh__param_group_out(s->w);
  moh__gemm g = {.m = out,
                 .n = in,
                 .k = moh__plan_count(s->plan, c),
                 .a = s->y->g,
                 .lda = out,
                 .b = s->x->v,
                 .ldb = in,
                 .ldc = s->w->shape[1],
                 .accumulate = job->adds,
                 .bf16 = s->w->precision == MOH__PRECISION_BF16};
  if (job->gathered) {
    g.a += first * out;
    g.b_rows = rows;
    g.c = s->w->grad + c * out * s->w->shape[1];
  } else {
    g.a_rows = rows;
    g.b += first * in;
    g.c = s->w->grad + c * in;
  }
  moh__kernel()->gemm_at(&g, scratch);
}

static void weight_grads(moh__tape *tape, const plan_node *s, bool gathered) {
  if (!moh__param_is_trained(s->w)) return;
  weight_job job = {s, gathered, moh__param_adds(s->w)};
  moh__pool_run(tape->pool, s->plan->n_candidates, weight_task, &job);
}

static plan_job inputs_job(moh__tape *tape, const plan_node *s) {
  moh__tape_settle(tape, s->y);
  return (plan_job){.plan = s->plan,
                    .w = s->w,
                    .from = s->y->g,
                    .to = s->x->g,
                    .in = s->y->cols,
                    .out = s->x->cols,
                    .backward = true,
                    .adds = moh__tensor_adds(s->x)};
}

static void gathered_backward(moh__tape *tape, void *context) {
  plan_node *s = context;
  plan_job dx = inputs_job(tape, s);
  scatter(tape, &dx);
  weight_grads(tape, s, true);
}

moh__tensor *moh__op_gathered_linear(moh__tape *tape, moh__tensor *x,
                                     moh__param *w, const moh__plan *plan) {
  moh__tensor *y = moh__tape_tensor(tape, moh__plan_entries(plan),
                                    moh__param_group_out(w));
  save_node(moh__tape_push(tape, sizeof(plan_node), gathered_backward), x, y,
            w, plan);
  run(tape, x, w, plan, y, gather);
  return y;
}

static void scattered_backward(moh__tape *tape, void *context) {
  plan_node *s = context;
  plan_job dx = inputs_job(tape, s);
  gather(tape, &dx);
  weight_grads(tape, s, false);
}

moh__tensor *moh__op_scattered_linear(moh__tape *tape, moh__tensor *x,
                                      moh__param *w, const moh__plan *plan) {
  moh__tensor *y =
      moh__tape_tensor(tape, plan->n_rows, moh__param_group_out(w));
  save_node(moh__tape_push(tape, sizeof(plan_node), scattered_backward), x, y,
            w, plan);
  run(tape, x, w, plan, y, scatter);
  return y;
}

/* ---- without weights: heads side by side ---- */

/* Calls copy for every entry: row of the token side, entry, columns. */
static void each_entry(const moh__plan *plan, moh__tensor *x, moh__tensor *y,
                       bool backward) {
  int64_t d = x->cols;
  for (int32_t c = 0; c < plan->n_candidates; c++) {
    const int32_t *rows = moh__plan_rows(plan, c);
    for (int32_t i = 0; i < moh__plan_count(plan, c); i++) {
      int64_t e = plan->start[c] + i;
      int64_t at = (rows == NULL ? i : rows[i]) * y->cols + c * d;
      if (backward)
        moh__kernel()->add(x->g + e * d, y->g + at, d);
      else
        memcpy(y->v + at, x->v + e * d, (size_t)d * sizeof(real));
    }
  }
}

static void scatter_heads_backward(moh__tape *tape, void *context) {
  plan_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  each_entry(s->plan, s->x, s->y, true);
}

moh__tensor *moh__op_scatter_heads(moh__tape *tape, moh__tensor *x,
                                   const moh__plan *plan) {
  int64_t width = plan->n_candidates * x->cols;
  moh__tensor *y = moh__tape_tensor(tape, plan->n_rows, width);
  save_node(moh__tape_push(tape, sizeof(plan_node), scatter_heads_backward),
            x, y, NULL, plan);
  if (moh__tape_counting(tape)) return y;
  memset(y->v, 0, (size_t)(y->rows * y->cols) * sizeof(real));
  each_entry(plan, x, y, false);
  return y;
}
