/*
 * What the sources of the tokenizer share: its structure and the vocabulary
 * table.
 *
 * A tokenizer keeps the document it was made from, the JSON of its
 * tokenizer.json; every string in it is borrowed from there.
 */
#ifndef MOH_TEXT_TOKENIZER_INTERNAL_H
#define MOH_TEXT_TOKENIZER_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <jansson.h>
#include <pcre2.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

/* FNV-1a, 64 bits. */
static inline uint64_t moh__text_hash(moh__text text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (size_t i = 0; i < text.n; i++) {
    hash = (hash ^ (unsigned char)text.bytes[i]) * 0x100000001B3u;
  }
  return hash ^ hash >> 32;
}

/* ---- vocabulary (tokenizer_train.c) ----------------------------------- */

/* Words and their ids, 0 upward in the order in which they came. The bytes
 * are borrowed. {0} is empty. */
typedef struct moh__vocab {
  moh__text *words;
  size_t n, capacity;
  int32_t *slots; /* open addressing; -1 is free */
  size_t n_slots; /* a power of two, or 0 */
} moh__vocab;

void moh__vocab_free(moh__vocab *vocab);
/* -1 when the word is not there. */
int32_t moh__vocab_find(const moh__vocab *vocab, moh__text word);
/* Adds a word unless it is there. Refuses more than MOH__TOKENS_MAX. */
moh_status moh__vocab_add(moh__vocab *vocab, moh__text word, moh_error *err);

/* ---- tokenizer (tokenizer.c) ------------------------------------------ */

/* One step of the pre-tokenizer. */
typedef enum moh__step_kind {
  MOH__STEP_BLANKS,  /* cut at Unicode white space */
  MOH__STEP_PATTERN, /* cut at the matches of a pattern */
  MOH__STEP_PREFIX   /* a blank in front, unless there is one */
} moh__step_kind;

typedef struct moh__step {
  moh__step_kind kind;
  pcre2_code *pattern;
  bool matches; /* whether the pattern's matches become pieces ... */
  bool rest;    /* ... and whether what lies between them does */
} moh__step;

/* A token that is found in the text before anything else. */
typedef struct moh__added {
  moh__text text;
  int32_t id;
  bool special;
  bool normalized; /* looked for after the others */
} moh__added;

typedef enum moh__decoder {
  MOH__DECODE_BLANKS,     /* no decoder: joined by blanks */
  MOH__DECODE_WORD_PIECE, /* the same, but the prefix joins */
  MOH__DECODE_FUSE        /* joined as they are */
} moh__decoder;

typedef struct moh__bpe moh__bpe;

struct moh__tokenizer {
  json_t *document;
  moh__bpe *bpe; /* NULL: every word is a token (WordLevel) */
  moh__vocab vocab;
  moh__added *added;
  size_t n_added;
  bool added_first[256]; /* bytes with which an added token starts */
  bool *is_special; /* [vocab.n] */
  moh__step *steps;
  size_t n_steps;
  bool byte_level; /* ByteLevel is the last step */
  pcre2_match_context *limits;
  moh__decoder decoder;
  moh__text prefix; /* WordPiece: tokens that start with it join on */
  bool cleanup;     /* WordPiece: no blanks before full stops and such */
  int32_t end, unknown;
};

/* What the cutting of a text yields, in order. */
typedef enum moh__piece_kind {
  MOH__PIECE_WORD,
  MOH__PIECE_ADDED,  /* id is an added token's */
  MOH__PIECE_INVALID /* a run of bytes that are not UTF-8 */
} moh__piece_kind;

typedef struct moh__piece {
  moh__piece_kind kind;
  moh__text text;
  int32_t id;
} moh__piece;

typedef moh_status moh__piece_fn(void *context, moh__piece piece,
                                 moh_error *err);

/* Cuts a text and hands every piece to fn. */
moh_status moh__tokenizer_cut(const moh__tokenizer *tokenizer, moh__text text,
                              bool specials, moh__piece_fn *fn, void *context,
                              moh_error *err);

/* ---- tokenizer.json (tokenizer_json.c) -------------------------------- */

/* Takes over the document, also when it fails. */
moh_status moh__tokenizer_from_json(moh__tokenizer **out, json_t *document,
                                    moh_error *err);

/* What a value is, for messages: "an object", ..., "missing". */
const char *moh__kind_of(const json_t *json);
static inline bool moh__is_absent(const json_t *json) {
  return json == NULL || json_is_null(json);
}

/* ---- documents (tokenizer_train.c) ------------------------------------ */

/* New references; NULL when memory ran out. */
json_t *moh__special_token(const char *content, json_int_t id);
/* Word -> id, in the order of the words. */
json_t *moh__vocab_json(const moh__vocab *vocab);
/* A tokenizer.json of these parts, JSON null where it has none. Steals every
 * part; NULL when one is NULL, too. */
typedef struct moh__document {
  json_t *added, *normalizer, *pre_tokenizer, *post_processor, *decoder;
  json_t *model;
} moh__document;

json_t *moh__tokenizer_document(moh__document parts);

#endif
