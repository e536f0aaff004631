/*
 * Records of JSON arrays and of JSONL files. Here is only looked for where
 * an element begins and ends; what it holds is read by jansson, which is
 * strict: invalid UTF-8, lone surrogates, NUL and duplicate keys are refused.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "text/records.h"

enum { MAX_DEPTH = 64 };

/* ---- one element ---- */

/* "element 3 (counted from 0) is ...", "line 4 is ..." */
static moh_status refuse_element(const moh__records *r, moh__place place,
                                 const char *what, moh_error *err) {
  char where[64];
  bool array = r->format == MOH__TEXT_JSON;
  snprintf(where, sizeof(where),
           array ? "element %" PRId64 " (counted from 0)"
                 : "line %" PRId64,
           array ? r->n : place.line);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: %s %s; every element must be a string, or an object "
                   "whose field \"%.60s\" is one",
                   r->name, where, what,
                   r->field != NULL ? r->field : "text");
}

static moh_status take_string(moh__records *r, const json_t *element,
                              moh__place place, moh__text *text,
                              moh_error *err) {
  static const char *const kinds[] = {
      "is an object", "is an array", "is a string", "is a number",
      "is a number",  "is true",     "is false",    "is null"};
  const json_t *value = element;
  if (json_is_object(element)) {
    value = json_object_get(element, r->field != NULL ? r->field : "text");
    if (value == NULL)
      return refuse_element(r, place, "is an object without that field",
                            err);
    if (!json_is_string(value))
      return refuse_element(r, place, "has no string in that field", err);
  }
  if (!json_is_string(value))
    return refuse_element(r, place, kinds[json_typeof(value)], err);
  r->text.n = 0;
  MOH_TRY(moh__bytes_add(&r->text, json_string_value(value),
                         json_string_length(value), err));
  *text = (moh__text){r->text.bytes, r->text.n};
  return MOH_OK;
}

/* jansson counts lines and columns from the element's first byte. */
static moh_status refuse_json(const moh__records *r, moh__place place,
                              const json_error_t *where, moh_error *err) {
  int64_t column = where->column;
  if (json_error_code(where) == json_error_out_of_memory)
    return moh__fail(err, MOH_ERR_MEMORY, "%s: out of memory", r->name);
  if (where->line == 1) column += place.offset - place.line_start;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s, line %" PRId64 ", column %" PRId64
                   ": not valid JSON: %s",
                   r->name, place.line + where->line - 1, column,
                   where->text);
}

static moh_status read_element(moh__records *r, moh__text element,
                               moh__place place, moh__text *text,
                               moh_error *err) {
  json_error_t where;
  json_t *value = json_loadb(element.bytes, element.n,
                             JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                             &where);
  if (value == NULL) return refuse_json(r, place, &where, err);
  moh_status status = take_string(r, value, place, text, err);
  json_decref(value);
  return status;
}

/* ---- JSONL ---- */

static bool is_blank_line(moh__text line) {
  size_t i = 0;
  while (i < line.n && strchr(" \t\r", line.bytes[i]) && line.bytes[i]) i++;
  return i == line.n;
}

moh_status moh__records_jsonl(moh__records *r, moh__text window, bool end,
                              size_t *used, moh__text *text, bool *found,
                              moh_error *err) {
  if (window.n == 0) return MOH_OK;
  const char *newline = memchr(window.bytes, '\n', window.n);
  if (newline == NULL && !end) return MOH_OK;
  moh__text line = window;
  if (newline != NULL) line.n = (size_t)(newline - window.bytes);
  *used = line.n + (newline != NULL);
  if (is_blank_line(line)) return MOH_OK;
  *found = true;
  return read_element(r, line, r->place, text, err);
}

/* ---- arrays ---- */

/* Behind the string that starts at `at`; 0 when it does not end here. */
static size_t end_of_string(moh__text window, size_t at) {
  for (at++; at < window.n && window.bytes[at] != '"'; at++)
    if (window.bytes[at] == '\\') at++;
  return at < window.n ? at + 1 : 0;
}

/* Behind a number or a word such as null. */
static size_t end_of_word(moh__text window, size_t at) {
  while (at < window.n && (window.bytes[at] == '\0' ||
                           !strchr(" \t\r\n,]}[{\":", window.bytes[at])))
    at++;
  return at;
}

