/*
 * Generating token by token, in float: a cache changes nothing, nor do other
 * sequences in the same step, whatever the heads, groups and positions.
 */
#include <stdio.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

/* ---- one sequence ---- */

enum { LONG = 80 }; /* more than a page */

/* Logits of every token in one pass without a cache. */
static real *full_logits(tiny *t, const int32_t *tokens) {
  moh_error err;
  size_t bytes = 0;
  int32_t positions[LONG];
  int32_t seq_start[2] = {0, LONG};
  for (int32_t i = 0; i < LONG; i++) positions[i] = i;
  assert_int_equal(
      moh__arch_arena_bytes(t->model, 1, LONG, true, &bytes, &err), MOH_OK);
  moh__arena_free(&t->arena);
  assert_int_equal(moh__arena_init(&t->arena, bytes, &err), MOH_OK);
  moh__batch batch = {.n = LONG, .tokens = tokens, .positions = positions,
                      .n_seq = 1, .seq_start = seq_start, .n_out = LONG};
  moh__tape_reset(&t->tape, false);
  const moh__tensor *logits = moh__arch_logits(t->model, &t->tape, &batch);
  return copied_reals(logits->v, (int64_t)LONG * TINY_VOCAB);
}

/* Steps of 1, 2, 3, ... tokens, each compared with the full pass. */
static void check_session(tiny *t, const int32_t *tokens, const real *full,
                          int32_t step, const char *what) {
  moh_error err;
  moh__session *session = NULL;
  assert_int_equal(
      moh__session_new(&session, t->model, t->pool, LONG, &err), MOH_OK);
  real limit = (real)1e-5 * largest_of(full, (int64_t)LONG * TINY_VOCAB);
  for (int32_t at = 0; at < LONG;) {
    int32_t n = at + step > LONG ? LONG - at : step;
    const real *logits = NULL;
    assert_int_equal(
        moh__session_feed(session, tokens + at, n, &logits, &err), MOH_OK);
    at += n;
    real off = largest_difference(logits, full + (at - 1) * TINY_VOCAB,
                                  TINY_VOCAB);
    if (!(off <= limit))
      fail_msg("%s: token %d differs by %g", what, (int)at, (double)off);
  }
  moh__session_free(session);
}

static void check_cached(const moh__config *c, const char *what) {
  moh_error err;
  tiny t;
  tiny_open(&t, c, 1, 0.3);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  int32_t tokens[LONG];
  for (int32_t i = 0; i < LONG; i++) tokens[i] = (i * i + 5) % TINY_VOCAB;
  real *full = full_logits(&t, tokens);
  check_session(&t, tokens, full, 1, what);
  check_session(&t, tokens, full, 7, what);
  check_session(&t, tokens, full, LONG, what);
  free(full);
  tiny_close(&t);
}

static void cached_decoding_is_the_full_pass(void **state) {
  (void)state;
  static const int kv[] = {4, 2, 1};
  char what[64];
  for (int g = 0; g < 3; g++)
    for (int p = 0; p < 4; p++)
      for (int s = 0; s <= MOH__HEADS_RANDOM; s++)
        for (int post = 0; post < 2; post++) {
          moh__config c = tiny_moh_config(1, 2);
          c.n_kv_heads = kv[g];
          c.position = (moh__position_kind)p;
          c.cope_positions = 7;
          c.heads = (moh__head_strategy)s;
          c.n_static = 3;
          c.pre_norm = post == 0;
          c.final_norm = post == 0;
          c.norm = post ? MOH__NORM_DYT : MOH__NORM_RMS;
          snprintf(what, sizeof(what), "kv %d position %d heads %d post %d",
                   kv[g], p, s, post);
          check_cached(&c, what);
        }
}

