/*
 * Every combination of architecture, KV heads, positions, window and heads, in
 * float: those that cannot be are refused by the names of both options; the
 * others decode token by token as in one pass, and skipping gives the bits of
 * masking, forward and backward.
 */
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
  tiny_open(&t, &c->config, 2, 0.3);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(impossible_ones_are_refused),
      cmocka_unit_test(cached_decoding_is_the_full_pass),
      cmocka_unit_test(skipping_gives_the_bits_of_masking),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
