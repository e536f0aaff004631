/* The controller of heads by mass: see head_control.h. */
#include "train/head_control.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/declare.h"

static const double least_gain = 0.2;

static moh_status set_target(moh__head_control *c, const moh__config *config,
                             double target, moh_error *err) {
  double least = (double)moh__config_least_heads(config);
  double most = (double)moh__config_active_heads(config);
  if (c->n_layers == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "target_heads needs a model whose tokens use different "
                     "numbers of heads (adaptive:S+MIN-MAX)");
  if (!(target >= least && target <= most))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "target_heads is %g, but tokens use %g to %g heads",
                     target, least, most);
  c->on = true;
  c->share = (target - least) / (most - least);
  return MOH_OK;
}

moh_status moh__head_control_init(moh__head_control *c,
                                  const moh__config *config, double target,
                                  moh_error *err) {
  *c = (moh__head_control){.on = false};
  if (moh__config_router_shape(config).n_optional > 0)
    c->n_layers = config->n_layers;
  if (target > 0) MOH_TRY(set_target(c, config, target, err));
  if (c->n_layers == 0) return MOH_OK;
  c->layers = calloc((size_t)c->n_layers, sizeof(*c->layers));
  if (c->layers != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the heads' limits");
}

void moh__head_control_free(moh__head_control *c) {
  free(c->layers);
  c->layers = NULL;
}

void moh__head_control_clear(moh__head_control *c) {
  for (int64_t i = 0; i < c->n_layers; i++)
    c->layers[i] = (moh__layer_control){.n = 0};
}

static void take_layer(const moh__head_control *c, const moh__head_use *use) {
  moh__layer_control *layer = &c->layers[use->layer];
  if (use->n_masses == 0) return; /* every head works: --heads-warmup */
  layer->n++;
  layer->heads += (double)moh__plan_entries(use->plan) / use->plan->n_rows;
  if (c->on)
    layer->quantile +=
        (double)moh__quantile(use->masses, use->n_masses, c->share);
}

void moh__head_control_take(moh__head_control *c, const moh__head_use *use) {
  for (; c->layers != NULL && use != NULL; use = use->next)
    take_layer(c, use);
}

void moh__head_control_update(moh__head_control *c, moh__model *model,
                              int64_t n_updates) {
  double gain = fmax(least_gain, 1 / (double)n_updates);
  for (int64_t i = 0; i < c->n_layers; i++) {
    const moh__layer_control *layer = &c->layers[i];
    if (layer->n == 0) continue;
    real *kept = moh__head_mass(model, i)->data;
    double heads = layer->heads / (double)layer->n;
    double mean = (double)kept[MOH__MASS_MEAN];
    double limit = (double)kept[MOH__MASS_LIMIT];
    /* 0: a mean that is not known yet. */
    kept[MOH__MASS_MEAN] =
        (real)(mean > 0 ? mean + gain * (heads - mean) : heads);
    if (!c->on) continue;
    double wanted = layer->quantile / (double)layer->n;
    kept[MOH__MASS_LIMIT] = (real)(limit + gain * (wanted - limit));
  }
}

static int ascending(const void *a, const void *b) {
  real x = *(const real *)a, y = *(const real *)b;
  return (x > y) - (x < y);
}

real moh__quantile(real *values, int64_t n, double q) {
  int64_t below = llround(q * (double)n);
  qsort(values, (size_t)n, sizeof(*values), ascending);
  if (below <= 0) return values[0];
  if (below >= n) return 1; /* masses are below it */
  return (values[below - 1] + values[below]) / 2;
}
