/*
 * From tokens back to text, token by token: whatever comes later, the bytes
 * of the first tokens stay as they are. Adding costs the token's own
 * length. Tokens of bytes may end inside a character (text/stream.h waits
 * for the rest).
 */
#ifndef MOH_TEXT_DECODING_H
#define MOH_TEXT_DECODING_H

#include "text/buffer.h"

typedef struct moh__decoding {
  const moh__tokenizer *tokenizer;
  bool skip_special; /* special tokens give no text */
  moh__buffer text;  /* all so far */
  size_t n_tokens;
  size_t n_stripped; /* characters that the front has lost */
  bool has_front;    /* it loses no more */
  bool started;      /* a token has come */
  bool glue_next;    /* no blank before the next token */
  bool quote_open;   /* the next double quote is a closing one */
} moh__decoding;

/* The tokenizer must outlive the decoder. */
void moh__decoding_init(moh__decoding *decoder,
                        const moh__tokenizer *tokenizer, bool skip_special);
void moh__decoding_free(moh__decoding *decoder);

/* `decoder`, initialised, becomes a copy of another. */
moh_status moh__decoding_copy(moh__decoding *decoder,
                              const moh__decoding *other, moh_error *err);

/* Appends the text of a token; one outside the vocabulary is an error. */
moh_status moh__decoding_add(moh__decoding *decoder, int32_t id,
                             moh_error *err);

#endif
