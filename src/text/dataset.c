/*
 * Datasets: texts become token ids, long examples are treated by rule, and
 * the sequences are split into a part to train on and one to measure with.
 */
#include "text/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* A sequence needs a token to read and one to predict. */
enum { MIN_TOKENS = 2 };

void moh__dataset_free(moh__dataset *dataset) {
  if (dataset == NULL) return;
  moh__tokens_free(dataset->tokens);
  free(dataset->sequences);
  free(dataset);
}

/* Room for so many sequences of the tokens, none in it yet. */
static moh_status make(moh__dataset **out, moh__tokens *tokens, int64_t n,
                       bool examples, moh_error *err) {
  size_t bytes;
  moh__dataset *dataset = calloc(1, sizeof(*dataset));
  if (dataset != NULL &&
      moh__mul_size((size_t)n + 1, sizeof(moh__sequence), &bytes))
    dataset->sequences = malloc(bytes);
  if (dataset == NULL || dataset->sequences == NULL) {
    free(dataset);
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for %" PRId64 " sequences", n);
  }
  dataset->tokens = moh__tokens_share(tokens);
  dataset->examples = examples;
  dataset->n_unknown = tokens->n_unknown;
  *out = dataset;
  return MOH_OK;
}

static void add_sequence(moh__dataset *dataset, int64_t first, int64_t n) {
  dataset->sequences[dataset->n_sequences++] = (moh__sequence){first, n};
  dataset->n_tokens += n;
}

/* ---- sequences -------------------------------------------------------- */

/* How many sequences an example of n tokens makes. */
static int64_t pieces_of(int64_t n, const moh__dataset_options *options) {
  if (n < MIN_TOKENS) return 0;
  if (n <= options->max_len || options->long_rule == MOH__LONG_CUT) return 1;
  if (options->long_rule != MOH__LONG_SPLIT) return 0;
  return (n - 1 + options->max_len - 2) / (options->max_len - 1);
}

static void add_example(moh__dataset *dataset, int64_t first, int64_t n,
                        const moh__dataset_options *options) {
  int64_t pieces = pieces_of(n, options);
  dataset->n_long += n > options->max_len;
  for (int64_t i = 0; i < pieces; i++) {
    int64_t done = i * (options->max_len - 1), rest = n - done;
    int64_t here = rest < options->max_len ? rest : options->max_len;
    add_sequence(dataset, first + done, here);
  }
}

static moh_status refuse_long(int64_t example, int64_t n,
                              const moh__dataset_options *options,
                              moh_error *err) {
  return moh__fail(err, MOH_ERR_FORMAT,
                   "text %" PRId64 " (counted from 0) has %" PRId64
                   " tokens, the context takes %" PRId64
                   "; shorten it, or have long texts cut, split or dropped",
                   example, n, options->max_len);
}

/* Counts the sequences; refuses long examples where that is the rule. */
static moh_status count_sequences(const moh__tokens *tokens,
                                  const moh__dataset_options *options,
                                  int64_t *n_sequences, moh_error *err) {
  int64_t example = 0;
  *n_sequences = 0;
  for (int32_t s = 0; s < tokens->n_segments; s++) {
    const moh__segment *segment = &tokens->segments[s];
    for (int64_t i = 0; i < segment->n_examples; i++, example++) {
      int64_t n = segment->starts[i + 1] - segment->starts[i];
      if (n > options->max_len && options->long_rule == MOH__LONG_REFUSE)
        return refuse_long(example, n, options, err);
      *n_sequences += pieces_of(n, options);
    }
  }
  return MOH_OK;
}

static moh_status check_options(const moh__tokens *tokens,
                                const moh__dataset_options *options,
                                moh_error *err) {
  if (!tokens->examples) return MOH_OK;
  if (options->max_len < MIN_TOKENS)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "sequences of %" PRId64 " tokens; %d is the least",
                     options->max_len, MIN_TOKENS);
  if (!options->pack || tokens->n_open == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%" PRId64
                   " examples do not end with the end token, so they cannot "
                   "be packed as they are; prepare them with 'moh data "
                   "--pack'",
                   tokens->n_open);
}

