/*
 * Files of texts as records. A parser for each format takes records off the
 * front of a window of the file's bytes, so the same code reads files of any
 * size and bytes in memory. Whatever is not as it should be is refused with
 * the file and the place in it.
 *
 * plain  the text itself, in stretches that end where no word is cut
 * JSON   an array; each element is a text, or an object with one in a field
 * JSONL  such an element on every line; blank lines are skipped
 * CSV    RFC 4180; a text is one column, or all columns joined by commas
 */
#ifndef MOH_TEXT_RECORDS_H
#define MOH_TEXT_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/tokenizer.h"

typedef enum moh__text_format {
  MOH__TEXT_BY_ENDING, /* .json, .jsonl, .ndjson, .csv; others are plain */
  MOH__TEXT_PLAIN,
  MOH__TEXT_JSON,
  MOH__TEXT_JSONL,
  MOH__TEXT_CSV
} moh__text_format;

/* {0} is the format of the name's ending, with its defaults. */
typedef struct moh__text_options {
  moh__text_format format;
  /* JSON and JSONL: the field of objects, NULL is "text". CSV: a column by
   * name or by number from 1, NULL joins all. */
  const char *field;
  bool header; /* CSV: the first record names the columns; so it does when
                * the field is a name */
} moh__text_options;

/* Never MOH__TEXT_BY_ENDING. */
moh__text_format moh__text_format_of(const char *path,
                                     const moh__text_options *options);
/* Whether each record is an example; a plain text is a stream. */
bool moh__text_has_examples(moh__text_format format);

enum {
  MOH__RECORD_MAX = 16 << 20, /* bytes of a record of a file that is read in
                               * windows */
  MOH__STRETCH = 1 << 18      /* bytes of a stretch of plain text, at most */
};

typedef struct moh__place {
  int64_t offset;     /* bytes of the file before it */
  int64_t line;       /* from 1 */
  int64_t line_start; /* offset of the line's first byte */
} moh__place;

/* A growing array of bytes; {0} is empty. */
typedef struct moh__bytes {
  char *bytes;
  size_t n, capacity;
} moh__bytes;

moh_status moh__bytes_add(moh__bytes *bytes, const char *more, size_t n,
                          moh_error *err);

/* What may stand next in a JSON array. */
typedef enum moh__json_part {
  MOH__JSON_ARRAY, /* its opening bracket */
  MOH__JSON_FIRST, /* an element, or the array's end */
  MOH__JSON_COMMA, /* or the array's end */
  MOH__JSON_ELEMENT,
  MOH__JSON_END /* nothing */
} moh__json_part;

typedef struct moh__records {
  const char *name; /* of the file, for messages; the caller's */
  moh__text_format format;
  const char *field;
  bool header;
  moh__place place;  /* of the window's first byte */
  int64_t n;         /* records so far */
  moh__json_part json_part;
  int64_t n_columns; /* CSV: of the first record; 0: not read yet */
  int64_t column;    /* CSV: the one wanted, from 0; -1: all */
  bool has_names;    /* CSV: the header has been read */
  moh__bytes text;   /* the decoded record */
} moh__records;

/* Starts at the first byte of a file. */
void moh__records_start(moh__records *records, const char *name,
                        const moh__text_options *options);
/* Goes on behind the n-th record, n > 0; of CSV, one has been read. */
void moh__records_resume(moh__records *records, moh__place place, int64_t n);
void moh__records_free(moh__records *records);

/* Bytes of a byte order mark at the front of a file: 3 or 0. */
size_t moh__records_mark(moh__text front);

/*
 * Takes the next record off the front of a window. `end`: the window
 * reaches to the end of the file. *used bytes are done with and must not be
 * in the next window. *found: *text is a record, and holds until the next
 * call or until the window goes. Neither found nor used: a longer window is
 * needed, or, at the end, there are no more records.
 */
moh_status moh__records_next(moh__records *records, moh__text window,
                             bool end, size_t *used, moh__text *text,
                             bool *found, moh_error *err);

/* ---- for the formats' own files ---------------------------------------- */

/* The place `at` bytes into the window. */
moh__place moh__records_place(const moh__records *records, moh__text window,
                              size_t at);
/* "name, line 3, column 5: " before the message, which err is to hold. */
moh_status moh__records_fail_at(const moh__records *records,
                                moh__place place, moh_status status,
                                moh_error *err);

typedef moh_status moh__records_fn(moh__records *records, moh__text window,
                                   bool end, size_t *used, moh__text *text,
                                   bool *found, moh_error *err);
moh__records_fn moh__records_json, moh__records_jsonl, moh__records_csv;

#endif
