/*
 * Declaring parameters and giving them their starting values: what the
 * architectures have in common.
 */
#ifndef MOH_ARCH_DECLARE_H
#define MOH_ARCH_DECLARE_H

#include "model/model.h"

/* Where parameters are declared: `prefix` stands before every name, such as
 * "model.layers.3." or nothing. */
typedef struct moh__declaration {
  moh__model *model;
  char prefix[MOH__NAME_MAX];
  moh_error *err;
} moh__declaration;

/* For names under "model.layers.<layer>.". */
void moh__declaration_layer(moh__declaration *d, int64_t layer);

moh_status moh__declare(const moh__declaration *d, const char *name,
                        int n_dims, const int64_t *shape, unsigned flags,
                        moh__grouping grouping, int64_t n_groups);
/* (out, in), decayed. */
moh_status moh__declare_matrix(const moh__declaration *d, const char *name,
                               int64_t out, int64_t in,
                               moh__grouping grouping, int64_t n_groups);
/* A bias of n outputs, or a norm's gain: 1-D, not decayed. */
moh_status moh__declare_vector(const moh__declaration *d, const char *name,
                               int64_t n);
/* The matrices of a router over the width of the model, whatever of them the
 * shape has: <name>.wg (routed), .wg_1 (shared), .wg_0 (mix), the released
 * code's names. */
moh_status moh__declare_router(const moh__declaration *d, const char *name,
                               const moh__router_shape *shape);
/* <name>.wg.bias: what is added to the scores of routed candidates for their
 * selection; nothing where the rate that it is moved by is 0. */
moh_status moh__declare_router_bias(const moh__declaration *d,
                                    const char *name,
                                    const moh__router_shape *shape,
                                    double rate);
/* With heads by mass, <name>.head_mass: where the routed heads of a token
 * end, and how many it uses, a mean that training keeps (0: not known). A
 * buffer, as a controller may drive it (train/head_control.h). */
enum { MOH__MASS_LIMIT, MOH__MASS_MEAN, MOH__MASS_N };
/* A layer's; NULL where there is none. */
moh__param *moh__head_mass(const moh__model *model, int64_t layer);

/* <name>.weight of the model's width, .bias for LayerNorm and dynamic tanh, and
 * for the latter .alpha, one number. */
moh_status moh__declare_norm(const moh__declaration *d, const char *name);

/* A norm's parameters; NULL where its kind has none. */
typedef struct moh__norm_params {
  moh__param *gain, *bias, *alpha;
} moh__norm_params;
moh__norm_params moh__find_norm(const moh__model *model, const char *prefix,
                                const char *name);

/* The parameter <prefix><name>, NULL when there is none. */
moh__param *moh__find_param(const moh__model *model, const char *prefix,
                            const char *name);

/* Starting values of all parameters from a seed. */
void moh__init_params(moh__model *model, uint64_t seed);

#endif
