/* The tape: tensors, nodes, and the walk back. */
#include "op/tape.h"

#include <string.h>

#include "kernel/kernel.h"

/* Tensors and nodes are small; reserved memory that is not touched is free. */
enum { META_BYTES = 64 << 20 };

moh_status moh__tape_init(moh__tape *tape, moh__arena *arena, moh__pool *pool,
                          moh_error *err) {
  memset(tape, 0, sizeof(*tape));
  tape->arena = arena;
  tape->pool = pool;
  tape->aux_scale = 1;
  tape->task_scale = 1;
  return moh__arena_init(&tape->meta, META_BYTES, err);
}

void moh__tape_free(moh__tape *tape) { moh__arena_free(&tape->meta); }

void moh__tape_reset(moh__tape *tape, bool recording) {
  moh__arena_reset(tape->arena);
  moh__arena_reset(&tape->meta);
  tape->recording = recording;
  tape->last = NULL;
  tape->use = NULL;
  tape->use_last = NULL;
  tape->expert_use = NULL;
  tape->expert_use_last = NULL;
}

void *moh__tape_alloc_meta(moh__tape *tape, size_t size) {
  void *memory = moh__arena_alloc(&tape->meta, size);
  memset(memory, 0, size);
  return memory;
}

real *moh__tape_reals(moh__tape *tape, int64_t n) {
  return moh__arena_alloc(tape->arena, (size_t)n * sizeof(real));
}

int32_t *moh__tape_ints(moh__tape *tape, int64_t n) {
  return moh__arena_alloc(tape->arena, (size_t)n * sizeof(int32_t));
}

moh__tensor *moh__tape_tensor(moh__tape *tape, int64_t rows, int64_t cols) {
  moh__tensor *tensor = moh__tape_alloc_meta(tape, sizeof(*tensor));
  tensor->rows = rows;
  tensor->cols = cols;
  tensor->v = moh__tape_reals(tape, rows * cols);
  if (!tape->recording) return tensor;
  tensor->g = moh__tape_reals(tape, rows * cols);
  tensor->fresh = true;
  return tensor;
}

void moh__tape_settle(moh__tape *tape, moh__tensor *t) {
  if (!moh__tensor_adds(t)) moh__clear_run(tape->pool, t->g, t->rows * t->cols);
}

void *moh__tape_push(moh__tape *tape, size_t size,
                     moh__backward_fn *backward) {
  if (!tape->recording) return NULL;
  moh__tape_node *node = moh__tape_alloc_meta(tape, size);
  node->backward = backward;
  node->previous = tape->last;
  tape->last = node;
  return node;
}

/* ---- segments ---- */

typedef struct segment_node {
  moh__tape_node node;
  moh__segment_fn *fn;
  void *context;
  moh__tensor *x, *y;
} segment_node;

/* What a stretch that is given back leaves as it was. */
typedef struct tape_state {
  size_t used, used_at_end, meta;
  moh__tape_node *last;
  const moh__head_use *use, *expert_use;
  moh__head_use *use_last, *expert_use_last;
  moh__evenness *evenness;
  bool recording, recompute;
} tape_state;

static tape_state save_state(const moh__tape *tape) {
  return (tape_state){.used = tape->arena->used,
                      .used_at_end = tape->arena->used_at_end,
                      .meta = tape->meta.used,
                      .last = tape->last,
                      .use = tape->use,
                      .expert_use = tape->expert_use,
                      .use_last = tape->use_last,
                      .expert_use_last = tape->expert_use_last,
                      .evenness = tape->evenness,
                      .recording = tape->recording,
                      .recompute = tape->recompute};
}

static void restore_state(moh__tape *tape, const tape_state *s) {
  tape->arena->used = s->used;
  tape->arena->used_at_end = s->used_at_end;
  tape->meta.used = s->meta;
  tape->last = s->last;
  tape->use = s->use;
  tape->use_last = s->use_last;
  tape->expert_use = s->expert_use;
  tape->expert_use_last = s->expert_use_last;
  tape->evenness = s->evenness;
  tape->recording = s->recording;
  tape->recompute = s->recompute;
}

static void walk_back(moh__tape *tape) {
  for (moh__tape_node *n = tape->last; n != NULL; n = n->previous)
    n->backward(tape, n);
}

/* The ops of the segment again, recorded behind what there is. */
static void segment_backward(moh__tape *tape, void *context) {
  segment_node *s = context;
  tape_state before = save_state(tape);
  moh__head_use unlisted = {0};
  tape->last = NULL;
  tape->use_last = &unlisted;
  tape->expert_use_last = &unlisted;
  tape->evenness = NULL;
  tape->recompute = false;
  moh__tensor *y = s->fn(tape, s->context, s->x);
  y->g = s->y->g;
  y->fresh = s->y->fresh;
  if (!moh__tape_counting(tape)) walk_back(tape);
  restore_state(tape, &before);
}

/* Values alone: only what is at the arena's end, head use, stays. */
static void run_unrecorded(moh__tape *tape, moh__segment_fn *fn,
                           void *context, moh__tensor *x,
                           moh__tensor *into) {
  size_t mark = tape->arena->used;
  bool recording = tape->recording;
  tape->recording = false;
  const moh__tensor *y = fn(tape, context, x);
  tape->recording = recording;
  if (!moh__tape_counting(tape))
    memcpy(into->v, y->v, (size_t)(y->rows * y->cols) * sizeof(real));
  moh__arena_release(tape->arena, mark);
}

void moh__tape_detached(moh__tape *tape, moh__segment_fn *fn, void *context,
                        moh__tensor *into) {
  tape_state before = save_state(tape);
  run_unrecorded(tape, fn, context, NULL, into);
  if (tape->recording) restore_state(tape, &before);
}

moh__tensor *moh__tape_segment(moh__tape *tape, moh__segment_fn *fn,
                               void *context, moh__tensor *x) {
  if (!tape->recording || !tape->recompute) return fn(tape, context, x);
  moh__tensor *y = moh__tape_tensor(tape, x->rows, x->cols);
  segment_node *s = moh__tape_push(tape, sizeof(*s), segment_backward);
  s->fn = fn;
  s->context = context;
  s->x = x;
  s->y = y;
  run_unrecorded(tape, fn, context, x, y);
  return y;
}

void moh__tape_backward(moh__tape *tape) {
  if (!moh__tape_counting(tape)) {
    walk_back(tape);
    return;
  }
  for (moh__tape_node *n = tape->last; n != NULL; n = n->previous)
    if (n->backward == segment_backward) segment_backward(tape, n);
}

moh__head_use *moh__tape_add_use(moh__tape *tape, bool experts) {
  moh__head_use *use = moh__tape_alloc_meta(tape, sizeof(*use));
  const moh__head_use **first = experts ? &tape->expert_use : &tape->use;
  moh__head_use **last = experts ? &tape->expert_use_last : &tape->use_last;
  if (*last == NULL)
    *first = use;
  else
    (*last)->next = use;
  *last = use;
  return use;
}

size_t moh__tape_mark(const moh__tape *tape) {
  return moh__arena_mark(tape->arena);
}

void moh__tape_release(moh__tape *tape, size_t mark, moh__tensor *keep) {
  if (tape->recording) return;
  size_t n = (size_t)(keep->rows * keep->cols);
  real *old = keep->v;
  moh__arena_release(tape->arena, mark);
  keep->v = moh__tape_reals(tape, (int64_t)n);
  if (!moh__tape_counting(tape)) memmove(keep->v, old, n * sizeof(real));
}
