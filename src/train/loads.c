/* Loads of routed layers over a step. */
#include "train/loads.h"

#include <stdlib.h>
#include <string.h>

#include "route/balance.h"

moh_status moh__loads_init(moh__loads *l, int64_t n_layers,
                           const moh__router_shape *shape, moh_error *err) {
  size_t n = (size_t)n_layers, routed = (size_t)shape->n_routed;
  *l = (moh__loads){.n_layers = (int32_t)n_layers};
  l->layers = calloc(n + 1, sizeof(*l->layers));
  l->values = calloc(n * routed + 1, sizeof(real));
  if (l->layers == NULL || l->values == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for the report");
  for (size_t i = 0; i < n; i++) {
    l->layers[i].n_shared = shape->n_shared;
    l->layers[i].n_routed = shape->n_routed;
    l->layers[i].load = l->values + i * routed;
  }
  return MOH_OK;
}

void moh__loads_free(moh__loads *l) {
  free(l->layers);
  free(l->values);
}

static real *values_of(const moh__loads *l, int32_t layer) {
  return l->values + (int64_t)layer * l->layers[layer].n_routed;
}

void moh__loads_begin(moh__loads *l) {
  l->balance = l->z = 0;
  for (int32_t i = 0; i < l->n_layers; i++) {
    moh__layer_load *layer = &l->layers[i];
    memset(values_of(l, i), 0, (size_t)layer->n_routed * sizeof(real));
    layer->balance = 0;
    layer->n_dead = 0;
  }
}

void moh__loads_add(moh__loads *l, const moh__head_use *use, double share) {
  for (int32_t i = 0; use != NULL; use = use->next, i++) {
    real *load = values_of(l, i);
    for (int32_t c = 0; c < use->n_routed; c++)
      load[c] += (real)share * use->load[c];
    l->layers[i].balance += share * (double)use->balance;
    l->balance += share / l->n_layers * (double)use->balance;
    l->z += share / l->n_layers * (double)use->z;
  }
}

void moh__loads_end(moh__loads *l) {
  for (int32_t i = 0; i < l->n_layers; i++) {
    moh__layer_load *layer = &l->layers[i];
    layer->entropy = (double)moh__load_entropy(layer->load, layer->n_routed);
    for (int32_t c = 0; c < layer->n_routed; c++)
      layer->n_dead += layer->load[c] == 0;
  }
}
