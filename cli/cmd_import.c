/* moh import: reads the model of another program and writes it as one of
 * ours, with a receipt in its manifest. */
#include <string.h>

#include "base/file.h"
#include "commands.h"
#include "format/gguf.h"
#include "interrupt.h"
#include "json_output.h"
#include "numbers.h"
#include "receipt.h"
#include "store/import.h"
#include "store/model_dir.h"
#include "store/upcycle.h"
#include "stored.h"

typedef struct values {
  const char *out, *tokenizer, *heads;
  int weights;
  bool json;
} values;

static const char *const types[] = {"keep", "f32",  "f16", "bf16",
                                    "q8_0", "q4_0", NULL};
enum { KEEP };

static const moh__option options[] = {
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "directory of the new model; new or empty", NULL,
     .offset = offsetof(values, out), .required = true},
    {"weights", 'w', MOH__OPTION_CHOICE, NULL,
     "what matrices are stored as; keep: as they come; where they come in "
     "several types or in one that is only read, f32 if some are f32, "
     "otherwise f16",
     "keep", .offset = offsetof(values, weights), .choices = types},
    {"tokenizer", 0, MOH__OPTION_STRING, "FILE",
     "tokenizer of a llama2.c checkpoint: its own file, or a tokenizer.json",
     NULL, .offset = offsetof(values, tokenizer)},
    {"heads", 0, MOH__OPTION_STRING, "norm:S+K",
     "heads of a token, for models whose heads are chosen by the norms of "
     "their queries, as those of the MoH-LLaMA3 release are",
     "all", .offset = offsetof(values, heads)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the receipt as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Result", options, 0},
    {.options = NULL},
};

typedef struct import {
  const values *v;
  const char *source, *format;
  bool takes_tokenizer;
  moh__imported read;
  moh__block_type weights; /* to be written */
  json_t *receipt;
} import;

/* ---- what kind of file it is ---- */

static moh_status read_gguf(import *i, moh_error *err) {
  return moh__import_gguf(&i->read, i->source, err);
}

static moh_status read_llama2c(import *i, moh_error *err) {
  return moh__import_llama2c(&i->read, i->source, i->v->tokenizer, err);
}

static moh_status read_llama(import *i, moh_error *err) {
  return moh__import_llama(&i->read, i->source, err);
}

/* Without a magic number: what is nothing else. */
static bool is_file(const char *path) { return !moh__is_directory(path); }

/* The first that fits; the last fits every file. */
static const struct {
  const char *name;
  bool (*is)(const char *path);
  moh_status (*read)(import *i, moh_error *err);
  bool takes_tokenizer;
} formats[] = {
    {"LLaMA directory", moh__is_directory, read_llama, false},
    {"GGUF", moh__gguf_is, read_gguf, false},
    {"llama2.c", is_file, read_llama2c, true},
};

static moh_status read_source(import *i, moh_error *err) {
  int f = 0;
  while (!formats[f].is(i->source)) f++;
  i->format = formats[f].name;
  i->takes_tokenizer = formats[f].takes_tokenizer;
  if (i->v->tokenizer != NULL && !i->takes_tokenizer)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s brings its own tokenizer: --tokenizer is for "
                     "llama2.c checkpoints",
                     i->source);
  return formats[f].read(i, err);
}

/* What no file of such a model says: it is a dense one by its tensors. */
static moh_status choose_heads(import *i, moh_error *err) {
  moh__model *model;
  if (i->v->heads == NULL) return MOH_OK;
  if (strncmp(i->v->heads, "norm:", 5) != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--heads is for norm:S+K, which needs no router; moh "
                     "upcycle makes others out of a dense model");
  MOH_TRY(moh__upcycle(&model, i->read.model, i->v->heads, MOH__ROUTE_BY_HEAD,
                       err));
  moh__model_free(i->read.model);
  i->read.model = model;
  return MOH_OK;
}

/* ---- the receipt ---- */

static bool has_chat(const import *i) {
  const moh__tokenizer *tokenizer = i->read.tokenizer;
  return tokenizer != NULL && moh__tokenizer_chat(tokenizer) != NULL;
}

