/* Parameters by name, and their starting values. */
#include "arch/declare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

void moh__declaration_layer(moh__declaration *d, int64_t layer) {
  snprintf(d->prefix, sizeof(d->prefix), "model.layers.%" PRId64 ".", layer);
}

static void full_name(char *full, const char *prefix, const char *name) {
  snprintf(full, MOH__NAME_MAX, "%s%s", prefix, name);
}

moh_status moh__declare(const moh__declaration *d, const char *name,
                        int n_dims, const int64_t *shape, unsigned flags,
                        moh__grouping grouping, int64_t n_groups) {
  char full[MOH__NAME_MAX];
  full_name(full, d->prefix, name);
  return moh__model_declare(d->model, full, n_dims, shape, flags, grouping,
                            n_groups, d->err);
}

moh_status moh__declare_matrix(const moh__declaration *d, const char *name,
                               int64_t out, int64_t in,
                               moh__grouping grouping, int64_t n_groups) {
  int64_t shape[2] = {out, in};
  return moh__declare(d, name, 2, shape, MOH__PARAM_DECAY, grouping,
                      n_groups);
}

moh_status moh__declare_vector(const moh__declaration *d, const char *name,
                               int64_t n) {
  return moh__declare(d, name, 1, &n, 0, MOH__PACK_NONE, 1);
}

static moh_status router_matrix(const moh__declaration *d, const char *router,
                                const char *name, int64_t out) {
  char full[MOH__NAME_MAX];
  snprintf(full, sizeof(full), "%s.%s.weight", router, name);
  int64_t shape[2] = {out, d->model->config.d_model};
  return moh__declare(d, full, 2, shape, MOH__PARAM_DECAY | MOH__PARAM_ROUTER,
                      MOH__PACK_OUTPUTS, 1);
}

moh_status moh__declare_router(const moh__declaration *d, const char *name,
                               const moh__router_shape *shape) {
  if (moh__router_has_routed(shape))
    MOH_TRY(router_matrix(d, name, "wg", shape->n_routed));
  if (moh__router_has_shared(shape))
    MOH_TRY(router_matrix(d, name, "wg_1", shape->n_shared));
  if (moh__router_has_mix(shape)) MOH_TRY(router_matrix(d, name, "wg_0", 2));
  if (shape->n_optional == 0) return MOH_OK;
  char full[MOH__NAME_MAX];
  int64_t n = MOH__MASS_N;
  snprintf(full, sizeof(full), "%s.head_mass", name);
  return moh__declare(d, full, 1, &n, MOH__PARAM_BUFFER, MOH__PACK_NONE, 1);
}

moh__param *moh__head_mass(const moh__model *model, int64_t layer) {
  moh__param *w = moh__model_layer_param(model, layer, "self_attn.head_mass");
  return w != NULL ? w
                   : moh__model_layer_param(model, layer, "mixer.head_mass");
}

moh_status moh__declare_router_bias(const moh__declaration *d,
                                    const char *name,
                                    const moh__router_shape *shape,
                                    double rate) {
  char full[MOH__NAME_MAX];
  if (rate == 0 || !moh__router_has_routed(shape)) return MOH_OK;
  snprintf(full, sizeof(full), "%s.wg.bias", name);
  int64_t n[1] = {shape->n_routed};
  return moh__declare(d, full, 1, n, MOH__PARAM_BUFFER | MOH__PARAM_ROUTER,
                      MOH__PACK_NONE, 1);
}

moh_status moh__declare_norm(const moh__declaration *d, const char *name) {
  char full[MOH__NAME_MAX];
  snprintf(full, sizeof(full), "%s.weight", name);
  int64_t width = d->model->config.d_model;
  MOH_TRY(moh__declare_vector(d, full, width));
  if (d->model->config.norm == MOH__NORM_RMS) return MOH_OK;
  snprintf(full, sizeof(full), "%s.bias", name);
  MOH_TRY(moh__declare_vector(d, full, width));
  if (d->model->config.norm != MOH__NORM_DYT) return MOH_OK;
  snprintf(full, sizeof(full), "%s.alpha", name);
  return moh__declare_vector(d, full, 1);
}

moh__norm_params moh__find_norm(const moh__model *model, const char *prefix,
                                const char *name) {
  static const char *const parts[] = {"weight", "bias", "alpha"};
  moh__param *found[3];
  for (int i = 0; i < 3; i++) {
    char full[MOH__NAME_MAX];
    snprintf(full, sizeof(full), "%s.%s", name, parts[i]);
    found[i] = moh__find_param(model, prefix, full);
  }
  return (moh__norm_params){found[0], found[1], found[2]};
}

moh__param *moh__find_param(const moh__model *model, const char *prefix,
                            const char *name) {
  char full[MOH__NAME_MAX];
  full_name(full, prefix, name);
  return moh__model_param(model, full);
}

/* ---- starting values ---- */

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name);
  size_t m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* Standard deviation of a parameter's normal distribution; matrices that
 * write into the residual stream start smaller, as 2 n_layers of them add up
 * (Radford et al. 2019, section 2.3). CoPE's table starts at 0, as released. A
 * hypernetwork's outputs are weights themselves: its matrices keep the size of
 * what they are given. */
static double init_std_of(const moh__config *c, const moh__param *w) {
  if (strstr(w->name, ".mlp.wg.") != NULL) return c->experts.router_init_std;
  if ((w->flags & MOH__PARAM_ROUTER) != 0) return c->router_init_std;
  if (ends_with(w->name, "cope.weight")) return 0;
  if (strstr(w->name, ".mixer.") != NULL) return 1 / sqrt((double)w->shape[1]);
  if (ends_with(w->name, "o_proj.weight") ||
      ends_with(w->name, "down_proj.weight"))
    return c->init_std / sqrt(2.0 * (double)c->n_layers);
  return c->init_std;
}

static void init_param(const moh__config *c, moh__param *w, int index,
                       uint64_t seed) {
  if (ends_with(w->name, ".head_mass")) {
    w->data[MOH__MASS_LIMIT] = (real)c->mass;
    w->data[MOH__MASS_MEAN] = 0;
    return;
  }
  if (w->n_dims == 1) {
    real value = ends_with(w->name, ".bias") ? 0 : 1;
    if (ends_with(w->name, ".embed_scale")) value = (real)(1 / c->init_std);
    for (int64_t i = 0; i < w->n; i++) w->data[i] = value;
    return;
  }
  moh__rng rng =
      moh__rng_make(seed, MOH__STREAM_INIT + ((uint64_t)index << 8));
  double std = init_std_of(c, w);
  for (int64_t i = 0; i < w->n; i++)
    w->data[i] = (real)(std * moh__rng_normal(&rng));
}

void moh__init_params(moh__model *model, uint64_t seed) {
  for (int i = 0; i < model->n_params; i++)
    init_param(&model->config, &model->params[i], i, seed);
}
