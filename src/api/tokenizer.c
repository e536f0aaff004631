/* Tokenizers of moh.h: counted owners, and texts <-> ids. */
#include <stdlib.h>

#include "api/handles.h"
#include "api/sized.h"
#include "text/bpe_trainer.h"

moh_status moh__tokenizer_share(moh_tokenizer **out, moh__tokenizer *inner,
                                moh_error *err) {
  moh_tokenizer *tokenizer = malloc(sizeof(*tokenizer));
  *out = tokenizer;
  if (tokenizer == NULL) {
    moh__tokenizer_free(inner);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
  }
  tokenizer->inner = inner;
  atomic_init(&tokenizer->n_owners, 1);
  return MOH_OK;
}

moh_tokenizer *moh__tokenizer_retain(const moh_tokenizer *tokenizer) {
  moh_tokenizer *shared = (moh_tokenizer *)tokenizer; /* counted only */
  if (shared != NULL) atomic_fetch_add(&shared->n_owners, 1);
  return shared;
}

void moh_tokenizer_free(moh_tokenizer *tokenizer) {
  if (tokenizer == NULL) return;
  if (atomic_fetch_sub(&tokenizer->n_owners, 1) != 1) return;
  moh__tokenizer_free(tokenizer->inner);
  free(tokenizer);
}

moh_status moh__texts_of(moh__text **out, const moh_text *texts, size_t n,
                         moh_error *err) {
  moh__text *own = calloc(n + 1, sizeof(*own));
  *out = own;
  if (own == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu texts", n);
  for (size_t i = 0; i < n; i++) {
    if (texts[i].bytes == NULL && texts[i].n_bytes > 0) {
      free(own);
      *out = NULL;
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "text %zu has %zu bytes at NULL", i,
                       texts[i].n_bytes);
    }
    own[i].bytes = texts[i].bytes == NULL ? "" : texts[i].bytes;
    own[i].n = texts[i].n_bytes;
  }
  return MOH_OK;
}

/* ---- making ---- */

static const moh_tokenizer_options defaults = {
    .size = sizeof(defaults),
    .kind = MOH_TOKENIZER_BPE,
    .vocab_size = MOH__BPE_DEFAULT};

void moh_tokenizer_options_default(moh_tokenizer_options *options,
                                   size_t size) {
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

static moh_status train(moh__tokenizer **inner,
                        const moh_tokenizer_options *o,
                        const moh__text *texts, size_t n, moh_error *err) {
  switch (o->kind) {
    case MOH_TOKENIZER_WORDS:
      return moh__tokenizer_train_words(inner, texts, n, err);
    case MOH_TOKENIZER_CHARS:
      return moh__tokenizer_train_chars(inner, texts, n, err);
    case MOH_TOKENIZER_BPE:
      return moh__tokenizer_train_bpe(inner, texts, n, o->vocab_size, err);
  }
  return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no kind of tokenizer",
                   (int)o->kind);
}

moh_status moh_tokenizer_train(moh_tokenizer **tokenizer,
                               const moh_text *texts, size_t n_texts,
                               const moh_tokenizer_options *options,
                               moh_error *err) {
  MOH__NEED(tokenizer, err);
  *tokenizer = NULL;
  MOH__NEED(texts, err);
  moh_tokenizer_options o = defaults;
  MOH_TRY(moh__options_read(&o, sizeof(o), options, "moh_tokenizer_options",
                            err));
  moh__text *own;
  MOH_TRY(moh__texts_of(&own, texts, n_texts, err));
  moh__tokenizer *inner;
  moh_status status = train(&inner, &o, own, n_texts, err);
  free(own);
  MOH_TRY(status);
  return moh__tokenizer_share(tokenizer, inner, err);
}

moh_status moh_tokenizer_load(moh_tokenizer **tokenizer, const char *path,
                              moh_error *err) {
  MOH__NEED(tokenizer, err);
  *tokenizer = NULL;
  MOH__NEED(path, err);
  moh__tokenizer *inner;
  MOH_TRY(moh__tokenizer_load(&inner, path, err));
  return moh__tokenizer_share(tokenizer, inner, err);
}

moh_status moh_tokenizer_save(const moh_tokenizer *tokenizer,
                              const char *path, moh_error *err) {
  MOH__NEED(tokenizer, err);
  MOH__NEED(path, err);
  return moh__tokenizer_save(tokenizer->inner, path, err);
}

/* ---- asking ---- */

int32_t moh_tokenizer_size(const moh_tokenizer *tokenizer) {
  return tokenizer == NULL ? 0 : moh__tokenizer_size(tokenizer->inner);
}

int32_t moh_tokenizer_end(const moh_tokenizer *tokenizer) {
  return tokenizer == NULL ? -1 : moh__tokenizer_end(tokenizer->inner);
}

int32_t moh_tokenizer_unknown(const moh_tokenizer *tokenizer) {
  return tokenizer == NULL ? -1 : moh__tokenizer_unknown(tokenizer->inner);
}

int32_t moh_token_id(const moh_tokenizer *tokenizer, const char *token) {
  if (tokenizer == NULL || token == NULL) return -1;
  return moh__tokenizer_id(tokenizer->inner, token);
}

const char *moh_token_bytes(const moh_tokenizer *tokenizer, int32_t id,
                            size_t *n_bytes) {
  bool known = id >= 0 && id < moh_tokenizer_size(tokenizer);
  moh__text text = {NULL, 0};
  if (known) text = moh__tokenizer_token(tokenizer->inner, id);
  if (n_bytes != NULL) *n_bytes = text.n;
  return text.bytes;
}

/* ---- texts and ids ---- */

moh_status moh_encode(const moh_tokenizer *tokenizer, moh_text text,
                      bool specials, int32_t **tokens, size_t *n_tokens,
                      moh_error *err) {
  MOH__NEED(tokens, err);
  *tokens = NULL;
  MOH__NEED(n_tokens, err);
  *n_tokens = 0;
  MOH__NEED(tokenizer, err);
  if (text.bytes == NULL && text.n_bytes > 0)
    return moh__fail_null(err, "text.bytes");
  moh__text whole = {text.bytes == NULL ? "" : text.bytes, text.n_bytes};
  moh__ids ids = {0};
  moh_status status = moh__tokenizer_encode(tokenizer->inner, whole,
                                            specials, &ids, err);
  if (status != MOH_OK) {
    moh__ids_free(&ids);
    return status;
  }
  *tokens = ids.ids;
  *n_tokens = ids.n;
  return MOH_OK;
}

moh_status moh_decode(const moh_tokenizer *tokenizer, const int32_t *tokens,
                      size_t n_tokens, bool specials, char **text,
                      size_t *n_bytes, moh_error *err) {
  MOH__NEED(text, err);
  *text = NULL;
  if (n_bytes != NULL) *n_bytes = 0;
  MOH__NEED(tokenizer, err);
  if (n_tokens > 0) MOH__NEED(tokens, err);
  size_t n = 0;
  MOH_TRY(moh__tokenizer_decode_bytes(tokenizer->inner, tokens, n_tokens,
                                      !specials, text, &n, err));
  if (n_bytes != NULL) *n_bytes = n;
  return MOH_OK;
}
