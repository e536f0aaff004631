/*
 * Byte-level byte-pair encoding (BPE; Sennrich and others, arXiv
 * 1508.07909, over bytes as in GPT-2): a word starts as its bytes, and of
 * all pairs of neighbours that the list of merges has, the one that stands
 * first in the list is joined, until none is left. Among equals the
 * leftmost goes first.
 *
 * In a file each byte is written as a character that can be seen: bytes
 * that are one in Latin-1 as that, the others as U+0100 upward ("byte-level
 * characters"; a blank is U+0120).
 */
#ifndef MOH_TEXT_BPE_H
#define MOH_TEXT_BPE_H

#include "text/heap.h"
#include "text/tokenizer_internal.h"

enum {
  /* A longer word is encoded in stretches of so many bytes, so that memory
   * stays bounded. */
  MOH__BPE_WORD_MAX = 1 << 20
};

/* A joined pair, in an open-addressing table by pair. */
typedef struct moh__merge {
  uint64_t pair; /* left id << 32 | right id */
  uint32_t rank; /* place in the list of merges */
  int32_t id;    /* the result; -1: the slot is free */
} moh__merge;

struct moh__bpe {
  char *bytes;          /* what the tokens stand for, one after the other */
  uint32_t *start;      /* [n_tokens + 1] in bytes */
  int32_t byte_id[256]; /* -1: there is no token for the byte */
  moh__merge *merges;   /* [n_slots] */
  size_t n_slots;       /* a power of two */
  int32_t *result;      /* [n_merges] by rank */
  size_t n_merges;
  bool ignore_merges; /* a word of the vocabulary is that token at once */
  bool fuse_unknown;  /* unknown bytes side by side are one token */
};

static inline uint64_t moh__pair_of(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The first slot to look at for a pair, in a table of n_slots. */
static inline size_t moh__pair_slot(uint64_t pair, size_t n_slots) {
  uint64_t hash = pair * 0x9E3779B97F4A7C15u;
  return (size_t)(hash ^ hash >> 32) & (n_slots - 1);
}

/* ---- byte-level characters --------------------------------------------
 */

/* The character of a byte as UTF-8: its length, 1 or 2. */
size_t moh__byte_char(unsigned char byte, char utf8[2]);
/* The byte of a code point, -1 when it stands for none. */
int moh__char_byte(uint32_t code);

/* ---- encoding ---------------------------------------------------------
 */

/* What encoding keeps between words: recent words and their ids, and room
 * for merging. One for each thread; {0} is empty. */
typedef struct moh__bpe_work moh__bpe_work;

moh_status moh__bpe_work_new(moh__bpe_work **out, moh_error *err);
void moh__bpe_work_free(moh__bpe_work *work);

/* Appends the ids of a word of any bytes. */
moh_status moh__bpe_encode(const moh__tokenizer *tokenizer,
                           moh__bpe_work *work, moh__text word,
                           moh__ids *ids, moh_error *err);
/* The same without merges, each byte by itself. */
moh_status moh__bpe_encode_bytes(const moh__tokenizer *tokenizer,
                                 moh__text bytes, moh__ids *ids,
                                 moh_error *err);

/* The bytes that a token stands for. */
static inline moh__text moh__bpe_token(const moh__bpe *bpe, int32_t id) {
  uint32_t start = bpe->start[id];
  return (moh__text){bpe->bytes + start, bpe->start[id + 1] - start};
}

/* ---- bpe_json.c -------------------------------------------------------
 */

/* The model of a file whose vocabulary is read already. */
moh_status moh__bpe_read(moh__tokenizer *tokenizer, const json_t *model,
                         moh_error *err);
void moh__bpe_free(moh__bpe *bpe);

/* tokenizer.json of tokens, written with byte-level characters, and merges
 * of their ids. `</s>` is special. NULL when memory ran out. */
json_t *moh__bpe_document(const moh__vocab *tokens, const uint64_t *merges,
                          size_t n_merges);

/* How ByteLevel cuts a text into words. */
extern const char moh__byte_level_pattern[];

#endif
