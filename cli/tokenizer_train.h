/* The half of moh tokenize that makes a tokenizer from files. */
#ifndef MOH_CLI_TOKENIZER_TRAIN_H
#define MOH_CLI_TOKENIZER_TRAIN_H

#include "data_source.h"

typedef struct moh__tokenizer_train_values {
  moh__list files;
  int kind; /* a choice */
  int64_t vocab_size;
  const char *out;
  bool overwrite;
  moh__format_values format;
} moh__tokenizer_train_values;

extern const moh__option moh__tokenizer_train_options[];

/* Trains on the files, with what is done on stderr, and saves. */
moh_status moh__tokenizer_train_run(
    const moh__tokenizer_train_values *values, bool json, moh_error *err);

#endif
