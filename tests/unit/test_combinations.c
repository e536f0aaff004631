/*
 * Every combination of architecture, KV heads, positions, window and heads, in
 * float: those that cannot be are refused by the names of both options; the
 * others decode token by token as in one pass, and skipping gives the bits of
 * masking, forward and backward.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/combinations.h"
#include "support/tables.h"
#include "support/tiny.h"

static int n_checked;

/* ---- refused by name ---- */

static void check_rules(const combination *c) {
  moh_error err = {0};
  moh_status status = moh__config_check(&c->config, &err);
  if (c->possible && status != MOH_OK)
    fail_msg("%s: %s", c->name, err.message);
  if (c->possible) return;
  if (status != MOH_ERR_CONFIG) fail_msg("%s is not refused", c->name);
  if (strstr(err.message, "hypermixer") == NULL)
    fail_msg("%s: refused by \"%s\"", c->name, err.message);
  n_checked++;
}

static void impossible_ones_are_refused(void **state) {
  (void)state;
  n_checked = 0;
  for_each_combination(check_rules);
  assert_true(n_checked > 200);
}

/* ---- token by token ---- */

/* The first sequence of the batch, one token at a time. */
static void check_session(tiny *t, const real *full, const char *name) {
  moh_error err;
  moh__session *session = NULL;
  int32_t n = t->seq_start[1];
  real limit = (real)1e-5 * largest_of(full, (int64_t)n * TINY_VOCAB);
  assert_int_equal(moh__session_new(&session, t->model, t->pool, n, &err),
                   MOH_OK);
  for (int32_t at = 0; at < n; at++) {
    const real *logits = NULL;
    assert_int_equal(
        moh__session_feed(session, t->tokens + at, 1, &logits, &err), MOH_OK);
    real off = largest_difference(logits, full + at * TINY_VOCAB, TINY_VOCAB);
    if (!(off <= limit))
      fail_msg("%s: token %d differs by %g", name, (int)at, (double)off);
  }
  moh__session_free(session);
}

static void check_cached(const combination *c) {
  if (!c->possible) return;
  tiny t;
  tiny_open(&t, &c->config, 1, 0.3);
  real *full = copied_reals(tiny_logits(&t), (int64_t)TINY_ROWS * TINY_VOCAB);
  check_session(&t, full, c->name);
  free(full);
  tiny_close(&t);
  n_checked++;
}

static void cached_decoding_is_the_full_pass(void **state) {
  (void)state;
  n_checked = 0;
  for_each_combination(check_cached);
  assert_true(n_checked > 500);
}

/* ---- skipped and masked ---- */

/* All gradients behind each other. */
static real *gradients(tiny *t, bool masked, int64_t *n) {
  t->tape.masked = masked;
  tiny_backward(t);
  *n = 0;
  for (int i = 0; i < t->model->n_params; i++) *n += t->model->params[i].n;
  real *all = calloc((size_t)*n, sizeof(real));
  assert_non_null(all);
  real *at = all;
  for (int i = 0; i < t->model->n_params; at += t->model->params[i].n, i++)
    if (t->model->params[i].grad != NULL)
      memcpy(at, t->model->params[i].grad,
             (size_t)t->model->params[i].n * sizeof(real));
  return all;
}

static void check_masked(const combination *c) {
  int64_t n;
  if (!c->possible) return;
  tiny t;
  tiny_open(&t, &c->config, 1, 0.3);
  real *skipped = gradients(&t, false, &n);
  real *masked = gradients(&t, true, &n);
  assert_same_reals(skipped, masked, n, c->name);
  free(skipped);
  free(masked);
  tiny_close(&t);
  n_checked++;
}

static void skipping_gives_the_bits_of_masking(void **state) {
  (void)state;
  n_checked = 0;
  for_each_combination(check_masked);
  assert_true(n_checked > 500);
}

/* ---- numbers of heads and positions ---- */

static void check_config(const moh__config *c, const char *name) {
  combination one = {.config = *c, .possible = true};
  snprintf(one.name, sizeof(one.name), "%s", name);
  check_cached(&one);
  check_masked(&one);
}

static void check_counts(int64_t n_heads, int64_t n_kv, int64_t n_shared,
                         int64_t k) {
  char name[80];
  moh__config c = tiny_moh_config((int)n_shared, (int)k);
  c.n_heads = n_heads;
  c.n_kv_heads = n_kv;
  snprintf(name, sizeof(name), "%d + %d of %d heads, %d KV heads",
           (int)n_shared, (int)k, (int)n_heads, (int)n_kv);
  check_config(&c, name);
}

/* 50, 75 and 90 % of 8 heads, two of them shared. */
static void check_shares(int64_t n_kv) {
  check_counts(8, n_kv, 2, 2);
  check_counts(8, n_kv, 2, 4);
  check_counts(8, n_kv, 2, 5);
}

/* All, most, half and one of them; none by the router; none shared. */
static void every_number_of_heads(void **state) {
  (void)state;
  for (int64_t n = 1; n <= 6; n++)
    for (int64_t kv = 1; kv <= n; kv++)
      for (int64_t shared = 0; n % kv == 0 && shared <= n; shared++)
        for (int64_t k = shared == 0; shared + k <= n; k++)
          check_counts(n, kv, shared, k);
  for (int64_t kv = 1; kv <= 8; kv *= 2) check_shares(kv);
}

static void every_number_of_contextual_positions(void **state) {
  (void)state;
  char name[40];
  for (int n = 2; n <= 12; n++) {
    moh__config c = tiny_moh_config(1, 2);
    c.position = MOH__POSITION_COPE;
    c.cope_positions = n;
    snprintf(name, sizeof(name), "%d contextual positions", n);
    check_config(&c, name);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(impossible_ones_are_refused),
      cmocka_unit_test(cached_decoding_is_the_full_pass),
      cmocka_unit_test(skipping_gives_the_bits_of_masking),
      cmocka_unit_test(every_number_of_heads),
      cmocka_unit_test(every_number_of_contextual_positions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
