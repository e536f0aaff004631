/* Sampling and generation of moh.h. */
#include "infer/generate.h"

#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "api/sized.h"

_Static_assert((int)MOH_OVERFLOW_STOP == (int)MOH__OVERFLOW_STOP &&
                   (int)MOH_OVERFLOW_SLIDE == (int)MOH__OVERFLOW_SLIDE,
               "one order of rules");
_Static_assert((int)MOH_FINISH_END == (int)MOH__FINISH_END &&
                   (int)MOH_FINISH_STOP == (int)MOH__FINISH_STOP &&
                   (int)MOH_FINISH_LENGTH == (int)MOH__FINISH_LENGTH &&
                   (int)MOH_FINISH_CONTEXT == (int)MOH__FINISH_CONTEXT &&
                   (int)MOH_FINISH_CANCELLED == (int)MOH__FINISH_CANCELLED,
               "one order of reasons");

/* ---- sampling ---- */

static moh_sampling_options sampling_defaults(void) {
  moh__sampling s = moh__sampling_default();
  return (moh_sampling_options){.size = sizeof(moh_sampling_options),
                                .temperature = s.temperature,
                                .top_k = s.top_k,
                                .top_p = s.top_p,
                                .min_p = s.min_p,
                                .repeat_penalty = s.repeat_penalty,
                                .repeat_last = s.repeat_last,
                                .seed = s.seed};
}

