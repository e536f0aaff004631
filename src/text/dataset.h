/*
 * Datasets: token ids of examples, cut into a training and a held-out part.
 *
 * Examples mode (JSON arrays of strings): each string is a sequence of its
 * own; longer ones than the context are cut, and counted. Stream mode (plain
 * text): one long sequence, from which windows are drawn.
 */
#ifndef MOH_TEXT_DATASET_H
#define MOH_TEXT_DATASET_H

#include <stdint.h>

#include "base/rng.h"
#include "text/tokenizer.h"

/* The texts of a file. JSON (.json): an array of strings; anything else is
 * one plain text. Refused with file and place: files over 100 MiB, wrong
 * types, empty files, and texts with invalid UTF-8. */
typedef struct moh__texts {
  moh__text *texts;
  size_t n;
  bool examples; /* a JSON array, not a plain text */
  void *owner;   /* memory behind it */
} moh__texts;

moh_status moh__texts_load(moh__texts *texts, const char *path,
                           moh_error *err);
/* The same from memory, as JSON or as plain text; `name` stands for it in
 * messages. The bytes are copied. A byte order mark is left out. */
moh_status moh__texts_parse(moh__texts *texts, const char *bytes, size_t n,
                            bool json, const char *name, moh_error *err);
void moh__texts_free(moh__texts *texts);

typedef struct moh__dataset {
  int32_t *ids;   /* all tokens, one sequence after the other */
  int64_t *start; /* [n_sequences + 1] */
  int64_t n_sequences;
  bool examples;
  int64_t n_unknown; /* tokens outside the vocabulary */
  int64_t n_cut;     /* examples that were longer than max_len */
} moh__dataset;

/* Encodes texts (special tokens recognised). Of examples the first max_len
 * tokens are kept, so the cut is never inside a character; those of fewer
 * than 2 tokens are left out. Refused when nothing remains. */
moh_status moh__dataset_make(moh__dataset **out, const moh__texts *texts,
                             const moh__tokenizer *tokenizer,
                             int64_t max_len, moh_error *err);
void moh__dataset_free(moh__dataset *dataset);

/*
 * Splits off a held-out part, `share` in [0, 1): of a stream its last part,
 * of examples every (1/share)-th. With share 0 *held_out is NULL. Both parts
 * are new; the source is not changed, and its n_unknown and n_cut stand in
 * both. Refused when a part would be too small to learn or measure anything.
 */
moh_status moh__dataset_split(const moh__dataset *dataset, double share,
                              moh__dataset **train, moh__dataset **held_out,
                              moh_error *err);

#endif
