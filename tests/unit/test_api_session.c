/*
 * Sessions through moh.h: the bits of the inner path, plans that tell the
 * heads in use, two sessions in two threads, and wrong arguments.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "infer/session.h"
#include "store/model_dir.h"
#include "support/api.h"
#include "support/temp_dir.h"

enum { N_TOKENS = 300, VOCAB = ROUTED_VOCAB };

static void fill_tokens(int32_t *tokens, int n, int seed) {
  for (int i = 0; i < n; i++) tokens[i] = (i * 7 + i * i * seed) % VOCAB;
}

/* ---- sessions ---- */

static void logits_are_those_of_the_inner_path(void **state) {
  moh_error err;
  const char *dir = temp_path(state, "model");
  moh_model *made = routed_model("moh:1+2");
  must(moh_model_save(made, dir, NULL, &err), &err);
  moh_model_free(made);
  moh_model *model;
  must(moh_model_load(&model, dir, NULL, &err), &err);
  moh__model *inner;
  moh__pool *pool;
  moh__session *plain;
  moh__load_options how = {.verify = false};
  must(moh__model_load(&inner, NULL, dir, how, &err), &err);
  must(moh__pool_new(&pool, 1, &err), &err);
  must(moh__model_pack(inner, pool, &err), &err);
  must(moh__session_new(&plain, inner, pool, 0, &err), &err);

  int32_t tokens[N_TOKENS];
  fill_tokens(tokens, N_TOKENS, 3);
  moh_session *session = open_session(model, 2);
  const float *logits;
  const real *expected;
  must(moh_session_feed(session, tokens, N_TOKENS, &logits, &err), &err);
  must(moh__session_feed(plain, tokens, N_TOKENS, &expected, &err), &err);
  assert_memory_equal(logits, expected, VOCAB * sizeof(float));
  must(moh_session_truncate(session, 100, &err), &err);
  moh__session_truncate(plain, 100);
  assert_int_equal(moh_session_length(session), 100);
  must(moh_session_feed(session, tokens, 1, &logits, &err), &err);
  must(moh__session_feed(plain, tokens, 1, &expected, &err), &err);
  assert_memory_equal(logits, expected, VOCAB * sizeof(float));
  moh_session_free(session);
  moh__session_free(plain);
  moh__model_free(inner);
  moh__pool_free(pool);
  moh_model_free(model);
}

static void wrong_feeds_change_nothing(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = routed_model("moh:1+2");
  moh_session *session = open_session(model, 1);
  int32_t tokens[] = {1, 2, 3};
  int32_t wrong[] = {1, VOCAB};
  const float *logits;
  must(moh_session_feed(session, tokens, 3, &logits, &err), &err);
  refused(moh_session_feed(session, wrong, 2, &logits, &err), &err, "23");
  refused(moh_session_feed(session, tokens, 0, &logits, &err), &err, "no");
  refused(moh_session_feed(session, NULL, 1, &logits, &err), &err, "tokens");
  assert_null(logits);
  assert_int_equal(moh_session_length(session), 3);
  int32_t room = moh_session_max_length(session);
  assert_int_equal(room, ROUTED_LENGTH);
  int32_t *many = calloc((size_t)room, sizeof(int32_t));
  refused(moh_session_feed(session, many, room - 2, &logits, &err), &err,
          "do not fit");
  free(many);
  refused(moh_session_truncate(session, 4, &err), &err, "cut to 4");
  refused(moh_session_truncate(session, -1, &err), &err, "-1");
  moh_session_free(session);

  moh_session_options o;
  moh_session_options_default(&o, sizeof(o));
  o.max_length = room + 1;
  refused(moh_session_new(&session, model, &o, &err), &err, "tokens");
  assert_null(session);
  o.max_length = 0;
  o.n_threads = -1;
  refused(moh_session_new(&session, model, &o, &err), &err, "threads");
  refused(moh_session_new(&session, NULL, NULL, &err), &err, "model");
  assert_int_equal(moh_session_length(NULL), 0);
  assert_int_equal(moh_session_max_length(NULL), 0);
  moh_session_free(NULL);
  moh_model_free(model);
}

/* ---- plans ---- */

/* Token by token and in one feed of two chunks, the same heads are chosen.
 * Every row has the shared head and two others. */
