/*
 * What --data names: a file of texts, to be learned one by one or as a
 * stream, or a directory that moh data has made. And the options that say how
 * such files are read.
 */
#ifndef MOH_CLI_DATA_SOURCE_H
#define MOH_CLI_DATA_SOURCE_H

#include "options.h"
#include "text/dataset.h"

typedef struct moh__format_values {
  int format; /* a choice */
  const char *field;
  bool header;
} moh__format_values;

extern const moh__option moh__format_options[]; /* --format, --field, ... */

/* As the library takes them. */
moh__text_options moh__format_of(const moh__format_values *values);

/* How sequences are made of the texts. */
typedef struct moh__sequence_values {
  bool pack;
  int long_rule; /* a choice */
} moh__sequence_values;

extern const moh__option moh__sequence_options[]; /* --pack, --long */

typedef struct moh__data_source {
  const char *path; /* the caller's */
  moh__texts texts; /* of a file; none of a directory */
  moh__tokens *tokens;       /* of a directory, else NULL */
  moh__tokenizer *tokenizer; /* likewise */
  bool examples; /* learned one by one: not plain, not packed */
} moh__data_source;

moh_status moh__data_source_open(moh__data_source *source, const char *path,
                                 const moh__format_values *format,
                                 const moh__sequence_values *sequences,
                                 moh_error *err);
void moh__data_source_close(moh__data_source *source);

/* Its sequences of at most `context` tokens to predict. A directory must
 * have been made with that same tokenizer. */
moh_status moh__data_source_dataset(const moh__data_source *source,
                                    const moh__tokenizer *tokenizer,
                                    int32_t context,
                                    const moh__sequence_values *sequences,
                                    moh__dataset **dataset, moh_error *err);

/* What the rule does to long examples: "cut at the context", ... */
const char *moh__long_rule_text(const moh__sequence_values *sequences);

#endif
