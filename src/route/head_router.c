/*
 * Gates of the two-stage router, and their gradients.
 *
 * Shared and routed heads are the same thing twice: a group of members
 * whose gates are factor * softmax(logits), the softmax taken over the
 * members (unit, expert) or over all logits of the group (paper, one).
 * Softmax is always exp(l - max) / sum with the division last, so that equal
 * logits give gates of exactly 1 in unit scale, and shared experts, whose
 * logits are all 0, a weight of exactly 1.
 */
#include "route/head_router.h"

#include <assert.h>
#include <string.h>

#include "route/softmax.h"
#include "route/topk.h"

/* The best head that is not taken yet is taken; its p is given. */
static real take_next(const real *logits, int32_t n, moh__normaliser p,
                      unsigned char *taken) {
  int32_t best = moh__topk_next(logits, n, taken);
  taken[best] = 1;
  return moh__probability(p, logits[best]);
}

/* Mass that is not a number takes all k. */
static void select_by_mass(const moh__router_shape *shape, const real *logits,
                           unsigned char *used) {
  moh__normaliser p = moh__normalise(logits, shape->n_routed);
  real mass = 0;
  memset(used, 0, (size_t)shape->n_routed);
  for (int32_t i = 0; i < shape->k; i++) {
    if (i >= shape->k - shape->n_optional && mass >= shape->mass) return;
    mass += take_next(logits, shape->n_routed, p, used);
  }
}

void moh__router_masses(const moh__router_shape *shape, int32_t n,
                        const real *routed_logits, real *masses) {
  unsigned char taken[MOH__CANDIDATES_MAX];
  int32_t n_fixed = shape->k - shape->n_optional;
  for (int32_t t = 0; t < n; t++) {
    const real *own = routed_logits + (int64_t)t * shape->n_routed;
    moh__normaliser p = moh__normalise(own, shape->n_routed);
    real mass = 0;
    memset(taken, 0, (size_t)shape->n_routed);
    for (int32_t i = 0; i < shape->k; i++) {
      if (i >= n_fixed) *masses++ = mass;
      mass += take_next(own, shape->n_routed, p, taken);
    }
  }
}

void moh__router_select(const moh__router_shape *shape, int32_t n,
                        const real *scores, unsigned char *used) {
  for (int32_t t = 0; t < n; t++) {
    memset(used, 1, (size_t)shape->n_shared);
    used += shape->n_shared;
    if (shape->n_routed == 0) continue;
    const real *own = scores + (int64_t)t * shape->n_routed;
    if (shape->n_optional > 0)
      select_by_mass(shape, own, used);
    else
      moh__topk_mark(own, shape->n_routed, shape->k, used);
    used += shape->n_routed;
  }
}

void moh__router_biased(const moh__router_shape *shape, int32_t n,
                        const real *routed_logits, const real *bias,
                        real *scores) {
  int32_t routed = shape->n_routed;
  moh__softmax(routed_logits, n, routed, scores);
  for (int32_t t = 0; t < n; t++)
    for (int32_t i = 0; i < routed; i++)
      scores[(int64_t)t * routed + i] += bias[i];
}

typedef struct group {
  const real *logits;     /* [n_logits]; NULL means zeros */
  int32_t n_logits;       /* heads of the group */
  int32_t first_head;     /* head of logits[0] */
  const int32_t *heads;   /* [n] members that are in use */
  const int32_t *entries; /* [n] their plan entries */
  int32_t n;
  bool over_members; /* softmax over members, not over all */
  real max, sum;     /* of the softmax */
} group;

static real logit(const group *g, int32_t i) {
  return g->logits == NULL ? 0 : g->logits[i];
}

/* Index into the group's logits of softmax term i. */
static int32_t term(const group *g, int32_t i) {
  return g->over_members ? g->heads[i] - g->first_head : i;
}

static int32_t n_terms(const group *g) {
  return g->over_members ? g->n : g->n_logits;
}

static real unnormalised(const group *g, int32_t i) {
  return moh__exp(logit(g, i) - g->max);
}

static void normalise(group *g) {
  g->max = -INFINITY;
  for (int32_t i = 0; i < n_terms(g); i++) {
    real l = logit(g, term(g, i));
    if (!(l <= g->max)) g->max = l; /* NaN stays */
  }
  g->sum = 0;
  for (int32_t i = 0; i < n_terms(g); i++)
    g->sum += unnormalised(g, term(g, i));
}

/* The shared or the routed heads of token t. Members are in ascending order
 * in the plan, and all shared heads are in use. */
static group token_group(const moh__router_shape *shape,
                         const moh__router_logits *logits,
                         const moh__plan *plan, int32_t t, bool routed) {
  int32_t begin = plan->token_start[t] + (routed ? shape->n_shared : 0);
  int32_t end = routed ? plan->token_start[t + 1] : begin + shape->n_shared;
  group g = {0};
  g.logits = routed ? logits->routed : logits->shared;
  g.n_logits = routed ? shape->n_routed : shape->n_shared;
  g.first_head = routed ? shape->n_shared : 0;
  if (g.logits != NULL) g.logits += (int64_t)t * g.n_logits;
  g.heads = plan->candidate_of + begin;
  g.entries = plan->entry_of + begin;
  g.n = end - begin;
  g.over_members =
      shape->scale == MOH__GATE_UNIT || shape->scale == MOH__GATE_EXPERT;
  normalise(&g);
  return g;
}

