/*
 * The tokenizer of a preparation: a file's, or one made from a sample of
 * the texts. The sample is spread over all of the files: a record is taken
 * whenever less than its share of the bytes so far has been. It ends up in
 * the directory, and is read from there, also by the first run.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/prepare_internal.h"
#include "text/bpe_trainer.h"

/* Of different words that the trainer holds: some 60 MB. */
enum { BPE_WORDS = 1 << 17 };

/* ---- the sample ---- */

typedef struct sample {
  const moh__prepare_options *options;
  moh__bpe_trainer *trainer; /* NULL: texts are collected */
  moh__bytes bytes;          /* of the texts, side by side */
  moh__text *texts;
  size_t n, capacity;
  double share;  /* of the bytes */
  double passed; /* bytes of the files before this one */
  double taken;
} sample;

static moh_status collect(sample *s, moh__text text, moh_error *err) {
  if (s->n == s->capacity) {
    size_t capacity = 2 * s->capacity + 64;
    moh__text *grown = reallocarray(s->texts, capacity, sizeof(*grown));
    if (grown == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "no memory for a sample");
    s->texts = grown;
    s->capacity = capacity;
  }
  s->texts[s->n++].n = text.n;
  return moh__bytes_add(&s->bytes, text.bytes, text.n, err);
}

static moh_status sample_file(sample *s, moh__reader *reader,
                              moh_error *err) {
  for (;;) {
    moh__text text;
    bool found;
    MOH_TRY(moh__reader_next(reader, &text, &found, err));
    double at = (double)moh__reader_tell(reader).place.offset;
    if (!found) break;
    if (s->taken > (s->passed + at) * s->share) continue;
    s->taken += (double)text.n;
    MOH_TRY(s->trainer != NULL
                ? moh__bpe_trainer_feed(s->trainer, text, err)
                : collect(s, text, err));
  }
  s->passed += (double)moh__reader_size(reader);
  return MOH_OK;
}

static moh_status sample_all(sample *s, double n_bytes, moh_error *err) {
  const moh__prepare_options *o = s->options;
  double most = (double)o->sample_bytes;
  s->share = n_bytes > most ? most / n_bytes : 1;
  for (int i = 0; i < o->n_paths; i++) {
    moh__reader *reader;
    MOH_TRY(moh__reader_open(&reader, o->paths[i], &o->format, err));
    moh_status status = sample_file(s, reader, err);
    moh__reader_close(reader);
    MOH_TRY(status);
  }
  const char *bytes = s->bytes.bytes;
  for (size_t i = 0; i < s->n; i++) {
    s->texts[i].bytes = bytes;
    bytes += s->texts[i].n;
  }
  return MOH_OK;
}

static moh_status train(sample *s, double n_bytes,
                        moh__tokenizer **tokenizer, moh_error *err) {
  const moh__prepare_options *o = s->options;
  bool bpe = strcmp(o->tokenizer, "bpe") == 0;
  if (bpe) MOH_TRY(moh__bpe_trainer_new(&s->trainer, BPE_WORDS, err));
  MOH_TRY(sample_all(s, n_bytes, err));
  if (bpe)
    return moh__bpe_trainer_finish(s->trainer, o->vocab_size, tokenizer,
                                   err);
  if (strcmp(o->tokenizer, "words") == 0)
    return moh__tokenizer_train_words(tokenizer, s->texts, s->n, err);
  return moh__tokenizer_train_chars(tokenizer, s->texts, s->n, err);
}

/* ---- the directory's ---- */

bool moh__prepare_is_kind(const char *tokenizer) {
  return strcmp(tokenizer, "words") == 0 ||
         strcmp(tokenizer, "chars") == 0 || strcmp(tokenizer, "bpe") == 0;
}

static moh_status check_end(const moh__prepare_options *o,
                            const moh__tokenizer *tokenizer,
                            moh_error *err) {
  if (!o->pack || moh__tokenizer_end(tokenizer) >= 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the tokenizer has no end token </s> to put between "
                   "packed texts");
}

static moh_status make(moh__prepare_dir *dir, const char *path,
                       moh_error *err) {
  const moh__prepare_options *o = dir->options;
  sample s = {.options = o};
  double n_bytes = (double)moh__prepare_bytes_before(dir, o->n_paths);
  moh__tokenizer *tokenizer = NULL;
  moh_status status =
      moh__prepare_is_kind(o->tokenizer)
          ? train(&s, n_bytes, &tokenizer, err)
          : moh__tokenizer_load(&tokenizer, o->tokenizer, err);
  if (status == MOH_OK) status = check_end(o, tokenizer, err);
  if (status == MOH_OK) status = moh__prepare_dir_begin(dir, err);
  if (status == MOH_OK) status = moh__tokenizer_save(tokenizer, path, err);
  moh__tokenizer_free(tokenizer);
  moh__bpe_trainer_free(s.trainer);
  free(s.texts);
  free(s.bytes.bytes);
  return status;
}

moh_status moh__prepare_hash(const char *path, char hex[MOH__SHA256_HEX],
                             moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__sha256(map.bytes, map.size, hex, err);
  moh__map_close(&map);
  return status;
}

/* The file must be the one that the shards so far were made with. */
static moh_status open_made(moh__prepare_dir *dir, const char *path,
                            moh__tokenizer **tokenizer, moh_error *err) {
  char hex[MOH__SHA256_HEX];
  MOH_TRY(moh__prepare_hash(path, hex, err));
  if (dir->tokenizer[0] != '\0' && strcmp(dir->tokenizer, hex) != 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s has changed since the first shards were made; "
                     "start again in another directory",
                     path);
  memcpy(dir->tokenizer, hex, sizeof(hex));
  MOH_TRY(moh__tokenizer_load(tokenizer, path, err));
  return check_end(dir->options, *tokenizer, err);
}

moh_status moh__prepare_tokenizer(moh__prepare_dir *dir,
                                  moh__tokenizer **tokenizer,
                                  moh_error *err) {
  char *path = moh__path_join(dir->options->out, "tokenizer.json");
  if (path == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory to prepare data");
  moh_status status = MOH_OK;
  if (dir->tokenizer[0] == '\0') status = make(dir, path, err);
  if (status == MOH_OK) status = open_made(dir, path, tokenizer, err);
  free(path);
  return status;
}
