/*
 * The causal token mixing of HyperMixer (op.h has the formula). Of a head of a
 * sequence the state is C_t = sum over j <= t of w1_j (x) x_j, (width, d_head),
 * and S_t = C_t / (t + 1):
 *   y_t = sum_r w2_t[r] gelu(S_t[r])
 * Backward, with G_t = sum over s >= t of dS_s / (s + 1), from the last token
 * to the first:
 *   dS_t[r] = w2_t[r] dy_t * gelu'(S_t[r]),  dw2_t[r] += dy_t . gelu(S_t[r]),
 *   dw1_t[r] += G_t[r] . x_t,  dx_t += sum_r w1_t[r] G_t[r].
 * Forward keeps C before every stretch of tokens, and backward computes the
 * states of a stretch again: storing all of them would take `width` times the
 * memory of x.
 */
#include <string.h>

#include "kernel/kernel.h"
#include "op/op.h"

/* States of a stretch take half of the scratch. */
enum { STRETCH_MAX = 64, STATES = MOH__SCRATCH_BYTES / 2 / sizeof(real) };

typedef struct mix_node {
  moh__tape_node node;
  moh__mix_args args;
  moh__tensor *x, *w1, *w2, *y;
  real *state;     /* [n_seq][n_heads][width][d_head], without a cache */
  real *kept;      /* C before each stretch; NULL when not recording */
  int32_t *first;  /* [n_seq] stretch */
  int64_t stretch; /* tokens */
} mix_node;

static int64_t state_size(const mix_node *s) {
  return s->args.width * s->args.d_head;
}

static int64_t stretch_of(const moh__mix_args *args) {
  int64_t n = STATES / (args->width * args->d_head);
  return n < 1 ? 1 : n > STRETCH_MAX ? STRETCH_MAX : n;
}

static real *state_of(const mix_node *s, int32_t seq, int32_t head) {
  const moh__cache *cache = s->args.batch->cache;
  int64_t at = head * state_size(s);
  if (cache == NULL)
    return s->state + (int64_t)seq * s->args.n_heads * state_size(s) + at;
  int32_t page = cache->page_ids[(int64_t)seq * cache->pages_per_seq];
  return cache->slots[s->args.slot] + page * cache->page_size + at;
}

/* C before stretch i of a sequence. */
static real *kept_of(const mix_node *s, int32_t seq, int32_t head,
                     int64_t i) {
  return s->kept +
         ((s->first[seq] + i) * s->args.n_heads + head) * state_size(s);
}

/* ---- one token ---- */

/* C += w1 (x) x of row r. */
static void add_token(const mix_node *s, int32_t head, int64_t r, real *c) {
  int64_t d = s->args.d_head, width = s->args.width;
  const real *w1 = s->w1->v + r * s->w1->cols + head * width;
  const real *x = s->x->v + r * s->x->cols + head * d;
  for (int64_t i = 0; i < width; i++)
    moh__kernel()->axpy(c + i * d, w1[i], x, d);
}

static real share_of(const mix_node *s, int64_t r) {
  return 1 / (real)(s->args.batch->positions[r] + 1);
}

/* y of an entry that row r has. */
static void read_out(const mix_node *s, int64_t entry, int64_t r,
                     const real *c, real *values) {
  int64_t d = s->args.d_head, width = s->args.width;
  const real *w2 = s->w2->v + entry * width;
  real *y = s->y->v + entry * d;
  moh__kernel()->gelu(values, NULL, c, share_of(s, r), width * d);
  memset(y, 0, (size_t)d * sizeof(real));
  for (int64_t i = 0; i < width; i++)
    moh__kernel()->axpy(y, w2[i], values + i * d, d);
}

static void read_out_grad(const mix_node *s, int64_t entry, int64_t r,
                          const real *c, real *scratch, real *g) {
  int64_t d = s->args.d_head, width = s->args.width;
  real *values = scratch, *slopes = scratch + width * d;
  real share = share_of(s, r);
  const real *dy = s->y->g + entry * d;
  moh__kernel()->gelu(values, slopes, c, share, width * d);
  for (int64_t i = 0; i < width; i++) {
    real w2 = s->w2->v[entry * width + i] * share;
    s->w2->g[entry * width + i] += moh__kernel()->dot(dy, values + i * d, d);
    for (int64_t j = 0; j < d; j++)
      g[i * d + j] += w2 * dy[j] * slopes[i * d + j];
  }
}

static void token_grad(const mix_node *s, int32_t head, int64_t r,
                       const real *g) {
  int64_t d = s->args.d_head, width = s->args.width;
  int64_t at = r * s->w1->cols + head * width;
  int64_t column = r * s->x->cols + head * d;
  for (int64_t i = 0; i < width; i++) {
    s->w1->g[at + i] += moh__kernel()->dot(g + i * d, s->x->v + column, d);
    moh__kernel()->axpy(s->x->g + column, s->w1->v[at + i], g + i * d, d);
  }
}

/* ---- one head of one sequence ---- */

/* The entry of row r, which lies at or behind *next; -1: there is none. */
static int64_t entry_at(const moh__plan *plan, int32_t head, int64_t r,
                        int32_t next) {
  const int32_t *rows = moh__plan_rows(plan, head);
  int32_t i = next - plan->start[head];
  if (i < 0 || i >= moh__plan_count(plan, head)) return -1;
  return (rows == NULL ? i : rows[i]) == r ? next : -1;
}

