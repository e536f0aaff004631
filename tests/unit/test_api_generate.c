/*
 * Sampling and generation through moh.h: the tokens of the inner path, text
 * in pieces and whole, every way to end, a full session, and wrong arguments.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "infer/generate.h"
#include "support/api.h"

enum { VOCAB = 6, LENGTH = 40 };

static const char letters[] = "abcdefgh \xc3\xa4";

/* Characters a to h, blank and one of two bytes; random weights that make a
 * sharp distribution. */
static moh_model *small_model(void) {
  moh_error err;
  const moh_text text = {letters, sizeof(letters) - 1};
  moh_tokenizer *tokenizer = trained_tokenizer(MOH_TOKENIZER_CHARS, &text, 1);
  moh_model *model;
  moh_model_options o;
  moh_model_options_default(&o, sizeof(o));
  o.preset = "nano";
  o.config =
      "{\"hidden_size\": 16, \"intermediate_size\": 20, "
      "\"head_dim\": 8, \"num_hidden_layers\": 1, "
      "\"initializer_range\": 0.6}";
  o.max_length = LENGTH;
  must(moh_model_new(&model, tokenizer, &o, &err), &err);
  moh_tokenizer_free(tokenizer);
  return model;
}

static moh_text text_of(const char *bytes) {
  return (moh_text){bytes, strlen(bytes)};
}

/* ---- sampling ---- */

static void samplers_follow_their_rules(void **state) {
  (void)state;
  moh_error err;
  const float logits[VOCAB] = {0, 3, 2.5F, -1, 3, 1};
  const int32_t history[] = {1};
  moh_sampling_options o;
  moh_sampling_options_default(&o, sizeof(o));
  moh_sampler *sampler;
  int32_t token;
  must(moh_sampler_new(&sampler, VOCAB, NULL, &err), &err);
  must(moh_sampler_choose(sampler, logits, NULL, 0, &token, &err), &err);
  assert_int_equal(token, 1); /* the lower id of two */
  moh_sampler_free(sampler);
  o.repeat_penalty = 1.1;
  must(moh_sampler_new(&sampler, VOCAB, &o, &err), &err);
  must(moh_sampler_choose(sampler, logits, history, 1, &token, &err), &err);
  assert_int_equal(token, 4);
  moh_sampler_free(sampler);

  moh__sampler inner;
  moh__sampling rules = moh__sampling_default();
  rules.temperature = o.temperature = 1.5;
  rules.top_k = o.top_k = 4;
  rules.min_p = o.min_p = 0.01;
  rules.top_p = o.top_p = 0.95;
  rules.seed = o.seed = 9;
  rules.repeat_penalty = o.repeat_penalty;
  rules.repeat_last = o.repeat_last = 1;
  must(moh_sampler_new(&sampler, VOCAB, &o, &err), &err);
  must(moh__sampler_init(&inner, &rules, VOCAB, &err), &err);
  int32_t seen = 0;
  for (int i = 0; i < 200; i++) {
    int32_t expected;
    must(moh_sampler_choose(sampler, logits, history, 1, &token, &err), &err);
    must(moh__sampler_choose(&inner, logits, history, 1, &expected, &err),
         &err);
    assert_int_equal(token, expected);
    seen |= 1 << token;
  }
  assert_int_equal(seen, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5);
  moh__sampler_free(&inner);
  moh_sampler_free(sampler);
}

static void wrong_sampling_is_refused(void **state) {
  (void)state;
  moh_error err;
  moh_sampling_options o;
  moh_sampling_options_default(&o, sizeof(o));
  moh_sampler *sampler = (moh_sampler *)&err;
  o.top_p = 1.5;
  refused(moh_sampler_new(&sampler, VOCAB, &o, &err), &err, "top_p");
  assert_null(sampler);
  refused(moh_sampler_new(&sampler, 0, NULL, &err), &err, "no 0 tokens");
  must(moh_sampler_new(&sampler, VOCAB, NULL, &err), &err);
  float logits[VOCAB] = {0};
  const int32_t foreign[] = {1, VOCAB};
  int32_t token;
  refused(moh_sampler_choose(sampler, NULL, NULL, 0, &token, &err), &err,
          "logits");
  refused(moh_sampler_choose(sampler, logits, foreign, 2, &token, &err), &err,
          "token 6");
  logits[3] = NAN;
  assert_int_equal(moh_sampler_choose(sampler, logits, NULL, 0, &token, &err),
                   MOH_ERR_DIVERGED);
  moh_sampler_free(sampler);
  moh_sampler_free(NULL);
}

