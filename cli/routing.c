/* Head use of texts, through the record of gates of a session. */
#include "routing.h"

#include <math.h>
#include <stdlib.h>

moh_status moh__routing_init(moh__routing *r, const moh__model *model,
                             const char *name, int32_t capacity,
                             moh_error *err) {
  const moh__config *c = &model->config;
  *r = (moh__routing){.n_layers = moh__config_passes(c), .n_heads = c->n_heads};
  if (!moh__config_routes(c))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s has no routers: every token uses the same heads",
                     name);
  r->n_shared = c->n_shared * moh__config_heads_each(c);
  r->capacity = capacity;
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
                     "no memory for the heads of %d "
                     "tokens",
                     capacity);
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

static void take_head(moh__routing *r, const moh__gate_record *record,
                      int64_t from, int64_t head, int64_t shown) {
  if (!record->used[from]) return;
  r->count[head]++;
  r->gate_sum[head] += (double)record->gates[from];
  if (shown < 0) return;
  r->used[shown] = true;
  r->gates[shown] = (float)record->gates[from];
}

/* Position `at` of the session. */
static void take_token(moh__routing *r, const moh__gate_record *record,
                       int64_t at, int32_t id) {
  bool show = r->n_shown < r->capacity;
  for (int64_t layer = 0; layer < r->n_layers; layer++) {
    int64_t from = moh__gate_record_at(record, layer, at);
    int64_t to = moh__routing_at(r, r->n_shown, layer);
    for (int64_t h = 0; h < r->n_heads; h++)
      take_head(r, record, from + h, layer * r->n_heads + h,
                show ? to + h : -1);
  }
  if (show) r->ids[r->n_shown++] = id;
  r->n_tokens++;
}

static moh_status add_window(moh__routing *r, moh__session *session,
                             const int32_t *ids, int32_t n, moh_error *err) {
  const real *logits;
  moh__session_truncate(session, 0);
  MOH_TRY(moh__session_feed(session, ids, n, &logits, err));
  const moh__gate_record *record = moh__session_gates(session);
  for (int32_t i = 0; i < n; i++) take_token(r, record, i, ids[i]);
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
