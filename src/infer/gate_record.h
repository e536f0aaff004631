/*
 * Which heads the tokens of a session used, and their gates: a table over
 * passes through a
 * layer, positions and heads, written while tokens are fed. Beside the keys
 * and values of the same tokens it is small: 5 bytes a head, not 8 d_head.
 */
#ifndef MOH_INFER_GATE_RECORD_H
#define MOH_INFER_GATE_RECORD_H

#include "model/config.h"
#include "op/tape.h"

typedef struct moh__gate_record {
  int32_t n_layers; /* passes through one: moh__config_passes */
  int32_t n_heads, max_len;
  unsigned char *used; /* [n_layers][max_len][n_heads]; NULL: no routers */
  real *gates;         /* the same; not set where used is 0 */
} moh__gate_record;

/* Empty, without memory, where the configuration has no routers. */
moh_status moh__gate_record_init(moh__gate_record *record,
                                 const moh__config *config, int32_t max_len,
                                 moh_error *err);
void moh__gate_record_free(moh__gate_record *record);

/* Bytes that it takes. */
size_t moh__gate_record_bytes(const moh__config *config, int32_t max_len);

/* Writes what a step did: row r of its plans is position first + r. */
void moh__gate_record_add(moh__gate_record *record, const moh__head_use *use,
                          int32_t first);

/* Position `to` of a record becomes position `from` of another. */
void moh__gate_record_copy(moh__gate_record *record, int32_t to,
                           const moh__gate_record *other, int32_t from);

/* Where the heads of a token stand in used and gates. */
static inline int64_t moh__gate_record_at(const moh__gate_record *record,
                                          int64_t layer, int64_t position) {
  return (layer * record->max_len + position) * record->n_heads;
}

#endif
