/* Making a tokenizer from files, and saying what came of it. */
#include "tokenizer_train.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "json_output.h"
#include "numbers.h"
#include "status_line.h"
#include "text/bpe_trainer.h"
#include "text/reader.h"

#define FIELD(name) .offset = offsetof(moh__tokenizer_train_values, name)

typedef enum kind { KIND_BPE, KIND_WORDS, KIND_CHARS } kind;
static const char *const kinds[] = {"bpe", "words", "chars", NULL};

const moh__option moh__tokenizer_train_options[] = {
    {"train", 0, MOH__OPTION_LIST, "FILE,...",
     "make a tokenizer from the texts of these files", NULL, FIELD(files)},
    {"kind", 0, MOH__OPTION_CHOICE, NULL,
     "byte-level byte-pair encoding, words and punctuation, or characters",
     "bpe", FIELD(kind), .choices = kinds},
    {"vocab-size", 0, MOH__OPTION_INT, "N", "tokens of bpe, at most",
     "4096", FIELD(vocab_size), .min = MOH__BPE_LEAST,
     .max = MOH__TOKENS_MAX},
    {"out", 'o', MOH__OPTION_STRING, "FILE", "where to save it", NULL,
     FIELD(out)},
    {"overwrite", 0, MOH__OPTION_FLAG, NULL, "replace that file", NULL,
     FIELD(overwrite)},
    {.name = NULL},
};

/* Words and characters need all texts at once; bpe reads files of any size
 * record by record. */
typedef struct work {
  const moh__tokenizer_train_values *v;
  kind kind;
  moh__text_options format;
  moh__texts files[MOH__LIST_MAX]; /* that are open */
  int n_files;
  moh__text *texts; /* of all of them */
  size_t n;
  moh__bpe_trainer *trainer;
  moh__status_line status;
  moh__tokenizer *tokenizer;
  int64_t n_bytes; /* of the texts */
} work;

static void close_files(work *w) {
  for (int i = 0; i < w->n_files; i++) moh__texts_free(&w->files[i]);
  free(w->texts);
}

