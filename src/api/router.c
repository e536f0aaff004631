/*
 * The head router of moh.h: the op that models use, on a tape of its own
 * with the caller's arrays as parameters and input.
 */
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "api/sized.h"
#include "base/checked.h"
#include "op/op.h"

enum {
  N_MATRICES = 3, /* shared, routed, mix */
  MAX_CANDIDATES = 1 << 16,
  MAX_MODEL = 1 << 20
};

struct moh_router {
  moh__router_shape shape;
  moh__router_args args;
  moh__param matrices[N_MATRICES];
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  int32_t capacity; /* rows that the arena has room for */
  /* of the last forward pass; x.rows is 0 before */
  moh__tensor x;
  moh__tensor *gates;
};

_Static_assert((int)MOH_GATE_UNIT == (int)MOH__GATE_UNIT &&
                   (int)MOH_GATE_PAPER == (int)MOH__GATE_PAPER &&
                   (int)MOH_GATE_ONE == (int)MOH__GATE_ONE,
               "one order of gate scales");

static const moh_router_options defaults = {
    .size = sizeof(defaults), .k = 1, .balance_weight = 0.01F};

void moh_router_options_default(moh_router_options *options, size_t size) {
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

/* ---- making ---- */

static moh_status check_options(const moh_router_options *o,
                                moh_error *err) {
  if (o->d_model < 1 || o->d_model > MAX_MODEL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "d_model must be 1 to %d, not %d", MAX_MODEL,
                     o->d_model);
  if (o->n_shared < 0 || o->n_shared > MAX_CANDIDATES || o->n_routed < 0 ||
      o->n_routed > MAX_CANDIDATES)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "n_shared and n_routed must be 0 to %d, not %d and %d",
                     MAX_CANDIDATES, o->n_shared, o->n_routed);
  if (o->k < 0 || o->k > o->n_routed)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "k must be 0 to n_routed = %d, not %d", o->n_routed,
                     o->k);
  if (o->n_shared + o->k < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "every row must use something: n_shared + k is 0");
  if (o->gate_scale < MOH_GATE_UNIT || o->gate_scale > MOH_GATE_ONE)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no gate_scale",
                     (int)o->gate_scale);
  return MOH_OK;
}

static moh__param *set_matrix(moh_router *router, int i, bool has,
                              int32_t rows, int32_t d_model) {
  if (!has) return NULL;
  moh__param *w = &router->matrices[i];
  w->n_dims = 2;
  w->shape[0] = rows;
  w->shape[1] = d_model;
  w->n = (int64_t)rows * d_model;
  w->grouping = MOH__PACK_OUTPUTS;
  w->n_groups = 1;
  return w;
}

static void set_shape(moh_router *router, const moh_router_options *o) {
  moh__router_shape shape = {.n_shared = o->n_shared,
                             .n_routed = o->n_routed,
                             .k = o->k,
                             .scale = (moh__gate_scale)o->gate_scale};
  router->shape = shape;
  router->args = (moh__router_args){
      .shape = shape,
      .heads_each = 1,
      .w_shared = set_matrix(router, 0, moh__router_has_shared(&shape),
                             o->n_shared, o->d_model),
      .w_routed = set_matrix(router, 1, moh__router_has_routed(&shape),
                             o->n_routed, o->d_model),
      .w_mix =
          set_matrix(router, 2, moh__router_has_mix(&shape), 2, o->d_model),
      .balance_weight = o->balance_weight,
      .z_weight = o->z_weight};
  router->x.cols = o->d_model;
}

static moh_status open_router(moh_router *router,
                              const moh_router_options *o, moh_error *err) {
  set_shape(router, o);
  MOH_TRY(moh__pool_new(&router->pool, o->n_threads, err));
  for (int i = 0; i < N_MATRICES; i++) {
    moh__param *w = &router->matrices[i];
    if (w->n == 0) continue;
    int64_t n = moh__round_up(moh__param_packed_bytes(w), MOH__ALIGN);
    w->packed = aligned_alloc(MOH__ALIGN, (size_t)n);
    if (w->packed == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "no memory for a router");
  }
  return moh__tape_init(&router->tape, &router->arena, router->pool, err);
}