/* The length of the value at the front, by its strings and brackets; 0 when
 * it does not end here. *deep: where nesting goes too far, else 0. */
static size_t length_of_value(moh__text window, size_t *deep) {
  int depth = 0;
  size_t at = 0;
  *deep = 0;
  while (at < window.n) {
    char c = window.bytes[at];
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (depth > MAX_DEPTH) *deep = at;
    if (depth > MAX_DEPTH) return 0;
    size_t next = c == '"' ? end_of_string(window, at) : at + 1;
    if (depth == 0 && !strchr("\"]}", c)) next = end_of_word(window, at);
    if (next == 0) return 0;
    /* A word might go on behind the window. */
    if (depth <= 0) return next < window.n || strchr("\"]}", c) ? next : 0;
    at = next;
  }
  return 0;
}

static moh_status next_element(moh__records *r, moh__text window, bool end,
                               size_t *used, moh__text *text, bool *found,
                               moh_error *err) {
  size_t deep, n = length_of_value(window, &deep);
  if (deep > 0) {
    moh__fail(err, MOH_ERR_FORMAT, "nested deeper than %d", MAX_DEPTH);
    return moh__records_fail_at(r, moh__records_place(r, window, deep),
                                MOH_ERR_FORMAT, err);
  }
  if (n == 0 && !end) return MOH_OK;
  if (n == 0) n = window.n;
  MOH_TRY(read_element(r, (moh__text){window.bytes, n}, r->place, text,
                       err));
  r->json_part = MOH__JSON_COMMA;
  *used = n;
  *found = true;
  return MOH_OK;
}

/* Takes a bracket or comma; false where another character stands. */
static bool take_mark(moh__records *r, char c) {
  switch (r->json_part) {
    case MOH__JSON_ARRAY:
      r->json_part = MOH__JSON_FIRST;
      return c == '[';
    case MOH__JSON_FIRST:
      r->json_part = MOH__JSON_END;
      return c == ']';
    case MOH__JSON_COMMA:
      r->json_part = c == ']' ? MOH__JSON_END : MOH__JSON_ELEMENT;
      return c == ']' || c == ',';
    default:
      return false;
  }
}

static moh_status refuse_mark(const moh__records *r, moh__json_part part,
                              moh_error *err) {
  static const char no_array[] =
      "not an array of strings; write [\"first text\", \"second text\"], or "
      "a text on each line of a .jsonl file";
  static const char *const wanted[] = {
      [MOH__JSON_ARRAY] = no_array,
      [MOH__JSON_FIRST] = "the array does not end",
      [MOH__JSON_COMMA] = "not valid JSON: a comma or ']' must stand here",
      [MOH__JSON_ELEMENT] = "not valid JSON: an element must stand here",
      [MOH__JSON_END] = "not valid JSON: nothing may follow the array"};
  moh__fail(err, MOH_ERR_FORMAT, "%s", wanted[part]);
  return moh__records_fail_at(r, r->place, MOH_ERR_FORMAT, err);
}

moh_status moh__records_json(moh__records *r, moh__text window, bool end,
                             size_t *used, moh__text *text, bool *found,
                             moh_error *err) {
  moh__json_part part = r->json_part;
  size_t at = 0;
  while (at < window.n && window.bytes[at] != '\0' &&
         strchr(" \t\r\n", window.bytes[at]))
    at++;
  *used = at;
  if (at > 0) return MOH_OK;
  if (window.n == 0) {
    if (!end || part == MOH__JSON_END) return MOH_OK;
    if (part != MOH__JSON_ARRAY) return refuse_mark(r, part, err);
    return moh__fail(err, MOH_ERR_FORMAT, "%s: the file is empty", r->name);
  }
  char c = window.bytes[0];
  bool closes = c == ']' || c == ',' || c == '}' || c == ':';
  if ((part == MOH__JSON_FIRST || part == MOH__JSON_ELEMENT) && !closes)
    return next_element(r, window, end, used, text, found, err);
  if (!take_mark(r, c)) return refuse_mark(r, part, err);
  *used = 1;
  return MOH_OK;
}
