/*
 * What the sources of the tokenizer share: its structure and the vocabulary
 * table.
 *
 * A tokenizer keeps the document it was made from, the JSON of its
 * tokenizer.json; every string in it is borrowed from there.
 */
#ifndef MOH_TEXT_TOKENIZER_INTERNAL_H
#define MOH_TEXT_TOKENIZER_INTERNAL_H

#include <jansson.h>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
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

typedef struct moh__bpe moh__bpe;

struct moh__tokenizer {
  json_t *document;
  moh__bpe *bpe; /* NULL: every word is a token (WordLevel) */
  moh__vocab vocab;
  bool *is_special; /* [vocab.n] */
  char *bytes;      /* what the tokens stand for, one after the other */
  uint32_t *start;  /* [vocab.n + 1] in bytes */
  moh__added_tokens added;
  moh__normalizer *normalizer; /* NULL: texts stay as they are */
  moh__pre_tokenizer pre;
  moh__post_processor post;
  moh__decoder decoder;
  int32_t unknown;
  moh__ids ends; /* the first stands between texts */
  int32_t bos;   /* -1: not set */
  char *chat;    /* NULL: none */
};

/* ---- special_tokens.c ---- */

moh_status moh__tokenizer_guess_end(moh__tokenizer *tokenizer,
                                    moh_error *err);
/* The end tokens, the first token and the chat template of another with the
 * same vocabulary. */
moh_status moh__tokenizer_copy_specials(moh__tokenizer *tokenizer,
                                        const moh__tokenizer *from,
                                        moh_error *err);

/* ---- cutting (tokenizer.c) ---- */

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

/* Whether the "type" of a part is this one. */
bool moh__is_type(const json_t *part, const char *type);
/* The message that a part's "type" is not known. */
moh_status moh__refuse(const char *what, const json_t *part, moh_error *err);
/* A member that is an object. */
moh_status moh__get_object(const json_t *object, const char *key,
                           const json_t **member, moh_error *err);

/* Whether a token stands for its own text, however the tokens of the model
 * are spelled: special ones, and those that the model does not have. */
bool moh__is_plain(const moh__tokenizer *tokenizer, const json_t *vocab,
                   int32_t id);

/* Calls fn for a part, or, when its type is Sequence, for each part in its
 * member `key`. */
typedef moh_status moh__part_fn(void *context, const json_t *part,
                                moh_error *err);
moh_status moh__each_part(const json_t *json, const char *key,
                          moh__part_fn *fn, void *context, moh_error *err);

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
