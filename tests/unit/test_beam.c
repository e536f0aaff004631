/*
 * The beam search by itself, on made-up models: functions from the tokens so
 * far to logits. Small vocabularies and short texts are searched through by
 * hand, and what a wide beam finds must be the best of all.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/beam.h"
#include "support/check.h"
#include "support/tiny.h"

enum { MOST = 256, LONG = 24, VOCAB_MOST = 8 };
static moh_error err;
static moh__pool *pool;

/* Logits behind n tokens; seed 0 and up. */
typedef struct maker {
  uint64_t seed;
  int32_t vocab;
  double scale;
} maker;

static void make_logits(const maker *m, const int32_t *tokens, int32_t n,
                        real *z) {
  uint64_t hash = m->seed + 1;
  for (int32_t i = 0; i < n; i++)
    hash = hash * 1000003 + (uint64_t)tokens[i] + 1;
  for (int32_t v = 0; v < m->vocab; v++)
    z[v] = (real)(m->scale * tiny_noise(hash, (uint64_t)v));
}

/* One step over all beams. */
static void step(moh__beam_search *s, const maker *m) {
  static real logits[MOST * VOCAB_MOST];
  int32_t n, tokens[LONG];
  const moh__beam *beams = moh__beam_search_beams(s, &n);
  for (int32_t i = 0; i < n; i++) {
    moh__beam_search_tokens(s, &beams[i], tokens);
    make_logits(m, tokens, beams[i].n, logits + (int64_t)i * m->vocab);
  }
  assert_int_equal(moh__beam_search_step(s, logits, &err), MOH_OK);
}

typedef struct text {
  int32_t tokens[LONG], n;
  double log_p, score;
  moh__beam_state state;
} text;

static moh__beam_search *open_search(const moh__beam_rules *rules,
                                     const maker *m, int32_t max_tokens,
                                     int32_t end) {
  moh__beam_search *s;
  assert_int_equal(
      moh__beam_search_new(&s, rules, m->vocab, max_tokens, end, pool, &err),
      MOH_OK);
  return s;
}

static text best_of(const moh__beam_rules *rules, const maker *m,
                    int32_t max_tokens, int32_t end) {
  moh__beam_search *s = open_search(rules, m, max_tokens, end);
  moh__beam best;
  while (!moh__beam_search_done(s)) step(s, m);
  assert_int_equal(moh__beam_search_rank(s, &best), 1);
  text t = {.n = best.n,
            .log_p = best.log_p,
            .score = best.score,
            .state = best.state};
  assert_in_range(t.n, 1, max_tokens);
  moh__beam_search_tokens(s, &best, t.tokens);
  moh__beam_search_free(s);
  return t;
}

static moh__beam_rules width(int32_t n) {
  moh__beam_rules rules = moh__beam_rules_default();
  rules.width = n;
  return rules;
}

/* ln p of each token, the plain way. */
static void log_probabilities(const real *z, int32_t n, double *p) {
  double most = z[0], sum = 0;
  for (int32_t v = 1; v < n; v++) most = fmax(most, (double)z[v]);
  for (int32_t v = 0; v < n; v++) sum += exp((double)z[v] - most);
  for (int32_t v = 0; v < n; v++) p[v] = (double)z[v] - most - log(sum);
}

static text greedy(const maker *m, int32_t max_tokens, int32_t end) {
  text t = {.n = 0};
  while (t.n < max_tokens && t.state == MOH__BEAM_LIVE) {
    real z[VOCAB_MOST];
    double p[VOCAB_MOST];
    int32_t best = 0;
    make_logits(m, t.tokens, t.n, z);
    log_probabilities(z, m->vocab, p);
    for (int32_t v = 1; v < m->vocab; v++)
      if (z[v] > z[best]) best = v;
    t.log_p += p[best];
    t.tokens[t.n++] = best;
    if (best == end) t.state = MOH__BEAM_END;
  }
  return t;
}

static void assert_same_text(const text *a, const text *b) {
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->tokens, b->tokens, (size_t)a->n * sizeof(int32_t));
}

/* ---- greedy ---- */

static void width_one_is_greedy(void **state) {
  (void)state;
  moh__beam_rules rules = width(1);
  for (uint64_t seed = 0; seed < 200; seed++) {
    maker m = {seed, 5, 2};
    text want = greedy(&m, 12, 3), got = best_of(&rules, &m, 12, 3);
    assert_same_text(&got, &want);
    assert_int_equal(got.state, want.state);
    assert_true(fabs(got.log_p - want.log_p) < 1e-9);
    assert_true(fabs(got.score - want.log_p / want.n) < 1e-9);
  }
}

