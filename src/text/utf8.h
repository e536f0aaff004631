/* UTF-8 in texts of any bytes. */
#ifndef MOH_TEXT_UTF8_H
#define MOH_TEXT_UTF8_H

#include "text/tokenizer.h"

static inline moh__text moh__text_of(const char *string) {
  return (moh__text){string, __builtin_strlen(string)};
}

static inline bool moh__utf8_tail(const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (((unsigned char)bytes[i] & 0xC0) != 0x80) return false;
  }
  return true;
}

/* The length in bytes of the character at the front of a text, and its code
 * point; 0 when the text is empty or starts with what is not UTF-8: cut and
 * overlong forms, surrogates, above U+10FFFF (RFC 3629). */
static inline size_t moh__utf8_next(moh__text text, uint32_t *code) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  if (text.n == 0) return 0;
  unsigned char first = (unsigned char)text.bytes[0];
  *code = first;
  if (first < 0x80) return 1;
  size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || n > text.n) return 0;
  if (!moh__utf8_tail(text.bytes + 1, n - 1)) return 0;
  uint32_t value = first & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; i++) {
    value = value << 6 | ((unsigned char)text.bytes[i] & 0x3F);
  }
  *code = value;
  bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return value < least[n] || surrogate || value > 0x10FFFF ? 0 : n;
}

/* A code point as UTF-8: its length, 1 to 4. */
static inline size_t moh__utf8_put(uint32_t code, char utf8[4]) {
  static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  if (code < 0x80) {
    utf8[0] = (char)code;
    return 1;
  }
  size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--) {
    utf8[i] = (char)(0x80 | (code & 0x3F));
    code >>= 6;
  }
  utf8[0] = (char)(lead[n] | code);
  return n;
}

/* The length of the longest front part that is UTF-8. */
static inline size_t moh__utf8_valid(moh__text text) {
  size_t at = 0;
  uint32_t code;
  for (;;) {
    moh__text rest = {text.bytes + at, text.n - at};
    size_t step = moh__utf8_next(rest, &code);
    if (step == 0) return at;
    at += step;
  }
}

/* For quoting in a message: the bytes of the front part that ends between
 * characters, at most 48. */
static inline int moh__quoted(moh__text text) {
  moh__text front = {text.bytes, text.n < 48 ? text.n : 48};
  return (int)moh__utf8_valid(front);
}

/* Bytes [from, to) of a text. */
static inline moh__text moh__text_part(moh__text text, size_t from,
                                       size_t to) {
  return (moh__text){text.bytes + from, to - from};
}

static inline bool moh__text_starts(moh__text text, moh__text front) {
  return front.n <= text.n &&
         __builtin_memcmp(text.bytes, front.bytes, front.n) == 0;
}

#endif
