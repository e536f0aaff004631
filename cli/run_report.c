/* What a run says: the forecast before it, its record, and its results. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/json.h"
#include "numbers.h"
#include "run.h"

/* ---- before ---- */

static void forecast_data(const char *label, const moh__run_data *data,
                          const moh__sequence_values *sequences) {
  moh__number a, b, c;
  const moh__dataset *d = data->all;
  fprintf(stderr, "%-9s %s: ", label, data->path);
  if (d->examples)
    fprintf(stderr, "%s examples, ", moh__number_grouped(&a, d->n_sequences));
  fprintf(stderr, "%s tokens", moh__number_grouped(&b, d->n_tokens));
  if (d->n_unknown > 0)
    fprintf(stderr, ", %s of them not in the vocabulary",
            moh__number_grouped(&c, d->n_unknown));
  if (d->n_long > 0)
    fprintf(stderr, ", %s long examples %s",
            moh__number_grouped(&c, d->n_long),
            moh__long_rule_text(sequences));
  fputc('\n', stderr);
}

/* Whether some example ends with the end token, as it must for a model to
 * learn where to stop. True where that cannot be known. */
static bool some_end(const moh__run *run, const moh__dataset *d) {
  int32_t end = moh__tokenizer_end(run->tokenizer), last;
  if (!d->examples || end < 0) return true;
  for (int64_t i = 0; i < d->n_sequences; i++) {
    const moh__sequence *s = &d->sequences[i];
    if (moh__dataset_read(d, s->first + s->n - 1, 1, &last, NULL) != MOH_OK)
      return true;
    if (last == end) return true;
  }
  return false;
}

static void warn_of_ends(const moh__run *run) {
  if (some_end(run, run->main.all)) return;
  fprintf(stderr,
          "%-9s no example ends with </s>: what is learned will not know "
          "where to stop; put </s> at the end of each, or use --pack\n",
          "note");
}

static void forecast_model(const moh__run *run) {
  moh__number count, vocabulary;
  char heads[64], experts[64];
  const moh__config *config = &run->model->config;
  moh__config_heads_label(config, heads, sizeof heads);
  moh__config_experts_label(config, experts, sizeof experts);
  fprintf(stderr,
          "%-9s %s: %s parameters, vocabulary %s, heads %s of %" PRId64
          "%s\n",
          "model", run->origin,
          moh__number_grouped(&count, moh__model_count(run->model)),
          moh__number_grouped(&vocabulary, config->vocab_size), heads,
          config->n_heads, experts);
}

/* Where that is not all of them. */
static void forecast_updated(const moh__run *run) {
  moh__number updated;
  const moh__model *adapters = moh__trainer_adapters(run->trainer);
  int64_t n = moh__model_count_updated(run->model);
  if (n == moh__model_count(run->model)) return;
  if (adapters != NULL) n += moh__model_count(adapters);
  fprintf(stderr, "%-9s %s parameters", "updated",
          moh__number_grouped(&updated, n));
  if (adapters != NULL)
    fprintf(stderr, ", with adapters of rank %d beside %d matrices",
            run->options.lora_rank, adapters->n_params / 2);
  fputc('\n', stderr);
}

static void add_adapters(const moh__run *run, moh__model_bytes *bytes) {
  const moh__model *adapters = moh__trainer_adapters(run->trainer);
  if (adapters == NULL) return;
  moh__model_bytes more = moh__model_measure(adapters);
  bytes->decoded += more.decoded;
  bytes->grads += more.grads;
  bytes->moments += more.moments;
}

static moh_status measure(const moh__run *run, moh__model_bytes *bytes,
                          size_t *arena, moh_error *err) {
  *bytes = moh__model_measure(run->model);
  if (run->trainer != NULL) add_adapters(run, bytes);
  if (run->options.amsgrad) bytes->moments += bytes->moments / 2;
  return moh__arch_arena_bytes_training(
      run->model, run->options.batch, run->options.context,
      run->options.recompute, run->options.heads_warmup > 0, arena, err);
}

