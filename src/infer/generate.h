/* Choosing tokens, and the loop around a session. */
#ifndef MOH_INFER_GENERATE_H
#define MOH_INFER_GENERATE_H

#include "infer/session.h"

typedef struct moh__sampling {
  double temperature; /* 0: greedy */
  uint64_t seed;
} moh__sampling;

/* The token with the largest logit (lowest id on ties), or one drawn from
 * softmax(logits / temperature). scratch: [n]. Non-finite logits are
 * MOH_ERR_DIVERGED. */
moh_status moh__sample(const moh__sampling *sampling, moh__rng *rng,
                       const real *logits, int32_t n, real *scratch,
                       int32_t *token, moh_error *err);

/* Called for every generated token; false ends the generation. */
typedef bool moh__token_fn(void *context, int32_t token);

typedef enum moh__finish {
  MOH__FINISH_END,     /* the end token came (it is passed on, too) */
  MOH__FINISH_LENGTH,  /* max_tokens, or the session is full */
  MOH__FINISH_CALLBACK /* the callback said so */
} moh__finish;

typedef struct moh__generate_options {
  moh__sampling sampling;
  int32_t max_tokens;
  int32_t end_token; /* -1: none */
} moh__generate_options;

/* Feeds the prompt (n > 0 tokens) and generates. */
moh_status moh__generate(moh__session *session,
                         const moh__generate_options *options,
                         const int32_t *prompt, int32_t n,
                         moh__token_fn *on_token, void *context,
                         moh__finish *finish, moh_error *err);

#endif
