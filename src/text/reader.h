/*
 * The records of a file of any size, read through a window of bounded
 * length (text/records.h). A reader can go on where another one stood.
 */
#ifndef MOH_TEXT_READER_H
#define MOH_TEXT_READER_H

#include "text/records.h"

typedef struct moh__reader moh__reader;

/* Path and options must outlive the reader. The file must be a regular one,
 * because its size is asked for. */
moh_status moh__reader_open(moh__reader **out, const char *path,
                            const moh__text_options *options, moh_error *err);
void moh__reader_close(moh__reader *reader);

/* The next record; it holds until the next call. *found is false behind the
 * last. A record of more than MOH__RECORD_MAX bytes is refused. */
moh_status moh__reader_next(moh__reader *reader, moh__text *text, bool *found,
                            moh_error *err);

/* Where the next record is looked for, and how many were found before. */
typedef struct moh__reader_mark {
  moh__place place;
  int64_t n_records;
} moh__reader_mark;

moh__reader_mark moh__reader_tell(const moh__reader *reader);
/* Goes on from a mark of the same file. */
moh_status moh__reader_seek(moh__reader *reader, moh__reader_mark mark,
                            moh_error *err);

int64_t moh__reader_size(const moh__reader *reader); /* bytes */
const char *moh__reader_path(const moh__reader *reader);
moh__text_format moh__reader_format(const moh__reader *reader);

#endif