moh_status moh__run_check_memory(const moh__run *run, moh_error *err) {
  moh__number need, there;
  moh__model_bytes bytes;
  size_t arena;
  MOH_TRY(moh__trainer_mark(run->model, &run->options, err));
  MOH_TRY(measure(run, &bytes, &arena, err));
  double total = (double)moh__model_bytes_trained(&bytes) +
                 (double)bytes.grads + (double)bytes.moments + (double)arena;
  double machine =
      (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  if (machine <= 0 || total <= machine) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY,
                   "this training takes %s of memory, and the machine has "
                   "%s; a smaller --batch with --accumulate, or a smaller "
                   "--context, takes less",
                   moh__number_bytes(&need, (int64_t)total),
                   moh__number_bytes(&there, (int64_t)machine));
}

static moh_status forecast_memory(const moh__run *run, moh_error *err) {
  moh__number weights, training, activations;
  moh__model_bytes bytes;
  size_t arena;
  MOH_TRY(measure(run, &bytes, &arena, err));
  fprintf(
      stderr, "%-9s %s weights, %s gradients and moments, %s activations\n",
      "memory", moh__number_bytes(&weights, moh__model_bytes_trained(&bytes)),
      moh__number_bytes(&training, bytes.grads + bytes.moments),
      moh__number_bytes(&activations, (int64_t)arena));
  return MOH_OK;
}

static void forecast_steps(const moh__run *run) {
  moh__number steps;
  const moh__train_options *o = &run->options;
  int threads = moh__pool_threads(run->pool);
  fprintf(stderr, "%-9s %s steps", "training",
          moh__number_grouped(&steps, moh__trainer_n_steps(run->trainer)));
  if (o->epochs > 0) fprintf(stderr, " (%" PRId64 " epochs)", o->epochs);
  fprintf(stderr, " of %d sequences of up to %d tokens, %d thread%s\n",
          o->batch * o->accumulate, o->context, threads,
          threads == 1 ? "" : "s");
}

static moh_status forecast_time(const moh__run *run, moh_error *err) {
  moh__number time, steps, speed;
  moh__pace pace;
  int64_t n = moh__trainer_n_steps(run->trainer) -
              moh__trainer_step_number(run->trainer);
  if (n < 1) return MOH_OK;
  MOH_TRY(moh__trainer_probe(run->trainer, &pace, err));
  fprintf(stderr, "%-9s about %s for %s steps (%s tokens/s)\n", "time",
          moh__number_duration(&time, (double)n * pace.seconds),
          moh__number_grouped(&steps, n),
          moh__number_grouped(&speed, llround(pace.tokens / pace.seconds)));
  return MOH_OK;
}

moh_status moh__run_forecast(const moh__run *run, moh_error *err) {
  const moh__sequence_values *sequences = &run->values->sequences;
  forecast_data("data", &run->main, sequences);
  if (run->mix.all != NULL) forecast_data("mixed in", &run->mix, sequences);
  warn_of_ends(run);
  forecast_model(run);
  forecast_updated(run);
  MOH_TRY(forecast_memory(run, err));
  forecast_steps(run);
  return forecast_time(run, err);
}

/* ---- run.json ---- */

json_t *moh__run_record(const moh__run *run) {
  char *place = getcwd(NULL, 0); /* relative paths are from there */
  json_t *record =
      json_pack("{s:s, s:s, s:s, s:s*, s:o, s:o, s:I, s:I, s:o}",
                "moh_version", moh_version(), "command",
                run->call->command->name, "origin", run->origin, "directory",
                place, "options", moh__options_json(run->call), "training",
                moh__train_options_json(&run->options), "n_steps",
                (json_int_t)moh__trainer_n_steps(run->trainer), "parameters",
                (json_int_t)moh__model_count(run->model), "model",
                moh__config_to_json(&run->model->config));
  free(place);
  return record;
}

