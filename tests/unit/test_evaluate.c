/*
 * Evaluation in windows: sums worked out by hand and by a session that reads
 * each window by itself, what is predicted how often, agreement with the
 * trainer, and that threads and batches change nothing.
 */
#include "infer/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "infer/session.h"
#include "support/check.h"
#include "support/tiny.h"
#include "train/trainer.h"

enum { LONG = 61 };
static moh_error err;

static void fill(int32_t *tokens, int32_t n, int32_t seed) {
  for (int32_t i = 0; i < n; i++)
    tokens[i] = (i * i * 5 + i * 3 + seed) % TINY_VOCAB;
}

static void open_model(tiny *t, int n_threads) {
  moh__config config = tiny_config();
  config.heads = MOH__HEADS_MOH;
  config.n_shared = 1;
  config.k = 2;
  tiny_open(t, &config, n_threads, 0.5);
  assert_int_equal(moh__model_pack(t->model, t->pool, &err), MOH_OK);
}

static moh__evaluation evaluated(const tiny *t, int32_t context,
                                 int32_t stride, const int32_t *tokens,
                                 int64_t n) {
  moh__evaluator *evaluator;
  moh__evaluation result;
  int64_t taken;
  moh__evaluate_options o = {
      .context = context, .stride = stride, .unknown = -1};
  assert_int_equal(
      moh__evaluator_new(&evaluator, t->model, t->pool, &o, &err), MOH_OK);
  assert_int_equal(moh__evaluator_add(evaluator, tokens, n, &taken, &err),
                   MOH_OK);
  assert_int_equal(taken, n < 2 ? 0 : n);
  assert_int_equal(moh__evaluator_result(evaluator, &result, &err), MOH_OK);
  moh__evaluator_free(evaluator);
  return result;
}

/* With logits of 0 every token costs ln V: V is the perplexity. */
static void equal_logits_cost_ln_v(void **state) {
  (void)state;
  tiny t;
  int32_t tokens[LONG];
  open_model(&t, 1);
  for (int i = 0; i < t.model->n_params; i++) {
    moh__param *w = &t.model->params[i];
    memset(w->data, 0, (size_t)w->n * sizeof(real));
  }
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  fill(tokens, LONG, 2);
  moh__evaluation r = evaluated(&t, 10, 5, tokens, LONG);
  assert_int_equal(r.n_predicted, LONG - 1);
  assert_int_equal(r.n_texts, 1);
  /* 10 predictions, then 5 a window. */
  assert_int_equal(r.n_windows, 1 + 10);
  assert_true(fabs(r.nats - 60 * log(TINY_VOCAB)) < 1e-4);
  tiny_close(&t);
}

/* -ln p of tokens[n] behind tokens[0 .. n). */
static double cost(moh__session *session, const int32_t *tokens,
                   int32_t n) {
  const real *z;
  double sum = 0;
  moh__session_truncate(session, 0);
  assert_int_equal(moh__session_feed(session, tokens, n, &z, &err), MOH_OK);
  for (int i = 0; i < TINY_VOCAB; i++) sum += exp((double)z[i]);
  return log(sum) - (double)z[tokens[n]];
}

/* Where the window begins that predicts token t, by the rule of the header:
 * windows end at context, context + stride, ... */
static int32_t begin_of(int32_t t, int32_t context, int32_t stride) {
  int32_t end = context;
  while (end < t) end += stride;
  return end - context;
}

