/* Between metadata and the arrays that text/vocab_document.h makes a tokenizer
 * of, and text/vocab_arrays.h of a tokenizer. */
#include "store/gguf_vocab.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "text/vocab_arrays.h"
#include "text/vocab_document.h"

#define PREFIX "tokenizer.ggml."

/* What a vocabulary borrows while it is read. */
typedef struct arrays {
  moh__text *tokens, *merges;
  float *scores;
  int32_t *types;
} arrays;

static void arrays_free(arrays *a) {
  free(a->tokens);
  free(a->merges);
  free(a->scores);
  free(a->types);
}

static bool has(const moh__gguf *file, const char *key) {
  return moh__gguf_find(file, key) != NULL;
}

static moh__text text_of(moh__gguf_string string) {
  return (moh__text){string.bytes, string.n};
}

static moh_status read_text_if(const moh__gguf *file, const char *key,
                               moh__text *out, moh_error *err) {
  moh__gguf_string string;
  *out = (moh__text){"", 0};
  if (!has(file, key)) return MOH_OK;
  MOH_TRY(moh__gguf_get_string(file, key, &string, err));
  *out = text_of(string);
  return MOH_OK;
}

static moh_status read_texts(const moh__gguf *file, const char *key,
                             moh__text **out, size_t *n, moh_error *err) {
  moh__gguf_string *strings = NULL;
  MOH_TRY(moh__gguf_get_strings(file, key, &strings, n, err));
  *out = calloc(*n + 1, sizeof(**out));
  for (size_t i = 0; *out != NULL && i < *n; i++)
    (*out)[i] = text_of(strings[i]);
  free(strings);
  if (*out != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* An id within the vocabulary; -1: not given. */
static moh_status read_id(const moh__gguf *file, const char *key,
                          size_t n_tokens, int64_t *out, moh_error *err) {
  *out = -1;
  if (!has(file, key)) return MOH_OK;
  MOH_TRY(moh__gguf_get_integer(file, key, out, err));
  if (*out >= 0 && (uint64_t)*out < n_tokens) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: %s is %" PRId64 ", but there are %zu tokens",
                   file->path, key, *out, n_tokens);
}

/* 0 or 1; -1: not given. */
static moh_status read_truth(const moh__gguf *file, const char *key, int *out,
                             moh_error *err) {
  bool truth = false;
  *out = -1;
  if (!has(file, key)) return MOH_OK;
  MOH_TRY(moh__gguf_get_bool(file, key, &truth, err));
  *out = truth;
  return MOH_OK;
}

/* An array that has an element for each token. */
static moh_status check_length(const moh__gguf *file, const char *key,
                               size_t n, size_t n_tokens, moh_error *err) {
  if (n == n_tokens) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: %s has %zu elements for %zu tokens", file->path, key,
                   n, n_tokens);
}

static moh_status read_arrays(const moh__gguf *file, arrays *a,
                              moh__gguf_vocab *v, moh_error *err) {
  size_t n = 0;
  MOH_TRY(read_texts(file, PREFIX "tokens", &a->tokens, &v->n_tokens, err));
  v->tokens = a->tokens;
  if (has(file, PREFIX "scores")) {
    MOH_TRY(
        moh__gguf_get_numbers(file, PREFIX "scores", &a->scores, &n, err));
    MOH_TRY(check_length(file, PREFIX "scores", n, v->n_tokens, err));
  }
  v->scores = a->scores;
  if (has(file, PREFIX "token_type")) {
    MOH_TRY(moh__gguf_get_integers(file, PREFIX "token_type", &a->types, &n,
                                   err));
    MOH_TRY(check_length(file, PREFIX "token_type", n, v->n_tokens, err));
  }
  v->types = a->types;
  if (has(file, PREFIX "merges"))
    MOH_TRY(read_texts(file, PREFIX "merges", &a->merges, &v->n_merges, err));
  v->merges = a->merges;
  return MOH_OK;
}

static moh_status read_fields(const moh__gguf *file, moh__gguf_vocab *v,
                              moh_error *err) {
  size_t n = v->n_tokens;
  MOH_TRY(read_text_if(file, PREFIX "model", &v->model, err));
  MOH_TRY(read_text_if(file, PREFIX "pre", &v->pre, err));
  MOH_TRY(read_id(file, PREFIX "bos_token_id", n, &v->bos, err));
  MOH_TRY(read_id(file, PREFIX "eos_token_id", n, &v->eos, err));
  MOH_TRY(read_id(file, PREFIX "eot_token_id", n, &v->eot, err));
  MOH_TRY(read_id(file, PREFIX "eom_token_id", n, &v->eom, err));
  MOH_TRY(read_id(file, PREFIX "unknown_token_id", n, &v->unk, err));
  MOH_TRY(read_truth(file, PREFIX "add_bos_token", &v->add_bos, err));
  MOH_TRY(read_truth(file, PREFIX "add_eos_token", &v->add_eos, err));
  return read_truth(file, PREFIX "add_space_prefix", &v->add_space_prefix,
                    err);
}

