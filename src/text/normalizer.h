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

/* Where a part of a text stands, for steps that put something in front. */
typedef enum moh__front {
  MOH__FRONT_INSIDE, /* behind an added token, or another part */
  MOH__FRONT_FIRST,  /* it begins the whole text */
  MOH__FRONT_JOINED  /* behind bytes that are not UTF-8: it goes on */
} moh__front;

/* NULL in *out for a text that stays as it is. */
moh_status moh__normalizer_read(moh__normalizer **out, const json_t *json,
                                moh_error *err);
void moh__normalizer_free(moh__normalizer *normalizer);

/* A text of UTF-8, made anew. *result lies in one of the buffers, or is the
 * text itself; it may be empty. */
moh_status moh__normalizer_apply(const moh__normalizer *normalizer,
                                 const moh__matcher *matcher, moh__text text,
                                 moh__front place, moh__buffer buffers[2],
                                 moh__text *result, moh_error *err);

#endif
