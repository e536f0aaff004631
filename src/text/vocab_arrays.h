/* The way back of text/vocab_document.h: the arrays of a GGUF file from a
 * tokenizer. */
#ifndef MOH_TEXT_VOCAB_ARRAYS_H
#define MOH_TEXT_VOCAB_ARRAYS_H

#include <jansson.h>

#include "text/vocab_document.h"

typedef struct moh__gguf_arrays {
  moh__gguf_vocab vocab; /* borrows from the rest and from the tokenizer */
  moh__text *tokens, *merges;
  float *scores;
  int32_t *types;
  json_t *strings; /* texts that the tokenizer does not have as they are */
} moh__gguf_arrays;

/*
 * For a model of n_tokens tokens, no fewer than the tokenizer's; others are
 * unused ones.
 *
 * What GGUF has no name for (words of whole texts, pre-tokenizers of one's
 * own, a third end token, ...) is MOH_ERR_UNSUPPORTED with what it is: the
 * arrays are read again, and the tokenizer that comes of them has the same
 * steps, tokens, merges and special tokens.
 */
moh_status moh__gguf_arrays_of(moh__gguf_arrays *out,
                               const moh__tokenizer *tokenizer,
                               size_t n_tokens, moh_error *err);
void moh__gguf_arrays_free(moh__gguf_arrays *arrays);

#endif