static moh_status read_tokenizer(const moh__gguf *file, int64_t vocab_size,
                                 moh__tokenizer **out, moh_error *err) {
  moh__gguf_vocab vocab = {.n_tokens = 0};
  arrays a = {.tokens = NULL};
  moh_status status = read_arrays(file, &a, &vocab, err);
  if (status == MOH_OK && (uint64_t)vocab.n_tokens > (uint64_t)vocab_size)
    status =
        moh__fail(err, MOH_ERR_FORMAT,
                  "%s: %s has %zu tokens, but the embedding %" PRId64 " rows",
                  file->path, PREFIX "tokens", vocab.n_tokens, vocab_size);
  if (status == MOH_OK) status = read_fields(file, &vocab, err);
  if (status == MOH_OK) {
    status = moh__tokenizer_from_gguf(out, &vocab, err);
    if (status != MOH_OK) moh__fail_in(err, status, "%s", file->path);
  }
  arrays_free(&a);
  return status;
}

static moh_status read_template(const moh__gguf *file,
                                moh__tokenizer *tokenizer, moh_error *err) {
  static const char key[] = "tokenizer.chat_template";
  moh__gguf_string string;
  if (!has(file, key)) return MOH_OK;
  MOH_TRY(moh__gguf_get_string(file, key, &string, err));
  moh_status status =
      moh__tokenizer_set_chat(tokenizer, text_of(string), err);
  if (status == MOH_OK) return MOH_OK;
  return moh__fail_in(err, status, "%s: %s", file->path, key);
}

moh_status moh__gguf_read_vocab(const moh__gguf *file, int64_t vocab_size,
                                moh__tokenizer **tokenizer, moh_error *err) {
  *tokenizer = NULL;
  if (!has(file, PREFIX "tokens")) return MOH_OK;
  MOH_TRY(read_tokenizer(file, vocab_size, tokenizer, err));
  return read_template(file, *tokenizer, err);
}

/* ---- writing ---- */

static moh__gguf_string string_of(moh__text text) {
  return (moh__gguf_string){text.bytes, text.n};
}

static void put_texts(moh__gguf_metadata *m, const char *key,
                      const moh__text *texts, size_t n) {
  moh__gguf_string *strings = calloc(n + 1, sizeof(*strings));
  m->failed |= strings == NULL;
  for (size_t i = 0; strings != NULL && i < n; i++)
    strings[i] = string_of(texts[i]);
  if (strings != NULL) moh__gguf_put_strings(m, key, strings, n);
  free(strings);
}

static void put_id(moh__gguf_metadata *m, const char *key, int64_t id) {
  if (id >= 0) moh__gguf_put_u32(m, key, (uint32_t)id);
}

static void put_arrays(moh__gguf_metadata *m, const moh__gguf_vocab *v) {
  moh__gguf_put_string(m, PREFIX "model", string_of(v->model));
  if (v->pre.n > 0) moh__gguf_put_string(m, PREFIX "pre", string_of(v->pre));
  put_texts(m, PREFIX "tokens", v->tokens, v->n_tokens);
  moh__gguf_put_i32s(m, PREFIX "token_type", v->types, v->n_tokens);
  if (v->scores != NULL)
    moh__gguf_put_f32s(m, PREFIX "scores", v->scores, v->n_tokens);
  if (v->merges != NULL)
    put_texts(m, PREFIX "merges", v->merges, v->n_merges);
  put_id(m, PREFIX "bos_token_id", v->bos);
  put_id(m, PREFIX "eos_token_id", v->eos);
  put_id(m, PREFIX "eot_token_id", v->eot);
  put_id(m, PREFIX "eom_token_id", v->eom);
  put_id(m, PREFIX "unknown_token_id", v->unk);
  moh__gguf_put_bool(m, PREFIX "add_bos_token", v->add_bos != 0);
  moh__gguf_put_bool(m, PREFIX "add_eos_token", v->add_eos != 0);
  if (v->add_space_prefix >= 0)
    moh__gguf_put_bool(m, PREFIX "add_space_prefix",
                       v->add_space_prefix != 0);
}

moh_status moh__gguf_put_vocab(moh__gguf_metadata *m,
                               const moh__tokenizer *tokenizer,
                               int64_t vocab_size, moh_error *err) {
  const char *chat = moh__tokenizer_chat(tokenizer);
  moh__gguf_arrays made;
  MOH_TRY(moh__gguf_arrays_of(&made, tokenizer, (size_t)vocab_size, err));
  put_arrays(m, &made.vocab);
  moh__gguf_arrays_free(&made);
  if (chat != NULL)
    moh__gguf_put_string(m, "tokenizer.chat_template",
                         (moh__gguf_string){chat, strlen(chat)});
  return MOH_OK;
}
