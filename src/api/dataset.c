/* Datasets of moh.h, from texts and from token ids. */
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "api/sized.h"
#include "base/file.h"
#include "store/data_dir.h"
#include "text/texts.h"

static const moh_dataset_options defaults = {.size = sizeof(defaults)};

_Static_assert((int)MOH_LONG_CUT == (int)MOH__LONG_CUT &&
                   (int)MOH_LONG_SPLIT == (int)MOH__LONG_SPLIT &&
                   (int)MOH_LONG_DROP == (int)MOH__LONG_DROP &&
                   (int)MOH_LONG_REFUSE == (int)MOH__LONG_REFUSE,
               "one order of rules");

void moh_dataset_options_default(moh_dataset_options *options, size_t size) {
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

static moh_status read_options(moh_dataset_options *o,
                               const moh_dataset_options *given,
                               moh__dataset_options *inner, moh_error *err) {
  *o = defaults;
  MOH_TRY(moh__options_read(o, sizeof(*o), given, "moh_dataset_options",
                            err));
  if (o->max_length != 0 && o->max_length < 2)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "max_length must be 0 or at least 2, not %d",
                     o->max_length);
  if (o->long_rule < MOH_LONG_CUT || o->long_rule > MOH_LONG_REFUSE)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no long_rule",
                     (int)o->long_rule);
  *inner = (moh__dataset_options){
      .max_len = o->max_length == 0 ? INT64_MAX : o->max_length,
      .long_rule = (moh__long_rule)o->long_rule,
      .pack = o->pack};
  return MOH_OK;
}

/* Takes over inner; vocab is above every id in it. */
static moh_status wrap(moh_dataset **out, moh__dataset *inner, int64_t vocab,
                       moh_error *err) {
  moh_dataset *dataset = malloc(sizeof(*dataset));
  if (dataset == NULL) {
    moh__dataset_free(inner);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a dataset");
  }
  *dataset = (moh_dataset){.inner = inner, .vocab = vocab};
  *out = dataset;
  return MOH_OK;
}

void moh_dataset_free(moh_dataset *dataset) {
  if (dataset == NULL) return;
  moh__dataset_free(dataset->inner);
  free(dataset);
}

moh_status moh_dataset_new(moh_dataset **dataset,
                           const moh_tokenizer *tokenizer,
                           const moh_text *texts, size_t n_texts,
                           const moh_dataset_options *options,
                           moh_error *err) {
  MOH__NEED(dataset, err);
  *dataset = NULL;
  MOH__NEED(tokenizer, err);
  MOH__NEED(texts, err);
  moh_dataset_options o;
  moh__dataset_options how;
  MOH_TRY(read_options(&o, options, &how, err));
  moh__text *own;
  MOH_TRY(moh__texts_of(&own, texts, n_texts, err));
  moh__texts all = {.texts = own, .n = n_texts, .examples = !o.stream};
  moh__dataset *inner;
  moh_status status =
      moh__dataset_make(&inner, &all, tokenizer->inner, how, err);
  free(own);
  MOH_TRY(status);
  return wrap(dataset, inner, moh_tokenizer_size(tokenizer), err);
}

/* ---- from files ---- */

static moh_status load_directory(moh__dataset **inner,
                                 const moh__tokenizer *tokenizer,
                                 const char *dir, moh__dataset_options how,
                                 moh_error *err) {
  moh__tokens *tokens;
  moh__tokenizer *own;
  moh__data_numbers numbers;
  MOH_TRY(moh__data_load(dir, &tokens, &own, &numbers, err));
  moh_status status = moh__data_check_tokenizer(own, tokenizer, err);
  if (status == MOH_OK)
    status = moh__dataset_of_tokens(inner, tokens, how, err);
  moh__tokenizer_free(own);
  moh__tokens_free(tokens);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", dir);
}

