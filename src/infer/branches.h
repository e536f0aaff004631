/*
 * Branches of a session: sequences that go on from the tokens it holds, each
 * in its own way, one token at a time, all in one forward pass. Branches list
 * pages of keys and values by number, and list the same ones as far as they
 * are alike. A fork copies no page; the first token behind it copies the last
 * page, if it is partly filled and someone else has it too. Pages that a
 * window has left are given up. So branches take, beside the session's pages,
 *   pages <= (n_most + 1) * min(those behind the session's whole pages,
 *                               those that a window touches)
 * where the 1 is the branch that is kept (see below).
 */
#ifndef MOH_INFER_BRANCHES_H
#define MOH_INFER_BRANCHES_H

#include "infer/session.h"

typedef struct moh__branches moh__branches;

/* One branch, equal to what the session holds: n > 0 tokens. There may be
 * n_most of them at a time, each of at most n_tokens more tokens, which must
 * fit into the session. All memory is reserved here. Logits of the session
 * are no longer valid; it must not be used before the branches are closed. */
moh_status moh__branches_open(moh__branches **out, moh__session *session,
                              int32_t n_most, int32_t n_tokens,
                              moh_error *err);
/* The session holds what it held before, or what was adopted. NULL is fine.
 */
void moh__branches_close(moh__branches *branches);

/* There are n branches now; the i-th goes on from what was parents[i]. */
void moh__branches_fork(moh__branches *branches, const int32_t *parents,
                        int32_t n);

/* Appends token i to branch i. Logits: [n][vocab_size], until the next call.
 * The bits are those of a session that was fed the branch's tokens. */
moh_status moh__branches_feed(moh__branches *branches, const int32_t *tokens,
                              const real **logits, moh_error *err);

/* Keeps branch i as it is now, instead of one kept before. */
void moh__branches_keep(moh__branches *branches, int32_t i);

/* What the session will hold: branch i, or (-1) the one that was kept. */
void moh__branches_adopt(moh__branches *branches, int32_t i);

int32_t moh__branches_count(const moh__branches *branches);

/* Pages of each slot that were in use at once, so far: those of the session
 * included. */
int32_t moh__branches_most_pages(const moh__branches *branches);

/* Pages of each slot that a session with n_held tokens and its branches take
 * at most; what moh__branches_open reserves. */
int32_t moh__branches_pages(const moh__config *config, int32_t n_held,
                            int32_t n_most, int32_t n_tokens);

/* Bytes of a session of max_len tokens whose n_most branches (0: none) have
 * nothing but the first token in common. */
moh_status moh__branches_measure(const moh__model *model, int32_t max_len,
                                 int32_t n_most, moh__session_bytes *bytes,
                                 moh_error *err);

#endif
