/*
 * Values of a template, and their memory. Strings are never changed: a part
 * of one points into it. Every byte of a string has a mark beside it that
 * says whether it is content, so that a value knows its origin through
 * everything that is done with it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/template_internal.h"

/* ---- memory ------------------------------------------------------------ */

typedef struct moh__tchunk {
  struct moh__tchunk *next;
  size_t used, size;
  max_align_t data[];
} moh__tchunk;

enum { CHUNK = 16384 };

static moh__tchunk *add_chunk(moh__tpool *pool, size_t n) {
  size_t size = n > CHUNK ? n : CHUNK, bytes;
  if (!moh__add_size(size, sizeof(moh__tchunk), &bytes)) return NULL;
  moh__tchunk *chunk = calloc(1, bytes);
  if (chunk == NULL) return NULL;
  *chunk = (moh__tchunk){.next = pool->chunks, .size = size};
  pool->chunks = chunk;
  return chunk;
}

void *moh__tpool_alloc(moh__tpool *pool, size_t n) {
  size_t unit = sizeof(max_align_t), rounded, used;
  if (!moh__add_size(n, unit - 1, &rounded)) return NULL;
  rounded -= rounded % unit;
  if (!moh__add_size(pool->used, rounded, &used)) return NULL;
  pool->full = pool->most > 0 && used > pool->most;
  if (pool->full) return NULL;
  moh__tchunk *chunk = pool->chunks;
  if (chunk == NULL || chunk->size - chunk->used < rounded)
    chunk = add_chunk(pool, rounded);
  if (chunk == NULL) return NULL;
  void *place = (char *)chunk->data + chunk->used;
  chunk->used += rounded;
  pool->used = used;
  return place;
}

void moh__tpool_free(moh__tpool *pool) {
  while (pool->chunks != NULL) {
    moh__tchunk *next = pool->chunks->next;
    free(pool->chunks);
    pool->chunks = next;
  }
  *pool = (moh__tpool){0};
}

/* ---- bounds and messages ----------------------------------------------- */

moh_status moh__trun_fail(moh__trun *run, const char *format, ...) {
  char message[200];
  moh__text source = {run->program->source, run->program->n};
  va_list rest;
  va_start(rest, format);
  vsnprintf(message, sizeof(message), format, rest);
  va_end(rest);
  (void)moh__template_fail(run->program->name, source, run->at, run->err,
                           "%s", message);
  return MOH_ERR_FORMAT;
}

moh_status moh__trun_charge(moh__trun *run, size_t n) {
  run->steps -= 1 + (int64_t)(n / 16);
  if (run->steps >= 0) return MOH_OK;
  return moh__trun_fail(run, "the template takes more than %lld steps",
                        (long long)run->limits.steps);
}

void *moh__trun_alloc(moh__trun *run, size_t n, size_t size) {
  size_t bytes;
  void *place = NULL;
  if (moh__mul_size(n, size, &bytes))
    place = moh__tpool_alloc(&run->pool, bytes);
  if (place == NULL)
    (void)moh__trun_fail(run, "the template takes more than %zu bytes",
                         run->limits.memory);
  else if (moh__trun_charge(run, bytes) != MOH_OK)
    return NULL;
  return place;
}

const char *moh__tkind_name(moh__tkind kind) {
  static const char *const names[MOH__T_KINDS] = {
      [MOH__T_UNDEFINED] = "an undefined value",
      [MOH__T_NONE] = "none",
      [MOH__T_BOOL] = "a truth value",
      [MOH__T_INT] = "a number",
      [MOH__T_STRING] = "a string",
      [MOH__T_LIST] = "a list",
      [MOH__T_DICT] = "a dictionary",
      [MOH__T_NAMESPACE] = "a namespace"};
  return names[kind];
}

/* ---- strings ----------------------------------------------------------- */

/* Where `more` bytes go behind an output's end; NULL behind a message. */
static char *reserve(moh__trun *run, moh__toutput *o, size_t more) {
  size_t needed;
  if (!moh__add_size(o->n, more, &needed) || needed > run->limits.output) {
    (void)moh__trun_fail(run, "the template writes more than %zu bytes",
                         run->limits.output);
    return NULL;
  }
  if (needed <= o->capacity && o->bytes != NULL) return o->bytes + o->n;
  size_t capacity = o->n > 0 ? 2 * needed : needed;
  char *bytes = moh__trun_alloc(run, capacity, 1);
  unsigned char *content = moh__trun_alloc(run, capacity, 1);
  if (bytes == NULL || content == NULL) return NULL;
  if (o->n > 0) memcpy(bytes, o->bytes, o->n);
  if (o->n > 0) memcpy(content, o->content, o->n);
  *o = (moh__toutput){bytes, content, o->n, capacity};
  return bytes + o->n;
}

