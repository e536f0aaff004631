/* A window that slides over a file, and grows while a record needs it. */
#include "text/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_WINDOW = 2 * MOH__STRETCH };

struct moh__reader {
  const char *path;
  int fd;
  int64_t size;
  moh__records records;
  char *window;
  size_t capacity;
  size_t front, end; /* the part of the window that is to be read */
  bool at_end;       /* the window reaches to the end of the file */
};

static moh_status fail_io(const moh__reader *reader, const char *what,
                          moh_error *err) {
  return moh__fail(err, MOH_ERR_IO, "cannot %s '%s': %s", what, reader->path,
                   strerror(errno));
}

/* ---- the window ---- */

/* Makes room for more bytes behind the window's end. */
static moh_status make_room(moh__reader *reader, moh_error *err) {
  size_t n = reader->end - reader->front;
  memmove(reader->window, reader->window + reader->front, n);
  reader->front = 0;
  reader->end = n;
  if (n < reader->capacity) return MOH_OK;
  if (n > MOH__RECORD_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s, line %" PRId64
                     ": a text of more than %d MiB; cut it into several",
                     reader->path, reader->records.place.line,
                     MOH__RECORD_MAX >> 20);
  char *grown = realloc(reader->window, 2 * reader->capacity);
  if (grown == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "%s: no memory for a text of %zu "
                     "bytes", reader->path, n);
  reader->window = grown;
  reader->capacity *= 2;
  return MOH_OK;
}

static moh_status read_more(moh__reader *reader, moh_error *err) {
  MOH_TRY(make_room(reader, err));
  ssize_t n;
  do {
    n = read(reader->fd, reader->window + reader->end,
             reader->capacity - reader->end);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return fail_io(reader, "read", err);
  reader->at_end = n == 0;
  reader->end += (size_t)n;
  return MOH_OK;
}

/* The first bytes, without a byte order mark. */
static moh_status read_front(moh__reader *reader, moh_error *err) {
  while (reader->end < 3 && !reader->at_end) MOH_TRY(read_more(reader, err));
  size_t mark =
      moh__records_mark((moh__text){reader->window, reader->end});
  reader->front = mark;
  reader->records.place = (moh__place){(int64_t)mark, 1, (int64_t)mark};
  return MOH_OK;
}

/* ---- opening ---- */

static moh_status open_file(moh__reader *reader, moh_error *err) {
  struct stat info;
  reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (reader->fd < 0) return fail_io(reader, "open", err);
  if (fstat(reader->fd, &info) != 0) return fail_io(reader, "read", err);
  if (!S_ISREG(info.st_mode))
    return moh__fail(err, MOH_ERR_FORMAT, "'%s' is not a regular file",
                     reader->path);
  reader->size = info.st_size;
  reader->window = malloc(FIRST_WINDOW);
  reader->capacity = FIRST_WINDOW;
  if (reader->window == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory to read '%s'",
                     reader->path);
  return read_front(reader, err);
}

moh_status moh__reader_open(moh__reader **out, const char *path,
                            const moh__text_options *options,
                            moh_error *err) {
  moh__reader *reader = calloc(1, sizeof(*reader));
  *out = NULL;
  if (reader == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory to read '%s'", path);
  reader->path = path;
  moh__records_start(&reader->records, path, options);
  moh_status status = open_file(reader, err);
  if (status == MOH_OK)
    *out = reader;
  else
    moh__reader_close(reader);
  return status;
}

void moh__reader_close(moh__reader *reader) {
  if (reader == NULL) return;
  if (reader->fd >= 0) close(reader->fd);
  moh__records_free(&reader->records);
  free(reader->window);
  free(reader);
}

int64_t moh__reader_size(const moh__reader *reader) { return reader->size; }

const char *moh__reader_path(const moh__reader *reader) {
  return reader->path;
}

moh__text_format moh__reader_format(const moh__reader *reader) {
  return reader->records.format;
}

/* ---- records ---- */

moh_status moh__reader_next(moh__reader *reader, moh__text *text,
                            bool *found, moh_error *err) {
  for (;;) {
    size_t used;
    moh__text window = {reader->window + reader->front,
                        reader->end - reader->front};
    MOH_TRY(moh__records_next(&reader->records, window, reader->at_end,
                              &used, text, found, err));
    reader->front += used;
    if (*found || (used == 0 && reader->at_end)) return MOH_OK;
    if (used == 0) MOH_TRY(read_more(reader, err));
  }
}

moh__reader_mark moh__reader_tell(const moh__reader *reader) {
  return (moh__reader_mark){reader->records.place, reader->records.n};
}

/* A CSV file's first records say what its columns are. */
moh_status moh__reader_seek(moh__reader *reader, moh__reader_mark mark,
                            moh_error *err) {
  moh__text text;
  bool found;
  if (mark.n_records == 0) return MOH_OK; /* it stands at the front */
  if (reader->records.format == MOH__TEXT_CSV)
    MOH_TRY(moh__reader_next(reader, &text, &found, err));
  if (lseek(reader->fd, (off_t)mark.place.offset, SEEK_SET) < 0)
    return fail_io(reader, "read", err);
  reader->front = reader->end = 0;
  reader->at_end = false;
  moh__records_resume(&reader->records, mark.place, mark.n_records);
  return MOH_OK;
}
