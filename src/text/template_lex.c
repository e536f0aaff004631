/*
 * Tokens of a template. Outside of {{ }} and {% %} everything is data, of
 * which white space goes as the language says: {%- and -%} take all of it;
 * a block or a comment takes the blanks before it on its line (lstrip_blocks)
 * and one end of line behind it (trim_blocks), unless it has a + there.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/template_internal.h"

static moh_status fail(const moh__tlexer *l, size_t at, const char *what) {
  return moh__template_fail(l->name, l->source, at, l->err, "%s", what);
}

moh_status moh__template_fail(const char *name, moh__text source, size_t at,
                              moh_error *err, const char *format, ...) {
  char message[256];
  size_t line = 1, column = 1;
  uint32_t code;
  va_list rest;
  va_start(rest, format);
  vsnprintf(message, sizeof(message), format, rest);
  va_end(rest);
  for (size_t i = 0; i < at && i < source.n;) {
    bool ends = source.bytes[i] == '\n';
    moh__text more = moh__text_part(source, i, source.n);
    size_t n = moh__utf8_next(more, &code);
    i += n > 0 ? n : 1;
    line += ends;
    column = ends ? 1 : column + 1;
  }
  return moh__fail(err, MOH_ERR_FORMAT, "%s: line %zu, column %zu: %s", name,
                   line, column, message);
}

moh_status moh__tlexer_no_room(const moh__tlexer *l, size_t at) {
  char message[64];
  if (!l->pool->full)
    return moh__fail(l->err, MOH_ERR_MEMORY, "no memory for a template");
  snprintf(message, sizeof(message), "a tree of more than %zu bytes",
           l->pool->most);
  return fail(l, at, message);
}

/* ---- characters -------------------------------------------------------- */

static bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The byte at a place, NUL behind the end. */
static char byte_at(const moh__tlexer *l, size_t at) {
  return at < l->source.n ? l->source.bytes[at] : '\0';
}

static bool stands(const moh__tlexer *l, size_t at, const char *what) {
  return moh__text_starts(moh__text_part(l->source, at, l->source.n),
                          moh__text_of(what));
}

static void skip_blanks(moh__tlexer *l) {
  while (l->at < l->source.n && is_blank(l->source.bytes[l->at])) l->at++;
}

/* ---- data -------------------------------------------------------------- */

/* The place of the next {{, {% or {#, or the end. */
static size_t find_tag(const moh__tlexer *l) {
  for (size_t i = l->at; i + 1 < l->source.n; i++) {
    char next = l->source.bytes[i + 1];
    if (l->source.bytes[i] == '{' &&
        (next == '{' || next == '%' || next == '#'))
      return i;
  }
  return l->source.n;
}

/* Where the data in front of a tag ends. */
static size_t data_end(const moh__tlexer *l, size_t tag) {
  size_t end = tag, start = l->at;
  char sign = byte_at(l, tag + 2);
  while (end > start && is_blank(l->source.bytes[end - 1]) &&
         (sign == '-' || l->source.bytes[end - 1] != '\n'))
    end--;
  if (sign == '-') return end;
  bool line = end > start ? l->source.bytes[end - 1] == '\n' : l->line_start;
  bool is_output = byte_at(l, tag + 1) == '{';
  return line && !is_output && sign != '+' ? end : tag;
}

/* Behind the end of a tag that takes white space; `sign`: what stands
 * before its end. */
static void close_tag(moh__tlexer *l, char sign, bool takes_line) {
  if (sign == '-')
    skip_blanks(l);
  else if (takes_line && sign != '+' && byte_at(l, l->at) == '\n')
    l->at++;
  l->line_start = l->source.bytes[l->at - 1] == '\n';
}

