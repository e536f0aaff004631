/*
 * Beam search on a small model with random weights: against greedy
 * generation, against the same search without a cache, how it ends, and what
 * the session holds afterwards.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/generate.h"
#include "support/check.h"
#include "support/tiny.h"

enum { LEN = 90, MANY = 400, TEXTS = 8 };
static moh_error err;

/* What was heard of each text. */
typedef struct heard {
  struct {
    moh__hypothesis about;
    int32_t tokens[MANY];
    int n;
    char text[MANY];
  } texts[TEXTS];
  int n;           /* texts */
  int n_steps;     /* of the search */
  int most;        /* steps after which on_step says no; 0: never */
  int most_tokens; /* the same of on_token */
  int first_token; /* steps before the first token came */
} heard;

static bool on_token(void *context, int32_t token) {
  heard *h = context;
  int at = h->n > 0 ? h->n - 1 : 0; /* greedy tells of no text */
  h->texts[at].tokens[h->texts[at].n++] = token;
  if (h->first_token == 0) h->first_token = h->n_steps;
  return h->texts[at].n != h->most_tokens;
}

static bool on_text(void *context, const char *bytes, size_t n) {
  heard *h = context;
  strncat(h->texts[h->n > 0 ? h->n - 1 : 0].text, bytes, n);
  return true;
}

static bool on_step(void *context, int32_t n_beams) {
  heard *h = context;
  assert_in_range(n_beams, 0, TEXTS);
  return ++h->n_steps != h->most;
}

static void on_hypothesis(void *context, const moh__hypothesis *about) {
  heard *h = context;
  assert_int_equal(about->rank, h->n);
  h->texts[h->n++].about = *about;
}

typedef struct setup {
  tiny t;
  moh__session *session;
  moh__generate_options options;
  moh__generate_result result;
  heard heard;
} setup;

static void open_setup(setup *s, int n_threads, int32_t width) {
  memset(s, 0, sizeof *s);
  moh__config config = tiny_moh_config(1, 2);
  tiny_open(&s->t, &config, n_threads, 0.6);
  assert_int_equal(moh__model_pack(s->t.model, s->t.pool, &err), MOH_OK);
  assert_int_equal(
      moh__session_new(&s->session, s->t.model, s->t.pool, LEN, &err),
      MOH_OK);
  s->options = moh__generate_options_default();
  s->options.on_token = on_token;
  s->options.on_step = on_step;
  s->options.on_hypothesis = on_hypothesis;
  s->options.context = &s->heard;
  s->options.beam.width = width;
}

static void close_setup(setup *s) {
  moh__session_free(s->session);
  tiny_close(&s->t);
}

static int32_t prompt[LEN + 3];

static moh_status go_on(setup *s, int32_t n) {
  int most = s->heard.most, most_tokens = s->heard.most_tokens;
  memset(&s->heard, 0, sizeof s->heard);
  s->heard.most = most;
  s->heard.most_tokens = most_tokens;
  return moh__generate(s->session, &s->options, prompt, n, &s->result, &err);
}

static void generate(setup *s, int32_t n) {
  moh__session_truncate(s->session, 0);
  assert_int_equal(go_on(s, n), MOH_OK);
  assert_int_equal(s->result.n_generated, s->heard.texts[0].n);
  assert_int_equal(s->result.n_prompt, n);
}

/* The prompt, and the best text without its last token. */
static void assert_session_holds_it(const setup *s, int32_t n_prompt) {
  int32_t n = (int32_t)s->result.n_generated - 1;
  assert_int_equal(moh__session_length(s->session), n_prompt + n);
  const int32_t *held = moh__session_tokens(s->session);
  assert_memory_equal(held, prompt, (size_t)n_prompt * sizeof(int32_t));
  assert_memory_equal(held + n_prompt, s->heard.texts[0].tokens,
                      (size_t)n * sizeof(int32_t));
}

