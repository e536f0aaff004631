/*
 * Out of the rows of all heads, those that a plan names: y_e = x of head c and
 * row rows[e] for entry e of candidate c. In backward dx += dy there.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"

typedef struct gather_node {
  moh__tape_node node;
  moh__tensor *x, *y;
  const moh__plan *plan;
} gather_node;

static void each_entry(const gather_node *s, bool backward) {
  const moh__plan *plan = s->plan;
  int64_t d = s->x->cols;
  for (int32_t c = 0; c < plan->n_candidates; c++) {
    const int32_t *rows = moh__plan_rows(plan, c);
    for (int32_t i = 0; i < moh__plan_count(plan, c); i++) {
      int64_t e = ((int64_t)plan->start[c] + i) * d;
      int64_t at =
          ((int64_t)c * plan->n_rows + (rows == NULL ? i : rows[i])) * d;
      if (backward)
        moh__kernel()->add(s->x->g + at, s->y->g + e, d);
      else
        memcpy(s->y->v + e, s->x->v + at, (size_t)d * sizeof(real));
    }
  }
}

static void gather_backward(moh__tape *tape, void *context) {
  gather_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->y);
  each_entry(s, true);
}

moh__tensor *moh__op_gather_heads(moh__tape *tape, moh__tensor *x,
                                  const moh__plan *plan) {
  gather_node all = {.x = x, .plan = plan};
  all.y = moh__tape_tensor(tape, moh__plan_entries(plan), x->cols);
  gather_node *s = moh__tape_push(tape, sizeof(*s), gather_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape)) each_entry(&all, false);
  return all.y;
}
