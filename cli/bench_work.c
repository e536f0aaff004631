/* What contenders do: one piece of each kind of work. */
#include "bench.h"

/* Tokens that decoding goes through in turn, so that what is measured is not
 * one token's choice of heads. */
enum { DECODED = 8 };

const char *const moh__bench_work_names[MOH__BENCH_WORKS + 1] = {
    "training", "prefill",      "decoding", "attention",
    "router",   "feed-forward", NULL};

/* The layer's input is there already; its gradient starts at 0 like that of
 * any tensor. */
static moh__tensor *layer_input(moh__contender *c, moh__tape *tape) {
  moh__tensor *x = moh__tape_tensor(tape, c->batch.n, c->config.d_model);
  x->v = c->input;
  return x;
}

/* Forward, up to what backward starts from: the part's output, or NULL where
 * the loss has been recorded. */
static moh__tensor *forward(moh__contender *c, moh__tape *tape) {
  const moh__arch *arch = moh__arch_of(&c->config);
  moh__tape_reset(tape, true);
  switch (c->work) {
    case MOH__BENCH_ATTENTION:
      return arch->attention(c->model, tape, &c->batch, 0,
                             layer_input(c, tape));
    case MOH__BENCH_ROUTER:
      return arch->route(c->model, tape, &c->batch, 0, layer_input(c, tape));
    case MOH__BENCH_FEED_FORWARD:
      return moh__feed_forward_run(c->model, tape,
                                   arch->feed_forward(c->model, 0),
                                   layer_input(c, tape));
    default:
      moh__arch_loss(c->model, tape, &c->batch, c->targets, c->weights,
                     c->loss);
      return NULL;
  }
}

moh_status moh__contender_arena_bytes(moh__contender *c, size_t *bytes,
                                      moh_error *err) {
  moh__arena arena;
  moh__arena_init_counting(&arena);
  moh__tape tape;
  MOH_TRY(moh__tape_init(&tape, &arena, NULL, err));
  tape.masked = c->masked;
  forward(c, &tape);
  moh__tape_free(&tape);
  *bytes = arena.peak;
  return MOH_OK;
}

static void run_part(moh__contender *c) {
  moh__tensor *y = forward(c, &c->tape);
  if (y == NULL) return;
  y->g = c->d_output; /* only read */
  y->fresh = false;
  moh__tape_backward(&c->tape);
}

/* As the trainer's step, but for a learning rate of 0: weights stay, and so
 * does the work. */
static moh_status run_training(moh__contender *c, moh_error *err) {
  static const moh__adamw_options adamw = {.router_lr = 1,
                                           .beta1 = 0.9,
                                           .beta2 = 0.99,
                                           .eps = 1e-8,
                                           .weight_decay = 0.1};
  double norm = 0;
  moh__pool *pool = c->tape.pool;
  moh__model_forget_grads(c->model);
  forward(c, &c->tape);
  moh__tape_backward(&c->tape);
  moh__model_settle_grads(c->model, pool);
  MOH_TRY(moh__optimizer_norm(c->optimizer, pool, &norm, err));
  return moh__optimizer_step(c->optimizer, pool, &adamw,
                             norm > 1 ? 1 / norm : 1, err);
}

static int32_t decoded_token(const moh__contender *c, int64_t run) {
  return (int32_t)(run % DECODED * 104729 % c->config.vocab_size);
}

static moh_status run_decoding(moh__contender *c, moh__session *session,
                               moh_error *err) {
  const real *logits;
  int32_t token = decoded_token(c, c->n_runs++);
  moh__session_truncate(session, c->last);
  return moh__session_feed(session, &token, 1, &logits, err);
}

/* Of the KV heads, the share of which a token's heads in use read the cache:
 * those in the plan, one row long, of each layer. */
static double kv_share_of(const moh__contender *c, const moh__head_use *use) {
  int64_t group = c->config.n_heads / c->config.n_kv_heads;
  int64_t n_used = 0, n_layers = 0;
  for (; use != NULL; use = use->next, n_layers++)
    n_used += moh__plan_groups_used(use->plan, (int32_t)group);
  return (double)n_used / (double)(n_layers * c->config.n_kv_heads);
}

moh_status moh__contender_watch(moh__contender *c, moh_error *err) {
  int64_t group = c->config.n_heads / c->config.n_kv_heads;
  int64_t active = moh__config_active_heads(&c->config);
  c->kv_share = 1;
  if (c->masked) return MOH_OK;
  if (!moh__config_routes(&c->config)) {
    int64_t n_used = (active + group - 1) / group; /* the first ones */
    c->kv_share = (double)n_used / (double)c->config.n_kv_heads;
    return MOH_OK;
  }
  double sum = 0;
  for (int i = 0; i < DECODED; i++) {
    MOH_TRY(run_decoding(c, c->sessions[0], err));
    sum += kv_share_of(c, moh__session_head_use(c->sessions[0]));
  }
  c->kv_share = sum / DECODED;
  return MOH_OK;
}

static moh_status run_prefill(const moh__contender *c, moh__session *session,
                              moh_error *err) {
  const real *logits;
  moh__session_truncate(session, 0);
  return moh__session_feed(session, c->tokens, c->context, &logits, err);
}

moh_status moh__contender_run(moh__contender *c, int pool,
                              moh__pool *const *pools, moh_error *err) {
  c->tape.pool = pools[pool];
  switch (c->work) {
    case MOH__BENCH_TRAINING:
      return run_training(c, err);
    case MOH__BENCH_PREFILL:
      return run_prefill(c, c->sessions[pool], err);
    case MOH__BENCH_DECODING:
      return run_decoding(c, c->sessions[pool], err);
    default:
      run_part(c);
      return MOH_OK;
  }
}
