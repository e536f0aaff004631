/*
 * What the sources of the tokenizer share: its structure, the vocabulary
 * table, and UTF-8.
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
  bool keep; /* matches are pieces too (Isolated), or go (Removed) */
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
/* A tokenizer.json. Steals every part; NULL when one is NULL, too. */
json_t *moh__tokenizer_document(json_t *added, json_t *pre_tokenizer,
                                json_t *decoder, json_t *model);

/* ---- UTF-8 ------------------------------------------------------------ */

static inline bool moh__utf8_tail(const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (((unsigned char)bytes[i] & 0xC0) != 0x80) return false;
  }
  return true;
}

/* The length in bytes of the character at the front of a text, and its code
 * point; 0 when the text is empty or starts with what is not UTF-8: cut and
 * overlong forms, surrogates, above U+10FFFF (RFC 3629). */
static inline size_t moh__utf8_next(moh__text text, uint32_t *code) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (text.n == 0) return 0;
  unsigned char first = (unsigned char)text.bytes[0];
  *code = first;
  if (first < 0x80) return 1;
  size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || n > text.n) return 0;
  if (!moh__utf8_tail(text.bytes + 1, n - 1)) return 0;
  uint32_t value = first & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; i++) {
    value = value << 6 | ((unsigned char)text.bytes[i] & 0x3F);
  }
  *code = value;
  bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return value < least[n] || surrogate || value > 0x10FFFF ? 0 : n;
}

/* The length of the longest front part that is UTF-8. */
static inline size_t moh__utf8_valid(moh__text text) {
  size_t at = 0;
  uint32_t code;
  for (;;) {
    moh__text rest = {text.bytes + at, text.n - at};
    size_t step = moh__utf8_next(rest, &code);
    if (step == 0) return at;
    at += step;
  }
}

/* For quoting in a message: the bytes of the front part that ends between
 * characters, at most 48. */
static inline int moh__quoted(moh__text text) {
  moh__text front = {text.bytes, text.n < 48 ? text.n : 48};
  return (int)moh__utf8_valid(front);
}

/* Bytes [from, to) of a text. */
static inline moh__text moh__text_part(moh__text text, size_t from,
                                       size_t to) {
  return (moh__text){text.bytes + from, to - from};
}

static inline bool moh__text_starts(moh__text text, moh__text front) {
  return front.n <= text.n &&
         __builtin_memcmp(text.bytes, front.bytes, front.n) == 0;
}

static inline moh__text moh__text_of(const char *string) {
  return (moh__text){string, __builtin_strlen(string)};
}

#endif
