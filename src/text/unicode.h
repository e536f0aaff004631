/* The normal forms of Unicode (UAX #15), and what it says of characters. */
#ifndef MOH_TEXT_UNICODE_H
#define MOH_TEXT_UNICODE_H

#include "text/buffer.h"

typedef enum moh__normal_form {
  MOH__NFC,
  MOH__NFD,
  MOH__NFKC,
  MOH__NFKD
} moh__normal_form;

/* Appends the normal form of a text of UTF-8, in time n log n. */
moh_status moh__unicode_normalize(moh__normal_form form, moh__text text,
                                  moh__buffer *out, moh_error *err);
/* Appends the text in small letters, character by character. */
moh_status moh__unicode_lower(moh__text text, moh__buffer *out,
                              moh_error *err);
/* Combining marks: the categories Mn, Mc, Me. */
bool moh__is_mark(uint32_t code);
/* The categories P*, and what is punctuation in ASCII. */
bool moh__is_punctuation(uint32_t code);
/* What a word is made of: letters, marks, digits, connectors. */
bool moh__is_word(uint32_t code);

#endif
