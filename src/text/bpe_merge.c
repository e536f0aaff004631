/*
 * Finding merges. Each pair of neighbours has its count and the list of
 * words in which it was seen; joining the most frequent pair looks at those
 * words only and corrects the counts of the pairs around it. The queue
 * holds each pair with a count that may be out of date, never too low: when
 * such a pair comes up, it goes back with its count of now.
 */
#include "text/bpe_merge.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1, LEAST_COUNT = 2 };

/* ---- tokens -----------------------------------------------------------
 */

/* Takes over the spelling. */
static moh_status add_token(moh__bpe_tokens *tokens, char *spelling,
                            size_t n, moh_error *err) {
  if (spelling == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a vocabulary");
  }
  tokens->owned[tokens->n_owned++] = spelling;
  return moh__vocab_add(&tokens->words, (moh__text){spelling, n}, err);
}

moh_status moh__bpe_tokens_start(moh__bpe_tokens *tokens, size_t n_vocab,
                                 moh_error *err) {
  *tokens = (moh__bpe_tokens){0};
  tokens->owned = calloc(n_vocab, sizeof(*tokens->owned));
  tokens->merges = calloc(n_vocab, sizeof(*tokens->merges));
  if (tokens->owned == NULL || tokens->merges == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu tokens",
                     n_vocab);
  }
  MOH_TRY(moh__vocab_add(&tokens->words, moh__text_of("</s>"), err));
  for (uint32_t code = 0; code < 0x200; code++) {
    int byte = moh__char_byte(code);
    char utf8[2];
    if (byte < 0) continue;
    size_t n = moh__byte_char((unsigned char)byte, utf8);
    MOH_TRY(add_token(tokens, strndup(utf8, n), n, err));
  }
  return MOH_OK;
}

void moh__bpe_tokens_free(moh__bpe_tokens *tokens) {
  for (size_t i = 0; i < tokens->n_owned; i++) free(tokens->owned[i]);
  free(tokens->owned);
  free(tokens->merges);
  moh__vocab_free(&tokens->words);
}

/*
 * The token of two together. It is new: a token is the result of merges
 * inside its own letters only, which go the same way wherever the letters
 * stand, so no other pair makes the same token.
 */
static moh_status join_tokens(moh__bpe_tokens *tokens, uint64_t pair,
                              int32_t *id, moh_error *err) {
  moh__text left = tokens->words.words[pair >> 32];
  moh__text right = tokens->words.words[pair & UINT32_MAX];
  char *whole = malloc(left.n + right.n);
  if (whole != NULL) {
    memcpy(whole, left.bytes, left.n);
    memcpy(whole + left.n, right.bytes, right.n);
  }
  *id = (int32_t)tokens->words.n;
  tokens->merges[tokens->n_merges++] = pair;
  return add_token(tokens, whole, left.n + right.n, err);
}

/* ---- pairs ------------------------------------------------------------
 */

typedef struct pair {
  uint64_t key;  /* moh__pair_of */
  int64_t count; /* in all texts */
  int32_t seen;  /* first of its sightings, NONE: none */
  bool used;     /* the slot is */
  bool touched;  /* in the list of pairs that the merge made */
} pair;

/* A word in which a pair is, or was. */
typedef struct sighting {
  int32_t word, next;
} sighting;

typedef struct merger {
  moh__bpe_tokens *tokens;
  const uint64_t *counts;
  int32_t *symbols; /* tokens of all words, one word after the other */
  size_t *start;    /* [n_words + 1] in symbols */
  uint32_t *length; /* [n_words] symbols that are left of a word */
  size_t n_words;
  pair *pairs; /* open addressing */
  size_t n_slots, n_pairs;
  sighting *sightings;
  size_t n_sightings, capacity;
  int32_t unused;    /* first of the sightings that are free again */
  uint64_t *touched; /* keys */
  size_t n_touched, touched_capacity;
  moh__heap heap; /* (-count, key) */
} merger;

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY,
                   "no memory to train a tokenizer; use less text");
}

static pair *slot_of(const merger *m, uint64_t key) {
  size_t mask = m->n_slots - 1, at = moh__pair_slot(key, m->n_slots);
  while (m->pairs[at].used && m->pairs[at].key != key) at = (at + 1) & mask;
  return &m->pairs[at];
}