moh_status moh__toutput_put(moh__trun *run, moh__toutput *o,
                            const char *bytes, size_t n, bool content) {
  char *place = reserve(run, o, n);
  if (place == NULL) return MOH_ERR_FORMAT;
  if (n == 0) return MOH_OK;
  memcpy(place, bytes, n);
  memset(o->content + o->n, content, n);
  o->n += n;
  return MOH_OK;
}

moh_status moh__toutput_add(moh__trun *run, moh__toutput *o,
                            const moh__tstring *string) {
  char *place = reserve(run, o, string->n);
  if (place == NULL) return MOH_ERR_FORMAT;
  memcpy(place, string->bytes, string->n);
  memcpy(o->content + o->n, string->content, string->n);
  o->n += string->n;
  return MOH_OK;
}

moh__tvalue moh__toutput_value(const moh__toutput *o) {
  static const unsigned char none[1];
  if (o->n == 0)
    return (moh__tvalue){.kind = MOH__T_STRING, .string = {0, "", none}};
  return (moh__tvalue){.kind = MOH__T_STRING,
                       .string = {o->n, o->bytes, o->content}};
}

moh_status moh__tvalue_text(moh__trun *run, moh__text text, bool content,
                            moh__tvalue *out) {
  moh__toutput o = {0};
  MOH_TRY(moh__toutput_put(run, &o, text.bytes, text.n, content));
  *out = moh__toutput_value(&o);
  return MOH_OK;
}

char *moh__tvalue_copy(moh__trun *run, const moh__tvalue *string,
                       moh__tvalue *out) {
  moh__toutput o = {0};
  if (moh__toutput_add(run, &o, &string->string) != MOH_OK) return NULL;
  *out = moh__toutput_value(&o);
  return o.bytes;
}

moh__tvalue moh__tvalue_part(const moh__tvalue *v, size_t from, size_t to) {
  moh__tvalue part = *v;
  part.string.n = to - from;
  part.string.bytes += from;
  part.string.content += from;
  return part;
}

moh_status moh__tvalue_join(moh__trun *run, const moh__tvalue *a,
                            const moh__tvalue *b, moh__tvalue *out) {
  moh__toutput o = {0};
  if (reserve(run, &o, a->string.n + b->string.n) == NULL)
    return MOH_ERR_FORMAT;
  MOH_TRY(moh__toutput_add(run, &o, &a->string));
  MOH_TRY(moh__toutput_add(run, &o, &b->string));
  *out = moh__toutput_value(&o);
  return MOH_OK;
}

