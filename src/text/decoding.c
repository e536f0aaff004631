/* Decoding: the rules by which tokens of words are joined to text, and
 * those of tokens that are simply put one behind the other. */
#include "text/decoding.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/tokenizer_internal.h"

void moh__decoding_init(moh__decoding *d, const moh__tokenizer *tokenizer,
                        bool skip_special) {
  *d = (moh__decoding){.tokenizer = tokenizer, .skip_special = skip_special};
}

void moh__decoding_free(moh__decoding *d) {
  free(d->bytes);
  *d = (moh__decoding){.tokenizer = d->tokenizer};
}

static moh_status append(moh__decoding *d, moh__text text, moh_error *err) {
  size_t needed;
  bool fits = moh__add_size(d->n, text.n, &needed) &&
              moh__add_size(needed, 1, &needed);
  if (fits && (d->bytes == NULL || needed > d->capacity)) {
    size_t capacity = needed < 128 ? 128 : needed;
    fits = moh__add_size(capacity, capacity / 2, &capacity);
    char *grown = fits ? realloc(d->bytes, capacity) : NULL;
    fits = grown != NULL;
    if (fits) d->bytes = grown;
    if (fits) d->capacity = capacity;
  }
  if (!fits) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a decoded text");
  }
  if (text.n > 0) memcpy(d->bytes + d->n, text.bytes, text.n);
  d->n += text.n;
  d->bytes[d->n] = '\0';
  return MOH_OK;
}

/* Into the memory that it has. */
moh_status moh__decoding_copy(moh__decoding *d, const moh__decoding *other,
                              moh_error *err) {
  d->n = 0;
  if (other->bytes != NULL)
    MOH_TRY(append(d, (moh__text){other->bytes, other->n}, err));
  moh__decoding copy = *other;
  copy.bytes = d->bytes;
  copy.capacity = d->capacity;
  *d = copy;
  return MOH_OK;
}

static bool is_one_of(moh__text token, const char *set) {
  return token.n == 1 && token.bytes != NULL &&
         memchr(set, token.bytes[0], strlen(set)) != NULL;
}

/* Whether a token stands close to what is before it, as in English text. */
static bool is_glued(moh__decoding *d, moh__text token) {
  bool glued = d->glue_next || is_one_of(token, ".,!?;:)]}%'-/");
  d->glue_next = is_one_of(token, "([{'-/");
  if (is_one_of(token, "\"")) {
    glued = glued || d->quote_open;
    d->quote_open = !d->quote_open;
    d->glue_next = d->quote_open;
  }
  return glued;
}

/* Whether an added token would come about where `token` is put behind the
 * text, as [PAD] from [, PAD, and ]. */
static bool makes_added(const moh__decoding *d, moh__text token) {
  for (size_t i = 0; i < d->tokenizer->n_added; i++) {
    moh__text added = d->tokenizer->added[i].text;
    for (size_t k = 1; k < added.n && k <= d->n; k++) {
      moh__text tail = moh__text_part(added, k, added.n);
      const char *behind = d->bytes + d->n - k;
      if (!moh__text_starts(token, tail)) continue;
      if (memcmp(behind, added.bytes, k) == 0) return true;
    }
  }
  return false;
}

static moh_status join_token(moh__decoding *d, moh__text token, bool special,
                             moh_error *err) {
  const moh__tokenizer *tokenizer = d->tokenizer;
  bool glued = !d->started || tokenizer->decoder == MOH__DECODE_FUSE;
  if (tokenizer->decoder == MOH__DECODE_WORD_PIECE) {
    if (d->started && moh__text_starts(token, tokenizer->prefix)) {
      token = moh__text_part(token, tokenizer->prefix.n, token.n);
      glued = true;
      d->glue_next = false;
    } else if (tokenizer->cleanup && is_glued(d, token)) {
      glued = glued || !makes_added(d, token);
    }
  }
  if (special) d->quote_open = d->glue_next = false;
  d->started = true;
  if (!glued) MOH_TRY(append(d, moh__text_of(" "), err));
  return append(d, token, err);
}

moh_status moh__decoding_add(moh__decoding *d, int32_t id, moh_error *err) {
  const moh__tokenizer *tokenizer = d->tokenizer;
  if (id < 0 || id >= moh__tokenizer_size(tokenizer)) {
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "token %d at place %zu is outside the vocabulary of "
                     "%d tokens",
                     id, d->n_tokens, moh__tokenizer_size(tokenizer));
  }
  d->n_tokens++;
  bool special = tokenizer->is_special[id];
  if (special && d->skip_special) return MOH_OK;
  return join_token(d, moh__tokenizer_token(tokenizer, id), special, err);
}

moh_status moh__tokenizer_decode_bytes(const moh__tokenizer *tokenizer,
                                       const int32_t *ids, size_t n,
                                       bool skip_special, char **bytes,
                                       size_t *n_bytes, moh_error *err) {
  moh__decoding d;
  moh__decoding_init(&d, tokenizer, skip_special);
  moh_status status = append(&d, moh__text_of(""), err);
  for (size_t i = 0; i < n && status == MOH_OK; i++) {
    status = moh__decoding_add(&d, ids[i], err);
  }
  if (status != MOH_OK) {
    moh__decoding_free(&d);
    return status;
  }
  *bytes = d.bytes;
  *n_bytes = d.n;
  return MOH_OK;
}

moh_status moh__tokenizer_decode(const moh__tokenizer *tokenizer,
                                 const int32_t *ids, size_t n,
                                 bool skip_special, char **text,
                                 moh_error *err) {
  size_t n_bytes;
  return moh__tokenizer_decode_bytes(tokenizer, ids, n, skip_special, text,
                                     &n_bytes, err);
}
