/* Normal forms with the tables of utf8proc. Its own decomposition of a whole
 * text sorts marks by exchanging neighbours, which takes n * n steps for a
 * long run of them; so it is asked character by character here. */
#include "text/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "base/checked.h"
#include "text/utf8.h"

enum {
  PARTS_MAX = 32, /* code points of a character that is taken apart */
  CODE_BITS = 21
};

typedef struct codes {
  int32_t *codes;
  size_t n, capacity;
} codes;

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory to normalize a text");
}

/* Room for one more character's parts. */
static moh_status reserve(codes *c, moh_error *err) {
  if (c->n + PARTS_MAX <= c->capacity) return MOH_OK;
  size_t capacity = 2 * c->capacity + 2 * PARTS_MAX;
  int32_t *grown = reallocarray(c->codes, capacity, sizeof(*grown));
  if (grown == NULL) return no_memory(err);
  c->codes = grown;
  c->capacity = capacity;
  return MOH_OK;
}

static moh_status take_apart(codes *c, moh__text text, int options,
                             moh_error *err) {
  uint32_t code = 0;
  for (size_t at = 0; at < text.n;) {
    at += moh__utf8_next(moh__text_part(text, at, text.n), &code);
    MOH_TRY(reserve(c, err));
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)code, c->codes + c->n,
                                PARTS_MAX, (utf8proc_option_t)options, NULL);
    if (n < 0 || n > PARTS_MAX) {
      return moh__fail(err, MOH_ERR_UNSUPPORTED,
                       "U+%04X cannot be normalized", code);
    }
    c->n += (size_t)n;
  }
  return MOH_OK;
}

static unsigned class_of(int32_t code) {
  return (unsigned)utf8proc_get_property(code)->combining_class;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* A run of marks by class, each class in the order in which it came. */
static moh_status sort_run(int32_t *run, size_t n, moh_error *err) {
  uint64_t few[64], *keys = n <= 64 ? few : NULL;
  if (n < 2) return MOH_OK;
  if (keys == NULL) keys = reallocarray(NULL, n, sizeof(*keys));
  if (keys == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    keys[i] = (uint64_t)class_of(run[i]) << 56 | (uint64_t)i << CODE_BITS |
              (uint64_t)run[i];
  }
  qsort(keys, n, sizeof(*keys), compare);
  for (size_t i = 0; i < n; i++) {
    run[i] = (int32_t)(keys[i] & ((1u << CODE_BITS) - 1));
  }
  if (keys != few) free(keys);
  return MOH_OK;
}

static moh_status sort_marks(codes *c, moh_error *err) {
  for (size_t i = 0; i < c->n;) {
    size_t start = i;
    while (i < c->n && class_of(c->codes[i]) != 0) i++;
    MOH_TRY(sort_run(c->codes + start, i - start, err));
    i += i == start;
  }
  return MOH_OK;
}

static moh_status normalize(codes *c, moh__normal_form form, moh__text text,
                            moh__buffer *out, moh_error *err) {
  bool composed = form == MOH__NFC || form == MOH__NFKC;
  int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  if (form == MOH__NFKC || form == MOH__NFKD) options |= UTF8PROC_COMPAT;
  MOH_TRY(take_apart(c, text, options, err));
  MOH_TRY(sort_marks(c, err));
  if (composed && c->n > 0) {
    utf8proc_ssize_t n = utf8proc_normalize_utf32(
        c->codes, (utf8proc_ssize_t)c->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n < 0) return no_memory(err);
    c->n = (size_t)n;
  }
  for (size_t i = 0; i < c->n; i++) {
    MOH_TRY(moh__buffer_add_code(out, (uint32_t)c->codes[i], err));
  }
  return MOH_OK;
}

/* ASCII is its own normal form. */
static size_t ascii_front(moh__text text) {
  size_t n = 0;
  while (n < text.n && (unsigned char)text.bytes[n] < 0x80) n++;
  return n;
}

moh_status moh__unicode_normalize(moh__normal_form form, moh__text text,
                                  moh__buffer *out, moh_error *err) {
  codes c = {0};
  size_t plain = ascii_front(text);
  if (plain < text.n && plain > 0) plain--;
  MOH_TRY(moh__buffer_add(out, moh__text_part(text, 0, plain), err));
  text = moh__text_part(text, plain, text.n);
  moh_status status = normalize(&c, form, text, out, err);
  free(c.codes);
  return status;
}

/* Only U+0130 has two characters as its small letter. */
moh_status moh__unicode_lower(moh__text text, moh__buffer *out,
                              moh_error *err) {
  uint32_t code = 0;
  for (size_t at = 0; at < text.n;) {
    at += moh__utf8_next(moh__text_part(text, at, text.n), &code);
    bool two = code == 0x130;
    uint32_t lower =
        two ? 'i' : (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    MOH_TRY(moh__buffer_add_code(out, lower, err));
    if (two) MOH_TRY(moh__buffer_add_code(out, 0x307, err));
  }
  return MOH_OK;
}

bool moh__is_mark(uint32_t code) {
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool moh__is_punctuation(uint32_t code) {
  if (code < 0x80) {
    return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
           (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
  }
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool moh__is_word(uint32_t code) {
  utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
  return (category >= UTF8PROC_CATEGORY_LU &&
          category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC || code == 0x200C || code == 0x200D;
}
