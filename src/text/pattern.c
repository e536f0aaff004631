/* Patterns: from Ruby's spelling to PCRE2's, and searching. */
#include "text/pattern.h"

#include <string.h>

#include "base/json.h"
#include "text/buffer.h"
#include "text/utf8.h"

enum {
  MAX_PATTERN = 1 << 16,  /* bytes of a regular expression */
  MATCH_LIMIT = 1000000,  /* steps of one search */
  DEPTH_LIMIT = 100000,   /* nested steps */
  HEAP_LIMIT = 20 * 1024, /* KiB of one search */
  WINDOW = 256,           /* bytes that are searched at first ... */
  GROWTH = 16,            /* ... and so many times more each time */
  /* Bytes of longer windows, for each byte of a text, and anyway. */
  PRICE = 128,
  FREE_OF_CHARGE = 1 << 27
};

bool moh__is_blank(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0D);
  return code == 0x85 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
         code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

/* ---- spelling ---------------------------------------------------------- */

/* All but white space, for a class. */
#define NO_BLANKS                                                       \
  "\\x00-\\x08\\x0E-\\x1F\\x21-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}" \
  "\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}"           \
  "\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}"
/* Characters of words, for a class. */
#define WORDS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

/* A pattern on its way from one spelling to the other. */
typedef struct spelling {
  moh__text from;
  size_t at;
  bool in_class;
  moh__buffer *to;
  moh_error *err;
} spelling;

static moh_status put(spelling *s, const char *text) {
  return moh__buffer_add(s->to, moh__text_of(text), s->err);
}

static moh_status take(spelling *s, size_t n) {
  moh__text part = moh__text_part(s->from, s->at, s->at + n);
  s->at += n;
  return moh__buffer_add(s->to, part, s->err);
}

static char char_at(const spelling *s, size_t at) {
  return at < s->from.n ? s->from.bytes[at] : '\0';
}

static moh_status refuse(const spelling *s, size_t n, const char *what) {
  moh__text part = moh__text_part(s->from, s->at, s->from.n);
  if (part.n > n) part.n = n;
  return moh__fail(s->err, MOH_ERR_UNSUPPORTED,
                   "%s, \"%.*s\" at byte %zu of the pattern \"%.*s\", is not "
                   "known here",
                   what, moh__quoted(part), part.bytes, s->at,
                   moh__quoted(s->from), s->from.bytes);
}

/* \s and its like, whose characters are written out. */
static const char *written_out(char letter, bool in_class) {
  switch (letter) {
    case 's':
      return in_class ? MOH__BLANKS : "[" MOH__BLANKS "]";
    case 'S':
      return in_class ? NO_BLANKS : "[^" MOH__BLANKS "]";
    case 'w':
      return in_class ? WORDS : "[" WORDS "]";
    case 'W':
      return in_class ? NULL : "[^" WORDS "]";
    case 'b':
      return in_class ? NULL
                      : "(?:(?<=[" WORDS "])(?![" WORDS "])|(?<![" WORDS
                        "])(?=[" WORDS "]))";
    default:
      return NULL;
  }
}

/* The length of \p{L} and its like, of two bytes without braces. */
static size_t escape_length(const spelling *s) {
  const char *rest = s->from.bytes + s->at;
  size_t left = s->from.n - s->at;
  char letter = char_at(s, s->at + 1);
  if (left < 2) return left;
  if (letter == '\0' || strchr("pPx", letter) == NULL) return 2;
  if (char_at(s, s->at + 2) != '{') return 2;
  const char *end = memchr(rest, '}', left);
  return end == NULL ? 2 : (size_t)(end - rest) + 1;
}

static moh_status spell_escape(spelling *s) {
  char letter = char_at(s, s->at + 1);
  const char *written = written_out(letter, s->in_class);
  if (written != NULL) {
    s->at += 2;
    return put(s, written);
  }
  bool other = letter != '\0' && strchr("hHQEXRNBGKgk", letter) != NULL;
  if (other || (s->in_class && letter == 'W')) {
    return refuse(s, 2, "what stands for several characters");
  }
  return take(s, escape_length(s));
}

/* A class in a class and what two have in common are Ruby's alone. */
static moh_status spell_in_class(spelling *s) {
  char c = char_at(s, s->at), next = char_at(s, s->at + 1);
  if (c == '[' && next != ':') return refuse(s, 2, "a class in a class");
  if (c == '&' && next == '&') return refuse(s, 2, "what classes share");
  if (c == '[') {
    const char *rest = s->from.bytes + s->at;
    const char *end = memmem(rest, s->from.n - s->at, ":]", 2);
    if (end != NULL) return take(s, (size_t)(end - rest) + 2);
  }
  if (c == ']') s->in_class = false;
  return take(s, 1);
}

static moh_status spell_class(spelling *s) {
  s->in_class = true;
  MOH_TRY(take(s, char_at(s, s->at + 1) == '^' ? 2 : 1));
  return char_at(s, s->at) == ']' ? put(s, "\\") : MOH_OK;
}

