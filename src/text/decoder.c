/* Reading decoders, and what they make of single tokens. */
#include "text/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/bpe.h"
#include "text/tokenizer_internal.h"

enum {
  MAX_STEPS = 64,
  MAX_STRIP = 1 << 20,
  /* A token may stand for so many times its length, and so many bytes. */
  MAX_GROWTH = 64,
  MAX_EXTRA = 4096
};

typedef enum kind {
  REPLACE,
  BYTE_FALLBACK,
  BYTE_LEVEL,
  STRIP,
  METASPACE
} kind;

struct moh__token_step {
  kind kind;
  moh__pattern pattern; /* REPLACE, METASPACE */
  moh__text content;    /* REPLACE, STRIP: a character */
  size_t left, right;   /* STRIP: how many at most */
  bool first_drops;     /* METASPACE: no blanks in a text's first token */
};

/* ---- reading ----------------------------------------------------------- */

/* A decoder that is read, and what was there already. */
typedef struct reading {
  moh__decoder *decoder;
  bool fallback, fused;
} reading;

static moh_status add_step(reading *r, moh__token_step **step,
                           moh_error *err) {
  if (r->decoder->n == MAX_STEPS) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a decoder of more than %d steps", MAX_STEPS);
  }
  *step = &r->decoder->steps[r->decoder->n++];
  return MOH_OK;
}

/* What changes tokens must stand before what makes one text of them. */
static moh_status check_before_fuse(const reading *r, const char *type,
                                    moh_error *err) {
  if (!r->fused) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the decoder %s behind Fuse is not known here", type);
}

static moh_status read_replace(reading *r, const json_t *json,
                               moh_error *err) {
  moh__token_step *step;
  const json_t *pattern;
  const char *content;
  MOH_TRY(check_before_fuse(r, "Replace", err));
  MOH_TRY(moh__json_get_string(json, "content", &content, err));
  MOH_TRY(moh__get_object(json, "pattern", &pattern, err));
  MOH_TRY(add_step(r, &step, err));
  step->kind = REPLACE;
  step->content = moh__text_of(content);
  return moh__pattern_read(&step->pattern, pattern, err);
}

static moh_status read_fallback(reading *r, const json_t *json,
                                moh_error *err) {
  moh__token_step *step;
  (void)json;
  MOH_TRY(check_before_fuse(r, "ByteFallback", err));
  MOH_TRY(add_step(r, &step, err));
  step->kind = BYTE_FALLBACK;
  r->fallback = true;
  return MOH_OK;
}

static moh_status read_byte_level(reading *r, const json_t *json,
                                  moh_error *err) {
  moh__token_step *step;
  (void)json;
  if (r->decoder->byte_level) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "two decoders ByteLevel are not known here");
  }
  MOH_TRY(add_step(r, &step, err));
  step->kind = BYTE_LEVEL;
  r->decoder->byte_level = true;
  return MOH_OK;
}

static moh_status read_character(const json_t *json, const char *key,
                                 moh__text *character, moh_error *err) {
  const char *content;
  uint32_t code;
  MOH_TRY(moh__json_get_string(json, key, &content, err));
  *character = moh__text_of(content);
  size_t n = moh__utf8_next(*character, &code);
  if (n > 0 && n == character->n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the \"%s\" of a decoder is not one character", key);
}

static moh_status read_metaspace(reading *r, const json_t *json,
                                 moh_error *err) {
  moh__token_step *step;
  moh__text replacement;
  MOH_TRY(check_before_fuse(r, "Metaspace", err));
  MOH_TRY(read_character(json, "replacement", &replacement, err));
  const json_t *scheme = json_object_get(json, "prepend_scheme");
  const json_t *prefix = json_object_get(json, "add_prefix_space");
  const char *name = json_string_value(scheme);
  MOH_TRY(add_step(r, &step, err));
  step->kind = METASPACE;
  step->content = moh__text_of(" ");
  step->first_drops =
      name != NULL ? strcmp(name, "never") != 0 : !json_is_false(prefix);
  r->decoder->first_differs |= step->first_drops;
  return moh__pattern_literal(&step->pattern, replacement, err);
}

/* Behind Fuse, characters at the end of the text would have to wait until
 * it is over; so they cannot be taken off. */
static moh_status read_text_strip(reading *r, const moh__token_step *strip,
                                  moh_error *err) {
  if (strip->right > 0 || r->decoder->n_strip > 0) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a decoder Strip behind Fuse that is not for the front "
                     "of a text alone, or the second one, is not known here");
  }
  r->decoder->strip = strip->content;
  r->decoder->n_strip = strip->left;
  return MOH_OK;
}

static moh_status read_strip(reading *r, const json_t *json, moh_error *err) {
  moh__token_step strip = {.kind = STRIP}, *step;
  int64_t left, right;
  MOH_TRY(read_character(json, "content", &strip.content, err));
  MOH_TRY(moh__json_get_int(json, "start", 0, MAX_STRIP, &left, err));
  MOH_TRY(moh__json_get_int(json, "stop", 0, MAX_STRIP, &right, err));
  strip.left = (size_t)left;
  strip.right = (size_t)right;
  if (r->fused) return read_text_strip(r, &strip, err);
  if (r->fallback) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a decoder Strip between ByteFallback and Fuse is not "
                     "known here");
  }
  MOH_TRY(add_step(r, &step, err));
  *step = strip;
  return MOH_OK;
}

static moh_status read_fuse(reading *r, const json_t *json, moh_error *err) {
  (void)json, (void)err;
  r->fused = true;
  return MOH_OK;
}

