/*
 * Decoders of a tokenizer.json: what the tokens stand for, and how they are
 * joined to a text. Known are WordPiece (with its clean-up; alone), and
 * ByteLevel, ByteFallback, Replace, Metaspace, Strip, Fuse, and Sequence of
 * these; without a decoder there are blanks between tokens.
 *
 * All but WordPiece change each token by itself, so that what it stands for
 * is worked out once, when the file is read. Behind Fuse the text is one:
 * there, Strip takes characters off its front.
 */
#ifndef MOH_TEXT_DECODER_H
#define MOH_TEXT_DECODER_H

#include "text/buffer.h"
#include "text/pattern.h"

typedef enum moh__joining {
  MOH__JOIN_BLANKS,     /* blanks between tokens */
  MOH__JOIN_WORD_PIECE, /* the same, but the prefix joins */
  MOH__JOIN_FUSE        /* as they are */
} moh__joining;

typedef struct moh__token_step moh__token_step;

typedef struct moh__decoder {
  moh__joining joining;
  moh__text prefix; /* WordPiece: tokens that start with it join on */
  bool cleanup;     /* WordPiece: no blanks before full stops and such */
  moh__token_step *steps;
  size_t n;
  bool byte_level;    /* ByteLevel is one of the steps */
  bool first_differs; /* the first token of a text may stand for less */
  moh__text strip;    /* a character; at most so many in front go */
  size_t n_strip;
} moh__decoder;

moh_status moh__decoder_read(moh__decoder *decoder, const json_t *json,
                             moh_error *err);
void moh__decoder_free(moh__decoder *decoder);

/* What a token stands for. plain: it is not written with byte-level
 * characters; first: it is the first of a text. *result lies in one of the
 * buffers, or is the token. */
moh_status moh__decoder_token(const moh__decoder *decoder,
                              const moh__matcher *matcher, moh__text token,
                              bool plain, bool first, moh__buffer buffers[2],
                              moh__text *result, moh_error *err);

/* The byte of a token "<0x00>" to "<0xFF>", -1 for any other. */
int moh__byte_token(moh__text token);

#endif