/* T -> 0: one path has all the probability. */
static void low_temperature_is_greedy(void **state) {
  (void)state;
  moh__beam_rules rules = width(4);
  rules.temperature = 1e-5;
  for (uint64_t seed = 0; seed < 50; seed++) {
    maker m = {seed, 6, 2};
    text want = greedy(&m, 8, 3), got = best_of(&rules, &m, 8, 3);
    assert_same_text(&got, &want);
    assert_true(got.log_p > -1e-6);
  }
}

/* z / T of one model is z of another. */
static void temperature_scales_logits(void **state) {
  (void)state;
  moh__beam_rules warm = width(3), plain = width(3);
  warm.temperature = 2;
  for (uint64_t seed = 0; seed < 50; seed++) {
    maker m = {seed, 6, 3}, half = {seed, 6, 1.5};
    text a = best_of(&warm, &m, 8, 2), b = best_of(&plain, &half, 8, 2);
    assert_same_text(&a, &b);
    assert_true(fabs(a.log_p - b.log_p) < 1e-5);
  }
}

/* ---- the best of all texts ---- */

/* Goes through all texts that begin with t. */
static void try_all(const maker *m, text *t, double log_p, double alpha,
                    int32_t max_tokens, int32_t end, text *best) {
  bool ended = t->n > 0 && t->tokens[t->n - 1] == end;
  if (ended || t->n == max_tokens) {
    double score = log_p / pow(t->n, alpha);
    if (best->n > 0 && !(score > best->score)) return;
    *best = *t;
    best->score = score;
    best->log_p = log_p;
    return;
  }
  real z[VOCAB_MOST];
  double p[VOCAB_MOST];
  make_logits(m, t->tokens, t->n, z);
  log_probabilities(z, m->vocab, p);
  for (int32_t v = 0; v < m->vocab; v++) {
    t->tokens[t->n++] = v;
    try_all(m, t, log_p + p[v], alpha, max_tokens, end, best);
    t->n--;
  }
}

static void assert_finds_the_optimum(double alpha, bool exact, int32_t end) {
  moh__beam_rules rules = width(MOST); /* 4^4: nothing is left out */
  rules.length_penalty = alpha;
  rules.exact = exact;
  for (uint64_t seed = 0; seed < 40; seed++) {
    maker m = {seed, 4, 2};
    text got = best_of(&rules, &m, 4, end), walk = {.n = 0}, want = walk;
    text simple = greedy(&m, 4, end);
    try_all(&m, &walk, 0, alpha, 4, end, &want);
    assert_same_text(&got, &want);
    assert_true(fabs(got.score - want.score) < 1e-9);
    assert_true(got.score > simple.log_p / pow(simple.n, alpha) - 1e-9);
  }
}

static void a_wide_beam_finds_the_optimum(void **state) {
  (void)state;
  assert_finds_the_optimum(0, false, 1);
  assert_finds_the_optimum(0, true, 1);
  assert_finds_the_optimum(0.6, true, 1);
  assert_finds_the_optimum(1, true, 1);
  assert_finds_the_optimum(1, false, -1);
}

/* ---- when it ends ---- */

static void more_room_never_changes_what_ended(void **state) {
  (void)state;
  int n_ended = 0;
  for (uint64_t seed = 0; seed < 300; seed++) {
    maker m = {seed, 6, 1.5};
    moh__beam_rules rules = width(1 + (int32_t)(seed % 5));
    rules.length_penalty = (double)(seed % 3) / 2;
    text before = {.n = 0};
    for (int32_t limit = 1; limit <= 16; limit++) {
      text now = best_of(&rules, &m, limit, 2);
      if (before.state == MOH__BEAM_END) assert_same_text(&now, &before);
      before = now;
    }
    n_ended += before.state == MOH__BEAM_END;
  }
  assert_true(n_ended > 200);
}

/* Of two equal steps the first ends the text and the second cannot win. */
static void a_text_that_cannot_be_beaten_ends_the_search(void **state) {
  (void)state;
  moh__beam_rules rules = width(2);
  maker m = {0, 3, 1};
  moh__beam_search *s = open_search(&rules, &m, 20, 0);
  const real z[3] = {5, 0, -5};
  int32_t n;
  assert_false(moh__beam_search_done(s));
  assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
  const moh__beam *beams = moh__beam_search_beams(s, &n);
  assert_int_equal(n, 1);
  assert_int_equal(beams[0].token, 1);
  assert_true(moh__beam_search_done(s));
  assert_int_equal(moh__beam_search_complete(s, &n)[0].token, 0);
  assert_int_equal(n, 1);
  moh__beam_search_free(s);
  /* ln p = -5.01 of the beam may become a score of -5.01 / 20. */
  rules.exact = true;
  s = open_search(&rules, &m, 2000, 0);
  assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
  assert_false(moh__beam_search_done(s));
  moh__beam_search_free(s);
}

