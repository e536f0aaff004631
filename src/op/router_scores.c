/* The products of the head router, together or one by one. */
#include "op/router_scores.h"

#include <string.h>

#include "kernel/kernel.h"

/* From so many rows on, joining the matrices costs less than two more
 * passes over x. */
enum { ROWS_TOGETHER = 16 };

/* ---- memory ---- */

static void add_part(moh__router_scores *s, moh__tape *tape, moh__param *w,
                     real **logits, real **grads) {
  if (w == NULL) return;
  int64_t n = s->x->rows * w->shape[0];
  *logits = moh__tape_reals(tape, n);
  if (tape->recording) *grads = moh__tape_reals(tape, n);
  s->w[s->n_parts] = w;
  s->part_logits[s->n_parts] = *logits;
  s->part_grads[s->n_parts++] = *grads;
}

/* Several matrices in one, with gradients where any of them has them. */
static void alloc_together(moh__router_scores *s, moh__tape *tape) {
  moh__param *all = &s->all;
  all->n_dims = 2;
  all->shape[1] = s->x->cols;
  bool trained = false;
  for (int i = 0; i < s->n_parts; i++) {
    all->shape[0] += s->w[i]->shape[0];
    trained = trained || moh__param_is_trained(s->w[i]);
  }
  all->n = all->shape[0] * all->shape[1];
  all->grouping = MOH__PACK_OUTPUTS;
  all->n_groups = 1;
  all->data = moh__tape_reals(tape, all->n);
  all->packed =
      moh__arena_alloc(tape->arena, (size_t)moh__param_packed_bytes(all));
  s->all_logits = moh__tape_reals(tape, s->x->rows * all->shape[0]);
  if (tape->recording && trained) all->grad = moh__tape_reals(tape, all->n);
}

void moh__router_scores_alloc(moh__router_scores *s, moh__tape *tape,
                              moh__tensor *x, const moh__router_args *args) {
  s->x = x;
  add_part(s, tape, args->w_shared, &s->logits.shared, &s->grads.shared);
  add_part(s, tape, args->w_routed, &s->logits.routed, &s->grads.routed);
  add_part(s, tape, args->w_mix, &s->logits.mix, &s->grads.mix);
  if (s->n_parts > 1 && x->rows >= ROWS_TOGETHER) alloc_together(s, tape);
}

/* ---- between the parts and the whole ---- */

static void copy_reals(real *to, const real *from, int64_t n) {
  memcpy(to, from, (size_t)n * sizeof(real));
}

static void join_weights(moh__router_scores *s, moh__tape *tape) {
  real *row = s->all.data;
  for (int i = 0; i < s->n_parts; row += s->w[i++]->n)
    copy_reals(row, s->w[i]->data, s->w[i]->n);
  moh__param_pack(&s->all, tape->pool);
}

static void split_logits(moh__router_scores *s) {
  const real *from = s->all_logits;
  for (int64_t t = 0; t < s->x->rows; t++)
    for (int i = 0; i < s->n_parts; i++) {
      int64_t n = s->w[i]->shape[0];
      for (int64_t j = 0; j < n; j++) s->part_logits[i][t * n + j] = *from++;
    }
}

static void join_logit_grads(moh__router_scores *s) {
  real *to = s->all_logits;
  for (int64_t t = 0; t < s->x->rows; t++)
    for (int i = 0; i < s->n_parts; i++) {
      int64_t n = s->w[i]->shape[0];
      for (int64_t j = 0; j < n; j++) *to++ = s->part_grads[i][t * n + j];
    }
}

/* Sums continue from what each matrix's gradient holds. */
static void join_weight_grads(moh__router_scores *s) {
  real *row = s->all.grad;
  for (int i = 0; i < s->n_parts; row += s->w[i++]->n) {
    if (moh__param_is_trained(s->w[i]) && moh__param_adds(s->w[i]))
      copy_reals(row, s->w[i]->grad, s->w[i]->n);
    else
      memset(row, 0, (size_t)s->w[i]->n * sizeof(real));
  }
}

static void split_weight_grads(moh__router_scores *s) {
  const real *row = s->all.grad;
  for (int i = 0; i < s->n_parts; row += s->w[i++]->n)
    if (moh__param_is_trained(s->w[i]))
      copy_reals(s->w[i]->grad, row, s->w[i]->n);
}

/* ---- products ---- */

static void score(moh__tape *tape, const moh__tensor *x, const moh__param *w,
                  real *logits) {
  moh__gemm g = {.m = x->rows,
                 .n = w->shape[0],
                 .k = w->shape[1],
                 .a = x->v,
                 .lda = x->cols,
                 .c = logits,
                 .ldc = w->shape[0]};
  moh__param_operand(w, 0, false, &g);
  moh__gemm_run(tape->pool, &g);
}

static void score_back(moh__tape *tape, moh__tensor *x, moh__param *w,
                       const real *d_logits) {
  int64_t out = w->shape[0];
  int64_t in = w->shape[1];
  moh__gemm dx = {.m = x->rows,
                  .n = in,
                  .k = out,
                  .a = d_logits,
                  .lda = out,
                  .c = x->g,
                  .ldc = in,
                  .accumulate = moh__tensor_adds(x)};
  moh__param_operand(w, 0, true, &dx);
  moh__gemm_run(tape->pool, &dx);
  if (!moh__param_is_trained(w)) return;
  moh__gemm dw = {.m = out,
                  .n = in,
                  .k = x->rows,
                  .a = d_logits,
                  .lda = out,
                  .b = x->v,
                  .ldb = in,
                  .c = w->grad,
                  .ldc = in,
                  .accumulate = moh__param_adds(w)};
  moh__gemm_at_run(tape->pool, &dw);
}

void moh__router_scores_forward(moh__router_scores *s, moh__tape *tape) {
  if (s->all.n > 0) {
    join_weights(s, tape);
    score(tape, s->x, &s->all, s->all_logits);
    split_logits(s);
    return;
  }
  for (int i = 0; i < s->n_parts; i++)
    score(tape, s->x, s->w[i], s->part_logits[i]);
}

void moh__router_scores_backward(moh__router_scores *s, moh__tape *tape) {
  if (s->all.n > 0) {
    join_logit_grads(s);
    if (s->all.grad != NULL) join_weight_grads(s);
    score_back(tape, s->x, &s->all, s->all_logits);
    if (s->all.grad != NULL) split_weight_grads(s);
    return;
  }
  for (int i = 0; i < s->n_parts; i++)
    score_back(tape, s->x, s->w[i], s->part_grads[i]);
}