moh_status moh_router_new(moh_router **router,
                          const moh_router_options *options,
                          moh_error *err) {
  MOH__NEED(router, err);
  *router = NULL;
  moh_router_options o = defaults;
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_router_options", err));
  MOH_TRY(check_options(&o, err));
  moh_router *made = calloc(1, sizeof(*made));
  if (made == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a router");
  moh_status status = open_router(made, &o, err);
  if (status != MOH_OK) {
    moh_router_free(made);
    return status;
  }
  *router = made;
  return MOH_OK;
}

void moh_router_free(moh_router *router) {
  if (router == NULL) return;
  for (int i = 0; i < N_MATRICES; i++) free(router->matrices[i].packed);
  moh__tape_free(&router->tape);
  moh__arena_free(&router->arena);
  moh__pool_free(router->pool);
  free(router);
}

/* ---- forward ---- */

/* Room for n_rows, by a dry run of the op. */
static moh_status reserve(moh_router *router, int32_t n_rows,
                          moh_error *err) {
  if (n_rows <= router->capacity) return MOH_OK;
  moh__arena counting;
  moh__arena_init_counting(&counting);
  moh__tape tape;
  MOH_TRY(moh__tape_init(&tape, &counting, NULL, err));
  moh__tape_reset(&tape, true);
  moh__tensor x = {.rows = n_rows, .cols = router->x.cols};
  const moh__plan *plan;
  moh__op_head_router(&tape, &x, &router->args, &plan);
  moh__tape_free(&tape);
  moh__arena_free(&router->arena);
  router->capacity = 0;
  router->x.rows = 0;
  MOH_TRY(moh__arena_init(&router->arena, counting.peak, err));
  router->capacity = n_rows;
  return MOH_OK;
}

/* The caller's matrices, or gradients of them, by the same rule. */
static moh_status check_weights(const moh_router *router,
                                const moh_router_weights *weights,
                                moh_error *err) {
  if (router->args.w_shared != NULL) MOH__NEED(weights->shared, err);
  if (router->args.w_routed != NULL) MOH__NEED(weights->routed, err);
  if (router->args.w_mix != NULL) MOH__NEED(weights->mix, err);
  return MOH_OK;
}

static void set_weights(moh_router *router,
                        const moh_router_weights *weights) {
  router->matrices[0].data = weights->shared;
  router->matrices[1].data = weights->routed;
  router->matrices[2].data = weights->mix;
  for (int i = 0; i < N_MATRICES; i++)
    if (router->matrices[i].n > 0)
      moh__param_pack(&router->matrices[i], router->pool);
}

static moh_status copy_plan(moh_plan **out, const moh__plan *plan,
                            const real *gates, moh_error *err) {
  int32_t n = moh__plan_entries(plan);
  MOH_TRY(
      moh__plan_handle_new(out, plan->n_rows, plan->n_candidates, n, err));
  moh__plan *copy = &(*out)->inner;
  size_t bytes = (size_t)n * sizeof(int32_t);
  memcpy(copy->start, plan->start,
         ((size_t)plan->n_candidates + 1) * sizeof(int32_t));
  memcpy(copy->token_start, plan->token_start,
         ((size_t)plan->n_rows + 1) * sizeof(int32_t));
  memcpy(copy->rows, plan->rows, bytes);
  memcpy(copy->candidate_of, plan->candidate_of, bytes);
  memcpy(copy->entry_of, plan->entry_of, bytes);
  memcpy((*out)->gates, gates, (size_t)n * sizeof(real));
  return MOH_OK;
}

moh_status moh_router_forward(moh_router *router,
                              const moh_router_weights *weights,
                              const float *x, int32_t n_rows,
                              moh_plan **plan, moh_error *err) {
  MOH__NEED(plan, err);
  *plan = NULL;
  MOH__NEED(router, err);
  MOH__NEED(weights, err);
  MOH__NEED(x, err);
  MOH_TRY(check_weights(router, weights, err));
  int64_t heads = router->shape.n_shared + router->shape.n_routed;
  if (n_rows < 1 || n_rows > INT32_MAX / 4 / heads)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a router of %d candidates takes 1 to %d rows, not %d",
                     (int)heads, (int)(INT32_MAX / 4 / heads), n_rows);
  MOH_TRY(reserve(router, n_rows, err));
  set_weights(router, weights);
  moh__tape_reset(&router->tape, true);
  router->x.rows = n_rows;
  router->x.v = (real *)x; /* only read */
  const moh__plan *made;
  router->gates =
      moh__op_head_router(&router->tape, &router->x, &router->args, &made);
  return copy_plan(plan, made, router->gates->v, err);
}

moh_status moh_router_losses(const moh_router *router, float *balance,
                             float *z, moh_error *err) {
  MOH__NEED(router, err);
  bool ran = router->x.rows > 0;
  if (balance != NULL) *balance = ran ? router->tape.use->balance : 0;
  if (z != NULL) *z = ran ? router->tape.use->z : 0;
  return MOH_OK;
}

/* ---- backward ---- */

moh_status moh_router_backward(moh_router *router, const float *d_gates,
                               const moh_router_weights *d_weights,
                               float *d_x, moh_error *err) {
  MOH__NEED(router, err);
  MOH__NEED(d_gates, err);
  MOH__NEED(d_weights, err);
  MOH__NEED(d_x, err);
  MOH_TRY(check_weights(router, d_weights, err));
  if (router->x.rows == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "there was no forward pass to go back over");
  router->matrices[0].grad = d_weights->shared;
  router->matrices[1].grad = d_weights->routed;
  router->matrices[2].grad = d_weights->mix;
  router->x.g = d_x;
  router->gates->fresh = false;
  memcpy(router->gates->g, d_gates,
         (size_t)router->gates->rows * sizeof(real));
  moh__tape_backward(&router->tape);
  return MOH_OK;
}
