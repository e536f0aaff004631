/*
 * JSON through jansson, strict: duplicate keys, trailing text and invalid
 * UTF-8 are refused with file, line and column.
 */
#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static moh_status parse(json_t **out, const char *text, size_t n,
                        const char *name, int64_t first_line,
                        moh_error *err) {
  json_error_t where;
  *out = json_loadb(n == 0 ? "" : text, n, JSON_REJECT_DUPLICATES, &where);
  if (*out != NULL) return MOH_OK;
  if (json_error_code(&where) == json_error_out_of_memory)
    return moh__fail(err, MOH_ERR_MEMORY, "%s: out of memory", name);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s, line %" PRId64 ", column %d: not valid JSON: %s",
                   name, first_line + where.line - 1, where.column,
                   where.text);
}

moh_status moh__json_parse(json_t **out, const char *text, size_t n,
                           const char *name, moh_error *err) {
  return parse(out, text, n, name, 1, err);
}

moh_status moh__json_parse_line(json_t **out, const char *text, size_t n,
                                const char *name, int64_t line,
                                moh_error *err) {
  return parse(out, text, n, name, line, err);
}

moh_status moh__json_load(json_t **out, const char *path, moh_error *err) {
  *out = NULL;
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status =
      moh__json_parse(out, (const char *)map.bytes, map.size, path, err);
  moh__map_close(&map);
  return status;
}

static bool reads_back(const json_t *json, const char *text) {
  json_t *copy = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  bool same = copy != NULL && json_equal(json, copy);
  json_decref(copy);
  return same;
}

/* With 15 digits 1e-6 is "1e-6", with 17 it is "9.9999999999999995e-7";
 * but only 17 are enough for every double. */
static char *print(const json_t *json) {
  char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
  if (text == NULL || reads_back(json, text)) return text;
  free(text);
  return json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
}

moh_status moh__json_save(const json_t *json, const char *path,
                          moh_error *err) {
  char *text = print(json);
  if (text == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory to write '%s'",
                     path);
  size_t n = strlen(text);
  text[n] = '\n'; /* in place of the NUL */
  moh_status status = moh__write_file(path, text, n + 1, err);
  free(text);
  return status;
}

/* ---- fields ---- */

static moh_status get(const json_t *object, const char *key,
                      const json_t **value, moh_error *err) {
  *value = json_object_get(object, key);
  if (*value != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "the field \"%s\" is missing", key);
}

static moh_status fail_type(moh_error *err, const char *key,
                            const char *type) {
  return moh__fail(err, MOH_ERR_FORMAT, "the field \"%s\" must be %s", key,
                   type);
}

moh_status moh__json_get_int(const json_t *object, const char *key,
                             int64_t min, int64_t max, int64_t *value,
                             moh_error *err) {
  const json_t *field;
  MOH_TRY(get(object, key, &field, err));
  if (!json_is_integer(field)) return fail_type(err, key, "a whole number");
  int64_t number = json_integer_value(field);
  if (number < min || number > max)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the field \"%s\" is %" PRId64
                     ", it must lie between %" PRId64 " and %" PRId64,
                     key, number, min, max);
  *value = number;
  return MOH_OK;
}

moh_status moh__json_get_real(const json_t *object, const char *key,
                              double *value, moh_error *err) {
  const json_t *field;
  MOH_TRY(get(object, key, &field, err));
  if (!json_is_number(field)) return fail_type(err, key, "a number");
  *value = json_number_value(field);
  return MOH_OK;
}

moh_status moh__json_get_bool(const json_t *object, const char *key,
                              bool *value, moh_error *err) {
  const json_t *field;
  MOH_TRY(get(object, key, &field, err));
  if (!json_is_boolean(field)) return fail_type(err, key, "true or false");
  *value = json_is_true(field);
  return MOH_OK;
}

moh_status moh__json_get_string(const json_t *object, const char *key,
                                const char **value, moh_error *err) {
  const json_t *field;
  MOH_TRY(get(object, key, &field, err));
  if (!json_is_string(field)) return fail_type(err, key, "a string");
  *value = json_string_value(field);
  return MOH_OK;
}
