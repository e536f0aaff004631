/*
 * Reading a text in windows that lie side by side, for what looks at a model
 * while it reads: the forward pass of one window after the other, without a
 * cache.
 */
#ifndef MOH_INFER_READING_H
#define MOH_INFER_READING_H

#include "base/pool.h"
#include "model/model.h"
#include "op/op.h"

/* Tokens that are cut into windows of `context`, the last one shorter. */
typedef struct moh__stretch {
  const int32_t *tokens;
  int64_t n;
  int32_t context;
} moh__stretch;

static inline int64_t moh__stretch_windows(const moh__stretch *text) {
  return (text->n + text->context - 1) / text->context;
}

typedef struct moh__reading {
  const moh__model *model;
  int32_t *positions, *out_rows; /* [context] 0, 1, 2, ... */
  moh__arena arena;
  moh__tape tape; /* holds until the next window */
} moh__reading;

/* The model must be packed; it and the pool must outlive the reading. extra:
 * reals of the arena that the caller will allocate behind a window. */
moh_status moh__reading_init(moh__reading *reading, const moh__model *model,
                             moh__pool *pool, int32_t context, int64_t extra,
                             moh_error *err);
void moh__reading_free(moh__reading *reading);

/* Hidden states of window w, (tokens, d_model), ready for the output matrix. */
moh__tensor *moh__reading_window(moh__reading *reading,
                                 const moh__stretch *text, int64_t w);

#endif
