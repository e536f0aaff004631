/*
 * Which heads a model's routers gave to the tokens of texts, or which experts,
 * which then stand for heads in all names below: of the first tokens one by
 * one, of all of them in sums.
 */
#ifndef MOH_CLI_ROUTING_H
#define MOH_CLI_ROUTING_H

#include "infer/session.h"

typedef struct moh__routing {
  bool experts; /* not heads */
  int64_t n_layers, n_heads;
  int64_t n_shared;          /* the first heads, which every token uses */
  int32_t n_shown, capacity; /* tokens that are kept one by one */
  int32_t *ids;              /* [n_shown] */
  bool *used;                /* [n_shown][n_layers][n_heads] */
  float *gates;              /* the same; 0 where not used */
  int64_t n_tokens;          /* of all texts */
  int64_t *count;            /* [n_layers][n_heads] tokens that used it */
  double *gate_sum;          /* [n_layers][n_heads] */
} moh__routing;

/* Empty, with room for `capacity` tokens. A model without such routers is
 * MOH_ERR_ARGUMENT; `name` stands for it in messages. */
moh_status moh__routing_init(moh__routing *routing, const moh__model *model,
                             const char *name, bool experts, int32_t capacity,
                             moh_error *err);
void moh__routing_free(moh__routing *routing);

/* "head" or "expert". */
static inline const char *moh__routing_noun(const moh__routing *r) {
  return r->experts ? "expert" : "head";
}

/* Called between windows with the tokens so far; false ends the work. */
typedef bool moh__routing_progress(void *context, int64_t n_tokens);

/* Reads a text in windows as long as the session and takes in what its
 * routers did. MOH_ERR_INTERRUPTED when `progress`, which may be NULL, said
 * so. */
moh_status moh__routing_add(moh__routing *routing, moh__session *session,
                            const int32_t *ids, int64_t n,
                            moh__routing_progress *progress, void *context,
                            moh_error *err);

/* Where a shown token's heads of a layer stand in used and gates. */
static inline int64_t moh__routing_at(const moh__routing *r, int32_t token,
                                      int64_t layer) {
  return ((int64_t)token * r->n_layers + layer) * r->n_heads;
}

/* Share of all tokens that used the head. */
double moh__routing_load(const moh__routing *routing, int64_t layer,
                         int64_t head);
/* Mean over the tokens that used it; 0 when none did. */
double moh__routing_gate(const moh__routing *routing, int64_t layer,
                         int64_t head);
/* Heads that a token used in the layer, on average. */
double moh__routing_heads(const moh__routing *routing, int64_t layer);
/* Entropy of the load of the routed heads, as a share of the most that it can
 * be: 1 when all are used alike. 1 for fewer than two of them. */
double moh__routing_entropy(const moh__routing *routing, int64_t layer);

/* A gate's strength in pictures, in [0, 1]: half for the mean gate of all
 * that are in use. */
double moh__routing_strength(const moh__routing *routing, float gate);

#endif
