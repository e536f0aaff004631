/*
 * moh train: texts -> tokenizer -> dataset -> a new model, trained. The
 * order is such that every mistake in options or files shows before long
 * work.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "commands.h"
#include "model_options.h"
#include "resume.h"
#include "run.h"
#include "text/bpe_trainer.h"

typedef struct values {
  moh__training_values training; /* first: see resume.h */
  moh__model_values model;
  const char *tokenizer;
  int64_t vocab_size;
  moh__list extra_vocab;
} values;

static const moh__option tokenizer_options[] = {
    {"tokenizer", 0, MOH__OPTION_STRING, "KIND",
     "words, chars, bpe (byte-level), or a tokenizer.json file",
     "words for examples, chars for text",
     .offset = offsetof(values, tokenizer)},
    {"vocab-size", 0, MOH__OPTION_INT, "N", "tokens of bpe, at most",
     "4096", .offset = offsetof(values, vocab_size), .min = MOH__BPE_LEAST,
     .max = MOH__TOKENS_MAX},
    {"extra-vocab", 0, MOH__OPTION_LIST, "FILE,...",
     "further texts whose words join the vocabulary, so that later tuning "
     "knows them",
     .offset = offsetof(values, extra_vocab)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Data and results", moh__data_options, offsetof(values, training)},
    {"Format of the data", moh__format_options,
     offsetof(values, training.format)},
    {"Sequences", moh__sequence_options,
     offsetof(values, training.sequences)},
    {"Vocabulary", tokenizer_options, 0},
    {"Model", moh__preset_options, offsetof(values, model)},
    {"Training", moh__training_options, offsetof(values, training)},
    {"Running", moh__run_options, offsetof(values, training)},
    {"Changes to the preset's model", moh__model_options,
     offsetof(values, model)},
    {.options = NULL},
};

/* ---- texts and vocabulary ---- */

/* The texts of the data and of the further files, one after the other. The
 * memory behind them stays in the parts. */
typedef struct corpus {
  moh__data_source parts[MOH__LIST_MAX + 1];
  int n_parts;
  moh__text *texts;
  size_t n;
} corpus;

static void corpus_free(corpus *c) {
  for (int i = 0; i < c->n_parts; i++) moh__data_source_close(&c->parts[i]);
  free(c->texts);
}

static moh_status corpus_add(corpus *c, const char *path, const values *v,
                             moh_error *err) {
  MOH_TRY(moh__data_source_open(&c->parts[c->n_parts], path,
                                &v->training.format, &v->training.sequences,
                                err));
  const moh__texts *part = &c->parts[c->n_parts++].texts;
  if (part->n == 0) return MOH_OK; /* a directory of shards */
  moh__text *texts =
      reallocarray(c->texts, c->n + part->n, sizeof(moh__text));
  if (texts == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  memcpy(texts + c->n, part->texts, part->n * sizeof(moh__text));
  c->texts = texts;
  c->n += part->n;
  return MOH_OK;
}

static moh_status corpus_load(corpus *c, const values *v, moh_error *err) {
  MOH_TRY(corpus_add(c, v->training.data, v, err));
  for (int i = 0; i < v->extra_vocab.n; i++) {
    MOH_TRY(corpus_add(c, v->extra_vocab.items[i], v, err));
    if (c->parts[c->n_parts - 1].tokens != NULL)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--extra-vocab takes files of texts, and %s is a "
                       "directory",
                       v->extra_vocab.items[i]);
  }
  return MOH_OK;
}

/* Shards come with theirs; the source's own copy stays for comparing. */
static moh_status take_tokenizer(const values *v,
                                 const moh__data_source *source,
                                 moh__tokenizer **tokenizer,
                                 moh_error *err) {
  if (v->tokenizer != NULL || v->extra_vocab.n > 0)
    return moh__fail(
        err, MOH_ERR_ARGUMENT,
        "%s has a tokenizer; --tokenizer and --extra-vocab are "
        "for files of texts",
        source->path);
  return moh__tokenizer_copy(tokenizer, source->tokenizer, err);
}

static moh_status make_tokenizer(const values *v, const corpus *c,
                                 moh__tokenizer **tokenizer,
                                 moh_error *err) {
  const char *kind = v->tokenizer;
  const moh__data_source *source = &c->parts[0];
  if (source->tokenizer != NULL)
    return take_tokenizer(v, source, tokenizer, err);
  if (kind == NULL) kind = source->texts.examples ? "words" : "chars";
  bool bpe = strcmp(kind, "bpe") == 0;
  if (!bpe && moh__is_set_int(v->vocab_size))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--vocab-size is for --tokenizer bpe");
  if (bpe)
    return moh__tokenizer_train_bpe(
        tokenizer, c->texts, c->n,
        moh__int_or(v->vocab_size, MOH__BPE_DEFAULT), err);
  if (strcmp(kind, "words") == 0)
    return moh__tokenizer_train_words(tokenizer, c->texts, c->n, err);
  if (strcmp(kind, "chars") == 0)
    return moh__tokenizer_train_chars(tokenizer, c->texts, c->n, err);
  if (v->extra_vocab.n > 0)
    return moh__fail(
        err, MOH_ERR_ARGUMENT,
        "--extra-vocab cannot add to the vocabulary of a file");
  return moh__tokenizer_load(tokenizer, kind, err);
}

/* ---- model ---- */

/* A context beyond the preset's longest sequence makes it longer, unless
 * --max-seq-len was given, too. */
static moh_status make_config(const values *v, const char *preset,
                              const moh__run *run, moh__config *config,
                              moh_error *err) {
  MOH_TRY(moh__model_options_config(&v->model, preset, config, err));
  MOH_TRY(moh__training_set_weights(&v->training, config, err));
  config->vocab_size = moh__tokenizer_size(run->tokenizer);
  if (run->options.context > config->max_seq_len) {
    if (moh__is_set_int(v->model.max_seq_len))
      return moh__fail(
          err, MOH_ERR_ARGUMENT,
          "--context %d does not fit into --max-seq-len %" PRId64,
          run->options.context, config->max_seq_len);
    config->max_seq_len = run->options.context;
  }
  return moh__model_options_check(config, err);
}

static const char *preset_name(const values *v, const corpus *c) {
  if (v->model.preset != NULL) return v->model.preset;
  return c->parts[0].examples ? "seed-train" : "nano";
}

/* Everything that the run needs, from the texts. */
static moh_status prepare(moh__run *run, const values *v, const corpus *c,
                          moh_error *err) {
  moh__config config;
  const moh__data_source *source = &c->parts[0];
  run->origin = preset_name(v, c);
  const moh__training_defaults *d = moh__training_defaults_of(run->origin);
  MOH_TRY(moh__training_fill(&v->training, d, source->examples,
                             &run->options, err));
  MOH_TRY(make_tokenizer(v, c, &run->tokenizer, err));
  MOH_TRY(make_config(v, run->origin, run, &config, err));
  MOH_TRY(moh__run_encode(run, source, &run->main, err));
  run->held_out_share =
      moh__training_held_out(&v->training, d, source->examples);
  MOH_TRY(moh__run_split(run, err));
  MOH_TRY(moh__run_open_pool(run, err));
  return moh__arch_model_init(&run->model, &config, run->options.seed, err);
}

static moh_status run_train(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  if (v->training.resume != NULL)
    return moh__resume(call, v->training.resume, err);
  moh__run_loading();
  moh__run run = {.call = call, .values = &v->training};
  corpus c = {.n_parts = 0};
  moh_status status;
  MOH_TRY(moh__training_check(&v->training, &run.max_seconds, err));
  if (v->tokenizer != NULL)
    MOH_TRY(moh__run_dir_outside(v->training.out, "tokenizer", v->tokenizer,
                                 err));
  MOH_TRY_GOTO(status, corpus_load(&c, v, err), done);
  MOH_TRY_GOTO(status, prepare(&run, v, &c, err), done);
  status = moh__run_execute(&run, err);
done:
  corpus_free(&c);
  moh__run_free(&run);
  return status;
}

const moh__command moh__command_train = {
    .name = "train",
    .summary = "texts -> a new model",
    .usage =
        "--data FILE --out DIR [OPTION]...\n"
        "       moh train --resume DIR",
    .description =
        "Trains a new model. Examples (JSON, JSONL, CSV) are learned "
        "one by one with the preset seed-train, plain text in windows with "
        "the preset nano, if no other is named. Ctrl-C saves the whole "
        "state and ends; --resume goes on, with the same result to the bit "
        "as if there had been no break.",
    .examples =
        "  moh train --data facts.json --out run\n"
        "  moh train --data book.txt --out run --heads all --steps 5000\n"
        "  moh train --resume run\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_train,
};
