/*
 * Encoding. A text is cut in stages, each handing pieces to the next: runs
 * of valid UTF-8, added tokens, the steps of the pre-tokenizer; nothing is
 * copied on the way. Patterns are those of the Rust library
 * `tokenizers`, whose regular expressions have Ruby's rules: an empty match
 * right behind a match does not count, ^ and $ stand at every line.
 */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/bpe.h"
#include "text/tokenizer_internal.h"

void moh__ids_free(moh__ids *ids) {
  free(ids->ids);
  *ids = (moh__ids){0};
}

moh_status moh__ids_push(moh__ids *ids, int32_t id, moh_error *err) {
  if (ids->n == ids->capacity) {
    size_t capacity = ids->capacity ? ids->capacity : 64, bytes;
    int32_t *grown = NULL;
    if (moh__mul_size(capacity, 2 * sizeof(*grown), &bytes)) {
      grown = realloc(ids->ids, bytes);
    }
    if (grown == NULL) {
      return moh__fail(err, MOH_ERR_MEMORY,
                       "no memory for more than %zu tokens", ids->n);
    }
    ids->ids = grown;
    ids->capacity = 2 * capacity;
  }
  ids->ids[ids->n++] = id;
  return MOH_OK;
}

void moh__tokenizer_free(moh__tokenizer *tokenizer) {
  if (tokenizer == NULL) return;
  for (size_t i = 0; i < tokenizer->n_steps; i++) {
    pcre2_code_free(tokenizer->steps[i].pattern);
  }
  free(tokenizer->steps);
  pcre2_match_context_free(tokenizer->limits);
  free(tokenizer->added);
  free(tokenizer->is_special);
  moh__vocab_free(&tokenizer->vocab);
  moh__bpe_free(tokenizer->bpe);
  json_decref(tokenizer->document);
  free(tokenizer);
}

int32_t moh__tokenizer_size(const moh__tokenizer *tokenizer) {
  return (int32_t)tokenizer->vocab.n;
}

int32_t moh__tokenizer_id(const moh__tokenizer *tokenizer,
                          const char *token) {
  return moh__vocab_find(&tokenizer->vocab, moh__text_of(token));
}

moh__text moh__tokenizer_token(const moh__tokenizer *tokenizer, int32_t id) {
  if (tokenizer->bpe != NULL) return moh__bpe_token(tokenizer->bpe, id);
  return tokenizer->vocab.words[id];
}

int32_t moh__tokenizer_end(const moh__tokenizer *tokenizer) {
  return tokenizer->end;
}

int32_t moh__tokenizer_unknown(const moh__tokenizer *tokenizer) {
  return tokenizer->unknown;
}

/* ---- cutting ---------------------------------------------------------- */

typedef struct cutter {
  const moh__tokenizer *tokenizer;
  bool specials;
  moh__piece_fn *fn;
  void *context;
  moh_error *err;
  pcre2_match_data **matches; /* [n_steps] */
} cutter;

/* The White_Space property of Unicode, as Rust's char::is_whitespace. */
static bool is_blank(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0D);
  return code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000;
}

static moh_status cut_step(cutter *cut, size_t step, moh__text text);

static moh_status cut_blanks(cutter *cut, size_t step, moh__text text) {
  size_t start = 0, at = 0;
  uint32_t code = 0;
  while (at < text.n) {
    size_t n = moh__utf8_next(moh__text_part(text, at, text.n), &code);
    if (is_blank(code)) {
      MOH_TRY(cut_step(cut, step + 1, moh__text_part(text, start, at)));
      start = at + n;
    }
    at += n;
  }
  return cut_step(cut, step + 1, moh__text_part(text, start, at));
}

/* A part of a text goes on to the next step, if it is wanted. */
static moh_status hand_on(cutter *cut, size_t step, bool wanted,
                          moh__text text, size_t from, size_t to) {
  if (!wanted) return MOH_OK;
  return cut_step(cut, step + 1, moh__text_part(text, from, to));
}

/* The first match at or behind `from`: its place in match[0], match[1].
 * match[0] is PCRE2_UNSET when there is none. */
static moh_status find_match(cutter *cut, size_t step, moh__text text,
                             size_t from, size_t match[2]) {
  const moh__tokenizer *tokenizer = cut->tokenizer;
  const pcre2_code *pattern = tokenizer->steps[step].pattern;
  pcre2_match_data *data = cut->matches[step];
  PCRE2_SPTR subject = (PCRE2_SPTR)text.bytes;
  int rc = pcre2_match(pattern, subject, text.n, from, PCRE2_NO_UTF_CHECK,
                       data, tokenizer->limits);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
    rc = pcre2_match(pattern, subject, text.n, from,
                     PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data,
                     tokenizer->limits);
  }
  match[0] = PCRE2_UNSET;
  if (rc == PCRE2_ERROR_NOMATCH) return MOH_OK;
  if (rc < 0) {
    unsigned char reason[128];
    pcre2_get_error_message(rc, reason, sizeof(reason));
    return moh__fail(cut->err, MOH_ERR_UNSUPPORTED,
                     "the pattern of pre-tokenizer step %zu gave up on a "
                     "text of %zu bytes: %s",
                     step + 1, text.n, (const char *)reason);
  }
  memcpy(match, pcre2_get_ovector_pointer(data), 2 * sizeof(match[0]));
  if (match[0] < from || match[1] < match[0]) {
    return moh__fail(cut->err, MOH_ERR_UNSUPPORTED,
                     "the pattern of pre-tokenizer step %zu moves the start "
                     "of its match; write it without \\K",
                     step + 1);
  }
  return MOH_OK;
}

