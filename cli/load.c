/* Finding and opening models for the commands that run them. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "store/reheading.h"

#define FIELD(name) .offset = offsetof(moh__runner_values, name)

const moh__option moh__runner_options[] = {
    {"model", 'm', MOH__OPTION_STRING, "DIR",
     "a model's directory, or a run's", NULL, FIELD(model), .required = true},
    {"threads", 't', MOH__OPTION_INT, "N", "threads that compute",
     "all processors", FIELD(threads), .min = 1, .max = 1024},
    {"precision", 0, MOH__OPTION_CHOICE, NULL,
     "weights in memory, and what is computed with them: bf16 takes half of "
     "both, q8_0 and q4_0 a quarter and less; f16 is computed in f32",
     "as the weights are stored", FIELD(precision),
     .choices = moh__precision_names},
    {"verify", 0, MOH__OPTION_FLAG, NULL,
     "check the SHA-256 of every file of the model", NULL, FIELD(verify)},
    {.name = NULL},
};

char *moh__load_path(const char *path) {
  if (!moh__holds(path, "config.json") && moh__holds(path, "final"))
    return moh__path_join(path, "final");
  return strdup(path);
}

/* Of the state's options; the other files of a checkpoint are not read. */
static moh_status read_rank(const char *dir, json_int_t *rank,
                            moh_error *err) {
  json_t *state;
  char *path = moh__path_join(dir, "state.json");
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__json_load(&state, path, err);
  free(path);
  MOH_TRY(status);
  const json_t *options = json_object_get(state, "options");
  *rank = json_integer_value(json_object_get(options, "lora_rank"));
  json_decref(state);
  return MOH_OK;
}

moh_status moh__load_check(const char *dir, moh_error *err) {
  json_int_t rank;
  if (!moh__holds(dir, "state.json")) return MOH_OK;
  MOH_TRY(read_rank(dir, &rank, err));
  if (rank == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s is in the middle of a training with adapters, which "
                   "are not in its matrices yet: go on with the run "
                   "(--resume), or name its best/ or final/",
                   dir);
}

moh_status moh__load(const char *path, moh__load_options options,
                     moh__model **model, moh__tokenizer **tokenizer,
                     moh_error *err) {
  char *dir = moh__load_path(path);
  if (dir == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  if (moh__holds(dir, "run.json")) {
    free(dir);
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the run in %s is not finished: go on with it "
                     "(--resume), or name the model in its best/ or "
                     "checkpoints/",
                     path);
  }
  moh_status status = moh__load_check(dir, err);
  if (status == MOH_OK)
    status = moh__model_load(model, tokenizer, dir, options, err);
  if (status == MOH_OK && tokenizer != NULL && *tokenizer == NULL) {
    moh__model_free(*model);
    *model = NULL;
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "%s has no tokenizer.json, which is needed here", dir);
  }
  free(dir);
  return status;
}

moh__precision moh__load_precision(const moh__model *model, int chosen) {
  return (moh__precision)moh__choice_or(
      chosen, (int)moh__precision_of(moh__model_stored(model)));
}

moh_status moh__runner_open(moh__runner *runner,
                            const moh__runner_values *values,
                            moh_error *err) {
  moh__load_options options = {.verify = values->verify, .stored = true};
  *runner = (moh__runner){NULL, NULL, NULL};
  MOH_TRY(moh__load(values->model, options, &runner->model,
                    &runner->tokenizer, err));
  if (values->heads != NULL)
    MOH_TRY(moh__as_usage(
        moh__model_set_heads(&runner->model, values->heads, err), err));
  moh__model_set_precision(
      runner->model, moh__load_precision(runner->model, values->precision));
  MOH_TRY(moh__pool_new(&runner->pool, (int)moh__int_or(values->threads, 0),
                        err));
  return moh__model_pack(runner->model, runner->pool, err);
}

void moh__runner_close(moh__runner *runner) {
  moh__model_free(runner->model);
  moh__tokenizer_free(runner->tokenizer);
  moh__pool_free(runner->pool);
}
