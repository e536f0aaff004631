/*
 * The tape. An op computes its output at once and, when recording, pushes a
 * function that adds to the gradients of its inputs; backward walks the
 * pushes in reverse. Values, gradients and saved activations live in one
 * arena, so that a step allocates nothing else.
 *
 * On a counting arena nothing is computed: ops only allocate, with the largest
 * plan that the configuration allows. Such a dry run sizes the real arena.
 */
#ifndef MOH_OP_TAPE_H
#define MOH_OP_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/pool.h"
#include "base/real.h"
#include "op/window.h"
#include "route/plan.h"

/*
 * rows x cols, row-major. g is NULL unless recording; every consumer adds to
 * it. While it is fresh nobody has: whatever its memory holds counts as 0, and
 * whoever comes first may write instead of adding.
 */
typedef struct moh__tensor {
  real *v;
  real *g;
  int64_t rows, cols;
  bool fresh;
} moh__tensor;

/* For an op that is about to go through all of g: whether to add to what is
 * there. The next one will have to. */
static inline bool moh__tensor_adds(moh__tensor *t) {
  bool adds = !t->fresh;
  t->fresh = false;
  return adds;
}

/* What one routed layer did in the last forward pass, in layer order. */
typedef struct moh__head_use {
  const struct moh__head_use *next;
  const moh__plan *plan; /* which heads (or experts) each row used */
  const real *gates;     /* [entries] */
  int32_t n_shared, n_routed; /* candidates: heads, groups of heads, experts
                               */
  int32_t layer;
  real balance;       /* L_b, see route/balance.h */
  real z;             /* z-loss */
  real sparsity;      /* mean entropy of the rows' p */
  real mass;          /* at which a row's routed heads end; NaN: a number */
  real *masses;       /* [n_masses] moh__router_masses, in training; NULL */
  int64_t n_masses;
  const real *load;   /* [n_routed] fraction of rows that used it */
  struct moh__param *bias; /* of the selection; NULL: none */
  const real *mean_p; /* [n_routed] */
} moh__head_use;

/* Looks at heads where their outputs leave them (op/head_probe.c), by layer and
 * head: [n_layers][n_heads] each, NULL where it is not wanted. */
typedef struct moh__head_probe {
  const real *factors; /* of their outputs: 0 masks a head; NULL: 1 */
  int64_t *uses;       /* += rows that used it, in forward */
  double *importance;  /* += |dL/dfactor| of each row, in backward */
} moh__head_probe;

/* What a router of heads chose by: of a layer the inputs x, the scores or
 * logits [rows of x][n_routed], and used [rows of x][candidates], not 0 where a
 * row uses a candidate. Shown in forward. */
typedef struct moh__seen_scores {
  int32_t layer;
  const moh__tensor *x;
  const real *scores;
  const unsigned char *used;
} moh__seen_scores;

typedef struct moh__score_watch {
  void (*see)(void *context, const moh__seen_scores *seen);
  void *context;
} moh__score_watch;

typedef struct moh__tape_node moh__tape_node;
typedef struct moh__tape moh__tape;
typedef void moh__backward_fn(moh__tape *tape, void *node);

struct moh__tape_node {
  moh__backward_fn *backward;
  moh__tape_node *previous;
};

struct moh__tape {
  moh__arena *arena; /* values; may be counting */
  moh__arena meta;   /* tensors and nodes: always real */
  moh__pool *pool;
  bool recording;
  /* Every head is computed, unselected ones with gate 0: the contrast that
   * skipping is compared with, in tests and in benchmarks. */
  bool masked;
  const moh__head_probe *probe; /* NULL: none */
  const moh__score_watch *watch; /* NULL: none */
  /* Segments keep their input and output only, and are computed again in
   * backward: activation checkpointing (Chen et al., arXiv 1604.06174). */
  bool recompute;
  /* Routers of heads choose all of them: k is the number of routed heads. */
  bool every_head;
  /* Factor on auxiliary losses: this micro-batch's share of the step. */
  real aux_scale;
  /* Factor on the task loss in backward: 1, or 0 to see auxiliary losses
   * alone. */
  real task_scale;
  /* [layers][heads], added to by attention; NULL: not wanted. */
  moh__evenness *evenness;
  moh__tape_node *last;
  const moh__head_use *use; /* first layer with routed heads */
  moh__head_use *use_last;
  const moh__head_use *expert_use; /* first one with routed experts */
  moh__head_use *expert_use_last;
};

moh_status moh__tape_init(moh__tape *tape, moh__arena *arena,
                          moh__pool *pool, moh_error *err);
void moh__tape_free(moh__tape *tape); /* not the arena */

/* Forgets everything: empties the arena and the list of nodes. */
void moh__tape_reset(moh__tape *tape, bool recording);

/* A new tensor: values not cleared, gradient (when recording) fresh. */
moh__tensor *moh__tape_tensor(moh__tape *tape, int64_t rows, int64_t cols);

/* Before anything else is done with g: what counts as 0 becomes 0. */
void moh__tape_settle(moh__tape *tape, moh__tensor *t);

/* A structure that lives as long as the step: nodes, always real memory. */
void *moh__tape_alloc_meta(moh__tape *tape, size_t size);

/* n reals (or int32) of the arena, not cleared; NULL when counting. */
real *moh__tape_reals(moh__tape *tape, int64_t n);
int32_t *moh__tape_ints(moh__tape *tape, int64_t n);

static inline bool moh__tape_counting(const moh__tape *tape) {
  return tape->arena->counting;
}

/* Makes a node whose first member is a moh__tape_node; `size` covers the
 * whole structure. NULL when not recording: then there is nothing to save. */
void *moh__tape_push(moh__tape *tape, size_t size,
                     moh__backward_fn *backward);

/* Runs the pushed functions, newest first. On a counting arena only segments
 * are gone through, for the memory that they take in backward. */
void moh__tape_backward(moh__tape *tape);

/* A stretch of ops from x to a tensor of the same shape. `context` must live as
 * long as the step. */
typedef moh__tensor *moh__segment_fn(moh__tape *tape, void *context,
                                     moh__tensor *x);

/* fn(tape, context, x); when recording with `recompute`, nothing between x and
 * the result is kept: backward calls fn again, which must do the same. Head use
 * is listed once, and every gradient is the same to the last bit. */
moh__tensor *moh__tape_segment(moh__tape *tape, moh__segment_fn *fn,
                               void *context, moh__tensor *x);

/* fn(tape, context, NULL) without a record: its values go to `into`, the rest
 * is given back, and there is no gradient of it. While recording, its head use
 * is not listed. */
void moh__tape_detached(moh__tape *tape, moh__segment_fn *fn, void *context,
                        moh__tensor *into);

/* Appends to the list of layers with routed heads, or with experts. */
moh__head_use *moh__tape_add_use(moh__tape *tape, bool experts);

/*
 * Memory of a stretch of inference: what is allocated after the mark is given
 * back, except `keep`, whose values move to the mark. Does nothing when
 * recording, as backward will need it all.
 */
size_t moh__tape_mark(const moh__tape *tape);
void moh__tape_release(moh__tape *tape, size_t mark, moh__tensor *keep);

#endif
