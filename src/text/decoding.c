/* Decoding: the rules by which tokens of words are joined to text, and
 * those of tokens that are simply put one behind the other. */
#include "text/decoding.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

void moh__decoding_init(moh__decoding *d, const moh__tokenizer *tokenizer,
                        bool skip_special) {
  *d = (moh__decoding){.tokenizer = tokenizer, .skip_special = skip_special};
}

void moh__decoding_free(moh__decoding *d) {
  moh__buffer_free(&d->text);
  moh__decoding_init(d, d->tokenizer, d->skip_special);
}

/* Into the memory that it has. */
moh_status moh__decoding_copy(moh__decoding *d, const moh__decoding *other,
                              moh_error *err) {
  d->text.n = 0;
  if (other->text.bytes != NULL)
    MOH_TRY(moh__buffer_add(&d->text, moh__buffer_text(&other->text), err));
  moh__decoding copy = *other;
  copy.text = d->text;
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
  moh__text text = moh__buffer_text(&d->text);
  for (size_t i = 0; i < d->tokenizer->added.n; i++) {
    moh__text added = d->tokenizer->added.tokens[i].text;
    for (size_t k = 1; k < added.n && k <= text.n; k++) {
      moh__text tail = moh__text_part(added, k, added.n);
      const char *behind = text.bytes + text.n - k;
      if (!moh__text_starts(token, tail)) continue;
      if (memcmp(behind, added.bytes, k) == 0) return true;
    }
  }
  return false;
}

/* The text without the characters that its front still has to lose. */
static moh__text strip(moh__decoding *d, moh__text token) {
  const moh__decoder *decoder = &d->tokenizer->decoder;
  while (!d->has_front && d->n_stripped < decoder->n_strip &&
         moh__text_starts(token, decoder->strip)) {
    token = moh__text_part(token, decoder->strip.n, token.n);
    d->n_stripped++;
  }
  d->has_front |= token.n > 0;
  return token;
}

static moh_status join_token(moh__decoding *d, moh__text token, bool special,
                             moh_error *err) {
  const moh__decoder *decoder = &d->tokenizer->decoder;
  bool glued = !d->started || decoder->joining == MOH__JOIN_FUSE;
  if (decoder->joining == MOH__JOIN_WORD_PIECE) {
    if (d->started && moh__text_starts(token, decoder->prefix)) {
      token = moh__text_part(token, decoder->prefix.n, token.n);
      glued = true;
      d->glue_next = false;
    } else if (decoder->cleanup && is_glued(d, token)) {
      glued = glued || !makes_added(d, token);
    }
  }
  if (special) d->quote_open = d->glue_next = false;
  d->started = true;
  if (!glued) MOH_TRY(moh__buffer_add(&d->text, moh__text_of(" "), err));
  return moh__buffer_add(&d->text, strip(d, token), err);
}

/* The first token of a text, when it may stand for less there. */
static moh_status join_first(moh__decoding *d, int32_t id, bool special,
                             moh_error *err) {
  const moh__tokenizer *tokenizer = d->tokenizer;
  const json_t *model = json_object_get(tokenizer->document, "model");
  const json_t *vocab = json_object_get(model, "vocab");
  moh__buffer buffers[2] = {{0}};
  moh__matcher matcher;
  moh__text token;
  MOH_TRY(moh__matcher_open(&matcher, err));
  moh_status status = moh__decoder_token(
      &tokenizer->decoder, &matcher, tokenizer->vocab.words[id],
      moh__is_plain(tokenizer, vocab, id), true, buffers, &token, err);
  if (status == MOH_OK) status = join_token(d, token, special, err);
  moh__buffer_free(&buffers[0]);
  moh__buffer_free(&buffers[1]);
  moh__matcher_close(&matcher);
  return status;
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
  if (!d->started && tokenizer->decoder.first_differs)
    return join_first(d, id, special, err);
  return join_token(d, moh__tokenizer_token(tokenizer, id), special, err);
}

moh_status moh__tokenizer_decode_bytes(const moh__tokenizer *tokenizer,
                                       const int32_t *ids, size_t n,
                                       bool skip_special, char **bytes,
                                       size_t *n_bytes, moh_error *err) {
  moh__decoding d;
  moh__decoding_init(&d, tokenizer, skip_special);
  moh_status status = moh__buffer_add(&d.text, moh__text_of(""), err);
  for (size_t i = 0; i < n && status == MOH_OK; i++) {
    status = moh__decoding_add(&d, ids[i], err);
  }
  if (status != MOH_OK) {
    moh__decoding_free(&d);
    return status;
  }
  *bytes = d.text.bytes;
  *n_bytes = d.text.n;
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
