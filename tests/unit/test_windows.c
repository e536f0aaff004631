/*
 * Windows: which keys each kind shows, that cached decoding through the ring
 * of pages sees what a full pass does, that cutting a session back keeps the
 * truth, and that memory does not grow with the sequence.
 */
#include <stdio.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

enum { LONG = 1200 }; /* several times round the ring */

static const moh__window none = {MOH__WINDOW_NONE, 0, 0, 0};
static const moh__window sliding3 = {MOH__WINDOW_SLIDING, 3, 0, 0};

static void the_window_belongs_to_the_query(void **state) {
  (void)state;
  const moh__window length = {MOH__WINDOW_LENGTH, 0, 2, 5};
  static const int64_t sizes[] = {1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5};
  for (int64_t i = 0; i < 13; i++) {
    assert_int_equal(moh__window_size(&length, i), sizes[i]);
    assert_int_equal(moh__window_size(&none, i), i + 1);
    assert_int_equal(moh__window_first(&none, i), 0);
    assert_int_equal(moh__window_size(&sliding3, i), i < 3 ? i + 1 : 3);
    assert_int_equal(moh__window_first(&sliding3, i), i < 3 ? 0 : i - 2);
  }
  for (int64_t i = 1; i < 13; i++)
    assert_true(moh__window_first(&length, i) >=
                moh__window_first(&length, i - 1));
  assert_int_equal(moh__window_most(&length, 100), 5);
  assert_int_equal(moh__window_most(&length, 4), 4);
  assert_int_equal(moh__window_most(&none, 7), 7);
}

static void the_size_follows_the_share(void **state) {
  (void)state;
  const moh__window w = {MOH__WINDOW_ENTROPY, 0, 10, 21};
  static const struct {
    double share;
    int64_t size;
  } sizes[] = {{0, 10}, {0.09, 10}, {0.1, 11}, {0.5, 15}, {0.999999, 20},
               {1, 21}, {2, 21},    {-1, 10},  {NAN, 10}, {INFINITY, 21}};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
    assert_int_equal(moh__window_adapted(&w, sizes[i].share), sizes[i].size);
  /* What a session must keep is the most that any layer may see. */
  assert_int_equal(moh__window_size(&w, 30), 21);
  assert_int_equal(moh__window_most(&w, 100), 21);
}

/* ---- cached decoding ---- */

static real *full_logits(tiny *t, const int32_t *tokens) {
  moh_error err;
  size_t bytes = 0;
  static int32_t positions[LONG];
  int32_t seq_start[2] = {0, LONG};
  for (int32_t i = 0; i < LONG; i++) positions[i] = i;
  assert_int_equal(
      moh__arch_arena_bytes(t->model, 1, LONG, true, &bytes, &err), MOH_OK);
  moh__arena_free(&t->arena);
  assert_int_equal(moh__arena_init(&t->arena, bytes, &err), MOH_OK);
  moh__batch batch = {.n = LONG,
                      .tokens = tokens,
                      .positions = positions,
                      .n_seq = 1,
                      .seq_start = seq_start,
                      .n_out = LONG};
  moh__tape_reset(&t->tape, false);
  const moh__tensor *logits = moh__arch_logits(t->model, &t->tape, &batch);
  return copied_reals(logits->v, (int64_t)LONG * TINY_VOCAB);
}

typedef struct subject {
  tiny t;
  int32_t tokens[LONG];
  real *full; /* [LONG][TINY_VOCAB] */
} subject;

/* Narrow in the first layer, wide in the others. */
static void set_shares(moh__model *model) {
  for (int64_t i = 0; i < model->config.n_layers; i++)
    if (moh__model_window_share(model, i) != NULL)
      moh__model_window_share(model, i)->data[0] = i == 0 ? 0.1F : 0.95F;
}

static void open_subject(subject *s, const moh__config *c, int n_threads) {
  moh_error err;
  moh__config longer = *c;
  longer.max_seq_len = LONG;
  tiny_open(&s->t, &longer, n_threads, 0.3);
  set_shares(s->t.model);
  assert_int_equal(moh__model_pack(s->t.model, s->t.pool, &err), MOH_OK);
  for (int32_t i = 0; i < LONG; i++) s->tokens[i] = (i * i + 5) % TINY_VOCAB;
  s->full = full_logits(&s->t, s->tokens);
}