/* Groups that both know: (?: (?= (?! (?> (?< and the options i and x. */
static moh_status spell_group(spelling *s) {
  size_t at = s->at + 2;
  if (char_at(s, s->at + 1) == '*') return refuse(s, 8, "a verb");
  if (char_at(s, s->at + 1) != '?') return take(s, 1);
  char kind = char_at(s, at);
  if (kind != '\0' && strchr(":=!><", kind) != NULL) return take(s, 3);
  while (char_at(s, at) == 'i' || char_at(s, at) == 'x' ||
         char_at(s, at) == '-') {
    at++;
  }
  bool known = char_at(s, at) == ':' || char_at(s, at) == ')';
  if (!known || at == s->at + 2) return refuse(s, 4, "a group");
  return take(s, at - s->at);
}

/* Ruby takes {2}+ for a repetition of a repetition. */
static moh_status spell_count(spelling *s) {
  const char *rest = s->from.bytes + s->at;
  const char *end = memchr(rest, '}', s->from.n - s->at);
  if (end == NULL) return take(s, 1);
  size_t n = (size_t)(end - rest) + 1;
  if (char_at(s, s->at + n) == '+') {
    return refuse(s, n + 1, "a repetition of a repetition");
  }
  return take(s, n);
}

static moh_status spell(spelling *s) {
  while (s->at < s->from.n) {
    char c = char_at(s, s->at);
    if (c == '\\') {
      MOH_TRY(spell_escape(s));
    } else if (s->in_class) {
      MOH_TRY(spell_in_class(s));
    } else if (c == '[') {
      MOH_TRY(spell_class(s));
    } else if (c == '(') {
      MOH_TRY(spell_group(s));
    } else if (c == '{') {
      MOH_TRY(spell_count(s));
    } else {
      MOH_TRY(take(s, 1));
    }
  }
  return MOH_OK;
}

/* ---- patterns ---------------------------------------------------------- */

/* `shown` is what messages quote. Compiled to machine code where PCRE2 can.
 */
static moh_status compile(moh__pattern *pattern, moh__text text,
                          moh__text shown, uint32_t options, moh_error *err) {
  int code = 0;
  PCRE2_SIZE place = 0;
  unsigned char reason[128];
  pattern->code = pcre2_compile((PCRE2_SPTR)text.bytes, text.n,
                                PCRE2_UTF | PCRE2_USE_OFFSET_LIMIT | options,
                                &code, &place, NULL);
  if (pattern->code != NULL) {
    (void)pcre2_jit_compile(pattern->code,
                            PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    return MOH_OK;
  }
  pcre2_get_error_message(code, reason, sizeof(reason));
  return moh__fail(
      err, MOH_ERR_FORMAT, "the pattern \"%.*s\" is wrong near byte %zu: %s",
      moh__quoted(shown), shown.bytes, (size_t)place, (const char *)reason);
}

static moh_status check_length(moh__text pattern, moh_error *err) {
  if (pattern.n <= MAX_PATTERN) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a pattern of %zu bytes; at most %d can be used",
                   pattern.n, MAX_PATTERN);
}

moh_status moh__pattern_regex(moh__pattern *pattern, moh__text regex,
                              moh_error *err) {
  moh__buffer spelled = {0};
  spelling s = {regex, 0, false, &spelled, err};
  *pattern = (moh__pattern){0};
  MOH_TRY(check_length(regex, err));
  moh_status status = put(&s, "");
  if (status == MOH_OK) status = spell(&s);
  if (status == MOH_OK) {
    status =
        compile(pattern, moh__buffer_text(&spelled), regex,
                PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, err);
  }
  moh__buffer_free(&spelled);
  return status;
}

moh_status moh__pattern_literal(moh__pattern *pattern, moh__text text,
                                moh_error *err) {
  *pattern = (moh__pattern){0};
  MOH_TRY(check_length(text, err));
  return compile(pattern, text, text, PCRE2_LITERAL, err);
}

moh_status moh__pattern_read(moh__pattern *pattern, const json_t *json,
                             moh_error *err) {
  const char *text;
  if (json_object_get(json, "Regex") != NULL) {
    MOH_TRY(moh__json_get_string(json, "Regex", &text, err));
    return moh__pattern_regex(pattern, moh__text_of(text), err);
  }
  MOH_TRY(moh__json_get_string(json, "String", &text, err));
  return moh__pattern_literal(pattern, moh__text_of(text), err);
}

void moh__pattern_free(moh__pattern *pattern) {
  pcre2_code_free(pattern->code);
  *pattern = (moh__pattern){0};
}

/* ---- searching --------------------------------------------------------- */

