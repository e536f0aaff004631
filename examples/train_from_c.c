/*
 * Trains a small Mixture-of-Heads model from C and saves it.
 *
 *     train_from_c DIRECTORY [TEXT_FILE [STEPS]]
 *
 * Without a file it learns a few lines that stand here. Ctrl-C stops after
 * the step in work; what was learned until then is saved all the same.
 */
#include <moh.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char some_lines[] =
    "the sun is a star. the earth turns around the sun in a year.\n"
    "the moon turns around the earth in a month. the moon has no air.\n"
    "a day is the time in which the earth turns around itself.\n"
    "the sea follows the moon. the wind follows the sun.\n"
    "a year has four seasons, and a month has four weeks.\n";

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number) {
  (void)signal_number;
  interrupted = 1;
}

/* Every function of libmoh says what went wrong in a sentence. */
static void check(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "train_from_c: %s\n", err->message);
  exit(1);
}

/* The whole file in memory. */
static moh_text read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  char *bytes = NULL;
  size_t n = 0;
  size_t room = 0;
  while (file != NULL && !feof(file) && !ferror(file)) {
    if (n == room) {
      room = room == 0 ? 1 << 16 : 2 * room;
      char *more = realloc(bytes, room);
      if (more == NULL) break;
      bytes = more;
    }
    n += fread(bytes + n, 1, room - n, file);
  }
  if (file == NULL || !feof(file)) {
    fprintf(stderr, "train_from_c: cannot read %s\n", path);
    exit(1);
  }
  fclose(file);
  moh_text text = {bytes, n};
  return text;
}

/* Called after each step: shows ten lines in all, and watches for Ctrl-C. */
static bool show_step(void *context, const moh_step_report *report) {
  moh_trainer *trainer = context;
  int64_t every = report->n_steps < 10 ? 1 : report->n_steps / 10;
  if (report->step % every == 0) {
    moh_layer_load load;
    moh_error err;
    check(moh_trainer_layer_load(trainer, 0, &load, sizeof(load), &err),
          &err);
    printf("step %4lld of %lld  loss %.3f  routed heads of layer 0:",
           (long long)report->step, (long long)report->n_steps,
           report->loss);
    for (int32_t h = 0; h < load.n_routed; h++)
      printf(" %3.0f%%", 100 * (double)load.load[h]);
    printf("\n");
  }
  return !interrupted;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: train_from_c DIRECTORY [TEXT_FILE [STEPS]]\n");
    return 2;
  }
  moh_error err;
  moh_text text = {some_lines, sizeof(some_lines) - 1};
  if (argc > 2) text = read_file(argv[2]);

  /* Text to tokens: here every character is one. */
  moh_tokenizer_options tokenizer_options;
  moh_tokenizer_options_default(&tokenizer_options,
                                sizeof(tokenizer_options));
  tokenizer_options.kind = MOH_TOKENIZER_CHARS;
  moh_tokenizer *tokenizer;
  check(moh_tokenizer_train(&tokenizer, &text, 1, &tokenizer_options, &err),
        &err);
  moh_dataset_options data_options;
  moh_dataset_options_default(&data_options, sizeof(data_options));
  data_options.stream = true; /* one long text, not separate examples */
  moh_dataset *all, *data, *held_out;
  check(moh_dataset_new(&all, tokenizer, &text, 1, &data_options, &err),
        &err);
  check(moh_dataset_split(all, 0.2, &data, &held_out, &err), &err);

  /* 4 heads a layer: the first for every token, 2 of the others by the
   * router; 1 of 4 is never computed. */
  moh_model_options model_options;
  moh_model_options_default(&model_options, sizeof(model_options));
  model_options.preset = "nano";
  model_options.heads = "moh:1+2";
  moh_model *model;
  check(moh_model_new(&model, tokenizer, &model_options, &err), &err);

  moh_train_options options;
  moh_train_options_default(&options, sizeof(options));
  options.steps = argc > 3 ? atoll(argv[3]) : 60;
  options.context = 32;
  moh_trainer *trainer;
  check(moh_trainer_new(&trainer, model, data, NULL, &options, &err), &err);
  signal(SIGINT, on_signal);
  moh_status status = moh_trainer_run(trainer, show_step, trainer, &err);
  if (status == MOH_ERR_INTERRUPTED)
    printf("%s\n", err.message);
  else
    check(status, &err);

  moh_eval_result result;
  check(moh_trainer_evaluate(trainer, held_out, &result, sizeof(result),
                             &err),
        &err);
  printf("held out: loss %.3f, perplexity %.1f over %lld tokens\n",
         result.loss, exp(result.loss), (long long)result.n_tokens);
  check(moh_model_save(model, argv[1], "made by train_from_c", &err), &err);
  printf("saved in %s\n", argv[1]);

  moh_trainer_free(trainer);
  moh_model_free(model);
  moh_dataset_free(held_out);
  moh_dataset_free(data);
  moh_dataset_free(all);
  moh_tokenizer_free(tokenizer);
  if (argc > 2) free((void *)text.bytes);
  return 0;
}
