/* How unlikely tokens are behind others, by the decoding path. */
#ifndef MOH_INFER_NATS_H
#define MOH_INFER_NATS_H

#include "infer/session.h"

/* -ln p of a token by the n logits of the one before it. */
double moh__nats_of(const real *logits, int64_t n, int32_t token);

/* The sum of -ln p of tokens [from, n), 0 < from <= n, each behind all before
 * it. What the session holds of their front is not read again. A sum that is
 * not finite is MOH_ERR_DIVERGED. */
moh_status moh__session_nats(moh__session *session, const int32_t *tokens,
                             int32_t n, int32_t from, double *nats,
                             moh_error *err);

#endif