/* Weight of shared (0) and routed (1) heads of a token: twice a in unit. */
static void mix_weights(const moh__router_shape *shape,
                        const moh__router_logits *logits, int32_t t,
                        real weight[2]) {
  weight[0] = weight[1] = 1;
  if (logits->mix == NULL || shape->scale == MOH__GATE_ONE) return;
  const real *l = logits->mix + (int64_t)t * 2;
  real max = l[0] > l[1] ? l[0] : l[1];
  real e0 = moh__exp(l[0] - max);
  real e1 = moh__exp(l[1] - max);
  real total = shape->scale == MOH__GATE_UNIT ? 2 : 1;
  weight[0] = total * e0 / (e0 + e1);
  weight[1] = total * e1 / (e0 + e1);
}

/* What the softmax is multiplied by, apart from the mix weight. */
static real group_scale(const moh__router_shape *shape, const group *g,
                        bool routed) {
  bool each_is_one = shape->scale == MOH__GATE_UNIT ||
                     (shape->scale == MOH__GATE_EXPERT && !routed);
  return each_is_one ? (real)g->n : 1;
}

static void group_gates(const group *g, real factor, real *gates) {
  for (int32_t i = 0; i < g->n; i++) {
    real e = unnormalised(g, g->heads[i] - g->first_head);
    gates[g->entries[i]] = factor * e / g->sum;
  }
}

static void set_ones(const moh__plan *plan, real *gates) {
  for (int32_t e = 0; e < moh__plan_entries(plan); e++) gates[e] = 1;
}

void moh__router_gates(const moh__router_shape *shape,
                       const moh__router_logits *logits,
                       const moh__plan *plan, real *gates) {
  assert(plan->token_start != NULL);
  if (shape->scale == MOH__GATE_ONE) {
    set_ones(plan, gates);
    return;
  }
  for (int32_t t = 0; t < plan->n_rows; t++) {
    real weight[2];
    mix_weights(shape, logits, t, weight);
    for (int routed = 0; routed < 2; routed++) {
      group g = token_group(shape, logits, plan, t, routed);
      group_gates(&g, weight[routed] * group_scale(shape, &g, routed), gates);
    }
  }
}

/*
 * g_i = factor p_i for members i, p = softmax over the terms. With
 * D = sum over members of p_i dg_i:
 *   dl_i += factor p_i (dg_i - D), dg_i = 0 for terms that are no members.
 * Returns D, the gradient of the factor.
 */
static real group_grad(const group *g, real factor, const real *d_gates,
                       real *d_logits) {
  real d = 0;
  for (int32_t i = 0; i < g->n; i++)
    d += unnormalised(g, g->heads[i] - g->first_head) / g->sum *
         d_gates[g->entries[i]];
  if (d_logits == NULL) return d;
  for (int32_t i = 0; i < n_terms(g); i++)
    d_logits[term(g, i)] -=
        factor * unnormalised(g, term(g, i)) / g->sum * d;
  for (int32_t i = 0; i < g->n; i++) {
    int32_t at = g->heads[i] - g->first_head;
    d_logits[at] +=
        factor * unnormalised(g, at) / g->sum * d_gates[g->entries[i]];
  }
  return d;
}

/* weight = total a, a = softmax(mix logits): dl_i += w_i (dw_i - a . dw).
 */
static void mix_grad(const real weight[2], const real d_weight[2],
                     real *d_mix) {
  real total = weight[0] + weight[1];
  real dot = (weight[0] * d_weight[0] + weight[1] * d_weight[1]) / total;
  for (int i = 0; i < 2; i++) d_mix[i] += weight[i] * (d_weight[i] - dot);
}

static real *row_of(real *logits, int32_t t, int32_t n) {
  return logits == NULL ? NULL : logits + (int64_t)t * n;
}

/* Straight-through: the gate is 1, its gradient goes to p of the routed
 * heads as it is. Shared heads and the mix have none. */
static void straight_through(const moh__router_shape *shape,
                             const moh__router_logits *logits,
                             const moh__plan *plan, const real *d_gates,
                             moh__router_logits *grads) {
  for (int32_t t = 0; t < plan->n_rows; t++) {
    group g = token_group(shape, logits, plan, t, true);
    group_grad(&g, 1, d_gates, row_of(grads->routed, t, shape->n_routed));
  }
}

void moh__router_gates_grad(const moh__router_shape *shape,
                            const moh__router_logits *logits,
                            const moh__plan *plan, const real *d_gates,
                            moh__router_logits *grads) {
  assert(plan->token_start != NULL);
  if (shape->scale == MOH__GATE_ONE) {
    straight_through(shape, logits, plan, d_gates, grads);
    return;
  }
  for (int32_t t = 0; t < plan->n_rows; t++) {
    real weight[2];
    real d_weight[2];
    mix_weights(shape, logits, t, weight);
    for (int routed = 0; routed < 2; routed++) {
      group g = token_group(shape, logits, plan, t, routed);
      real scale = group_scale(shape, &g, routed);
      real *d_logits =
          row_of(routed ? grads->routed : grads->shared, t, g.n_logits);
      d_weight[routed] =
          scale * group_grad(&g, weight[routed] * scale, d_gates, d_logits);
    }
    if (grads->mix != NULL) mix_grad(weight, d_weight, grads->mix + 2 * t);
  }
}
