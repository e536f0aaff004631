/*
 * Vocabularies with scores, as SentencePiece trains them for BPE: of all
 * pairs of neighbours whose joined text is a token, the one with the highest
 * score is joined. As merges those are all ways to put a token together from
 * two others, the tokens in the order of their scores.
 *
 * Two tokens with the same score would be joined from left to right, for
 * which a list of merges has no words: they are refused.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocab_internal.h"

enum { LETTERS_MAX = 256 }; /* bytes of a token that is put together */

typedef struct merge {
  float score;
  int32_t whole, left, right;
} merge;

typedef struct merges {
  merge *list;
  size_t n, capacity;
} merges;

static moh_status add_merge(merges *m, merge one, moh_error *err) {
  if (m->n == m->capacity) {
    size_t capacity = m->capacity ? 2 * m->capacity : 1024;
    merge *grown = reallocarray(m->list, capacity, sizeof(*grown));
    if (grown == NULL) {
      return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu merges",
                       capacity);
    }
    m->list = grown;
    m->capacity = capacity;
  }
  m->list[m->n++] = one;
  return MOH_OK;
}

static int32_t find_part(const moh__gguf_vocab *vocab,
                         const moh__vocab *words, moh__text part) {
  int32_t id = moh__vocab_find(words, part);
  bool normal =
      id >= 0 && moh__gguf_type(vocab, (size_t)id) == MOH__GGUF_NORMAL;
  return normal ? id : -1;
}

/* All ways to put a token together. */
static moh_status add_ways(merges *m, const moh__gguf_vocab *vocab,
                           const moh__vocab *words, int32_t id,
                           moh_error *err) {
  moh__text whole = words->words[id];
  float score = vocab->scores[id];
  uint32_t code;
  if (!isfinite(score)) {
    return moh__fail(err, MOH_ERR_FORMAT, "the score of token %d is %g", id,
                     (double)score);
  }
  if (whole.n > LETTERS_MAX) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "token %d has %zu bytes; with scores, at most %d can be "
                     "used",
                     id, whole.n, LETTERS_MAX);
  }
  for (size_t at = moh__utf8_next(whole, &code); at < whole.n;) {
    int32_t left = find_part(vocab, words, moh__text_part(whole, 0, at));
    int32_t right = left < 0 ? -1
                             : find_part(vocab, words,
                                         moh__text_part(whole, at, whole.n));
    if (right >= 0) {
      MOH_TRY(add_merge(m, (merge){score, id, left, right}, err));
    }
    at += moh__utf8_next(moh__text_part(whole, at, whole.n), &code);
  }
  return MOH_OK;
}

/* By falling scores; the ways of one token by their left parts. */
static int compare(const void *a, const void *b) {
  const merge *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  if (x->whole != y->whole) return x->whole < y->whole ? -1 : 1;
  return (x->left > y->left) - (x->left < y->left);
}

static moh_status sort(merges *m, const moh__vocab *words, moh_error *err) {
  if (m->n > 0) qsort(m->list, m->n, sizeof(*m->list), compare);
  for (size_t i = 1; i < m->n; i++) {
    const merge *x = &m->list[i - 1], *y = &m->list[i];
    if (x->whole == y->whole || x->score != y->score) continue;
    moh__text a = words->words[x->whole], b = words->words[y->whole];
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "the tokens \"%.*s\" and \"%.*s\" have the same score, "
                     "so their merges have no order",
                     moh__quoted(a), a.bytes, moh__quoted(b), b.bytes);
  }
  return MOH_OK;
}

static moh_status find_merges(merges *m, const moh__gguf_vocab *vocab,
                              const moh__vocab *words, moh_error *err) {
  if (vocab->scores == NULL) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "a vocabulary with neither merges nor scores");
  }
  for (int32_t id = 0; (size_t)id < words->n; id++) {
    if (moh__gguf_type(vocab, (size_t)id) != MOH__GGUF_NORMAL) continue;
    MOH_TRY(add_ways(m, vocab, words, id, err));
  }
  return sort(m, words, err);
}

static json_t *merges_json(const merges *m, const moh__vocab *words) {
  json_t *array = json_array();
  for (size_t i = 0; i < m->n; i++) {
    moh__text left = words->words[m->list[i].left];
    moh__text right = words->words[m->list[i].right];
    json_t *pair =
        json_pack("[s%, s%]", left.bytes, left.n, right.bytes, right.n);
    if (json_array_append_new(array, pair) == 0) continue;
    json_decref(array);
    return NULL;
  }
  return array;
}

/* ---- the steps around the model ---- */

static json_t *replace(const char *from, const char *to) {
  return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                   "String", from, "content", to);
}