static moh_status skip_comment(moh__tlexer *l) {
  size_t start = l->at;
  l->at += 2;
  if (byte_at(l, l->at) == '-' || byte_at(l, l->at) == '+') l->at++;
  size_t first = l->at;
  while (!stands(l, l->at, "#}")) {
    if (l->at >= l->source.n) return fail(l, start, "a comment without end");
    l->at++;
  }
  char sign = l->at > first ? l->source.bytes[l->at - 1] : '\0';
  l->at += 2;
  close_tag(l, sign, true);
  return MOH_OK;
}

static void open_tag(moh__tlexer *l, moh__ttoken *token) {
  l->in_code = true;
  l->in_block = l->source.bytes[l->at + 1] == '%';
  l->open = 0;
  l->line_start = false;
  token->kind = l->in_block ? MOH__TTOKEN_BLOCK : MOH__TTOKEN_OUTPUT;
  token->at = l->at;
  l->at += 2;
  char sign = byte_at(l, l->at);
  if (sign == '-' || sign == '+') l->at++;
}

static moh_status next_data(moh__tlexer *l, moh__ttoken *token) {
  for (;;) {
    size_t tag = find_tag(l);
    size_t start = l->at;
    size_t end = tag < l->source.n ? data_end(l, tag) : tag;
    l->at = tag;
    if (end > start) {
      token->kind = MOH__TTOKEN_DATA;
      token->text = moh__text_part(l->source, start, end);
      token->at = start;
      l->line_start = false;
      return MOH_OK;
    }
    if (tag == l->source.n) {
      token->kind = MOH__TTOKEN_END;
      token->at = tag;
      return MOH_OK;
    }
    if (l->source.bytes[tag + 1] != '#') {
      open_tag(l, token);
      return MOH_OK;
    }
    MOH_TRY(skip_comment(l));
  }
}

/* ---- strings ----------------------------------------------------------- */

static int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* n hexadecimal digits behind \x, \u or \U; gives the bytes written, 0 when
 * they are no character. */
static size_t put_hex(const char *digits, size_t left, size_t n, char *out) {
  uint32_t code = 0;
  if (left < n) return 0;
  for (size_t i = 0; i < n; i++) {
    int digit = hex_digit(digits[i]);
    if (digit < 0) return 0;
    code = code << 4 | (uint32_t)digit;
  }
  bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return surrogate || code > 0x10FFFF ? 0 : moh__utf8_put(code, out);
}

/* What a letter behind a backslash stands for; NUL: itself, with the
 * backslash. */
static char escaped(char c) {
  static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
  const char *place = c == '\0' ? NULL : strchr(from, c);
  return place == NULL ? '\0' : to[place - from];
}

/* One escape at *from, a backslash; both places move on. */
static bool put_escape(moh__text raw, size_t *from, char *out, size_t *n) {
  char c = raw.bytes[*from + 1];
  size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits > 0) {
    size_t written =
        put_hex(raw.bytes + *from + 2, raw.n - *from - 2, digits, out + *n);
    *from += 2 + digits;
    *n += written;
    return written > 0;
  }
  if (is_digit(c) || c == 'N') return false;
  *from += 2;
  if (c == '\n') return true; /* the line goes on */
  char stands_for = escaped(c);
  if (stands_for == '\0') {
    out[(*n)++] = '\\';
    stands_for = c;
  }
  out[(*n)++] = stands_for;
  return true;
}

static moh_status next_string(moh__tlexer *l, moh__ttoken *token) {
  char quote = l->source.bytes[l->at];
  size_t start = l->at + 1, end = start, n = 0, from = 0;
  while (end < l->source.n && l->source.bytes[end] != quote)
    end += l->source.bytes[end] == '\\' ? 2 : 1;
  if (end >= l->source.n) return fail(l, l->at, "a string without end");
  moh__text raw = moh__text_part(l->source, start, end);
  char *text = moh__tpool_alloc(l->pool, raw.n + 1);
  if (text == NULL) return moh__tlexer_no_room(l, l->at);
  while (from < raw.n) {
    if (raw.bytes[from] != '\\')
      text[n++] = raw.bytes[from++];
    else if (!put_escape(raw, &from, text, &n))
      return fail(l, start + from, "an escape that is not known here");
  }
  token->kind = MOH__TTOKEN_STRING;
  token->text = (moh__text){text, n};
  l->at = end + 1;
  return MOH_OK;
}

