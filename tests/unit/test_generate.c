/*
 * The generation loop on a small model with random weights: how it ends,
 * what it counts, what happens when the context is full, and that neither
 * threads nor a warm cache change a token.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/generate.h"
#include "support/check.h"
#include "support/tiny.h"

enum { LEN = 24, MANY = 400 };
static moh_error err;

typedef struct heard {
  int32_t tokens[MANY];
  int n;
  int most; /* tokens after which on_token says no; 0: never */
  char text[MANY * 4];
  int64_t dropped[MANY];
  int n_drops;
} heard;

static bool on_token(void *context, int32_t token) {
  heard *h = context;
  assert_true(h->n < MANY);
  h->tokens[h->n++] = token;
  return h->most == 0 || h->n < h->most;
}

static bool on_text(void *context, const char *bytes, size_t n) {
  heard *h = context;
  strncat(h->text, bytes, n);
  return true;
}

static void on_drop(void *context, int64_t n_dropped) {
  heard *h = context;
  h->dropped[h->n_drops++] = n_dropped;
}

/* A model whose logits vary from token to token, and a session on it. */
typedef struct setup {
  tiny t;
  moh__session *session;
  moh__generate_options options;
  moh__generate_result result;
  heard heard;
} setup;

static void open_setup(setup *s, int n_threads, int32_t max_len) {
  memset(s, 0, sizeof *s);
  moh__config config = tiny_config();
  tiny_open(&s->t, &config, n_threads, 0.6);
  assert_int_equal(moh__model_pack(s->t.model, s->t.pool, &err), MOH_OK);
  assert_int_equal(
      moh__session_new(&s->session, s->t.model, s->t.pool, max_len, &err),
      MOH_OK);
  s->options = moh__generate_options_default();
  s->options.on_token = on_token;
  s->options.on_drop = on_drop;
  s->options.context = &s->heard;
}

static void close_setup(setup *s) {
  moh__session_free(s->session);
  tiny_close(&s->t);
}

static const int32_t prompt[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8,
                                 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4,
                                 3, 3, 8, 3, 2, 7, 9, 5, 0, 2, 8, 8};

static moh_status go_on(setup *s, int32_t n) {
  memset(&s->heard, 0, sizeof s->heard);
  return moh__generate(s->session, &s->options, prompt, n, &s->result,
                       &err);
}

static void generate(setup *s, int32_t n) {
  moh__session_truncate(s->session, 0);
  assert_int_equal(go_on(s, n), MOH_OK);
  assert_int_equal(s->result.n_generated, s->heard.n);
  assert_int_equal(s->result.n_prompt, n);
}

static int32_t argmax(const real *z, int32_t n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++)
    if (z[i] > z[best]) best = i;
  return best;
}

/* Greedy, token by token, each by a new session without a cache. */
static void greedy_is_argmax_of_the_full_pass(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  s.options.max_tokens = 10;
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_LENGTH);
  assert_int_equal(s.heard.n, 10);
  int32_t tokens[LEN];
  memcpy(tokens, prompt, 5 * sizeof(int32_t));
  for (int32_t i = 0; i < 10; i++) {
    const real *logits;
    moh__session_truncate(s.session, 0);
    assert_int_equal(
        moh__session_feed(s.session, tokens, 5 + i, &logits, &err), MOH_OK);
    tokens[5 + i] = argmax(logits, TINY_VOCAB);
    assert_int_equal(s.heard.tokens[i], tokens[5 + i]);
  }
  close_setup(&s);
}

