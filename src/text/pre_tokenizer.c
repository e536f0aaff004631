/*
 * Cutting. Each step hands parts of its text to the next, depth first;
 * nothing is copied but by the steps that change the text.
 *
 * A step that cuts finds matches, and what lies between them; its behaviour
 * says which of both go on and which of them are put together.
 */
#include "text/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"
#include "text/buffer.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"

enum { MAX_STEPS = 64 };

typedef enum kind {
  BLANKS,      /* single characters of white space match */
  PUNCTUATION, /* single characters of punctuation do */
  PATTERN,
  PREFIX,   /* a blank in front, unless there is one */
  METASPACE /* blanks become another character, one is put in front */
} kind;

typedef enum behavior {
  ISOLATED,             /* matches and the rest, each by itself */
  REMOVED,              /* the rest */
  MERGED_WITH_PREVIOUS, /* a match belongs to what is before it ... */
  MERGED_WITH_NEXT,     /* ... or to what is behind it */
  CONTIGUOUS            /* matches side by side are one */
} behavior;

typedef enum scheme { ALWAYS, FIRST, NEVER } scheme;

struct moh__pre_step {
  kind kind;
  behavior behavior;
  bool invert; /* what matches is the rest */
  moh__pattern pattern;
  moh__text replacement; /* METASPACE, with whether it cuts there */
  scheme prepend;
  bool cuts;
};

/* ---- reading ----------------------------------------------------------- */

/* The place of a field's value among names. */
static moh_status get_choice(const json_t *json, const char *key,
                             const char *const *names, int *choice,
                             moh_error *err) {
  const char *value;
  MOH_TRY(moh__json_get_string(json, key, &value, err));
  for (int i = 0; names[i] != NULL; i++) {
    *choice = i;
    if (strcmp(value, names[i]) == 0) return MOH_OK;
  }
  moh__text text = moh__text_of(value);
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the %s \"%.*s\" of a pre-tokenizer is not known here",
                   key, moh__quoted(text), value);
}

static moh_status read_behavior(moh__pre_step *step, const json_t *json,
                                moh_error *err) {
  static const char *const names[] = {"Isolated",           "Removed",
                                      "MergedWithPrevious", "MergedWithNext",
                                      "Contiguous",         NULL};
  int choice = ISOLATED;
  MOH_TRY(get_choice(json, "behavior", names, &choice, err));
  step->behavior = (behavior)choice;
  return MOH_OK;
}

static moh_status read_split(moh__pre_step *step, const json_t *json,
                             moh_error *err) {
  const json_t *pattern;
  step->kind = PATTERN;
  MOH_TRY(read_behavior(step, json, err));
  MOH_TRY(moh__json_get_bool(json, "invert", &step->invert, err));
  MOH_TRY(moh__get_object(json, "pattern", &pattern, err));
  return moh__pattern_read(&step->pattern, pattern, err);
}

static moh_status isolate(moh__pre_step *step, const char *pattern,
                          moh_error *err) {
  step->kind = PATTERN;
  return moh__pattern_regex(&step->pattern, moh__text_of(pattern), err);
}

static moh_status read_digits(moh__pre_step *step, const json_t *json,
                              moh_error *err) {
  bool single;
  MOH_TRY(moh__json_get_bool(json, "individual_digits", &single, err));
  return isolate(step, single ? "\\p{N}" : "\\p{N}+", err);
}

static moh_status read_blanks(moh__pre_step *step, const json_t *json,
                              moh_error *err) {
  (void)json, (void)err;
  step->kind = BLANKS;
  step->behavior = REMOVED;
  return MOH_OK;
}

static moh_status read_whitespace(moh__pre_step *step, const json_t *json,
                                  moh_error *err) {
  (void)json;
  step->behavior = REMOVED;
  step->invert = true;
  return isolate(step, "\\w+|[^\\w\\s]+", err);
}

static moh_status read_punctuation(moh__pre_step *step, const json_t *json,
                                   moh_error *err) {
  step->kind = PUNCTUATION;
  if (json_object_get(json, "behavior") == NULL) return MOH_OK;
  return read_behavior(step, json, err);
}

static moh_status get_flag(const json_t *json, const char *key, bool *flag,
                           moh_error *err) {
  if (moh__is_absent(json_object_get(json, key))) return MOH_OK;
  return moh__json_get_bool(json, key, flag, err);
}

