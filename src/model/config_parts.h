/*
 * Reading and writing fields of config.json, for the files of this room that
 * share its text: config_json.c and config_family.c.
 */
#ifndef MOH_MODEL_CONFIG_PARTS_H
#define MOH_MODEL_CONFIG_PARTS_H

#include <string.h>

#include "base/json.h"

/* ---- writing: 0 is success, as in jansson ---- */

static inline int put_text(json_t *object, const char *key,
                           const char *text) {
  return json_object_set_new(object, key, json_string(text));
}

static inline int put_int(json_t *object, const char *key, int64_t value) {
  return json_object_set_new(object, key, json_integer(value));
}

static inline int put_real(json_t *object, const char *key, double value) {
  return json_object_set_new(object, key, json_real(value));
}

static inline int put_bool(json_t *object, const char *key, bool value) {
  return json_object_set_new(object, key, json_boolean(value));
}

/* A choice that most models do not make is not mentioned by them. */
static inline int put_if(json_t *object, const char *key, bool value) {
  return value ? put_bool(object, key, true) : 0;
}

/* ---- reading ---- */

/* null is as good as nothing. */
static inline bool is_given(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  return value != NULL && !json_is_null(value);
}

/* The place of a text among names, which end with NULL; -1: it is none. */
static inline int place_of(const char *text, const char *const *names) {
  for (int i = 0; names[i] != NULL; i++)
    if (strcmp(names[i], text) == 0) return i;
  return -1;
}

/* The place of a field's text among names. */
static inline moh_status get_choice(const json_t *object, const char *key,
                                    const char *const *names, int *choice,
                                    moh_error *err) {
  const char *text;
  MOH_TRY(moh__json_get_string(object, key, &text, err));
  *choice = place_of(text, names);
  if (*choice >= 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"%s\" is \"%.60s\", which is not known here",
                   key, text);
}

static inline moh_status get_object(const json_t *object, const char *key,
                                    json_t **value, moh_error *err) {
  *value = json_object_get(object, key);
  if (json_is_object(*value)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"%s\" is missing or not an object", key);
}

static inline moh_status get_int(const json_t *object, const char *key,
                                 int64_t *value, moh_error *err) {
  return moh__json_get_int(object, key, INT64_MIN, INT64_MAX, value, err);
}

/* Left as it is where the field is not there. */
static inline moh_status get_bool_if(const json_t *object, const char *key,
                                     bool *value, moh_error *err) {
  if (json_object_get(object, key) == NULL) return MOH_OK;
  return moh__json_get_bool(object, key, value, err);
}

/* Refuses keys that are not among names. */
static inline moh_status refuse_unknown(json_t *object, const char *where,
                                        const char *const *names,
                                        moh_error *err) {
  const char *key;
  json_t *value = NULL;
  json_object_foreach(object, key, value) {
    if (place_of(key, names) < 0)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the field \"%.60s\" in \"%s\" is not known here: the "
                       "file may need a newer version",
                       key, where);
  }
  return MOH_OK;
}

#endif
