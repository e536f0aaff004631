/*
 * moh tokenize: a text's tokens, counted, listed or coloured; the text of
 * tokens; and making a tokenizer from files.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "color.h"
#include "commands.h"
#include "input.h"
#include "load.h"
#include "numbers.h"
#include "pieces.h"
#include "store/foreign.h"
#include "store/tokenizer_dir.h"
#include "tokenizer_train.h"

typedef struct values {
  const char *tokenizer, *model, *file;
  bool plain, bare, ids, count, decode, json;
  moh__tokenizer_train_values train;
} values;

#define FIELD(name) .offset = offsetof(values, name)

static const moh__option source_options[] = {
    {"tokenizer", 0, MOH__OPTION_STRING, "FILE", "a tokenizer.json", NULL,
     FIELD(tokenizer)},
    {"model", 'm', MOH__OPTION_STRING, "DIR",
     "the tokenizer of a model's directory, or of a run's", NULL,
     FIELD(model)},
    {"file", 'f', MOH__OPTION_STRING, "FILE", "read the text from a file",
     NULL, FIELD(file)},
    {"plain", 0, MOH__OPTION_FLAG, NULL,
     "</s> and other special tokens are text like any other", NULL,
     FIELD(plain)},
    {"bare", 0, MOH__OPTION_FLAG, NULL,
     "without the tokens that the tokenizer puts in front of a text and "
     "behind it",
     NULL, FIELD(bare)},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"ids", 0, MOH__OPTION_FLAG, NULL, "ids only, with blanks between", NULL,
     FIELD(ids)},
    {"count", 0, MOH__OPTION_FLAG, NULL,
     "how many tokens and bytes; on stderr the speed, by the time that the "
     "processor took",
     NULL, FIELD(count)},
    {"decode", 0, MOH__OPTION_FLAG, NULL,
     "the other way round: TEXT holds ids, their text is written", NULL,
     FIELD(decode)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON", NULL,
     FIELD(json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Text and tokenizer", source_options, 0},
    {"Output", output_options, 0},
    {"Training", moh__tokenizer_train_options, offsetof(values, train)},
    {"Format of the files to train on", moh__format_options,
     offsetof(values, train.format)},
    {.options = NULL},
};

static moh_status open_tokenizer(const values *v, moh__tokenizer **out,
                                 moh_error *err) {
  if ((v->tokenizer == NULL) == (v->model == NULL))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "either --tokenizer FILE or --model DIR is needed");
  if (v->tokenizer != NULL)
    return moh__tokenizer_load(out, v->tokenizer, err);
  MOH_TRY(moh__refuse_file(v->model, err));
  char *dir = moh__load_path(v->model);
  moh_status status = dir != NULL
                          ? moh__tokenizer_load_dir(out, dir, err)
                          : moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  free(dir);
  return status;
}

/* ---- text -> tokens ---- */

static void print_counts(moh__text text, size_t n_tokens, double seconds,
                         bool json) {
  moh__number tokens, bytes;
  double share = (double)text.n / (double)(n_tokens > 0 ? n_tokens : 1);
  double speed = (double)text.n / 1e6 / (seconds > 0 ? seconds : 1e-9);
  if (json) {
    printf(
        "{\n  \"n_bytes\": %zu,\n  \"n_tokens\": %zu,\n"
        "  \"bytes_per_token\": %.4f,\n  \"seconds\": %.6f,\n"
        "  \"mb_per_second\": %.3f\n}\n",
        text.n, n_tokens, share, seconds, speed);
    return;
  }
  printf("%s tokens, %s bytes, %.3f bytes per token\n",
         moh__number_grouped(&tokens, (int64_t)n_tokens),
         moh__number_grouped(&bytes, (int64_t)text.n), share);
  fprintf(stderr, "%.1f MB/s of one processor\n", speed);
}

static moh_status print_tokens(const values *v, moh__text text,
                               const moh__tokenizer *tokenizer,
                               const moh__ids *ids, moh_error *err) {
  if (v->json) return moh__pieces_json(stdout, tokenizer, ids, text.n, err);
  if (v->ids)
    moh__pieces_ids(stdout, ids);
  else if (moh__wants_color(STDOUT_FILENO))
    moh__pieces_color(stdout, tokenizer, ids);
  else
    moh__pieces_list(stdout, tokenizer, ids);
  return MOH_OK;
}

