/*
 * Looking up rows: of a table by token id (or by position), and of a tensor
 * by row number. Backward adds a row's gradient to where it came from, in the
 * order of the rows, so that repeated ids add up the same way every time.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"

typedef struct embed_node {
  moh__tape_node node;
  moh__param *table; /* or */
  moh__tensor *x;
  moh__tensor *y;
  const int32_t *ids;
} embed_node;

static void embed_backward(moh__tape *tape, void *context) {
  const embed_node *s = context;
  if (s->table != NULL && !moh__param_is_trained(s->table)) return;
  moh__tape_settle(tape, s->y);
  if (s->table != NULL)
    moh__param_settle(s->table, tape->pool);
  else
    moh__tape_settle(tape, s->x);
  real *to = s->table != NULL ? s->table->grad : s->x->g;
  int64_t d = s->y->cols;
  for (int64_t i = 0; i < s->y->rows; i++)
    moh__kernel()->add(to + s->ids[i] * d, s->y->g + i * d, d);
}

static moh__tensor *look_up(moh__tape *tape, moh__param *table,
                            moh__tensor *x, const int32_t *ids, int32_t n,
                            int64_t d) {
  moh__tensor *y = moh__tape_tensor(tape, n, d);
  embed_node *s = moh__tape_push(tape, sizeof(*s), embed_backward);
  if (s != NULL) {
    s->table = table;
    s->x = x;
    s->y = y;
    s->ids = ids;
  }
  if (moh__tape_counting(tape)) return y;
  for (int32_t i = 0; i < n; i++)
    if (table != NULL)
      moh__param_row(table, ids[i], y->v + i * d);
    else
      memcpy(y->v + i * d, x->v + ids[i] * d, (size_t)d * sizeof(real));
  return y;
}

moh__tensor *moh__op_embed(moh__tape *tape, moh__param *table,
                           const int32_t *ids, int32_t n) {
  return look_up(tape, table, NULL, ids, n, table->shape[1]);
}

moh__tensor *moh__op_select_rows(moh__tape *tape, moh__tensor *x,
                                 const int32_t *rows, int32_t n) {
  if (rows == NULL) return x;
  return look_up(tape, NULL, x, rows, n, x->cols);
}
