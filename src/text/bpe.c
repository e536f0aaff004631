/* Byte-level characters, and encoding words with a list of merges. */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

enum {
  /* Recent words: a slot is 64 bytes, all of them 1 MiB. Which words are
   * there never changes what comes out. */
  CACHE_SLOTS = 1 << 14,
  CACHE_BYTES = 30,
  CACHE_IDS = 8,
  NONE = -1 /* no symbol */
};

/* ---- byte-level characters --------------------------------------------
 */

/* Bytes that can be seen in Latin-1. */
static bool is_visible(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

/* The invisible bytes are 0..0x20, 0x7F..0xA0 and 0xAD, U+0100 upward. */
static uint32_t code_of(unsigned byte) {
  if (is_visible(byte)) return byte;
  if (byte <= 0x20) return 0x100 + byte;
  return byte == 0xAD ? 0x143 : 0x121 + (byte - 0x7F);
}

size_t moh__byte_char(unsigned char byte, char utf8[2]) {
  uint32_t code = code_of(byte);
  if (code < 0x80) {
    utf8[0] = (char)code;
    return 1;
  }
  utf8[0] = (char)(0xC0 | code >> 6);
  utf8[1] = (char)(0x80 | (code & 0x3F));
  return 2;
}

int moh__char_byte(uint32_t code) {
  if (code < 0x100) return is_visible(code) ? (int)code : -1;
  if (code <= 0x120) return (int)(code - 0x100);
  if (code < 0x143) return (int)(code - 0x121 + 0x7F);
  return code == 0x143 ? 0xAD : -1;
}

/* ---- memory of an encoder ---------------------------------------------
 */

/* A word that was encoded, when it and its ids are short. */
typedef struct slot {
  uint8_t n_bytes; /* 0: free */
  uint8_t n_ids;
  char bytes[CACHE_BYTES];
  int32_t ids[CACHE_IDS];
} slot;

/* A token of the word, in a list from left to right. */
typedef struct symbol {
  int32_t id;             /* NONE: joined into the one before */
  int32_t previous, next; /* NONE at the ends */
} symbol;

struct moh__bpe_work {
  slot *cache; /* [CACHE_SLOTS] */
  symbol *symbols;
  size_t capacity;
  moh__heap heap; /* (rank, place of the left symbol) */
};

moh_status moh__bpe_work_new(moh__bpe_work **out, moh_error *err) {
  moh__bpe_work *work = calloc(1, sizeof(*work));
  if (work != NULL) work->cache = calloc(CACHE_SLOTS, sizeof(slot));
  *out = work;
  if (work != NULL && work->cache != NULL) return MOH_OK;
  moh__bpe_work_free(work);
  *out = NULL;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory to encode a text");
}

void moh__bpe_work_free(moh__bpe_work *work) {
  if (work == NULL) return;
  free(work->cache);
  free(work->symbols);
  moh__heap_free(&work->heap);
  free(work);
}

/* ---- merging ----------------------------------------------------------
 */

/* The merge of a pair, NULL when it has none. */
static const moh__merge *find_merge(const moh__bpe *bpe, int32_t left,
                                    int32_t right) {
  uint64_t pair = moh__pair_of(left, right);
  size_t mask = bpe->n_slots - 1;
  size_t at = moh__pair_slot(pair, bpe->n_slots);
  for (; bpe->merges[at].id >= 0; at = (at + 1) & mask) {
    if (bpe->merges[at].pair == pair) return &bpe->merges[at];
  }
  return NULL;
}

/* The pair that starts at a symbol waits, if it has a merge. */
static moh_status wait(const moh__bpe *bpe, moh__bpe_work *work,
                       int32_t place, moh_error *err) {
  const symbol *left = &work->symbols[place];
  if (left->next == NONE) return MOH_OK;
  const moh__merge *merge =
      find_merge(bpe, left->id, work->symbols[left->next].id);
  if (merge == NULL) return MOH_OK;
  return moh__heap_push(&work->heap, merge->rank, (uint64_t)place, err);
}

/* Puts the symbol behind `place` into it. */
static void join(symbol *symbols, int32_t place, int32_t id) {
  symbol *left = &symbols[place], *right = &symbols[left->next];
  left->id = id;
  left->next = right->next;
  right->id = NONE;
  if (left->next != NONE) symbols[left->next].previous = place;
}

/* Joins pairs by rank. What waits may have changed since: then its pair now
 * has another result, or none. */
static moh_status merge_all(const moh__bpe *bpe, moh__bpe_work *work,
                            moh_error *err) {
  symbol *symbols = work->symbols;
  moh__heap_item item;
  while (moh__heap_pop(&work->heap, &item)) {
    int32_t place = (int32_t)item.second, id = bpe->result[item.first];
    if (symbols[place].id == NONE || symbols[place].next == NONE) continue;
    const moh__merge *merge =
        find_merge(bpe, symbols[place].id, symbols[symbols[place].next].id);
    if (merge == NULL || merge->id != id) continue;
    join(symbols, place, id);
    MOH_TRY(wait(bpe, work, place, err));
    if (symbols[place].previous == NONE) continue;
    MOH_TRY(wait(bpe, work, symbols[place].previous, err));
  }
  return MOH_OK;
}

static moh_status reserve(moh__bpe_work *work, size_t n, moh_error *err) {
  if (n <= work->capacity) return MOH_OK;
  size_t capacity = n < 256 ? 256 : n;
  symbol *symbols = reallocarray(work->symbols, capacity, sizeof(symbol));
  if (symbols == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory to encode a word of %zu bytes", n);
  }
  work->symbols = symbols;
  work->capacity = capacity;
  return MOH_OK;
}

/* A letter that the vocabulary lacks; without an unknown token it is left
 * out, as the library does it: SmolLM2 lacks some control characters. */
static moh_status add_unknown(const moh__tokenizer *tokenizer, size_t first,
                              moh__ids *ids, moh_error *err) {
  int32_t id = tokenizer->unknown;
  bool again = ids->n > first && ids->ids[ids->n - 1] == id;
  if (id < 0 || (tokenizer->bpe->fuse_unknown && again)) return MOH_OK;
  return moh__ids_push(ids, id, err);
}

static bool has_bytes(const moh__bpe *bpe, moh__text letter) {
  for (size_t i = 0; i < letter.n; i++) {
    if (bpe->byte_id[(unsigned char)letter.bytes[i]] < 0) return false;
  }
  return true;
}

static moh_status add_bytes(const moh__bpe *bpe, moh__text letter,
                            moh__ids *ids, moh_error *err) {
  for (size_t i = 0; i < letter.n; i++) {
    MOH_TRY(moh__ids_push(ids, bpe->byte_id[(unsigned char)letter.bytes[i]],
                          err));
  }
  return MOH_OK;
}

/* The token of a character. A special one is none: text must not become a
 * control token. */
static int32_t find_letter(const moh__tokenizer *tokenizer,
                           moh__text letter) {
  if (tokenizer->bpe->of_bytes) return -1;
  int32_t id = moh__vocab_find(&tokenizer->vocab, letter);
  return id >= 0 && tokenizer->is_special[id] ? -1 : id;
}

/* The tokens of the letters of a word, and of bytes that are not UTF-8. */
static moh_status start_ids(const moh__tokenizer *tokenizer, moh__text word,
                            moh__ids *ids, moh_error *err) {
  const moh__bpe *bpe = tokenizer->bpe;
  size_t first = ids->n, n = 1;
  uint32_t code;
  for (size_t at = 0; at < word.n; at += n) {
    moh__text rest = moh__text_part(word, at, word.n);
    if (!bpe->of_bytes) n = moh__utf8_next(rest, &code);
    if (n == 0) n = 1;
    moh__text letter = moh__text_part(rest, 0, n);
    int32_t id = find_letter(tokenizer, letter);
    if (id >= 0) {
      MOH_TRY(moh__ids_push(ids, id, err));
    } else if (has_bytes(bpe, letter)) {
      MOH_TRY(add_bytes(bpe, letter, ids, err));
    } else {
      MOH_TRY(add_unknown(tokenizer, first, ids, err));
    }
  }
  return MOH_OK;
}

/* Replaces the ids from `first` on, those of bytes, by what they merge to.
 */
static moh_status merge_ids(const moh__bpe *bpe, moh__bpe_work *work,
                            moh__ids *ids, size_t first, moh_error *err) {
  int32_t n = (int32_t)(ids->n - first);
  if (n < 2) return MOH_OK;
  MOH_TRY(reserve(work, (size_t)n, err));
  for (int32_t i = 0; i < n; i++) {
    int32_t next = i + 1 < n ? i + 1 : NONE;
    work->symbols[i] = (symbol){ids->ids[first + (size_t)i], i - 1, next};
  }
  work->heap.n = 0;
  for (int32_t i = 0; i + 1 < n; i++) MOH_TRY(wait(bpe, work, i, err));
  MOH_TRY(merge_all(bpe, work, err));
  ids->n = first;
  for (int32_t i = 0; i != NONE; i = work->symbols[i].next) {
    ids->ids[ids->n++] = work->symbols[i].id;
  }
  return MOH_OK;
}

/* ---- words ------------------------------------------------------------
 */

/* The token whose spelling is the whole word, -1 when there is none. A
 * special one is none: text must not become a control token. */
static moh_status find_word(const moh__tokenizer *tokenizer, moh__text word,
                            int32_t *id, moh_error *err) {
  char *spelled = malloc(2 * word.n + 1);
  bool of_bytes = tokenizer->bpe->of_bytes;
  size_t n = 0;
  if (spelled == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory to encode a word of %zu bytes", word.n);
  }
  for (size_t i = 0; of_bytes && i < word.n; i++) {
    n += moh__byte_char((unsigned char)word.bytes[i], spelled + n);
  }
  *id = moh__vocab_find(&tokenizer->vocab,
                        of_bytes ? (moh__text){spelled, n} : word);
  if (*id >= 0 && tokenizer->is_special[*id]) *id = -1;
  free(spelled);
  return MOH_OK;
}

static moh_status encode_word(const moh__tokenizer *tokenizer,
                              moh__bpe_work *work, moh__text word,
                              moh__ids *ids, moh_error *err) {
  size_t first = ids->n;
  if (tokenizer->bpe->ignore_merges) {
    int32_t id;
    MOH_TRY(find_word(tokenizer, word, &id, err));
    if (id >= 0) return moh__ids_push(ids, id, err);
  }
  MOH_TRY(start_ids(tokenizer, word, ids, err));
  return merge_ids(tokenizer->bpe, work, ids, first, err);
}

/* The ids from `first` on are those of the word. */
static void remember(slot *at, moh__text word, const moh__ids *ids,
                     size_t first) {
  size_t n = ids->n - first;
  if (word.n > CACHE_BYTES || n > CACHE_IDS) return;
  at->n_bytes = (uint8_t)word.n;
  at->n_ids = (uint8_t)n;
  memcpy(at->bytes, word.bytes, word.n);
  if (n > 0) memcpy(at->ids, ids->ids + first, n * sizeof(*ids->ids));
}

/* Through the cache. */
static moh_status encode_known(const moh__tokenizer *tokenizer,
                               moh__bpe_work *work, moh__text word,
                               moh__ids *ids, moh_error *err) {
  size_t first = ids->n;
  slot *at = &work->cache[moh__text_hash(word) & (CACHE_SLOTS - 1)];
  if (at->n_bytes == word.n && memcmp(at->bytes, word.bytes, word.n) == 0) {
    for (size_t i = 0; i < at->n_ids; i++) {
      MOH_TRY(moh__ids_push(ids, at->ids[i], err));
    }
    return MOH_OK;
  }
  MOH_TRY(encode_word(tokenizer, work, word, ids, err));
  remember(at, word, ids, first);
  return MOH_OK;
}

/* Whether a character at `at` begins what is merged by itself. */
static bool cuts_at(const moh__bpe *bpe, moh__text word, size_t at) {
  for (int i = 0; i < MOH__BPE_CUTS; i++) {
    moh__text blank = moh__bpe_blanks[i];
    if (!bpe->cuts[i]) continue;
    moh__text rest = moh__text_part(word, at, word.n);
    if (!moh__text_starts(rest, blank)) continue;
    moh__text before =
        moh__text_part(word, at < blank.n ? 0 : at - blank.n, at);
    if (!moh__text_starts(before, blank)) return true;
  }
  return false;
}

/* The length of a word's front part that is encoded by itself. */
static size_t part_of(const moh__bpe *bpe, moh__text word) {
  size_t n = word.n < MOH__BPE_WORD_MAX ? word.n : MOH__BPE_WORD_MAX;
  if (bpe->cuts[0] || bpe->cuts[1]) {
    for (size_t at = 1; at < n; at++) {
      if (cuts_at(bpe, word, at)) return at;
    }
  }
  if (bpe->of_bytes || n == word.n) return n;
  while (n > 1 && ((unsigned char)word.bytes[n] & 0xC0) == 0x80) n--;
  return n;
}

moh_status moh__bpe_encode(const moh__tokenizer *tokenizer,
                           moh__bpe_work *work, moh__text word, moh__ids *ids,
                           moh_error *err) {
  while (word.n > 0) {
    moh__text part = word;
    part.n = part_of(tokenizer->bpe, word);
    MOH_TRY(encode_known(tokenizer, work, part, ids, err));
    word = moh__text_part(word, part.n, word.n);
  }
  return MOH_OK;
}

moh_status moh__bpe_encode_bytes(const moh__tokenizer *tokenizer,
                                 moh__text bytes, moh__ids *ids,
                                 moh_error *err) {
  bool one = !tokenizer->bpe->of_bytes && !has_bytes(tokenizer->bpe, bytes);
  if (one) return add_unknown(tokenizer, ids->n, ids, err);
  return start_ids(tokenizer, bytes, ids, err);
}
