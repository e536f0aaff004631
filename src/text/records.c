/* Records: what the formats share, and stretches of plain text. */
#include "text/records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "text/tokenizer_internal.h"

/* ---- formats ---- */

moh__text_format moh__text_format_of(const char *path,
                                     const moh__text_options *options) {
  static const struct {
    const char *ending;
    moh__text_format format;
  } endings[] = {{".json", MOH__TEXT_JSON},
                 {".jsonl", MOH__TEXT_JSONL},
                 {".ndjson", MOH__TEXT_JSONL},
                 {".csv", MOH__TEXT_CSV}};
  const char *ending = strrchr(path, '.');
  if (options != NULL && options->format != MOH__TEXT_BY_ENDING)
    return options->format;
  for (size_t i = 0; ending && i < sizeof endings / sizeof *endings; i++)
    if (strcasecmp(ending, endings[i].ending) == 0)
      return endings[i].format;
  return MOH__TEXT_PLAIN;
}

bool moh__text_has_examples(moh__text_format format) {
  return format != MOH__TEXT_PLAIN;
}

/* A column given by its number, from 0; -1 when the field is none. */
static int64_t column_number(const char *field) {
  int64_t number = 0;
  if (field == NULL || strlen(field) > 9) return -1;
  for (const char *c = field; *c != '\0'; c++) {
    if (*c < '0' || *c > '9') return -1;
    number = 10 * number + *c - '0';
  }
  return number - 1;
}

void moh__records_start(moh__records *records, const char *name,
                        const moh__text_options *options) {
  *records = (moh__records){.name = name,
                            .format = moh__text_format_of(name, options),
                            .place = {.line = 1}};
  if (options != NULL) records->field = options->field;
  if (options != NULL) records->header = options->header;
  records->column = column_number(records->field);
  if (records->field != NULL && records->column < 0) records->header = true;
}

void moh__records_resume(moh__records *records, moh__place place,
                         int64_t n) {
  records->place = place;
  records->n = n;
  records->json_part = MOH__JSON_COMMA;
}

void moh__records_free(moh__records *records) {
  free(records->text.bytes);
  records->text = (moh__bytes){0};
}

moh_status moh__bytes_add(moh__bytes *bytes, const char *more, size_t n,
                          moh_error *err) {
  size_t needed = 0;
  bool fits = moh__add_size(bytes->n, n, &needed);
  if (fits && (bytes->bytes == NULL || needed > bytes->capacity)) {
    size_t capacity = 0;
    fits = moh__add_size(needed, needed / 2 + 64, &capacity);
    char *grown = fits ? realloc(bytes->bytes, capacity) : NULL;
    fits = grown != NULL;
    if (fits) bytes->bytes = grown;
    if (fits) bytes->capacity = capacity;
  }
  if (!fits)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a text of %zu bytes",
                     needed);
  if (n > 0) memcpy(bytes->bytes + bytes->n, more, n);
  bytes->n = needed;
  return MOH_OK;
}

/* ---- places ---- */

static void advance(moh__place *place, const char *bytes, size_t n) {
  const char *at = bytes, *end = bytes + n;
  while (n > 0 && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
    at++;
    place->line++;
    place->line_start = place->offset + (at - bytes);
  }
  place->offset += (int64_t)n;
}

moh__place moh__records_place(const moh__records *records, moh__text window,
                              size_t at) {
  moh__place place = records->place;
  advance(&place, window.bytes, at);
  return place;
}

moh_status moh__records_fail_at(const moh__records *records,
                                moh__place place, moh_status status,
                                moh_error *err) {
  return moh__fail_in(err, status, "%s, line %" PRId64 ", column %" PRId64,
                      records->name, place.line,
                      place.offset - place.line_start + 1);
}

size_t moh__records_mark(moh__text front) {
  bool marked = front.n >= 3 && memcmp(front.bytes, "\xEF\xBB\xBF", 3) == 0;
  return marked ? 3 : 0;
}

/* ---- plain text ---- */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/*
 * Where a stretch of a longer text ends. A tokenizer must not see the
 * difference: best at a line that begins with a word, behind one that ends
 * with a word, where patterns of pre-tokenizers break anyway (two ends of
 * lines may be one piece, but only at the end of a text); else before a blank
 * between two words; else between characters. bytes[most] can be read.
 */
static size_t stretch_of(const char *bytes, size_t most) {
  for (size_t i = most; i > 1; i--)
    if (bytes[i - 1] == '\n' && !is_blank(bytes[i]) &&
        !is_blank(bytes[i - 2]))
      return i;
  for (size_t i = most - 1; i > 0; i--)
    if (bytes[i] == ' ' && !is_blank(bytes[i - 1]) &&
        !is_blank(bytes[i + 1]))
      return i;
  size_t cut = most;
  while (cut > most - 4 && ((unsigned char)bytes[cut] & 0xC0) == 0x80) cut--;
  return cut;
}

static moh_status next_plain(moh__records *records, moh__text window,
                             bool end, size_t *used, moh__text *text,
                             bool *found, moh_error *err) {
  size_t n = window.n;
  if (n == 0 || (n <= MOH__STRETCH && !end)) return MOH_OK;
  if (n > MOH__STRETCH) n = stretch_of(window.bytes, MOH__STRETCH);
  *text = (moh__text){window.bytes, n};
  size_t valid = moh__utf8_valid(*text);
  if (valid < n) {
    moh__place place = moh__records_place(records, window, valid);
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s, line %" PRId64 ", byte %" PRId64
                     " of the file: not UTF-8; convert the file, for "
                     "example with iconv",
                     records->name, place.line, place.offset);
  }
  *used = n;
  *found = true;
  return MOH_OK;
}

/* ---- all ---- */

moh_status moh__records_next(moh__records *records, moh__text window,
                             bool end, size_t *used, moh__text *text,
                             bool *found, moh_error *err) {
  static moh__records_fn *const formats[] = {
      [MOH__TEXT_PLAIN] = next_plain,
      [MOH__TEXT_JSON] = moh__records_json,
      [MOH__TEXT_JSONL] = moh__records_jsonl,
      [MOH__TEXT_CSV] = moh__records_csv};
  *used = 0;
  *found = false;
  MOH_TRY(formats[records->format](records, window, end, used, text, found,
                                   err));
  advance(&records->place, window.bytes, *used);
  records->n += *found;
  return MOH_OK;
}
