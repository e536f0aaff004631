/*
 * The head router as an op: logits from x, or scores from queries, selection,
 * plan and gates. In backward, dL/dgates, the balance loss and the z-loss meet
 * in the logits.
 * Logits are the same bits whatever the batch (op/router_scores.h): a token
 * chooses the same heads alone and in company.
 */
#include <string.h>

#include "op/op.h"
#include "op/query_scores.h"
#include "op/router_scores.h"
#include "route/balance.h"

typedef struct router_node {
  moh__tape_node node;
  moh__tensor *x;
  moh__router_args args;
  moh__router_scores scores;
  moh__query_scores queries; /* whose z stand for the logits in `scores` */
  unsigned char *used; /* [n][candidates] */
  moh__plan plan;      /* the selection */
  moh__tensor *gates;  /* (entries of plan, 1) */
  moh__plan wide;      /* the same over heads, where a candidate has many */
  moh__tensor *wide_gates;
  moh__plan all; /* masked: every head, every row */
  moh__tensor *all_gates;
  real *biased; /* [n][n_routed] scores with the bias; NULL: without */
  real *load;
} router_node;

static int32_t candidates_of(const moh__router_shape *shape) {
  return shape->n_shared + shape->n_routed;
}

/* The selection as heads. */
static const moh__plan *head_plan(const router_node *s) {
  return s->args.heads_each > 1 ? &s->wide : &s->plan;
}

static moh__tensor *head_gates(const router_node *s) {
  return s->args.heads_each > 1 ? s->wide_gates : s->gates;
}

/* The heads of a candidate have its gate; its gradient is the sum of theirs,
 * by ascending head. */
static void widen_gates(router_node *s, bool back) {
  const moh__plan *plan = &s->plan;
  int32_t each = s->args.heads_each;
  for (int32_t c = 0; c < plan->n_candidates; c++)
    for (int32_t j = 0; j < each; j++)
      for (int32_t e = plan->start[c]; e < plan->start[c + 1]; e++) {
        int32_t wide = moh__plan_wide_entry(plan, each, c, e, j);
        if (back)
          s->gates->g[e] += s->wide_gates->g[wide];
        else
          s->wide_gates->v[wide] = s->gates->v[e];
      }
}

/* Masked gates: the plan's where a head is selected, 0 elsewhere. back moves
 * gradients the other way. */
static void copy_gates(router_node *s, bool back) {
  const moh__plan *plan = head_plan(s);
  moh__tensor *gates = head_gates(s);
  for (int32_t c = 0; c < plan->n_candidates; c++)
    for (int32_t e = plan->start[c]; e < plan->start[c + 1]; e++) {
      int64_t all = s->all.start[c] + plan->rows[e];
      if (back)
        gates->g[e] += s->all_gates->g[all];
      else
        s->all_gates->v[all] = gates->v[e];
    }
}

static void clear(real *x, int64_t n) {
  if (x != NULL) memset(x, 0, (size_t)n * sizeof(real));
}

static void auxiliary_grads(moh__tape *tape, router_node *s) {
  if (s->scores.logits.routed == NULL) return;
  int32_t n = (int32_t)s->x->rows;
  int32_t routed = s->args.shape.n_routed;
  if (s->args.balance_weight != 0)
    moh__balance_loss_grad(s->scores.logits.routed, s->load, n, routed,
                           s->args.balance_weight * tape->aux_scale,
                           s->scores.grads.routed);
  if (s->args.z_weight != 0)
    moh__z_loss_grad(s->scores.logits.routed, n, routed,
                     s->args.z_weight * tape->aux_scale,
                     s->scores.grads.routed);
  if (s->args.sparsity_weight != 0)
    moh__sparsity_loss_grad(s->scores.logits.routed, n, routed,
                            s->args.sparsity_weight * tape->aux_scale,
                            s->scores.grads.routed);
}

static void router_backward(moh__tape *tape, void *context) {
  router_node *s = context;
  const moh__router_shape *shape = &s->args.shape;
  int64_t n = s->x->rows;
  moh__tape_settle(tape, s->gates);
  if (s->all_gates != NULL) moh__tape_settle(tape, s->all_gates);
  if (s->wide_gates != NULL) moh__tape_settle(tape, s->wide_gates);
  clear(s->scores.grads.shared, n * shape->n_shared);
  clear(s->scores.grads.routed, n * shape->n_routed);
  clear(s->scores.grads.mix, n * 2);
  if (s->all_gates != NULL) copy_gates(s, true);
  if (s->wide_gates != NULL) widen_gates(s, true);
  moh__router_gates_grad(shape, &s->scores.logits, &s->plan, s->gates->g,
                         &s->scores.grads);
  auxiliary_grads(tape, s);
  if (s->queries.q != NULL)
    moh__query_scores_backward(&s->queries, tape);
  else
    moh__router_scores_backward(&s->scores, tape);
}