/* Older files say add_prefix_space instead of prepend_scheme. */
static moh_status read_metaspace(moh__pre_step *step, const json_t *json,
                                 moh_error *err) {
  static const char *const names[] = {"always", "first", "never", NULL};
  int scheme_ = ALWAYS;
  bool prefix = true;
  uint32_t code;
  const char *replacement;
  step->kind = METASPACE;
  step->behavior = MERGED_WITH_NEXT;
  step->cuts = true;
  MOH_TRY(moh__json_get_string(json, "replacement", &replacement, err));
  step->replacement = moh__text_of(replacement);
  if (moh__utf8_next(step->replacement, &code) != step->replacement.n) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the \"replacement\" of a Metaspace is not one "
                     "character");
  }
  MOH_TRY(get_flag(json, "split", &step->cuts, err));
  MOH_TRY(get_flag(json, "add_prefix_space", &prefix, err));
  if (json_object_get(json, "prepend_scheme") != NULL) {
    MOH_TRY(get_choice(json, "prepend_scheme", names, &scheme_, err));
  } else if (!prefix) {
    scheme_ = NEVER;
  }
  step->prepend = (scheme)scheme_;
  return MOH_OK;
}

static moh_status add_step(moh__pre_tokenizer *pre, moh__pre_step **step,
                           moh_error *err) {
  if (pre->n == MAX_STEPS) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a pre-tokenizer of more than %d steps", MAX_STEPS);
  }
  *step = &pre->steps[pre->n++];
  return MOH_OK;
}

/* Two steps at most; that words are bytes then is the model's affair. */
static moh_status read_byte_level(moh__pre_tokenizer *pre, const json_t *json,
                                  moh_error *err) {
  moh__pre_step *step;
  bool prefix, pattern = true;
  MOH_TRY(moh__json_get_bool(json, "add_prefix_space", &prefix, err));
  MOH_TRY(get_flag(json, "use_regex", &pattern, err));
  pre->byte_level = true;
  if (prefix) {
    MOH_TRY(add_step(pre, &step, err));
    step->kind = PREFIX;
  }
  if (!pattern) return MOH_OK;
  MOH_TRY(add_step(pre, &step, err));
  return isolate(step,
                 "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| "
                 "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                 err);
}

static const struct {
  const char *type;
  moh_status (*read)(moh__pre_step *, const json_t *, moh_error *);
} known[] = {
    {"WhitespaceSplit", read_blanks},
    {"Whitespace", read_whitespace},
    {"Punctuation", read_punctuation},
    {"Digits", read_digits},
    {"Split", read_split},
    {"Metaspace", read_metaspace},
};

/* A pre-tokenizer that is read, and what it is for. */
typedef struct reading {
  moh__pre_tokenizer *pre;
  bool bpe;
} reading;

static moh_status read_step(void *context, const json_t *json,
                            moh_error *err) {
  const reading *r = context;
  if (r->pre->byte_level) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a pre-tokenizer behind ByteLevel is not known here");
  }
  if (moh__is_type(json, "ByteLevel") && r->bpe) {
    return read_byte_level(r->pre, json, err);
  }
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (!moh__is_type(json, known[i].type)) continue;
    moh__pre_step *step;
    MOH_TRY(add_step(r->pre, &step, err));
    return known[i].read(step, json, err);
  }
  return moh__refuse("pre-tokenizer", json, err);
}

moh_status moh__pre_tokenizer_read(moh__pre_tokenizer *pre,
                                   const json_t *json, bool bpe,
                                   moh_error *err) {
  reading r = {pre, bpe};
  pre->steps = calloc(MAX_STEPS, sizeof(*pre->steps));
  if (pre->steps == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
  }
  if (moh__is_absent(json)) return MOH_OK;
  return moh__each_part(json, "pretokenizers", read_step, &r, err);
}

void moh__pre_tokenizer_free(moh__pre_tokenizer *pre) {
  for (size_t i = 0; i < pre->n; i++) {
    moh__pattern_free(&pre->steps[i].pattern);
  }
  free(pre->steps);
  *pre = (moh__pre_tokenizer){0};
}

/* ---- cutting ----------------------------------------------------------- */

static moh_status cut_step(const moh__cutting *cut, size_t step,
                           moh__text text, moh__front place);

/* Matches and the rest of a text, as they come; the last one waits where it
 * may be put together with the next. */
typedef struct spans {
  const moh__cutting *cut;
  size_t step;
  moh__text text;
  moh__front place;
  bool waits, match; /* what the one that waits is */
  size_t from, to;
} spans;

static moh_status hand_on(const spans *s, size_t from, size_t to) {
  return cut_step(s->cut, s->step + 1, moh__text_part(s->text, from, to),
                  from == 0 ? s->place : MOH__FRONT_INSIDE);
}

static bool belongs(const spans *s, behavior by, bool match) {
  switch (by) {
    case MERGED_WITH_PREVIOUS:
      return match && !s->match;
    case MERGED_WITH_NEXT:
      return !match && s->match;
    default:
      return match == s->match;
  }
}

static moh_status add_span(spans *s, size_t from, size_t to, bool match) {
  const moh__pre_step *by = &s->cut->pre->steps[s->step];
  match = match != by->invert;
  if (by->behavior == ISOLATED) return hand_on(s, from, to);
  if (by->behavior == REMOVED) return match ? MOH_OK : hand_on(s, from, to);
  if (s->waits && belongs(s, by->behavior, match)) {
    s->to = to;
  } else {
    if (s->waits) MOH_TRY(hand_on(s, s->from, s->to));
    s->from = from;
    s->to = to;
  }
  s->waits = true;
  s->match = match;
  return MOH_OK;
}

