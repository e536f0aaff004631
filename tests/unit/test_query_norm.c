/*
 * Heads by the norms of their queries, in float: a session's logits are those
 * of scripts/golden.py, at prefill and token by token; with all heads chosen
 * the model is the dense one to the bit; and those chosen are the largest, ties
 * to the lower.
 */
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "infer/session.h"
#include "op/query_scores.h"
#include "support/check.h"
#include "support/golden.h"
#include "support/tables.h"
#include "support/tiny.h"

/* ---- against an independent model ---- */

typedef struct golden {
  moh__model *model;
  moh__pool *pool;
  moh__safetensors *expected;
  const char *name;
} golden;

static void golden_open(golden *g, const char *name) {
  moh_error err;
  g->name = name;
  g->model = golden_model(name);
  g->expected = golden_tensors(name, "golden.safetensors");
  must(moh__pool_new(&g->pool, 2, &err), &err);
  must(moh__model_pack(g->model, g->pool, &err), &err);
}

static void golden_close(golden *g) {
  moh__safetensors_close(g->expected);
  moh__model_free(g->model);
  moh__pool_free(g->pool);
}

/* Number i of a tensor of doubles. */
static double expected_at(const golden *g, const char *tensor, int64_t i) {
  double value;
  const moh__st_tensor *t = moh__safetensors_find(g->expected, tensor);
  assert_non_null(t);
  assert_true(i < t->n);
  memcpy(&value, t->data + (size_t)i * sizeof value, sizeof value);
  return value;
}

static int32_t int_at(const golden *g, const char *tensor, int64_t i) {
  int32_t value;
  const moh__st_tensor *t = moh__safetensors_find(g->expected, tensor);
  assert_non_null(t);
  assert_true(i < t->n);
  memcpy(&value, t->data + (size_t)i * sizeof value, sizeof value);
  return value;
}

static void check_logits(const golden *g, int64_t row, const real *logits) {
  int64_t n = g->model->config.vocab_size;
  for (int64_t i = 0; i < n; i++) {
    double want = expected_at(g, "logits", row * n + i);
    if (!(fabs((double)logits[i] - want) <= 1e-4))
      fail_msg("%s: row %d, logit %d is %.9g, not %.9g", g->name, (int)row,
               (int)i, (double)logits[i], want);
  }
}

/* The sequence of n tokens from row `start` on, `at_once` of them a feed. */
static void check_session(const golden *g, int64_t start, int32_t n,
                          int32_t at_once) {
  moh_error err;
  moh__session *session = NULL;
  const real *logits = NULL;
  must(moh__session_new(&session, g->model, g->pool, n, &err), &err);
  for (int32_t t = 0; t < n; t += at_once) {
    int32_t tokens[16], count = n - t < at_once ? n - t : at_once;
    for (int32_t i = 0; i < count; i++)
      tokens[i] = int_at(g, "tokens", start + t + i);
    must(moh__session_feed(session, tokens, count, &logits, &err), &err);
    check_logits(g, start + t + count - 1, logits);
  }
  moh__session_free(session);
}

static void check_golden(const char *name, int n_sequences) {
  golden g;
  golden_open(&g, name);
  int64_t start = 0;
  for (int s = 0; s < n_sequences; s++) {
    int32_t n = int_at(&g, "lengths", s);
    for (int32_t at_once = 1; at_once <= n; at_once++)
      check_session(&g, start, n, at_once);
    start += n;
  }
  golden_close(&g);
}

static void sessions_give_the_numbers_of_another_model(void **state) {
  (void)state;
  check_golden("norm", 3);
  check_golden("norm-group", 2);
}

/* ---- all heads are the dense model ---- */

static void check_full(moh__config c) {
  moh__config dense = c;
  tiny a, b;
  dense.heads = MOH__HEADS_ALL;
  tiny_open(&a, &dense, 1, 0.3);
  tiny_open(&b, &c, 2, 0.3);
  real *logits = copied_reals(tiny_logits(&a), TINY_ROWS * TINY_VOCAB);
  assert_same_reals(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB,
                    "logits");
  free(logits);
  tiny_close(&a);
  tiny_close(&b);
}

static moh__config by_query(int64_t n_shared, int64_t k) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_NORM;
  c.gate_scale = MOH__GATE_ONE;
  c.n_shared = n_shared;
  c.k = k;
  return c;
}

static moh__config group_by_query(int64_t n_shared, int64_t k) {
  moh__config c = by_query(n_shared, k);
  c.route_by = MOH__ROUTE_BY_GROUP;
  return c;
}

static void check_all_full(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int64_t n_shared = 0; n_shared <= 4; n_shared++)
    check_full(by_query(n_shared, 4 - n_shared));
  for (int64_t n_shared = 0; n_shared <= 2; n_shared++)
    check_full(group_by_query(n_shared, 2 - n_shared));
}

static void all_heads_are_the_dense_model(void **state) {
  (void)state;
  for_each_table(check_all_full);
}

/* ---- the choice ---- */

/* Queries of 3 tokens and 4 heads of width 2: head h of token t has the norm
 * sizes[t][h]. */
