/*
 * JSON files through jansson: strict, duplicate keys refused, messages with
 * file, line and column. And fields by name, with messages that name them.
 */
#ifndef MOH_BASE_JSON_H
#define MOH_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* A new reference in *out, to be freed with json_decref. `name` stands for
 * the text in messages. */
moh_status moh__json_parse(json_t **out, const char *text, size_t n,
                           const char *name, moh_error *err);
/* The same of one line of a file, whose number messages give. */
moh_status moh__json_parse_line(json_t **out, const char *text, size_t n,
                                const char *name, int64_t line,
                                moh_error *err);
moh_status moh__json_load(json_t **out, const char *path, moh_error *err);

/* Writes atomically, indented by two, with a final newline. Whole-number
 * reals keep their point. */
moh_status moh__json_save(const json_t *json, const char *path,
                          moh_error *err);

/* Fields of an object. A missing or mistyped one is MOH_ERR_FORMAT with its
 * name. Integers must lie in [min, max]. */
moh_status moh__json_get_int(const json_t *object, const char *key,
                             int64_t min, int64_t max, int64_t *value,
                             moh_error *err);
moh_status moh__json_get_real(const json_t *object, const char *key,
                              double *value, moh_error *err);
moh_status moh__json_get_bool(const json_t *object, const char *key,
                              bool *value, moh_error *err);
/* Borrowed from the object. */
moh_status moh__json_get_string(const json_t *object, const char *key,
                                const char **value, moh_error *err);

#endif