static void hrm_decodes_as_in_the_full_pass(void **state) {
  (void)state;
  char what[64];
  for (int p = 0; p < 4; p++)
    for (int s = 0; s <= MOH__HEADS_RANDOM; s++)
      for (int w = 0; w < 2; w++) {
        moh__config c = tiny_moh_config(1, 2);
        moh__config_set_architecture(&c, MOH__HRM);
        c.hrm_steps = 3;
        c.position = (moh__position_kind)p;
        c.cope_positions = 7;
        c.heads = (moh__head_strategy)s;
        c.n_static = 3;
        if (w == 1) c.window = (moh__window){MOH__WINDOW_LENGTH, 0, 2, 9};
        snprintf(what, sizeof(what), "hrm, position %d heads %d window %d", p,
                 s, w);
        check_cached(&c, what);
      }
}

static void hypermixer_decodes_as_in_the_full_pass(void **state) {
  (void)state;
  char what[64];
  for (int learned = 0; learned < 2; learned++)
    for (int s = 0; s <= MOH__HEADS_RANDOM; s++) {
      moh__config c = tiny_moh_config(1, 2);
      c.d_model = 24;
      moh__config_set_architecture(&c, MOH__HYPERMIXER);
      c.position = learned ? MOH__POSITION_LEARNED : MOH__POSITION_NONE;
      c.heads = (moh__head_strategy)s;
      c.n_static = 3;
      snprintf(what, sizeof(what), "hypermixer, heads %d", s);
      check_cached(&c, what);
    }
}

static void a_state_of_hypermixer_does_not_grow(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  moh__model *model = NULL;
  moh_error err;
  moh__session_bytes few, many;
  c.d_model = 24;
  c.max_seq_len = 1 << 15;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__session_measure(model, 10, &few, &err), MOH_OK);
  assert_int_equal(moh__session_measure(model, 20000, &many, &err), MOH_OK);
  assert_int_equal(few.pages, many.pages);
  assert_int_equal(few.pages, 2 * 64 * 24 * sizeof(real));
  moh__model_free(model);
}

/* A session of it that is cut back reads again, and goes on as the full pass
 * does. */
static void hypermixer_can_be_cut_back(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  moh_error err;
  tiny t;
  int32_t tokens[LONG];
  const real *logits = NULL;
  moh__session *session = NULL;
  c.d_model = 24;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  tiny_open(&t, &c, 1, 0.3);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  for (int32_t i = 0; i < LONG; i++) tokens[i] = (i * i + 5) % TINY_VOCAB;
  real *full = full_logits(&t, tokens);
  moh__session_new(&session, t.model, t.pool, LONG, &err);
  moh__session_feed(session, tokens, 70, &logits, &err);
  moh__session_truncate(session, 33);
  assert_int_equal(moh__session_length(session), 33);
  assert_int_equal(moh__session_mark(session, &err), MOH_OK);
  moh__session_feed(session, tokens + 50, 9, &logits, &err);
  moh__session_truncate(session, 33); /* to the mark */
  moh__session_feed(session, tokens + 33, 20, &logits, &err);
  assert_true(largest_difference(logits, full + 52 * TINY_VOCAB,
                                 TINY_VOCAB) < 1e-4f);
  moh__session_free(session);
  free(full);
  tiny_close(&t);
}

/* ---- several sequences at once ---- */

enum { TOGETHER = 8, STEPS = 70 }; /* more than a page for the longest */

/* A cache for all sequences; pages of one are not behind each other. */
typedef struct shared_cache {
  moh__cache cache;
  real *slots[2];
  int32_t page_ids[TOGETHER * 2];
} shared_cache;

static void open_cache(shared_cache *s, const moh__config *c) {
  int64_t page = 2 * c->n_kv_heads * c->d_head * MOH__PANEL;
  for (int i = 0; i < 2; i++)
    s->slots[i] = calloc((size_t)(2 * TOGETHER * page), sizeof(real));
  for (int i = 0; i < 2 * TOGETHER; i++)
    s->page_ids[i] = (i * 5 + 3) % (2 * TOGETHER);
  s->cache = (moh__cache){.slots = s->slots,
                          .page_size = page,
                          .page_ids = s->page_ids,
                          .pages_per_seq = 2};
}

static int32_t token_of(int sequence, int32_t position) {
  return (position * position + 7 * sequence + 5) % TINY_VOCAB;
}