moh_status moh__matcher_open(moh__matcher *matcher, moh_error *err) {
  matcher->data = pcre2_match_data_create(1, NULL);
  matcher->limits = pcre2_match_context_create(NULL);
  if (matcher->data == NULL || matcher->limits == NULL) {
    moh__matcher_close(matcher);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory to search in a text");
  }
  pcre2_set_match_limit(matcher->limits, MATCH_LIMIT);
  pcre2_set_depth_limit(matcher->limits, DEPTH_LIMIT);
  pcre2_set_heap_limit(matcher->limits, HEAP_LIMIT);
  return MOH_OK;
}

void moh__matcher_close(moh__matcher *matcher) {
  pcre2_match_data_free(matcher->data);
  pcre2_match_context_free(matcher->limits);
  *matcher = (moh__matcher){0};
}

/* One search for a match that begins at `start`, or, unless `single`, behind
 * it; in the text up to `end`, where PCRE2_ERROR_PARTIAL tells that a match
 * may go on. */
static int search_part(const moh__search *search, const moh__matcher *matcher,
                       size_t start, size_t end, bool single) {
  const pcre2_code *code = search->pattern->code;
  PCRE2_SPTR subject = (PCRE2_SPTR)search->text.bytes;
  uint32_t options = PCRE2_NO_UTF_CHECK;
  if (end < search->text.n) options |= PCRE2_PARTIAL_HARD;
  pcre2_set_offset_limit(matcher->limits, single ? start : PCRE2_UNSET);
  int rc = pcre2_match(code, subject, end, start, options, matcher->data,
                       matcher->limits);
  if (rc != PCRE2_ERROR_JIT_STACKLIMIT) return rc;
  return pcre2_match(code, subject, end, start, options | PCRE2_NO_JIT,
                     matcher->data, matcher->limits);
}

static moh_status take_match(moh__search *search, const moh__matcher *matcher,
                             moh_error *err) {
  const PCRE2_SIZE *match = pcre2_get_ovector_pointer(matcher->data);
  search->start = match[0];
  search->end = match[1];
  if (match[0] >= search->from && match[1] >= match[0]) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "its pattern moves the start of a match");
}

static moh_status give_up(const moh__search *search, int rc, moh_error *err) {
  unsigned char reason[128];
  pcre2_get_error_message(rc, reason, sizeof(reason));
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "its pattern gave up on a text of %zu bytes: %s",
                   search->text.n, (const char *)reason);
}

/* Searching far ahead is paid for out of what the text as a whole allows. */
static moh_status pay(moh__search *search, size_t n, moh_error *err) {
  search->paid += n;
  if (search->paid / PRICE <= search->text.n ||
      search->paid <= FREE_OF_CHARGE) {
    return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "its pattern gave up on a text of %zu bytes: it looks far "
                   "ahead again and again",
                   search->text.n);
}

/* Where a window that begins at `start` ends: between characters. */
static size_t window_end(moh__text text, size_t start, size_t window) {
  if (text.n - start <= window) return text.n;
  size_t end = start + window;
  while (((unsigned char)text.bytes[end] & 0xC0) == 0x80) end--;
  return end;
}

/*
 * The first match at or behind search->from. Looked for in a window that is
 * short; where a match may reach behind its end, that start alone is tried
 * with ever longer ones. So no pattern takes the square of a long text's
 * length in time unnoticed: short windows cost a fixed number of steps a
 * byte, and long ones are paid for.
 */
static moh_status find(moh__search *search, const moh__matcher *matcher,
                       bool *found, moh_error *err) {
  moh__text text = search->text;
  size_t start = search->from, window = WINDOW;
  uint32_t code;
  *found = false;
  for (;;) {
    size_t end = window_end(text, start, window);
    bool single = window > WINDOW;
    if (single) MOH_TRY(pay(search, end - start, err));
    int rc = search_part(search, matcher, start, end, single);
    if (rc >= 0) {
      *found = true;
      return take_match(search, matcher, err);
    }
    if (rc == PCRE2_ERROR_PARTIAL) {
      start = pcre2_get_ovector_pointer(matcher->data)[0];
      window *= GROWTH;
    } else if (rc != PCRE2_ERROR_NOMATCH) {
      return give_up(search, rc, err);
    } else if (single && start < text.n) {
      start += moh__utf8_next(moh__text_part(text, start, text.n), &code);
      window = WINDOW;
    } else if (end == text.n) {
      return MOH_OK;
    } else {
      start = end;
    }
  }
}

moh_status moh__search_next(moh__search *search, const moh__matcher *matcher,
                            bool *found, moh_error *err) {
  moh__text text = search->text;
  uint32_t code;
  *found = false;
  while (search->from <= text.n) {
    MOH_TRY(find(search, matcher, found, err));
    if (!*found) return MOH_OK;
    bool counts = search->end > search->start || search->end != search->last;
    if (counts) {
      search->from = search->last = search->end;
      return MOH_OK;
    }
    *found = false;
    if (search->from == text.n) return MOH_OK;
    search->from +=
        moh__utf8_next(moh__text_part(text, search->from, text.n), &code);
  }
  return MOH_OK;
}
