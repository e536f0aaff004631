/*
 * Preparing data: texts of any size become shards of token ids, in memory
 * that does not depend on their size.
 *
 * Progress is kept in the directory, shard by shard: whoever starts the same
 * work again, after whatever ended it, goes on behind the last whole shard,
 * and the files come out the same to the byte. The number of threads changes
 * nothing either.
 */
#ifndef MOH_STORE_PREPARE_H
#define MOH_STORE_PREPARE_H

#include "base/pool.h"
#include "store/data_dir.h"
#include "text/records.h"

typedef struct moh__prepare_options {
  const char *const *paths; /* in this order */
  int n_paths;
  moh__text_options format;
  const char *out;       /* the directory */
  const char *tokenizer; /* "words", "chars", "bpe", or a tokenizer.json */
  int64_t vocab_size;    /* tokens of bpe, at most */
  int64_t sample_bytes;  /* of the texts, to make a vocabulary from */
  int64_t shard_tokens;  /* ids of a shard; one example may have more */
  bool pack;             /* as in text/dataset.h */
  bool overwrite;        /* other shards in the directory are replaced */
} moh__prepare_options;

typedef struct moh__prepare_report {
  int64_t bytes_done, bytes_all; /* of the files */
  moh__data_numbers numbers;     /* so far */
  bool done;
} moh__prepare_report;

typedef struct moh__prepare moh__prepare;

/* Looks at the files and at what the directory holds, and makes the
 * tokenizer, unless that was done before. Options and pool must outlive the
 * work. */
moh_status moh__prepare_open(moh__prepare **out,
                             const moh__prepare_options *options,
                             moh__pool *pool, moh_error *err);
/* What an earlier call left; report.done: everything. */
void moh__prepare_start(const moh__prepare *prepare,
                        moh__prepare_report *report);
/* Some megabytes more; the last step writes the manifest. */
moh_status moh__prepare_step(moh__prepare *prepare,
                             moh__prepare_report *report, moh_error *err);
void moh__prepare_free(moh__prepare *prepare);

#endif
