/*
 * Datasets: texts become token ids, one sequence after the other in one
 * array, and are split into a part to train on and one to measure with.
 */
#include "text/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* A sequence needs a token to read and one to predict. */
enum { MIN_TOKENS = 2 };

void moh__dataset_free(moh__dataset *dataset) {
  if (dataset == NULL) return;
  free(dataset->ids);
  free(dataset->start);
  free(dataset);
}

/* Room for n_sequences and n_ids, no sequence in it yet. */
static moh_status make(moh__dataset **out, size_t n_sequences, size_t n_ids,
                       bool examples, moh_error *err) {
  moh__dataset *dataset = calloc(1, sizeof(*dataset));
  size_t bytes;
  if (dataset != NULL && moh__mul_size(n_ids, sizeof(int32_t), &bytes)) {
    dataset->ids = malloc(bytes > 0 ? bytes : 1);
    dataset->start = calloc(n_sequences + 1, sizeof(*dataset->start));
  }
  if (dataset == NULL || !dataset->ids || !dataset->start) {
    moh__dataset_free(dataset);
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for a dataset of %zu tokens", n_ids);
  }
  dataset->examples = examples;
  *out = dataset;
  return MOH_OK;
}

static void add_sequence(moh__dataset *dataset, const int32_t *ids,
                         int64_t n) {
  int64_t *start = dataset->start + dataset->n_sequences++;
  memcpy(dataset->ids + start[0], ids, (size_t)n * sizeof(*ids));
  start[1] = start[0] + n;
}

/* ---- making ----------------------------------------------------------- */

/* Ends of the sequences in ids; cuts and leaves out as the header says. */
static moh_status encode_all(moh__dataset *dataset, const moh__texts *texts,
                             const moh__tokenizer *tokenizer,
                             int64_t max_len, moh__ids *ids,
                             moh_error *err) {
  for (size_t i = 0; i < texts->n; i++) {
    size_t start = ids->n;
    moh_status status =
        moh__tokenizer_encode(tokenizer, texts->texts[i], true, ids, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "text %zu", i);
    if (texts->examples && ids->n - start > (size_t)max_len) {
      ids->n = start + (size_t)max_len;
      dataset->n_cut++;
    }
    if (ids->n - start < MIN_TOKENS) ids->n = start;
    if (ids->n == start) continue;
    dataset->start[++dataset->n_sequences] = (int64_t)ids->n;
  }
  if (dataset->n_sequences > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "no text of %d tokens or more to learn from", MIN_TOKENS);
}

moh_status moh__dataset_make(moh__dataset **out, const moh__texts *texts,
                             const moh__tokenizer *tokenizer,
                             int64_t max_len, moh_error *err) {
  *out = NULL;
  if (texts->examples && max_len < MIN_TOKENS) {
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "sequences of %lld tokens; %d is the least",
                     (long long)max_len, MIN_TOKENS);
  }
  moh__dataset *dataset;
  moh__ids ids = {0};
  MOH_TRY(make(&dataset, texts->n, 0, texts->examples, err));
  moh_status status =
      encode_all(dataset, texts, tokenizer, max_len, &ids, err);
  if (status != MOH_OK) {
    moh__ids_free(&ids);
    moh__dataset_free(dataset);
    return status;
  }
  int32_t unknown = moh__tokenizer_unknown(tokenizer);
  for (size_t i = 0; i < ids.n && unknown >= 0; i++) {
    dataset->n_unknown += ids.ids[i] == unknown;
  }
  free(dataset->ids);
  dataset->ids = ids.ids;
  *out = dataset;
  return MOH_OK;
}

/* ---- splitting -------------------------------------------------------- */

/* How many of the first n belong to the held-out part. The small addend
 * makes 0.1 of 30 three whatever the rounding. */
static int64_t held_of(int64_t n, double share) {
  return (int64_t)floor((double)n * share + 1e-9);
}

static bool is_held(int64_t sequence, double share) {
  return held_of(sequence + 1, share) > held_of(sequence, share);
}

static void split_examples(const moh__dataset *dataset, double share,
                           moh__dataset *train, moh__dataset *held_out) {
  for (int64_t i = 0; i < dataset->n_sequences; i++) {
    const int64_t *start = dataset->start + i;
    moh__dataset *part = is_held(i, share) ? held_out : train;
    add_sequence(part, dataset->ids + start[0], start[1] - start[0]);
  }
}

static void split_stream(const moh__dataset *dataset, double share,
                         moh__dataset *train, moh__dataset *held_out) {
  int64_t n = dataset->start[dataset->n_sequences];
  int64_t n_train = n - held_of(n, share);
  add_sequence(train, dataset->ids, n_train);
  if (n_train == n) return;
  add_sequence(held_out, dataset->ids + n_train, n - n_train);
}

/* Both parts must hold a sequence, of a stream one of MIN_TOKENS. */
static moh_status check_share(const moh__dataset *dataset, double share,
                              moh_error *err) {
  bool examples = dataset->examples;
  int64_t n = examples ? dataset->n_sequences
                       : dataset->start[dataset->n_sequences];
  int64_t least = examples ? 1 : MIN_TOKENS;
  if (!(share >= 0 && share < 1)) {
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the held-out share %g is not in [0, 1)", share);
  }
  int64_t n_held = held_of(n, share);
  if (share == 0 || (n_held >= least && n - n_held >= least)) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "a share of %g of %lld %s leaves one part empty; take "
                   "another share, or 0 for none",
                   share, (long long)n, examples ? "examples" : "tokens");
}

static void copy_counts(moh__dataset *part, const moh__dataset *dataset) {
  part->n_unknown = dataset->n_unknown;
  part->n_cut = dataset->n_cut;
}

moh_status moh__dataset_split(const moh__dataset *dataset, double share,
                              moh__dataset **train, moh__dataset **held_out,
                              moh_error *err) {
  *train = *held_out = NULL;
  MOH_TRY(check_share(dataset, share, err));
  size_t n_sequences = (size_t)dataset->n_sequences;
  size_t n_ids = (size_t)dataset->start[n_sequences];
  bool examples = dataset->examples;
  moh__dataset *parts[2] = {NULL, NULL};
  moh_status status = make(&parts[0], n_sequences, n_ids, examples, err);
  if (status == MOH_OK && share > 0) {
    status = make(&parts[1], n_sequences, n_ids, examples, err);
  }
  if (status != MOH_OK) {
    moh__dataset_free(parts[0]);
    return status;
  }
  if (examples) {
    split_examples(dataset, share, parts[0], parts[1]);
  } else {
    split_stream(dataset, share, parts[0], parts[1]);
  }
  copy_counts(parts[0], dataset);
  if (parts[1] != NULL) copy_counts(parts[1], dataset);
  *train = parts[0];
  *held_out = parts[1];
  return MOH_OK;
}
