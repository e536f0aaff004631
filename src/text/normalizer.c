/* Reading normalizers, and applying them one after the other. */
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"
#include "text/unicode.h"

enum {
  MAX_STEPS = 64,
  /* A text may become so many times longer, and so many bytes. */
  MAX_GROWTH = 64,
  MAX_EXTRA = 1 << 16
};

typedef enum kind {
  FORM,
  LOWERCASE,
  STRIP_ACCENTS,
  STRIP,
  REPLACE,
  PREPEND
} kind;

typedef struct step {
  kind kind;
  moh__normal_form form;
  bool left, right;     /* STRIP */
  moh__pattern pattern; /* REPLACE */
  moh__text content;    /* REPLACE, PREPEND */
} step;

struct moh__normalizer {
  step *steps; /* [MAX_STEPS] */
  size_t n;
};

void moh__normalizer_free(moh__normalizer *normalizer) {
  if (normalizer == NULL) return;
  for (size_t i = 0; i < normalizer->n; i++) {
    moh__pattern_free(&normalizer->steps[i].pattern);
  }
  free(normalizer->steps);
  free(normalizer);
}

/* ---- reading ----------------------------------------------------------- */

static moh_status read_form(step *s, const json_t *json, moh_error *err) {
  static const char *const names[] = {"NFC", "NFD", "NFKC", "NFKD"};
  (void)err;
  s->kind = FORM;
  for (int i = 0; i < 4; i++) {
    if (moh__is_type(json, names[i])) s->form = (moh__normal_form)i;
  }
  return MOH_OK;
}

static moh_status read_lowercase(step *s, const json_t *json,
                                 moh_error *err) {
  (void)json, (void)err;
  s->kind = LOWERCASE;
  return MOH_OK;
}

static moh_status read_accents(step *s, const json_t *json, moh_error *err) {
  (void)json, (void)err;
  s->kind = STRIP_ACCENTS;
  return MOH_OK;
}

static moh_status read_strip(step *s, const json_t *json, moh_error *err) {
  s->kind = STRIP;
  MOH_TRY(moh__json_get_bool(json, "strip_left", &s->left, err));
  return moh__json_get_bool(json, "strip_right", &s->right, err);
}

static moh_status read_replace(step *s, const json_t *json, moh_error *err) {
  const json_t *pattern;
  const char *content;
  s->kind = REPLACE;
  MOH_TRY(moh__json_get_string(json, "content", &content, err));
  s->content = moh__text_of(content);
  MOH_TRY(moh__get_object(json, "pattern", &pattern, err));
  return moh__pattern_read(&s->pattern, pattern, err);
}

static moh_status read_prepend(step *s, const json_t *json, moh_error *err) {
  const char *content;
  s->kind = PREPEND;
  MOH_TRY(moh__json_get_string(json, "prepend", &content, err));
  s->content = moh__text_of(content);
  return MOH_OK;
}

static const struct {
  const char *type;
  moh_status (*read)(step *, const json_t *, moh_error *);
} known[] = {
    {"NFC", read_form},
    {"NFD", read_form},
    {"NFKC", read_form},
    {"NFKD", read_form},
    {"Lowercase", read_lowercase},
    {"StripAccents", read_accents},
    {"Strip", read_strip},
    {"Replace", read_replace},
    {"Prepend", read_prepend},
};

static moh_status read_step(void *context, const json_t *json,
                            moh_error *err) {
  moh__normalizer *normalizer = context;
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (!moh__is_type(json, known[i].type)) continue;
    if (normalizer->n == MAX_STEPS) {
      return moh__fail(err, MOH_ERR_UNSUPPORTED,
                       "a normalizer of more than %d steps", MAX_STEPS);
    }
    return known[i].read(&normalizer->steps[normalizer->n++], json, err);
  }
  return moh__refuse("normalizer", json, err);
}

