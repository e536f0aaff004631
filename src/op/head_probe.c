/*
 * The probe of heads: y_e = xi_h x_e for every entry e of head h, x being the
 * head's output as it goes on (its gate applied). In backward
 *   dx_e += xi_h dy_e,  importance_h += |dy_e . x_e|,
 * the size of dL/dxi for the token: equation 2 of Michel et al. 2019 (arXiv
 * 1905.10650) with tokens for its examples. Sums belong to one head each and
 * run over its entries in order.
 */
#include "kernel/kernel.h"
#include "op/op.h"

typedef struct probe_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  const moh__plan *plan;
  const real *factors; /* [heads] or NULL */
  double *importance;  /* [heads] or NULL */
} probe_node;

static real factor_of(const probe_node *s, int64_t head) {
  return s->factors == NULL ? 1 : s->factors[head];
}

static void backward_heads(void *context, int64_t begin, int64_t end,
                           void *scratch) {
  (void)scratch;
  const probe_node *s = context;
  const moh__kernels *kernels = moh__kernel();
  int64_t d = s->x->cols;
  for (int64_t h = begin; h < end; h++)
    for (int64_t e = s->plan->start[h]; e < s->plan->start[h + 1]; e++) {
      const real *dy = s->y->g + e * d;
      kernels->axpy(s->x->g + e * d, factor_of(s, h), dy, d);
      if (s->importance != NULL)
        s->importance[h] +=
            fabs((double)kernels->dot(dy, s->x->v + e * d, d));
    }
}

static void probe_backward(moh__tape *tape, void *context) {
  probe_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  moh__range_run(tape->pool, s->plan->n_candidates, 1, backward_heads, s);
}

static void forward_heads(void *context, int64_t begin, int64_t end,
                          void *scratch) {
  (void)scratch;
  const probe_node *s = context;
  int64_t d = s->x->cols;
  for (int64_t h = begin; h < end; h++) {
    int64_t e = s->plan->start[h];
    moh__kernel()->scale(s->y->v + e * d, factor_of(s, h), s->x->v + e * d,
                         moh__plan_count(s->plan, (int32_t)h) * d);
  }
}

moh__tensor *moh__op_head_probe(moh__tape *tape, moh__tensor *x,
                                const moh__plan *plan, int64_t layer) {
  const moh__head_probe *probe = tape->probe;
  if (probe == NULL) return x;
  probe_node all = {.x = x, .plan = plan};
  int64_t at = layer * plan->n_candidates;
  if (probe->factors != NULL) all.factors = probe->factors + at;
  if (probe->importance != NULL) all.importance = probe->importance + at;
  all.y = moh__tape_tensor(tape, x->rows, x->cols);
  probe_node *s = moh__tape_push(tape, sizeof(*s), probe_backward);
  if (s != NULL) {
    moh__tape_node node = s->node;
    *s = all;
    s->node = node;
  }
  if (moh__tape_counting(tape)) return all.y;
  moh__range_run(tape->pool, plan->n_candidates, 1, forward_heads, &all);
  for (int32_t h = 0; probe->uses != NULL && h < plan->n_candidates; h++)
    probe->uses[at + h] += moh__plan_count(plan, h);
  return all.y;
}