/* ---- generation ---- */

/* What the functions of an answer were given. */
typedef struct answer {
  char text[1024];
  size_t n_bytes;
  int32_t tokens[256];
  int32_t n_tokens;
  int64_t n_dropped;
  int32_t most_tokens, most_texts; /* then they say false; 0: never */
  int32_t n_texts;
} answer;

static bool take_text(void *context, const char *text, size_t n) {
  answer *a = context;
  assert_true(a->n_bytes + n < sizeof(a->text));
  assert_true(n > 0 && (text[0] & 0xC0) != 0x80); /* whole characters */
  memcpy(a->text + a->n_bytes, text, n);
  a->n_bytes += n;
  return ++a->n_texts != a->most_texts;
}

static bool take_token(void *context, int32_t token) {
  answer *a = context;
  assert_true(a->n_tokens < 256);
  a->tokens[a->n_tokens++] = token;
  return a->n_tokens != a->most_tokens;
}

static void take_dropped(void *context, int64_t n) {
  ((answer *)context)->n_dropped += n;
}

static moh_generate_options options_for(answer *a,
                                        const moh_sampling_options *s) {
  moh_generate_options o;
  moh_generate_options_default(&o, sizeof(o));
  o.sampling = s;
  o.on_text = take_text;
  o.on_token = take_token;
  o.on_drop = take_dropped;
  o.context = a;
  return o;
}

static moh_sampling_options sharp(uint64_t seed) {
  moh_sampling_options s;
  moh_sampling_options_default(&s, sizeof(s));
  s.temperature = 0.8;
  s.seed = seed;
  return s;
}

/* Tokens of the inner path, text in pieces, and the same text whole. */
static void text_and_tokens_agree(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = small_model();
  moh_session *session = open_session(model, 2);
  moh_sampling_options s = sharp(4);
  static answer ours, theirs;
  moh_generate_options o = options_for(&ours, &s);
  char *text;
  moh_generate_result result;
  must(moh_generate(session, text_of("abc"), &o, &text, &result,
                    sizeof(result), &err),
       &err);
  assert_int_equal(result.finish, MOH_FINISH_CONTEXT);
  assert_int_equal(result.n_prompt, 3);
  assert_int_equal(result.n_generated, LENGTH - 3);
  assert_true(result.stop == -1 && result.n_dropped == 0);
  assert_int_equal(ours.n_tokens, LENGTH - 3);
  assert_int_equal(strlen(text), ours.n_bytes);
  assert_memory_equal(text, ours.text, ours.n_bytes);
  char *decoded;
  must(moh_decode(moh_model_tokenizer(model), ours.tokens,
                  (size_t)ours.n_tokens, false, &decoded, NULL, &err),
       &err);
  assert_string_equal(decoded, text);
  assert_int_equal(moh_session_length(session), LENGTH - 1);
  assert_memory_equal(moh_session_tokens(session) + 3, ours.tokens,
                      sizeof(int32_t) * (LENGTH - 4));

  int32_t *prompt;
  size_t n;
  must(moh_encode(moh_model_tokenizer(model), text_of("abc"), false, &prompt,
                  &n, &err),
       &err);
  must(moh_session_truncate(session, 0, &err), &err);
  moh__generate_options inner = moh__generate_options_default();
  moh__generate_result inner_result;
  inner.sampling.temperature = s.temperature;
  inner.sampling.seed = s.seed;
  inner.on_token = take_token;
  inner.context = &theirs;
  must(moh__generate(session->inner, &inner, prompt, 3, &inner_result, &err),
       &err);
  assert_int_equal(theirs.n_tokens, ours.n_tokens);
  assert_memory_equal(theirs.tokens, ours.tokens, sizeof(ours.tokens));
  moh_free(prompt);
  moh_free(decoded);
  moh_free(text);
  moh_session_free(session);
  moh_model_free(model);
}