static void width_one_is_greedy(void **state) {
  (void)state;
  setup beam, plain;
  open_setup(&beam, 1, 1);
  open_setup(&plain, 1, 0);
  for (int32_t n = 1; n < 12; n++)
    for (int32_t end = -1; end < TINY_VOCAB; end += 3) {
      beam.options.end_token = plain.options.end_token = end;
      generate(&beam, n);
      generate(&plain, n);
      assert_int_equal(beam.result.finish, plain.result.finish);
      assert_int_equal(beam.result.n_generated, plain.result.n_generated);
      assert_memory_equal(beam.heard.texts[0].tokens,
                          plain.heard.texts[0].tokens, MANY);
      assert_session_holds_it(&beam, n);
    }
  close_setup(&beam);
  close_setup(&plain);
}

/* The same search over logits of full passes: a text at a time, from its
 * beginning. */
static void search_without_cache(const setup *s, int32_t n_prompt,
                                 int32_t max_tokens, moh__beam *best,
                                 int32_t *tokens) {
  moh__beam_search *search;
  static real logits[TEXTS * TINY_VOCAB];
  int32_t all[LEN], n;
  memcpy(all, prompt, (size_t)n_prompt * sizeof(int32_t));
  moh__beam_search_new(&search, &s->options.beam, TINY_VOCAB, max_tokens,
                       s->options.end_token, s->t.pool, &err);
  while (!moh__beam_search_done(search)) {
    const moh__beam *beams = moh__beam_search_beams(search, &n);
    for (int32_t i = 0; i < n; i++) {
      const real *z;
      moh__beam_search_tokens(search, &beams[i], all + n_prompt);
      moh__session_truncate(s->session, 0);
      moh__session_feed(s->session, all, n_prompt + beams[i].n, &z, &err);
      memcpy(logits + i * TINY_VOCAB, z, TINY_VOCAB * sizeof(real));
    }
    assert_int_equal(moh__beam_search_step(search, logits, &err), MOH_OK);
  }
  moh__beam_search_rank(search, best);
  moh__beam_search_tokens(search, best, tokens);
  moh__beam_search_free(search);
}

static void cached_and_uncached_searches_agree(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 4);
  s.options.beam.min_width = 2;
  s.options.beam.max_width = 6;
  s.options.beam.threshold = 0.6;
  s.options.max_tokens = 70; /* beyond a page */
  for (int32_t end = -1; end < 12; end += 4) {
    int32_t tokens[LEN];
    moh__beam best;
    s.options.end_token = end;
    generate(&s, 20);
    search_without_cache(&s, 20, 70, &best, tokens);
    assert_int_equal(s.result.n_generated, best.n);
    assert_memory_equal(s.heard.texts[0].tokens, tokens,
                        (size_t)best.n * sizeof(int32_t));
    assert_true(fabs(s.result.log_p - best.log_p) < 1e-3);
    assert_int_equal(s.heard.n_steps, s.result.n_steps);
  }
  close_setup(&s);
}

static void threads_change_nothing(void **state) {
  (void)state;
  setup one, two;
  open_setup(&one, 1, 5);
  open_setup(&two, 2, 5);
  one.options.beam.n_best = two.options.beam.n_best = 3;
  generate(&one, 7);
  generate(&two, 7);
  assert_memory_equal(&one.heard, &two.heard, sizeof one.heard);
  close_setup(&one);
  close_setup(&two);
}

/* Prompt and text fill the session and never more. */
static void the_length_is_never_exceeded(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 3);
  for (int32_t n = 1; n < LEN; n += n < LEN - 5 ? 9 : 1) {
    generate(&s, n);
    assert_int_equal(s.result.finish, MOH__FINISH_CONTEXT);
    assert_int_equal(n + s.result.n_generated, LEN);
    assert_session_holds_it(&s, n);
  }
  s.options.max_tokens = 7;
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_LENGTH);
  assert_int_equal(s.result.n_generated, 7);
  moh__session_truncate(s.session, 0);
  assert_int_equal(go_on(&s, LEN), MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "the prompt has 90 tokens, the model holds "
                      "90 with the answer; shorten it");
  assert_int_equal(moh__session_length(s.session), 0);
  close_setup(&s);
}