void moh_sampling_options_default(moh_sampling_options *options,
                                  size_t size) {
  moh_sampling_options defaults = sampling_defaults();
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

static moh_status read_sampling(moh__sampling *s,
                                const moh_sampling_options *options,
                                moh_error *err) {
  moh_sampling_options o = sampling_defaults();
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_sampling_options", err));
  *s = (moh__sampling){.temperature = o.temperature,
                       .top_k = o.top_k,
                       .top_p = o.top_p,
                       .min_p = o.min_p,
                       .repeat_penalty = o.repeat_penalty,
                       .repeat_last = o.repeat_last,
                       .seed = o.seed};
  return moh__sampling_check(s, err);
}

struct moh_sampler {
  moh__sampler inner;
};

moh_status moh_sampler_new(moh_sampler **sampler, int32_t vocab_size,
                           const moh_sampling_options *options,
                           moh_error *err) {
  MOH__NEED(sampler, err);
  *sampler = NULL;
  if (vocab_size < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT, "a vocabulary has no %d tokens",
                     vocab_size);
  moh__sampling rules;
  MOH_TRY(read_sampling(&rules, options, err));
  moh_sampler *made = calloc(1, sizeof(*made));
  if (made == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a sampler");
  moh_status status =
      moh__sampler_init(&made->inner, &rules, vocab_size, err);
  if (status != MOH_OK) {
    moh_sampler_free(made);
    return status;
  }
  *sampler = made;
  return MOH_OK;
}

void moh_sampler_free(moh_sampler *sampler) {
  if (sampler == NULL) return;
  moh__sampler_free(&sampler->inner);
  free(sampler);
}

moh_status moh_sampler_choose(moh_sampler *sampler, const float *logits,
                              const int32_t *history, size_t n_history,
                              int32_t *token, moh_error *err) {
  MOH__NEED(sampler, err);
  MOH__NEED(logits, err);
  MOH__NEED(token, err);
  if (history == NULL) n_history = 0;
  for (size_t i = 0; i < n_history; i++)
    if (history[i] < 0 || history[i] >= sampler->inner.n)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "token %d is not in the vocabulary of %d", history[i],
                       sampler->inner.n);
  return moh__sampler_choose(&sampler->inner, logits, history, n_history,
                             token, err);
}

/* ---- beams ---- */

static moh_beam_options beam_defaults(void) {
  moh__beam_rules r = moh__beam_rules_default();
  return (moh_beam_options){.size = sizeof(moh_beam_options),
                            .width = 4,
                            .threshold = r.threshold,
                            .temperature = r.temperature,
                            .length_penalty = r.length_penalty,
                            .n_best = r.n_best};
}

void moh_beam_options_default(moh_beam_options *options, size_t size) {
  moh_beam_options defaults = beam_defaults();
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

static moh_status read_beam(moh__beam_rules *r,
                            const moh_beam_options *options, moh_error *err) {
  moh_beam_options o = beam_defaults();
  MOH_TRY(moh__options_read(&o, sizeof(o), options, "moh_beam_options", err));
  *r = (moh__beam_rules){.width = o.width,
                         .min_width = o.min_width,
                         .max_width = o.max_width,
                         .threshold = o.threshold,
                         .temperature = o.temperature,
                         .length_penalty = o.length_penalty,
                         .exact = o.exact,
                         .n_best = o.n_best};
  return moh__beam_rules_check(r, err);
}

/* ---- generation ---- */

static const moh_generate_options defaults = {.size = sizeof(defaults)};

void moh_generate_options_default(moh_generate_options *options,
                                  size_t size) {
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

const char *moh_finish_name(moh_finish finish) {
  bool known = finish >= MOH_FINISH_END && finish <= MOH_FINISH_CANCELLED;
  return known ? moh__finish_name((moh__finish)finish) : "unknown";
}

/* The generated text, and the caller's functions. */
typedef struct collector {
  const moh_generate_options *options;
  bool wanted; /* the text is to be kept */
  bool second; /* a text that is not the best one has begun */
  char *text;
  size_t n, capacity;
  moh_status status; /* of keeping it */
} collector;

static bool keep_text(collector *c, const char *text, size_t n) {
  if (c->capacity - c->n <= n) {
    size_t capacity = 2 * (c->n + n) + 64;
    char *more = realloc(c->text, capacity);
    if (more == NULL) {
      c->status = MOH_ERR_MEMORY;
      return false;
    }
    c->text = more;
    c->capacity = capacity;
  }
  memcpy(c->text + c->n, text, n);
  c->n += n;
  c->text[c->n] = '\0';
  return true;
}

static bool on_text(void *context, const char *text, size_t n) {
  collector *c = context;
  if (c->wanted && !c->second && !keep_text(c, text, n)) return false;
  return c->options->on_text == NULL ||
         c->options->on_text(c->options->context, text, n);
}

static bool on_token(void *context, int32_t token) {
  const collector *c = context;
  return c->options->on_token == NULL ||
         c->options->on_token(c->options->context, token);
}

static void on_drop(void *context, int64_t n_dropped) {
  const collector *c = context;
  if (c->options->on_drop != NULL)
    c->options->on_drop(c->options->context, n_dropped);
}

static bool on_step(void *context, int32_t n_beams) {
  const collector *c = context;
  return c->options->on_beams == NULL ||
         c->options->on_beams(c->options->context, n_beams);
}

static void on_hypothesis(void *context, const moh__hypothesis *h) {
  collector *c = context;
  moh_hypothesis about = {.rank = h->rank,
                          .n_generated = h->n_tokens,
                          .log_p = h->log_p,
                          .score = h->score,
                          .finish = (moh_finish)h->finish,
                          .stop = h->stop};
  c->second = h->rank > 0;
  if (c->options->on_hypothesis != NULL)
    c->options->on_hypothesis(c->options->context, &about);
}

/* How tokens are chosen. */
static moh_status read_choice(const moh_generate_options *o,
                              moh__generate_options *inner, moh_error *err) {
  if (o->beam == NULL)
    return read_sampling(&inner->sampling, o->sampling, err);
  if (o->sampling != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "beam and sampling exclude each other");
  return read_beam(&inner->beam, o->beam, err);
}

static moh_status inner_options(const moh_session *session, collector *c,
                                moh__generate_options *inner,
                                moh_error *err) {
  const moh_generate_options *o = c->options;
  const moh_tokenizer *tokenizer = session->model->tokenizer;
  if (o->n_stops < 0 || (o->n_stops > 0 && o->stops == NULL))
    return moh__fail(err, MOH_ERR_ARGUMENT, "there are no %d stops",
                     o->n_stops);
  for (int32_t i = 0; i < o->n_stops; i++) MOH__NEED(o->stops[i], err);
  if (o->overflow < MOH_OVERFLOW_STOP || o->overflow > MOH_OVERFLOW_SLIDE)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no overflow",
                     (int)o->overflow);
  *inner = moh__generate_options_default();
  MOH_TRY(read_choice(o, inner, err));
  inner->max_tokens = o->max_tokens;
  if (!o->ignore_end) inner->end_token = moh_tokenizer_end(tokenizer);
  inner->overflow = (moh__overflow)o->overflow;
  inner->keep = o->keep;
  inner->tokenizer = moh__model_tokenizer(session->model);
  inner->stops = o->stops;
  inner->n_stops = o->n_stops;
  inner->echo = o->echo;
  inner->on_token = on_token;
  inner->on_drop = on_drop;
  inner->on_step = on_step;
  if (o->on_hypothesis != NULL || inner->beam.n_best > 1)
    inner->on_hypothesis = on_hypothesis;
  if (c->wanted || o->on_text != NULL) inner->on_text = on_text;
  inner->context = c;
  return MOH_OK;
}

static moh_generate_result public_result(const moh__generate_result *r) {
  return (moh_generate_result){.finish = (moh_finish)r->finish,
                               .stop = r->stop,
                               .n_prompt = r->n_prompt,
                               .n_generated = r->n_generated,
                               .n_dropped = r->n_dropped,
                               .prompt_seconds = r->prompt_seconds,
                               .seconds = r->seconds,
                               .n_steps = r->n_steps,
                               .n_read = r->n_read,
                               .log_p = r->log_p,
                               .score = r->score};
}

static moh_status generate(moh_session *session, const int32_t *prompt,
                           int32_t n, collector *c,
                           moh_generate_result *result, size_t size,
                           moh_error *err) {
  moh__generate_options inner;
  moh__generate_result known;
  MOH_TRY(inner_options(session, c, &inner, err));
  MOH_TRY(moh__generate(session->inner, &inner, prompt, n, &known, err));
  if (c->status != MOH_OK)
    return moh__fail(err, c->status, "no memory for the text");
  if (result == NULL) return MOH_OK;
  moh_generate_result r = public_result(&known);
  moh__result_write(result, size, &r, sizeof(r));
  return MOH_OK;
}

moh_status moh_generate_tokens(moh_session *session, const int32_t *prompt,
                               int32_t n, const moh_generate_options *options,
                               moh_generate_result *result, size_t size,
                               moh_error *err) {
  MOH__NEED(session, err);
  MOH__NEED(prompt, err);
  moh_generate_options o = defaults;
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_generate_options", err));
  collector c = {.options = &o};
  return generate(session, prompt, n, &c, result, size, err);
}

/* With the tokens that begin a text in front, when the session is empty. */
static moh_status encode_prompt(const moh_session *session, moh_text prompt,
                                bool specials, moh__ids *ids,
                                moh_error *err) {
  int32_t *tokens;
  size_t n;
  const moh_tokenizer *tokenizer = session->model->tokenizer;
  MOH_TRY(moh_encode(tokenizer, prompt, specials, &tokens, &n, err));
  moh_status status = MOH_OK;
  if (moh_session_length(session) == 0)
    status = moh__tokenizer_begin(tokenizer->inner, ids, err);
  for (size_t i = 0; i < n && status == MOH_OK; i++)
    status = moh__ids_push(ids, tokens[i], err);
  moh_free(tokens);
  return status;
}

/* The prompt's tokens, generated behind. */
static moh_status generate_text(moh_session *session, moh_text prompt,
                                collector *c, moh_generate_result *result,
                                size_t size, moh_error *err) {
  moh__ids ids = {0};
  moh_status status =
      encode_prompt(session, prompt, c->options->specials, &ids, err);
  if (status == MOH_OK && ids.n > INT32_MAX)
    status = moh__fail(err, MOH_ERR_ARGUMENT, "the prompt is too long");
  if (status == MOH_OK)
    status = generate(session, ids.ids, (int32_t)ids.n, c, result, size, err);
  moh__ids_free(&ids);
  return status;
}

moh_status moh_generate(moh_session *session, moh_text prompt,
                        const moh_generate_options *options, char **text,
                        moh_generate_result *result, size_t size,
                        moh_error *err) {
  if (text != NULL) *text = NULL;
  MOH__NEED(session, err);
  if (session->model->tokenizer == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the model has no tokenizer; call moh_generate_tokens");
  moh_generate_options o = defaults;
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_generate_options", err));
  collector c = {.options = &o, .wanted = text != NULL};
  moh_status status = generate_text(session, prompt, &c, result, size, err);
  if (status == MOH_OK && text != NULL && !keep_text(&c, "", 0))
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for the text");
  if (status != MOH_OK) {
    free(c.text);
    return status;
  }
  if (text != NULL) *text = c.text;
  return MOH_OK;
}
