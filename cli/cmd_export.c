/* moh export: writes a model in the format of another program. */
#include <stdlib.h>
#include <unistd.h>

#include "base/blocks.h"
#include "commands.h"
#include "interrupt.h"
#include "json_output.h"
#include "load.h"
#include "numbers.h"
#include "receipt.h"
#include "store/export_gguf.h"
#include "store/export_llama.h"
#include "stored.h"

typedef struct values {
  const char *out;
  int format, weights;
  bool json;
} values;

static const char *const format_names[] = {"llama", "gguf", NULL};
static const char *const weight_names[] = {"f32",  "f16",  "bf16",
                                           "q8_0", "q4_0", NULL};

#define FIELD(name) .offset = offsetof(values, name)

static const moh__option options[] = {
    {"out", 'o', MOH__OPTION_STRING, "PATH",
     "what to write: a new or empty directory, or a new file", NULL,
     FIELD(out), .required = true},
    {"format", 0, MOH__OPTION_CHOICE, NULL,
     "a directory as transformers and programs like it have them, or a file "
     "for llama.cpp and its like",
     "llama", FIELD(format), .choices = format_names},
    {"weights", 'w', MOH__OPTION_CHOICE, NULL,
     "numbers of the weights; q8_0 and q4_0 with --format gguf", "f32",
     FIELD(weights), .choices = weight_names},
    {"json", 0, MOH__OPTION_FLAG, NULL, "what was written, as JSON on stdout",
     NULL, FIELD(json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Result", options, 0},
    {.options = NULL},
};

typedef struct export {
  const values *v;
  char *source; /* a model directory */
  moh__block_type weights;
  moh__model *model;
  moh__tokenizer *tokenizer;
}
export;

/* ---- formats ---- */

static moh_status check_llama(const export *e, moh_error *err) {
  if (e->weights > MOH__BLOCK_BF16)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--weights %s is for --format gguf",
                     moh__block_name(e->weights));
  return moh__receipt_check_out(e->v->out, err);
}

static moh_status write_llama(const export *e, moh_error *err) {
  return moh__export_llama(e->model, e->source, e->weights, e->v->out,
                           &moh__interrupt_watch, err);
}

static moh_status check_gguf(const export *e, moh_error *err) {
  if (access(e->v->out, F_OK) != 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s is there already; name another --out", e->v->out);
}

static moh_status write_gguf(const export *e, moh_error *err) {
  return moh__export_gguf(e->model, e->tokenizer, e->source, e->weights,
                          e->v->out, &moh__interrupt_watch, err);
}

/* In the order of their names. */
static const struct {
  moh_status (*check)(const export *e, moh_error *err);
  moh_status (*write)(const export *e, moh_error *err);
  bool has_words; /* the tokenizer is written anew */
} formats[] = {{check_llama, write_llama, false},
               {check_gguf, write_gguf, true}};

/* ---- from start to end ---- */

static moh_status report(const export *e, const char *format,
                         moh_error *err) {
  moh__number parameters;
  int64_t n = moh__model_count(e->model);
  const char *weights = moh__block_name(e->weights);
  if (e->v->json)
    return moh__print_json(
        json_pack("{s:s, s:s, s:s, s:I, s:i}", "format", format, "out",
                  e->v->out, "weights", weights, "parameters", (json_int_t)n,
                  "matrices_in_f32", moh__stored_exact(e->model, e->weights)),
        err);
  printf("parameters  %s, in %s\n", moh__number_grouped(&parameters, n),
         weights);
  moh__stored_print_exact(e->model, e->weights);
  printf("%-10s  %s\n", format, e->v->out);
  return MOH_OK;
}

static moh_status work(export *e, moh_error *err) {
  moh__load_options load = {.verify = true};
  int format = moh__choice_or(e->v->format, 0);
  const char *weights = weight_names[moh__choice_or(e->v->weights, 0)];
  if (e->source == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  if (!moh__block_type_find(weights, &e->weights))
    return moh__fail(err, MOH_ERR_ARGUMENT, "no type of weights is '%s'",
                     weights);
  MOH_TRY(formats[format].check(e, err));
  moh__interrupt_quit("moh export: interrupted; nothing was written\n");
  MOH_TRY(moh__load(e->source, load, &e->model,
                    formats[format].has_words ? &e->tokenizer : NULL, err));
  moh__interrupt_catch();
  MOH_TRY(formats[format].write(e, err));
  return report(e, format_names[format], err);
}

static moh_status run_export(const moh__call *call, moh_error *err) {
  export e = {.v = call->values};
  if (call->n_arguments != 1)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "which model directory should be exported?");
  e.source = moh__load_path(call->arguments[0]);
  moh_status status = work(&e, err);
  moh__tokenizer_free(e.tokenizer);
  moh__model_free(e.model);
  free(e.source);
  return status;
}

const moh__command moh__command_export = {
    .name = "export",
    .summary = "write a model for other programs",
    .usage = "MODEL --out PATH [OPTION]...",
    .description =
        "Writes a dense model whose choices are those of LLaMA, Qwen2 or "
        "Qwen3 (see the family in moh inspect) so that programs for these "
        "load it: as a directory with config.json, model.safetensors and "
        "the tokenizer's files, or as a GGUF file with all of it, in which "
        "norms, biases and matrices whose rows are no whole blocks stay f32. "
        "A model that they cannot run, such as one with Mixture-of-Heads, is "
        "refused with what it has; so is a tokenizer that GGUF has no words "
        "for.",
    .examples =
        "  moh export run --out plain\n"
        "  moh export run --out half -w bf16\n"
        "  moh export run --out run.gguf --format gguf -w q8_0\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .argument = "MODEL",
    .run = run_export,
};
