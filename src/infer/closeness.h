/*
 * How close a model's predictions are to those of another one with the same
 * vocabulary, on a text: what a model has lost by a change to it.
 */
#ifndef MOH_INFER_CLOSENESS_H
#define MOH_INFER_CLOSENESS_H

#include "infer/reading.h"

typedef struct moh__closeness {
  int64_t n_tokens;  /* behind each of which both predicted the next one */
  double largest;    /* difference of two logits */
  double divergence; /* sum of KL(reference || other), nats */
  int64_t n_same;    /* tokens behind which both expect the same one most */
  int64_t n_known;   /* of these, whose next one the text has: */
  double reference_nats, other_nats; /* sums of -ln p of the next ones */
  double worst;                      /* divergence behind one token */
} moh__closeness;

/* Asked before each window; true ends it with MOH_ERR_INTERRUPTED. NULL: never
 * asked. */
typedef bool moh__reading_stop(void *context);

/* Adds a text to sums that start as {0}. Both models must be packed. */
moh_status moh__closeness_add(moh__closeness *sums,
                              const moh__model *reference,
                              const moh__model *other, moh__pool *pool,
                              const moh__stretch *text,
                              moh__reading_stop *stop, void *context,
                              moh_error *err);

#endif