static void the_caller_completes_a_beam(void **state) {
  (void)state;
  moh__beam_rules rules = width(3);
  rules.n_best = 2;
  maker m = {0, 3, 1};
  moh__beam_search *s = open_search(&rules, &m, 20, -1);
  const real z[3] = {1, 3, 2};
  int32_t n;
  moh__beam ranked[2];
  assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
  moh__beam_search_stop(s, 1);
  const moh__beam *beams = moh__beam_search_beams(s, &n);
  assert_int_equal(n, 2);
  assert_int_equal(beams[0].token, 1);
  assert_int_equal(beams[1].token, 0);
  assert_false(moh__beam_search_done(s));
  assert_int_equal(moh__beam_search_rank(s, ranked), 2);
  assert_int_equal(ranked[0].token, 1);
  assert_int_equal(ranked[1].token, 2);
  assert_int_equal(ranked[1].state, MOH__BEAM_STOP);
  moh__beam_search_free(s);
}

/* Complete texts are kept in the order of their scores, n_best of them. */
static void the_best_texts_are_kept(void **state) {
  (void)state;
  moh__beam_rules rules = width(MOST);
  rules.n_best = 5;
  rules.exact = true;
  rules.length_penalty = 0;
  maker m = {3, 4, 2};
  moh__beam_search *s = open_search(&rules, &m, 4, 1);
  moh__beam ranked[5];
  while (!moh__beam_search_done(s)) step(s, &m);
  assert_int_equal(moh__beam_search_rank(s, ranked), 5);
  for (int i = 1; i < 5; i++)
    assert_true(ranked[i].score <= ranked[i - 1].score);
  moh__beam_search_free(s);
}

/* At each step: the longest beginning that all beams and the best complete text
 * have; and the best text of all has it. */
static void common_tokens_are_certain(void **state) {
  (void)state;
  int n_seen = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    moh__beam_rules rules = width(3);
    maker m = {seed, 5, 3};
    text best = best_of(&rules, &m, 14, 2);
    moh__beam_search *s = open_search(&rules, &m, 14, 2);
    while (!moh__beam_search_done(s)) {
      int32_t n, tokens[LONG];
      step(s, &m);
      int32_t common = moh__beam_search_common(s);
      const moh__beam *beams = moh__beam_search_beams(s, &n);
      bool longer = n > 0; /* whether all have one token more */
      for (int32_t i = 0; i < n; i++) {
        int32_t first[LONG];
        moh__beam_search_tokens(s, &beams[0], first);
        moh__beam_search_tokens(s, &beams[i], tokens);
        assert_memory_equal(tokens, best.tokens, (size_t)common * 4);
        longer =
            longer && common < beams[i].n && tokens[common] == first[common];
      }
      moh__beam_search_complete(s, &n);
      assert_false(longer && n == 0);
      n_seen += common > 0;
    }
    moh__beam_search_free(s);
  }
  assert_true(n_seen > 100);
}

/* ---- ties ---- */

static void equal_scores_have_an_order(void **state) {
  (void)state;
  moh__beam_rules rules = width(4);
  maker m = {0, 3, 0}; /* all logits are 0 */
  moh__beam_search *s = open_search(&rules, &m, 9, -1);
  static const int32_t first[] = {0, 1, 2};
  static const int32_t parents[] = {0, 0, 0, 1}, tokens[] = {0, 1, 2, 0};
  int32_t n;
  step(s, &m);
  const moh__beam *beams = moh__beam_search_beams(s, &n);
  assert_int_equal(n, 3); /* no more tokens than there are */
  for (int32_t i = 0; i < n; i++) assert_int_equal(beams[i].token, first[i]);
  step(s, &m);
  beams = moh__beam_search_beams(s, &n);
  assert_int_equal(n, 4);
  for (int32_t i = 0; i < n; i++) {
    assert_int_equal(beams[i].parent, parents[i]);
    assert_int_equal(beams[i].token, tokens[i]);
    assert_true(fabs(beams[i].log_p + 2 * log(3)) < 1e-12);
    assert_true(fabs(beams[i].score + log(3)) < 1e-12);
  }
  moh__beam_search_free(s);
}

/* ---- adaptive width ---- */

/* Every beam sees the same distribution: all tokens alike, or one token. */
static void step_on(moh__beam_search *s, bool even) {
  real z[MOST];
  int32_t n;
  moh__beam_search_beams(s, &n);
  for (int32_t i = 0; i < n * 8; i++)
    z[i] = even || i % 8 == 3 ? 0 : (real)-50;
  assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
}

