/*
 * Records of CSV files, by RFC 4180: fields between commas, quoted ones may
 * hold commas, line ends and doubled quotes; lines end with LF or CRLF.
 * Every record has as many fields as the first; blank lines are skipped.
 */
#include <inttypes.h>
#include <string.h>

#include "text/records.h"
#include "text/tokenizer_internal.h"

/* A record being read: its fields, joined by commas, go to records->text. */
typedef struct scan {
  moh__records *r;
  moh__text window;
  bool end;  /* the window reaches to the end of the file */
  size_t at; /* bytes read */
  bool more; /* the record goes on behind the window */
  bool done; /* the last field was read */
  bool quoted; /* some field is in quotes */
  const char *name; /* of the column to be found in the header, or NULL */
  int64_t named;    /* that column, -1: not found */
  int64_t n_fields;
  size_t start, length; /* of the wanted field in the text */
} scan;

static moh_status refuse_at(const scan *s, size_t at, const char *what,
                            moh_error *err) {
  moh__fail(err, MOH_ERR_FORMAT, "%s", what);
  return moh__records_fail_at(s->r, moh__records_place(s->r, s->window, at),
                              MOH_ERR_FORMAT, err);
}

/* ---- fields ---- */

/* A comma or the record's end, at s->at; anything else is refused. */
static moh_status end_field(scan *s, moh_error *err) {
  const char *bytes = s->window.bytes + s->at;
  size_t left = s->window.n - s->at;
  bool lone = left == 1 && bytes[0] == '\r';
  s->more = !s->end && (left == 0 || lone);
  if (s->more) return MOH_OK;
  s->done = left == 0 || bytes[0] != ',';
  if (left == 0) return MOH_OK;
  if (lone || bytes[0] == ',' || bytes[0] == '\n') {
    s->at++;
    return MOH_OK;
  }
  if (bytes[0] == '\r' && bytes[1] == '\n') {
    s->at += 2;
    return MOH_OK;
  }
  return refuse_at(s, s->at,
                   "only a comma or a line end may follow a closing quote; "
                   "write a quote inside of quotes twice",
                   err);
}

static moh_status read_quoted(scan *s, moh_error *err) {
  size_t open = s->at++;
  s->quoted = true;
  for (;;) {
    const char *from = s->window.bytes + s->at;
    const char *quote = memchr(from, '"', s->window.n - s->at);
    s->more = quote == NULL && !s->end;
    if (s->more) return MOH_OK;
    if (quote == NULL)
      return refuse_at(s, open, "this quote is never closed", err);
    size_t n = (size_t)(quote - from);
    s->at += n + 1;
    bool twice = s->at < s->window.n && quote[1] == '"';
    MOH_TRY(moh__bytes_add(&s->r->text, from, n + twice, err));
    if (!twice) return end_field(s, err);
    s->at++;
  }
}

static moh_status read_bare(scan *s, moh_error *err) {
  const char *from = s->window.bytes + s->at;
  size_t left = s->window.n - s->at, n = 0;
  while (n < left && from[n] != ',' && from[n] != '\n' && from[n] != '"')
    n++;
  s->more = n == left && !s->end;
  if (s->more) return MOH_OK;
  if (n < left && from[n] == '"')
    return refuse_at(s, s->at + n,
                     "a quote inside of a field without quotes; put the "
                     "field in quotes and write this one twice",
                     err);
  bool ends = n == left || from[n] == '\n';
  if (ends && n > 0 && from[n - 1] == '\r') n--;
  s->at += n;
  MOH_TRY(moh__bytes_add(&s->r->text, from, n, err));
  return end_field(s, err);
}

static moh_status read_field(scan *s, moh_error *err) {
  moh__bytes *text = &s->r->text;
  if (s->n_fields > 0) MOH_TRY(moh__bytes_add(text, ",", 1, err));
  size_t start = text->n;
  bool quoted = s->at < s->window.n && s->window.bytes[s->at] == '"';
  MOH_TRY(quoted ? read_quoted(s, err) : read_bare(s, err));
  size_t n = text->n - start;
  if (s->n_fields == s->r->column) {
    s->start = start;
    s->length = n;
  }
  if (s->name != NULL && s->named < 0 && strlen(s->name) == n &&
      memcmp(text->bytes + start, s->name, n) == 0)
    s->named = s->n_fields;
  s->n_fields++;
  return MOH_OK;
}

/* ---- records ---- */

/* NUL and bytes that are not UTF-8 are no text. */
static moh_status check_bytes(const scan *s, moh_error *err) {
  moh__text record = {s->window.bytes, s->at};
  size_t valid = moh__utf8_valid(record);
  const char *nul = memchr(record.bytes, '\0', valid);
  if (nul != NULL)
    return refuse_at(s, (size_t)(nul - record.bytes), "a NUL byte", err);
  if (valid == record.n) return MOH_OK;
  return refuse_at(s, valid,
                   "not UTF-8; convert the file, for example with iconv",
                   err);
}

static moh_status check_fields(const scan *s, moh_error *err) {
  moh__records *r = s->r;
  if (r->n_columns == 0) r->n_columns = s->n_fields;
  if (s->n_fields != r->n_columns)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s, line %" PRId64 ": %" PRId64
                     " fields, the first record has %" PRId64
                     "; put texts with commas in quotes",
                     r->name, r->place.line, s->n_fields, r->n_columns);
  if (r->column < r->n_columns) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s, line %" PRId64 ": there is no column %" PRId64
                   ", only %" PRId64,
                   r->name, r->place.line, r->column + 1, r->n_columns);
}

/* The header is used up; it may name the column that is wanted. */
static moh_status take_header(const scan *s, moh_error *err) {
  moh__records *r = s->r;
  r->has_names = true;
  if (s->name == NULL) return MOH_OK;
  r->column = s->named;
  if (s->named >= 0) return MOH_OK;
  moh__text names = {r->text.bytes, r->text.n};
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s, line %" PRId64
                   ": the header names no column '%.60s'; it reads %.*s",
                   r->name, r->place.line, s->name, moh__quoted(names),
                   names.bytes);
}

moh_status moh__records_csv(moh__records *r, moh__text window, bool end,
                            size_t *used, moh__text *text, bool *found,
                            moh_error *err) {
  scan s = {.r = r, .window = window, .end = end, .named = -1};
  bool header = r->header && !r->has_names;
  if (window.n == 0) return MOH_OK;
  if (header && r->column < 0) s.name = r->field;
  r->text.n = 0;
  while (!s.done && !s.more) MOH_TRY(read_field(&s, err));
  if (s.more) return MOH_OK;
  *used = s.at;
  if (s.n_fields == 1 && r->text.n == 0 && !s.quoted) return MOH_OK;
  MOH_TRY(check_bytes(&s, err));
  MOH_TRY(check_fields(&s, err));
  if (header) return take_header(&s, err);
  *found = true;
  *text = (moh__text){r->text.bytes, r->text.n};
  if (r->column >= 0)
    *text = (moh__text){r->text.bytes + s.start, s.length};
  return MOH_OK;
}
