/* Multiply-adds of a token, counted from the configuration. Where queries rank
 * the heads, those of every head are computed, and their squares. */
#include <math.h>

#include "arch/arch.h"

static int64_t router_macs(const moh__config *c) {
  moh__router_shape s = moh__config_router_shape(c);
  if (c->heads == MOH__HEADS_NORM)
    return s.n_routed * moh__config_heads_each(c) * c->d_head;
  if (!moh__config_has_router(c)) return 0;
  int64_t rows = moh__router_has_routed(&s) ? s.n_routed : 0;
  if (moh__router_has_shared(&s)) rows += s.n_shared;
  if (moh__router_has_mix(&s)) rows += 2;
  return rows * c->d_model;
}

/* CoPE's q . e_n of one head. Gates and looking up are not counted, as little
 * as the soft-max. */
static int64_t position_macs(const moh__config *c) {
  if (c->position != MOH__POSITION_COPE) return 0;
  return c->cope_positions * c->d_head;
}

static int64_t query_macs(const moh__config *c) {
  return c->d_head * c->d_model;
}

/* What one query head costs, and disappears with it: its query, its scores
 * and weighted sum, its columns of W_O, and its positions. */
static int64_t head_macs(const moh__config *c, int64_t context) {
  int64_t n = 2 * context * c->d_head;
  if (c->heads != MOH__HEADS_NORM) n += query_macs(c);
  if (c->output_projection) n += c->d_head * c->d_model;
  return n + position_macs(c);
}

/* Keys, values and queries that every token pays. */
static int64_t fixed_macs(const moh__config *c) {
  int64_t n = 2 * c->n_kv_heads * c->d_head * c->d_model;
  if (c->heads == MOH__HEADS_NORM) n += c->n_heads * query_macs(c);
  return n;
}

moh__macs moh__arch_feed_forward_macs(const moh__config *c) {
  const moh__experts *x = &c->experts;
  int64_t unit = (c->ffn == MOH__FFN_SWIGLU ? 3 : 2) * c->d_model;
  if (x->n_routed == 0)
    return (moh__macs){.dense = unit * c->d_ff, .active = unit * c->d_ff};
  int64_t router = x->n_routed * c->d_model;
  int64_t expert = unit * x->width;
  return (moh__macs){.dense = (x->n_shared + x->n_routed) * expert,
                     .active = (x->n_shared + x->k) * expert + router,
                     .router = router};
}

/* The heads' share, whole where they are a whole number. */
static int64_t parts(double heads, int64_t head) {
  return llround(heads * (double)head);
}

/* HyperMixer: hypernetworks, the state's update and, for a head in use, the
 * outputs of its hypernetwork and the reading of its state. */
static moh__macs mixing_macs(const moh__config *c, double heads) {
  int64_t state = c->hyper_mix * c->d_head;
  int64_t fixed = 2 * c->d_model * c->hyper_width +
                  c->n_heads * (c->hyper_width * c->hyper_mix + state);
  int64_t head = c->hyper_width * c->hyper_mix + state;
  int64_t router = router_macs(c);
  return (moh__macs){.dense = fixed + c->n_heads * head,
                     .active = fixed + parts(heads, head) + router,
                     .router = router};
}

static moh__macs attention_macs(const moh__config *config, int64_t context,
                                double heads) {
  if (config->architecture == MOH__HYPERMIXER)
    return mixing_macs(config, heads);
  context = moh__window_size(&config->window, context - 1);
  int64_t fixed = fixed_macs(config);
  int64_t head = head_macs(config, context);
  int64_t router = router_macs(config);
  moh__macs macs = {.dense = fixed + config->n_heads * head,
                    .active = fixed + parts(heads, head) + router,
                    .router = router,
                    .positions = parts(heads, position_macs(config))};
  return macs;
}

moh__macs moh__arch_attention_macs(const moh__config *config,
                                   int64_t context) {
  return attention_macs(config, context,
                        (double)moh__config_active_heads(config));
}

moh__macs moh__arch_macs(const moh__config *config, int64_t context) {
  return moh__arch_macs_at(config, context,
                           (double)moh__config_active_heads(config));
}

moh__macs moh__arch_macs_at(const moh__config *config, int64_t context,
                            double heads) {
  int64_t n = moh__config_passes(config);
  int64_t output = config->vocab_size * config->d_model;
  moh__macs ffn = moh__arch_feed_forward_macs(config);
  moh__macs one = attention_macs(config, context, heads);
  moh__macs macs = {.dense = n * (one.dense + ffn.dense) + output,
                    .active = n * (one.active + ffn.active) + output,
                    .router = n * (one.router + ffn.router),
                    .positions = n * one.positions};
  return macs;
}