static json_t *normalizer(const char *blank, bool prefix) {
  json_t *steps = json_array();
  int failed = 0;
  if (prefix) {
    failed |= json_array_append_new(
        steps, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", blank));
  }
  if (strcmp(blank, " ") != 0) {
    failed |= json_array_append_new(steps, replace(" ", blank));
  }
  json_t *all =
      json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", steps);
  if (failed == 0) return all;
  json_decref(all);
  return NULL;
}

static json_t *decoder(const char *blank, bool prefix) {
  json_t *steps = json_array();
  int failed = 0;
  if (strcmp(blank, " ") != 0) {
    failed |= json_array_append_new(steps, replace(blank, " "));
  }
  failed |= json_array_append_new(steps,
                                  json_pack("{s:s}", "type", "ByteFallback"));
  failed |= json_array_append_new(steps, json_pack("{s:s}", "type", "Fuse"));
  if (prefix) {
    failed |= json_array_append_new(
        steps, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content",
                         " ", "start", 1, "stop", 0));
  }
  json_t *all =
      json_pack("{s:s, s:o}", "type", "Sequence", "decoders", steps);
  if (failed == 0) return all;
  json_decref(all);
  return NULL;
}

/* Whether a document has these steps and no other ones. */
static bool has_steps(const json_t *document, const char *blank,
                      bool prefix) {
  json_t *front = normalizer(blank, prefix), *back = decoder(blank, prefix);
  bool same =
      moh__same_steps(json_object_get(document, "normalizer"), front) &&
      moh__same_steps(json_object_get(document, "pre_tokenizer"), NULL) &&
      moh__same_steps(json_object_get(document, "decoder"), back);
  json_decref(front);
  json_decref(back);
  return same;
}

const char *moh__scores_blank(const json_t *document, bool *prefix) {
  static const char *const blanks[] = {"\xE2\x96\x81", " "};
  for (int i = 0; i < 4; i++) {
    *prefix = i % 2 == 0;
    if (has_steps(document, blanks[i / 2], *prefix)) return blanks[i / 2];
  }
  return NULL;
}

/* ---- the whole ---- */

static moh_status check_bytes(const moh__gguf_vocab *vocab, bool *has_bytes,
                              moh_error *err) {
  *has_bytes = false;
  for (size_t id = 0; id < vocab->n_tokens; id++) {
    if (moh__gguf_type(vocab, id) != MOH__GGUF_BYTE) continue;
    *has_bytes = true;
    moh__text token = vocab->tokens[id];
    if (moh__byte_token(token) >= 0) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "token %zu, \"%.*s\", is none of the bytes <0x00> to "
                     "<0xFF>",
                     id, moh__quoted(token), token.bytes);
  }
  return MOH_OK;
}

static json_t *unknown_token(const moh__gguf_vocab *vocab) {
  int64_t id = vocab->unk;
  for (size_t i = 0; id < 0 && i < vocab->n_tokens; i++) {
    if (moh__gguf_type(vocab, i) == MOH__GGUF_UNKNOWN) id = (int64_t)i;
  }
  if (id < 0) return json_null();
  return json_stringn(vocab->tokens[id].bytes, vocab->tokens[id].n);
}

static json_t *model(const moh__gguf_vocab *vocab, const moh__vocab *words,
                     bool has_bytes, json_t *list) {
  return json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}",
                   "type", "BPE", "dropout", "unk_token",
                   unknown_token(vocab), "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", 1, "byte_fallback",
                   has_bytes, "ignore_merges", 0, "vocab",
                   moh__vocab_json(words), "merges", list);
}

moh_status moh__scores_document(json_t **out, const moh__gguf_vocab *vocab,
                                const moh__vocab *words, const char *blank,
                                moh_error *err) {
  merges m = {0};
  bool has_bytes, prefix = vocab->add_space_prefix != 0;
  json_t *post, *list = NULL;
  MOH_TRY(check_bytes(vocab, &has_bytes, err));
  MOH_TRY(moh__gguf_ends(&post, vocab, vocab->bos >= 0, err));
  moh_status status = MOH_OK;
  if (vocab->n_merges > 0) {
    list = moh__gguf_merges(vocab);
  } else {
    status = find_merges(&m, vocab, words, err);
    if (status == MOH_OK) list = merges_json(&m, words);
  }
  free(m.list);
  if (status != MOH_OK) {
    json_decref(post);
    return status;
  }
  *out = moh__tokenizer_document(
      (moh__document){.added = moh__gguf_added(vocab),
                      .normalizer = normalizer(blank, prefix),
                      .pre_tokenizer = json_null(),
                      .post_processor = post,
                      .decoder = decoder(blank, prefix),
                      .model = model(vocab, words, has_bytes, list)});
  return MOH_OK;
}
