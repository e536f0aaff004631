/*
 * Branches of a session: whatever way they fork, each has the logits of a
 * session that was fed its tokens alone, to the bit; pages are shared; and
 * the session goes on with the one that it adopts.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/branches.h"
#include "infer/page_pool.h"
#include "infer/session_internal.h"
#include "support/check.h"
#include "support/tiny.h"

enum { LEN = 600, MOST = 6 };
static moh_error err;

typedef struct setup {
  tiny t;
  moh__session *session, *plain;
  int32_t prompt[LEN];
} setup;

static void open_setup(setup *s, const moh__config *config, int n_threads) {
  moh__config c = *config;
  c.max_seq_len = LEN;
  memset(s, 0, sizeof *s);
  tiny_open(&s->t, &c, n_threads, 0.5);
  assert_int_equal(moh__model_pack(s->t.model, s->t.pool, &err), MOH_OK);
  moh__session_new(&s->session, s->t.model, s->t.pool, LEN, &err);
  moh__session_new(&s->plain, s->t.model, s->t.pool, LEN, &err);
  for (int32_t i = 0; i < LEN; i++)
    s->prompt[i] = (int32_t)((uint32_t)(i * i + 3 * i) % TINY_VOCAB);
}

static void close_setup(setup *s) {
  moh__session_free(s->session);
  moh__session_free(s->plain);
  tiny_close(&s->t);
}

static void feed(moh__session *s, const int32_t *tokens, int32_t n,
                 const real **logits) {
  assert_int_equal(moh__session_feed(s, tokens, n, logits, &err), MOH_OK);
}

/* What a branch should be. */
typedef struct shadow {
  int32_t tokens[LEN], n;
} shadow;

/* The logits of the prompt and a branch's tokens, one by one. */
static const real *plain_logits(setup *s, int32_t n_prompt,
                                const shadow *tokens) {
  const real *logits = NULL;
  moh__session_truncate(s->plain, 0);
  feed(s->plain, s->prompt, n_prompt, &logits);
  for (int32_t i = 0; i < tokens->n; i++)
    feed(s->plain, tokens->tokens + i, 1, &logits);
  return logits;
}

/* Numbers that look random. */
static int32_t draw(uint64_t *at, int32_t n) {
  double x = (tiny_noise(7, (*at)++) + 8) * 1000;
  return (int32_t)((int64_t)(x * 1000) % n);
}

/* Forks at random and feeds random tokens. */
static void fork_and_feed(moh__branches *b, shadow *shadows, uint64_t *at,
                          int32_t n, const real **logits) {
  static shadow before[MOST];
  int32_t parents[MOST], tokens[MOST], n_old = moh__branches_count(b);
  memcpy(before, shadows, sizeof before);
  for (int32_t i = 0; i < n; i++) {
    parents[i] = draw(at, n_old);
    tokens[i] = draw(at, TINY_VOCAB);
    shadows[i] = before[parents[i]];
    shadows[i].tokens[shadows[i].n++] = tokens[i];
  }
  moh__branches_fork(b, parents, n);
  assert_int_equal(moh__branches_feed(b, tokens, logits, &err), MOH_OK);
}

static void assert_adopted(setup *s, int32_t n_prompt, const shadow *tokens) {
  int32_t n = n_prompt + tokens->n, more[] = {3, 1, 4};
  const real *a, *b = plain_logits(s, n_prompt, tokens);
  assert_int_equal(moh__session_length(s->session), n);
  assert_memory_equal(moh__session_tokens(s->session),
                      moh__session_tokens(s->plain),
                      (size_t)n * sizeof(int32_t));
  const moh__gate_record *g = moh__session_gates(s->session);
  const moh__gate_record *want = moh__session_gates(s->plain);
  size_t n_gates = (size_t)n * (size_t)g->n_heads;
  for (int32_t l = 0; g->used != NULL && l < g->n_layers; l++) {
    int64_t from = moh__gate_record_at(g, l, 0);
    assert_memory_equal(g->used + from, want->used + from, n_gates);
  }
  for (int i = 0; i < 3; i++) {
    feed(s->session, more + i, 1, &a);
    feed(s->plain, more + i, 1, &b);
    assert_memory_equal(a, b, TINY_VOCAB * sizeof(real));
  }
}

/* More branches and fewer, over several pages; then one of them goes on, or
 * the one that was kept on the way. */
