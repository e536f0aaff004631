/*
 * Encoding. A text is cut in stages, each handing pieces to the next: runs
 * of valid UTF-8, added tokens, the normalizer, added tokens that are looked
 * for behind it, the steps of the pre-tokenizer. Only steps that change the
 * text copy it.
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
  moh__added_free(&tokenizer->added);
  moh__normalizer_free(tokenizer->normalizer);
  moh__pre_tokenizer_free(&tokenizer->pre);
  moh__post_processor_free(&tokenizer->post);
  moh__decoder_free(&tokenizer->decoder);
  free(tokenizer->bytes);
  free(tokenizer->start);
  moh__ids_free(&tokenizer->ends);
  free(tokenizer->is_special);
  moh__vocab_free(&tokenizer->vocab);
  free(tokenizer->chat);
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
  uint32_t start = tokenizer->start[id];
  return (moh__text){tokenizer->bytes + start,
                     tokenizer->start[id + 1] - start};
}

moh__text moh__tokenizer_spelling(const moh__tokenizer *tokenizer,
                                  int32_t id) {
  return tokenizer->vocab.words[id];
}

bool moh__tokenizer_is_special(const moh__tokenizer *tokenizer, int32_t id) {
  return tokenizer->is_special[id];
}

int32_t moh__tokenizer_unknown(const moh__tokenizer *tokenizer) {
  return tokenizer->unknown;
}

/* ---- cutting ---------------------------------------------------------- */

typedef struct cutter {
  const moh__tokenizer *tokenizer;
  bool specials;
  /* Of a prompt; NULL: all of it may hold special tokens. */
  const moh__text_run *runs;
  size_t n_runs;
  const char *prompt;
  bool specials_inside; /* of the text that was normalized */
  moh__piece_fn *fn;
  void *context;
  moh_error *err;
  moh__matcher matcher;
  moh__buffer normalized[2];
} cutter;

static moh_status hand_word(void *context, moh__text word, moh_error *err) {
  const cutter *cut = context;
  moh__piece piece = {MOH__PIECE_WORD, word, -1};
  return cut->fn(cut->context, piece, err);
}

static moh_status cut_words(cutter *cut, moh__text text, moh__front place) {
  moh__cutting cutting = {&cut->tokenizer->pre, &cut->matcher, hand_word, cut,
                          cut->err};
  return moh__pre_tokenizer_cut(&cutting, text, place);
}

static moh_status cut_added(cutter *cut, bool normalized, moh__text text,
                            moh__front place);

/* Whether n bytes of a prompt touch content. */
static bool touches_content(const cutter *cut, const char *bytes, size_t n) {
  if (cut->n_runs == 0) return false;
  size_t start = (size_t)(bytes - cut->prompt);
  for (size_t i = 0; i < cut->n_runs; i++) {
    const moh__text_run *run = &cut->runs[i];
    if (run->content && run->start < start + n && run->end > start)
      return true;
  }
  return false;
}

/* The next added token that may be one here. A special token is none where
 * it touches content; the blanks that it takes along may. */
static moh__added_match find_added(const cutter *cut, bool normalized,
                                   moh__text text, size_t from) {
  bool specials = normalized ? cut->specials_inside : cut->specials;
  for (;;) {
    moh__added_match match = moh__added_find(
        &cut->tokenizer->added, normalized, specials, text, from);
    if (match.added == NULL || !match.added->special || normalized)
      return match;
    const char *place =
        memmem(text.bytes + match.start, match.end - match.start,
               match.added->found.bytes, match.added->found.n);
    if (!touches_content(cut, place, match.added->found.n)) return match;
    from = match.end;
  }
}

/* A text without added tokens goes through the normalizer; one that has been
 * there is cut into words. */
static moh_status cut_between(cutter *cut, bool normalized, moh__text text,
                              moh__front place) {
  if (text.n == 0) return MOH_OK;
  if (normalized) return cut_words(cut, text, place);
  cut->specials_inside =
      cut->specials && !touches_content(cut, text.bytes, text.n);
  MOH_TRY(moh__normalizer_apply(cut->tokenizer->normalizer, &cut->matcher,
                                text, place, cut->normalized, &text,
                                cut->err));
  return cut_added(cut, true, text, place);
}

