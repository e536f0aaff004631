/*
 * Biases, in place: x += b, db += sum over rows of dx. With a plan, the entries
 * of candidate c have the c-th part of b.
 */
#include "kernel/kernel.h"
#include "op/op.h"

enum { COLUMNS = 64 }; /* of a task */

typedef struct bias_node {
  moh__tape_node node;
  moh__tensor *x;
  moh__param *b;
  const moh__plan *plan; /* NULL: all rows have all of b */
} bias_node;

static int32_t n_parts(const bias_node *s) {
  return s->plan == NULL ? 1 : s->plan->n_candidates;
}

/* Rows [first, last) have part c. */
static void rows_of(const bias_node *s, int32_t c, int64_t *first,
                    int64_t *last) {
  *first = s->plan == NULL ? 0 : s->plan->start[c];
  *last = s->plan == NULL ? s->x->rows : s->plan->start[c + 1];
}

static void add_columns(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  const bias_node *s = context;
  int64_t d = s->x->cols, first, last;
  for (int32_t c = 0; c < n_parts(s); c++) {
    rows_of(s, c, &first, &last);
    for (int64_t r = first; r < last; r++)
      moh__kernel()->add(s->x->v + r * d + begin, s->b->data + c * d + begin,
                         end - begin);
  }
}

/* Each column is one chain over the rows. */
static void grad_columns(void *context, int64_t begin, int64_t end,
                         void *scratch) {
  (void)scratch;
  const bias_node *s = context;
  int64_t d = s->x->cols, first, last;
  for (int32_t c = 0; c < n_parts(s); c++) {
    rows_of(s, c, &first, &last);
    for (int64_t r = first; r < last; r++)
      moh__kernel()->add(s->b->grad + c * d + begin, s->x->g + r * d + begin,
                         end - begin);
  }
}

static void bias_backward(moh__tape *tape, void *context) {
  bias_node *s = context;
  if (!moh__param_is_trained(s->b)) return;
  moh__tape_settle(tape, s->x);
  moh__param_settle(s->b, tape->pool);
  moh__range_run(tape->pool, s->x->cols, COLUMNS, grad_columns, s);
}

moh__tensor *moh__op_bias(moh__tape *tape, moh__tensor *x, moh__param *b,
                          const moh__plan *plan) {
  bias_node all = {.x = x, .b = b, .plan = plan};
  bias_node *s = moh__tape_push(tape, sizeof(*s), bias_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__range_run(tape->pool, x->cols, COLUMNS, add_columns, &all);
  return x;
}