/* Prompt and answer fill the session and never more. */
static void the_length_is_never_exceeded(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  for (int32_t n = 1; n < LEN; n++) {
    generate(&s, n);
    assert_int_equal(s.result.finish, MOH__FINISH_CONTEXT);
    assert_int_equal(n + s.heard.n, LEN);
  }
  for (int32_t n = LEN; n < LEN + 3; n++) {
    moh__session_truncate(s.session, 0);
    assert_int_equal(go_on(&s, n), MOH_ERR_ARGUMENT);
    assert_int_equal(s.heard.n, 0);
    assert_int_equal(moh__session_length(s.session), 0);
  }
  assert_string_equal(err.message,
                      "the prompt has 26 tokens, the model holds 24 with "
                      "the answer; shorten it, or let its beginning go "
                      "(overflow: slide)");
  close_setup(&s);
}

static void the_end_token_ends(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  generate(&s, 5);
  int32_t third = s.heard.tokens[2];
  int at = 0;
  while (s.heard.tokens[at] != third) at++;
  s.options.end_token = third;
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_END);
  assert_int_equal(s.heard.n, at + 1);
  assert_int_equal(s.heard.tokens[at], third);
  close_setup(&s);
}

static void the_caller_may_end(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  moh__session_truncate(s.session, 0);
  s.heard = (heard){.most = 3};
  assert_int_equal(
      moh__generate(s.session, &s.options, prompt, 5, &s.result, &err),
      MOH_OK);
  assert_int_equal(s.result.finish, MOH__FINISH_CANCELLED);
  assert_int_equal(s.heard.n, 3);
  close_setup(&s);
}

/* What the session holds after a slide: the first `keep` tokens of all that
 * came, and the last ones; its logits are those of a fresh pass. */
static void sliding_keeps_the_first_and_the_last(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  s.options.overflow = MOH__OVERFLOW_SLIDE;
  for (int32_t keep = 0; keep <= LEN - 2; keep += 11) {
    int32_t all[MANY];
    int32_t tail = (LEN - keep) / 2;
    s.options.keep = keep;
    s.options.max_tokens = LEN - 5 + 1; /* one behind the first slide */
    generate(&s, 5);
    assert_int_equal(s.result.finish, MOH__FINISH_LENGTH);
    assert_int_equal(s.heard.n_drops, 1);
    assert_int_equal(s.heard.dropped[0], LEN - keep - tail);
    assert_int_equal(s.result.n_dropped, LEN - keep - tail);
    memcpy(all, prompt, 5 * sizeof(int32_t));
    memcpy(all + 5, s.heard.tokens, (size_t)s.heard.n * sizeof(int32_t));
    int32_t kept[LEN];
    memcpy(kept, all, (size_t)keep * sizeof(int32_t));
    memcpy(kept + keep, all + LEN - tail, (size_t)tail * sizeof(int32_t));
    assert_int_equal(moh__session_length(s.session), keep + tail);
    assert_memory_equal(moh__session_tokens(s.session), kept,
                        (size_t)(keep + tail) * sizeof(int32_t));
    const real *logits;
    moh__session_truncate(s.session, 0);
    moh__session_feed(s.session, kept, keep + tail, &logits, &err);
    assert_int_equal(argmax(logits, TINY_VOCAB), all[LEN]);
  }
  close_setup(&s);
}

static void sliding_goes_on_for_ever(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  s.options.overflow = MOH__OVERFLOW_SLIDE;
  s.options.max_tokens = 300;
  for (int32_t keep = 0; keep <= LEN - 2; keep += LEN - 2) {
    s.options.keep = keep;
    generate(&s, 7);
    assert_int_equal(s.heard.n, 300);
    /* Everything that is not held was dropped, but for the last token. */
    assert_int_equal(moh__session_length(s.session),
                     7 + 300 - 1 - s.result.n_dropped);
  }
  s.options.keep = LEN - 1;
  assert_int_equal(go_on(&s, 3), MOH_ERR_ARGUMENT);
  assert_string_equal(err.message,
                      "23 tokens cannot be kept of a context of 24");
  close_setup(&s);
}