/* A generation on a new session. */
static moh_generate_result answer_to(const moh_model *model,
                                     const char *prompt,
                                     const moh_generate_options *o) {
  moh_error err;
  moh_generate_result result;
  moh_session *session = open_session(model, 1);
  must(moh_generate(session, text_of(prompt), o, NULL, &result,
                    sizeof(result), &err),
       &err);
  moh_session_free(session);
  return result;
}

static void every_end_is_told(void **state) {
  (void)state;
  moh_model *model = small_model();
  moh_sampling_options s = sharp(4);
  answer whole = {.n_bytes = 0};
  moh_generate_options o = options_for(&whole, &s);
  answer_to(model, "abc", &o);

  answer a = {.n_bytes = 0};
  o = options_for(&a, &s);
  o.max_tokens = 5;
  moh_generate_result r = answer_to(model, "abc", &o);
  assert_true(r.finish == MOH_FINISH_LENGTH && r.n_generated == 5);
  assert_memory_equal(a.tokens, whole.tokens, 5 * sizeof(int32_t));

  a = (answer){.most_tokens = 4};
  o = options_for(&a, &s);
  r = answer_to(model, "abc", &o);
  assert_true(r.finish == MOH_FINISH_CANCELLED && r.n_generated == 4);
  a = (answer){.most_texts = 3};
  r = answer_to(model, "abc", &o);
  assert_true(r.finish == MOH_FINISH_CANCELLED && a.n_texts == 3);

  /* A stop text: the 8th to 10th byte of the answer that it else gives. */
  char stop[4] = {0};
  memcpy(stop, whole.text + 7, 3);
  const char *const stops[] = {"not in there", stop};
  a = (answer){.n_bytes = 0};
  o.stops = stops;
  o.n_stops = 2;
  r = answer_to(model, "abc", &o);
  assert_true(r.finish == MOH_FINISH_STOP && r.stop == 1);
  const char *place = strstr(whole.text, stop);
  assert_int_equal(a.n_bytes, place - whole.text);
  assert_memory_equal(a.text, whole.text, a.n_bytes);

  a = (answer){.n_bytes = 0};
  o = options_for(&a, &s);
  o.echo = true;
  answer_to(model, "abc", &o);
  assert_memory_equal(a.text, "abc", 3);
  assert_memory_equal(a.text + 3, whole.text, whole.n_bytes);

  moh_model_free(model);
}

static void a_full_session_slides(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = small_model();
  moh_sampling_options s = sharp(4);
  answer a = {.n_bytes = 0};
  moh_generate_options o = options_for(&a, &s);
  o.overflow = MOH_OVERFLOW_SLIDE;
  o.keep = 3;
  o.max_tokens = 100;
  moh_session *session = open_session(model, 1);
  moh_generate_result r;
  must(moh_generate(session, text_of("gcb"), &o, NULL, &r, sizeof(r), &err),
       &err);
  assert_true(r.finish == MOH_FINISH_LENGTH && r.n_generated == 100);
  assert_true(r.n_dropped > 0 && r.n_dropped == a.n_dropped);
  assert_int_equal(moh_session_length(session), 3 + 99 - a.n_dropped);
  const int32_t *tokens = moh_session_tokens(session);
  const moh_tokenizer *tokenizer = moh_model_tokenizer(model);
  assert_int_equal(tokens[0], moh_token_id(tokenizer, "g"));
  assert_int_equal(tokens[1], moh_token_id(tokenizer, "c"));
  assert_int_equal(tokens[2], moh_token_id(tokenizer, "b"));
  moh_session_free(session);
  moh_model_free(model);
}

/* An end token ends the text, unless that is to be ignored. */
static void the_end_token_ends(void **state) {
  (void)state;
  moh_error err;
  const moh_text text = {"a b </s>", 8};
  moh_tokenizer *tokenizer = trained_tokenizer(MOH_TOKENIZER_WORDS, &text, 1);
  moh_model *model;
  moh_model_options m;
  moh_model_options_default(&m, sizeof(m));
  must(moh_model_new(&model, tokenizer, &m, &err), &err);
  moh_sampling_options s = sharp(1);
  for (int ignore = 0; ignore < 2; ignore++) {
    answer a = {.n_bytes = 0};
    moh_generate_options o = options_for(&a, &s);
    o.ignore_end = ignore;
    o.max_tokens = 60;
    moh_generate_result r = answer_to(model, "a b", &o);
    assert_int_equal(r.finish, ignore ? MOH_FINISH_LENGTH : MOH_FINISH_END);
    bool ended = a.tokens[a.n_tokens - 1] == moh_tokenizer_end(tokenizer);
    assert_true(ignore || ended);
    assert_true(!ignore || r.n_generated == 60);
  }
  /* Written out in a prompt it is text, or that token. */
  answer a = {.n_bytes = 0};
  moh_generate_options o = options_for(&a, &s);
  o.max_tokens = 1;
  assert_true(answer_to(model, "a</s>", &o).n_prompt > 2);
  o.specials = true;
  assert_int_equal(answer_to(model, "a</s>", &o).n_prompt, 2);
  moh_tokenizer_free(tokenizer);
  moh_model_free(model);
}

