/* The texts of a file, all of them in memory. */
#ifndef MOH_TEXT_TEXTS_H
#define MOH_TEXT_TEXTS_H

#include "text/records.h"

typedef struct moh__texts {
  moh__text *texts;
  size_t n;
  bool examples; /* records, not a plain text */
  void *owner;   /* memory behind it */
} moh__texts;

/* In the format that options say (NULL: that of the path's ending). A plain
 * text is one text, whatever its length. Refused with file and place: files
 * over 100 MiB, wrong types, files without a text, and invalid UTF-8. */
moh_status moh__texts_load(moh__texts *texts, const char *path,
                           const moh__text_options *options, moh_error *err);
/* The same from memory; `name` stands for it in messages, and its ending
 * for the format. The bytes are copied. A byte order mark is left out. */
moh_status moh__texts_parse(moh__texts *texts, const char *bytes, size_t n,
                            const moh__text_options *options,
                            const char *name, moh_error *err);
void moh__texts_free(moh__texts *texts);

#endif
