/* The texts of a file in memory: its records, collected one after the other
 * in one array of bytes. */
#include "text/texts.h"

#include <stdlib.h>

#include "base/file.h"

void moh__texts_free(moh__texts *texts) {
  free(texts->owner);
  free(texts->texts);
  *texts = (moh__texts){0};
}

/* The texts so far: their lengths, and their bytes side by side. */
typedef struct collection {
  moh__text *texts;
  size_t n, capacity;
  moh__bytes bytes;
} collection;

static moh_status collect(collection *c, moh__text text, moh_error *err) {
  if (c->n == c->capacity) {
    size_t capacity = c->capacity + c->capacity / 2 + 16;
    moh__text *grown = reallocarray(c->texts, capacity, sizeof(*grown));
    if (grown == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu texts",
                       capacity);
    c->texts = grown;
    c->capacity = capacity;
  }
  c->texts[c->n++].n = text.n;
  return moh__bytes_add(&c->bytes, text.bytes, text.n, err);
}

/* A plain text comes in stretches, which are put together again. */
static moh_status collect_all(collection *c, moh__records *records,
                              moh__text rest, moh_error *err) {
  bool found = true;
  for (size_t used = 1; used > 0 || found;) {
    moh__text text;
    MOH_TRY(moh__records_next(records, rest, true, &used, &text, &found,
                              err));
    rest = (moh__text){rest.bytes + used, rest.n - used};
    if (found) MOH_TRY(collect(c, text, err));
  }
  if (records->format != MOH__TEXT_PLAIN || c->n == 0) return MOH_OK;
  c->n = 1;
  c->texts[0].n = c->bytes.n;
  return MOH_OK;
}

static void hand_over(collection *c, moh__texts *texts) {
  const char *bytes = c->bytes.bytes;
  for (size_t i = 0; i < c->n; i++) {
    c->texts[i].bytes = bytes;
    bytes += c->texts[i].n;
  }
  texts->texts = c->texts;
  texts->n = c->n;
  texts->owner = c->bytes.bytes;
}

moh_status moh__texts_parse(moh__texts *texts, const char *bytes, size_t n,
                            const moh__text_options *options,
                            const char *name, moh_error *err) {
  collection c = {0};
  moh__records records;
  *texts = (moh__texts){0};
  if (n > MOH__TEXT_FILE_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: %zu bytes; a text that is learned as it is has at "
                     "most %d, so prepare it with 'moh data'",
                     name, n, MOH__TEXT_FILE_MAX);
  moh__records_start(&records, name, options);
  moh__text file = {bytes, n};
  size_t mark = moh__records_mark(file);
  file = (moh__text){bytes + mark, n - mark};
  records.place.offset = records.place.line_start = (int64_t)mark;
  moh_status status = collect_all(&c, &records, file, err);
  if (status == MOH_OK && c.n == 0)
    status = moh__fail(err, MOH_ERR_FORMAT,
                       file.n == 0 ? "%s: the file is empty"
                                   : "%s: it is empty, without a text",
                       name);
  moh__records_free(&records);
  hand_over(&c, texts);
  texts->examples = moh__text_has_examples(records.format);
  if (status != MOH_OK) moh__texts_free(texts);
  return status;
}

moh_status moh__texts_load(moh__texts *texts, const char *path,
                           const moh__text_options *options,
                           moh_error *err) {
  *texts = (moh__texts){0};
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__texts_parse(texts, (const char *)map.bytes,
                                       map.size, options, path, err);
  moh__map_close(&map);
  return status;
}