static void a_session_is_rewound(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = small_model();
  moh_session *session = open_session(model, 1);
  const int32_t first[] = {1, 2, 3, 4};
  const int32_t second[] = {1, 2, 5};
  const float *logits;
  float fresh[16];
  int32_t held;
  must(moh_session_feed(session, second, 3, &logits, &err), &err);
  memcpy(fresh, logits, 10 * sizeof(float));
  must(moh_session_truncate(session, 0, &err), &err);
  must(moh_session_feed(session, first, 4, &logits, &err), &err);
  must(moh_session_rewind(session, second, 3, &held, &err), &err);
  assert_true(held == 2 && moh_session_length(session) == 2);
  must(moh_session_feed(session, second + 2, 1, &logits, &err), &err);
  for (int i = 0; i < 10; i++)
    assert_true(fabsf(logits[i] - fresh[i]) < 1e-4F);
  must(moh_session_rewind(session, second, 3, &held, &err), &err);
  assert_int_equal(held, 2); /* the last one's logits are wanted */
  refused(moh_session_rewind(session, second, 0, &held, &err), &err, "0");
  refused(moh_session_rewind(NULL, second, 1, &held, &err), &err, "session");
  assert_null(moh_session_tokens(NULL));
  moh_session_free(session);
  moh_model_free(model);
}

/* ---- beams ---- */

/* What a search tells of its texts. */
typedef struct found {
  moh_hypothesis about[8];
  int32_t tokens[256], n_tokens[8];
  int n, n_steps, most_steps;
  char text[8][256];
} found;

static bool find_step(void *context, int32_t n_beams) {
  found *f = context;
  assert_in_range(n_beams, 1, 4);
  return ++f->n_steps != f->most_steps;
}

static void find_hypothesis(void *context, const moh_hypothesis *h) {
  found *f = context;
  assert_int_equal(h->rank, f->n);
  f->about[f->n++] = *h;
}

static bool find_token(void *context, int32_t token) {
  found *f = context;
  int32_t *n = &f->n_tokens[f->n - 1];
  if (f->n == 1) f->tokens[*n] = token;
  return ++*n > 0;
}

static bool find_text(void *context, const char *text, size_t n) {
  found *f = context;
  strncat(f->text[f->n - 1], text, n);
  return true;
}

static moh_generate_options beam_options(found *f,
                                         const moh_beam_options *b) {
  moh_generate_options o;
  moh_generate_options_default(&o, sizeof(o));
  memset(f, 0, sizeof(*f));
  o.beam = b;
  o.on_beams = find_step;
  o.on_hypothesis = find_hypothesis;
  o.on_token = find_token;
  o.on_text = find_text;
  o.context = f;
  return o;
}