static moh_status load_file(work *w, const char *path, moh_error *err) {
  moh__texts *file = &w->files[w->n_files];
  MOH_TRY(moh__texts_load(file, path, &w->format, err));
  w->n_files++;
  moh__text *texts = reallocarray(w->texts, w->n + file->n, sizeof(*texts));
  if (texts == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  memcpy(texts + w->n, file->texts, file->n * sizeof(*texts));
  w->texts = texts;
  w->n += file->n;
  for (size_t i = 0; i < file->n; i++)
    w->n_bytes += (int64_t)file->texts[i].n;
  return MOH_OK;
}

/* "12.3 MiB of 1 GiB  0:12, 1:05 left", once it takes more than a second.
 */
static void show(work *w, const moh__reader *reader) {
  moh__line figures = {.n = 0};
  moh__number read, size;
  int64_t done = moh__reader_tell(reader).place.offset;
  int64_t all = moh__reader_size(reader);
  double seconds = moh__now() - w->status.start;
  if (seconds < 1 || !moh__status_line_due(&w->status, done, all)) return;
  moh__line_add(&figures, "%s of %s  ", moh__number_bytes(&read, done),
                moh__number_bytes(&size, all));
  moh__line_add_times(&figures, seconds, 0, done, all);
  moh__status_line_show(&w->status, done, all, "read", figures.text);
}

static moh_status feed_all(work *w, moh__reader *reader, moh_error *err) {
  for (;;) {
    moh__text text;
    bool found;
    MOH_TRY(moh__reader_next(reader, &text, &found, err));
    if (!found) return MOH_OK;
    MOH_TRY(moh__bpe_trainer_feed(w->trainer, text, err));
    w->n_bytes += (int64_t)text.n;
    show(w, reader);
  }
}

static moh_status feed_file(work *w, const char *path, moh_error *err) {
  moh__reader *reader;
  MOH_TRY(moh__reader_open(&reader, path, &w->format, err));
  moh__status_line_start(&w->status, 0, moh__reader_size(reader));
  moh_status status = feed_all(w, reader, err);
  moh__status_line_end(&w->status);
  moh__reader_close(reader);
  return status;
}

static moh_status read_file(work *w, const char *path, moh_error *err) {
  moh__number bytes;
  int64_t before = w->n_bytes;
  MOH_TRY(w->kind == KIND_BPE ? feed_file(w, path, err)
                              : load_file(w, path, err));
  fprintf(stderr, "%s: %s bytes\n", path,
          moh__number_grouped(&bytes, w->n_bytes - before));
  return MOH_OK;
}

static moh_status read_files(work *w, moh_error *err) {
  if (w->kind == KIND_BPE)
    MOH_TRY(moh__bpe_trainer_new(&w->trainer, MOH__BPE_WORDS, err));
  for (int i = 0; i < w->v->files.n; i++)
    MOH_TRY(read_file(w, w->v->files.items[i], err));
  return MOH_OK;
}

static moh_status make(work *w, moh_error *err) {
  MOH_TRY(read_files(w, err));
  if (w->kind == KIND_WORDS)
    return moh__tokenizer_train_words(&w->tokenizer, w->texts, w->n, err);
  if (w->kind == KIND_CHARS)
    return moh__tokenizer_train_chars(&w->tokenizer, w->texts, w->n, err);
  moh__number words;
  size_t n_forgotten = moh__bpe_trainer_forgotten(w->trainer);
  if (n_forgotten > 0)
    fprintf(stderr, "(%s rare words were left out)\n",
            moh__number_grouped(&words, (int64_t)n_forgotten));
  return moh__bpe_trainer_finish(
      w->trainer, moh__int_or(w->v->vocab_size, MOH__BPE_DEFAULT),
      &w->tokenizer, err);
}

/* ---- options and results ---- */

static moh_status check(const moh__tokenizer_train_values *v, kind k,
                        moh_error *err) {
  if (v->out == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--out FILE is missing");
  if (k != KIND_BPE && moh__is_set_int(v->vocab_size))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--vocab-size is for --kind bpe");
  if (!v->overwrite && access(v->out, F_OK) == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s is there already; name another --out, or replace "
                     "it with --overwrite",
                     v->out);
  for (int i = 0; i < v->files.n; i++)
    if (moh__same_file(v->files.items[i], v->out))
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--out %s is one of the texts; name another file",
                       v->out);
  return MOH_OK;
}

static moh_status report(const work *w, double seconds, bool json,
                         moh_error *err) {
  int32_t n_tokens = moh__tokenizer_size(w->tokenizer);
  moh__number tokens;
  if (!json) {
    printf("%s: %s tokens, %s\n", w->v->out,
           moh__number_grouped(&tokens, n_tokens), kinds[w->kind]);
    return MOH_OK;
  }
  json_t *object =
      json_pack("{s:s, s:s, s:i, s:I, s:f}", "out", w->v->out, "kind",
                kinds[w->kind], "n_tokens", n_tokens, "n_bytes",
                (json_int_t)w->n_bytes, "seconds", seconds);
  return moh__print_json(object, err);
}

moh_status moh__tokenizer_train_run(
    const moh__tokenizer_train_values *values, bool json, moh_error *err) {
  work w = {.v = values,
            .kind = (kind)moh__choice_or(values->kind, KIND_BPE),
            .format = moh__format_of(&values->format)};
  double start = moh__now();
  MOH_TRY(check(values, w.kind, err));
  moh_status status = make(&w, err);
  if (status == MOH_OK)
    status = moh__tokenizer_save(w.tokenizer, values->out, err);
  if (status == MOH_OK) status = report(&w, moh__now() - start, json, err);
  close_files(&w);
  moh__bpe_trainer_free(w.trainer);
  moh__tokenizer_free(w.tokenizer);
  return status;
}
