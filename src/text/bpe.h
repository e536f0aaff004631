/*
 * Byte-pair encoding (BPE; Sennrich and others, arXiv 1508.07909): a word
 * starts as its letters, and of all pairs of neighbours that the list of
 * merges has, the one that stands first in the list is joined, until none is
 * left. Among equals the leftmost goes first.
 *
 * Letters are bytes where the pre-tokenizer ends with ByteLevel, as in GPT-2;
 * else characters, as in LLaMA 2, where those that the vocabulary lacks may
 * become the tokens "<0x00>" to "<0xFF>" of their bytes.
 *
 * In a file of the first kind each byte is written as a character that can be
 * seen: bytes that are one in Latin-1 as that, the others as U+0100 upward
 * ("byte-level characters"; a blank is U+0120).
 */
#ifndef MOH_TEXT_BPE_H
#define MOH_TEXT_BPE_H

#include "text/heap.h"
#include "text/tokenizer_internal.h"

enum {
  /* A longer word is encoded in stretches of so many bytes, so that memory
   * stays bounded. */
  MOH__BPE_WORD_MAX = 1 << 20,
  MOH__BPE_CUTS = 2 /* characters that stand for blanks: " ", U+2581 */
};

/* A joined pair, in an open-addressing table by pair. */
typedef struct moh__merge {
  uint64_t pair; /* left id << 32 | right id */
  uint32_t rank; /* place in the list of merges */
  int32_t id;    /* the result; -1: the slot is free */
} moh__merge;

struct moh__bpe {
  bool of_bytes;        /* letters are bytes, not characters */
  int32_t byte_id[256]; /* the token of a byte; -1: there is none */
  moh__merge *merges;   /* [n_slots] */
  size_t n_slots;       /* a power of two */
  int32_t *result;      /* [n_merges] by rank */
  size_t n_merges;
  bool ignore_merges; /* a word of the vocabulary is that token at once */
  bool fuse_unknown;  /* unknown letters side by side are one token */
  /* No merge reaches across the front of such a character, unless it stands
   * behind one of its own kind: a word may be cut there. */
  bool cuts[MOH__BPE_CUTS];
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
                           moh__bpe_work *work, moh__text word, moh__ids *ids,
                           moh_error *err);
/* The same for bytes that are not UTF-8, without merges: each byte by
 * itself, or an unknown token. */
moh_status moh__bpe_encode_bytes(const moh__tokenizer *tokenizer,
                                 moh__text bytes, moh__ids *ids,
                                 moh_error *err);

/* ---- bpe_json.c -------------------------------------------------------
 */

/* The characters that words may be cut at. */
extern const moh__text moh__bpe_blanks[MOH__BPE_CUTS];

/* The model of a file whose vocabulary and steps are read already. */
moh_status moh__bpe_read(moh__tokenizer *tokenizer, const json_t *model,
                         moh_error *err);
void moh__bpe_free(moh__bpe *bpe);

/* tokenizer.json of tokens, written with byte-level characters, and merges
 * of their ids. `</s>` is special. NULL when memory ran out. */
json_t *moh__bpe_document(const moh__vocab *tokens, const uint64_t *merges,
                          size_t n_merges);

#endif