/* Texts come with the tokens of the inner path, and the best is returned. */
static void beams_find_what_the_inner_search_finds(void **state) {
  (void)state;
  moh_error err;
  static found f;
  static answer theirs;
  moh_model *model = small_model();
  moh_session *session = open_session(model, 2);
  moh_beam_options b;
  moh_beam_options_default(&b, sizeof(b));
  b.n_best = 3;
  b.min_width = 3;
  b.max_width = 4;
  moh_generate_options o = beam_options(&f, &b);
  o.max_tokens = 12;
  char *text;
  moh_generate_result r;
  must(moh_generate(session, text_of("abc"), &o, &text, &r, sizeof(r), &err),
       &err);
  assert_int_equal(f.n, 3);
  assert_string_equal(text, f.text[0]);
  assert_true(r.finish == f.about[0].finish && r.score == f.about[0].score);
  assert_true(r.log_p == f.about[0].log_p && r.n_read > 11);
  assert_true(r.n_steps == 12 && f.n_steps == 12);
  assert_true(f.about[1].score <= f.about[0].score);
  for (int i = 0; i < 3; i++)
    assert_int_equal(f.n_tokens[i], f.about[i].n_generated);

  int32_t prompt[3];
  memcpy(prompt, moh_session_tokens(session), sizeof(prompt));
  must(moh_session_truncate(session, 0, &err), &err);
  moh__generate_options inner = moh__generate_options_default();
  moh__generate_result inner_result;
  inner.beam.width = 4;
  inner.beam.min_width = 3;
  inner.beam.max_width = 4;
  inner.max_tokens = 12;
  inner.end_token = moh_tokenizer_end(moh_model_tokenizer(model));
  inner.on_token = take_token;
  inner.context = &theirs;
  must(moh__generate(session->inner, &inner, prompt, 3, &inner_result, &err),
       &err);
  assert_int_equal(theirs.n_tokens, f.n_tokens[0]);
  assert_memory_equal(theirs.tokens, f.tokens,
                      (size_t)theirs.n_tokens * sizeof(int32_t));
  moh_free(text);
  moh_session_free(session);
  moh_model_free(model);
}

static void a_search_may_be_ended(void **state) {
  (void)state;
  static found f;
  moh_model *model = small_model();
  moh_beam_options b;
  moh_beam_options_default(&b, sizeof(b));
  moh_generate_options o = beam_options(&f, &b);
  f.most_steps = 5;
  moh_generate_result r = answer_to(model, "abc", &o);
  assert_true(r.finish == MOH_FINISH_CANCELLED && r.n_generated == 5);
  assert_int_equal(f.n_tokens[0], 5);
  moh_model_free(model);
}

static void wrong_beams_are_refused(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = small_model();
  moh_session *session = open_session(model, 1);
  moh_sampling_options s = sharp(1);
  moh_beam_options b;
  moh_beam_options_default(&b, sizeof(b));
  moh_generate_options o;
  moh_generate_options_default(&o, sizeof(o));
  o.beam = &b;
  o.sampling = &s;
  refused(moh_generate(session, text_of("a"), &o, NULL, NULL, 0, &err), &err,
          "beam and sampling exclude each other");
  o.sampling = NULL;
  o.overflow = MOH_OVERFLOW_SLIDE;
  refused(moh_generate(session, text_of("a"), &o, NULL, NULL, 0, &err), &err,
          "beam and overflow exclude each other");
  o.overflow = MOH_OVERFLOW_STOP;
  b.width = 1025;
  refused(moh_generate(session, text_of("a"), &o, NULL, NULL, 0, &err), &err,
          "1 to 1024");
  b.size = 0;
  refused(moh_generate(session, text_of("a"), &o, NULL, NULL, 0, &err), &err,
          "moh_beam_options_default");
  moh_memory plain, beams;
  must(moh_model_memory(model, 0, &plain, &err), &err);
  must(moh_model_memory_beams(model, 0, 8, &beams, &err), &err);
  /* One page of the session, and one of each beam and of what is kept. */
  assert_int_equal(beams.cache, 10 * plain.cache);
  refused(moh_model_memory_beams(model, 0, 0, &beams, &err), &err, "beams");
  moh_session_free(session);
  moh_model_free(model);
}

