/* What the opaque handles of moh.h hold. */
#ifndef MOH_API_HANDLES_H
#define MOH_API_HANDLES_H

#include <stdatomic.h>

#include "base/arena.h"
#include "infer/session.h"
#include "route/plan.h"
#include "store/model_dir.h"
#include "train/trainer.h"

/* Shared by the caller and the models that use it; the last one frees it. */
struct moh_tokenizer {
  moh__tokenizer *inner;
  atomic_int n_owners;
};

/* Takes over inner, also when it fails. */
moh_status moh__tokenizer_share(moh_tokenizer **out, moh__tokenizer *inner,
                                moh_error *err);
/* One more owner; NULL is fine. */
moh_tokenizer *moh__tokenizer_retain(const moh_tokenizer *tokenizer);

/* Weights are packed: sessions only read them. */
struct moh_model {
  moh__model *inner;
  moh_tokenizer *tokenizer; /* or NULL */
  bool trainable;
  bool has_trainer;
  int64_t n_steps; /* of trainers, since it was made or loaded */
};

/* NULL when the model has none. */
static inline const moh__tokenizer *moh__model_tokenizer(
    const moh_model *model) {
  return model->tokenizer == NULL ? NULL : model->tokenizer->inner;
}

struct moh_session {
  const moh_model *model;
  moh__pool *pool;
  moh__session *inner;
};

struct moh_dataset {
  moh__dataset *inner;
  int64_t vocab; /* above every id */
};

/* The caller's texts, as src/text has them; to be freed, the bytes stay the
 * caller's. */
moh_status moh__texts_of(moh__text **out, const moh_text *texts, size_t n,
                         moh_error *err);

/* Plan and gates lie in one arena. */
struct moh_plan {
  moh__arena arena;
  moh__plan inner;
  real *gates; /* [entries] */
};

/* A plan with room for `capacity` entries; its gates are not set. */
moh_status moh__plan_handle_new(moh_plan **out, int32_t n_rows,
                                int32_t n_heads, int64_t capacity,
                                moh_error *err);

#endif