static void forward_task(void *context, int64_t task, void *scratch) {
  const mix_node *s = context;
  int32_t head = (int32_t)(task % s->args.n_heads);
  int32_t seq = (int32_t)(task / s->args.n_heads);
  const int32_t *start = s->args.batch->seq_start;
  size_t bytes = (size_t)state_size(s) * sizeof(real);
  real *c = state_of(s, seq, head);
  int32_t next = moh__plan_lower_bound(s->args.plan, head, start[seq]);
  if (start[seq] == start[seq + 1]) return;
  if (s->args.batch->positions[start[seq]] == 0) memset(c, 0, bytes);
  for (int64_t r = start[seq]; r < start[seq + 1]; r++) {
    int64_t i = r - start[seq];
    if (s->kept != NULL && i % s->stretch == 0)
      memcpy(kept_of(s, seq, head, i / s->stretch), c, bytes);
    add_token(s, head, r, c);
    int64_t entry = entry_at(s->args.plan, head, r, next);
    if (entry < 0) continue;
    read_out(s, entry, r, c, scratch);
    next++;
  }
}

/* Scratch of backward: the states of a stretch, G, and two more for a token. */
typedef struct back {
  const mix_node *s;
  int32_t seq, head;
  real *states, *g, *more;
} back;

/* Rows [begin, end) of stretch i; *next is behind their last entry, and moves
 * before their first. */
static void stretch_grad(const back *b, int64_t i, int64_t begin, int64_t end,
                         int32_t *next) {
  const mix_node *s = b->s;
  int64_t size = state_size(s);
  size_t bytes = (size_t)size * sizeof(real);
  for (int64_t r = begin; r < end; r++) {
    real *c = b->states + (r - begin) * size;
    memcpy(c, r == begin ? kept_of(s, b->seq, b->head, i) : c - size, bytes);
    add_token(s, b->head, r, c);
  }
  for (int64_t r = end - 1; r >= begin; r--) {
    int64_t entry = entry_at(s->args.plan, b->head, r, *next - 1);
    if (entry >= 0) {
      read_out_grad(s, entry, r, b->states + (r - begin) * size, b->more,
                    b->g);
      (*next)--;
    }
    token_grad(s, b->head, r, b->g);
  }
}

static void backward_task(void *context, int64_t task, void *scratch) {
  const mix_node *s = context;
  back b = {.s = s,
            .seq = (int32_t)(task / s->args.n_heads),
            .head = (int32_t)(task % s->args.n_heads),
            .states = scratch};
  const int32_t *start = s->args.batch->seq_start;
  int64_t begin = start[b.seq], end = start[b.seq + 1];
  int32_t next = moh__plan_lower_bound(s->args.plan, b.head, (int32_t)end);
  b.g = b.states + s->stretch * state_size(s);
  b.more = b.g + state_size(s);
  memset(b.g, 0, (size_t)state_size(s) * sizeof(real));
  for (int64_t i = (end - begin - 1) / s->stretch; i >= 0; i--) {
    int64_t from = begin + i * s->stretch;
    int64_t to = from + s->stretch < end ? from + s->stretch : end;
    stretch_grad(&b, i, from, to, &next);
  }
}

/* ---- all of them ---- */

static void mix_backward(moh__tape *tape, void *context) {
  mix_node *s = context;
  moh__tape_settle(tape, s->x);
  moh__tape_settle(tape, s->w1);
  moh__tape_settle(tape, s->w2);
  moh__tape_settle(tape, s->y);
  moh__pool_run(tape->pool, (int64_t)s->args.batch->n_seq * s->args.n_heads,
                backward_task, s);
}

/* Room for states of the step, and for those that backward begins with. */
static void make_room(moh__tape *tape, mix_node *s) {
  const moh__batch *batch = s->args.batch;
  int64_t size = s->args.n_heads * state_size(s), n = 0;
  s->stretch = stretch_of(&s->args);
  if (batch->cache == NULL)
    s->state = moh__tape_reals(tape, batch->n_seq * size);
  if (!tape->recording) return;
  s->first = moh__tape_ints(tape, batch->n_seq);
  for (int32_t q = 0; q < batch->n_seq; q++) {
    int64_t rows = batch->seq_start[q + 1] - batch->seq_start[q];
    if (s->first != NULL) s->first[q] = (int32_t)n;
    n += (rows + s->stretch - 1) / s->stretch;
  }
  s->kept = moh__tape_reals(tape, n * size);
}

moh__tensor *moh__op_causal_mix(moh__tape *tape, moh__tensor *x,
                                moh__tensor *w1, moh__tensor *w2,
                                const moh__mix_args *args) {
  mix_node all = {.args = *args, .x = x, .w1 = w1, .w2 = w2};
  all.y = moh__tape_tensor(tape, w2->rows, args->d_head);
  make_room(tape, &all);
  mix_node *s = moh__tape_push(tape, sizeof(*s), mix_backward);
  if (s != NULL) {
    all.node = s->node;
    *s = all;
  }
  if (!moh__tape_counting(tape))
    moh__tasks_run(tape->pool, (int64_t)args->batch->n_seq * args->n_heads,
                   2 * x->rows * x->cols * args->width, forward_task, &all);
  return all.y;
}
