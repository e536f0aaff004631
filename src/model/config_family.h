/*
 * What config.json says outside its "moh" object: the type of the model, sizes,
 * and what the LLaMA family has fields for. LLaMA, Qwen2 and Qwen3 are one
 * family and differ in biases and in norms of queries and keys; a model that is
 * none of them is a "moh" one.
 *
 * Files of the family come from other programs: a field that may be left out
 * (or is null) has the family's default, fields that change nothing here are
 * passed over, and what would change the arithmetic and is not known is refused
 * by name: ignoring it would give a model that runs and is wrong. Files of the
 * type "moh" are our own and say everything.
 */
#ifndef MOH_MODEL_CONFIG_FAMILY_H
#define MOH_MODEL_CONFIG_FAMILY_H

#include <jansson.h>

#include "model/config.h"

typedef enum moh__family {
  MOH__FAMILY_LLAMA, /* biases of attention: all or none */
  MOH__FAMILY_QWEN2, /* biases of W_Q, W_K, W_V */
  MOH__FAMILY_QWEN3, /* norms of queries and keys; biases as LLaMA */
  MOH__FAMILY_NONE   /* "moh" */
} moh__family;

/* Whose type a model is written as; and whose it would be with all heads of a
 * token, without experts and without a window. */
moh__family moh__config_family(const moh__config *config);
moh__family moh__config_kin(const moh__config *config);
/* The first thing that no model of a family has; NULL when it is of one. */
const char *moh__config_difference(const moh__config *config);

/* All but the "moh" object; 0 is success. */
int moh__family_put(json_t *root, const moh__config *config);

/* model_type, and architectures in accord with it. */
moh_status moh__family_read_type(const json_t *root, moh__family *family,
                                 moh_error *err);
/* Sizes, numbers and biases; and then, with the position known, RoPE's. */
moh_status moh__family_read(moh__config *config, const json_t *root,
                            moh__family family, moh_error *err);
moh_status moh__family_read_rope(moh__config *config, const json_t *root,
                                 moh__family family, moh_error *err);

#endif
