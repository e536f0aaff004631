/*
 * Normalizers of a tokenizer.json: what happens to a text before it is cut.
 * Known are NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace,
 * Prepend, and Sequence of them.
 */
#ifndef MOH_TEXT_NORMALIZER_H
#define MOH_TEXT_NORMALIZER_H

#include "text/buffer.h"
#include "text/pattern.h"

typedef struct moh__normalizer moh__normalizer;

/* NULL in *out for a text that stays as it is. */
moh_status moh__normalizer_read(moh__normalizer **out, const json_t *json,
                                moh_error *err);
void moh__normalizer_free(moh__normalizer *normalizer);

/* A text of UTF-8, made anew. *result lies in one of the buffers, or is the
 * text itself; it may be empty. */
moh_status moh__normalizer_apply(const moh__normalizer *normalizer,
                                 const moh__matcher *matcher, moh__text text,
                                 moh__buffer buffers[2], moh__text *result,
                                 moh_error *err);

#endif