/* A match, and before it the rest behind the one before. */
static moh_status add_match(spans *s, size_t *done, size_t start,
                            size_t end) {
  if (*done < start) MOH_TRY(add_span(s, *done, start, false));
  *done = end;
  return add_span(s, start, end, true);
}

static moh_status finish(spans *s, size_t done) {
  if (done < s->text.n) MOH_TRY(add_span(s, done, s->text.n, false));
  return s->waits ? hand_on(s, s->from, s->to) : MOH_OK;
}

static moh_status cut_pattern(spans *s) {
  const moh__pre_step *by = &s->cut->pre->steps[s->step];
  moh__search search = moh__search_in(&by->pattern, s->text);
  moh_error *err = s->cut->err;
  size_t done = 0;
  for (;;) {
    bool found;
    moh_status status =
        moh__search_next(&search, s->cut->matcher, &found, err);
    if (status != MOH_OK) {
      return moh__fail_in(err, status, "pre-tokenizer step %zu", s->step + 1);
    }
    if (!found) return finish(s, done);
    MOH_TRY(add_match(s, &done, search.start, search.end));
  }
}

static bool matches(const moh__pre_step *by, moh__text character,
                    uint32_t code) {
  if (by->kind == BLANKS) return moh__is_blank(code);
  if (by->kind == PUNCTUATION) return moh__is_punctuation(code);
  return character.n == by->replacement.n &&
         moh__text_starts(character, by->replacement);
}

static moh_status cut_characters(spans *s) {
  const moh__pre_step *by = &s->cut->pre->steps[s->step];
  size_t done = 0, at = 0;
  uint32_t code = 0;
  while (at < s->text.n) {
    moh__text rest = moh__text_part(s->text, at, s->text.n);
    size_t n = moh__utf8_next(rest, &code);
    if (matches(by, moh__text_part(rest, 0, n), code)) {
      MOH_TRY(add_match(s, &done, at, at + n));
    }
    at += n;
  }
  return finish(s, done);
}

/* With a blank in front, as each word inside a text has one. */
static moh_status prefixed(moh__text text, moh__front place, moh__buffer *out,
                           moh_error *err) {
  if (text.bytes[0] != ' ' && place != MOH__FRONT_JOINED) {
    MOH_TRY(moh__buffer_add(out, moh__text_of(" "), err));
  }
  return moh__buffer_add(out, text, err);
}

static moh_status replaced(const moh__pre_step *by, moh__text text,
                           moh__front place, moh__buffer *out,
                           moh_error *err) {
  bool wanted = place != MOH__FRONT_JOINED &&
                (by->prepend == ALWAYS ||
                 (by->prepend == FIRST && place == MOH__FRONT_FIRST));
  if (wanted && text.bytes[0] != ' ' &&
      !moh__text_starts(text, by->replacement)) {
    MOH_TRY(moh__buffer_add(out, by->replacement, err));
  }
  for (size_t at = 0; at < text.n; at++) {
    const char *blank = memchr(text.bytes + at, ' ', text.n - at);
    size_t end = blank == NULL ? text.n : (size_t)(blank - text.bytes);
    MOH_TRY(moh__buffer_add(out, moh__text_part(text, at, end), err));
    if (blank != NULL) MOH_TRY(moh__buffer_add(out, by->replacement, err));
    at = end;
  }
  return MOH_OK;
}

/* Steps that change the text first. */
static moh_status cut_changed(spans *s) {
  const moh__pre_step *by = &s->cut->pre->steps[s->step];
  moh__buffer changed = {0};
  moh_status status =
      by->kind == PREFIX
          ? prefixed(s->text, s->place, &changed, s->cut->err)
          : replaced(by, s->text, s->place, &changed, s->cut->err);
  s->text = moh__buffer_text(&changed);
  if (status == MOH_OK) {
    status = by->cuts ? cut_characters(s) : hand_on(s, 0, s->text.n);
  }
  moh__buffer_free(&changed);
  return status;
}

/* The steps from one on. */
static moh_status cut_step(const moh__cutting *cut, size_t step,
                           moh__text text, moh__front place) {
  if (text.n == 0) return MOH_OK;
  if (step == cut->pre->n) return cut->fn(cut->context, text, cut->err);
  spans s = {.cut = cut, .step = step, .text = text, .place = place};
  switch (cut->pre->steps[step].kind) {
    case PATTERN:
      return cut_pattern(&s);
    case PREFIX:
    case METASPACE:
      return cut_changed(&s);
    default:
      return cut_characters(&s);
  }
}

moh_status moh__pre_tokenizer_cut(const moh__cutting *cutting, moh__text text,
                                  moh__front place) {
  return cut_step(cutting, 0, text, place);
}