static void report_use(moh__tape *tape, router_node *s) {
  const moh__router_shape *shape = &s->args.shape;
  moh__head_use *use = moh__tape_add_use(tape, s->args.experts);
  use->plan = head_plan(s);
  use->n_shared = shape->n_shared;
  use->n_routed = shape->n_routed;
  use->bias = s->args.bias;
  use->layer = s->args.layer;
  use->mass = shape->n_optional > 0 ? shape->mass : NAN;
  real *mean_p = moh__tape_reals(tape, shape->n_routed);
  s->load = moh__tape_reals(tape, shape->n_routed);
  use->load = s->load;
  use->mean_p = mean_p;
  /* With recompute it is the first pass, without a record, that lists. */
  bool training = tape->recording || tape->recompute;
  if (training && shape->n_optional > 0) {
    use->n_masses = s->x->rows * shape->n_optional;
    use->masses = moh__tape_reals(tape, use->n_masses);
  }
  if (moh__tape_counting(tape)) return;
  use->gates = head_gates(s)->v;
  if (s->args.draw != NULL)
    moh__head_load(s->used + shape->n_shared, candidates_of(shape),
                   (int32_t)s->x->rows, shape->n_routed, s->load);
  if (s->scores.logits.routed == NULL) return;
  use->balance = moh__balance_loss(
      s->scores.logits.routed, s->used + shape->n_shared, candidates_of(shape),
      (int32_t)s->x->rows, shape->n_routed, mean_p, s->load);
  use->z = moh__z_loss(s->scores.logits.routed, (int32_t)s->x->rows,
                       shape->n_routed);
  if (shape->n_optional > 0 || s->args.sparsity_weight != 0)
    use->sparsity = moh__sparsity_loss(s->scores.logits.routed,
                                       (int32_t)s->x->rows, shape->n_routed);
  if (use->masses != NULL)
    moh__router_masses(shape, (int32_t)s->x->rows, s->scores.logits.routed,
                       use->masses);
}

/* What the choice goes by, [n][n_routed]. */
static const real *scores_of(moh__tape *tape, router_node *s) {
  if (s->queries.q != NULL) {
    moh__query_scores_forward(&s->queries, tape);
    return s->queries.norms;
  }
  moh__router_scores_forward(&s->scores, tape);
  if (s->biased == NULL) return s->scores.logits.routed;
  moh__router_biased(&s->args.shape, (int32_t)s->x->rows,
                     s->scores.logits.routed, s->args.bias->data, s->biased);
  return s->biased;
}

static void show_scores(const moh__tape *tape, const router_node *s) {
  if (tape->watch == NULL || s->args.experts) return;
  moh__seen_scores seen = {s->args.layer, s->x, s->scores.logits.routed,
                           s->used};
  tape->watch->see(tape->watch->context, &seen);
}

static void select_candidates(moh__tape *tape, router_node *s) {
  const moh__router_shape *shape = &s->args.shape;
  int32_t n = (int32_t)s->x->rows;
  if (s->args.draw != NULL)
    moh__random_select(shape, s->args.draw, n, s->used);
  else
    moh__router_select(shape, n, scores_of(tape, s), s->used);
  show_scores(tape, s);
  moh__plan_fill(&s->plan, s->used);
  moh__router_gates(shape, &s->scores.logits, &s->plan, s->gates->v);
  if (s->wide_gates == NULL) return;
  moh__plan_widen(&s->wide, &s->plan, s->args.heads_each);
  widen_gates(s, false);
}

static void alloc_scores(moh__tape *tape, router_node *s) {
  if (s->args.queries == NULL) {
    moh__router_scores_alloc(&s->scores, tape, s->x, &s->args);
    return;
  }
  moh__query_scores_alloc(&s->queries, tape, &s->args, (int32_t)s->x->rows);
  if (s->args.shape.n_routed == 0) return;
  s->scores.logits.routed = s->queries.scores;
  s->scores.grads.routed = s->queries.grads;
}

/* Gates that are all 1 and whose gradient nobody asks for. */
static bool needs_no_gates(const moh__tape *tape, const router_node *s) {
  return s->args.draw != NULL ||
         (s->args.queries != NULL && !tape->recording);
}

/* Everything that a step needs, allocated in one place. */
static void alloc_node(moh__tape *tape, router_node *s) {
  const moh__router_shape *shape = &s->args.shape;
  int32_t n = (int32_t)s->x->rows;
  int32_t candidates = candidates_of(shape);
  int32_t heads = candidates * s->args.heads_each;
  int32_t active = n * (shape->n_shared + shape->k);
  s->used = moh__arena_alloc(tape->arena, (size_t)n * (size_t)candidates);
  if (s->args.bias != NULL)
    s->biased = moh__tape_reals(tape, (int64_t)n * shape->n_routed);
  moh__plan_new(&s->plan, tape->arena, n, candidates, active);
  s->gates = moh__tape_tensor(tape, active, 1);
  if (s->args.heads_each > 1) {
    active *= s->args.heads_each;
    moh__plan_new(&s->wide, tape->arena, n, heads, active);
    s->wide_gates = moh__tape_tensor(tape, active, 1);
  }
  if (!tape->masked) return;
  moh__plan_first(&s->all, tape->arena, n, heads, heads);
  s->all_gates = moh__tape_tensor(tape, (int64_t)n * heads, 1);
}

moh__tensor *moh__op_head_router(moh__tape *tape, moh__tensor *x,
                                 const moh__router_args *args,
                                 const moh__plan **plan) {
  router_node *s = NULL; /* a draw has no gradient */
  if (args->draw == NULL)
    s = moh__tape_push(tape, sizeof(*s), router_backward);
  if (s == NULL) s = moh__tape_alloc_meta(tape, sizeof(*s));
  s->x = x;
  s->args = *args;
  alloc_scores(tape, s);
  tape->arena->at_end = true; /* head use is read after the forward pass */
  alloc_node(tape, s);
  if (!moh__tape_counting(tape)) select_candidates(tape, s);
  report_use(tape, s);
  tape->arena->at_end = false;
  *plan = head_plan(s);
  if (!tape->masked) return needs_no_gates(tape, s) ? NULL : head_gates(s);
  *plan = &s->all;
  if (moh__tape_counting(tape)) return s->all_gates;
  clear(s->all_gates->v, s->all_gates->rows);
  copy_gates(s, false);
  return s->all_gates;
}