static moh_status make_sequences(moh__dataset **out, moh__tokens *tokens,
                                 const moh__dataset_options *options,
                                 moh_error *err) {
  int64_t n = 0;
  if (!tokens->examples || options->pack) {
    MOH_TRY(make(out, tokens, 1, false, err));
    if (tokens->n >= MIN_TOKENS) add_sequence(*out, 0, tokens->n);
    return MOH_OK;
  }
  MOH_TRY(count_sequences(tokens, options, &n, err));
  MOH_TRY(make(out, tokens, n, true, err));
  for (int32_t s = 0; s < tokens->n_segments; s++) {
    const moh__segment *segment = &tokens->segments[s];
    for (int64_t i = 0; i < segment->n_examples; i++) {
      int64_t first = segment->starts[i];
      add_example(*out, tokens->first[s] + first,
                  segment->starts[i + 1] - first, options);
    }
  }
  return MOH_OK;
}

moh_status moh__dataset_of_tokens(moh__dataset **out, moh__tokens *tokens,
                                  moh__dataset_options options,
                                  moh_error *err) {
  *out = NULL;
  MOH_TRY(check_options(tokens, &options, err));
  MOH_TRY(make_sequences(out, tokens, &options, err));
  if ((*out)->n_sequences > 0) return MOH_OK;
  moh__dataset_free(*out);
  *out = NULL;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "no text of %d tokens or more to learn from", MIN_TOKENS);
}

/* ---- encoding --------------------------------------------------------- */

/* A packed text is closed by the end token, unless it is empty. */
static moh_status close_text(moh__ids *ids, size_t start, int32_t end,
                             moh_error *err) {
  if (ids->n == start || ids->ids[ids->n - 1] == end) return MOH_OK;
  return moh__ids_push(ids, end, err);
}

/* An example begins as the tokenizer has texts begin. */
static moh_status encode_texts(const moh__texts *texts,
                               const moh__tokenizer *tokenizer,
                               moh__encoder *encoder, bool pack, int32_t end,
                               moh__ids *ids, int64_t *starts,
                               moh_error *err) {
  for (size_t i = 0; i < texts->n; i++) {
    size_t start = ids->n;
    moh_status status = MOH_OK;
    if (texts->examples && texts->texts[i].n > 0)
      status = moh__tokenizer_begin(tokenizer, ids, err);
    if (status == MOH_OK)
      status = moh__encoder_encode(encoder, texts->texts[i], true, ids, err);
    if (status == MOH_OK && pack) status = close_text(ids, start, end, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "text %zu", i);
    starts[i + 1] = (int64_t)ids->n;
  }
  return MOH_OK;
}

static moh_status encode(const moh__texts *texts,
                         const moh__tokenizer *tokenizer, bool pack,
                         moh__ids *ids, int64_t *starts, moh_error *err) {
  moh__encoder *encoder;
  int32_t end = moh__tokenizer_end(tokenizer);
  if (pack && end < 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the tokenizer has no end token </s> to put between "
                     "packed texts");
  MOH_TRY(moh__encoder_new(&encoder, tokenizer, err));
  moh_status status =
      encode_texts(texts, tokenizer, encoder, pack, end, ids, starts, err);
  moh__encoder_free(encoder);
  return status;
}

/* Among what was kept; the ids are in memory. */
static void count_unknown(moh__dataset *dataset, int32_t unknown) {
  const int32_t *ids = dataset->tokens->segments[0].ids;
  for (int64_t s = 0; s < dataset->n_sequences && unknown >= 0; s++) {
    moh__sequence sequence = dataset->sequences[s];
    for (int64_t i = 0; i < sequence.n; i++)
      dataset->n_unknown += ids[sequence.first + i] == unknown;
  }
}

moh_status moh__dataset_make(moh__dataset **out, const moh__texts *texts,
                             const moh__tokenizer *tokenizer,
                             moh__dataset_options options, moh_error *err) {
  moh__ids ids = {0};
  moh__tokens *tokens;
  bool pack = options.pack && texts->examples;
  int64_t *starts = calloc(texts->n + 1, sizeof(*starts));
  *out = NULL;
  if (starts == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu texts",
                     texts->n);
  moh_status status = encode(texts, tokenizer, pack, &ids, starts, err);
  if (status != MOH_OK || !texts->examples) {
    free(starts);
    starts = NULL;
  }
  if (status != MOH_OK) {
    moh__ids_free(&ids);
    return status;
  }
  MOH_TRY(moh__tokens_in_memory(&tokens, ids.ids, (int64_t)ids.n, starts,
                                (int64_t)texts->n, err));
  status = moh__dataset_of_tokens(out, tokens, options, err);
  if (status == MOH_OK)
    count_unknown(*out, moh__tokenizer_unknown(tokenizer));
  moh__tokens_free(tokens);
  return status;
}