static moh_status grow_pairs(merger *m, moh_error *err) {
  pair *old = m->pairs;
  size_t n_old = m->n_slots;
  pair *pairs = calloc(2 * n_old, sizeof(*pairs));
  if (pairs == NULL) return no_memory(err);
  m->pairs = pairs;
  m->n_slots = 2 * n_old;
  for (size_t i = 0; i < n_old; i++) {
    if (old[i].used) *slot_of(m, old[i].key) = old[i];
  }
  free(old);
  return MOH_OK;
}

/* Finds a pair, or makes it with count 0. It moves when others are made. */
static moh_status get_pair(merger *m, int32_t left, int32_t right,
                           pair **out, moh_error *err) {
  uint64_t key = moh__pair_of(left, right);
  *out = slot_of(m, key);
  if ((*out)->used) return MOH_OK;
  if (2 * m->n_pairs >= m->n_slots) {
    MOH_TRY(grow_pairs(m, err));
    *out = slot_of(m, key);
  }
  **out = (pair){.key = key, .seen = NONE, .used = true};
  m->n_pairs++;
  return MOH_OK;
}

static moh_status grow_sightings(merger *m, moh_error *err) {
  size_t capacity = m->capacity + m->capacity / 2 + 1024;
  if (capacity > INT32_MAX) return no_memory(err);
  sighting *grown = reallocarray(m->sightings, capacity, sizeof(*grown));
  if (grown == NULL) return no_memory(err);
  m->sightings = grown;
  m->capacity = capacity;
  return MOH_OK;
}

/* Notes that a word has a pair. Words come one after the other, so looking
 * at the last one keeps a word from being there often. */
static moh_status see(merger *m, pair *p, int32_t word, moh_error *err) {
  if (p->seen != NONE && m->sightings[p->seen].word == word) return MOH_OK;
  int32_t at = m->unused;
  if (at != NONE) {
    m->unused = m->sightings[at].next;
  } else {
    if (m->n_sightings == m->capacity) MOH_TRY(grow_sightings(m, err));
    at = (int32_t)m->n_sightings++;
  }
  m->sightings[at] = (sighting){word, p->seen};
  p->seen = at;
  return MOH_OK;
}

/* The list of touched pairs gets one more. */
static moh_status touch(merger *m, pair *p, moh_error *err) {
  if (p->touched) return MOH_OK;
  if (m->n_touched == m->touched_capacity) {
    size_t capacity = 2 * m->touched_capacity + 1024;
    uint64_t *grown = reallocarray(m->touched, capacity, sizeof(*grown));
    if (grown == NULL) return no_memory(err);
    m->touched = grown;
    m->touched_capacity = capacity;
  }
  m->touched[m->n_touched++] = p->key;
  p->touched = true;
  return MOH_OK;
}

/* A word has a pair once more, or once less. */
static moh_status gain(merger *m, int32_t left, int32_t right, int32_t word,
                       moh_error *err) {
  pair *p;
  MOH_TRY(get_pair(m, left, right, &p, err));
  p->count += (int64_t)m->counts[word];
  MOH_TRY(touch(m, p, err));
  return see(m, p, word, err);
}

static void lose(merger *m, int32_t left, int32_t right, int32_t word) {
  pair *p = slot_of(m, moh__pair_of(left, right));
  p->count -= (int64_t)m->counts[word];
}

/* Puts what was touched into the queue. */
static moh_status queue_touched(merger *m, moh_error *err) {
  for (size_t i = 0; i < m->n_touched; i++) {
    pair *p = slot_of(m, m->touched[i]);
    p->touched = false;
    if (p->count <= 0) continue;
    MOH_TRY(moh__heap_push(&m->heap, UINT64_MAX - (uint64_t)p->count,
                           p->key, err));
  }
  m->n_touched = 0;
  return MOH_OK;
}

/* ---- words ------------------------------------------------------------
 */

static moh_status start_words(merger *m, const moh__vocab *words,
                              moh_error *err) {
  size_t n_symbols = 0;
  for (size_t w = 0; w < words->n; w++) n_symbols += words->words[w].n;
  m->n_words = words->n;
  m->symbols = malloc((n_symbols + 1) * sizeof(*m->symbols));
  m->start = calloc(words->n + 1, sizeof(*m->start));
  m->length = calloc(words->n + 1, sizeof(*m->length));
  m->n_slots = 1 << 12;
  m->pairs = calloc(m->n_slots, sizeof(*m->pairs));
  if (!m->symbols || !m->start || !m->length || !m->pairs) {
    return no_memory(err);
  }
  int32_t ids[256];
  for (int byte = 0; byte < 256; byte++) {
    char utf8[2];
    size_t n = moh__byte_char((unsigned char)byte, utf8);
    ids[byte] = moh__vocab_find(&m->tokens->words, (moh__text){utf8, n});
  }
  int32_t *symbol = m->symbols;
  for (size_t w = 0; w < words->n; w++) {
    moh__text word = words->words[w];
    for (size_t i = 0; i < word.n; i++) {
      *symbol++ = ids[(unsigned char)word.bytes[i]];
    }
    m->length[w] = (uint32_t)word.n;
    m->start[w + 1] = m->start[w] + word.n;
  }
  return MOH_OK;
}

