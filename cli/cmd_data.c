/*
 * moh data: files of texts, of any size, become a directory of token shards
 * that moh train and tune read without loading them. With --check, such a
 * directory is looked through.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "commands.h"
#include "data_source.h"
#include "interrupt.h"
#include "json_output.h"
#include "numbers.h"
#include "status_line.h"
#include "store/prepare.h"
#include "text/bpe_trainer.h"

enum {
  SHARD_TOKENS = 10000000,
  SAMPLE_MB = 32 /* of 10^6 bytes */
};

typedef struct values {
  const char *out, *check, *tokenizer;
  int64_t vocab_size, sample, shard_tokens, threads;
  bool pack, overwrite, json;
  moh__format_values format;
} values;

#define FIELD(name) .offset = offsetof(values, name)

static const moh__option data_options[] = {
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "the directory for tokenizer.json, shard-*.bin and manifest.json", NULL,
     FIELD(out)},
    {"overwrite", 0, MOH__OPTION_FLAG, NULL,
     "replace shards of other data in that directory", NULL,
     FIELD(overwrite)},
    {"check", 0, MOH__OPTION_STRING, "DIR",
     "instead of all that: check a directory of shards, every token of it",
     NULL, FIELD(check)},
    {.name = NULL},
};

static const moh__option vocabulary_options[] = {
    {"tokenizer", 0, MOH__OPTION_STRING, "KIND",
     "words, chars, bpe (byte-level), or a tokenizer.json file", "bpe",
     FIELD(tokenizer)},
    {"vocab-size", 0, MOH__OPTION_INT, "N", "tokens of bpe, at most", "4096",
     FIELD(vocab_size), .min = MOH__BPE_LEAST, .max = MOH__TOKENS_MAX},
    {"sample", 0, MOH__OPTION_INT, "MB",
     "megabytes of the texts, spread over all, that a vocabulary is made "
     "from",
     "32", FIELD(sample), .min = 1, .max = 1 << 20},
    {.name = NULL},
};