static void close_subject(subject *s) {
  free(s->full);
  tiny_close(&s->t);
}

static moh__session *open_session(subject *s) {
  moh_error err;
  moh__session *session = NULL;
  assert_int_equal(
      moh__session_new(&session, s->t.model, s->t.pool, LONG, &err), MOH_OK);
  return session;
}

/* Feeds tokens [from, to) in steps, each compared with the full pass. */
static void feed(const subject *s, moh__session *session, int32_t from,
                 int32_t to, int32_t step, const char *what) {
  moh_error err;
  real limit = (real)1e-5 * largest_of(s->full, (int64_t)LONG * TINY_VOCAB);
  for (int32_t at = from; at < to;) {
    int32_t n = at + step > to ? to - at : step;
    const real *logits = NULL;
    assert_int_equal(
        moh__session_feed(session, s->tokens + at, n, &logits, &err), MOH_OK);
    at += n;
    real off = largest_difference(
        logits, s->full + (int64_t)(at - 1) * TINY_VOCAB, TINY_VOCAB);
    if (!(off <= limit))
      fail_msg("%s: token %d differs by %g", what, (int)at, (double)off);
  }
}

static const moh__window windows[] = {
    {MOH__WINDOW_SLIDING, 1, 0, 0},    {MOH__WINDOW_SLIDING, 64, 0, 0},
    {MOH__WINDOW_SLIDING, 65, 0, 0},   {MOH__WINDOW_SLIDING, 130, 0, 0},
    {MOH__WINDOW_LENGTH, 0, 7, 150},   {MOH__WINDOW_ENTROPY, 0, 7, 150},
    {MOH__WINDOW_PERPLEXITY, 0, 1, 90}};
enum { N_WINDOWS = sizeof(windows) / sizeof(windows[0]) };

static void check_cached(const moh__config *c, const char *what) {
  subject s;
  open_subject(&s, c, 1);
  static const int32_t steps[] = {1, 37, 300};
  for (int i = 0; i < 3; i++) {
    moh__session *session = open_session(&s);
    feed(&s, session, 0, LONG, steps[i], what);
    moh__session_free(session);
  }
  close_subject(&s);
}

static void cached_decoding_is_the_full_pass(void **state) {
  (void)state;
  char what[64];
  for (int w = 0; w < N_WINDOWS; w++)
    for (int p = 0; p < 4; p++) {
      moh__config c = tiny_moh_config(1, 2);
      c.heads = p == 3 ? MOH__HEADS_ALL : MOH__HEADS_MOH;
      c.position = (moh__position_kind)p;
      c.cope_positions = 7;
      c.window = windows[w];
      snprintf(what, sizeof(what), "window %d, position %d", w, p);
      check_cached(&c, what);
    }
}

/* ---- going back ---- */

/* Cut to a length whose window the ring still has, and to one whose window it
 * has lost: the tokens behind come out the same. */
static void a_session_can_be_cut_back(void **state) {
  (void)state;
  static const int32_t cuts[] = {1190, 1100, 600, 70, 1, 0};
  moh__config c = tiny_moh_config(1, 2);
  c.window = (moh__window){MOH__WINDOW_SLIDING, 65, 0, 0};
  subject s;
  open_subject(&s, &c, 1);
  for (int i = 0; i < 6; i++) {
    moh__session *session = open_session(&s);
    feed(&s, session, 0, LONG, 100, "before");
    moh__session_truncate(session, cuts[i]);
    assert_int_equal(moh__session_length(session), cuts[i]);
    feed(&s, session, cuts[i], LONG, 50, "after");
    int32_t same = moh__session_rewind(session, s.tokens, 500);
    assert_int_equal(same, 499);
    feed(&s, session, same, 700, 50, "rewound");
    moh__session_free(session);
  }
  close_subject(&s);
}

/* ---- what it costs ---- */

static size_t bytes_for(moh__window window, int32_t max_len) {
  moh__config c = tiny_moh_config(1, 2);
  moh__session_bytes bytes;
  moh_error err;
  moh__model *model = NULL;
  c.window = window;
  c.max_seq_len = 1 << 16;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__session_measure(model, max_len, &bytes, &err),
                   MOH_OK);
  moh__model_free(model);
  return bytes.pages;
}

