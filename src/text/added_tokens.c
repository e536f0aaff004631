/* Added tokens: reading them, and finding them in a text. */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
}

/* ---- reading ----------------------------------------------------------- */

static moh_status read_added(moh__added *added, const json_t *object,
                             moh_error *err) {
  const char *content;
  int64_t id;
  MOH_TRY(moh__json_get_string(object, "content", &content, err));
  if (*content == '\0') {
    return moh__fail(err, MOH_ERR_FORMAT, "\"content\" is empty");
  }
  added->text = added->found = moh__text_of(content);
  MOH_TRY(moh__json_get_int(object, "id", 0, MOH__TOKENS_MAX - 1, &id, err));
  added->id = (int32_t)id;
  MOH_TRY(
      moh__json_get_bool(object, "single_word", &added->single_word, err));
  MOH_TRY(moh__json_get_bool(object, "lstrip", &added->lstrip, err));
  MOH_TRY(moh__json_get_bool(object, "rstrip", &added->rstrip, err));
  MOH_TRY(moh__json_get_bool(object, "normalized", &added->normalized, err));
  return moh__json_get_bool(object, "special", &added->special, err);
}

moh_status moh__added_read(moh__added_tokens *added, const json_t *array,
                           moh_error *err) {
  if (moh__is_absent(array)) return MOH_OK;
  if (!json_is_array(array)) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"added_tokens\" is %s, not an array",
                     moh__kind_of(array));
  }
  size_t n = json_array_size(array);
  added->tokens = calloc(n + 1, sizeof(*added->tokens));
  if (added->tokens == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    moh_status status =
        read_added(&added->tokens[i], json_array_get(array, i), err);
    if (status != MOH_OK) {
      return moh__fail_in(err, status, "element %zu of \"added_tokens\"", i);
    }
    added->n = i + 1;
  }
  return MOH_OK;
}

static moh_status normalize(moh__added *added,
                            const moh__normalizer *normalizer,
                            const moh__matcher *matcher, moh_error *err) {
  moh__buffer buffers[2] = {{0}};
  moh__text result = {0};
  moh_status status =
      moh__normalizer_apply(normalizer, matcher, added->text,
                            MOH__FRONT_INSIDE, buffers, &result, err);
  if (status == MOH_OK && result.bytes != added->text.bytes) {
    added->owned = malloc(result.n + 1);
    if (added->owned != NULL) memcpy(added->owned, result.bytes, result.n);
    added->found = (moh__text){added->owned, result.n};
    if (added->owned == NULL) status = no_memory(err);
  }
  moh__buffer_free(&buffers[0]);
  moh__buffer_free(&buffers[1]);
  return status;
}

static moh_status normalize_all(moh__added_tokens *added,
                                const moh__normalizer *normalizer,
                                moh_error *err) {
  moh__matcher matcher;
  moh_status status = MOH_OK;
  if (normalizer == NULL) return MOH_OK;
  MOH_TRY(moh__matcher_open(&matcher, err));
  for (size_t i = 0; i < added->n && status == MOH_OK; i++) {
    if (!added->tokens[i].normalized) continue;
    status = normalize(&added->tokens[i], normalizer, &matcher, err);
  }
  moh__matcher_close(&matcher);
  return status;
}

/* By bytes; of equal ones the first of the file. */
static int compare(const void *a, const void *b) {
  const moh__added *x = *(const moh__added *const *)a;
  const moh__added *y = *(const moh__added *const *)b;
  size_t n = x->found.n < y->found.n ? x->found.n : y->found.n;
  int order = memcmp(x->found.bytes, y->found.bytes, n);
  if (order != 0) return order;
  if (x->found.n != y->found.n) return x->found.n < y->found.n ? -1 : 1;
  return (x > y) - (x < y);
}