/* ---- reading ---------------------------------------------------------- */

moh_status moh__dataset_read(const moh__dataset *dataset, int64_t first,
                             int64_t n, int32_t *out, moh_error *err) {
  return moh__tokens_read(dataset->tokens, first, n, out, err);
}

static moh_status hash_ids(moh__hasher *hasher, const moh__tokens *tokens,
                           moh_error *err) {
  int32_t ids[1024];
  if (tokens->digest[0] != '\0')
    return moh__hasher_put(hasher, tokens->digest, MOH__SHA256_HEX, err);
  for (int64_t at = 0; at < tokens->n;) {
    int64_t n = tokens->n - at < 1024 ? tokens->n - at : 1024;
    MOH_TRY(moh__tokens_read(tokens, at, n, ids, err));
    MOH_TRY(moh__hasher_put(hasher, ids, (size_t)n * sizeof(*ids), err));
    at += n;
  }
  return MOH_OK;
}

static moh_status hash_dataset(moh__hasher *hasher,
                               const moh__dataset *dataset,
                               moh_error *err) {
  int64_t head[] = {dataset->examples, dataset->n_sequences};
  MOH_TRY(moh__hasher_put(hasher, head, sizeof(head), err));
  MOH_TRY(moh__hasher_put(hasher, dataset->sequences,
                          (size_t)dataset->n_sequences *
                              sizeof(*dataset->sequences),
                          err));
  return hash_ids(hasher, dataset->tokens, err);
}

moh_status moh__dataset_fingerprint(const moh__dataset *dataset,
                                    char hex[MOH__SHA256_HEX],
                                    moh_error *err) {
  moh__hasher *hasher;
  hex[0] = '\0';
  MOH_TRY(moh__hasher_new(&hasher, err));
  moh_status status = hash_dataset(hasher, dataset, err);
  if (status == MOH_OK) status = moh__hasher_end(hasher, hex, err);
  moh__hasher_free(hasher);
  return status;
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
    const moh__sequence *sequence = &dataset->sequences[i];
    moh__dataset *part = is_held(i, share) ? held_out : train;
    add_sequence(part, sequence->first, sequence->n);
  }
}

static void split_stream(const moh__dataset *dataset, double share,
                         moh__dataset *train, moh__dataset *held_out) {
  moh__sequence all = dataset->sequences[0];
  int64_t n_train = all.n - held_of(all.n, share);
  add_sequence(train, all.first, n_train);
  if (n_train == all.n) return;
  add_sequence(held_out, all.first + n_train, all.n - n_train);
}

/* Both parts must hold a sequence, of a stream one of MIN_TOKENS. */
static moh_status check_share(const moh__dataset *dataset, double share,
                              moh_error *err) {
  bool examples = dataset->examples;
  int64_t n = examples ? dataset->n_sequences : dataset->n_tokens;
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

static moh_status make_part(moh__dataset **part, const moh__dataset *whole,
                            moh_error *err) {
  MOH_TRY(
      make(part, whole->tokens, whole->n_sequences, whole->examples, err));
  (*part)->n_unknown = whole->n_unknown;
  (*part)->n_long = whole->n_long;
  return MOH_OK;
}

moh_status moh__dataset_split(const moh__dataset *dataset, double share,
                              moh__dataset **train, moh__dataset **held_out,
                              moh_error *err) {
  *train = *held_out = NULL;
  MOH_TRY(check_share(dataset, share, err));
  moh_status status = make_part(train, dataset, err);
  if (status == MOH_OK && share > 0)
    status = make_part(held_out, dataset, err);
  if (status != MOH_OK) {
    moh__dataset_free(*train);
    *train = NULL;
    return status;
  }
  if (dataset->examples) {
    split_examples(dataset, share, *train, *held_out);
  } else {
    split_stream(dataset, share, *train, *held_out);
  }
  return MOH_OK;
}
