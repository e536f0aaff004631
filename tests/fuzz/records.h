/*
 * What the fuzz targets of text formats share. A file is parsed in memory;
 * if it is accepted, it must be valid UTF-8 without NUL and give the same
 * records through windows that end anywhere; if it is refused, with a
 * message that starts with its name.
 */
#ifndef MOH_TESTS_FUZZ_RECORDS_H
#define MOH_TESTS_FUZZ_RECORDS_H

#include <stdlib.h>
#include <string.h>

#include "text/texts.h"

static inline void require(bool truth) {
  if (!truth) abort();
}

/* The window grows by `step` bytes whenever the parser wants more. */
static inline void check_windows(const moh__texts *texts, const char *bytes,
                                 size_t n, size_t step,
                                 const moh__text_options *options,
                                 const char *name) {
  moh__records records;
  moh__text text;
  moh__records_start(&records, name, options);
  size_t front = moh__records_mark((moh__text){bytes, n});
  size_t end = front, i = 0, used;
  for (;;) {
    bool found, last = end == n;
    char *copy = malloc(end - front + 1); /* a read too far is seen */
    require(copy != NULL);
    memcpy(copy, bytes + front, end - front);
    require(moh__records_next(&records, (moh__text){copy, end - front}, last,
                              &used, &text, &found, NULL) == MOH_OK);
    if (found) {
      require(i < texts->n && text.n == texts->texts[i].n);
      require(memcmp(text.bytes, texts->texts[i].bytes, text.n) == 0);
      i++;
    }
    free(copy);
    front += used;
    if (!found && used == 0 && last) break;
    if (!found && used == 0) end = n - end < step ? n : end + step;
    if (end < front) end = front;
  }
  require(i == texts->n);
  moh__records_free(&records);
}

static inline void check_records(const char *bytes, size_t n, size_t step,
                                 const moh__text_options *options,
                                 const char *name) {
  moh__texts texts;
  moh_error err;
  if (moh__texts_parse(&texts, bytes, n, options, name, &err) != MOH_OK) {
    require(texts.texts == NULL);
    require(strncmp(err.message, name, strlen(name)) == 0);
    return;
  }
  require(texts.n > 0 && texts.examples);
  for (size_t i = 0; i < texts.n; i++)
    require(memchr(texts.texts[i].bytes, '\0', texts.texts[i].n) == NULL);
  check_windows(&texts, bytes, n, step, options, name);
  moh__texts_free(&texts);
}

#endif