static moh_status make_index(moh__added_tokens *added, bool normalized,
                             moh_error *err) {
  moh__added_index *index = &added->index[normalized];
  size_t n = 0;
  index->tokens = calloc(added->n + 1, sizeof(*index->tokens));
  if (index->tokens == NULL) return no_memory(err);
  for (size_t i = 0; i < added->n; i++) {
    const moh__added *token = &added->tokens[i];
    if (token->normalized != normalized || token->found.n == 0) continue;
    index->tokens[n++] = token;
  }
  qsort(index->tokens, n, sizeof(*index->tokens), compare);
  for (size_t byte = 0, i = 0; byte <= 256; byte++) {
    index->start[byte] = (uint32_t)i;
    while (i < n && (unsigned char)index->tokens[i]->found.bytes[0] == byte) {
      i++;
    }
  }
  return MOH_OK;
}

moh_status moh__added_prepare(moh__added_tokens *added,
                              const moh__normalizer *normalizer,
                              moh_error *err) {
  MOH_TRY(normalize_all(added, normalizer, err));
  MOH_TRY(make_index(added, false, err));
  return make_index(added, true, err);
}

void moh__added_free(moh__added_tokens *added) {
  for (size_t i = 0; i < added->n; i++) free(added->tokens[i].owned);
  free(added->tokens);
  free(added->index[0].tokens);
  free(added->index[1].tokens);
  *added = (moh__added_tokens){0};
}

/* ---- finding ----------------------------------------------------------- */

/* The first of the tokens from `from` to `to`, which share k bytes, whose
 * next byte is not less than `byte`. */
static uint32_t lower(const moh__added_index *index, uint32_t from,
                      uint32_t to, size_t k, unsigned byte) {
  while (from < to) {
    uint32_t middle = from + (to - from) / 2;
    moh__text found = index->tokens[middle]->found;
    if (found.n <= k || (unsigned char)found.bytes[k] < byte) {
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return from;
}

/* The longest token at the front of a text, NULL: none. */
static const moh__added *longest(const moh__added_index *index,
                                 moh__text text) {
  unsigned char byte = (unsigned char)text.bytes[0];
  uint32_t from = index->start[byte], to = index->start[byte + 1];
  const moh__added *best = NULL;
  for (size_t k = 1; from < to; k++) {
    if (index->tokens[from]->found.n == k) best = index->tokens[from];
    if (k == text.n) break;
    byte = (unsigned char)text.bytes[k];
    from = lower(index, from, to, k, byte);
    to = lower(index, from, to, k, byte + 1u);
  }
  return best;
}

/* The code point that ends before `at`. */
static uint32_t code_before(moh__text text, size_t at) {
  uint32_t code = 0;
  size_t start = at;
  while (start > 0 && ((unsigned char)text.bytes[--start] & 0xC0) == 0x80) {
  }
  moh__utf8_next(moh__text_part(text, start, at), &code);
  return code;
}

static bool is_single(moh__text text, size_t start, size_t end) {
  uint32_t code = 0;
  if (start > 0 && moh__is_word(code_before(text, start))) return false;
  if (end == text.n) return true;
  moh__utf8_next(moh__text_part(text, end, text.n), &code);
  return !moh__is_word(code);
}

static size_t skip_blanks(moh__text text, size_t at) {
  uint32_t code = 0;
  while (at < text.n) {
    size_t n = moh__utf8_next(moh__text_part(text, at, text.n), &code);
    if (!moh__is_blank(code)) break;
    at += n;
  }
  return at;
}

static size_t skip_blanks_back(moh__text text, size_t at, size_t least) {
  while (at > least && moh__is_blank(code_before(text, at))) {
    while (((unsigned char)text.bytes[--at] & 0xC0) == 0x80) {
    }
  }
  return at;
}

moh__added_match moh__added_find(const moh__added_tokens *added,
                                 bool normalized, bool specials,
                                 moh__text text, size_t from) {
  const moh__added_index *index = &added->index[normalized];
  size_t at = from;
  while (at < text.n) {
    const moh__added *token =
        longest(index, moh__text_part(text, at, text.n));
    if (token == NULL) {
      at++;
      continue;
    }
    size_t start = at, end = at + token->found.n;
    at = end;
    if (token->special && !specials) continue;
    if (token->single_word && !is_single(text, start, end)) continue;
    if (token->lstrip) start = skip_blanks_back(text, start, from);
    if (token->rstrip) end = skip_blanks(text, end);
    return (moh__added_match){token, start, end};
  }
  return (moh__added_match){NULL, text.n, text.n};
}