static const real sizes[3][4] = {{9, 1, 5, 3}, {0, 2, 2, 2}, {7, 0, 0, 8}};

static const moh__plan *choose(tiny *t, int n_shared, int k, int each) {
  moh__tensor *q = moh__tape_tensor(&t->tape, 12, 2);
  moh__tensor *x = moh__tape_tensor(&t->tape, 3, 2);
  for (int token = 0; token < 3; token++)
    for (int h = 0; h < 4; h++) {
      q->v[(h * 3 + token) * 2] = sizes[token][h] * (real)0.6;
      q->v[(h * 3 + token) * 2 + 1] = -sizes[token][h] * (real)0.8;
    }
  moh__router_args args = {
      .shape = {n_shared, 4 / each - n_shared, k, MOH__GATE_ONE, 0, 0},
      .heads_each = each,
      .queries = q};
  const moh__plan *plan = NULL;
  assert_null(moh__op_head_router(&t->tape, x, &args, &plan));
  return plan;
}

/* The heads of each token, as decimal digits. */
static void check_choice(int n_shared, int k, int each, const int wanted[3]) {
  tiny t;
  moh__config c = tiny_config();
  tiny_open(&t, &c, 1, 0.3);
  moh__tape_reset(&t.tape, false);
  const moh__plan *plan = choose(&t, n_shared, k, each);
  for (int token = 0; token < 3; token++) {
    int heads = 0;
    for (int e = plan->token_start[token]; e < plan->token_start[token + 1];
         e++)
      heads = heads * 10 + plan->candidate_of[e];
    assert_int_equal(heads, wanted[token]);
  }
  tiny_close(&t);
}

static void the_largest_queries_are_chosen(void **state) {
  (void)state;
  check_choice(0, 2, 1, (const int[]){2, 12, 3});   /* 0 and 2: "02" */
  check_choice(1, 1, 1, (const int[]){2, 1, 3});    /* 0 and another */
  check_choice(2, 1, 1, (const int[]){12, 12, 13}); /* 0, 1 and another */
  check_choice(
      0, 1, 2,
      (const int[]){1, 23, 23}); /* of 82 and 34, 4 and 8, 49 and 64 */
  check_choice(1, 1, 2, (const int[]){123, 123, 123});
}

/* ---- configuration ---- */

static void check_refused(moh__config c, const char *field) {
  moh_error err = {0};
  assert_int_equal(moh__config_check(&c, &err), MOH_ERR_CONFIG);
  if (strstr(err.message, field) == NULL) fail_msg("%s", err.message);
}

static void what_needs_a_router_is_refused(void **state) {
  (void)state;
  moh__config c = by_query(1, 2);
  assert_int_equal(moh__config_check(&c, NULL), MOH_OK);
  assert_int_equal(moh__config_active_heads(&c), 3);
  assert_int_equal(moh__config_least_heads(&c), 3);
  c.gate_scale = MOH__GATE_UNIT;
  check_refused(c, "gate_scale");
  c.gate_scale = MOH__GATE_PAPER;
  check_refused(c, "gate_scale");
  c = by_query(1, 4);
  check_refused(c, "k is 4");
  c = group_by_query(1, 2);
  check_refused(c, "k is 2");
  c = by_query(1, 2);
  c.z_weight = 0.1;
  check_refused(c, "z_weight");
  c = by_query(1, 2);
  c.bias_balance = 0.1;
  check_refused(c, "bias_balance");
  c = by_query(1, 2);
  c.balance_weight = -1;
  check_refused(c, "balance_weight");
}

/* By way of JSON and by way of text. */
static void it_comes_back_from_json_and_text(void **state) {
  (void)state;
  moh_error err;
  char text[32];
  moh__config c = group_by_query(0, 1), back;
  c.balance_weight = 0.5;
  json_t *json = moh__config_to_json(&c);
  assert_int_equal(moh__config_from_json(&back, json, &err), MOH_OK);
  assert_true(back.heads == c.heads && back.n_shared == 0 && back.k == 1 &&
              back.route_by == c.route_by && back.balance_weight == 0.5 &&
              back.gate_scale == MOH__GATE_ONE);
  json_t *heads = json_object_get(json_object_get(json, "moh"), "heads");
  json_object_set_new(heads, "z_weight", json_real(0));
  assert_int_equal(moh__config_from_json(&back, json, &err), MOH_ERR_FORMAT);
  json_decref(json);
  back = tiny_config();
  assert_int_equal(moh__config_set_heads(&back, "norm:2+1", &err), MOH_OK);
  assert_int_equal(moh__config_check(&back, &err), MOH_OK);
  moh__config_heads_text(&back, text, sizeof text);
  assert_string_equal(text, "norm:2+1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sessions_give_the_numbers_of_another_model),
      cmocka_unit_test(all_heads_are_the_dense_model),
      cmocka_unit_test(the_largest_queries_are_chosen),
      cmocka_unit_test(what_needs_a_router_is_refused),
      cmocka_unit_test(it_comes_back_from_json_and_text),
  };
  return cmocka_run_group_tests_name("query norm", tests, NULL, NULL);
}