static moh_status load_file(moh__dataset **inner,
                            const moh__tokenizer *tokenizer,
                            const char *path, const moh_dataset_options *o,
                            moh__dataset_options how, moh_error *err) {
  moh__text_options format = {.field = o->field};
  moh__texts texts;
  MOH_TRY(moh__texts_load(&texts, path, &format, err));
  if (o->stream) texts.examples = false;
  moh_status status = moh__dataset_make(inner, &texts, tokenizer, how, err);
  moh__texts_free(&texts);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

moh_status moh_dataset_load(moh_dataset **dataset,
                            const moh_tokenizer *tokenizer, const char *path,
                            const moh_dataset_options *options,
                            moh_error *err) {
  MOH__NEED(dataset, err);
  *dataset = NULL;
  MOH__NEED(tokenizer, err);
  MOH__NEED(path, err);
  moh_dataset_options o;
  moh__dataset_options how;
  MOH_TRY(read_options(&o, options, &how, err));
  moh__dataset *inner;
  if (moh__is_directory(path))
    MOH_TRY(load_directory(&inner, tokenizer->inner, path, how, err));
  else
    MOH_TRY(load_file(&inner, tokenizer->inner, path, &o, how, err));
  return wrap(dataset, inner, moh_tokenizer_size(tokenizer), err);
}

/* ---- from ids ---- */

static moh_status check_ids(const int32_t *tokens, int64_t n, int64_t *vocab,
                            moh_error *err) {
  *vocab = 0;
  for (int64_t i = 0; i < n; i++) {
    if (tokens[i] < 0)
      return moh__fail(err, MOH_ERR_ARGUMENT, "token %lld is %d",
                       (long long)i, tokens[i]);
    if (tokens[i] >= *vocab) *vocab = (int64_t)tokens[i] + 1;
  }
  return MOH_OK;
}

static moh_status check_starts(const int64_t *starts, int64_t n_examples,
                               int64_t n, moh_error *err) {
  if (starts == NULL) return MOH_OK;
  bool good = n_examples >= 1 && starts[0] == 0 && starts[n_examples] == n;
  for (int64_t i = 0; good && i < n_examples; i++)
    good = starts[i] >= 0 && starts[i] <= starts[i + 1];
  if (good) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the starts of %lld examples must rise from 0 to %lld",
                   (long long)n_examples, (long long)n);
}

/* A new array of n elements; NULL for NULL. */
static void *copy_of(const void *array, int64_t n, size_t element) {
  if (array == NULL) return NULL;
  void *copy = calloc((size_t)n + 1, element);
  if (copy != NULL) memcpy(copy, array, (size_t)n * element);
  return copy;
}

static moh_status make_tokens(moh__tokens **out, const int32_t *tokens,
                              int64_t n, const int64_t *starts,
                              int64_t n_examples, moh_error *err) {
  int32_t *ids = copy_of(tokens, n, sizeof(*ids));
  int64_t *places = copy_of(starts, n_examples + 1, sizeof(*places));
  if (ids == NULL || (starts != NULL && places == NULL)) {
    free(ids);
    free(places);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %lld tokens",
                     (long long)n);
  }
  return moh__tokens_in_memory(out, ids, n, places, n_examples, err);
}

moh_status moh_dataset_from_tokens(moh_dataset **dataset,
                                   const int32_t *tokens, int64_t n,
                                   const int64_t *starts, int64_t n_examples,
                                   const moh_dataset_options *options,
                                   moh_error *err) {
  MOH__NEED(dataset, err);
  *dataset = NULL;
  MOH__NEED(tokens, err);
  moh_dataset_options o;
  moh__dataset_options how;
  int64_t vocab;
  moh__tokens *ids;
  MOH_TRY(read_options(&o, options, &how, err));
  MOH_TRY(check_ids(tokens, n, &vocab, err));
  if (o.stream) starts = NULL;
  MOH_TRY(check_starts(starts, n_examples, n, err));
  MOH_TRY(make_tokens(&ids, tokens, n, starts, n_examples, err));
  moh__dataset *inner;
  moh_status status = moh__dataset_of_tokens(&inner, ids, how, err);
  moh__tokens_free(ids);
  MOH_TRY(status);
  return wrap(dataset, inner, vocab, err);
}

/* ---- parts and numbers ---- */

moh_status moh_dataset_split(const moh_dataset *dataset, double share,
                             moh_dataset **train, moh_dataset **held_out,
                             moh_error *err) {
  MOH__NEED(train, err);
  MOH__NEED(held_out, err);
  *train = *held_out = NULL;
  MOH__NEED(dataset, err);
  if (!(share >= 0 && share < 1))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a share must lie in [0, 1), not be %g", share);
  moh__dataset *parts[2];
  MOH_TRY(moh__dataset_split(dataset->inner, share, &parts[0], &parts[1],
                             err));
  moh_status status = wrap(train, parts[0], dataset->vocab, err);
  if (status != MOH_OK || parts[1] == NULL) {
    moh__dataset_free(parts[1]);
    return status;
  }
  status = wrap(held_out, parts[1], dataset->vocab, err);
  if (status == MOH_OK) return MOH_OK;
  moh_dataset_free(*train);
  *train = NULL;
  return status;
}

moh_status moh_dataset_describe(const moh_dataset *dataset,
                                moh_dataset_info *info, size_t size,
                                moh_error *err) {
  MOH__NEED(dataset, err);
  MOH__NEED(info, err);
  const moh__dataset *d = dataset->inner;
  moh_dataset_info known = {.n_sequences = d->n_sequences,
                            .n_tokens = d->n_tokens,
                            .n_unknown = d->n_unknown,
                            .n_long = d->n_long,
                            .stream = !d->examples};
  moh__result_write(info, size, &known, sizeof(known));
  return MOH_OK;
}
