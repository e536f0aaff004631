/*
 * Datasets: sequences of token ids to learn from, cut into a training and a
 * held-out part. The ids lie in memory or in shard files, and several
 * datasets share them.
 *
 * Examples mode (JSON, JSONL, CSV): each text is a sequence of its own; those
 * longer than the context are treated by rule, and counted. Stream mode
 * (plain text, or packed examples): one long sequence, from which windows are
 * drawn.
 */
#ifndef MOH_TEXT_DATASET_H
#define MOH_TEXT_DATASET_H

#include <stdint.h>

#include "text/texts.h"
#include "text/tokenizer.h"
#include "text/tokens.h"

/* What becomes of examples of more than max_len tokens. */
typedef enum moh__long_rule {
  MOH__LONG_CUT,   /* the first max_len tokens are kept */
  MOH__LONG_SPLIT, /* pieces of max_len tokens; the last token of one is the
                    * first of the next, so that each is predicted once */
  MOH__LONG_DROP,  /* left out */
  MOH__LONG_REFUSE /* an error that names the first of them */
} moh__long_rule;

typedef struct moh__dataset_options {
  int64_t max_len; /* tokens of an example, at most; at least 2 */
  moh__long_rule long_rule;
  bool pack; /* examples, each closed by the end token, become one stream */
} moh__dataset_options;

/* Tokens [first, first + n) of the dataset's tokens. */
typedef struct moh__sequence {
  int64_t first, n;
} moh__sequence;

typedef struct moh__dataset {
  moh__tokens *tokens; /* one of its users */
  moh__sequence *sequences;
  int64_t n_sequences;
  int64_t n_tokens; /* of all sequences together */
  bool examples;
  int64_t n_unknown; /* tokens outside the vocabulary */
  int64_t n_long;    /* examples that were longer than max_len */
} moh__dataset;

/* Encodes texts (special tokens recognised). Cuts are between tokens, so
 * never inside a character. Examples of fewer than 2 tokens are left out.
 * Refused when nothing remains. */
moh_status moh__dataset_make(moh__dataset **out, const moh__texts *texts,
                             const moh__tokenizer *tokenizer,
                             moh__dataset_options options, moh_error *err);
/* The same of tokens that stand already; shares them. */
moh_status moh__dataset_of_tokens(moh__dataset **out, moh__tokens *tokens,
                                  moh__dataset_options options,
                                  moh_error *err);
void moh__dataset_free(moh__dataset *dataset);

/* Ids [first, first + n) of the dataset's tokens into out. Fails when a
 * shard holds an id outside the vocabulary. */
moh_status moh__dataset_read(const moh__dataset *dataset, int64_t first,
                             int64_t n, int32_t *out, moh_error *err);

/* SHA-256 of the ids and of where the sequences lie: equal for equal data,
 * so that a run does not go on with other data. Shards are represented by
 * the hashes in their manifest. */
moh_status moh__dataset_fingerprint(const moh__dataset *dataset,
                                    char hex[MOH__SHA256_HEX],
                                    moh_error *err);

/*
 * Splits off a held-out part, `share` in [0, 1): of a stream its last part,
 * of examples every (1/share)-th. With share 0 *held_out is NULL. Both parts
 * are new and share the tokens; the source is not changed, and its n_unknown
 * and n_long stand in both. Refused when a part would be too small to learn
 * or measure anything.
 */
moh_status moh__dataset_split(const moh__dataset *dataset, double share,
                              moh__dataset **train, moh__dataset **held_out,
                              moh_error *err);

#endif