/* ---- after ---- */

json_t *moh__eval_json(const moh__eval_result *result) {
  return json_pack("{s:I, s:f, s:f}", "tokens", (json_int_t)result->n_tokens,
                   "loss", result->loss, "sequence_loss",
                   result->sequence_loss);
}

static void print_eval(const char *label, const moh__eval_result *result) {
  moh__number tokens;
  if (result->n_tokens == 0) return;
  printf("%-13s loss %.4f per token, %.4f mean of sequences (%s tokens)\n",
         label, result->loss, result->sequence_loss,
         moh__number_grouped(&tokens, result->n_tokens));
}

static void print_text(const moh__run *run, const moh__run_result *result) {
  moh__number steps, duration, done;
  print_eval("training data", &result->train);
  print_eval("held-out data", &result->held_out);
  print_eval("mixed-in data", &result->mix);
  if (!isnan(run->best_loss))
    printf("best model    loss %.4f held out, step %" PRId64 ": %s/best\n",
           run->best_loss, run->best_step, run->dir.path);
  if (run->stopped) {
    printf("unfinished    %s steps of %s: %s/checkpoints\n",
           moh__number_grouped(&done, moh__trainer_step_number(run->trainer)),
           moh__number_grouped(&steps, moh__trainer_n_steps(run->trainer)),
           run->dir.path);
    return;
  }
  printf("final model   %s steps in %s: %s/final\n",
         moh__number_grouped(&steps, moh__trainer_n_steps(run->trainer)),
         moh__number_duration(&duration, run->seconds), run->dir.path);
}

static void set_eval(json_t *object, const char *key,
                     const moh__eval_result *result) {
  if (result->n_tokens > 0)
    json_object_set_new(object, key, moh__eval_json(result));
}

static json_t *result_json(const moh__run *run,
                           const moh__run_result *result) {
  json_t *object = json_pack(
      "{s:s, s:b, s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "out", run->dir.path,
      "finished", !run->stopped, "steps_done",
      (json_int_t)moh__trainer_step_number(run->trainer), "steps",
      (json_int_t)moh__trainer_n_steps(run->trainer), "seconds", run->seconds,
      "parameters", (json_int_t)moh__model_count(run->model), "skipped_steps",
      (json_int_t)moh__trainer_n_skipped(run->trainer), "unknown_tokens",
      (json_int_t)run->main.all->n_unknown, "long_examples",
      (json_int_t)run->main.all->n_long);
  set_eval(object, "train", &result->train);
  set_eval(object, "held_out", &result->held_out);
  set_eval(object, "mix", &result->mix);
  if (!isnan(run->best_loss))
    json_object_set_new(
        object, "best",
        json_pack("{s:I, s:f}", "step", (json_int_t)run->best_step, "loss",
                  run->best_loss));
  return object;
}

static void tell_skipped(const moh__run *run) {
  moh__number skipped, steps;
  int64_t n = moh__trainer_n_skipped(run->trainer);
  if (n == 0) return;
  fprintf(
      stderr, "%s of %s steps skipped as outliers\n",
      moh__number_grouped(&skipped, n),
      moh__number_grouped(&steps, moh__trainer_step_number(run->trainer)));
}

static moh_status save_result(const moh__run *run, const json_t *object,
                              moh_error *err) {
  char *path = moh__run_dir_path(&run->dir, "result.json");
  if (path == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__json_save(object, path, err);
  free(path);
  return status;
}

moh_status moh__run_report(const moh__run *run, const moh__run_result *result,
                           moh_error *err) {
  json_t *object = result_json(run, result);
  if (object == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = run->stopped ? MOH_OK : save_result(run, object, err);
  if (status == MOH_OK) {
    tell_skipped(run);
    if (run->values->json)
      json_dumpf(object, stdout, JSON_INDENT(2));
    else
      print_text(run, result);
    if (run->values->json) fputc('\n', stdout);
  }
  json_decref(object);
  return status;
}
