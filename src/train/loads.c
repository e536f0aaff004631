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
  l->biases = calloc(n + 1, sizeof(moh__param *));
  l->sum = calloc(routed + 1, sizeof(real));
  if (l->layers == NULL || l->values == NULL || l->biases == NULL ||
      l->sum == NULL)
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
  free((void *)l->biases);
  free(l->sum);
}

static real *values_of(const moh__loads *l, int32_t layer) {
  return l->values + (int64_t)layer * l->layers[layer].n_routed;
}

void moh__loads_begin(moh__loads *l) {
  l->balance = l->z = l->sparsity = l->per_token = 0;
  for (int32_t i = 0; i < l->n_layers; i++) {
    moh__layer_load *layer = &l->layers[i];
    memset(values_of(l, i), 0, (size_t)layer->n_routed * sizeof(real));
    layer->balance = layer->per_token = 0;
    layer->n_dead = 0;
  }
}

void moh__loads_add(moh__loads *l, const moh__head_use *use, double share) {
  for (int32_t i = 0; use != NULL; use = use->next, i++) {
    real *load = values_of(l, i);
    for (int32_t c = 0; c < use->n_routed; c++)
      load[c] += (real)share * use->load[c];
    l->biases[i] = use->bias;
    double n = (double)moh__plan_entries(use->plan) / use->plan->n_rows;
    l->layers[i].balance += share * (double)use->balance;
    l->layers[i].per_token += share * n;
    l->layers[i].mass = (double)use->mass;
    l->per_token += share / l->n_layers * n;
    l->sparsity += share / l->n_layers * (double)use->sparsity;
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

/* Whether an earlier pass has the same bias. */
static bool is_repeated(const moh__loads *l, int32_t layer) {
  for (int32_t i = 0; i < layer; i++)
    if (l->biases[i] == l->biases[layer]) return true;
  return false;
}

void moh__loads_balance(moh__loads *l, double rate) {
  for (int32_t i = 0; i < l->n_layers; i++) {
    moh__param *bias = l->biases[i];
    if (bias == NULL || (bias->flags & MOH__PARAM_FROZEN) != 0 ||
        is_repeated(l, i))
      continue;
    memset(l->sum, 0, (size_t)bias->n * sizeof(real));
    for (int32_t j = i; j < l->n_layers; j++)
      for (int64_t c = 0; l->biases[j] == bias && c < bias->n; c++)
        l->sum[c] += l->layers[j].load[c];
    moh__balance_bias(bias->data, l->sum, (int32_t)bias->n, (real)rate);
  }
}
