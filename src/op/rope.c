/*
 * Rotary positions, in place. A rotation's transpose is the rotation back, so
 * backward turns the gradient by minus the angle.
 */
#include "kernel/kernel.h"
#include "op/op.h"

typedef struct rope_node {
  moh__tape_node node;
  moh__tensor *x;
  int64_t d;
  const real *angles;
  const int32_t *positions;
  const int32_t *rows;
  real sign;    /* 1 forward, -1 backward */
  real *target; /* values or gradients */
} rope_node;

/* One head of one row; cs: pairs of cos and sin. */
static void turn(real *x, int64_t d, const real *cs, real sign) {
  int64_t half = d / 2;
  for (int64_t i = 0; i < half; i++) {
    real c = cs[2 * i];
    real s = cs[2 * i + 1] * sign;
    real a = x[i];
    real b = x[i + half];
    x[i] = a * c - b * s;
    x[i + half] = a * s + b * c;
  }
}

static void turn_rows(void *context, int64_t begin, int64_t end,
                      void *scratch) {
  (void)scratch;
  const rope_node *s = context;
  int64_t width = s->x->cols;
  for (int64_t r = begin; r < end; r++) {
    int64_t token = s->rows == NULL ? r : s->rows[r];
    const real *cs = s->angles + s->positions[token] * s->d;
    for (int64_t h = 0; h < width; h += s->d)
      turn(s->target + r * width + h, s->d, cs, s->sign);
  }
}

static void rope_backward(moh__tape *tape, void *context) {
  rope_node *s = context;
  moh__tape_settle(tape, s->x);
  s->sign = -1;
  s->target = s->x->g;
  moh__rows_run(tape->pool, s->x->rows, s->x->cols, turn_rows, s);
}

moh__tensor *moh__op_rope(moh__tape *tape, moh__tensor *x, int64_t d_head,
                          const real *angles, const int32_t *positions,
                          const int32_t *rows) {
  rope_node all = {.x = x,
                   .d = d_head,
                   .angles = angles,
                   .positions = positions,
                   .rows = rows,
                   .sign = 1,
                   .target = x->v};
  rope_node *s = moh__tape_push(tape, sizeof(*s), rope_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__rows_run(tape->pool, x->rows, x->cols, turn_rows, &all);
  return x;
}
