/* The table of heads in use. */
#include "infer/gate_record.h"

#include <stdlib.h>
#include <string.h>

/* Gates of all tokens. */
static size_t n_gates(const moh__config *config, int32_t max_len) {
  if (!moh__config_routes(config)) return 0;
  return (size_t)(moh__config_passes(config) * config->n_heads * max_len);
}

size_t moh__gate_record_bytes(const moh__config *config, int32_t max_len) {
  return n_gates(config, max_len) * (1 + sizeof(real));
}

moh_status moh__gate_record_init(moh__gate_record *r,
                                 const moh__config *config, int32_t max_len,
                                 moh_error *err) {
  *r = (moh__gate_record){.n_layers = (int32_t)moh__config_passes(config),
                          .n_heads = (int32_t)config->n_heads,
                          .max_len = max_len};
  size_t n = n_gates(config, max_len);
  if (n == 0) return MOH_OK;
  r->used = calloc(n, 1);
  r->gates = calloc(n, sizeof(real));
  if (r->used == NULL || r->gates == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu gates", n);
  return MOH_OK;
}

void moh__gate_record_free(moh__gate_record *r) {
  free(r->used);
  free(r->gates);
}

static void add_layer(moh__gate_record *r, const moh__head_use *use,
                      int64_t at) {
  const moh__plan *plan = use->plan;
  memset(r->used + at, 0, (size_t)plan->n_rows * (size_t)r->n_heads);
  for (int32_t h = 0; h < plan->n_candidates; h++)
    for (int32_t e = plan->start[h]; e < plan->start[h + 1]; e++) {
      int64_t place = at + (int64_t)plan->rows[e] * r->n_heads + h;
      r->used[place] = 1;
      r->gates[place] = use->gates[e];
    }
}

void moh__gate_record_add(moh__gate_record *r, const moh__head_use *use,
                          int32_t first) {
  if (r->used == NULL) return;
  for (int64_t layer = 0; use != NULL; use = use->next, layer++)
    add_layer(r, use, moh__gate_record_at(r, layer, first));
}

void moh__gate_record_copy(moh__gate_record *r, int32_t to,
                           const moh__gate_record *other, int32_t from) {
  size_t n = (size_t)r->n_heads;
  for (int32_t l = 0; r->used != NULL && l < r->n_layers; l++) {
    int64_t there = moh__gate_record_at(other, l, from);
    int64_t here = moh__gate_record_at(r, l, to);
    memcpy(r->used + here, other->used + there, n);
    memcpy(r->gates + here, other->gates + there, n * sizeof(real));
  }
}