static void wrong_generations_are_refused(void **state) {
  (void)state;
  moh_error err;
  moh_model *model = small_model();
  moh_session *session = open_session(model, 1);
  moh_generate_options o;
  moh_generate_options_default(&o, sizeof(o));
  char *text = (char *)&err;
  refused(moh_generate(session, text_of(""), &o, &text, NULL, 0, &err), &err,
          "empty");
  assert_null(text);
  refused(moh_generate(session,
                       text_of("abcabcabcabcabcabcabcabcabcabcabcabcabca"),
                       &o, &text, NULL, 0, &err),
          &err, "40 tokens");
  assert_int_equal(moh_session_length(session), 0);
  o.max_tokens = -1;
  refused(moh_generate(session, text_of("a"), &o, &text, NULL, 0, &err), &err,
          "max_tokens");
  o.max_tokens = 0;
  o.n_stops = 1;
  refused(moh_generate(session, text_of("a"), &o, &text, NULL, 0, &err), &err,
          "stops");
  const char *const stops[] = {NULL};
  o.stops = stops;
  refused(moh_generate(session, text_of("a"), &o, &text, NULL, 0, &err), &err,
          "stops[i]");
  o.n_stops = 0;
  o.overflow = (moh_overflow)5;
  refused(moh_generate(session, text_of("a"), &o, &text, NULL, 0, &err), &err,
          "overflow");
  moh_sampling_options s = sharp(1);
  s.temperature = -1;
  moh_generate_options_default(&o, sizeof(o));
  o.sampling = &s;
  refused(moh_generate(session, text_of("a"), &o, &text, NULL, 0, &err), &err,
          "temperature");
  refused(moh_generate_tokens(session, NULL, 1, NULL, NULL, 0, &err), &err,
          "prompt");
  refused(moh_generate(NULL, text_of("a"), NULL, NULL, NULL, 0, &err), &err,
          "session");
  assert_string_equal(moh_finish_name(MOH_FINISH_STOP), "stop");
  assert_string_equal(moh_finish_name((moh_finish)9), "unknown");
  moh_session_free(session);
  moh_model_free(model);
}

static void ids_need_no_tokenizer(void **state) {
  (void)state;
  moh_error err;
  moh_model *model;
  moh_model_options m;
  moh_model_options_default(&m, sizeof(m));
  m.config = "{\"vocab_size\": 20}";
  must(moh_model_new(&model, NULL, &m, &err), &err);
  moh_session *session = open_session(model, 1);
  answer a = {.n_bytes = 0};
  moh_generate_options o = options_for(&a, NULL);
  o.max_tokens = 7;
  const int32_t prompt[] = {3, 4};
  refused(moh_generate_tokens(session, prompt, 2, &o, NULL, 0, &err), &err,
          "tokenizer"); /* for on_text */
  refused(moh_generate(session, text_of("a"), &o, NULL, NULL, 0, &err), &err,
          "no tokenizer");
  o.on_text = NULL;
  must(moh_generate_tokens(session, prompt, 2, &o, NULL, 0, &err), &err);
  assert_int_equal(a.n_tokens, 7);
  moh_session_free(session);
  moh_model_free(model);
}

/* ---- threads ---- */

typedef struct writer {
  const moh_model *model;
  uint64_t seed;
  int32_t n_threads;
  answer answer;
} writer;

static void *write_text(void *context) {
  writer *w = context;
  moh_error err;
  moh_session *session = open_session(w->model, w->n_threads);
  moh_sampling_options s = sharp(w->seed);
  moh_generate_options o = options_for(&w->answer, &s);
  must(moh_generate(session, text_of("ab"), &o, NULL, NULL, 0, &err), &err);
  moh_session_free(session);
  return NULL;
}

static void two_answers_at_once(void **state) {
  (void)state;
  moh_model *model = small_model();
  static writer alone[2], together[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    alone[i] = (writer){.model = model, .seed = 5 + i, .n_threads = 1};
    together[i] = alone[i];
    together[i].n_threads = 2;
    write_text(&alone[i]);
  }
  for (int i = 0; i < 2; i++)
    assert_int_equal(
        pthread_create(&threads[i], NULL, write_text, &together[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(together[i].answer.n_bytes, alone[i].answer.n_bytes);
    assert_string_equal(together[i].answer.text, alone[i].answer.text);
  }
  assert_string_not_equal(alone[0].answer.text, alone[1].answer.text);
  moh_model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samplers_follow_their_rules),
      cmocka_unit_test(wrong_sampling_is_refused),
      cmocka_unit_test(text_and_tokens_agree),
      cmocka_unit_test(every_end_is_told),
      cmocka_unit_test(a_full_session_slides),
      cmocka_unit_test(the_end_token_ends),
      cmocka_unit_test(a_session_is_rewound),
      cmocka_unit_test(beams_find_what_the_inner_search_finds),
      cmocka_unit_test(a_search_may_be_ended),
      cmocka_unit_test(wrong_beams_are_refused),
      cmocka_unit_test(wrong_generations_are_refused),
      cmocka_unit_test(ids_need_no_tokenizer),
      cmocka_unit_test(two_answers_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
