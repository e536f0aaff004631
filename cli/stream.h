/*
 * Text while it is generated. A later token may change the end of the text
 * (a blank before a comma goes, a character is completed), so only what two
 * decodings in a row agree on is passed on; the rest follows at the end.
 */
#ifndef MOH_CLI_STREAM_H
#define MOH_CLI_STREAM_H

#include <stdbool.h>
#include <stdio.h>

#include "text/tokenizer.h"

typedef struct moh__stream {
  const moh__tokenizer *tokenizer;
  FILE *out;      /* NULL: the text is only collected */
  moh__ids ids;   /* all tokens so far */
  char *text;     /* their decoding, NULL before the first */
  size_t written; /* bytes of text that are out */
} moh__stream;

void moh__stream_init(moh__stream *stream, const moh__tokenizer *tokenizer,
                      FILE *out);
void moh__stream_free(moh__stream *stream);

/* Adds tokens and writes what is now certain. */
moh_status moh__stream_add(moh__stream *stream, const int32_t *tokens,
                           size_t n, moh_error *err);

/* Writes the rest. The whole text stays in stream->text (NULL when there
 * were no tokens). */
void moh__stream_finish(moh__stream *stream);

#endif
