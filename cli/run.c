/*
 * The loop of a training run: steps, the log, evaluations on held-out data,
 * checkpoints, and the end. A signal, or the end of --max-time, stops it
 * with a checkpoint, whether in a step or in an evaluation.
 */
#include "run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/dir.h"
#include "base/file.h"
#include "interrupt.h"
#include "numbers.h"
#include "store/model_dir.h"

enum {
  EVALUATIONS = 20,          /* of a run, when --eval-every is not given */
  EVAL_TOKENS = 20000,       /* of an evaluation during the run */
  FINAL_EVAL_TOKENS = 200000 /* of what was trained on, at the end */
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

moh_status moh__run_split(moh__run *run, moh_error *err) {
  return moh__dataset_split(run->main.all, run->held_out_share, &run->train,
                            &run->held_out, err);
}

static moh_status load(const moh__run *run, const char *path,
                       moh__run_data *data, moh_error *err) {
  moh__data_source source;
  const moh__training_values *v = run->values;
  MOH_TRY(
      moh__data_source_open(&source, path, &v->format, &v->sequences, err));
  moh_status status = moh__run_encode(run, &source, data, err);
  moh__data_source_close(&source);
  return status;
}

moh_status moh__run_load_main(moh__run *run, moh_error *err) {
  MOH_TRY(load(run, run->values->data, &run->main, err));
  return moh__run_split(run, err);
}

moh_status moh__run_load_mix(moh__run *run, const char *path,
                             moh_error *err) {
  return load(run, path, &run->mix, err);
}

moh_status moh__run_open_pool(moh__run *run, moh_error *err) {
  int threads = (int)moh__int_or(run->values->threads, 0);
  return moh__pool_new(&run->pool, threads, err);
}

/* ---- evaluation ---- */

static moh_status log_eval(moh__run *run, const char *data, bool final,
                           const moh__eval_result *result, moh_error *err) {
  json_t *body = moh__eval_json(result);
  if (final) json_object_set_new(body, "final", json_true());
  json_object_set_new(body, "data", json_string(data));
  json_object_set_new(body, "step",
                      json_integer(moh__trainer_step_number(run->trainer)));
  json_t *line = json_object();
  json_object_set_new(line, "eval", body);
  return moh__run_dir_log(&run->dir, line, err);
}

/* final: after the last step, of all data; such lines of the log are made
 * anew when a run goes on. */
static moh_status evaluate(moh__run *run, const moh__dataset *dataset,
                           const char *name, bool final,
                           moh__eval_result *result, moh_error *err) {
  *result = (moh__eval_result){0, NAN, NAN};
  if (dataset == NULL) return MOH_OK;
  MOH_TRY(moh__trainer_evaluate(run->trainer, dataset, result, err));
  return log_eval(run, name, final, result, err);
}

/* The first tokens of a dataset, whole examples, at most `most` of them
 * (but one example at least). A stream is cut; *cut is its sequence then.
 */
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

/* With what adapters add to it. */
static moh_status save_merged(moh__run *run, const char *dir,
                              const moh__model_note *note, moh_error *err) {
  MOH_TRY(moh__trainer_merge(run->trainer, err));
  moh_status status =
      moh__model_save(run->model, run->tokenizer, dir, note, err);
  moh__trainer_unmerge(run->trainer);
  return status;
}

/* There is a whole model of that name, the old or the new one, always. */
static moh_status save_model(moh__run *run, const char *name,
                             moh_error *err) {
  moh__model_note note = {.description = run->origin,
                          .steps = moh__trainer_step_number(run->trainer)};
  char *path = moh__run_dir_path(&run->dir, name), *part = NULL;
  moh_status status = MOH_OK;
  if (path == NULL || asprintf(&part, "%s.part", path) < 0)
    status = moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  if (status == MOH_OK) status = moh__remove_tree(part, err);
  if (status == MOH_OK) status = save_merged(run, part, &note, err);
  if (status == MOH_OK) status = moh__replace_dir(part, path, err);
  if (status != MOH_OK && part != NULL) moh__remove_tree(part, NULL);
  free(path);
  free(part);
  return status;
}

/* The held-out loss in the middle of a run; the best model is kept. */
static moh_status find_best(moh__run *run, moh_error *err) {
  int64_t most = moh__int_or(run->values->eval_tokens, EVAL_TOKENS);
  int64_t step = moh__trainer_step_number(run->trainer);
  moh__sequence cut;
  moh__dataset part = first_tokens(run->held_out, most, &cut);
  moh__eval_result result;
  MOH_TRY(evaluate(run, &part, "held_out", false, &result, err));
  bool best = isnan(run->best_loss) || result.loss < run->best_loss;
  moh__progress_note(&run->progress, "step %" PRId64 ": held out %.4f%s",
                     step, result.loss, best ? ", the best so far" : "");
  if (!best) return MOH_OK;
  MOH_TRY(save_model(run, "best", err));
  run->best_loss = result.loss;
  run->best_step = step;
  return MOH_OK;
}

static moh_status evaluate_held_out(moh__run *run, moh_error *err) {
  MOH_TRY(find_best(run, err));
  run->eval_due = false;
  return MOH_OK;
}

/* ---- stopping ---- */

static bool is_done(const moh__run *run) {
  return moh__trainer_step_number(run->trainer) ==
         moh__trainer_n_steps(run->trainer);
}

static bool is_time_over(const moh__run *run) {
  return run->max_seconds > 0 && moh__now() - run->begin >= run->max_seconds;
}

/* However short the time, each call makes a step, so that the end comes
 * nearer. */
static bool wants_stop(void *context) {
  const moh__run *run = context;
  bool moved = moh__trainer_step_number(run->trainer) > run->first_step;
  return moh__interrupted() || (moved && is_time_over(run));
}

static moh_status fail_interrupted(const moh__run *run, moh_error *err) {
  const char *command = run->call->command->name, *dir = run->dir.path;
  if (is_done(run))
    return moh__fail(
        err, MOH_ERR_INTERRUPTED,
        "interrupted after the last step; the model is %s/final, "
        "and 'moh %s --resume %s' evaluates it",
        dir, command, dir);
  return moh__fail(err, MOH_ERR_INTERRUPTED,
                   "interrupted after step %" PRId64
                   "; nothing is lost: go on with 'moh %s --resume %s'",
                   moh__trainer_step_number(run->trainer), command, dir);
}

/* ---- the loop ---- */

/* Evaluation and checkpoint, when they are due. */
static moh_status after_step(moh__run *run, int64_t step, int64_t n_steps,
                             moh_error *err) {
  int64_t often = n_steps / EVALUATIONS > 0 ? n_steps / EVALUATIONS : 1;
  int64_t eval_every = moh__int_or(run->values->eval_every, often);
  run->eval_due =
      run->held_out != NULL && (step == n_steps || step % eval_every == 0);
  if (run->eval_due) MOH_TRY(evaluate_held_out(run, err));
  return moh__run_save_is_due(run) ? moh__run_save(run, err) : MOH_OK;
}

/* With the last step in which all heads work. */
static void tell_warmup(moh__run *run, const moh__step_report *report) {
  char heads[64];
  if (report->step != run->options.heads_warmup) return;
  moh__config_heads_label(&run->model->config, heads, sizeof heads);
  moh__progress_note(&run->progress,
                     "step %" PRId64
                     ": the last with all heads; from now on "
                     "heads %s",
                     report->step, heads);
}

/* Of a run that goes on, the first loss is shown beside the last before. */
static void tell_step(moh__run *run, const moh__step_report *report) {
  if (run->from != NULL && report->step == run->from->step + 1)
    moh__progress_note(&run->progress,
                       "step %" PRId64 ": loss %.4f, before it %.4f",
                       report->step, report->task_loss, run->last_loss);
  run->last_loss = report->task_loss;
  tell_warmup(run, report);
  moh__progress_step(&run->progress, report);
}

static moh_status log_step(moh__run *run, const moh__step_report *report,
                           moh_error *err) {
  json_t *line = moh__step_report_json(report);
  moh_status status =
      moh__dead_heads_step(&run->dead, report, &run->progress, line, err);
  if (status == MOH_OK) return moh__run_dir_log(&run->dir, line, err);
  json_decref(line);
  return status;
}

static moh_status train_step(moh__run *run, int64_t n_steps, moh_error *err) {
  moh__step_report report;
  MOH_TRY(moh__trainer_step(run->trainer, &report, err));
  MOH_TRY(log_step(run, &report, err));
  tell_step(run, &report);
  return after_step(run, report.step, n_steps, err);
}

/* Until the last step, or until something stops it. An evaluation that was
 * stopped before comes first. */
static moh_status train(moh__run *run, moh_error *err) {
  int64_t n_steps = moh__trainer_n_steps(run->trainer);
  moh__progress_start(&run->progress, run->first_step, n_steps);
  moh__dead_heads_init(&run->dead, n_steps);
  moh_status status = run->eval_due ? evaluate_held_out(run, err) : MOH_OK;
  while (status == MOH_OK && !is_done(run) && !wants_stop(run))
    status = train_step(run, n_steps, err);
  moh__progress_end(&run->progress);
  moh__dead_heads_free(&run->dead);
  return status;
}

/* ---- from start to end ---- */

static moh_status open_dir(moh__run *run, moh_error *err) {
  const char *path = run->values->out;
  if (run->from != NULL)
    return moh__run_dir_reopen(&run->dir, path, run->from->step,
                               run->eval_due, err);
  json_t *record = moh__run_record(run);
  if (record == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__run_dir_open(&run->dir, path, record, err);
  json_decref(record);
  return status;
}

/* Of a run that goes on, options that cannot be are its file's fault. */
static moh_status make_trainer(moh__run *run, moh_error *err) {
  moh_status status = moh__run_check_memory(run, err);
  if (status == MOH_OK)
    status = moh__trainer_new(&run->trainer, run->model, run->pool,
                              &run->options, run->train, run->mix.all, err);
  if (status != MOH_ERR_ARGUMENT || run->from == NULL) return status;
  return moh__fail_in(err, MOH_ERR_FORMAT, "%s/state.json", run->from->dir);
}

static moh_status start(moh__run *run, moh_error *err) {
  MOH_TRY(make_trainer(run, err));
  if (run->from != NULL) MOH_TRY(moh__run_restore(run, err));
  run->first_step = moh__trainer_step_number(run->trainer);
  moh__trainer_set_stop(run->trainer, wants_stop, run);
  MOH_TRY(open_dir(run, err));
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
    data->part = first_tokens(whole, most > 0 ? most : INT64_MAX, &data->cut);
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
  return evaluate(run, part, name, true, result, err);
}

static moh_status finish(moh__run *run, moh_error *err) {
  moh__run_result result;
  MOH_TRY(save_model(run, "final", err));
  final_data train, mix;
  choose_final(run, run->train, &train);
  choose_final(run, run->mix.all, &mix);
  fputs("the model is saved and now evaluated", stderr);
  tell_final("training data", &train);
  tell_final("mixed-in data", &mix);
  fputc('\n', stderr);
  MOH_TRY(evaluate_final(run, &train, "train", &result.train, err));
  MOH_TRY(
      evaluate(run, run->held_out, "held_out", true, &result.held_out, err));
  MOH_TRY(evaluate_final(run, &mix, "mix", &result.mix, err));
  return moh__run_report(run, &result, err);
}

/* --max-time is no failure: the run is as good as interrupted, on purpose.
 */
static moh_status end_early(moh__run *run, moh_error *err) {
  moh__number time;
  moh__run_result none = {.train = {0}};
  run->stopped = true;
  fprintf(stderr,
          "stopped after %s, at step %" PRId64 " of %" PRId64
          ", as --max-time says; go on with 'moh %s --resume %s'\n",
          moh__number_duration(&time, moh__now() - run->begin),
          moh__trainer_step_number(run->trainer),
          moh__trainer_n_steps(run->trainer), run->call->command->name,
          run->dir.path);
  return moh__run_report(run, &none, err);
}

static moh_status stop(moh__run *run, moh_error *err) {
  MOH_TRY(moh__run_save(run, err));
  return moh__interrupted() ? fail_interrupted(run, err)
                            : end_early(run, err);
}

void moh__run_loading(void) {
  moh__interrupt_quit(
      "moh: interrupted before the first step; nothing was written\n");
}

moh_status moh__run_execute(moh__run *run, moh_error *err) {
  run->begin = run->last_saved = moh__now();
  run->best_loss = run->last_loss = NAN;
  moh__interrupt_catch();
  MOH_TRY(start(run, err));
  moh_status status = train(run, err);
  run->seconds = moh__now() - run->begin;
  if (status == MOH_OK)
    status = is_done(run) ? finish(run, err) : MOH_ERR_INTERRUPTED;
  return status == MOH_ERR_INTERRUPTED ? stop(run, err) : status;
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