static const struct {
  const char *type;
  moh_status (*read)(reading *, const json_t *, moh_error *);
} known[] = {
    {"Replace", read_replace},      {"ByteFallback", read_fallback},
    {"ByteLevel", read_byte_level}, {"Metaspace", read_metaspace},
    {"Strip", read_strip},          {"Fuse", read_fuse},
};

static moh_status read_step(void *context, const json_t *json,
                            moh_error *err) {
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (moh__is_type(json, known[i].type)) {
      return known[i].read(context, json, err);
    }
  }
  return moh__refuse("decoder", json, err);
}

static moh_status read_word_piece(moh__decoder *decoder, const json_t *json,
                                  moh_error *err) {
  const char *prefix;
  MOH_TRY(moh__json_get_string(json, "prefix", &prefix, err));
  decoder->joining = MOH__JOIN_WORD_PIECE;
  decoder->prefix = moh__text_of(prefix);
  return moh__json_get_bool(json, "cleanup", &decoder->cleanup, err);
}

moh_status moh__decoder_read(moh__decoder *decoder, const json_t *json,
                             moh_error *err) {
  reading r = {.decoder = decoder};
  if (moh__is_absent(json)) return MOH_OK;
  if (moh__is_type(json, "WordPiece")) {
    return read_word_piece(decoder, json, err);
  }
  decoder->joining = MOH__JOIN_FUSE;
  decoder->steps = calloc(MAX_STEPS, sizeof(*decoder->steps));
  if (decoder->steps == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
  }
  return moh__each_part(json, "decoders", read_step, &r, err);
}

void moh__decoder_free(moh__decoder *decoder) {
  for (size_t i = 0; i < decoder->n; i++) {
    moh__pattern_free(&decoder->steps[i].pattern);
  }
  free(decoder->steps);
  *decoder = (moh__decoder){0};
}

/* ---- single tokens ----------------------------------------------------- */

static int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int moh__byte_token(moh__text token) {
  const char *b = token.bytes;
  if (token.n != 6 || memcmp(b, "<0x", 3) != 0 || b[5] != '>') return -1;
  int high = digit_of(b[3]), low = digit_of(b[4]);
  return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* All matches become something else. */
static moh_status replace(const moh__token_step *step, moh__text content,
                          const moh__matcher *matcher, moh__text token,
                          moh__buffer *out, moh_error *err) {
  moh__search search = moh__search_in(&step->pattern, token);
  size_t done = 0;
  for (;;) {
    bool found;
    MOH_TRY(moh__search_next(&search, matcher, &found, err));
    if (!found) break;
    MOH_TRY(
        moh__buffer_add(out, moh__text_part(token, done, search.start), err));
    MOH_TRY(moh__buffer_add(out, content, err));
    done = search.end;
    if (out->n <= MAX_EXTRA || out->n / MAX_GROWTH <= token.n) continue;
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a decoder Replace would make a token of %zu bytes more "
                     "than %d times longer",
                     token.n, MAX_GROWTH);
  }
  return moh__buffer_add(out, moh__text_part(token, done, token.n), err);
}

static moh__text stripped(const moh__token_step *step, moh__text token) {
  moh__text c = step->content;
  for (size_t i = 0; i < step->left && moh__text_starts(token, c); i++) {
    token = moh__text_part(token, c.n, token.n);
  }
  for (size_t i = 0; i < step->right && token.n >= c.n; i++) {
    size_t at = token.n - c.n;
    if (memcmp(token.bytes + at, c.bytes, c.n) != 0) break;
    token.n = at;
  }
  return token;
}

/* A token with another character than byte-level ones stands for itself. */
static moh_status add_bytes(moh__text token, moh__buffer *out,
                            moh_error *err) {
  size_t start = out->n, at = 0;
  uint32_t code = 0;
  while (at < token.n) {
    size_t n = moh__utf8_next(moh__text_part(token, at, token.n), &code);
    int byte = n == 0 ? -1 : moh__char_byte(code);
    if (byte < 0) {
      out->n = start;
      return moh__buffer_add(out, token, err);
    }
    char c = (char)byte;
    MOH_TRY(moh__buffer_add(out, (moh__text){&c, 1}, err));
    at += n;
  }
  return MOH_OK;
}

static moh_status apply(const moh__token_step *step,
                        const moh__matcher *matcher, moh__text token,
                        bool plain, bool first, moh__buffer *out,
                        moh_error *err) {
  int byte = moh__byte_token(token);
  char c = (char)byte;
  switch (step->kind) {
    case REPLACE:
      return replace(step, step->content, matcher, token, out, err);
    case METASPACE:
      return replace(
          step, first && step->first_drops ? moh__text_of("") : step->content,
          matcher, token, out, err);
    case STRIP:
      return moh__buffer_add(out, stripped(step, token), err);
    case BYTE_FALLBACK:
      return moh__buffer_add(out, byte < 0 ? token : (moh__text){&c, 1}, err);
    default:
      return plain ? moh__buffer_add(out, token, err)
                   : add_bytes(token, out, err);
  }
}

moh_status moh__decoder_token(const moh__decoder *decoder,
                              const moh__matcher *matcher, moh__text token,
                              bool plain, bool first, moh__buffer buffers[2],
                              moh__text *result, moh_error *err) {
  *result = token;
  for (size_t i = 0; i < decoder->n; i++) {
    moh__buffer *out = &buffers[i % 2];
    out->n = 0;
    moh_status status =
        apply(&decoder->steps[i], matcher, *result, plain, first, out, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "decoder");
    *result = moh__buffer_text(out);
  }
  return MOH_OK;
}