static void check_branches(const moh__config *config, int n_threads,
                           int32_t n_prompt, bool kept) {
  static shadow shadows[MOST];
  static setup s;
  shadow keep = {.n = 0};
  moh__branches *b;
  const real *logits;
  uint64_t at = 1;
  open_setup(&s, config, n_threads);
  feed(s.session, s.prompt, n_prompt, &logits);
  memset(shadows, 0, sizeof shadows);
  assert_int_equal(moh__branches_open(&b, s.session, MOST, 150, &err),
                   MOH_OK);
  for (int32_t step = 0; step < 150; step++) {
    int32_t n = 1 + (step * 5) % MOST;
    fork_and_feed(b, shadows, &at, n, &logits);
    if (step % 50 == 20) moh__branches_keep(b, n - 1);
    if (step % 50 == 20) keep = shadows[n - 1];
    for (int32_t i = 0; step % 37 == 0 && i < n; i++)
      assert_memory_equal(logits + i * TINY_VOCAB,
                          plain_logits(&s, n_prompt, &shadows[i]),
                          TINY_VOCAB * sizeof(real));
  }
  moh__branches_adopt(b, kept ? -1 : 0);
  moh__branches_close(b);
  assert_adopted(&s, n_prompt, kept ? &keep : &shadows[0]);
  close_setup(&s);
}

static void branches_are_sessions(void **state) {
  (void)state;
  moh__config dense = tiny_config(), moh = tiny_moh_config(1, 2);
  moh__config learned = dense, cope = dense, group = tiny_group_config(0, 1);
  learned.position = MOH__POSITION_LEARNED;
  cope.position = MOH__POSITION_COPE;
  cope.cope_positions = 20;
  moh__config slide = moh, grow = dense;
  slide.window = (moh__window){.kind = MOH__WINDOW_SLIDING, .size = 40};
  moh__config hrm = moh;
  moh__config_set_architecture(&hrm, MOH__HRM);
  check_branches(&hrm, 2, 80, true);
  moh__config mixer = moh;
  mixer.d_model = mixer.n_heads * mixer.d_head;
  moh__config_set_architecture(&mixer, MOH__HYPERMIXER);
  check_branches(&mixer, 2, 80, true);
  check_branches(&dense, 1, 70, false);
  check_branches(&moh, 2, 70, true);
  check_branches(&moh, 1, 64, false);
  check_branches(&learned, 1, 127, true);
  check_branches(&cope, 1, 130, false);
  check_branches(&group, 1, 1, true);
  grow.window =
      (moh__window){.kind = MOH__WINDOW_LENGTH, .min = 9, .max = 70};
  check_branches(&slide, 1, 300, false);
  check_branches(&slide, 2, 30, true);
  check_branches(&grow, 1, 100, true);
}

/* W branches over a prompt of P pages need P + (W - 1) and a few pages, not
 * W P. */
static void pages_are_shared(void **state) {
  (void)state;
  moh__config config = tiny_config();
  static setup s;
  moh__branches *b;
  const real *logits;
  int32_t parents[MOST] = {0}, tokens[MOST] = {1, 2, 3, 4, 5, 6};
  open_setup(&s, &config, 1);
  feed(s.session, s.prompt, 500, &logits); /* 7 pages and 52 tokens */
  moh__branches_open(&b, s.session, MOST, 60, &err);
  assert_int_equal(moh__branches_most_pages(b), 8);
  for (int32_t step = 0; step < 12; step++) {
    moh__branches_fork(b, parents, MOST);
    moh__branches_feed(b, tokens, &logits, &err);
    for (int32_t i = 0; i < MOST; i++) parents[i] = i;
  }
  /* The session's own last page, and one of each branch. */
  assert_int_equal(moh__branches_most_pages(b), 7 + 1 + MOST);
  moh__branches_feed(b, tokens, &logits, &err); /* each begins another */
  assert_int_equal(moh__branches_most_pages(b), 7 + 1 + 2 * MOST);
  assert_in_range(moh__branches_most_pages(b), 0,
                  moh__branches_pages(&config, 500, MOST, 60));
  /* Branches that end give their pages back. */
  moh__branches_fork(b, parents, 1);
  for (int32_t i = 0; i < MOST; i++) parents[i] = 0;
  moh__branches_fork(b, parents, MOST);
  moh__branches_feed(b, tokens, &logits, &err);
  assert_int_equal(moh__branches_most_pages(b), 7 + 1 + 2 * MOST);
  moh__branches_close(b);
  close_setup(&s);
}

/* The worst case: a kept branch and all others have nothing in common. */
static void reserved_pages_are_enough(void **state) {
  (void)state;
  moh__config config = tiny_config();
  for (int32_t n_prompt = 1; n_prompt < 200; n_prompt += 21) {
    static setup s;
    static shadow shadows[MOST];
    moh__branches *b;
    const real *logits;
    uint64_t at = 5;
    open_setup(&s, &config, 1);
    feed(s.session, s.prompt, n_prompt, &logits);
    memset(shadows, 0, sizeof shadows);
    moh__branches_open(&b, s.session, MOST, 100, &err);
    for (int32_t step = 0; step < 100; step++) {
      int32_t parents[MOST] = {0, 1, 2, 3, 4, 5}, tokens[MOST] = {0};
      if (step == 0) fork_and_feed(b, shadows, &at, MOST, &logits);
      if (step == 0) continue;
      if (step < 90) moh__branches_keep(b, 0);
      if (step == 89) parents[0] = 1;
      moh__branches_fork(b, parents, MOST);
      moh__branches_feed(b, tokens, &logits, &err);
    }
    assert_in_range(moh__branches_most_pages(b), MOST,
                    moh__branches_pages(&config, n_prompt, MOST, 100));
    moh__branches_close(b);
    close_setup(&s);
  }
}