static void more_room_never_changes_what_ended(void **state) {
  (void)state;
  setup s;
  int n_ended = 0;
  open_setup(&s, 1, 4);
  for (int32_t end = 0; end < TINY_VOCAB; end++) {
    heard before = {.n = 0};
    moh__finish finish = MOH__FINISH_LENGTH;
    s.options.end_token = end;
    for (int32_t most = 2; most < 40; most += 5) {
      s.options.max_tokens = most;
      generate(&s, 5);
      if (finish == MOH__FINISH_END)
        assert_memory_equal(&s.heard, &before, sizeof before);
      before = s.heard;
      finish = s.result.finish;
    }
    n_ended += finish == MOH__FINISH_END;
  }
  assert_true(n_ended > 3);
  close_setup(&s);
}

/* What the session has read goes on as if it had been fed. */
static void the_session_goes_on(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 4);
  for (int32_t end = -1; end < 12; end += 3) {
    const real *logits;
    real kept[TINY_VOCAB];
    int32_t all[LEN], next = 9;
    s.options.max_tokens = 50;
    s.options.end_token = end;
    generate(&s, 30);
    assert_session_holds_it(&s, 30);
    int32_t n = moh__session_length(s.session);
    memcpy(all, moh__session_tokens(s.session), (size_t)n * sizeof *all);
    moh__session_feed(s.session, &next, 1, &logits, &err);
    memcpy(kept, logits, sizeof kept);
    moh__session_truncate(s.session, 0);
    moh__session_feed(s.session, all, 30, &logits, &err);
    for (int32_t i = 30; i < n; i++)
      moh__session_feed(s.session, all + i, 1, &logits, &err);
    moh__session_feed(s.session, &next, 1, &logits, &err);
    assert_memory_equal(kept, logits, sizeof kept);
  }
  close_setup(&s);
}

static void the_best_texts_come_in_order(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 6);
  s.options.max_tokens = 9;
  s.options.end_token = 4;
  generate(&s, 5);
  heard best = s.heard;
  s.options.beam.n_best = 5;
  generate(&s, 5);
  assert_int_equal(s.heard.n, 5);
  assert_memory_equal(&s.heard.texts[0], &best.texts[0],
                      sizeof best.texts[0]);
  for (int i = 0; i < s.heard.n; i++) {
    moh__hypothesis *h = &s.heard.texts[i].about;
    assert_int_equal(s.heard.texts[i].n, h->n_tokens);
    assert_true(fabs(h->score - h->log_p / h->n_tokens) < 1e-12);
    if (i > 0) assert_true(h->score <= s.heard.texts[i - 1].about.score);
    for (int k = 0; k < i; k++)
      assert_memory_not_equal(s.heard.texts[i].tokens,
                              s.heard.texts[k].tokens,
                              sizeof s.heard.texts[k].tokens);
  }
  assert_true(s.result.score == s.heard.texts[0].about.score);
  close_setup(&s);
}

static void the_caller_may_end(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 4);
  for (s.heard.most = 1; s.heard.most < 8; s.heard.most += 3) {
    generate(&s, 5);
    assert_int_equal(s.result.finish, MOH__FINISH_CANCELLED);
    assert_int_equal(s.result.n_generated, s.heard.most);
    assert_session_holds_it(&s, 5);
  }
  close_setup(&s);
}

/* ---- text ---- */

/* One letter a token: 0 is 'a'. */
static moh__tokenizer *letters(void) {
  moh__tokenizer *tokenizer;
  moh__text text = {"abcdefghijklmnopqrstuv", 22};
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_OK);
  return tokenizer;
}

static moh__tokenizer *open_with_text(setup *s, const char *const *stops,
                                      int n_stops) {
  moh__tokenizer *tokenizer = letters();
  open_setup(s, 1, 4);
  s->options.tokenizer = tokenizer;
  s->options.on_text = on_text;
  s->options.stops = stops;
  s->options.n_stops = n_stops;
  return tokenizer;
}

