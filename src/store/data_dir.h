/*
 * A directory of prepared data: tokenizer.json, shard-000000.bin and so on
 * (text/shard.h), and manifest.json with "data", the numbers below, and
 * "arguments", what they were made from. The manifest is written last.
 */
#ifndef MOH_STORE_DATA_DIR_H
#define MOH_STORE_DATA_DIR_H

#include <jansson.h>

#include "text/shard.h"
#include "text/tokenizer.h"

typedef struct moh__data_numbers {
  int64_t n_shards;
  int64_t n_tokens;
  int64_t n_examples; /* 0: a stream */
  int64_t n_unknown;  /* tokens outside the vocabulary */
  int64_t n_open;     /* examples that do not end with the end token */
  int64_t n_short;    /* texts left out: too short to learn from */
  int64_t n_bytes;    /* of the texts */
  int32_t vocab;
  bool examples;
} moh__data_numbers;

/* Of what is counted: sums of it stay far below the limits of int64_t. */
#define MOH__DATA_MOST (INT64_C(1) << 53)

/* "shard-000012.bin" */
enum { MOH__SHARD_NAME = 32 };
void moh__shard_name(char name[MOH__SHARD_NAME], int64_t number);

/* Writes the manifest over tokenizer.json and the shards. arguments is
 * borrowed. */
moh_status moh__data_manifest_write(const char *dir,
                                    const moh__data_numbers *numbers,
                                    const json_t *arguments, moh_error *err);

/* The arguments of a finished directory: a new reference; NULL when there is
 * no manifest. */
moh_status moh__data_arguments(const char *dir, json_t **arguments,
                               moh_error *err);

/* As JSON, a new reference (NULL: no memory), and back. */
json_t *moh__data_numbers_json(const moh__data_numbers *numbers);
moh_status moh__data_numbers_read(const json_t *object,
                                  moh__data_numbers *numbers,
                                  moh_error *err);

/* Opens all shards as the segments of tokens, and compares what they count
 * with what is said of them. */
moh_status moh__data_open_shards(const char *dir,
                                 const moh__data_numbers *said,
                                 moh__tokens *tokens, moh_error *err);

/*
 * Maps the shards of a directory. Sizes are checked against the manifest,
 * and everything in the shards but the ids, which are checked when they are
 * read. tokens or tokenizer may be NULL.
 */
moh_status moh__data_load(const char *dir, moh__tokens **tokens,
                          moh__tokenizer **tokenizer,
                          moh__data_numbers *numbers, moh_error *err);

/* Refuses a tokenizer that is not equal to the directory's own. */
moh_status moh__data_check_tokenizer(const moh__tokenizer *own,
                                     const moh__tokenizer *tokenizer,
                                     moh_error *err);

/* Checks every id and the counts, sizes of the files, but no hashes. */
moh_status moh__data_check_tokens(const char *dir,
                                  moh__data_numbers *numbers,
                                  moh_error *err);

/* Checks all of a directory: every id, the counts, the hashes. The first
 * token that is wrong is named with its place. */
moh_status moh__data_check(const char *dir, moh__data_numbers *numbers,
                           moh_error *err);

#endif
