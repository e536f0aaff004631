/*
 * The whole model against an independent one: tests/golden holds, for small
 * configurations that together use every option, what scripts/golden.py
 * computed with PyTorch in double. Logits, losses, every gradient and the
 * parameters after ten steps of AdamW must agree with this library built in
 * double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "base/pool.h"
#include "format/safetensors.h"
#include "support/golden.h"
#include "train/optimizer.h"

/* Allowed difference, relative to the largest value of the tensor; after
 * training, which divides small gradients by their own size, a larger one. */
static const double TOLERANCE = 1e-9;
static const double TRAINED_TOLERANCE = 1e-7;

static char *const names[] = {"llama",     "original",   "seed",
                              "moh-paper", "moh-one",    "moh-routed",
                              "static",    "cope",       "moh-shared",
                              "experts",   "experts-one", "tanh",
                              "llama-biases", "qwen2",   "qwen3",
                              "moh-qwen",  "norm",       "norm-group"};
enum { N_NAMES = sizeof names / sizeof names[0], MAX_ROWS = 64 };

typedef struct golden {
  moh__model *model;
  moh__safetensors *expected;
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  moh__batch batch;
  int32_t tokens[MAX_ROWS], positions[MAX_ROWS], starts[MAX_ROWS];
  int32_t targets[MAX_ROWS];
  real weights[MAX_ROWS], loss[MAX_ROWS];
} golden;

static int32_t read_ints(const golden *g, const char *name, int32_t *ints) {
  const moh__st_tensor *t = moh__safetensors_find(g->expected, name);
  assert_non_null(t);
  assert_int_equal(t->dtype, MOH__I32);
  assert_in_range(t->n, 1, MAX_ROWS);
  memcpy(ints, t->data, t->n_bytes);
  return (int32_t)t->n;
}

static void load_batch(golden *g) {
  int32_t lengths[MAX_ROWS];
  int32_t n_seq = read_ints(g, "lengths", lengths);
  int32_t n = 0;
  for (int32_t s = 0; s < n_seq; s++) {
    g->starts[s] = n;
    for (int32_t t = 0; t < lengths[s]; t++) g->positions[n++] = t;
  }
  g->starts[n_seq] = n;
  assert_int_equal(read_ints(g, "tokens", g->tokens), n);
  assert_int_equal(read_ints(g, "targets", g->targets), n);
  g->batch = (moh__batch){.n = n,
                          .tokens = g->tokens,
                          .positions = g->positions,
                          .n_seq = n_seq,
                          .seq_start = g->starts,
                          .n_out = n};
}

/* The mean over the predicted rows. */
static void set_weights(golden *g) {
  int n_predicted = 0;
  for (int32_t i = 0; i < g->batch.n; i++) n_predicted += g->targets[i] >= 0;
  for (int32_t i = 0; i < g->batch.n; i++)
    g->weights[i] = g->targets[i] >= 0 ? 1.0 / n_predicted : 0.0;
}

static golden *golden_new(const char *name) {
  golden *g = calloc(1, sizeof *g);
  assert_non_null(g);
  moh_error err;
  size_t bytes;
  g->model = golden_model(name);
  g->expected = golden_tensors(name, "golden.safetensors");
  load_batch(g);
  set_weights(g);
  must(moh__pool_new(&g->pool, 2, &err), &err);
  must(moh__model_alloc_grads(g->model, &err), &err);
  must(moh__model_pack(g->model, g->pool, &err), &err);
  must(moh__arch_arena_bytes_masked(g->model, g->batch.n_seq, 9, true, &bytes,
                                    &err),
       &err);
  must(moh__arena_init(&g->arena, bytes, &err), &err);
  must(moh__tape_init(&g->tape, &g->arena, g->pool, &err), &err);
  return g;
}

static void golden_free(golden *g) {
  moh__tape_free(&g->tape);
  moh__arena_free(&g->arena);
  moh__pool_free(g->pool);
  moh__safetensors_close(g->expected);
  moh__model_free(g->model);
  free(g);
}

/* ---- comparing ---- */

static double expected_at(const moh__st_tensor *t, int64_t e) {
  double value;
  memcpy(&value, t->data + e * (int64_t)sizeof value, sizeof value);
  return value;
}

/* n values against the tensor of that name. */
static void compare(const golden *g, const char *prefix, const char *name,
                    const real *values, int64_t n, double tolerance) {
  char key[MOH__NAME_MAX + 16];
  snprintf(key, sizeof key, "%s%s", prefix, name);
  const moh__st_tensor *t = moh__safetensors_find(g->expected, key);
  if (t == NULL) fail_msg("no tensor %s", key);
  assert_int_equal(t->dtype, MOH__F64);
  assert_int_equal(t->n, n);
  double largest = 1e-3, worst = 0;
  for (int64_t e = 0; e < n; e++) {
    double want = expected_at(t, e);
    double difference = fabs((double)values[e] - want);
    if (fabs(want) > largest) largest = fabs(want);
    if (!(difference <= worst)) worst = difference; /* NaN, too */
  }
  if (!(worst <= tolerance * largest))
    fail_msg("%s differs by %g, its largest value is %g", key, worst,
             largest);
}

