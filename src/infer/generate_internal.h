/* What the loops of generate.c and generate_beams.c share. */
#ifndef MOH_INFER_GENERATE_INTERNAL_H
#define MOH_INFER_GENERATE_INTERNAL_H

#include "infer/generate.h"

/* Feeds a prompt that leaves room for a token behind it; `advice` says what
 * to do with one that does not. */
moh_status moh__generate_read(moh__session *session, const int32_t *prompt,
                              int32_t n, const char *advice,
                              const real **logits, moh_error *err);

/* moh__generate with a beam search; the options are checked. */
moh_status moh__generate_beams(moh__session *session,
                               const moh__generate_options *options,
                               const int32_t *prompt, int32_t n,
                               moh__generate_result *result, moh_error *err);

#endif
