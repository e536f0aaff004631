/*
 * The loop of a training run: steps, the log, evaluations on held-out data,
 * checkpoints, and the end. A signal stops it after the step it is in, with
 * a checkpoint.
 */
#include "run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "interrupt.h"
#include "numbers.h"
#include "store/model_dir.h"

enum {
  EVALUATIONS = 20,    /* of a run, when --eval-every is not given */
  EVAL_TOKENS = 20000, /* of an evaluation during the run */
  FINAL_EVAL_TOKENS = 200000, /* of what was trained on, at the end */
  KEEP_CHECKPOINTS = 2
};

/* ---- data ---- */

moh_status moh__run_encode(const moh__run *run,
                           const moh__data_source *source,
                           moh__run_data *data, moh_error *err) {
  data->path = source->path;
  return moh__data_source_dataset(source, run->tokenizer,
                                  run->options.context,
                                  &run->values->sequences, &data->all, err);
}

moh_status moh__run_split(moh__run *run, double share, moh_error *err) {
  return moh__dataset_split(run->main.all, share, &run->train,
                            &run->held_out, err);
}

/* ---- evaluation ---- */

static moh_status log_eval(moh__run *run, const char *data,
                           const moh__eval_result *result, moh_error *err) {
  json_t *body = moh__eval_json(result);
  json_object_set_new(body, "data", json_string(data));
  json_object_set_new(body, "step",
                      json_integer(moh__trainer_step_number(run->trainer)));
  json_t *line = json_object();
  json_object_set_new(line, "eval", body);
  return moh__run_dir_log(&run->dir, line, err);
}

static moh_status evaluate(moh__run *run, const moh__dataset *dataset,
                           const char *name, moh__eval_result *result,
                           moh_error *err) {
  *result = (moh__eval_result){0, NAN, NAN};
  if (dataset == NULL) return MOH_OK;
  MOH_TRY(moh__trainer_evaluate(run->trainer, dataset, result, err));
  return log_eval(run, name, result, err);
}

/* The first tokens of a dataset, whole examples, at most `most` of them
 * (but one example at least). A stream is cut; *cut is its sequence then. */
static moh__dataset first_tokens(const moh__dataset *dataset, int64_t most,
                                 moh__sequence *cut) {
  moh__dataset part = *dataset;
  if (!dataset->examples && part.n_tokens > most) {
    *cut = (moh__sequence){part.sequences[0].first, most};
    part.sequences = cut;
    part.n_tokens = most;
  }
  while (part.n_sequences > 1 && part.n_tokens > most)
    part.n_tokens -= part.sequences[--part.n_sequences].n;
  return part;
}

static moh_status save_model(moh__run *run, const char *name,
                             moh_error *err) {
  char *path = moh__run_dir_path(&run->dir, name);
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh__model_note note = {run->origin,
                          moh__trainer_step_number(run->trainer)};
  moh_status status =
      moh__model_save(run->model, run->tokenizer, path, &note, err);
  free(path);
  return status;
}

/* The held-out loss in the middle of a run; the best model is kept. */
static moh_status evaluate_held_out(moh__run *run, moh_error *err) {
  int64_t most = moh__int_or(run->values->eval_tokens, EVAL_TOKENS);
  int64_t step = moh__trainer_step_number(run->trainer);
  moh__sequence cut;
  moh__dataset part = first_tokens(run->held_out, most, &cut);
  moh__eval_result result;
  MOH_TRY(evaluate(run, &part, "held_out", &result, err));
  bool best = isnan(run->best_loss) || result.loss < run->best_loss;
  moh__progress_note(&run->progress, "step %" PRId64 ": held out %.4f%s",
                     step, result.loss, best ? ", the best so far" : "");
  if (!best) return MOH_OK;
  run->best_loss = result.loss;
  run->best_step = step;
  return save_model(run, "best", err);
}

/* ---- checkpoints ---- */

static moh_status save_checkpoint(moh__run *run, moh_error *err) {
  int64_t step = moh__trainer_step_number(run->trainer);
  char *path = moh__run_dir_checkpoint(&run->dir, step);
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status =
      moh__trainer_checkpoint(run->trainer, run->tokenizer, path, err);
  free(path);
  return status;
}

/* The new one first: an old one goes only when the new one is whole. */
static moh_status checkpoint(moh__run *run, int64_t every, moh_error *err) {
  int64_t keep =
      moh__int_or(run->values->keep_checkpoints, KEEP_CHECKPOINTS);
  int64_t old = moh__trainer_step_number(run->trainer) - keep * every;
  MOH_TRY(save_checkpoint(run, err));
  if (old <= 0) return MOH_OK;
  return moh__run_dir_drop_checkpoint(&run->dir, old, err);
}

static moh_status stop(moh__run *run, moh_error *err) {
  int64_t step = moh__trainer_step_number(run->trainer);
  MOH_TRY(save_checkpoint(run, err));
  return moh__fail(err, MOH_ERR_INTERRUPTED,
                   "interrupted after step %" PRId64
                   "; the whole state is in %s/checkpoints/step-%06" PRId64,
                   step, run->dir.path, step);
}

