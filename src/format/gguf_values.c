/* Metadata of GGUF by key. What is read has the kind that its reader expects,
 * or is refused with both names. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/gguf.h"

static uint64_t bits_at(const unsigned char *at, size_t n) {
  uint64_t bits = 0;
  for (size_t i = n; i > 0; i--) bits = bits << 8 | at[i - 1];
  return bits;
}

static bool is_integer(moh__gguf_kind kind) {
  return kind <= MOH__GGUF_I32 || kind == MOH__GGUF_U64 ||
         kind == MOH__GGUF_I64;
}

static bool is_real(moh__gguf_kind kind) {
  return kind == MOH__GGUF_F32 || kind == MOH__GGUF_F64;
}

static bool is_signed(moh__gguf_kind kind) {
  return kind == MOH__GGUF_I8 || kind == MOH__GGUF_I16 ||
         kind == MOH__GGUF_I32 || kind == MOH__GGUF_I64;
}

/* Element i of whole numbers; false: above INT64_MAX. */
static bool integer_at(const moh__gguf_value *value, size_t i, int64_t *out) {
  size_t n = moh__gguf_kind_bytes(value->element);
  uint64_t bits = bits_at(value->at + i * n, n);
  if (is_signed(value->element) && n > 0 && n < 8) {
    uint64_t sign = UINT64_C(1) << (8 * n - 1);
    bits = (bits ^ sign) - sign;
  }
  if (!is_signed(value->element) && bits > INT64_MAX) return false;
  memcpy(out, &bits, sizeof(*out));
  return true;
}

static double real_at(const moh__gguf_value *value, size_t i) {
  size_t n = moh__gguf_kind_bytes(value->element);
  const unsigned char *at = value->at + i * n;
  float single;
  double wide;
  if (n == sizeof(single)) {
    memcpy(&single, at, sizeof(single));
    return (double)single;
  }
  memcpy(&wide, at, sizeof(wide));
  return wide;
}

/* ---- finding ---- */

static moh_status fail_kind(const moh__gguf *file, const char *key,
                            const moh__gguf_value *value, const char *want,
                            moh_error *err) {
  bool array = value->kind == MOH__GGUF_ARRAY;
  return moh__fail(err, MOH_ERR_FORMAT, "%s: key '%s' is %s%s, not %s",
                   file->path, key, array ? "an array of " : "of the kind ",
                   moh__gguf_kind_name(value->element), want);
}

static moh_status find(const moh__gguf *file, const char *key,
                       const moh__gguf_value **out, moh_error *err) {
  *out = moh__gguf_find(file, key);
  if (*out != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "%s: the key '%s' is missing",
                   file->path, key);
}

/* An array whose elements fit; *n of them. */
static moh_status find_array(const moh__gguf *file, const char *key,
                             bool (*fits)(moh__gguf_kind kind),
                             const char *want, const moh__gguf_value **out,
                             moh_error *err) {
  MOH_TRY(find(file, key, out, err));
  if ((*out)->kind == MOH__GGUF_ARRAY && fits((*out)->element)) return MOH_OK;
  return fail_kind(file, key, *out, want, err);
}

/* ---- single values ---- */

moh_status moh__gguf_get_integer(const moh__gguf *file, const char *key,
                                 int64_t *out, moh_error *err) {
  const moh__gguf_value *value = NULL;
  MOH_TRY(find(file, key, &value, err));
  if (!is_integer(value->kind))
    return fail_kind(file, key, value, "a whole number", err);
  if (integer_at(value, 0, out)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "%s: key '%s' is too large",
                   file->path, key);
}

moh_status moh__gguf_get_number(const moh__gguf *file, const char *key,
                                double *out, moh_error *err) {
  const moh__gguf_value *value = NULL;
  int64_t whole;
  MOH_TRY(find(file, key, &value, err));
  if (is_real(value->kind)) {
    *out = real_at(value, 0);
    return MOH_OK;
  }
  if (!is_integer(value->kind))
    return fail_kind(file, key, value, "a number", err);
  MOH_TRY(moh__gguf_get_integer(file, key, &whole, err));
  *out = (double)whole;
  return MOH_OK;
}

moh_status moh__gguf_get_bool(const moh__gguf *file, const char *key,
                              bool *out, moh_error *err) {
  const moh__gguf_value *value = NULL;
  MOH_TRY(find(file, key, &value, err));
  if (value->kind != MOH__GGUF_BOOL)
    return fail_kind(file, key, value, "a bool", err);
  *out = value->at[0] != 0;
  return MOH_OK;
}

/* The string at `at`; the end of it. Its length was checked at opening. */
static const unsigned char *string_at(const unsigned char *at,
                                      moh__gguf_string *out) {
  out->n = (size_t)bits_at(at, 8);
  out->bytes = (const char *)at + 8;
  return at + 8 + out->n;
}

moh_status moh__gguf_get_string(const moh__gguf *file, const char *key,
                                moh__gguf_string *out, moh_error *err) {
  const moh__gguf_value *value = NULL;
  MOH_TRY(find(file, key, &value, err));
  if (value->kind != MOH__GGUF_STRING)
    return fail_kind(file, key, value, "a string", err);
  string_at(value->at, out);
  return MOH_OK;
}

/* ---- arrays ---- */

static bool is_string(moh__gguf_kind kind) {
  return kind == MOH__GGUF_STRING;
}

/* The number of elements was compared with the bytes at opening. */
static moh_status make_room(const moh__gguf_value *value, size_t size,
                            void **out, size_t *n, moh_error *err) {
  *n = value->n;
  *out = calloc(value->n + 1, size);
  if (*out != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

moh_status moh__gguf_get_strings(const moh__gguf *file, const char *key,
                                 moh__gguf_string **out, size_t *n,
                                 moh_error *err) {
  const moh__gguf_value *value = NULL;
  void *room = NULL;
  MOH_TRY(
      find_array(file, key, is_string, "an array of strings", &value, err));
  MOH_TRY(make_room(value, sizeof(**out), &room, n, err));
  *out = room;
  const unsigned char *at = value->at;
  for (size_t i = 0; i < *n; i++) at = string_at(at, &(*out)[i]);
  return MOH_OK;
}

moh_status moh__gguf_get_numbers(const moh__gguf *file, const char *key,
                                 float **out, size_t *n, moh_error *err) {
  const moh__gguf_value *value = NULL;
  void *room = NULL;
  MOH_TRY(find_array(file, key, is_real, "an array of f32", &value, err));
  MOH_TRY(make_room(value, sizeof(**out), &room, n, err));
  *out = room;
  for (size_t i = 0; i < *n; i++) (*out)[i] = (float)real_at(value, i);
  return MOH_OK;
}

moh_status moh__gguf_get_integers(const moh__gguf *file, const char *key,
                                  int32_t **out, size_t *n, moh_error *err) {
  const moh__gguf_value *value = NULL;
  void *room = NULL;
  MOH_TRY(find_array(file, key, is_integer, "an array of whole numbers",
                     &value, err));
  MOH_TRY(make_room(value, sizeof(**out), &room, n, err));
  int32_t *numbers = room;
  for (size_t i = 0; i < *n; i++) {
    int64_t x = 0;
    if (integer_at(value, i, &x) && x >= INT32_MIN && x <= INT32_MAX) {
      numbers[i] = (int32_t)x;
      continue;
    }
    free(room);
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: element %zu of key '%s' is too large", file->path,
                     i, key);
  }
  *out = numbers;
  return MOH_OK;
}