/* A prompt that is too long by itself, and one behind other tokens. */
static void long_prompts_slide_too(void **state) {
  (void)state;
  setup s;
  open_setup(&s, 1, LEN);
  s.options.overflow = MOH__OVERFLOW_SLIDE;
  s.options.keep = 4;
  s.options.max_tokens = 1;
  int32_t kept[14];
  memcpy(kept, prompt, 4 * sizeof(int32_t));
  memcpy(kept + 4, prompt + 36 - 10, 10 * sizeof(int32_t));
  for (int round = 0; round < 2; round++) {
    moh__session_truncate(s.session, 0);
    memset(&s.heard, 0, sizeof s.heard);
    int32_t held = round * 9;
    const real *logits;
    if (held > 0) moh__session_feed(s.session, prompt, held, &logits, &err);
    assert_int_equal(moh__generate(s.session, &s.options, prompt + held,
                                   36 - held, &s.result, &err),
                     MOH_OK);
    assert_int_equal(s.heard.dropped[0], 36 - 14);
    assert_int_equal(moh__session_length(s.session), 14);
    assert_memory_equal(moh__session_tokens(s.session), kept, sizeof kept);
  }
  close_setup(&s);
}

/* Sampling with all rules and slides: 1, 2 and 3 threads, and a session
 * that already holds a part of the prompt. */
static void threads_and_caches_change_nothing(void **state) {
  (void)state;
  heard first;
  for (int n_threads = 1; n_threads <= 3; n_threads++) {
    setup s;
    open_setup(&s, n_threads, LEN);
    s.options.overflow = MOH__OVERFLOW_SLIDE;
    s.options.max_tokens = 100;
    s.options.sampling = (moh__sampling){.temperature = 0.9,
                                         .top_k = 15,
                                         .top_p = 0.95,
                                         .min_p = 0.01,
                                         .repeat_penalty = 1.1,
                                         .repeat_last = 16,
                                         .seed = 11};
    generate(&s, 9);
    if (n_threads == 1) first = s.heard;
    assert_memory_equal(s.heard.tokens, first.tokens, sizeof first.tokens);
    const real *logits;
    moh__session_truncate(s.session, 0);
    moh__session_feed(s.session, prompt, 7, &logits, &err);
    int32_t held = moh__session_rewind(s.session, prompt, 6);
    assert_int_equal(held, 5);
    memset(&s.heard, 0, sizeof s.heard);
    moh__generate(s.session, &s.options, prompt + held, 9 - held, &s.result,
                  &err);
    assert_memory_equal(s.heard.tokens, first.tokens, sizeof first.tokens);
    s.options.sampling.seed = 12;
    generate(&s, 9);
    assert_memory_not_equal(s.heard.tokens, first.tokens, 400);
    close_setup(&s);
  }
}

static void rewinding_keeps_the_common_front(void **state) {
  (void)state;
  setup s;
  const real *logits;
  const int32_t other[] = {3, 1, 4, 2, 5};
  open_setup(&s, 1, LEN);
  moh__session_feed(s.session, prompt, 5, &logits, &err);
  assert_int_equal(moh__session_rewind(s.session, other, 5), 3);
  assert_int_equal(moh__session_length(s.session), 3);
  assert_int_equal(moh__session_rewind(s.session, prompt, 2), 1);
  assert_int_equal(moh__session_rewind(s.session, other + 3, 2), 0);
  close_setup(&s);
}

/* ---- text ---- */

/* One letter a token: 0 is 'a'. */
static moh__tokenizer *letters(void) {
  moh__tokenizer *tokenizer;
  moh__text text = {"abcdefghijklmnopqrstuv", 22};
  assert_int_equal(moh__tokenizer_train_chars(&tokenizer, &text, 1, &err),
                   MOH_OK);
  assert_int_equal(moh__tokenizer_size(tokenizer), TINY_VOCAB);
  return tokenizer;
}

static void expected_text(const int32_t *tokens, int n, char *text) {
  for (int i = 0; i < n; i++) text[i] = (char)('a' + tokens[i]);
  text[n] = '\0';
}