/* ---- the loop ---- */

static moh_status after_step(moh__run *run, int64_t step, int64_t n_steps,
                             moh_error *err) {
  int64_t often = n_steps / EVALUATIONS > 0 ? n_steps / EVALUATIONS : 1;
  int64_t eval_every = moh__int_or(run->values->eval_every, often);
  int64_t every = moh__int_or(run->values->checkpoint_every, 0);
  bool last = step == n_steps;
  if (run->held_out != NULL && (last || step % eval_every == 0))
    MOH_TRY(evaluate_held_out(run, err));
  if (every > 0 && step % every == 0) MOH_TRY(checkpoint(run, every, err));
  return moh__interrupted() && !last ? stop(run, err) : MOH_OK;
}

static moh_status train(moh__run *run, moh_error *err) {
  int64_t n_steps = moh__trainer_n_steps(run->trainer);
  int64_t step = moh__trainer_step_number(run->trainer);
  moh_status status = MOH_OK;
  moh__progress_start(&run->progress, step, n_steps);
  while (status == MOH_OK && step < n_steps) {
    moh__step_report report;
    status = moh__trainer_step(run->trainer, &report, err);
    if (status != MOH_OK) break;
    step = report.step;
    status =
        moh__run_dir_log(&run->dir, moh__step_report_json(&report), err);
    if (status != MOH_OK) break;
    moh__progress_step(&run->progress, &report);
    status = after_step(run, step, n_steps, err);
  }
  moh__progress_end(&run->progress);
  return status;
}

/* ---- from start to end ---- */

static moh_status start(moh__run *run, moh_error *err) {
  MOH_TRY(moh__trainer_new(&run->trainer, run->model, run->pool,
                           &run->options, run->train, run->mix.all, err));
  json_t *record = moh__run_record(run);
  if (record == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status =
      moh__run_dir_open(&run->dir, run->values->out, record, err);
  json_decref(record);
  MOH_TRY(status);
  return moh__run_forecast(run, err);
}

/* Data of the last evaluation; of what was trained on, the first tokens do,
 * or it might take as long as the training did. What it takes is said. */
typedef struct final_data {
  moh__dataset part;
  moh__sequence cut;
  const moh__dataset *whole; /* NULL: none */
} final_data;

static void choose_final(const moh__run *run, const moh__dataset *whole,
                         final_data *data) {
  int64_t most =
      moh__int_or(run->values->final_eval_tokens, FINAL_EVAL_TOKENS);
  data->whole = whole;
  if (whole != NULL)
    data->part =
        first_tokens(whole, most > 0 ? most : INT64_MAX, &data->cut);
}

static void tell_final(const char *name, const final_data *data) {
  moh__number a, b;
  if (data->whole == NULL) return;
  fprintf(stderr, "; %s: ", name);
  if (data->part.n_tokens < data->whole->n_tokens)
    fprintf(stderr, "first %s of ",
            moh__number_grouped(&a, data->part.n_tokens));
  fprintf(stderr, "%s tokens",
          moh__number_grouped(&b, data->whole->n_tokens));
}

static moh_status evaluate_final(moh__run *run, const final_data *data,
                                 const char *name, moh__eval_result *result,
                                 moh_error *err) {
  const moh__dataset *part = data->whole == NULL ? NULL : &data->part;
  return evaluate(run, part, name, result, err);
}

static moh_status finish(moh__run *run, moh_error *err) {
  moh__run_result result;
  MOH_TRY(save_model(run, "final", err));
  moh__interrupt_release(); /* nothing can be lost any more */
  final_data train, mix;
  choose_final(run, run->train, &train);
  choose_final(run, run->mix.all, &mix);
  fputs("the model is saved and now evaluated", stderr);
  tell_final("training data", &train);
  tell_final("mixed-in data", &mix);
  fputc('\n', stderr);
  MOH_TRY(evaluate_final(run, &train, "train", &result.train, err));
  MOH_TRY(evaluate(run, run->held_out, "held_out", &result.held_out, err));
  MOH_TRY(evaluate_final(run, &mix, "mix", &result.mix, err));
  return moh__run_report(run, &result, err);
}

moh_status moh__run_execute(moh__run *run, moh_error *err) {
  double begin = moh__now();
  run->best_loss = NAN;
  moh__interrupt_catch();
  MOH_TRY(start(run, err));
  MOH_TRY(train(run, err));
  run->seconds = moh__now() - begin;
  return finish(run, err);
}

void moh__run_free(moh__run *run) {
  moh__run_dir_close(&run->dir);
  moh__trainer_free(run->trainer);
  moh__dataset_free(run->train);
  moh__dataset_free(run->held_out);
  moh__dataset_free(run->main.all);
  moh__dataset_free(run->mix.all);
  moh__model_free(run->model);
  moh__tokenizer_free(run->tokenizer);
  moh__pool_free(run->pool);
}
