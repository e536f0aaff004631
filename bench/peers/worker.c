/*
 * Our side of a contest against other programs, through moh.h alone. A parent
 * asks for work on stdin, a word and a number a line, and gets the seconds of
 * processor time and of the clock that it took.
 *
 *   moh_worker make CONFIG DIR                a model with random weights
 *   moh_worker train CONFIG HEADS PRECISION THREADS CONTEXT BATCH
 *     step 1          one whole training step
 *     forward 1       the loss of as many tokens, without gradients
 *   moh_worker run DIR PRECISION THREADS MAX_LENGTH
 *     prefill N       N tokens at once, from nothing
 *     decode N        one token behind N others; after fill N
 *     fill N          N tokens, those that are there kept
 *     logits N        writes the logits behind N tokens instead
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <moh.h>

enum { N_TOKENS = 200000 };

static void must(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "moh_worker: %s\n", err->message);
  exit(1);
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Token i of every text: the same for all contenders. */
static int32_t token(int64_t i, int64_t vocabulary) {
  return (int32_t)(i * 7919 % vocabulary);
}

static moh_model *make_model(const char *config, const char *heads) {
  moh_error err;
  moh_model *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof o);
  o.preset = "nano";
  o.config = config;
  o.heads = heads;
  must(moh_model_new(&model, NULL, &o, &err), &err);
  return model;
}

static moh_precision precision_of(const char *name) {
  static const char *const names[] = {"f32", "bf16", "f16", "q8_0", "q4_0"};
  for (int i = 0; i < 5; i++)
    if (strcmp(name, names[i]) == 0) return (moh_precision)i;
  fprintf(stderr, "moh_worker: %s is no precision\n", name);
  exit(2);
}

/* Calls work(context, word, n) for every line, and answers with its time. */
static void serve(void (*work)(void *context, const char *word, int n),
                  void *context) {
  char word[32];
  int n;
  printf("ready\n");
  fflush(stdout);
  while (scanf("%31s %d", word, &n) == 2) { /* NOLINT: our own parent */
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    double wall = seconds(CLOCK_MONOTONIC);
    work(context, word, n);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    printf("%.9f %.9f\n", cpu, wall);
    fflush(stdout);
  }
}

/* ---- training ---- */

typedef struct training {
  moh_trainer *trainer;
  moh_dataset *data;  /* for steps */
  moh_dataset *batch; /* as many tokens as a step has */
} training;

static void train_word(void *context, const char *word, int n) {
  training *t = context;
  moh_error err;
  (void)n;
  if (strcmp(word, "forward") == 0) {
    moh_eval_result result;
    must(moh_trainer_evaluate(t->trainer, t->batch, &result, sizeof result,
                              &err),
         &err);
  } else {
    must(moh_trainer_step(t->trainer, NULL, 0, &err), &err);
  }
}

static moh_dataset *make_data(int64_t n_tokens) {
  static int32_t tokens[N_TOKENS];
  moh_dataset *data;
  moh_error err;
  for (int64_t i = 0; i < n_tokens; i++) tokens[i] = token(i * i, 4093);
  must(moh_dataset_from_tokens(&data, tokens, n_tokens, NULL, 0, NULL, &err),
       &err);
  return data;
}

static int train(char **arg) {
  moh_error err;
  moh_train_options o;
  moh_model *model = make_model(arg[0], arg[1]);
  moh_train_options_default(&o, sizeof o);
  o.precision = precision_of(arg[2]);
  o.n_threads = atoi(arg[3]);
  o.context = atoi(arg[4]);
  o.batch = atoi(arg[5]);
  o.steps = 100000;
  training t = {.data = make_data(N_TOKENS),
                .batch = make_data(o.batch * o.context + 1)};
  must(moh_trainer_new(&t.trainer, model, t.data, NULL, &o, &err), &err);
  serve(train_word, &t);
  moh_trainer_free(t.trainer);
  moh_dataset_free(t.batch);
  moh_dataset_free(t.data);
  moh_model_free(model);
  return 0;
}

/* ---- running ---- */

static void feed(moh_session *session, int n, const float **logits) {
  static int32_t tokens[1 << 16];
  int32_t length = moh_session_length(session);
  moh_error err;
  if (n <= length) return;
  for (int32_t i = length; i < n; i++) tokens[i] = token(i, 31991);
  must(moh_session_feed(session, tokens + length, n - length, logits, &err),
       &err);
}

static void forget(moh_session *session, int n) {
  moh_error err;
  if (moh_session_length(session) > n)
    must(moh_session_truncate(session, n, &err), &err);
}

static void print_logits(moh_session *session, int n) {
  const float *logits = NULL;
  forget(session, 0);
  feed(session, n, &logits);
  if (logits == NULL) return; /* no tokens, no logits */
  for (int i = 0; i < 32000; i++) printf("%.9g ", (double)logits[i]);
}

static void run_word(void *context, const char *word, int n) {
  const float *logits;
  if (strcmp(word, "logits") == 0) {
    print_logits(context, n);
    return;
  }
  if (strcmp(word, "prefill") == 0) forget(context, 0);
  if (strcmp(word, "decode") == 0) {
    forget(context, n);
    n++;
  }
  feed(context, n, &logits);
}

static int run(char **arg) {
  moh_error err;
  moh_model *model;
  moh_session *session;
  moh_load_options load;
  moh_session_options o;
  moh_load_options_default(&load, sizeof load);
  load.precision = precision_of(arg[1]);
  must(moh_model_load(&model, arg[0], &load, &err), &err);
  moh_session_options_default(&o, sizeof o);
  o.n_threads = atoi(arg[2]);
  o.max_length = atoi(arg[3]);
  must(moh_session_new(&session, model, &o, &err), &err);
  serve(run_word, session);
  moh_session_free(session);
  moh_model_free(model);
  return 0;
}

static int make(char **arg) {
  moh_error err;
  moh_model *model = make_model(arg[0], "all");
  must(moh_model_save(model, arg[1], NULL, &err), &err);
  moh_model_free(model);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "make") == 0) return make(argv + 2);
  if (argc == 8 && strcmp(argv[1], "train") == 0) return train(argv + 2);
  if (argc == 6 && strcmp(argv[1], "run") == 0) return run(argv + 2);
  fprintf(stderr, "moh_worker: see the head of bench/peers/worker.c\n");
  return 2;
}
