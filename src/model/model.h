/*
 * A model: its configuration, its parameters by name, and the tables
 * derived from them. Read-only once loaded, so any number of sessions may
 * share it.
 */
#ifndef MOH_MODEL_MODEL_H
#define MOH_MODEL_MODEL_H

#include <stdint.h>

#include "model/config.h"
#include "op/param.h"

typedef struct moh__model {
  moh__config config;
  moh__param *params; /* in file order */
  int n_params;
  int capacity;
  real *rope_angles; /* [max_seq_len][d_head/2][2] or NULL */
  void *layout;      /* the architecture's pointers into params */
  void *owner;       /* what the data lies in, and how to free it */
  void (*owner_free)(void *owner);
  real *decoded; /* data of weights that are stored in blocks; one for all */
  real *grads;              /* one block for all */
  moh__precision precision; /* of all matrices but routers */
  void *packed;             /* one block for all */
  bool packed_for_backward;
} moh__model;

/* An empty model of a checked configuration: no parameters yet. */
moh_status moh__model_new(moh__model **out, const moh__config *config,
                          moh_error *err);
void moh__model_free(moh__model *model);

/* Declares a parameter (n_dims of shape), without memory. For src/arch. The
 * pointers that it and moh__model_param return hold until the next declare.
 */
moh_status moh__model_declare(moh__model *model, const char *name,
                              int n_dims, const int64_t *shape,
                              unsigned flags, moh__grouping grouping,
                              int64_t n_groups, moh_error *err);

/* Makes the tables that running needs. Not before the parameters are known
 * to be there: the tables of a configuration alone may be large. */
moh_status moh__model_make_tables(moh__model *model, moh_error *err);

/* By name; NULL when there is none. */
moh__param *moh__model_param(const moh__model *model, const char *name);
/* "model.layers.<layer>.<name>". */
moh__param *moh__model_layer_param(const moh__model *model, int64_t layer,
                                   const char *name);

/* The window of a layer with this share, of those that adapt: it slides, with
 * the layer's own size. Without data it is the widest; other windows are the
 * configuration's. */
moh__window moh__layer_window(const moh__config *config,
                              const moh__param *share);
/* Where the share of a layer is kept; NULL where windows do not adapt. */
moh__param *moh__model_window_share(const moh__model *model, int64_t layer);
/* Keys that a query of a layer sees, at most. */
int64_t moh__model_window(const moh__model *model, int64_t layer);

/* What its matrices are stored as: f32 where none is in blocks. */
moh__block_type moh__model_stored(const moh__model *model);

/* What they can be stored as again without rounding: the same where that is
 * of 16 bits, and f32 otherwise, as blocks are rounded anew. */
moh__block_type moh__model_stored_exactly(const moh__model *model);

/* Gives data to all that is only stored. */
moh_status moh__model_decode(moh__model *model, moh__pool *pool,
                             moh_error *err);

/* Memory for data (cleared), once all is declared. */
moh_status moh__model_alloc_data(moh__model *model, moh_error *err);
/* Memory for the gradients (cleared) of what is not frozen: training. */
moh_status moh__model_alloc_grads(moh__model *model, moh_error *err);
void moh__model_zero_grads(moh__model *model, moh__pool *pool);

/* The same without the writing: all gradients count as 0 from now on, so that
 * whoever comes first writes; and, before they are read, those become 0 to
 * which nothing was added. */
void moh__model_forget_grads(moh__model *model);
void moh__model_settle_grads(moh__model *model, moh__pool *pool);

/* What the next moh__model_pack makes of the weights: f32 until this is
 * called. Routers stay f32, as do norms, tables that are looked up, and
 * `data`. */
void moh__model_set_precision(moh__model *model, moh__precision precision);

/* Renews the packed weights: for forward, and, once there are gradients,
 * for backward; allocates what is missing of them. */
moh_status moh__model_pack(moh__model *model, moh__pool *pool,
                           moh_error *err);

/* After an update: those of what it changed, but for adapted matrices. */
moh_status moh__model_repack(moh__model *model, moh__pool *pool,
                             moh_error *err);

/* A weight that is not finite is MOH_ERR_DIVERGED with the tensor's name.
 */
moh_status moh__model_check_finite(const moh__model *model, moh_error *err);

/* Numbers counted from the tensors, buffers left out. */
int64_t moh__model_count(const moh__model *model);
/* Of these, the ones that training updates: neither frozen nor adapted. */
int64_t moh__model_count_updated(const moh__model *model);
int64_t moh__model_count_routers(const moh__model *model);
/* Without the experts that a token does not use. */
int64_t moh__model_count_active(const moh__model *model);

/* Bytes of data (or of what is stored in its place), of data once all is
 * decoded, of gradients and moments when training, of packed weights, and of
 * those for backward. */
typedef struct moh__model_bytes {
  int64_t data, decoded, grads, moments, packed, packed_back;
} moh__model_bytes;
moh__model_bytes moh__model_measure(const moh__model *model);

/* Of the weights in training: decoded, and packed for both directions. */
static inline int64_t moh__model_bytes_trained(const moh__model_bytes *bytes) {
  return bytes->decoded + bytes->packed + bytes->packed_back;
}

#endif
