/* The tape: tensors, nodes, and the walk back. */
#include "op/tape.h"

#include <string.h>

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
  if (tensor->g != NULL)
    memset(tensor->g, 0, (size_t)(rows * cols) * sizeof(real));
  return tensor;
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

void moh__tape_backward(moh__tape *tape) {
  for (moh__tape_node *n = tape->last; n != NULL; n = n->previous)
    n->backward(tape, n);
}

moh__head_use *moh__tape_add_use(moh__tape *tape) {
  moh__head_use *use = moh__tape_alloc_meta(tape, sizeof(*use));
  if (tape->use_last == NULL)
    tape->use = use;
  else
    tape->use_last->next = use;
  tape->use_last = use;
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