static double mean_balance(const golden *g, const moh__head_use *use,
                           bool z) {
  double sum = 0;
  for (const moh__head_use *u = use; u != NULL; u = u->next)
    sum += (double)(z ? u->z : u->balance);
  return sum / (double)g->model->config.n_layers;
}

static double task_loss(const golden *g) {
  double sum = 0;
  for (int32_t i = 0; i < g->batch.n; i++)
    sum += (double)(g->weights[i] * g->loss[i]);
  return sum;
}

/* ---- tests ---- */

static void forward_and_backward(golden *g) {
  moh__model_zero_grads(g->model, g->pool);
  moh__tape_reset(&g->tape, true);
  moh__arch_loss(g->model, &g->tape, &g->batch, g->targets, g->weights,
                 g->loss);
  moh__tape_backward(&g->tape);
}

static void compare_gradients(const golden *g) {
  for (int i = 0; i < g->model->n_params; i++) {
    const moh__param *w = &g->model->params[i];
    compare(g, "grad.", w->name, w->grad, w->n, TOLERANCE);
  }
}

static void test_logits(void **state) {
  golden *g = golden_new(*state);
  moh__tape_reset(&g->tape, false);
  moh__tensor *logits = moh__arch_logits(g->model, &g->tape, &g->batch);
  compare(g, "", "logits", logits->v, logits->rows * logits->cols,
          TOLERANCE);
  golden_free(g);
}

/* Gives what they add to the total. */
static double expert_losses(const golden *g) {
  const moh__experts *x = &g->model->config.experts;
  if (x->n_routed == 0) return 0;
  double balance = mean_balance(g, g->tape.expert_use, false);
  double z = mean_balance(g, g->tape.expert_use, true);
  compare(g, "", "expert_balance_loss", &balance, 1, TOLERANCE);
  compare(g, "", "expert_z_loss", &z, 1, TOLERANCE);
  return x->balance_weight * balance + x->z_weight * z;
}

static void test_losses(void **state) {
  golden *g = golden_new(*state);
  forward_and_backward(g);
  const moh__config *c = &g->model->config;
  double task = task_loss(g);
  double balance = mean_balance(g, g->tape.use, false);
  double z = mean_balance(g, g->tape.use, true);
  double total = task + expert_losses(g);
  if (moh__config_has_scores(c))
    total += c->balance_weight * balance + c->z_weight * z;
  compare(g, "", "loss", &task, 1, TOLERANCE);
  compare(g, "", "balance_loss", &balance, 1, TOLERANCE);
  compare(g, "", "z_loss", &z, 1, TOLERANCE);
  compare(g, "", "total_loss", &total, 1, TOLERANCE);
  golden_free(g);
}

static void test_gradients(void **state) {
  golden *g = golden_new(*state);
  forward_and_backward(g);
  compare_gradients(g);
  golden_free(g);
}

/* Computing every head and multiplying by its gate is the same function. */
static void test_masked(void **state) {
  golden *g = golden_new(*state);
  g->tape.masked = true;
  forward_and_backward(g);
  double task = task_loss(g);
  compare(g, "", "loss", &task, 1, TOLERANCE);
  compare_gradients(g);
  golden_free(g);
}

/* Ten steps on the same batch, as scripts/golden.py makes them. */
static void test_training(void **state) {
  enum { N_STEPS = 10 };
  static const double clip = 1.0;
  static const moh__adamw_options options = {.lr = 1e-2,
                                             .router_lr = 1,
                                             .beta1 = 0.9,
                                             .beta2 = 0.95,
                                             .eps = 1e-8,
                                             .weight_decay = 0.1};
  golden *g = golden_new(*state);
  moh_error err;
  moh__optimizer *optimizer;
  must(moh__optimizer_new(&optimizer, g->model, false, &err), &err);
  for (int step = 0; step < N_STEPS; step++) {
    double norm;
    forward_and_backward(g);
    must(moh__optimizer_norm(optimizer, g->pool, &norm, &err), &err);
    double scale = norm > clip ? clip / norm : 1.0;
    must(moh__optimizer_step(optimizer, g->pool, &options, scale, &err),
         &err);
  }
  for (int i = 0; i < g->model->n_params; i++) {
    const moh__param *w = &g->model->params[i];
    compare(g, "after.", w->name, w->data, w->n, TRAINED_TOLERANCE);
  }
  moh__optimizer_free(optimizer);
  golden_free(g);
}

int main(void) {
  static const struct {
    const char *what;
    CMUnitTestFunction function;
  } checks[] = {{"logits", test_logits},
                {"losses", test_losses},
                {"gradients", test_gradients},
                {"masked", test_masked},
                {"training", test_training}};
  enum { N_CHECKS = sizeof checks / sizeof checks[0] };
  static char labels[N_NAMES * N_CHECKS][64];
  struct CMUnitTest tests[N_NAMES * N_CHECKS] = {0};
  for (int i = 0; i < N_NAMES * N_CHECKS; i++) {
    char *name = names[i / N_CHECKS];
    snprintf(labels[i], sizeof labels[i], "%s: %s", name,
             checks[i % N_CHECKS].what);
    tests[i].name = labels[i];
    tests[i].test_func = checks[i % N_CHECKS].function;
    tests[i].initial_state = name;
  }
  return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
