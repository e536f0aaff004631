/*
 * The vocabulary, a table of words and their ids; and making one from texts:
 * a tokenizer with the wanted pre-tokenizer and hardly a word cuts the texts,
 * the pieces are collected and sorted, and the document with all of them is
 * read as a file would be.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/tokenizer_internal.h"

/* ---- vocabulary ------------------------------------------------------- */

void moh__vocab_free(moh__vocab *vocab) {
  free(vocab->words);
  free(vocab->slots);
  *vocab = (moh__vocab){0};
}

/* The slot where a word is, or would be. */
static size_t slot_of(const moh__vocab *vocab, moh__text word) {
  size_t mask = vocab->n_slots - 1;
  size_t slot = (size_t)moh__text_hash(word) & mask;
  for (; vocab->slots[slot] >= 0; slot = (slot + 1) & mask) {
    moh__text there = vocab->words[vocab->slots[slot]];
    if (there.n != word.n) continue;
    if (memcmp(there.bytes, word.bytes, word.n) == 0) break;
  }
  return slot;
}

int32_t moh__vocab_find(const moh__vocab *vocab, moh__text word) {
  return vocab->n_slots == 0 ? -1 : vocab->slots[slot_of(vocab, word)];
}

/* Doubles the room for words; the table stays at most half full. */
static moh_status grow(moh__vocab *vocab, moh_error *err) {
  size_t capacity = vocab->capacity ? 2 * vocab->capacity : 256;
  moh__text *words = realloc(vocab->words, capacity * sizeof(*words));
  if (words != NULL) vocab->words = words;
  int32_t *slots = malloc(2 * capacity * sizeof(*slots));
  if (words == NULL || slots == NULL) {
    free(slots);
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for a vocabulary of %zu words", capacity);
  }
  free(vocab->slots);
  vocab->slots = slots;
  vocab->capacity = capacity;
  vocab->n_slots = 2 * capacity;
  memset(slots, 0xFF, vocab->n_slots * sizeof(*slots));
  for (size_t i = 0; i < vocab->n; i++) {
    slots[slot_of(vocab, words[i])] = (int32_t)i;
  }
  return MOH_OK;
}

moh_status moh__vocab_add(moh__vocab *vocab, moh__text word,
                          moh_error *err) {
  if (moh__vocab_find(vocab, word) >= 0) return MOH_OK;
  if (vocab->n == MOH__TOKENS_MAX) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "the vocabulary would have more than %d tokens; use "
                     "less text or cut it finer",
                     MOH__TOKENS_MAX);
  }
  if (vocab->n == vocab->capacity) MOH_TRY(grow(vocab, err));
  vocab->slots[slot_of(vocab, word)] = (int32_t)vocab->n;
  vocab->words[vocab->n++] = word;
  return MOH_OK;
}

/* ---- documents -------------------------------------------------------- */

json_t *moh__special_token(const char *content, json_int_t id) {
  return json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id,
                   "content", content, "single_word", 0, "lstrip", 0,
                   "rstrip", 0, "normalized", 0, "special", 1);
}

/* {"type": "Split"}: every match of the pattern is a piece. */
static json_t *split_step(const char *pattern) {
  return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern",
                   "Regex", pattern, "behavior", "Isolated", "invert", 0);
}

json_t *moh__vocab_json(const moh__vocab *vocab) {
  json_t *object = json_object();
  for (size_t i = 0; i < vocab->n; i++) {
    moh__text word = vocab->words[i];
    char *key = strndup(word.bytes, word.n);
    json_t *id = json_integer((json_int_t)i);
    bool done = key != NULL && json_object_set_new(object, key, id) == 0;
    free(key);
    if (done) continue;
    json_decref(object);
    return NULL;
  }
  return object;
}

json_t *moh__tokenizer_document(moh__document p) {
  return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
                   "1.0", "truncation", "padding", "added_tokens", p.added,
                   "normalizer", p.normalizer, "pre_tokenizer",
                   p.pre_tokenizer, "post_processor", p.post_processor,
                   "decoder", p.decoder, "model", p.model);
}

