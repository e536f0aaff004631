/* What the work of a contender costs, counted: multiply-adds, and the bytes
 * that a token of decoding reads. */
#include <string.h>

#include "bench.h"

/* Multiply-adds of the whole forward pass at a place without context, those
 * that each visible key adds, and, of the first, contextual positions'. */
typedef struct cost {
  double fixed, per_key, positions;
} cost;

static cost cost_of(const moh__contender *c, moh__macs none, moh__macs one) {
  double positions = (double)none.positions;
  if (!c->masked)
    return (cost){(double)none.active, (double)(one.active - none.active),
                  positions};
  double heads = (double)c->config.n_heads /
                 (double)moh__config_active_heads(&c->config);
  return (cost){(double)(none.dense + none.router),
                (double)(one.dense - none.dense), heads * positions};
}

static cost model_cost(const moh__contender *c) {
  return cost_of(c, moh__arch_macs(&c->config, 0),
                 moh__arch_macs(&c->config, 1));
}

static cost attention_cost(const moh__contender *c) {
  return cost_of(c, moh__arch_attention_macs(&c->config, 0),
                 moh__arch_attention_macs(&c->config, 1));
}

static cost feed_forward_cost(const moh__contender *c) {
  moh__macs macs = moh__arch_feed_forward_macs(&c->config);
  return cost_of(c, macs, macs);
}

/* Of all sequences, forward and backward, which computes scores and what
 * positions add to them anew. */
static double gradient_count(const moh__contender *c, cost one) {
  double n = c->context, pairs = n * (n + 1) / 2;
  return c->n_seq * (n * (3 * one.fixed + one.positions) +
                     3.5 * pairs * one.per_key);
}

/* Only the last token has logits. */
static double prefill_count(const moh__contender *c) {
  cost token = model_cost(c);
  double n = c->context, pairs = n * (n + 1) / 2;
  double output = (double)c->config.vocab_size * (double)c->config.d_model;
  return n * (token.fixed - output) + output + pairs * token.per_key;
}

double moh__contender_count(const moh__contender *c) {
  cost token = model_cost(c);
  switch (c->work) {
    case MOH__BENCH_TRAINING:
      return gradient_count(c, token);
    case MOH__BENCH_PREFILL:
      return prefill_count(c);
    case MOH__BENCH_DECODING:
      return token.fixed + c->context * token.per_key;
    case MOH__BENCH_ATTENTION:
      return gradient_count(c, attention_cost(c));
    case MOH__BENCH_FEED_FORWARD:
      return gradient_count(c, feed_forward_cost(c));
    default:
      token.fixed = (double)moh__arch_attention_macs(&c->config, 0).router;
      token.per_key = token.positions = 0;
      return gradient_count(c, token);
  }
}

/* Share of a parameter's groups, heads or experts, that are in use. Where
 * queries rank the heads, all of W_Q is. */
static double active_share(const moh__contender *c, const moh__param *w) {
  const moh__experts *x = &c->config.experts;
  bool ranks = c->config.heads == MOH__HEADS_NORM &&
               strstr(w->name, "q_proj") != NULL;
  if (c->masked || ranks) return 1;
  if (strstr(w->name, ".experts.") != NULL)
    return (double)(x->n_shared + x->k) / (double)(x->n_shared + x->n_routed);
  return (double)moh__config_active_heads(&c->config) /
         (double)c->config.n_heads;
}

/* Bytes of one parameter that one token reads: a row of a table, the groups
 * in use, or all. */
static double param_bytes(const moh__contender *c, const moh__param *w) {
  double n = (double)w->n;
  bool packed = w->grouping != MOH__PACK_NONE;
  if ((w->flags & MOH__PARAM_EMBEDDING) != 0 && !packed)
    return (double)w->shape[1] * sizeof(real);
  if (w->n_groups > 1 || w->n_dims == 3) n *= active_share(c, w);
  if (!packed) return n * sizeof(real);
  moh__block_type type = moh__param_type(w);
  return n * (double)moh__block_bytes(type) /
         (double)moh__block_elements(type);
}

/* Keys and values of one token, all layers. */
static double cache_bytes(const moh__contender *c) {
  moh__session_bytes bytes = {0};
  moh__session_measure(c->model, MOH__PANEL, &bytes, NULL);
  return (double)bytes.pages / MOH__PANEL;
}

double moh__contender_bytes_read(const moh__contender *c) {
  if (c->work != MOH__BENCH_DECODING) return 0;
  double seen =
      (double)moh__window_size(&c->config.window, (int64_t)c->context - 1);
  double bytes = seen * c->kv_share * cache_bytes(c);
  if (c->config.architecture == MOH__HYPERMIXER)
    bytes = 2 * MOH__PANEL * cache_bytes(c); /* its state, read and written */
  for (int i = 0; i < c->model->n_params; i++)
    bytes += param_bytes(c, &c->model->params[i]);
  return bytes;
}