moh_status moh__normalizer_read(moh__normalizer **out, const json_t *json,
                                moh_error *err) {
  *out = NULL;
  if (moh__is_absent(json)) return MOH_OK;
  moh__normalizer *normalizer = calloc(1, sizeof(*normalizer));
  moh_status status = MOH_OK;
  if (normalizer != NULL) {
    normalizer->steps = calloc(MAX_STEPS, sizeof(step));
  }
  if (normalizer == NULL || normalizer->steps == NULL) {
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
  } else {
    status = moh__each_part(json, "normalizers", read_step, normalizer, err);
  }
  if (status == MOH_OK && normalizer->n > 0) {
    *out = normalizer;
  } else {
    moh__normalizer_free(normalizer);
  }
  return status;
}

/* ---- applying ---------------------------------------------------------- */

static moh_status drop_marks(moh__text text, moh__buffer *out,
                             moh_error *err) {
  uint32_t code = 0;
  for (size_t at = 0; at < text.n;) {
    size_t n = moh__utf8_next(moh__text_part(text, at, text.n), &code);
    if (!moh__is_mark(code)) {
      MOH_TRY(moh__buffer_add(out, moh__text_part(text, at, at + n), err));
    }
    at += n;
  }
  return MOH_OK;
}

static moh__text stripped(const step *s, moh__text text) {
  size_t start = 0, end = 0;
  uint32_t code = 0;
  for (size_t at = 0; at < text.n;) {
    at += moh__utf8_next(moh__text_part(text, at, text.n), &code);
    if (!moh__is_blank(code)) {
      end = at;
    } else if (s->left && end == 0) {
      start = at;
    }
  }
  if (!s->right) end = text.n;
  return moh__text_part(text, start, end < start ? start : end);
}

static moh_status check_growth(size_t before, size_t now, moh_error *err) {
  if (now / MAX_GROWTH <= before || now <= MAX_EXTRA) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the normalizer would make a text of %zu bytes more than "
                   "%d times longer",
                   before, MAX_GROWTH);
}

static moh_status replace(const step *s, const moh__matcher *matcher,
                          moh__text text, moh__buffer *out, moh_error *err) {
  moh__search search = moh__search_in(&s->pattern, text);
  size_t done = 0;
  for (;;) {
    bool found;
    moh_status status = moh__search_next(&search, matcher, &found, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "normalizer");
    if (!found) break;
    MOH_TRY(
        moh__buffer_add(out, moh__text_part(text, done, search.start), err));
    MOH_TRY(moh__buffer_add(out, s->content, err));
    MOH_TRY(check_growth(text.n, out->n, err));
    done = search.end;
  }
  return moh__buffer_add(out, moh__text_part(text, done, text.n), err);
}

static moh_status prepend(const step *s, moh__text text, moh__front place,
                          moh__buffer *out, moh_error *err) {
  if (text.n > 0 && place != MOH__FRONT_JOINED)
    MOH_TRY(moh__buffer_add(out, s->content, err));
  return moh__buffer_add(out, text, err);
}

static moh_status apply(const step *s, const moh__matcher *matcher,
                        moh__text text, moh__front place, moh__buffer *out,
                        moh_error *err) {
  switch (s->kind) {
    case FORM:
      return moh__unicode_normalize(s->form, text, out, err);
    case LOWERCASE:
      return moh__unicode_lower(text, out, err);
    case STRIP_ACCENTS:
      return drop_marks(text, out, err);
    case STRIP:
      return moh__buffer_add(out, stripped(s, text), err);
    case REPLACE:
      return replace(s, matcher, text, out, err);
    default:
      return prepend(s, text, place, out, err);
  }
}

moh_status moh__normalizer_apply(const moh__normalizer *normalizer,
                                 const moh__matcher *matcher, moh__text text,
                                 moh__front place, moh__buffer buffers[2],
                                 moh__text *result, moh_error *err) {
  size_t n = text.n;
  *result = text;
  if (normalizer == NULL) return MOH_OK;
  for (size_t i = 0; i < normalizer->n; i++) {
    moh__buffer *out = &buffers[i % 2];
    out->n = 0;
    MOH_TRY(apply(&normalizer->steps[i], matcher, *result, place, out, err));
    *result = moh__buffer_text(out);
    MOH_TRY(check_growth(n, result->n, err));
  }
  return MOH_OK;
}