/* Without on_hypothesis a text comes while it is searched for, the same one. */
static void text_comes_when_it_is_certain(void **state) {
  (void)state;
  setup s;
  const char *stops[] = {"abc", "kk"};
  moh__tokenizer *tokenizer = open_with_text(&s, stops, 2);
  s.options.max_tokens = 60;
  generate(&s, 5);
  heard whole = s.heard;
  s.options.on_hypothesis = NULL;
  generate(&s, 5);
  assert_string_equal(s.heard.texts[0].text, whole.texts[0].text);
  assert_memory_equal(s.heard.texts[0].tokens, whole.texts[0].tokens,
                      sizeof whole.texts[0].tokens);
  assert_true(s.heard.first_token > 0);
  assert_true(s.heard.first_token < s.result.n_steps / 2);
  assert_session_holds_it(&s, 5);
  /* And the caller may have enough of it. */
  s.heard.most_tokens = 9;
  moh__session_truncate(s.session, 0);
  assert_int_equal(go_on(&s, 5), MOH_OK);
  assert_int_equal(s.heard.texts[0].n, 9);
  assert_int_equal(s.result.finish, MOH__FINISH_CANCELLED);
  assert_in_range(s.result.n_generated, 9, 60);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

/* Stop strings complete a text as the end token does: none that comes has one
 * before its end, and each is cut there. */
static void texts_end_before_a_stop(void **state) {
  (void)state;
  setup s;
  const char *stops[] = {"ab", "c", "d", "e", "f", "k", "q", "s"};
  moh__tokenizer *tokenizer = open_with_text(&s, stops, 8);
  s.options.beam.n_best = 4;
  s.options.beam.length_penalty = 0;
  s.options.max_tokens = 30;
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_STOP);
  for (int i = 0; i < s.heard.n; i++) {
    const char *text = s.heard.texts[i].text;
    const moh__hypothesis *h = &s.heard.texts[i].about;
    int stop = h->stop;
    for (int k = 0; k < 8; k++) assert_null(strstr(text, stops[k]));
    assert_true((h->finish == MOH__FINISH_STOP) == (stop >= 0));
    if (stop < 0) continue;
    assert_int_equal(strlen(text) + strlen(stops[stop]), h->n_tokens);
    assert_int_equal(s.heard.texts[i].tokens[h->n_tokens - 1],
                     stops[stop][strlen(stops[stop]) - 1] - 'a');
  }
  assert_session_holds_it(&s, 5);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

static void the_end_token_is_no_text_and_echo_is(void **state) {
  (void)state;
  setup s;
  char text[MANY];
  moh__tokenizer *tokenizer = letters();
  open_setup(&s, 1, 3);
  s.options.tokenizer = tokenizer;
  s.options.on_text = on_text;
  s.options.echo = true;
  s.options.max_tokens = 1;
  generate(&s, 5);
  s.options.end_token = s.heard.texts[0].tokens[0];
  generate(&s, 5);
  for (int i = 0; i < 5; i++) text[i] = (char)('a' + prompt[i]);
  text[5] = '\0';
  assert_int_equal(s.result.finish, MOH__FINISH_END);
  assert_string_equal(s.heard.texts[0].text, text);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

static void a_beam_search_does_not_slide(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, 3);
  s.options.overflow = MOH__OVERFLOW_SLIDE;
  assert_int_equal(go_on(&s, 5), MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "a beam search cannot slide: beam and "
                      "overflow exclude each other");
  close_setup(&s);
}

int main(void) {
  for (int32_t i = 0; i < LEN + 3; i++)
    prompt[i] = (int32_t)((uint32_t)(i * i * 7 + i + 3) % (TINY_VOCAB - 1));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(width_one_is_greedy),
      cmocka_unit_test(cached_and_uncached_searches_agree),
      cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(the_length_is_never_exceeded),
      cmocka_unit_test(more_room_never_changes_what_ended),
      cmocka_unit_test(the_session_goes_on),
      cmocka_unit_test(the_best_texts_come_in_order),
      cmocka_unit_test(the_caller_may_end),
      cmocka_unit_test(text_comes_when_it_is_certain),
      cmocka_unit_test(texts_end_before_a_stop),
      cmocka_unit_test(the_end_token_is_no_text_and_echo_is),
      cmocka_unit_test(a_beam_search_does_not_slide),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
