/*
 * The two-stage head router of Mixture-of-Heads (arXiv 2410.11842, section
 * 3.2) as pure functions on arrays. For one token, from logits of
 *   W_s x (n_shared), W_r x (n_routed), W_h x (2):
 *   p_s = softmax(W_s x), p_r = softmax(W_r x), a = softmax(W_h x)
 * gate of a shared head i:  unit   2 a_1 n_shared p_s,i
 *                           paper  a_1 p_s,i            (equations 5 and 6)
 *                           one    1
 * gate of a routed head i among the k largest p_r:
 *                           unit   2 a_2 k p_r,i / sum of the selected p_r
 *                           paper  a_2 p_r,i
 *                           one    1, with the straight-through estimator:
 *                                  dL/dg_i is passed to p_r,i
 * Experts of a feed-forward are routed by the same functions, with
 *                           expert 1 for a shared one,
 *                                  p_r,i / sum of the selected p_r for others:
 *                                  the softmax of the k selected logits
 * and without W_s and W_h.
 * The number of routed heads may differ between tokens: the heads of largest
 * p_r are taken until the sum of their p_r (their mass) reaches a share, within
 * limits; k is then the token's own number. Selection and k have no gradient.
 * n_shared = 1: p_s = 1 and no W_s. n_shared = 0: a drops out (2 a_2 = 1 in
 * unit, a_2 = 1 in paper), no W_s, no W_h. n_routed = 0: no W_r.
 */
#ifndef MOH_ROUTE_HEAD_ROUTER_H
#define MOH_ROUTE_HEAD_ROUTER_H

#include <stdint.h>

#include "base/real.h"
#include "route/plan.h"

typedef enum moh__gate_scale {
  MOH__GATE_UNIT,  /* the released code's; mean active gate 1 at init */
  MOH__GATE_PAPER, /* equation 5 to the letter */
  MOH__GATE_ONE,   /* 0/1 gates, straight-through gradient */
  MOH__GATE_EXPERT /* weights of experts; no choice for heads */
} moh__gate_scale;

enum { MOH__CANDIDATES_MAX = 1 << 12 }; /* of which a mass is asked */

typedef struct moh__router_shape {
  int32_t n_shared;
  int32_t n_routed;
  int32_t k; /* routed heads a token uses, at most */
  moh__gate_scale scale;
  int32_t
      n_optional; /* of these k, those that are taken only while the mass of
                       * the others is below `mass` */
  real mass;
} moh__router_shape;

/* Logits of n tokens; each NULL where the shape has no such matrix. */
typedef struct moh__router_logits {
  real *shared; /* [n][n_shared] */
  real *routed; /* [n][n_routed] */
  real *mix;    /* [n][2]: a_1, a_2 */
} moh__router_logits;

/* Which matrices a shape has. */
static inline bool moh__router_has_shared(const moh__router_shape *s) {
  return s->n_shared > 1 && s->scale != MOH__GATE_EXPERT;
}
static inline bool moh__router_has_mix(const moh__router_shape *s) {
  return s->n_shared > 0 && s->scale != MOH__GATE_EXPERT;
}
static inline bool moh__router_has_routed(const moh__router_shape *s) {
  return s->n_routed > 0;
}

/* used[t * n_heads + h] = 1 for shared heads and the k with the largest of the
 * token's scores, its routed logits or what takes their place; or, with
 * optional heads, as many of them as the mass asks for, by its logits. */
void moh__router_select(const moh__router_shape *shape, int32_t n,
                        const real *scores, unsigned char *used);

/* scores = p_r + bias: what is selected by where there are biases
 * (route/balance.h). [n][n_routed]; bias [n_routed]. */
void moh__router_biased(const moh__router_shape *shape, int32_t n,
                        const real *routed_logits, const real *bias,
                        real *scores);

/* masses[t * n_optional + j]: the mass of the token's first k - n_optional + j
 * heads. It uses the next one while that is below shape->mass. */
void moh__router_masses(const moh__router_shape *shape, int32_t n,
                        const real *routed_logits, real *masses);

/* gates[e] for every entry e of the plan that the selection made. */
void moh__router_gates(const moh__router_shape *shape,
                       const moh__router_logits *logits,
                       const moh__plan *plan, real *gates);

/* Adds dL/dlogits for given dL/dgates [entries]; the selection is held
 * constant. grads has the layout of logits. */
void moh__router_gates_grad(const moh__router_shape *shape,
                            const moh__router_logits *logits,
                            const moh__plan *plan, const real *d_gates,
                            moh__router_logits *grads);

#endif
