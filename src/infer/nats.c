#include "infer/nats.h"

#include <math.h>

double moh__nats_of(const real *logits, int64_t n, int32_t token) {
  double largest = (double)logits[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    if ((double)logits[i] > largest) largest = (double)logits[i];
  for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - largest);
  return log(sum) + largest - (double)logits[token];
}

moh_status moh__session_nats(moh__session *session, const int32_t *tokens,
                             int32_t n, int32_t from, double *nats,
                             moh_error *err) {
  const real *logits;
  int32_t held = moh__session_rewind(session, tokens, from);
  int32_t vocabulary = moh__session_vocabulary(session);
  *nats = 0;
  MOH_TRY(
      moh__session_feed(session, tokens + held, from - held, &logits, err));
  for (int32_t i = from; i < n; i++) {
    *nats += moh__nats_of(logits, vocabulary, tokens[i]);
    if (i + 1 < n)
      MOH_TRY(moh__session_feed(session, tokens + i, 1, &logits, err));
  }
  if (isfinite(*nats)) return MOH_OK;
  return moh__fail(err, MOH_ERR_DIVERGED,
                   "a probability is not finite: the weights are damaged or "
                   "training diverged");
}
