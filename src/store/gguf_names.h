/* What GGUF files of LLaMA-like models call things: for reading and writing
 * them. */
#ifndef MOH_STORE_GGUF_NAMES_H
#define MOH_STORE_GGUF_NAMES_H

#include <stdbool.h>

#include "format/gguf.h"
#include "model/config_family.h"
#include "model/model.h"

/* Architectures by moh__family: general.architecture, which is the prefix of
 * their keys, and whether rows of W_Q and W_K are in the other order. */
typedef struct moh__gguf_family {
  const char *name;
  bool turned;
} moh__gguf_family;
extern const moh__gguf_family moh__gguf_families[MOH__FAMILY_NONE];

/* GGUF's name of one of our parameters; false: there is none. */
bool moh__gguf_name(char name[MOH__GGUF_NAME], const char *ours);

/* Rows of a head where the rows of W_Q and W_K (and their biases) have the
 * other order in files of LLaMA models (rope_order.h); 0: the same order. */
int64_t moh__gguf_turned(const moh__param *w, const moh__config *config);

/* rope_freqs.weight of LLaMA 3: by how much a pair is slower than unscaled. */
extern const char moh__gguf_rope_factors[];

#endif
