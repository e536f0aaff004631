/*
 * Pre-tokenizers of a tokenizer.json: how a text is cut into words. Known
 * are WhitespaceSplit, Whitespace, Punctuation, Digits, Split, Metaspace,
 * ByteLevel (for BPE, at the end), and Sequence of them.
 */
#ifndef MOH_TEXT_PRE_TOKENIZER_H
#define MOH_TEXT_PRE_TOKENIZER_H

#include "text/normalizer.h"

typedef struct moh__pre_step moh__pre_step;

typedef struct moh__pre_tokenizer {
  moh__pre_step *steps;
  size_t n;
  bool byte_level; /* ByteLevel is the last step */
} moh__pre_tokenizer;

/* bpe: whether the model is BPE, which alone knows ByteLevel. */
moh_status moh__pre_tokenizer_read(moh__pre_tokenizer *pre,
                                   const json_t *json, bool bpe,
                                   moh_error *err);
void moh__pre_tokenizer_free(moh__pre_tokenizer *pre);

typedef moh_status moh__word_fn(void *context, moh__text word,
                                moh_error *err);

/* Where words go. */
typedef struct moh__cutting {
  const moh__pre_tokenizer *pre;
  const moh__matcher *matcher;
  moh__word_fn *fn;
  void *context;
  moh_error *err;
} moh__cutting;

/* Hands every word of a text of UTF-8 to fn, in order. The words live as
 * long as the call of fn. */
moh_status moh__pre_tokenizer_cut(const moh__cutting *cutting, moh__text text,
                                  moh__front place);

#endif