/* Added tokens, the ones that are looked for in normalized text last. A
 * special token that is not wanted is text like the rest. */
static moh_status cut_added(cutter *cut, bool normalized, moh__text text,
                            moh__front place) {
  size_t done = 0;
  for (;;) {
    moh__added_match match = find_added(cut, normalized, text, done);
    MOH_TRY(cut_between(cut, normalized,
                        moh__text_part(text, done, match.start),
                        done == 0 ? place : MOH__FRONT_INSIDE));
    if (match.added == NULL) return MOH_OK;
    moh__piece piece = {MOH__PIECE_ADDED, match.added->text, match.added->id};
    MOH_TRY(cut->fn(cut->context, piece, cut->err));
    done = match.end;
  }
}

/* Runs of UTF-8, and between them runs of bytes that are not. */
static moh_status cut_runs(cutter *cut, moh__text text) {
  uint32_t code;
  moh__front place = MOH__FRONT_FIRST;
  for (; text.n > 0; place = MOH__FRONT_JOINED) {
    size_t n = moh__utf8_valid(text);
    if (n > 0)
      MOH_TRY(cut_added(cut, false, moh__text_part(text, 0, n), place));
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
  moh__matcher_close(&cut->matcher);
  moh__buffer_free(&cut->normalized[0]);
  moh__buffer_free(&cut->normalized[1]);
}

moh_status moh__tokenizer_cut(const moh__tokenizer *tokenizer, moh__text text,
                              bool specials, moh__piece_fn *fn, void *context,
                              moh_error *err) {
  cutter cut = {.tokenizer = tokenizer,
                .specials = specials,
                .fn = fn,
                .context = context,
                .err = err};
  moh_status status = moh__matcher_open(&cut.matcher, err);
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
                            const moh__tokenizer *tokenizer, moh_error *err) {
  bool bpe = tokenizer->bpe != NULL;
  moh__encoder *encoder = calloc(1, sizeof(*encoder));
  *out = NULL;
  if (encoder == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory to encode a text");
  }
  encoder->cut = (cutter){.tokenizer = tokenizer, .context = encoder};
  encoder->cut.fn = bpe ? encode_bpe_piece : encode_piece;
  moh_status status = moh__matcher_open(&encoder->cut.matcher, err);
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
                               bool specials, moh__ids *ids, moh_error *err) {
  encoder->cut.specials = specials;
  encoder->cut.err = err;
  encoder->ids = ids;
  return cut_runs(&encoder->cut, text);
}

moh_status moh__encoder_encode_begun(moh__encoder *encoder, moh__text text,
                                     moh__ids *ids, moh_error *err) {
  MOH_TRY(moh__tokenizer_begin(encoder->cut.tokenizer, ids, err));
  return moh__encoder_encode(encoder, text, true, ids, err);
}

moh_status moh__tokenizer_encode(const moh__tokenizer *tokenizer,
                                 moh__text text, bool specials, moh__ids *ids,
                                 moh_error *err) {
  moh__encoder *encoder;
  MOH_TRY(moh__encoder_new(&encoder, tokenizer, err));
  moh_status status = moh__encoder_encode(encoder, text, specials, ids, err);
  moh__encoder_free(encoder);
  return status;
}

moh_status moh__tokenizer_encode_runs(const moh__tokenizer *tokenizer,
                                      moh__text text,
                                      const moh__text_run *runs,
                                      size_t n_runs, moh__ids *ids,
                                      moh_error *err) {
  moh__encoder *encoder;
  MOH_TRY(moh__encoder_new(&encoder, tokenizer, err));
  encoder->cut.runs = runs;
  encoder->cut.n_runs = n_runs;
  encoder->cut.prompt = text.bytes;
  moh_status status = moh__encoder_encode(encoder, text, true, ids, err);
  moh__encoder_free(encoder);
  return status;
}