static moh_status encode(const values *v, moh__text text,
                         const moh__tokenizer *tokenizer, moh_error *err) {
  moh__ids ids = {0};
  double start = moh__thread_seconds();
  moh_status status = MOH_OK;
  if (!v->bare) status = moh__tokenizer_begin(tokenizer, &ids, err);
  if (status == MOH_OK)
    status = moh__tokenizer_encode(tokenizer, text, !v->plain, &ids, err);
  if (status == MOH_OK && !v->bare)
    status = moh__tokenizer_finish(tokenizer, &ids, err);
  double seconds = moh__thread_seconds() - start;
  if (status == MOH_OK && v->count)
    print_counts(text, ids.n, seconds, v->json);
  else if (status == MOH_OK)
    status = print_tokens(v, text, tokenizer, &ids, err);
  moh__ids_free(&ids);
  return status;
}

/* ---- tokens -> text ---- */

/* Whole numbers with blanks, commas or brackets between them. */
static moh_status read_ids(moh__text text, moh__ids *ids, moh_error *err) {
  for (size_t i = 0; i < text.n;) {
    char c = text.bytes[i];
    int64_t id = 0;
    if (memchr(" \t\r\n,[]", c, 7) != NULL) {
      i++;
      continue;
    }
    size_t start = i;
    for (; i < text.n && isdigit((unsigned char)text.bytes[i]); i++)
      if (id <= INT32_MAX) id = 10 * id + (text.bytes[i] - '0');
    if (i == start || id > INT32_MAX)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "byte %zu of the ids begins no id", start);
    MOH_TRY(moh__ids_push(ids, (int32_t)id, err));
  }
  return MOH_OK;
}

static moh_status decode(moh__text text, const moh__tokenizer *tokenizer,
                         moh_error *err) {
  moh__ids ids = {0};
  char *bytes = NULL;
  size_t n = 0;
  moh_status status = read_ids(text, &ids, err);
  if (status == MOH_OK)
    status = moh__tokenizer_decode_bytes(tokenizer, ids.ids, ids.n, false,
                                         &bytes, &n, err);
  if (status == MOH_OK) fwrite(bytes, 1, n, stdout);
  free(bytes);
  moh__ids_free(&ids);
  return status;
}

/* ---- the command ---- */

static moh_status show(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  const char *word = call->n_arguments > 0 ? call->arguments[0] : NULL;
  moh__tokenizer *tokenizer;
  moh__input input;
  if (v->ids + v->count + v->decode > 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--ids, --count and --decode exclude each other");
  if (v->json && v->decode)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--decode writes bytes as they are, which JSON cannot "
                     "hold: leave out --json");
  MOH_TRY(open_tokenizer(v, &tokenizer, err));
  moh_status status =
      moh__input_open(&input, word, v->file, "text", "TEXT", err);
  if (status == MOH_OK) {
    status = v->decode ? decode(input.text, tokenizer, err)
                       : encode(v, input.text, tokenizer, err);
    moh__input_close(&input);
  }
  moh__tokenizer_free(tokenizer);
  return status;
}

static moh_status run_tokenize(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  if (v->train.files.n == 0) return show(call, err);
  if (v->tokenizer != NULL || v->model != NULL || call->n_arguments > 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--train makes a tokenizer and takes none, and no "
                     "TEXT");
  return moh__tokenizer_train_run(&v->train, v->json, err);
}

const moh__command moh__command_tokenize = {
    .name = "tokenize",
    .summary = "a text -> its tokens; texts -> a tokenizer",
    .usage = "[OPTION]... [TEXT]",
    .description =
        "Shows how a text is cut into tokens by the tokenizer of a file or "
        "a model: in changing colours on a terminal, elsewhere a line for "
        "each, its id and the text in quotes (\\n, \\t, \\r, \\\\, \\\" "
        "and "
        "\\xHH stand for what cannot be seen). TEXT '-' is read from "
        "stdin, "
        "any bytes. With --train, a tokenizer is made instead.",
    .examples =
        "  moh tokenize --model run \"Once upon a time\"\n"
        "  moh tokenize --train book.txt --vocab-size 8192 -o book.json\n"
        "  moh tokenize --tokenizer book.json --count --file book.txt\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .run = run_tokenize,
};