static bool same_text(const moh__tstring *a, const moh__tstring *b) {
  return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

/* ---- lists and dictionaries -------------------------------------------- */

moh_status moh__tvalue_list(moh__trun *run, size_t capacity,
                            moh__tvalue *out) {
  moh__tlist *list = moh__trun_alloc(run, 1, sizeof(*list));
  if (list == NULL) return MOH_ERR_FORMAT;
  *out = (moh__tvalue){.kind = MOH__T_LIST, .list = list};
  list->capacity = capacity;
  list->items = moh__trun_alloc(run, capacity, sizeof(*list->items));
  return list->items == NULL ? MOH_ERR_FORMAT : MOH_OK;
}

/* Namespaces count as nothing: nothing looks into one that is an item. */
static moh_status deepen(moh__trun *run, const moh__tvalue *item,
                         int *depth) {
  int inner = item->kind == MOH__T_LIST   ? item->list->depth
              : item->kind == MOH__T_DICT ? item->dict->depth
                                          : 0;
  if (inner >= *depth) *depth = inner + 1;
  if (*depth <= MOH__TEMPLATE_DATA_DEPTH_MAX) return MOH_OK;
  return moh__trun_fail(run, "a value that is nested deeper than %d levels",
                        MOH__TEMPLATE_DATA_DEPTH_MAX);
}

/* Twice the room for an array of n values. */
static moh_status grow(moh__trun *run, moh__tvalue **items, size_t n,
                       size_t capacity) {
  moh__tvalue *grown = moh__trun_alloc(run, capacity, sizeof(*grown));
  if (grown == NULL) return MOH_ERR_FORMAT;
  if (n > 0) memcpy(grown, *items, n * sizeof(*grown));
  *items = grown;
  return MOH_OK;
}

moh_status moh__tlist_push(moh__trun *run, moh__tlist *list,
                           const moh__tvalue *item) {
  MOH_TRY(deepen(run, item, &list->depth));
  if (list->n == list->capacity) {
    size_t capacity = 2 * list->capacity + 4;
    MOH_TRY(grow(run, &list->items, list->n, capacity));
    list->capacity = capacity;
  }
  list->items[list->n++] = *item;
  return MOH_OK;
}

moh_status moh__tvalue_dict(moh__trun *run, moh__tkind kind,
                            moh__tvalue *out) {
  moh__tdict *dict = moh__trun_alloc(run, 1, sizeof(*dict));
  if (dict == NULL) return MOH_ERR_FORMAT;
  *out = (moh__tvalue){.kind = kind, .dict = dict};
  return MOH_OK;
}

moh_status moh__tdict_find(moh__trun *run, const moh__tdict *dict,
                           const moh__tvalue *key, moh__tvalue **out) {
  *out = NULL;
  for (size_t i = 0; i < dict->n && *out == NULL; i++) {
    bool equal = false;
    MOH_TRY(moh__tvalue_equal(run, &dict->keys[i], key, &equal));
    if (equal) *out = &dict->values[i];
  }
  return MOH_OK;
}

moh_status moh__tdict_set(moh__trun *run, moh__tdict *dict,
                          const moh__tvalue *key, const moh__tvalue *value) {
  moh__tvalue *place;
  if (key->kind == MOH__T_LIST || key->kind == MOH__T_DICT)
    return moh__trun_fail(run, "%s cannot be a key",
                          moh__tkind_name(key->kind));
  MOH_TRY(deepen(run, value, &dict->depth));
  MOH_TRY(moh__tdict_find(run, dict, key, &place));
  if (place != NULL) {
    *place = *value;
    return MOH_OK;
  }
  if (dict->n == dict->capacity) {
    size_t capacity = 2 * dict->capacity + 4;
    MOH_TRY(grow(run, &dict->keys, dict->n, capacity));
    MOH_TRY(grow(run, &dict->values, dict->n, capacity));
    dict->capacity = capacity;
  }
  dict->keys[dict->n] = *key;
  dict->values[dict->n++] = *value;
  return MOH_OK;
}

/* ---- from outside ------------------------------------------------------ */

static moh_status list_from_json(moh__trun *run, const json_t *json,
                                 bool content, int depth, moh__tvalue *out) {
  MOH_TRY(moh__tvalue_list(run, json_array_size(json), out));
  for (size_t i = 0; i < json_array_size(json); i++) {
    moh__tvalue item = {0};
    MOH_TRY(moh__tvalue_from_json(run, json_array_get(json, i), content,
                                  depth + 1, &item));
    MOH_TRY(moh__tlist_push(run, out->list, &item));
  }
  return MOH_OK;
}

static moh_status dict_from_json(moh__trun *run, const json_t *json,
                                 bool content, int depth, moh__tvalue *out) {
  const char *key;
  const json_t *value;
  MOH_TRY(moh__tvalue_dict(run, MOH__T_DICT, out));
  json_object_foreach((json_t *)json, key, value) {
    moh__tvalue name = {0}, item = {0};
    MOH_TRY(moh__tvalue_text(run, moh__text_of(key), content, &name));
    MOH_TRY(moh__tvalue_from_json(run, value, content, depth + 1, &item));
    MOH_TRY(moh__tdict_set(run, out->dict, &name, &item));
  }
  return MOH_OK;
}

moh_status moh__tvalue_from_json(moh__trun *run, const json_t *json,
                                 bool content, int depth, moh__tvalue *out) {
  if (depth > MOH__TEMPLATE_DATA_DEPTH_MAX)
    return moh__trun_fail(run, "data that is nested too deep");
  switch (json_typeof(json)) {
    case JSON_OBJECT:
      return dict_from_json(run, json, content, depth, out);
    case JSON_ARRAY:
      return list_from_json(run, json, content, depth, out);
    case JSON_STRING:
      return moh__tvalue_text(
          run, (moh__text){json_string_value(json), json_string_length(json)},
          content, out);
    case JSON_INTEGER:
      *out = moh__tvalue_int(json_integer_value(json));
      return MOH_OK;
    case JSON_REAL:
      return moh__trun_fail(run, "data with a number that is not whole");
    case JSON_NULL:
      *out = (moh__tvalue){.kind = MOH__T_NONE};
      return MOH_OK;
    default:
      *out = moh__tvalue_bool(json_is_true(json));
      return MOH_OK;
  }
}

/* ---- what values have in common ---------------------------------------- */

bool moh__tvalue_truth(const moh__tvalue *v) {
  switch (v->kind) {
    case MOH__T_BOOL:
    case MOH__T_INT:
      return v->number != 0;
    case MOH__T_STRING:
      return v->string.n > 0;
    case MOH__T_LIST:
      return v->list->n > 0;
    case MOH__T_DICT:
      return v->dict->n > 0;
    default:
      return v->kind == MOH__T_NAMESPACE;
  }
}

static bool is_number(const moh__tvalue *v) {
  return v->kind == MOH__T_INT || v->kind == MOH__T_BOOL;
}

static moh_status equal_lists(moh__trun *run, const moh__tlist *a,
                              const moh__tlist *b, bool *equal) {
  *equal = a->n == b->n;
  for (size_t i = 0; i < a->n && *equal; i++)
    MOH_TRY(moh__tvalue_equal(run, &a->items[i], &b->items[i], equal));
  return MOH_OK;
}

static moh_status equal_dicts(moh__trun *run, const moh__tdict *a,
                              const moh__tdict *b, bool *equal) {
  *equal = a->n == b->n;
  for (size_t i = 0; i < a->n && *equal; i++) {
    moh__tvalue *other;
    MOH_TRY(moh__tdict_find(run, b, &a->keys[i], &other));
    *equal = other != NULL;
    if (*equal) MOH_TRY(moh__tvalue_equal(run, &a->values[i], other, equal));
  }
  return MOH_OK;
}

moh_status moh__tvalue_equal(moh__trun *run, const moh__tvalue *a,
                             const moh__tvalue *b, bool *equal) {
  MOH_TRY(moh__trun_charge(run, 0));
  *equal = false;
  if (is_number(a) && is_number(b)) {
    *equal = a->number == b->number;
    return MOH_OK;
  }
  if (a->kind != b->kind) return MOH_OK;
  switch (a->kind) {
    case MOH__T_STRING:
      MOH_TRY(moh__trun_charge(run, a->string.n));
      *equal = same_text(&a->string, &b->string);
      return MOH_OK;
    case MOH__T_LIST:
      return equal_lists(run, a->list, b->list, equal);
    case MOH__T_DICT:
      return equal_dicts(run, a->dict, b->dict, equal);
    case MOH__T_NAMESPACE:
      *equal = a->dict == b->dict;
      return MOH_OK;
    default:
      *equal = true;
      return MOH_OK;
  }
}

moh_status moh__tvalue_show(moh__trun *run, const moh__tvalue *v,
                            moh__tvalue *out) {
  char number[32];
  const char *text = "";
  switch (v->kind) {
    case MOH__T_STRING:
      *out = *v;
      return MOH_OK;
    case MOH__T_NONE:
      text = "None";
      break;
    case MOH__T_BOOL:
      text = v->number ? "True" : "False";
      break;
    case MOH__T_INT:
      snprintf(number, sizeof(number), "%lld", (long long)v->number);
      text = number;
      break;
    case MOH__T_UNDEFINED:
      break;
    default:
      return moh__trun_fail(run, "%s cannot be written; tojson can",
                            moh__tkind_name(v->kind));
  }
  return moh__tvalue_text(run, moh__text_of(text), false, out);
}

moh_status moh__tvalue_contains(moh__trun *run, const moh__tvalue *v,
                                const moh__tvalue *x, bool *is) {
  moh__tvalue *found;
  *is = false;
  switch (v->kind) {
    case MOH__T_STRING:
      if (x->kind != MOH__T_STRING) break;
      MOH_TRY(moh__trun_charge(run, v->string.n));
      *is = memmem(v->string.bytes, v->string.n, x->string.bytes,
                   x->string.n) != NULL;
      return MOH_OK;
    case MOH__T_LIST:
      for (size_t i = 0; i < v->list->n && !*is; i++)
        MOH_TRY(moh__tvalue_equal(run, &v->list->items[i], x, is));
      return MOH_OK;
    case MOH__T_DICT:
      MOH_TRY(moh__tdict_find(run, v->dict, x, &found));
      *is = found != NULL;
      return MOH_OK;
    case MOH__T_UNDEFINED:
      return MOH_OK;
    default:
      break;
  }
  return moh__trun_fail(run, "%s cannot be in %s", moh__tkind_name(x->kind),
                        moh__tkind_name(v->kind));
}

/* ---- parts ------------------------------------------------------------- */

size_t moh__tstring_step(const moh__tstring *s, size_t at) {
  uint32_t code;
  size_t n = moh__utf8_next((moh__text){s->bytes + at, s->n - at}, &code);
  return n > 0 ? n : 1;
}

static moh_status characters(moh__trun *run, const moh__tvalue *v,
                             moh__tvalue *list) {
  MOH_TRY(moh__tvalue_list(run, 0, list));
  for (size_t at = 0; at < v->string.n;) {
    size_t n = moh__tstring_step(&v->string, at);
    moh__tvalue character = moh__tvalue_part(v, at, at + n);
    MOH_TRY(moh__tlist_push(run, list->list, &character));
    at += n;
  }
  return MOH_OK;
}

moh_status moh__tvalue_items(moh__trun *run, const moh__tvalue *v,
                             moh__tvalue *list) {
  switch (v->kind) {
    case MOH__T_LIST:
      *list = *v;
      return MOH_OK;
    case MOH__T_STRING:
      return characters(run, v, list);
    case MOH__T_UNDEFINED:
      return moh__tvalue_list(run, 0, list);
    case MOH__T_DICT:
      MOH_TRY(moh__tvalue_list(run, v->dict->n, list));
      for (size_t i = 0; i < v->dict->n; i++)
        MOH_TRY(moh__tlist_push(run, list->list, &v->dict->keys[i]));
      return MOH_OK;
    default:
      return moh__trun_fail(run, "%s has no items", moh__tkind_name(v->kind));
  }
}

moh_status moh__tvalue_length(moh__trun *run, const moh__tvalue *v,
                              int64_t *n) {
  *n = 0;
  switch (v->kind) {
    case MOH__T_UNDEFINED:
      return MOH_OK;
    case MOH__T_LIST:
      *n = (int64_t)v->list->n;
      return MOH_OK;
    case MOH__T_DICT:
      *n = (int64_t)v->dict->n;
      return MOH_OK;
    case MOH__T_STRING:
      MOH_TRY(moh__trun_charge(run, v->string.n));
      for (size_t at = 0; at < v->string.n; ++*n)
        at += moh__tstring_step(&v->string, at);
      return MOH_OK;
    default:
      return moh__trun_fail(run, "%s has no length",
                            moh__tkind_name(v->kind));
  }
}

static moh_status get_by_number(moh__trun *run, const moh__tvalue *v,
                                int64_t i, moh__tvalue *out) {
  moh__tvalue list;
  MOH_TRY(moh__tvalue_items(run, v, &list));
  int64_t n = (int64_t)list.list->n;
  if (i < 0) i += n;
  if (i >= 0 && i < n)
    *out = list.list->items[i];
  else
    *out = moh__tvalue_undefined(moh__text_of("an item beyond the end"));
  return MOH_OK;
}

moh_status moh__tvalue_get(moh__trun *run, const moh__tvalue *v,
                           const moh__tvalue *key, moh__tvalue *out) {
  moh__tvalue *found = NULL;
  if (v->kind == MOH__T_UNDEFINED)
    return moh__trun_fail(run, "'%.*s' is undefined", moh__quoted(v->name),
                          v->name.bytes);
  if (moh__tvalue_is_dict(v))
    MOH_TRY(moh__tdict_find(run, v->dict, key, &found));
  else if (is_number(key) &&
           (v->kind == MOH__T_LIST || v->kind == MOH__T_STRING))
    return get_by_number(run, v, key->number, out);
  if (found != NULL) {
    *out = *found;
    return MOH_OK;
  }
  moh__text name = moh__text_of("an item");
  if (key->kind == MOH__T_STRING)
    name = (moh__text){key->string.bytes, key->string.n};
  *out = moh__tvalue_undefined(name);
  return MOH_OK;
}