/* ---- other code -------------------------------------------------------- */

static moh_status next_integer(moh__tlexer *l, moh__ttoken *token) {
  int64_t number = 0;
  size_t start = l->at;
  for (; is_digit(byte_at(l, l->at)) || byte_at(l, l->at) == '_'; l->at++) {
    char c = l->source.bytes[l->at];
    if (c == '_') continue;
    if (__builtin_mul_overflow(number, 10, &number) ||
        __builtin_add_overflow(number, c - '0', &number))
      return fail(l, start, "a number that is too large");
  }
  bool fraction = byte_at(l, l->at) == '.' && is_digit(byte_at(l, l->at + 1));
  if (fraction || is_letter(byte_at(l, l->at)))
    return fail(l, start, "only whole decimal numbers are known here");
  token->kind = MOH__TTOKEN_INTEGER;
  token->number = number;
  return MOH_OK;
}

static void next_name(moh__tlexer *l, moh__ttoken *token) {
  size_t start = l->at;
  while (is_letter(byte_at(l, l->at)) || is_digit(byte_at(l, l->at))) l->at++;
  token->kind = MOH__TTOKEN_NAME;
  token->text = moh__text_part(l->source, start, l->at);
}

/* %} or }}, with a sign or without; only where no bracket is open. */
static bool ends_here(const moh__tlexer *l, size_t *n) {
  const char *end = l->in_block ? "%}" : "}}";
  char c = byte_at(l, l->at);
  bool sign = c == '-' || (c == '+' && l->in_block);
  *n = sign ? 3 : 2;
  return l->open == 0 && stands(l, l->at + sign, end);
}

static moh_status next_sign(moh__tlexer *l, moh__ttoken *token) {
  static const char *const doubles[] = {"//", "**", "==", "!=", ">=", "<="};
  char c = l->source.bytes[l->at];
  size_t n = 1;
  for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++)
    if (stands(l, l->at, doubles[i])) n = 2;
  if (n == 1 && (c == '\0' || strchr("+-/*%~[](){}<>=.:|,;", c) == NULL))
    return fail(l, l->at, "a character that means nothing here");
  if (strchr("([{", c) != NULL) l->open++;
  if (strchr(")]}", c) != NULL && l->open > 0) l->open--;
  token->kind = MOH__TTOKEN_SIGN;
  token->text = moh__text_part(l->source, l->at, l->at + n);
  l->at += n;
  return MOH_OK;
}

static void end_code(moh__tlexer *l, moh__ttoken *token, size_t n) {
  char sign = n == 3 ? l->source.bytes[l->at] : '\0';
  token->kind = l->in_block ? MOH__TTOKEN_BLOCK_END : MOH__TTOKEN_OUTPUT_END;
  l->at += n;
  l->in_code = false;
  close_tag(l, sign, l->in_block);
}

static moh_status next_code(moh__tlexer *l, moh__ttoken *token) {
  size_t n;
  skip_blanks(l);
  token->at = l->at;
  if (l->at >= l->source.n)
    return fail(l, l->at, l->in_block ? "%} is missing" : "}} is missing");
  char c = l->source.bytes[l->at];
  if (ends_here(l, &n)) {
    end_code(l, token, n);
    return MOH_OK;
  }
  if (is_digit(c)) return next_integer(l, token);
  if (c == '\'' || c == '"') return next_string(l, token);
  if (!is_letter(c)) return next_sign(l, token);
  next_name(l, token);
  return MOH_OK;
}

moh_status moh__tlexer_next(moh__tlexer *l, moh__ttoken *token) {
  *token = (moh__ttoken){.kind = MOH__TTOKEN_END};
  return l->in_code ? next_code(l, token) : next_data(l, token);
}
