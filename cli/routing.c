/* Head and expert use of texts, from the plans of a session's steps. */
#include "routing.h"

#include <math.h>
#include <stdlib.h>

static moh_status find_candidates(moh__routing *r, const moh__config *c,
                                  const char *name, moh_error *err) {
  if (!(r->experts ? c->experts.n_routed > 0 : moh__config_routes(c)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     r->experts ? "%s has no experts: every token uses the "
                                  "same feed-forward"
                                : "%s has no routers: every token uses the "
                                  "same heads",
                     name);
  r->n_heads =
      r->experts ? c->experts.n_shared + c->experts.n_routed : c->n_heads;
  r->n_shared = r->experts ? c->experts.n_shared
                           : c->n_shared * moh__config_heads_each(c);
  return MOH_OK;
}

moh_status moh__routing_init(moh__routing *r, const moh__model *model,
                             const char *name, bool experts, int32_t capacity,
                             moh_error *err) {
  const moh__config *c = &model->config;
  *r = (moh__routing){.n_layers = moh__config_passes(c),
                      .experts = experts,
                      .capacity = capacity};
  MOH_TRY(find_candidates(r, c, name, err));
  size_t heads = (size_t)(r->n_layers * r->n_heads);
  size_t shown = (size_t)capacity + 1;
  r->ids = calloc(shown, sizeof(*r->ids));
  r->used = calloc(shown * heads, sizeof(*r->used));
  r->gates = calloc(shown * heads, sizeof(*r->gates));
  r->count = calloc(heads, sizeof(*r->count));
  r->gate_sum = calloc(heads, sizeof(*r->gate_sum));
  if (r->ids == NULL || r->used == NULL || r->gates == NULL ||
      r->count == NULL || r->gate_sum == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for the %ss of %d tokens",
                     moh__routing_noun(r), capacity);
  return MOH_OK;
}

void moh__routing_free(moh__routing *r) {
  free(r->ids);
  free(r->used);
  free(r->gates);
  free(r->count);
  free(r->gate_sum);
}

/* ---- taking in ---- */

/* An entry of the plan: a token, as far as it is shown, and its head. */
static void take_entry(moh__routing *r, int64_t layer, int32_t head,
                       int64_t token, double gate) {
  int64_t at = layer * r->n_heads + head;
  r->count[at]++;
  r->gate_sum[at] += gate;
  if (token >= r->capacity) return;
  at = moh__routing_at(r, (int32_t)token, layer) + head;
  r->used[at] = true;
  r->gates[at] = (float)gate;
}

static void take_layer(moh__routing *r, int64_t layer,
                       const moh__head_use *use) {
  const moh__plan *plan = use->plan;
  for (int32_t h = 0; h < plan->n_candidates; h++)
    for (int32_t e = plan->start[h]; e < plan->start[h + 1]; e++)
      take_entry(r, layer, h, r->n_tokens + plan->rows[e],
                 (double)use->gates[e]);
}

/* What the session's last step did with n tokens. */
static void take_step(moh__routing *r, const moh__session *session,
                      const int32_t *ids, int32_t n) {
  const moh__head_use *use = r->experts ? moh__session_expert_use(session)
                                        : moh__session_head_use(session);
  for (int64_t layer = 0; use != NULL; use = use->next, layer++)
    take_layer(r, layer, use);
  for (int32_t i = 0; i < n && r->n_shown < r->capacity; i++)
    r->ids[r->n_shown++] = ids[i];
  r->n_tokens += n;
}

static moh_status add_window(moh__routing *r, moh__session *session,
                             const int32_t *ids, int32_t n, moh_error *err) {
  const real *logits;
  int32_t most = moh__session_chunk(session);
  moh__session_truncate(session, 0);
  for (int32_t at = 0; at < n; at += most) {
    int32_t step = n - at < most ? n - at : most;
    MOH_TRY(moh__session_feed(session, ids + at, step, &logits, err));
    take_step(r, session, ids + at, step);
  }
  return MOH_OK;
}

moh_status moh__routing_add(moh__routing *r, moh__session *session,
                            const int32_t *ids, int64_t n,
                            moh__routing_progress *progress, void *context,
                            moh_error *err) {
  int64_t most = moh__session_max_length(session);
  for (int64_t at = 0; at < n; at += most) {
    if (progress != NULL && !progress(context, r->n_tokens))
      return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
    int64_t left = n - at;
    MOH_TRY(add_window(r, session, ids + at,
                       (int32_t)(left < most ? left : most), err));
  }
  return MOH_OK;
}

/* ---- what can be said of it ---- */

static int64_t count_of(const moh__routing *r, int64_t layer, int64_t head) {
  return r->count[layer * r->n_heads + head];
}

double moh__routing_load(const moh__routing *r, int64_t layer, int64_t head) {
  if (r->n_tokens == 0) return 0;
  return (double)count_of(r, layer, head) / (double)r->n_tokens;
}

double moh__routing_gate(const moh__routing *r, int64_t layer, int64_t head) {
  int64_t n = count_of(r, layer, head);
  return n == 0 ? 0 : r->gate_sum[layer * r->n_heads + head] / (double)n;
}

double moh__routing_heads(const moh__routing *r, int64_t layer) {
  double sum = 0;
  for (int64_t h = 0; h < r->n_heads; h++)
    sum += moh__routing_load(r, layer, h);
  return sum;
}

double moh__routing_entropy(const moh__routing *r, int64_t layer) {
  double all = 0, entropy = 0;
  int64_t n = r->n_heads - r->n_shared;
  for (int64_t h = r->n_shared; h < r->n_heads; h++)
    all += (double)count_of(r, layer, h);
  if (n < 2 || all <= 0) return 1;
  for (int64_t h = r->n_shared; h < r->n_heads; h++) {
    double share = (double)count_of(r, layer, h) / all;
    if (share > 0) entropy -= share * log(share);
  }
  return entropy / log((double)n);
}

double moh__routing_strength(const moh__routing *r, float gate) {
  double sum = 0, n = 0;
  for (int64_t i = 0; i < r->n_layers * r->n_heads; i++) {
    sum += r->gate_sum[i];
    n += (double)r->count[i];
  }
  return sum <= 0 ? 0 : fmin(1, (double)gate / (2 * sum / n));
}
