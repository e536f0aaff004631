/*
 * A session: the mutable half of inference. It owns the KV pages of one
 * sequence and the working memory of its steps; the model is shared.
 */
#ifndef MOH_INFER_SESSION_H
#define MOH_INFER_SESSION_H

#include "base/pool.h"
#include "base/rng.h"
#include "infer/gate_record.h"
#include "model/model.h"
#include "op/tape.h"

typedef struct moh__session moh__session;

/* max_len: tokens that it can hold, at most the model's max_seq_len; 0 means
 * that. The model must be packed. It and the pool must outlive the session. */
moh_status moh__session_new(moh__session **out, const moh__model *model,
                            moh__pool *pool, int32_t max_len, moh_error *err);
/* The same with every head computed and unused ones multiplied by zero: the
 * contrast of benchmarks. Its results have the same bits. */
moh_status moh__session_new_masked(moh__session **out,
                                   const moh__model *model, moh__pool *pool,
                                   int32_t max_len, moh_error *err);
void moh__session_free(moh__session *session);

/* Appends n > 0 tokens and computes the logits of the last one,
 * [vocab_size], which hold until the next call. Tokens outside the vocabulary
 * and tokens beyond max_len are refused, with nothing changed. */
moh_status moh__session_feed(moh__session *session, const int32_t *tokens,
                             int32_t n, const real **logits, moh_error *err);

int32_t moh__session_length(const moh__session *session);
int32_t moh__session_max_length(const moh__session *session);
/* How many logits a feed gives. */
int32_t moh__session_vocabulary(const moh__session *session);

/* The tokens that it holds, [length]; until the next feed. */
const int32_t *moh__session_tokens(const moh__session *session);

/* Keeps the front part that it has in common with n > 0 tokens that are to
 * stand in it, but for the last of them, whose logits will be wanted. Gives
 * the number of tokens that it still holds. */
int32_t moh__session_rewind(moh__session *session, const int32_t *tokens,
                            int32_t n);

/* Forgets all tokens from position n on. Where a window has moved on so far
 * that keys are gone which the next token sees, and where the state is no list
 * of keys (HyperMixer), the first n are read again. */
void moh__session_truncate(moh__session *session, int32_t n);

/* Keeps what it is now, so that cutting it back to this length, for as long as
 * it is not cut further, reads nothing again. Only a state that is no list of
 * keys takes memory for it. */
moh_status moh__session_mark(moh__session *session, moh_error *err);

/* Head use of the last feed, layer by layer; NULL when the model has no
 * router. Holds until the next call. */
const moh__head_use *moh__session_head_use(const moh__session *session);
/* The same of experts. */
const moh__head_use *moh__session_expert_use(const moh__session *session);
/* Tokens that are fed at once; more are fed in chunks of so many. */
int32_t moh__session_chunk(const moh__session *session);

/* Heads and gates of all tokens that the session holds. */
const moh__gate_record *moh__session_gates(const moh__session *session);

/* Bytes of KV pages, of the record of gates and of working memory for
 * sequences of max_len. */
typedef struct moh__session_bytes {
  size_t pages, gates, work;
} moh__session_bytes;
moh_status moh__session_measure(const moh__model *model, int32_t max_len,
                                moh__session_bytes *bytes, moh_error *err);
/* Bytes of working memory that steps have needed so far. */
size_t moh__session_peak(const moh__session *session);

#endif