static moh_status make_receipt(import *i, moh_error *err) {
  json_t *files = json_array();
  moh__list sources = {.n = 0};
  if (is_file(i->source)) sources.items[sources.n++] = i->source;
  if (i->v->tokenizer != NULL) sources.items[sources.n++] = i->v->tokenizer;
  moh_status status = moh__receipt_files(files, &sources, err);
  i->receipt =
      json_pack("{s:s, s:s, s:s, s:I, s:b, s:b, s:o}", "source", i->source,
                "format", i->format, "weights", moh__block_name(i->weights),
                "parameters", (json_int_t)moh__model_count(i->read.model),
                "tokenizer", i->read.tokenizer != NULL, "chat_template",
                has_chat(i), "files", files);
  if (status == MOH_OK && i->receipt == NULL)
    return moh__fail(
        err, MOH_ERR_FORMAT,
        "%s: the name is not UTF-8, so no receipt can be written", i->source);
  return status;
}

/* What to do about it, where something can be done. */
static const char *without_tokenizer(const import *i) {
  if (i->takes_tokenizer)
    return "; --tokenizer FILE brings the checkpoint's own";
  if (moh__holds(i->source, "tokenizer.model"))
    return "; its tokenizer.model (SentencePiece) is not read, a "
           "tokenizer.json is needed";
  return "";
}

static void print_text(const import *i) {
  const moh__model *model = i->read.model;
  const moh__tokenizer *tokenizer = i->read.tokenizer;
  moh__number parameters, tokens;
  printf("read        %s: %s\n", i->source, i->format);
  printf("parameters  %s, in %s\n",
         moh__number_grouped(&parameters, moh__model_count(model)),
         moh__block_name(i->weights));
  moh__stored_print_exact(model, i->weights);
  if (tokenizer != NULL)
    printf("tokenizer   %s tokens\n",
           moh__number_grouped(&tokens, moh__tokenizer_size(tokenizer)));
  else
    printf("tokenizer   none: ids only%s\n", without_tokenizer(i));
  printf("template    %s\n", has_chat(i)
                                 ? "the file's own"
                                 : "none came with it: the default one");
  printf("model       %s\n", i->v->out);
}

/* ---- from start to end ---- */

static moh_status work(import *i, moh_error *err) {
  int type = moh__choice_or(i->v->weights, KEEP);
  MOH_TRY(moh__receipt_check_out(i->v->out, err));
  moh__interrupt_quit("moh import: interrupted; nothing was written\n");
  MOH_TRY(read_source(i, err));
  MOH_TRY(choose_heads(i, err));
  i->weights = i->read.weights;
  if (type != KEEP) moh__block_type_find(types[type], &i->weights);
  MOH_TRY(make_receipt(i, err));
  moh__model_note note = {.description = "imported",
                          .import = i->receipt,
                          .weights = i->weights,
                          .source = i->source,
                          .watch = &moh__interrupt_watch};
  moh__interrupt_catch();
  MOH_TRY(moh__model_save(i->read.model, i->read.tokenizer, i->v->out, &note,
                          err));
  if (i->v->json) return moh__print_json(json_incref(i->receipt), err);
  print_text(i);
  return MOH_OK;
}

static moh_status run_import(const moh__call *call, moh_error *err) {
import i = {.v = call->values };
  if (call->n_arguments != 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "which file or directory should be imported?");
  i.source = call->arguments[0];
  moh_status status = work(&i, err);
  json_decref(i.receipt);
  moh__imported_free(&i.read);
  return status;
}

const moh__command moh__command_import = {
    .name = "import",
    .summary = "make the model of another program one of moh's",
    .usage = "SOURCE --out DIR [OPTION]...",
    .description =
        "Reads a directory of a LLaMA, Qwen2 or Qwen3 model (config.json and "
        "safetensors) or a GGUF file of one, with tokenizer and chat "
        "template, or a checkpoint of llama2.c, and writes a model "
        "directory. Weights in GGUF may be F32, F16, BF16, Q8_0, "
        "Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K. What is in the file and "
        "would change what the model computes, but is not known here, is "
        "refused by name. Where the model comes from stands in "
        "manifest.json.",
    .examples =
        "  moh import SmolLM2-135M-Instruct.Q4_1.gguf --out smol\n"
        "  moh import Qwen2.5-0.5B-Instruct --out qwen\n"
        "  moh import stories260K.bin --tokenizer tok512.bin --out stories\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .argument = "PATH",
    .run = run_import,
};