static moh_status cut_pattern(cutter *cut, size_t step, moh__text text) {
  const moh__step *by = &cut->tokenizer->steps[step];
  size_t from = 0, done = 0, last = PCRE2_UNSET, match[2];
  uint32_t code;
  while (from <= text.n) {
    MOH_TRY(find_match(cut, step, text, from, match));
    if (match[0] == PCRE2_UNSET) break;
    if (match[0] == match[1] && match[1] == last) {
      if (from == text.n) break;
      from += moh__utf8_next(moh__text_part(text, from, text.n), &code);
      continue;
    }
    MOH_TRY(hand_on(cut, step, by->rest, text, done, match[0]));
    MOH_TRY(hand_on(cut, step, by->matches, text, match[0], match[1]));
    from = done = last = match[1];
  }
  return hand_on(cut, step, by->rest, text, done, text.n);
}

/* With a blank in front, as each word inside a text has one. */
static moh_status cut_prefix(cutter *cut, size_t step, moh__text text) {
  if (text.bytes[0] == ' ') return cut_step(cut, step + 1, text);
  size_t n;
  char *longer = NULL;
  if (moh__add_size(text.n, 1, &n)) longer = malloc(n);
  if (longer == NULL) {
    return moh__fail(cut->err, MOH_ERR_MEMORY, "no memory to cut a text");
  }
  longer[0] = ' ';
  memcpy(longer + 1, text.bytes, text.n);
  moh_status status = cut_step(cut, step + 1, (moh__text){longer, n});
  free(longer);
  return status;
}

/* The pre-tokenizer from one step on; `text` is valid UTF-8. */
static moh_status cut_step(cutter *cut, size_t step, moh__text text) {
  if (text.n == 0) return MOH_OK;
  if (step == cut->tokenizer->n_steps) {
    moh__piece word = {MOH__PIECE_WORD, text, -1};
    return cut->fn(cut->context, word, cut->err);
  }
  switch (cut->tokenizer->steps[step].kind) {
    case MOH__STEP_BLANKS:
      return cut_blanks(cut, step, text);
    case MOH__STEP_PREFIX:
      return cut_prefix(cut, step, text);
    default:
      return cut_pattern(cut, step, text);
  }
}

/* The longest added token at the front of a text, or NULL. */
static const moh__added *added_at(const moh__tokenizer *tokenizer,
                                  moh__text text, bool normalized) {
  const moh__added *best = NULL;
  if (!tokenizer->added_first[(unsigned char)text.bytes[0]]) return NULL;
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    const moh__added *added = &tokenizer->added[i];
    if (added->normalized != normalized) continue;
    if (best != NULL && added->text.n <= best->text.n) continue;
    if (moh__text_starts(text, added->text)) best = added;
  }
  return best;
}

/* Added tokens, the ones that are looked for in normalised text last; then
 * the pre-tokenizer on what lies between them. A special token that is not
 * wanted is text like the rest, but no other token starts inside it. */
static moh_status cut_added(cutter *cut, bool normalized, moh__text text) {
  size_t done = 0;
  for (size_t at = 0; at <= text.n; at++) {
    const moh__added *added = NULL;
    if (at < text.n) {
      moh__text rest = moh__text_part(text, at, text.n);
      added = added_at(cut->tokenizer, rest, normalized);
      if (added == NULL) continue;
      if (added->special && !cut->specials) {
        at += added->text.n - 1;
        continue;
      }
    }
    moh__text between = moh__text_part(text, done, at);
    MOH_TRY(normalized ? cut_step(cut, 0, between)
                       : cut_added(cut, true, between));
    if (added == NULL) break;
    moh__piece piece = {MOH__PIECE_ADDED, added->text, added->id};
    MOH_TRY(cut->fn(cut->context, piece, cut->err));
    done = at + added->text.n;
    at = done - 1;
  }
  return MOH_OK;
}

