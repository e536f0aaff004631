/*
 * One answer. The form is that of the model's chat template. Models without
 * one have the form of the dialogues which ours learn from: "User:
 * <question> Assistant:" is continued up to the end token, and earlier turns
 * that the model is to see stand before it, each closed by one. What is typed
 * never becomes a special token.
 */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

/* ---- the prompt ---- */

static moh_status add_text(const moh__chat *c, const char *text,
                           moh__ids *ids, moh_error *err) {
  moh__text piece = {text, strlen(text)};
  return moh__tokenizer_encode(c->runner.tokenizer, piece, false, ids, err);
}

/* answer NULL: the one that is to come. */
static moh_status add_turn(const moh__chat *c, const char *question,
                           const char *answer, moh__ids *ids,
                           moh_error *err) {
  char *text = NULL;
  int n = answer == NULL
              ? asprintf(&text, "User: %s Assistant:", question)
              : asprintf(&text, "User: %s Assistant: %s", question, answer);
  if (n < 0) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = add_text(c, text, ids, err);
  free(text);
  int32_t end = moh__tokenizer_end(c->runner.tokenizer);
  if (status == MOH_OK && answer != NULL && end >= 0)
    status = moh__ids_push(ids, end, err);
  return status;
}

/* As the model's chat template has it. */
static moh_status add_templated(const moh__chat *c, size_t first,
                                const char *question, moh__ids *ids,
                                moh_error *err) {
  json_t *messages;
  MOH_TRY(moh__talk_messages(&c->talk, first, question, &messages, err));
  moh_status status =
      moh__generation_encode_chat(&c->runner, messages, ids, err);
  json_decref(messages);
  return status;
}

/* The question behind the turns from `first` on. */
static moh_status add_turns(const moh__chat *c, size_t first,
                            const char *question, moh__ids *ids,
                            moh_error *err) {
  if (moh__generation_has_chat(&c->runner))
    return add_templated(c, first, question, ids, err);
  ids->n = 0;
  MOH_TRY(moh__tokenizer_begin(c->runner.tokenizer, ids, err));
  if (c->talk.system != NULL) MOH_TRY(add_text(c, c->talk.system, ids, err));
  for (size_t i = first; i < c->talk.n; i++)
    MOH_TRY(add_turn(c, c->talk.turns[i].question, c->talk.turns[i].answer,
                     ids, err));
  return add_turn(c, question, NULL, ids, err);
}

/* Models with a chat template learned conversations, ours single
 * questions. */
static size_t turns_of(const moh__chat *c) {
  int64_t otherwise = moh__generation_has_chat(&c->runner) ? INT32_MAX : 0;
  size_t turns = (size_t)moh__int_or(c->values.turns, otherwise);
  return turns < c->talk.n ? turns : c->talk.n;
}

/* As many of the turns that --turns allows as leave a quarter of the
 * context to the answer. */
static moh_status make_prompt(const moh__chat *c, const char *question,
                              moh__ids *ids, moh_error *err) {
  size_t most = (size_t)moh__session_max_length(c->session);
  size_t turns = turns_of(c), wanted = turns;
  MOH_TRY(add_turns(c, c->talk.n - turns, question, ids, err));
  while (turns > 0 && ids->n > most - most / 4) {
    turns--;
    MOH_TRY(add_turns(c, c->talk.n - turns, question, ids, err));
  }
  if (turns < wanted)
    fprintf(stderr,
            "(the model is full: it sees %zu of the last %zu turns)\n", turns,
            wanted);
  return MOH_OK;
}

/* ---- the answer ---- */

static bool on_token(void *context, int32_t token) {
  (void)context, (void)token;
  return !moh__interrupted();
}

static bool on_step(void *context, int32_t n_beams) {
  (void)context, (void)n_beams;
  return !moh__interrupted();
}

