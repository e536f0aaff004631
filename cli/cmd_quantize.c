/*
 * moh quantize: the same model with its matrices in another number format.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/file.h"
#include "commands.h"
#include "interrupt.h"
#include "json_output.h"
#include "load.h"
#include "numbers.h"
#include "receipt.h"
#include "stored.h"

static const char *const formats[] = {"f32",  "bf16", "f16",
                                      "q8_0", "q4_0", NULL};

typedef struct values {
  const char *out;
  int weights;
  bool verify, json;
} values;

static const moh__option options[] = {
    {"out", 'o', MOH__OPTION_STRING, "DIR",
     "directory of the new model; new or empty", NULL,
     .offset = offsetof(values, out), .required = true},
    {"weights", 'w', MOH__OPTION_CHOICE, NULL,
     "what matrices are stored as: numbers of 32 or 16 bits, or blocks of 32 "
     "integers of 8 or 4 bits with a scale each",
     NULL, .offset = offsetof(values, weights), .choices = formats,
     .required = true},
    {"verify", 0, MOH__OPTION_FLAG, NULL,
     "check the SHA-256 of every file of the model", NULL,
     .offset = offsetof(values, verify)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the figures as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Result", options, 0},
    {.options = NULL},
};

typedef struct work {
  const values *v;
  const char *path; /* of the model */
  char *dir;
  moh__block_type weights;
  moh__model *model;
  moh__tokenizer *tokenizer;
  json_t *manifest; /* of the model */
} work;

static moh_status open_model(work *w, moh_error *err) {
  moh__load_options how = {.verify = w->v->verify};
  w->dir = moh__load_path(w->path);
  if (w->dir == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  MOH_TRY(moh__load_check(w->dir, err));
  MOH_TRY(moh__model_load(&w->model, &w->tokenizer, w->dir, how, err));
  return moh__manifest_load(w->dir, &w->manifest, err);
}

/* What is known of its making goes on. */
static moh_status save(const work *w, moh_error *err) {
  const json_t *m = w->manifest;
  moh__model_note note = {
      .description = json_string_value(json_object_get(m, "description")),
      .steps = json_integer_value(json_object_get(m, "steps")),
      .pruning = json_object_get(m, "pruning"),
      .upcycling = json_object_get(m, "upcycling"),
      .import = json_object_get(m, "import"),
      .weights = w->weights,
      .source = w->dir,
      .watch = &moh__interrupt_watch};
  moh__interrupt_catch();
  return moh__model_save(w->model, w->tokenizer, w->v->out, &note, err);
}

/* ---- what came of it ---- */

static int64_t weight_bytes(const moh__param *w, moh__block_type type) {
  int64_t row = 0;
  if (!moh__param_stores(w, type)) return w->n * 4;
  moh__block_row_bytes(type, moh__param_in(w), &row);
  return moh__param_out(w) * row;
}

static moh_status report(const work *w, moh_error *err) {
  moh__number before, after;
  int64_t exact = 0, bytes = 0;
  for (int i = 0; i < w->model->n_params; i++) {
    exact += w->model->params[i].n * 4;
    bytes += weight_bytes(&w->model->params[i], w->weights);
  }
  if (w->v->json)
    return moh__print_json(
        json_pack("{s:s, s:I, s:I, s:i}", "weights",
                  moh__block_name(w->weights), "bytes", (json_int_t)bytes,
                  "bytes_in_f32", (json_int_t)exact, "matrices_in_f32",
                  moh__stored_exact(w->model, w->weights)),
        err);
  printf("weights     %s, %s of the %s of f32\n", moh__block_name(w->weights),
         moh__number_bytes(&after, bytes), moh__number_bytes(&before, exact));
  moh__stored_print_exact(w->model, w->weights);
  printf("model       %s\n", w->v->out);
  return MOH_OK;
}

static moh_status run_quantize(const moh__call *call, moh_error *err) {
  work w = {.v = call->values};
  if (call->n_arguments != 1)
    return moh__fail(err, MOH_ERR_ARGUMENT, "name one model's directory");
  w.path = call->arguments[0];
  moh__block_type_find(formats[w.v->weights], &w.weights);
  moh_status status = moh__receipt_check_out(w.v->out, err);
  moh__interrupt_quit("moh quantize: interrupted; nothing was written\n");
  if (status == MOH_OK) status = open_model(&w, err);
  if (status == MOH_OK) status = save(&w, err);
  if (status == MOH_OK) status = report(&w, err);
  json_decref(w.manifest);
  moh__model_free(w.model);
  moh__tokenizer_free(w.tokenizer);
  free(w.dir);
  return status;
}

const moh__command moh__command_quantize = {
    .name = "quantize",
    .summary = "store a model's weights in 16, 8 or 4 bits",
    .usage = "[OPTION]... DIR --out DIR --weights TYPE",
    .description =
        "Writes the model of a directory again, its matrices rounded to "
        "another format: f32, bf16, f16, or blocks of 32 integers of 8 bits "
        "(q8_0) or 4 (q4_0) with a scale each, as GGUF has them. Routers, "
        "norms and biases stay f32, and so does a matrix whose rows are no "
        "whole blocks. The result runs in its format, unless the command that "
        "runs it is told another precision; training starts from it in f32, "
        "without what was rounded away.",
    .examples =
        "  moh quantize run --out small --weights q8_0\n"
        "  moh generate -m small --prompt 'The sun'\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .argument = "DIR",
    .run = run_quantize,
};
