/*
 * Added tokens of a tokenizer.json: they are found in a text before anything
 * else, the longest one at each place. Those that are "normalized" are
 * looked for in what the normalizer has made of the text, as what it makes of
 * them.
 */
#ifndef MOH_TEXT_ADDED_TOKENS_H
#define MOH_TEXT_ADDED_TOKENS_H

#include "text/normalizer.h"

typedef struct moh__added {
  moh__text text;  /* borrowed from the document */
  moh__text found; /* what it is in a text */
  char *owned;     /* `found`, where it is another; NULL */
  int32_t id;
  bool special, normalized;
  bool single_word;    /* not next to letters */
  bool lstrip, rstrip; /* the blanks around it belong to it */
} moh__added;

/* Tokens sorted by what is looked for; those of a first byte lie from
 * start[byte] to start[byte + 1]. */
typedef struct moh__added_index {
  const moh__added **tokens;
  uint32_t start[257];
} moh__added_index;

typedef struct moh__added_tokens {
  moh__added *tokens; /* [n] in the order of the file */
  size_t n;
  moh__added_index index[2]; /* not normalized, normalized */
} moh__added_tokens;

moh_status moh__added_read(moh__added_tokens *added, const json_t *array,
                           moh_error *err);
/* When the normalizer is known. */
moh_status moh__added_prepare(moh__added_tokens *added,
                              const moh__normalizer *normalizer,
                              moh_error *err);
void moh__added_free(moh__added_tokens *added);

/* Where a token was found, with the blanks that belong to it. */
typedef struct moh__added_match {
  const moh__added *added; /* NULL: none is left */
  size_t start, end;
} moh__added_match;

/* The first token at or behind `from`; a special one only when `specials`
 * is true, but then no other one starts inside it. */
moh__added_match moh__added_find(const moh__added_tokens *added,
                                 bool normalized, bool specials,
                                 moh__text text, size_t from);

#endif