/* One token of each. */
static const real *step_together(tiny *t, const shared_cache *s, int step) {
  static int32_t tokens[TOGETHER], positions[TOGETHER];
  static int32_t starts[TOGETHER + 1];
  int32_t n = TOGETHER;
  for (int i = 0; i < TOGETHER; i++) {
    tokens[i] = token_of(i, step);
    positions[i] = step;
    starts[i + 1] = i + 1;
  }
  moh__batch batch = {.n = n, .tokens = tokens, .positions = positions,
                      .n_seq = n, .seq_start = starts, .n_out = n,
                      .cache = &s->cache};
  moh__tape_reset(&t->tape, false);
  return moh__arch_logits(t->model, &t->tape, &batch)->v;
}

static void check_together(const moh__config *c) {
  tiny t;
  shared_cache s;
  moh_error err;
  moh__session *alone[TOGETHER];
  tiny_open(&t, c, 2, 0.3);
  open_cache(&s, c);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  for (int i = 0; i < TOGETHER; i++)
    assert_int_equal(
        moh__session_new(&alone[i], t.model, t.pool, STEPS, &err), MOH_OK);
  for (int step = 0; step < STEPS; step++) {
    const real *all = step_together(&t, &s, step);
    for (int i = 0; i < TOGETHER; i++) {
      const real *one;
      int32_t token = token_of(i, step);
      moh__session_feed(alone[i], &token, 1, &one, &err);
      assert_same_reals(one, all + i * TINY_VOCAB, TINY_VOCAB, "logits");
    }
  }
  for (int i = 0; i < TOGETHER; i++) moh__session_free(alone[i]);
  free(s.slots[0]);
  free(s.slots[1]);
  tiny_close(&t);
}

static void sequences_together_are_as_alone(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  check_together(&c);
  c.n_kv_heads = 4;
  check_together(&c);
  c.heads = MOH__HEADS_ALL;
  check_together(&c);
  c = tiny_group_config(0, 1);
  check_together(&c);
}

static void groups_decode_as_in_the_full_pass(void **state) {
  (void)state;
  for (int n_shared = 0; n_shared <= 1; n_shared++) {
    moh__config c = tiny_group_config(n_shared, 1);
    check_cached(&c, "2 groups");
    c.n_kv_heads = 1;
    c.k = 1 - n_shared;
    check_cached(&c, "1 group");
  }
}

/* Chunks of a prompt and single tokens; what a masked session computes more
 * is seen in its memory. */
static void a_masked_session_has_the_bits_of_skipping(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 1);
  moh_error err;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  moh__session *skipped = NULL;
  moh__session *masked = NULL;
  assert_int_equal(
      moh__session_new(&skipped, t.model, t.pool, LONG, &err), MOH_OK);
  assert_int_equal(
      moh__session_new_masked(&masked, t.model, t.pool, LONG, &err), MOH_OK);
  for (int32_t at = 0; at < LONG;) {
    int32_t tokens[LONG];
    const real *a = NULL;
    const real *b = NULL;
    int32_t n = at == 0 ? LONG - 3 : 1;
    for (int32_t i = 0; i < n; i++) tokens[i] = (at + i) % TINY_VOCAB;
    assert_int_equal(moh__session_feed(skipped, tokens, n, &a, &err),
                     MOH_OK);
    assert_int_equal(moh__session_feed(masked, tokens, n, &b, &err),
                     MOH_OK);
    assert_same_reals(a, b, TINY_VOCAB, "logits");
    at += n;
  }
  assert_true(moh__session_peak(masked) > moh__session_peak(skipped));
  moh__session_free(skipped);
  moh__session_free(masked);
  tiny_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cached_decoding_is_the_full_pass),
      cmocka_unit_test(hrm_decodes_as_in_the_full_pass),
      cmocka_unit_test(hypermixer_decodes_as_in_the_full_pass),
      cmocka_unit_test(a_state_of_hypermixer_does_not_grow),
      cmocka_unit_test(hypermixer_can_be_cut_back),
      cmocka_unit_test(sequences_together_are_as_alone),
      cmocka_unit_test(groups_decode_as_in_the_full_pass),
      cmocka_unit_test(a_masked_session_has_the_bits_of_skipping),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