static void windows_are_those_of_the_rule(void **state) {
  (void)state;
  tiny t;
  int32_t tokens[LONG];
  moh__session *session;
  open_model(&t, 1);
  fill(tokens, LONG, 4);
  assert_int_equal(
      moh__session_new(&session, t.model, t.pool, 0, &err), MOH_OK);
  static const int32_t cases[][2] = {{90, 90}, {60, 7},  {59, 59}, {16, 16},
                                     {16, 1},  {16, 11}, {7, 3},   {1, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int32_t context = cases[i][0], stride = cases[i][1];
    double nats = 0;
    for (int32_t k = 1; k < LONG; k++) {
      int32_t begin = begin_of(k, context, stride);
      if (begin > 0) assert_true(k - begin > context - stride);
      nats += cost(session, tokens + begin, k - begin);
    }
    moh__evaluation r = evaluated(&t, context, stride, tokens, LONG);
    assert_int_equal(r.n_predicted, LONG - 1);
    assert_true(fabs(r.nats - nats) < 1e-4);
  }
  moh__session_free(session);
  tiny_close(&t);
}

static moh__dataset *dataset_of(const int32_t *tokens, int64_t n,
                                int64_t n_examples) {
  moh__tokens *shared;
  moh__dataset *data;
  int32_t *ids = malloc((size_t)n * sizeof(int32_t));
  int64_t *starts = NULL;
  memcpy(ids, tokens, (size_t)n * sizeof(int32_t));
  if (n_examples > 0) {
    starts = calloc((size_t)n_examples + 1, sizeof(int64_t));
    for (int64_t i = 0; i <= n_examples; i++)
      starts[i] = i * n / n_examples;
  }
  moh__tokens_in_memory(&shared, ids, n, starts, n_examples, &err);
  moh__dataset_options options = {.max_len = 1000};
  assert_int_equal(moh__dataset_of_tokens(&data, shared, options, &err),
                   MOH_OK);
  moh__tokens_free(shared);
  return data;
}

static double trainers_loss(const tiny *t, const moh__dataset *data,
                            int32_t context) {
  moh__trainer *trainer;
  moh__eval_result r;
  moh__train_options o;
  moh__train_options_default(&o);
  o.batch = 3;
  o.context = context;
  assert_int_equal(moh__trainer_new(&trainer, t->model, t->pool, &o, data,
                                    NULL, &err),
                   MOH_OK);
  assert_int_equal(moh__trainer_evaluate(trainer, data, &r, &err), MOH_OK);
  moh__trainer_free(trainer);
  return r.loss;
}

/* A stream in windows side by side, and examples, to the bit. */
static void windows_side_by_side_are_the_trainers(void **state) {
  (void)state;
  tiny t;
  int32_t tokens[LONG];
  open_model(&t, 1);
  fill(tokens, LONG, 1);
  moh__dataset *stream = dataset_of(tokens, LONG, 0);
  moh__evaluation r = evaluated(&t, 16, 16, tokens, LONG);
  assert_true(r.nats / (double)r.n_predicted ==
              trainers_loss(&t, stream, 16));
  moh__dataset *examples = dataset_of(tokens, LONG, 7);
  moh__evaluator *evaluator;
  moh__evaluate_options o = {.unknown = -1};
  moh__evaluator_new(&evaluator, t.model, t.pool, &o, &err);
  for (int64_t i = 0; i < 7; i++) {
    const moh__sequence *s = &examples->sequences[i];
    moh__evaluator_add(evaluator, tokens + s->first, s->n, NULL, &err);
  }
  assert_int_equal(moh__evaluator_result(evaluator, &r, &err), MOH_OK);
  assert_int_equal(r.n_texts, 7);
  assert_int_equal(r.n_predicted, LONG - 7);
  assert_true(r.nats / (double)r.n_predicted ==
              trainers_loss(&t, examples, 16));
  moh__evaluator_free(evaluator);
  moh__dataset_free(stream);
  moh__dataset_free(examples);
  tiny_close(&t);
}

/* Enough windows for many batches. */
static void threads_change_nothing(void **state) {
  (void)state;
  int32_t tokens[2500];
  double first = 0;
  fill(tokens, 2500, 3);
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    tiny t;
    open_model(&t, n_threads);
    moh__evaluation r = evaluated(&t, 30, 13, tokens, 2500);
    if (n_threads == 1) first = r.nats;
    assert_int_equal(r.n_predicted, 2499);
    assert_true(r.nats == first);
    tiny_close(&t);
  }
}

static bool refuse(void *progress, int64_t n_predicted) {
  *(int64_t *)progress = n_predicted;
  return false;
}

