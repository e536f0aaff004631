/*
 * The numbers of a configuration by the names that config.json and error
 * messages give them, with the limits that each has on its own. Limits keep
 * every product of sizes within int64_t: vocab_size * hidden_size is at
 * most 2^44, all parameters together with gradients and moments under 2^60
 * bytes.
 */
#ifndef MOH_MODEL_CONFIG_FIELDS_H
#define MOH_MODEL_CONFIG_FIELDS_H

#include <stddef.h>

#include "model/config.h"

typedef struct moh__int_field {
  const char *name;
  size_t offset; /* of an int64_t in moh__config */
  int64_t min, max;
} moh__int_field;

/* Sizes that every model has. */
enum { MOH__N_SIZES = 8 };
extern const moh__int_field moh__config_sizes[MOH__N_SIZES];

static inline int64_t *moh__config_int(moh__config *config,
                                       const moh__int_field *field) {
  return (int64_t *)((char *)config + field->offset);
}

static inline int64_t moh__config_int_value(const moh__config *config,
                                            const moh__int_field *field) {
  return *(const int64_t *)((const char *)config + field->offset);
}

#endif