static void plans_tell_the_heads_in_use(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = routed_model("moh:1+2");
  moh_session *whole = open_session(model, 2);
  moh_session *single = open_session(model, 1);
  int32_t tokens[N_TOKENS];
  fill_tokens(tokens, N_TOKENS, 3);
  const float *logits;
  must(moh_session_feed(whole, tokens, N_TOKENS, &logits, &err), &err);
  for (int i = 0; i < N_TOKENS; i++)
    must(moh_session_feed(single, tokens + i, 1, &logits, &err), &err);
  for (int32_t layer = 0; layer < 2; layer++) {
    moh_plan *a, *b;
    must(moh_session_plan(whole, layer, 0, N_TOKENS, &a, &err), &err);
    must(moh_session_plan(single, layer, 0, N_TOKENS, &b, &err), &err);
    assert_int_equal(moh_plan_n_entries(a), 3 * N_TOKENS);
    assert_int_equal(moh_plan_head(a, 0, NULL, NULL, NULL), N_TOKENS);
    const int32_t *rows_a, *rows_b;
    moh_plan_head(a, 0, &rows_a, NULL, NULL);
    moh_plan_head(b, 0, &rows_b, NULL, NULL);
    assert_memory_equal(rows_a, rows_b, 3 * N_TOKENS * sizeof(int32_t));
    float used = 0, load[6];
    must(moh_plan_load(a, load, &err), &err);
    for (int h = 0; h < 6; h++) used += load[h];
    assert_true(fabsf(used - 3) < 1e-5F);
    for (int32_t e = 0; e < 3 * N_TOKENS; e++)
      assert_true(fabsf(moh_plan_gates(a)[e] - moh_plan_gates(b)[e]) <
                  1e-4F);
    moh_plan_free(a);
    moh_plan_free(b);
  }
  moh_session_free(whole);
  moh_session_free(single);
  moh_model_free(model);
}

/* The plan of a layer is the plan that the last step computed by. */
static void assert_plan_of_step(const moh_session *session, int32_t layer,
                                int32_t first, int32_t n) {
  moh_error err;
  moh_plan *plan;
  const int32_t *rows;
  const moh__head_use *use = moh__session_head_use(session->inner);
  for (int32_t i = 0; i < layer; i++) use = use->next;
  must(moh_session_plan(session, layer, first, n, &plan, &err), &err);
  int32_t n_entries = moh_plan_n_entries(plan);
  assert_int_equal(n_entries, 3 * n);
  assert_int_equal(n_entries, moh__plan_entries(use->plan));
  moh_plan_head(plan, 0, &rows, NULL, NULL);
  assert_memory_equal(rows, use->plan->rows,
                      (size_t)n_entries * sizeof(int32_t));
  assert_memory_equal(moh_plan_gates(plan), use->gates,
                      (size_t)n_entries * sizeof(float));
  /* In unit scale with one shared head: its gate is 2 a_1, the others' sum
   * is 4 a_2; so half of that and the first add up to 2. */
  for (int32_t row = 0; row < n; row++) {
    const int32_t *heads, *entries;
    assert_int_equal(moh_plan_row(plan, row, &heads, &entries), 3);
    assert_int_equal(heads[0], 0);
    float sum = moh_plan_gates(plan)[entries[0]];
    for (int i = 1; i < 3; i++)
      sum += moh_plan_gates(plan)[entries[i]] / 2;
    assert_true(fabsf(sum - 2) < 1e-5F);
  }
  moh_plan_free(plan);
}

/* Also where other tokens stood before. */
static void plans_are_those_of_the_step(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = routed_model("moh:1+2");
  moh_session *session = open_session(model, 1);
  int32_t tokens[20];
  const float *logits;
  fill_tokens(tokens, 20, 3);
  must(moh_session_feed(session, tokens, 20, &logits, &err), &err);
  must(moh_session_truncate(session, 3, &err), &err);
  fill_tokens(tokens, 20, 4);
  must(moh_session_feed(session, tokens, 12, &logits, &err), &err);
  for (int32_t layer = 0; layer < 2; layer++)
    assert_plan_of_step(session, layer, 3, 12);
  moh_session_free(session);
  moh_model_free(model);
}