static json_t *word_level(const moh__vocab *vocab) {
  return json_pack("{s:s, s:o, s:s}", "type", "WordLevel", "vocab",
                   moh__vocab_json(vocab), "unk_token", "<unk>");
}

static json_t *words_document(const moh__vocab *vocab) {
  json_int_t end = moh__vocab_find(vocab, moh__text_of("</s>"));
  json_int_t unknown = moh__vocab_find(vocab, moh__text_of("<unk>"));
  json_t *added = json_pack("[o, o]", moh__special_token("</s>", end),
                            moh__special_token("<unk>", unknown));
  json_t *steps = json_pack("[{s:s}, o]", "type", "WhitespaceSplit",
                            split_step("[!-/:-@\\[-`{-~]"));
  return moh__tokenizer_document((moh__document){
      .added = added,
      .normalizer = json_null(),
      .pre_tokenizer =
          json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps),
      .post_processor = json_null(),
      .decoder = json_pack("{s:s, s:s, s:b}", "type", "WordPiece", "prefix",
                           "##", "cleanup", 1),
      .model = word_level(vocab)});
}

/* `<unk>` is not an added token here: in a text it is five characters. */
static json_t *chars_document(const moh__vocab *vocab) {
  return moh__tokenizer_document(
      (moh__document){.added = json_array(),
                      .normalizer = json_null(),
                      .pre_tokenizer = split_step("[\\s\\S]"),
                      .post_processor = json_null(),
                      .decoder = json_pack("{s:s}", "type", "Fuse"),
                      .model = word_level(vocab)});
}

/* ---- training --------------------------------------------------------- */

typedef json_t *document_fn(const moh__vocab *vocab);

/* A word with a NUL in it cannot be a key of a JSON object: it stays
 * unknown. */
static moh_status collect(void *context, moh__piece piece, moh_error *err) {
  bool word = piece.kind == MOH__PIECE_WORD;
  if (!word || memchr(piece.text.bytes, 0, piece.text.n)) return MOH_OK;
  return moh__vocab_add(context, piece.text, err);
}

/* By bytes, unsigned; which is by code points too. */
static int compare_words(const void *a, const void *b) {
  const moh__text *x = a, *y = b;
  int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
  return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* A tokenizer with the words sorted and `<unk>` behind them. */
static moh_status build(moh__tokenizer **out, moh__text *words, size_t n,
                        document_fn *document, moh_error *err) {
  moh__vocab sorted = {0};
  moh_status status = MOH_OK;
  if (n > 0) qsort(words, n, sizeof(*words), compare_words);
  for (size_t i = 0; i < n && status == MOH_OK; i++) {
    status = moh__vocab_add(&sorted, words[i], err);
  }
  if (status == MOH_OK) {
    status = moh__vocab_add(&sorted, moh__text_of("<unk>"), err);
  }
  if (status == MOH_OK) {
    status = moh__tokenizer_from_json(out, document(&sorted), err);
  }
  moh__vocab_free(&sorted);
  return status;
}

/* `first` is in the vocabulary whatever the texts say; NULL: nothing is. */
static moh_status train(moh__tokenizer **out, const char *first,
                        const moh__text *texts, size_t n_texts,
                        document_fn *document, moh_error *err) {
  moh__vocab words = {0};
  moh__tokenizer *empty = NULL;
  moh_status status = MOH_OK;
  if (first != NULL) {
    status = moh__vocab_add(&words, moh__text_of(first), err);
  }
  if (status == MOH_OK) {
    status = build(&empty, words.words, words.n, document, err);
  }
  for (size_t i = 0; i < n_texts && status == MOH_OK; i++) {
    status = moh__tokenizer_cut(empty, texts[i], true, collect, &words, err);
  }
  if (status == MOH_OK) {
    status = build(out, words.words, words.n, document, err);
  }
  moh__tokenizer_free(empty);
  moh__vocab_free(&words);
  return status;
}

moh_status moh__tokenizer_train_words(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err) {
  return train(out, "</s>", texts, n_texts, words_document, err);
}

moh_status moh__tokenizer_train_chars(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err) {
  return train(out, NULL, texts, n_texts, chars_document, err);
}