/* Blanks before the first word are not shown. */
static bool on_text(void *context, const char *bytes, size_t n) {
  moh__chat *c = context;
  while (!c->begun && n > 0 && strchr(" \t\r\n", *bytes) != NULL) {
    bytes++;
    n--;
  }
  if (n == 0) return true;
  c->begun = true;
  fwrite(bytes, 1, n, c->answer);
  return moh__write_now(stdout, bytes, n);
}

static void on_drop(void *context, int64_t n_dropped) {
  moh__chat *c = context;
  if (!c->told) moh__generation_tell_dropped(n_dropped);
  c->told = true;
}

/* Every answer has random numbers of its own. */
static moh__generate_options options_of(moh__chat *c) {
  static const char *const next_question[] = {"User:"};
  moh__generate_options options =
      moh__generation_make(&c->values.generation, &c->runner);
  if (options.n_stops == 0 && !moh__generation_has_chat(&c->runner)) {
    options.stops = next_question;
    options.n_stops = 1;
  }
  options.sampling.seed += c->n_answers;
  if (options.beam.width > 0)
    options.on_step = on_step;
  else
    options.on_token = on_token;
  options.on_text = on_text;
  options.on_drop = on_drop;
  options.context = c;
  return options;
}

void moh__chat_fix_seed(moh__chat *c) {
  moh__generation_values *g = &c->values.generation;
  moh__sampling sampling = moh__generation_make(g, &c->runner).sampling;
  moh__generation_tell_seed(g, &sampling);
  if (sampling.temperature > 0) g->seed = (int64_t)sampling.seed;
}

static void count(moh__chat *c) {
  const moh__generate_result *r = &c->last;
  c->n_answers++;
  c->n_prompt += r->n_prompt;
  c->n_generated += r->n_generated;
  c->prompt_seconds += r->prompt_seconds;
  c->seconds += r->seconds;
}

/* Into c->answer, too. What the session has in common with the prompt is
 * not read again. */
static moh_status generate(moh__chat *c, const moh__ids *ids,
                           moh_error *err) {
  moh__generate_options options = options_of(c);
  int32_t n = (int32_t)ids->n;
  int32_t held = moh__session_rewind(c->session, ids->ids, n);
  c->begun = c->told = false;
  moh_status status = moh__generate(c->session, &options, ids->ids + held,
                                    n - held, &c->last, err);
  putchar('\n');
  fflush(stdout);
  if (status != MOH_OK) return status;
  count(c);
  moh__generation_tell_finish(&c->last, c->session);
  return MOH_OK;
}

static moh_status answer_prompt(moh__chat *c, const char *question,
                                const moh__ids *ids, moh_error *err) {
  char *text = NULL;
  size_t n;
  c->answer = open_memstream(&text, &n);
  if (c->answer == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = generate(c, ids, err);
  if (fclose(c->answer) != 0 && status == MOH_OK)
    status = moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  if (status == MOH_OK) status = moh__talk_add(&c->talk, question, text, err);
  free(text);
  return status;
}

/* Whether there is room for an answer, or the beginning may go. */
static bool fits(const moh__chat *c, const moh__ids *ids) {
  int32_t most = moh__session_max_length(c->session);
  bool slides = moh__choice_or(c->values.generation.overflow, 0) != 0;
  if (ids->n < (size_t)most || (slides && ids->n <= INT32_MAX)) return true;
  fprintf(stderr, "(too long: %zu tokens, the model holds %d)\n", ids->n,
          most);
  return false;
}

moh_status moh__chat_answer(moh__chat *c, const char *question,
                            moh_error *err) {
  moh__ids ids = {NULL, 0, 0};
  moh_status status = make_prompt(c, question, &ids, err);
  if (status == MOH_OK && fits(c, &ids)) {
    moh__generation_tell_unknown(&c->runner, &ids);
    if (c->values.show_prompt) moh__generation_show_prompt(&c->runner, &ids);
    status = answer_prompt(c, question, &ids, err);
  }
  moh__ids_free(&ids);
  return status;
}
