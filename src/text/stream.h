/*
 * Text while it is generated: whole characters only, each passed on as soon
 * as it is certain. Held back are an unfinished character at the end, and
 * what may become a stop string. Bytes that can never be UTF-8 become
 * U+FFFD, one for each longest part that could have begun a character
 * (Unicode 15, section 3.9, "maximal subparts"), so what is passed on is
 * always UTF-8.
 */
#ifndef MOH_TEXT_STREAM_H
#define MOH_TEXT_STREAM_H

#include "text/decoding.h"

enum { MOH__STOPS_MAX = 64 };

/* Takes n > 0 bytes of whole characters; false asks for the end. */
typedef bool moh__text_fn(void *context, const char *bytes, size_t n);

/* A stop string, and how much of it the text ends with. */
typedef struct moh__stop {
  moh__text text;
  size_t *fallback; /* [n] of Knuth, Morris and Pratt */
  size_t matched;   /* the longest front part of it that ends the text */
} moh__stop;

typedef struct moh__stream {
  moh__decoding decoding;
  moh__stop *stops;
  int n_stops;
  int stop;         /* the one that was found; -1: none */
  size_t scanned;   /* bytes of the decoded text looked at for stops */
  size_t end;       /* bytes of it that are no part of a stop */
  size_t passed;    /* bytes of it that fn has got */
  moh__text_fn *fn; /* NULL: none */
  void *context;
  bool refused; /* fn has asked for the end */
} moh__stream;

/* The tokenizer must outlive the stream; stops are copied by reference. No
 * more than MOH__STOPS_MAX, none of them empty. */
moh_status moh__stream_init(moh__stream *stream,
                            const moh__tokenizer *tokenizer,
                            const char *const *stops, int n_stops,
                            moh__text_fn *fn, void *context, moh_error *err);
void moh__stream_free(moh__stream *stream);

/* `stream`, initialised with the same stops, becomes as far as another. */
moh_status moh__stream_copy(moh__stream *stream, const moh__stream *other,
                            moh_error *err);

/* Adds the text of a token of the prompt, in which no stop is looked for.
 */
moh_status moh__stream_echo(moh__stream *stream, int32_t token,
                            moh_error *err);
/* Adds a token's text and passes on what is certain. When a stop string is
 * complete, stream->stop says which: of several the one that ends first,
 * then the longest. It and what is behind it are not passed on, and further
 * tokens add nothing. */
moh_status moh__stream_add(moh__stream *stream, int32_t token,
                           moh_error *err);

/* Passes on what was held back; without a stop that is all that is left. */
void moh__stream_finish(moh__stream *stream);

#endif
