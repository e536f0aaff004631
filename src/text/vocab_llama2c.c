/*
 * The tokenizer file of llama2.c: an int32 with the longest token's length,
 * then for each token a float score, an int32 length and so many bytes, all
 * little-endian. How many tokens there are, the model says.
 *
 * Its program knows more than the file does: ids 1 and 2 begin and end a text
 * (1 is also what it stops at), bytes that no token has are the ids from 3
 * on, a text begins with a blank, and blanks are blanks in the tokens.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/vocab_internal.h"

enum { BEGIN = 1, END = 2, FIRST_BYTE = 3, LEAST_TOKENS = 3 + 256 };

/* What is read of a file. */
typedef struct reading {
  const unsigned char *bytes;
  size_t n, at;
  moh__text *tokens;
  float *scores;
  int32_t *types;
} reading;

static moh_status take(reading *r, void *value, moh_error *err) {
  if (r->n - r->at < 4) {
    return moh__fail(err, MOH_ERR_FORMAT, "the file ends at byte %zu", r->n);
  }
  memcpy(value, r->bytes + r->at, 4);
  r->at += 4;
  return MOH_OK;
}

static moh_status take_token(reading *r, int32_t id, int32_t longest,
                             moh_error *err) {
  int32_t n;
  MOH_TRY(take(r, &r->scores[id], err));
  MOH_TRY(take(r, &n, err));
  if (n < 1 || n > longest || (size_t)n > r->n - r->at) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "a length of %d bytes; the longest is to have %d, and "
                     "%zu are left",
                     n, longest, r->n - r->at);
  }
  r->tokens[id] = (moh__text){(const char *)r->bytes + r->at, (size_t)n};
  r->at += (size_t)n;
  return MOH_OK;
}

/* Its meaning by its id. */
static moh_status set_type(reading *r, int32_t id, moh_error *err) {
  r->types[id] = MOH__GGUF_NORMAL;
  if (id < FIRST_BYTE) {
    static const char *const names[] = {NULL, "<s>", "</s>"};
    if (id != 0) r->tokens[id] = moh__text_of(names[id]);
    r->types[id] = id == 0 ? MOH__GGUF_UNKNOWN : MOH__GGUF_CONTROL;
  } else if (id < LEAST_TOKENS) {
    r->types[id] = MOH__GGUF_BYTE;
    if (moh__byte_token(r->tokens[id]) != id - FIRST_BYTE) {
      return moh__fail(err, MOH_ERR_FORMAT, "it is not <0x%02X>",
                       (unsigned)(id - FIRST_BYTE));
    }
  }
  return MOH_OK;
}

static moh_status read_tokens(reading *r, int32_t n, moh_error *err) {
  int32_t longest;
  MOH_TRY(take(r, &longest, err));
  for (int32_t id = 0; id < n; id++) {
    moh_status status = take_token(r, id, longest, err);
    if (status == MOH_OK) status = set_type(r, id, err);
    if (status != MOH_OK) {
      return moh__fail_in(err, status, "token %d of %d", id, n);
    }
  }
  if (r->at == r->n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%zu bytes are left behind %d tokens; it belongs to a "
                   "model with more of them",
                   r->n - r->at, n);
}

static moh_status make(moh__tokenizer **out, const reading *r, int32_t n,
                       moh_error *err) {
  moh__gguf_vocab vocab = {.n_tokens = (size_t)n,
                           .tokens = r->tokens,
                           .scores = r->scores,
                           .types = r->types,
                           .bos = BEGIN,
                           .eos = END,
                           .eot = BEGIN,
                           .eom = -1,
                           .unk = 0,
                           .add_bos = 1,
                           .add_eos = 0,
                           .add_space_prefix = 1};
  return moh__tokenizer_of_scores(out, &vocab, " ", err);
}

static moh_status read_file(moh__tokenizer **out, moh__text file, int32_t n,
                            moh_error *err) {
  reading r = {.bytes = (const unsigned char *)file.bytes, .n = file.n};
  r.tokens = calloc((size_t)n, sizeof(*r.tokens));
  r.scores = calloc((size_t)n, sizeof(*r.scores));
  r.types = calloc((size_t)n, sizeof(*r.types));
  moh_status status = MOH_OK;
  if (r.tokens == NULL || r.scores == NULL || r.types == NULL) {
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
  }
  if (status == MOH_OK) status = read_tokens(&r, n, err);
  if (status == MOH_OK) status = make(out, &r, n, err);
  free(r.tokens);
  free(r.scores);
  free(r.types);
  return status;
}

moh_status moh__tokenizer_parse_llama2c(moh__tokenizer **out, moh__text file,
                                        int64_t n_vocab, const char *name,
                                        moh_error *err) {
  *out = NULL;
  if (n_vocab < LEAST_TOKENS || n_vocab > MOH__TOKENS_MAX) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: a tokenizer of llama2.c has %d to %d tokens, not "
                     "%lld",
                     name, LEAST_TOKENS, MOH__TOKENS_MAX, (long long)n_vocab);
  }
  moh_status status = read_file(out, file, (int32_t)n_vocab, err);
  return status == MOH_OK ? status : moh__fail_in(err, status, "%s", name);
}

moh_status moh__tokenizer_load_llama2c(moh__tokenizer **out, const char *path,
                                       int64_t n_vocab, moh_error *err) {
  moh__map map;
  *out = NULL;
  MOH_TRY(moh__map_open(&map, path, err));
  moh__text file = {(const char *)map.bytes, map.size};
  moh_status status =
      moh__tokenizer_parse_llama2c(out, file, n_vocab, path, err);
  moh__map_close(&map);
  return status;
}