static void text_ends_before_a_stop(void **state) {
  (void)state;
  setup s;
  char text[MANY], stop[4];
  moh__tokenizer *tokenizer = letters();
  open_setup(&s, 1, LEN);
  s.options.max_tokens = 12;
  s.options.tokenizer = tokenizer;
  s.options.on_text = on_text;
  generate(&s, 5);
  expected_text(s.heard.tokens, 12, text);
  assert_string_equal(s.heard.text, text);
  assert_int_equal(s.result.stop, -1);
  memcpy(stop, text + 6, 3);
  stop[3] = '\0';
  const char *stops[] = {"aaaaaaaaaaaaa", stop};
  s.options.stops = stops;
  s.options.n_stops = 2;
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_STOP);
  assert_int_equal(s.result.stop, 1);
  size_t at = (size_t)(strstr(text, stop) - text);
  assert_int_equal(s.result.n_generated, at + 3);
  text[at] = '\0';
  assert_string_equal(s.heard.text, text);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

static void the_end_token_is_no_text_and_echo_is(void **state) {
  (void)state;
  setup s;
  char text[MANY];
  moh__tokenizer *tokenizer = letters();
  open_setup(&s, 1, LEN);
  s.options.tokenizer = tokenizer;
  s.options.on_text = on_text;
  s.options.echo = true;
  generate(&s, 5);
  expected_text(prompt, 5, text);
  s.options.end_token = s.heard.tokens[0];
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_END);
  assert_string_equal(s.heard.text, text);
  s.options.tokenizer = NULL;
  assert_int_equal(go_on(&s, 5), MOH_ERR_ARGUMENT);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

/* A tokenizer's further end tokens, while there is an end token at all. */
static void every_end_token_ends(void **state) {
  (void)state;
  setup s;
  moh__tokenizer *tokenizer = letters();
  open_setup(&s, 1, LEN);
  s.options.tokenizer = tokenizer;
  generate(&s, 5);
  int32_t first = s.heard.tokens[0];
  int32_t ends[] = {(first + 1) % TINY_VOCAB, first};
  assert_int_equal(moh__tokenizer_set_ends(tokenizer, ends, 2, &err), MOH_OK);
  generate(&s, 5);
  assert_int_not_equal(s.result.finish, MOH__FINISH_END);
  s.options.end_token = ends[0];
  generate(&s, 5);
  assert_int_equal(s.result.finish, MOH__FINISH_END);
  assert_int_equal(s.heard.n, 1);
  close_setup(&s);
  moh__tokenizer_free(tokenizer);
}

static void finishes_have_names(void **state) {
  (void)state;
  assert_string_equal(moh__finish_name(MOH__FINISH_END), "end");
  assert_string_equal(moh__finish_name(MOH__FINISH_STOP), "stop");
  assert_string_equal(moh__finish_name(MOH__FINISH_LENGTH), "length");
  assert_string_equal(moh__finish_name(MOH__FINISH_CONTEXT), "context");
  assert_string_equal(moh__finish_name(MOH__FINISH_CANCELLED), "cancelled");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(greedy_is_argmax_of_the_full_pass),
      cmocka_unit_test(the_length_is_never_exceeded),
      cmocka_unit_test(the_end_token_ends),
      cmocka_unit_test(the_caller_may_end),
      cmocka_unit_test(sliding_keeps_the_first_and_the_last),
      cmocka_unit_test(sliding_goes_on_for_ever),
      cmocka_unit_test(long_prompts_slide_too),
      cmocka_unit_test(threads_and_caches_change_nothing),
      cmocka_unit_test(rewinding_keeps_the_common_front),
      cmocka_unit_test(text_ends_before_a_stop),
      cmocka_unit_test(the_end_token_is_no_text_and_echo_is),
      cmocka_unit_test(every_end_token_ends),
      cmocka_unit_test(finishes_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
