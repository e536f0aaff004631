/*
 * The texts of a file: a JSON array of strings, or one plain text. Whatever
 * is not as it should be is refused with the file and the place in it.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/json.h"
#include "text/dataset.h"
#include "text/tokenizer_internal.h"

static moh_status no_memory(const char *name, moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "%s: no memory for its texts", name);
}

void moh__texts_free(moh__texts *texts) {
  if (texts->examples) {
    json_decref(texts->owner);
  } else {
    free(texts->owner);
  }
  free(texts->texts);
  *texts = (moh__texts){0};
}

/* ---- JSON ------------------------------------------------------------- */

/* "element 3 is ..." */
static moh_status refuse_element(const json_t *element, size_t place,
                                 const char *name, moh_error *err) {
  static const char *const kinds[] = {"an object", "an array", "a string",
                                      "a number", "a number", "true",
                                      "false", "null"};
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: element %zu (counted from 0) is %s; every element "
                   "must be a string",
                   name, place, kinds[json_typeof(element)]);
}

static moh_status read_strings(moh__texts *texts, const json_t *array,
                               const char *name, moh_error *err) {
  size_t n = json_array_size(array);
  if (n == 0) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: not an array of strings, or an empty one; write "
                     "[\"first text\", \"second text\"]",
                     name);
  }
  texts->texts = calloc(n, sizeof(*texts->texts));
  if (texts->texts == NULL) return no_memory(name, err);
  for (size_t i = 0; i < n; i++) {
    const json_t *element = json_array_get(array, i);
    if (!json_is_string(element)) {
      return refuse_element(element, i, name, err);
    }
    texts->texts[i].bytes = json_string_value(element);
    texts->texts[i].n = json_string_length(element);
  }
  texts->n = n;
  return MOH_OK;
}

static moh_status parse_json(moh__texts *texts, moh__text file,
                             const char *name, moh_error *err) {
  json_t *array = NULL;
  MOH_TRY(moh__json_parse(&array, file.bytes, file.n, name, err));
  texts->owner = array;
  texts->examples = true;
  return read_strings(texts, array, name, err);
}

/* ---- plain text ------------------------------------------------------- */

static moh_status check_utf8(moh__text file, const char *name,
                             moh_error *err) {
  size_t valid = moh__utf8_valid(file), line = 1;
  if (valid == file.n) return MOH_OK;
  for (size_t i = 0; i < valid; i++) line += file.bytes[i] == '\n';
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s, line %zu, byte %zu of the file: not UTF-8; convert "
                   "the file, for example with iconv",
                   name, line, valid);
}

static moh_status parse_plain(moh__texts *texts, moh__text file,
                              const char *name, moh_error *err) {
  MOH_TRY(check_utf8(file, name, err));
  texts->examples = false;
  texts->texts = calloc(1, sizeof(*texts->texts));
  texts->owner = malloc(file.n);
  if (texts->texts == NULL || texts->owner == NULL) {
    return no_memory(name, err);
  }
  memcpy(texts->owner, file.bytes, file.n);
  texts->texts[0] = (moh__text){texts->owner, file.n};
  texts->n = 1;
  return MOH_OK;
}

/* ---- both ------------------------------------------------------------- */

static moh__text without_mark(moh__text file) {
  bool marked = file.n >= 3 && memcmp(file.bytes, "\xEF\xBB\xBF", 3) == 0;
  return marked ? (moh__text){file.bytes + 3, file.n - 3} : file;
}

moh_status moh__texts_parse(moh__texts *texts, const char *bytes, size_t n,
                            bool json, const char *name, moh_error *err) {
  *texts = (moh__texts){0};
  if (n > MOH__TEXT_FILE_MAX) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: %zu bytes; a text file has at most %d, so split "
                     "it",
                     name, n, MOH__TEXT_FILE_MAX);
  }
  moh__text file = without_mark((moh__text){bytes, n});
  if (file.n == 0) {
    return moh__fail(err, MOH_ERR_FORMAT, "%s: the file is empty", name);
  }
  moh_status status = json ? parse_json(texts, file, name, err)
                           : parse_plain(texts, file, name, err);
  if (status != MOH_OK) moh__texts_free(texts);
  return status;
}

moh_status moh__texts_load(moh__texts *texts, const char *path,
                           moh_error *err) {
  *texts = (moh__texts){0};
  const char *ending = strrchr(path, '.');
  bool json = ending != NULL && strcasecmp(ending, ".json") == 0;
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__texts_parse(texts, (const char *)map.bytes,
                                       map.size, json, path, err);
  moh__map_close(&map);
  return status;
}
