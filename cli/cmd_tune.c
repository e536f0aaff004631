/*
 * moh tune: goes on from a model on other data, with its vocabulary. A
 * share of the sequences may come from a second file (the first training's
 * data), against forgetting; its loss is shown beside the main one.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "load.h"
#include "resume.h"
#include "run.h"

typedef struct values {
  moh__training_values training; /* first: see resume.h */
  const char *model, *mix;
} values;

static const moh__option model_options[] = {
    {"model", 'm', MOH__OPTION_STRING, "DIR",
     "the model to go on from: its directory, or a run's", NULL,
     .offset = offsetof(values, model)},
    {"mix", 0, MOH__OPTION_STRING, "FILE:SHARE",
     "that share of the sequences comes from another file", NULL,
     .offset = offsetof(values, mix)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", model_options, 0},
    {"Data and results", moh__data_options, offsetof(values, training)},
    {"Format of the data", moh__format_options,
     offsetof(values, training.format)},
    {"Sequences", moh__sequence_options,
     offsetof(values, training.sequences)},
    {"Training", moh__training_options, offsetof(values, training)},
    {"Running", moh__run_options, offsetof(values, training)},
    {.options = NULL},
};

/* The context is the model's longest sequence at most. */
static moh_status fill_options(moh__run *run, const values *v,
                               bool examples, moh_error *err) {
  const moh__training_defaults *d = moh__training_defaults_of("tune");
  int64_t longest = run->model->config.max_seq_len;
  double share = run->options.mix_share;
  MOH_TRY(
      moh__training_fill(&v->training, d, examples, &run->options, err));
  run->options.mix_share = share;
  if (run->options.context <= longest) return MOH_OK;
  if (moh__is_set_int(v->training.context))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--context %d is longer than the model's longest "
                     "sequence, %" PRId64,
                     run->options.context, longest);
  run->options.context = (int32_t)longest;
  return MOH_OK;
}

static moh_status encode_main(moh__run *run, const values *v,
                              const moh__data_source *source,
                              moh_error *err) {
  const moh__training_defaults *d = moh__training_defaults_of("tune");
  MOH_TRY(fill_options(run, v, source->examples, err));
  run->held_out_share =
      moh__training_held_out(&v->training, d, source->examples);
  MOH_TRY(moh__run_encode(run, source, &run->main, err));
  return moh__run_split(run, err);
}

static moh_status load_main(moh__run *run, const values *v,
                            moh_error *err) {
  moh__data_source source;
  MOH_TRY(moh__data_source_open(&source, v->training.data,
                                &v->training.format, &v->training.sequences,
                                err));
  moh_status status = encode_main(run, v, &source, err);
  moh__data_source_close(&source);
  return status;
}

static moh_status prepare(moh__run *run, const values *v, const char *mix,
                          moh_error *err) {
  moh__load_options options = {.verify = true, .writable = true};
  MOH_TRY(moh__load(v->model, options, &run->model, &run->tokenizer, err));
  MOH_TRY(moh__training_set_weights(&v->training, &run->model->config, err));
  MOH_TRY(load_main(run, v, err));
  if (mix != NULL) MOH_TRY(moh__run_load_mix(run, mix, err));
  return moh__run_open_pool(run, err);
}

static moh_status check(const values *v, const char *mix, moh__run *run,
                        moh_error *err) {
  if (v->model == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--model DIR is missing");
  MOH_TRY(moh__training_check(&v->training, &run->max_seconds, err));
  if (mix != NULL)
    MOH_TRY(moh__run_dir_outside(v->training.out, "mix", mix, err));
  return moh__run_dir_outside(v->training.out, "model", v->model, err);
}

static moh_status run_tune(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  if (v->training.resume != NULL)
    return moh__resume(call, v->training.resume, err);
  moh__run_loading();
  moh__run run = {.call = call, .values = &v->training, .origin = v->model};
  char *mix = NULL;
  moh_status status;
  if (v->mix != NULL)
    MOH_TRY(
        moh__training_parse_mix(v->mix, &mix, &run.options.mix_share, err));
  MOH_TRY_GOTO(status, check(v, mix, &run, err), done);
  MOH_TRY_GOTO(status, prepare(&run, v, mix, err), done);
  status = moh__run_execute(&run, err);
done:
  moh__run_free(&run);
  free(mix);
  return status;
}

const moh__command moh__command_tune = {
    .name = "tune",
    .summary = "a model -> one that also knows other data",
    .usage =
        "--model DIR --data FILE --out DIR [OPTION]...\n"
        "       moh tune --resume DIR",
    .description =
        "Goes on training a model on other data, with the vocabulary it "
        "has; "
        "words outside of it are counted. --mix keeps showing it earlier "
        "data, so that it does not forget.",
    .examples =
        "  moh tune --model run --data dialogues.json "
        "--mix facts.json:0.3 --out run2\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_tune,
};