/* Runs of UTF-8, and between them runs of bytes that are not. */
static moh_status cut_runs(cutter *cut, moh__text text) {
  uint32_t code;
  while (text.n > 0) {
    size_t n = moh__utf8_valid(text);
    if (n > 0) MOH_TRY(cut_added(cut, false, moh__text_part(text, 0, n)));
    text = moh__text_part(text, n, text.n);
    n = 0;
    while (n < text.n &&
           !moh__utf8_next(moh__text_part(text, n, text.n), &code)) {
      n++;
    }
    if (n > 0) {
      moh__piece piece = {MOH__PIECE_INVALID, moh__text_part(text, 0, n), -1};
      MOH_TRY(cut->fn(cut->context, piece, cut->err));
    }
    text = moh__text_part(text, n, text.n);
  }
  return MOH_OK;
}

static void close_cutter(cutter *cut) {
  if (cut->matches == NULL) return;
  for (size_t i = 0; i < cut->tokenizer->n_steps; i++) {
    pcre2_match_data_free(cut->matches[i]);
  }
  free(cut->matches);
}

static moh_status open_cutter(cutter *cut, moh_error *err) {
  size_t n = cut->tokenizer->n_steps;
  cut->matches = calloc(n + 1, sizeof(*cut->matches));
  bool made = cut->matches != NULL;
  for (size_t i = 0; made && i < n; i++) {
    cut->matches[i] = pcre2_match_data_create(1, NULL);
    made = cut->matches[i] != NULL;
  }
  if (made) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory to cut a text");
}

moh_status moh__tokenizer_cut(const moh__tokenizer *tokenizer, moh__text text,
                              bool specials, moh__piece_fn *fn, void *context,
                              moh_error *err) {
  cutter cut = {tokenizer, specials, fn, context, err, NULL};
  moh_status status = open_cutter(&cut, err);
  if (status == MOH_OK) status = cut_runs(&cut, text);
  close_cutter(&cut);
  return status;
}

/* ---- encoding --------------------------------------------------------- */

struct moh__encoder {
  cutter cut;
  moh__bpe_work *work; /* NULL without BPE */
  moh__ids *ids;       /* of the text that is being encoded */
};

/* A word that reads like a special token is not one: text from outside must
 * not become a control token. */
static moh_status encode_piece(void *context, moh__piece piece,
                               moh_error *err) {
  const moh__encoder *encoder = context;
  const moh__tokenizer *tokenizer = encoder->cut.tokenizer;
  int32_t id = piece.id;
  if (piece.kind == MOH__PIECE_WORD) {
    id = moh__vocab_find(&tokenizer->vocab, piece.text);
    if (id >= 0 && tokenizer->is_special[id]) id = -1;
  }
  if (id < 0) id = tokenizer->unknown;
  if (id >= 0) return moh__ids_push(encoder->ids, id, err);
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the vocabulary lacks \"%.*s\" and has no unknown token",
                   moh__quoted(piece.text), piece.text.bytes);
}

static moh_status encode_bpe_piece(void *context, moh__piece piece,
                                   moh_error *err) {
  const moh__encoder *encoder = context;
  const moh__tokenizer *tokenizer = encoder->cut.tokenizer;
  switch (piece.kind) {
    case MOH__PIECE_ADDED:
      return moh__ids_push(encoder->ids, piece.id, err);
    case MOH__PIECE_INVALID:
      return moh__bpe_encode_bytes(tokenizer, piece.text, encoder->ids, err);
    default:
      return moh__bpe_encode(tokenizer, encoder->work, piece.text,
                             encoder->ids, err);
  }
}

moh_status moh__encoder_new(moh__encoder **out,
                            const moh__tokenizer *tokenizer,
                            moh_error *err) {
  bool bpe = tokenizer->bpe != NULL;
  moh__encoder *encoder = calloc(1, sizeof(*encoder));
  *out = NULL;
  if (encoder == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory to encode a text");
  }
  encoder->cut = (cutter){.tokenizer = tokenizer, .context = encoder};
  encoder->cut.fn = bpe ? encode_bpe_piece : encode_piece;
  moh_status status = open_cutter(&encoder->cut, err);
  if (status == MOH_OK && bpe) {
    status = moh__bpe_work_new(&encoder->work, err);
  }
  if (status == MOH_OK) {
    *out = encoder;
  } else {
    moh__encoder_free(encoder);
  }
  return status;
}

void moh__encoder_free(moh__encoder *encoder) {
  if (encoder == NULL) return;
  close_cutter(&encoder->cut);
  moh__bpe_work_free(encoder->work);
  free(encoder);
}

moh_status moh__encoder_encode(moh__encoder *encoder, moh__text text,
                               bool specials, moh__ids *ids,
                               moh_error *err) {
  encoder->cut.specials = specials;
  encoder->cut.err = err;
  encoder->ids = ids;
  return cut_runs(&encoder->cut, text);
}

moh_status moh__tokenizer_encode(const moh__tokenizer *tokenizer,
                                 moh__text text, bool specials,
                                 moh__ids *ids, moh_error *err) {
  moh__encoder *encoder;
  MOH_TRY(moh__encoder_new(&encoder, tokenizer, err));
  moh_status status = moh__encoder_encode(encoder, text, specials, ids, err);
  moh__encoder_free(encoder);
  return status;
}