static void wrong_plans_are_refused(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = routed_model("moh:1+2");
  moh_session *session = open_session(model, 1);
  int32_t tokens[8];
  fill_tokens(tokens, 8, 3);
  const float *logits;
  moh_plan *plan;
  must(moh_session_feed(session, tokens, 8, &logits, &err), &err);
  refused(moh_session_plan(session, 2, 0, 1, &plan, &err), &err, "layer 2");
  refused(moh_session_plan(session, 0, 3, 6, &plan, &err), &err, "6 tokens");
  refused(moh_session_plan(session, 0, -1, 1, &plan, &err), &err, "-1");
  refused(moh_session_plan(session, 0, 0, 0, &plan, &err), &err, "0 tokens");
  refused(moh_session_plan(NULL, 0, 0, 1, &plan, &err), &err, "session");
  assert_null(plan);
  moh_session_free(session);
  moh_model_free(model);
}

static void models_without_routers_have_plans(void **state) {
  (void)state;
  static const char *const kinds[] = {"all", "static:4"};
  for (int i = 0; i < 2; i++) {
    moh_error err;
    moh_model *model = routed_model(kinds[i]);
    moh_session *session = open_session(model, 1);
    int32_t tokens[] = {1, 2, 3};
    const float *logits;
    must(moh_session_feed(session, tokens, 3, &logits, &err), &err);
    moh_plan *plan;
    must(moh_session_plan(session, 0, 1, 2, &plan, &err), &err);
    assert_int_equal(moh_plan_n_entries(plan), i == 0 ? 12 : 8);
    assert_int_equal(moh_plan_head(plan, 3, NULL, NULL, NULL), 2);
    assert_int_equal(moh_plan_head(plan, 4, NULL, NULL, NULL),
                     i == 0 ? 2 : 0);
    for (int32_t e = 0; e < moh_plan_n_entries(plan); e++)
      assert_true(moh_plan_gates(plan)[e] == 1);
    moh_plan_free(plan);
    moh_session_free(session);
    moh_model_free(model);
  }
}

/* ---- threads ---- */

typedef struct reader {
  const moh_model *model;
  int seed;
  int32_t n_threads;
  float logits[VOCAB];
  int32_t rows[3 * N_TOKENS];
} reader;

/* A prompt, then token by token, and the plan of it all. */
static void *read_text(void *context) {
  reader *r = context;
  moh_error err;
  int32_t tokens[N_TOKENS];
  const float *logits;
  const int32_t *rows;
  moh_plan *plan;
  fill_tokens(tokens, N_TOKENS, r->seed);
  moh_session *session = open_session(r->model, r->n_threads);
  must(moh_session_feed(session, tokens, 260, &logits, &err), &err);
  for (int i = 260; i < N_TOKENS; i++)
    must(moh_session_feed(session, tokens + i, 1, &logits, &err), &err);
  memcpy(r->logits, logits, sizeof(r->logits));
  must(moh_session_plan(session, 1, 0, N_TOKENS, &plan, &err), &err);
  moh_plan_head(plan, 0, &rows, NULL, NULL);
  memcpy(r->rows, rows, sizeof(r->rows));
  moh_plan_free(plan);
  moh_session_free(session);
  return NULL;
}

static void two_sessions_run_in_two_threads(void **state) {
  (void)state;
  moh_model *model = routed_model("moh:1+2");
  static reader alone[2], together[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    alone[i] = (reader){.model = model, .seed = 3 + i, .n_threads = 1};
    together[i] = alone[i];
    together[i].n_threads = 2;
    read_text(&alone[i]);
  }
  for (int i = 0; i < 2; i++)
    assert_int_equal(
        pthread_create(&threads[i], NULL, read_text, &together[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++) {
    assert_memory_equal(together[i].logits, alone[i].logits,
                        sizeof(alone[i].logits));
    assert_memory_equal(together[i].rows, alone[i].rows,
                        sizeof(alone[i].rows));
  }
  assert_memory_not_equal(alone[0].logits, alone[1].logits,
                          sizeof(alone[0].logits));
  moh_model_free(model);
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIR(logits_are_those_of_the_inner_path),
      cmocka_unit_test(wrong_feeds_change_nothing),
      cmocka_unit_test(plans_tell_the_heads_in_use),
      cmocka_unit_test(plans_are_those_of_the_step),
      cmocka_unit_test(wrong_plans_are_refused),
      cmocka_unit_test(models_without_routers_have_plans),
      cmocka_unit_test(two_sessions_run_in_two_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