static void limits_unknown_tokens_and_ends(void **state) {
  (void)state;
  tiny t;
  int32_t tokens[LONG];
  int64_t taken, seen = 0;
  moh__evaluator *e;
  moh__evaluation r;
  open_model(&t, 1);
  fill(tokens, LONG, 1);
  double nats = evaluated(&t, 8, 8, tokens, 20).nats +
                evaluated(&t, 8, 8, tokens, 13).nats;
  moh__evaluate_options o = {.context = 8, .limit = 31, .unknown = 9};
  moh__evaluator_new(&e, t.model, t.pool, &o, &err);
  moh__evaluator_add(e, tokens, 20, &taken, &err);
  assert_int_equal(taken, 20);
  moh__evaluator_add(e, tokens, LONG, &taken, &err);
  assert_int_equal(taken, 13);
  moh__evaluator_add(e, tokens, LONG, &taken, &err);
  assert_int_equal(taken, 0);
  moh__evaluator_add(e, tokens, 1, &taken, &err);
  assert_int_equal(taken, 0);
  assert_int_equal(moh__evaluator_result(e, &r, &err), MOH_OK);
  assert_int_equal(r.n_predicted, 31);
  assert_int_equal(r.n_texts, 2);
  assert_true(fabs(r.nats - nats) < 1e-9);
  int64_t unknown = 0;
  for (int i = 1; i < 20; i++) unknown += tokens[i] == 9;
  for (int i = 1; i < 13; i++) unknown += tokens[i] == 9;
  assert_true(unknown > 0);
  assert_int_equal(r.n_unknown, unknown);
  moh__evaluator_free(e);
  o = (moh__evaluate_options){.on_progress = refuse, .progress = &seen};
  moh__evaluator_new(&e, t.model, t.pool, &o, &err);
  moh__evaluator_add(e, tokens, LONG, NULL, &err);
  assert_int_equal(moh__evaluator_result(e, &r, &err),
                   MOH_ERR_INTERRUPTED);
  assert_int_equal(seen, LONG - 1);
  moh__evaluator_free(e);
  tiny_close(&t);
}

static void what_cannot_be_is_refused(void **state) {
  (void)state;
  tiny t;
  moh__evaluator *e;
  open_model(&t, 1);
  static const struct {
    moh__evaluate_options options;
    const char *message;
  } cases[] = {
      {{.context = TINY_MAX_LEN + 1},
       "a context of 91 tokens; the model reads 1 to 90"},
      {{.context = -1}, "a context of -1 tokens; the model reads 1 to 90"},
      {{.context = 5, .stride = 6},
       "a stride of 6 tokens; it must lie between 1 and the context, 5"},
      {{.limit = -1}, "the limit is negative"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal(moh__evaluator_new(&e, t.model, t.pool,
                                        &cases[i].options, &err),
                     MOH_ERR_ARGUMENT);
    assert_string_equal(err.message, cases[i].message);
    assert_null(e);
  }
  moh__evaluate_options o = {.unknown = -1};
  int32_t tokens[] = {1, TINY_VOCAB};
  moh__evaluator_new(&e, t.model, t.pool, &o, &err);
  assert_int_equal(moh__evaluator_add(e, tokens, 2, NULL, &err),
                   MOH_ERR_ARGUMENT);
  tokens[1] = 2;
  moh__param *w = &t.model->params[0];
  for (int64_t i = 0; i < w->n; i++) w->data[i] = NAN;
  moh__model_pack(t.model, t.pool, &err);
  moh__evaluation r;
  assert_int_equal(moh__evaluator_add(e, tokens, 2, NULL, &err), MOH_OK);
  assert_int_equal(moh__evaluator_result(e, &r, &err), MOH_ERR_DIVERGED);
  moh__evaluator_free(e);
  tiny_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_logits_cost_ln_v),
      cmocka_unit_test(windows_are_those_of_the_rule),
      cmocka_unit_test(windows_side_by_side_are_the_trainers),
      cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(limits_unknown_tokens_and_ends),
      cmocka_unit_test(what_cannot_be_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