static moh_status count_pairs(merger *m, moh_error *err) {
  for (size_t w = 0; w < m->n_words; w++) {
    const int32_t *symbols = m->symbols + m->start[w];
    for (size_t i = 0; i + 1 < m->length[w]; i++) {
      MOH_TRY(gain(m, symbols[i], symbols[i + 1], (int32_t)w, err));
    }
  }
  return queue_touched(m, err);
}

/* Joins a pair wherever a word has it, from left to right. Pairs that lie
 * over each other, as two of aa in aaa, were counted each; what the merge
 * leaves of the pair's own count does not matter, as it cannot come back.
 */
static moh_status merge_word(merger *m, int32_t word, int32_t left,
                             int32_t right, int32_t id, moh_error *err) {
  int32_t *symbols = m->symbols + m->start[word];
  size_t n = m->length[word], kept = 0;
  for (size_t i = 0; i < n; i++) {
    bool here = i + 1 < n && symbols[i] == left && symbols[i + 1] == right;
    if (here && kept > 0) {
      lose(m, symbols[kept - 1], left, word);
      MOH_TRY(gain(m, symbols[kept - 1], id, word, err));
    }
    if (here && i + 2 < n) {
      lose(m, right, symbols[i + 2], word);
      MOH_TRY(gain(m, id, symbols[i + 2], word, err));
    }
    symbols[kept++] = here ? id : symbols[i];
    i += here;
  }
  m->length[word] = (uint32_t)kept;
  return MOH_OK;
}

/* The words of a merged pair; its sightings are free again. */
static moh_status merge_words(merger *m, uint64_t key, int32_t id,
                              moh_error *err) {
  int32_t left = (int32_t)(key >> 32), right = (int32_t)(key & UINT32_MAX);
  int32_t at = slot_of(m, key)->seen;
  slot_of(m, key)->seen = NONE;
  while (at != NONE) {
    sighting here = m->sightings[at];
    MOH_TRY(merge_word(m, here.word, left, right, id, err));
    m->sightings[at].next = m->unused;
    m->unused = at;
    at = here.next;
  }
  return queue_touched(m, err);
}

/* ---- the whole --------------------------------------------------------
 */

/* The most frequent pair; false when none occurs often enough. */
static moh_status next_pair(merger *m, uint64_t *key, bool *found,
                            moh_error *err) {
  moh__heap_item item;
  *found = false;
  while (!*found && moh__heap_pop(&m->heap, &item)) {
    int64_t count = slot_of(m, item.second)->count;
    uint64_t order = UINT64_MAX - (uint64_t)count;
    if (count < LEAST_COUNT) continue;
    *found = item.first == order;
    *key = item.second;
    if (!*found) MOH_TRY(moh__heap_push(&m->heap, order, *key, err));
  }
  return MOH_OK;
}

static moh_status merge_all(merger *m, size_t n_vocab, moh_error *err) {
  while (m->tokens->words.n < n_vocab) {
    uint64_t key;
    bool found;
    int32_t id;
    MOH_TRY(next_pair(m, &key, &found, err));
    if (!found) break;
    MOH_TRY(join_tokens(m->tokens, key, &id, err));
    MOH_TRY(merge_words(m, key, id, err));
  }
  return MOH_OK;
}

static void free_merger(merger *m) {
  free(m->symbols);
  free(m->start);
  free(m->length);
  free(m->pairs);
  free(m->sightings);
  free(m->touched);
  moh__heap_free(&m->heap);
}

moh_status moh__bpe_merge(moh__bpe_tokens *tokens, const moh__vocab *words,
                          const uint64_t *counts, size_t n_vocab,
                          moh_error *err) {
  merger m = {.tokens = tokens, .counts = counts, .unused = NONE};
  moh_status status = start_words(&m, words, err);
  if (status == MOH_OK) status = count_pairs(&m, err);
  if (status == MOH_OK) status = merge_all(&m, n_vocab, err);
  free_merger(&m);
  return status;
}