static void width_follows_entropy(void **state) {
  (void)state;
  moh__beam_rules rules = width(4);
  rules.min_width = 3;
  rules.max_width = 6;
  maker m = {0, 8, 1};
  moh__beam_search *s = open_search(&rules, &m, 24, -1);
  static const struct {
    bool even;
    int32_t width;
  } trace[] = {{true, 5},  {false, 4}, {true, 5},  {true, 6},  {true, 6},
               {false, 5}, {false, 4}, {false, 3}, {false, 3}, {true, 4}};
  assert_int_equal(moh__beam_search_width(s), 4);
  for (size_t i = 0; i < sizeof trace / sizeof trace[0]; i++) {
    int32_t n;
    step_on(s, trace[i].even);
    assert_int_equal(moh__beam_search_width(s), trace[i].width);
    moh__beam_search_beams(s, &n);
    assert_int_equal(n, trace[i].width);
    double entropy = moh__beam_search_entropy(s);
    assert_true(trace[i].even ? fabs(entropy - 1) < 1e-12 : entropy < 1e-9);
  }
  moh__beam_search_free(s);
}

/* Of three beams two have no doubt and one ln 8: the mean is a third. */
static void threshold_is_of_the_mean(void **state) {
  (void)state;
  for (int high = 0; high < 2; high++) {
    moh__beam_rules rules = width(2);
    rules.min_width = 1;
    rules.max_width = 3;
    rules.threshold = high ? 0.34 : 0.33;
    maker m = {0, 8, 1};
    moh__beam_search *s = open_search(&rules, &m, 24, -1);
    real z[24] = {0};
    assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
    assert_int_equal(moh__beam_search_width(s), 3);
    for (int i = 0; i < 16; i++) z[i] = i % 8 == 0 ? 0 : (real)-80;
    assert_int_equal(moh__beam_search_step(s, z, &err), MOH_OK);
    assert_int_equal(moh__beam_search_width(s), high ? 2 : 3);
    moh__beam_search_free(s);
  }
}

/* ---- what is refused ---- */

static void assert_refused(const moh__beam_rules *rules,
                           const char *message) {
  assert_int_equal(moh__beam_rules_check(rules, &err), MOH_ERR_ARGUMENT);
  assert_string_equal(err.message, message);
}

static void bad_rules_are_refused(void **state) {
  (void)state;
  moh__beam_rules rules = width(0);
  assert_refused(&rules, "a beam width is 1 to 1024, not 0");
  rules = width(4);
  rules.min_width = 5;
  rules.max_width = 8;
  assert_refused(&rules,
                 "a beam width of 4 does not lie between the least, "
                 "5, and the greatest, 8 (1 to 1024)");
  rules = width(4);
  rules.threshold = 1.5;
  assert_refused(&rules,
                 "the beam threshold is 1.5, it must be between 0 and 1");
  rules = width(4);
  rules.temperature = 0;
  assert_refused(&rules,
                 "the temperature of a beam search is 0, it must be "
                 "1e-06 or more");
  rules = width(4);
  rules.length_penalty = -1;
  assert_refused(&rules, "the length penalty is -1, it must be 0 or more");
  rules = width(4);
  rules.n_best = 0;
  assert_refused(&rules, "1 to 1024 texts can be kept, not 0");
}

static void logits_must_be_finite(void **state) {
  (void)state;
  moh__beam_rules rules = width(2);
  maker m = {0, 3, 1};
  moh__beam_search *s = open_search(&rules, &m, 20, -1);
  const real z[3] = {0, (real)NAN, 0}, y[3] = {0, (real)-INFINITY, 0};
  assert_int_equal(moh__beam_search_step(s, z, &err), MOH_ERR_DIVERGED);
  assert_int_equal(moh__beam_search_step(s, y, &err), MOH_ERR_DIVERGED);
  moh__beam_search_free(s);
}

static int open_pool(void **state) {
  (void)state;
  return moh__pool_new(&pool, 2, &err);
}

static int close_pool(void **state) {
  (void)state;
  moh__pool_free(pool);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(width_one_is_greedy),
      cmocka_unit_test(low_temperature_is_greedy),
      cmocka_unit_test(temperature_scales_logits),
      cmocka_unit_test(a_wide_beam_finds_the_optimum),
      cmocka_unit_test(more_room_never_changes_what_ended),
      cmocka_unit_test(a_text_that_cannot_be_beaten_ends_the_search),
      cmocka_unit_test(the_caller_completes_a_beam),
      cmocka_unit_test(the_best_texts_are_kept),
      cmocka_unit_test(common_tokens_are_certain),
      cmocka_unit_test(equal_scores_have_an_order),
      cmocka_unit_test(width_follows_entropy),
      cmocka_unit_test(threshold_is_of_the_mean),
      cmocka_unit_test(bad_rules_are_refused),
      cmocka_unit_test(logits_must_be_finite),
  };
  return cmocka_run_group_tests(tests, open_pool, close_pool);
}