static const moh__option shard_options[] = {
    {"pack", 0, MOH__OPTION_FLAG, NULL,
     "join examples, each ended by </s>, to one stream", NULL, FIELD(pack)},
    {"shard-tokens", 0, MOH__OPTION_INT, "N",
     "tokens of a shard, all of which are in memory while it is made",
     "10000000", FIELD(shard_tokens), .min = 1, .max = 1 << 30},
    {"threads", 't', MOH__OPTION_INT, "N", "threads that encode",
     "all processors", FIELD(threads), .min = 1, .max = 1024},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout", NULL,
     FIELD(json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Results", data_options, 0},
    {"Format of the files", moh__format_options, offsetof(values, format)},
    {"Vocabulary", vocabulary_options, 0},
    {"Shards", shard_options, 0},
    {.options = NULL},
};

/* ---- results ---- */

static void print_numbers(const char *dir, const moh__data_numbers *n) {
  moh__number a, b;
  printf("shards      %" PRId64 " in %s\n", n->n_shards, dir);
  printf("tokens      %s", moh__number_grouped(&a, n->n_tokens));
  if (n->examples)
    printf(" in %s examples", moh__number_grouped(&b, n->n_examples));
  printf(", %.2f bytes each\n", (double)n->n_bytes / (double)n->n_tokens);
  printf("texts       %s", moh__number_bytes(&a, n->n_bytes));
  if (n->n_short > 0)
    printf(", %s too short and left out",
           moh__number_grouped(&b, n->n_short));
  printf("\nvocabulary  %s", moh__number_grouped(&a, n->vocab));
  if (n->n_unknown > 0)
    printf(", %s tokens outside of it",
           moh__number_grouped(&b, n->n_unknown));
  putchar('\n');
}

static moh_status tell(const values *v, const char *dir,
                       const moh__data_numbers *numbers, double seconds,
                       moh_error *err) {
  if (!v->json) {
    print_numbers(dir, numbers);
    return MOH_OK;
  }
  json_t *object = moh__data_numbers_json(numbers);
  json_object_set_new(object, "directory", json_string(dir));
  if (seconds > 0)
    json_object_set_new(object, "seconds", json_real(seconds));
  return moh__print_json(object, err);
}

static moh_status check(const values *v, moh_error *err) {
  moh__data_numbers numbers;
  MOH_TRY(moh__data_check(v->check, &numbers, err));
  fprintf(stderr, "every token, count and hash is as it should be\n");
  return tell(v, v->check, &numbers, 0, err);
}

/* ---- preparing ---- */

static moh_status fill_options(const moh__call *call,
                               moh__prepare_options *o, moh_error *err) {
  const values *v = call->values;
  const char *tokenizer = v->tokenizer != NULL ? v->tokenizer : "bpe";
  if (v->out == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--out DIR is missing");
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a file of texts is missing: moh data --out DIR "
                     "FILE...");
  if (moh__is_set_int(v->vocab_size) && strcmp(tokenizer, "bpe") != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--vocab-size is for --tokenizer bpe");
  *o = (moh__prepare_options){
      .paths = (const char *const *)call->arguments,
      .n_paths = call->n_arguments,
      .format = moh__format_of(&v->format),
      .out = v->out,
      .tokenizer = tokenizer,
      .vocab_size = moh__int_or(v->vocab_size, MOH__BPE_DEFAULT),
      .sample_bytes = moh__int_or(v->sample, SAMPLE_MB) * 1000000,
      .shard_tokens = moh__int_or(v->shard_tokens, SHARD_TOKENS),
      .pack = v->pack,
      .overwrite = v->overwrite};
  return MOH_OK;
}

/* "512 MiB of 1 GiB  123,456 tokens/s  4.12 bytes/token  0:12, 0:11 left" */
static void show(moh__status_line *status, const moh__prepare_report *first,
                 const moh__prepare_report *r) {
  moh__line figures = {.n = 0};
  moh__number done, all, speed;
  double seconds = moh__now() - status->start;
  int64_t tokens = r->numbers.n_tokens - first->numbers.n_tokens;
  if (!moh__status_line_due(status, r->bytes_done, r->bytes_all)) return;
  moh__line_add(&figures, "%s of %s  %s tokens/s",
                moh__number_bytes(&done, r->bytes_done),
                moh__number_bytes(&all, r->bytes_all),
                moh__number_grouped(
                    &speed, llround((double)tokens / (seconds + 1e-9))));
  if (r->numbers.n_tokens > 0)
    moh__line_add(
        &figures, "  %.2f bytes/token",
        (double)r->numbers.n_bytes / (double)r->numbers.n_tokens);
  moh__line_add(&figures, "  ");
  moh__line_add_times(&figures, seconds, first->bytes_done, r->bytes_done,
                      r->bytes_all);
  moh__status_line_show(status, r->bytes_done, r->bytes_all, "data",
                        figures.text);
}

static void tell_start(const moh__prepare_report *r,
                       const moh__prepare_options *o) {
  moh__number size, vocabulary;
  fprintf(stderr, "texts       %s in %d file%s\n",
          moh__number_bytes(&size, r->bytes_all), o->n_paths,
          o->n_paths == 1 ? "" : "s");
  if (r->done)
    fprintf(stderr, "%s is complete already\n", o->out);
  else
    fprintf(stderr, "vocabulary  %s: %s tokens\n", o->tokenizer,
            moh__number_grouped(&vocabulary, r->numbers.vocab));
  if (!r->done && r->numbers.n_shards > 0)
    fprintf(stderr, "going on behind %" PRId64 " shards\n",
            r->numbers.n_shards);
}

static moh_status work(moh__prepare *prepare, const moh__prepare_options *o,
                       moh__prepare_report *r, moh_error *err) {
  moh__status_line status;
  moh__prepare_start(prepare, r);
  moh__prepare_report first = *r;
  tell_start(r, o);
  moh__status_line_start(&status, r->bytes_done, r->bytes_all);
  moh_status result = MOH_OK;
  while (!r->done && result == MOH_OK) {
    result = moh__interrupted()
                 ? moh__fail(err, MOH_ERR_INTERRUPTED,
                             "interrupted; the same command goes on behind "
                             "the last whole shard in %s",
                             o->out)
                 : moh__prepare_step(prepare, r, err);
    if (result == MOH_OK && !r->done) show(&status, &first, r);
  }
  moh__status_line_end(&status);
  return result;
}

static moh_status run_data(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  moh__prepare_options options;
  moh__prepare *prepare = NULL;
  moh__prepare_report report;
  moh__pool *pool = NULL;
  double start = moh__now();
  moh_status status;
  if (v->check != NULL && call->n_arguments == 0) return check(v, err);
  MOH_TRY(fill_options(call, &options, err));
  MOH_TRY(moh__pool_new(&pool, (int)moh__int_or(v->threads, 0), err));
  moh__interrupt_catch();
  MOH_TRY_GOTO(status, moh__prepare_open(&prepare, &options, pool, err),
               done);
  MOH_TRY_GOTO(status, work(prepare, &options, &report, err), done);
  status = tell(v, options.out, &report.numbers, moh__now() - start, err);
done:
  moh__prepare_free(prepare);
  moh__pool_free(pool);
  return status;
}

const moh__command moh__command_data = {
    .name = "data",
    .summary = "texts of any size -> token shards to train on",
    .usage = "--out DIR [OPTION]... FILE...",
    .description =
        "Encodes texts and writes their tokens to shards, in memory that "
        "does "
        "not depend on the texts' size. Whatever ends it, the same command "
        "goes on behind the last whole shard, and the result is the same to "
        "the byte. moh train --data DIR reads the shards. Plain texts are "
        "one "
        "stream, with </s> between files; JSON, JSONL and CSV hold "
        "examples.",
    .examples =
        "  moh data --out shards --vocab-size 8192 books/*.txt\n"
        "  moh data --out shards --field story --pack stories.jsonl\n"
        "  moh data --check shards\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1 << 20,
    .argument = "FILE",
    .run = run_data,
};