/* Behind a window pages are given up: however long branches become, each has
 * the two that 40 keys touch. */
static void windows_bound_the_pages(void **state) {
  (void)state;
  moh__config config = tiny_config();
  config.window = (moh__window){.kind = MOH__WINDOW_SLIDING, .size = 40};
  static setup s;
  static shadow shadows[MOST];
  moh__branches *b;
  const real *logits;
  uint64_t at = 3;
  open_setup(&s, &config, 1);
  feed(s.session, s.prompt, 100, &logits);
  memset(shadows, 0, sizeof shadows);
  moh__branches_open(&b, s.session, MOST, 450, &err);
  assert_int_equal(moh__branches_pages(&config, 100, MOST, 450),
                   2 + 2 * (MOST + 1));
  for (int i = 0; i < 450; i++) fork_and_feed(b, shadows, &at, MOST, &logits);
  assert_in_range(moh__branches_most_pages(b), 2, 2 + 2 * (MOST + 1));
  moh__branches_adopt(b, 0);
  moh__branches_close(b);
  moh__session_rewind(s.session, s.prompt, 51); /* is read again */
  assert_int_equal(moh__session_length(s.session), 50);
  const real *want;
  feed(s.session, s.prompt + 50, 1, &logits);
  moh__session_truncate(s.plain, 0);
  feed(s.plain, s.prompt, 50, &want);
  feed(s.plain, s.prompt + 50, 1, &want);
  assert_memory_equal(logits, want, TINY_VOCAB * sizeof(real));
  close_setup(&s);
}

static void closing_leaves_the_session(void **state) {
  (void)state;
  moh__config config = tiny_moh_config(1, 1);
  static setup s;
  static shadow shadows[MOST], none;
  moh__branches *b;
  const real *logits;
  uint64_t at = 3;
  open_setup(&s, &config, 1);
  feed(s.session, s.prompt, 90, &logits);
  memset(shadows, 0, sizeof shadows);
  moh__branches_open(&b, s.session, MOST, 40, &err);
  for (int i = 0; i < 40; i++) fork_and_feed(b, shadows, &at, MOST, &logits);
  moh__branches_close(b);
  assert_adopted(&s, 90, &none);
  close_setup(&s);
}

static void misuse_is_refused(void **state) {
  (void)state;
  moh__config config = tiny_config();
  static setup s;
  moh__branches *b;
  const real *logits;
  int32_t token = TINY_VOCAB;
  open_setup(&s, &config, 1);
  assert_int_equal(moh__branches_open(&b, s.session, 2, 3, &err),
                   MOH_ERR_ARGUMENT);
  feed(s.session, s.prompt, LEN - 3, &logits);
  assert_int_equal(moh__branches_open(&b, s.session, 2, 4, &err),
                   MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "2 branches of 4 tokens do not fit behind "
                      "597 of at most 600");
  assert_int_equal(moh__branches_open(&b, s.session, 2, 1, &err), MOH_OK);
  assert_int_equal(moh__branches_feed(b, &token, &logits, &err),
                   MOH_ERR_ARGUMENT);
  token = 0;
  assert_int_equal(moh__branches_feed(b, &token, &logits, &err), MOH_OK);
  assert_int_equal(moh__branches_feed(b, &token, &logits, &err),
                   MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "the branches have their 1 tokens already");
  moh__branches_close(b);
  close_setup(&s);
}

static void pages_have_users(void **state) {
  (void)state;
  moh__page_pool pool;
  const int32_t claimed[] = {0, 2};
  assert_int_equal(moh__page_pool_init(&pool, 4, &err), MOH_OK);
  moh__page_pool_claim(&pool, claimed, 2);
  int32_t page = moh__page_pool_take(&pool);
  assert_int_equal(page, 1);
  assert_int_equal(moh__page_pool_used(&pool), 3);
  moh__page_pool_share(&pool, &page, 1);
  moh__page_pool_release(&pool, &page, 1);
  assert_int_equal(moh__page_pool_used(&pool), 3);
  moh__page_pool_release(&pool, &page, 1);
  assert_int_equal(moh__page_pool_used(&pool), 2);
  assert_int_equal(moh__page_pool_take(&pool), 1);
  assert_int_equal(moh__page_pool_take(&pool), 3);
  assert_int_equal(pool.most_used, 4);
  moh__page_pool_free(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(branches_are_sessions),
      cmocka_unit_test(pages_are_shared),
      cmocka_unit_test(reserved_pages_are_enough),
      cmocka_unit_test(windows_bound_the_pages),
      cmocka_unit_test(closing_leaves_the_session),
      cmocka_unit_test(misuse_is_refused),
      cmocka_unit_test(pages_have_users),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