static void pages_do_not_grow_with_the_sequence(void **state) {
  (void)state;
  const moh__window w = {MOH__WINDOW_SLIDING, 100, 0, 0};
  const moh__window l = {MOH__WINDOW_LENGTH, 0, 10, 100};
  assert_true(bytes_for(none, 60000) > 50 * bytes_for(none, 1000));
  assert_int_equal(bytes_for(w, 60000), bytes_for(w, 1000));
  assert_int_equal(bytes_for(l, 60000), bytes_for(w, 1000));
  assert_true(bytes_for(w, 60) == bytes_for(none, 60));
}

static void counted_work_does_not_grow_behind_the_window(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  c.window = (moh__window){MOH__WINDOW_SLIDING, 100, 0, 0};
  assert_int_equal(moh__arch_macs(&c, 60000).active,
                   moh__arch_macs(&c, 100).active);
  assert_true(moh__arch_macs(&c, 99).active < moh__arch_macs(&c, 100).active);
  c.window = none;
  assert_true(moh__arch_macs(&c, 101).active >
              moh__arch_macs(&c, 100).active);
}

/* ---- against attention without a window ---- */

static real *logits_with(moh__config c, moh__window window, int n_threads,
                         bool masked) {
  tiny t;
  c.window = window;
  tiny_open(&t, &c, n_threads, 0.3);
  t.tape.masked = masked;
  real *logits = copied_reals(tiny_logits(&t), TINY_ROWS * TINY_VOCAB);
  tiny_close(&t);
  return logits;
}

static void check_same(real *a, real *b, const char *what) {
  assert_same_reals(a, b, TINY_ROWS * TINY_VOCAB, what);
  free(a);
  free(b);
}

static void a_window_over_all_is_none(void **state) {
  (void)state;
  const moh__window wide = {MOH__WINDOW_SLIDING, TINY_ROWS, 0, 0};
  const moh__window length = {MOH__WINDOW_LENGTH, 0, TINY_ROWS, 50};
  for (int p = 0; p < 4; p++) {
    moh__config c = tiny_moh_config(1, 2);
    c.position = (moh__position_kind)p;
    c.cope_positions = 5;
    check_same(logits_with(c, wide, 1, false), logits_with(c, none, 1, false),
               "sliding");
    check_same(logits_with(c, length, 1, false),
               logits_with(c, none, 1, false), "length");
    check_same(logits_with(c, sliding3, 1, false),
               logits_with(c, sliding3, 2, false), "threads");
    check_same(logits_with(c, sliding3, 1, false),
               logits_with(c, sliding3, 1, true), "masked");
  }
}

/* One key each: rows say nothing of their neighbours, so equal tokens have
 * equal logits wherever they stand. */
static void a_window_of_one_sees_itself(void **state) {
  (void)state;
  moh__config c = tiny_config();
  tiny t;
  c.window = (moh__window){MOH__WINDOW_SLIDING, 1, 0, 0};
  tiny_open(&t, &c, 1, 0.3);
  for (int i = 0; i < TINY_ROWS; i++) t.tokens[i] = 2 + i % 3;
  const real *logits = tiny_logits(&t);
  real limit = (real)1e-5 * largest_of(logits, TINY_ROWS * TINY_VOCAB);
  for (int i = 3; i < TINY_ROWS; i++)
    assert_true(largest_difference(logits + i * TINY_VOCAB,
                                   logits + (i - 3) * TINY_VOCAB,
                                   TINY_VOCAB) <= limit);
  tiny_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_window_belongs_to_the_query),
      cmocka_unit_test(the_size_follows_the_share),
      cmocka_unit_test(cached_decoding_is_the_full_pass),
      cmocka_unit_test(a_session_can_be_cut_back),
      cmocka_unit_test(pages_do_not_grow_with_the_sequence),
      cmocka_unit_test(counted_work_does_not_grow_behind_the_window),
      cmocka_unit_test(a_window_over_all_is_none),
      cmocka_unit_test(a_window_of_one_sees_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
