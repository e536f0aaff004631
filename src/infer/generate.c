/* The generation loop: reading the prompt, choosing tokens, passing on
 * text, and what to do when the session is full. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "infer/generate_internal.h"

moh__generate_options moh__generate_options_default(void) {
  moh__generate_options options = {.sampling = moh__sampling_default(),
                                   .end_token = -1,
                                   .beam = moh__beam_rules_default()};
  return options;
}

const char *moh__finish_name(moh__finish finish) {
  static const char *const names[] = {"end", "stop", "length", "context",
                                      "cancelled"};
  return names[finish];
}

/* The loop's own state. */
typedef struct run {
  moh__session *session;
  const moh__generate_options *options;
  moh__sampler sampler;
  moh__stream stream; /* when there is a tokenizer */
  const real *logits; /* of the newest token */
  moh__generate_result *result;
} run;

static moh_status check_options(const moh__session *session,
                                const moh__generate_options *o,
                                moh_error *err) {
  int32_t most = moh__session_max_length(session);
  if (o->tokenizer == NULL && (o->n_stops > 0 || o->on_text != NULL))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "stop strings and text need a tokenizer");
  if (o->max_tokens < 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "max_tokens is %d, it must be 0 (no limit) or more",
                     o->max_tokens);
  if (o->overflow == MOH__OVERFLOW_SLIDE &&
      (o->keep < 0 || o->keep > most - 2))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d tokens cannot be kept of a context of %d", o->keep,
                     most);
  if (o->beam.width == 0) return moh__sampling_check(&o->sampling, err);
  if (o->overflow == MOH__OVERFLOW_SLIDE)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a beam search cannot slide: beam and overflow exclude "
                     "each other");
  return moh__beam_rules_check(&o->beam, err);
}

/* ---- the session is full ---- */

/* Of `all` tokens, [n], the first `keep` and the younger part of the others
 * become what the session holds. Its tokens are the front of `all`. */
static moh_status slide(run *r, const int32_t *all, int32_t n,
                        moh_error *err) {
  int32_t keep = r->options->keep;
  int32_t tail = (moh__session_max_length(r->session) - keep) / 2;
  int32_t held = moh__session_length(r->session);
  if (held > keep) held = keep;
  moh__session_truncate(r->session, held);
  if (held < keep)
    MOH_TRY(moh__session_feed(r->session, all + held, keep - held, &r->logits,
                              err));
  r->result->n_dropped += n - keep - tail;
  if (r->options->on_drop != NULL)
    r->options->on_drop(r->options->context, n - keep - tail);
  return moh__session_feed(r->session, all + n - tail, tail, &r->logits, err);
}

/* `all`: what the session holds, then n more tokens; to be freed. */
static moh_status slide_behind(run *r, const int32_t *more, int32_t n,
                               moh_error *err) {
  int32_t held = moh__session_length(r->session);
  size_t total = (size_t)held + (size_t)n;
  int32_t *all = malloc(total * sizeof(*all));
  if (all == NULL || total > INT32_MAX) {
    free(all);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu tokens", total);
  }
  memcpy(all, moh__session_tokens(r->session), (size_t)held * sizeof(*all));
  if (n > 0) memcpy(all + held, more, (size_t)n * sizeof(*all));
  moh_status status = slide(r, all, (int32_t)total, err);
  free(all);
  return status;
}

/* ---- the prompt ---- */

moh_status moh__generate_read(moh__session *session, const int32_t *prompt,
                              int32_t n, const char *advice,
                              const real **logits, moh_error *err) {
  int32_t most = moh__session_max_length(session);
  int32_t held = moh__session_length(session);
  if (n < 1) return moh__fail(err, MOH_ERR_ARGUMENT, "the prompt is empty");
  if (n < most - held)
    return moh__session_feed(session, prompt, n, logits, err);
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the prompt has %lld tokens, the model holds %d with "
                   "the answer; %s",
                   (long long)held + n, most, advice);
}

static moh_status feed_prompt(run *r, const int32_t *prompt, int32_t n,
                              moh_error *err) {
  int32_t most = moh__session_max_length(r->session);
  int32_t held = moh__session_length(r->session);
  if (n >= most - held && r->options->overflow == MOH__OVERFLOW_SLIDE)
    return slide_behind(r, prompt, n, err);
  return moh__generate_read(r->session, prompt, n,
                            "shorten it, or let its beginning go "
                            "(overflow: slide)",
                            &r->logits, err);
}

static moh_status start(run *r, const int32_t *prompt, int32_t n,
                        moh_error *err) {
  const moh__generate_options *o = r->options;
  double begin = moh__now();
  MOH_TRY(feed_prompt(r, prompt, n, err));
  r->result->prompt_seconds = moh__now() - begin;
  for (int32_t i = 0; i < n && o->echo && o->tokenizer != NULL; i++)
    MOH_TRY(moh__stream_echo(&r->stream, prompt[i], err));
  return MOH_OK;
}

/* ---- tokens ---- */

/* Passes a token on; true when it was the last one. */
static moh_status deliver(run *r, int32_t token, bool *done, moh_error *err) {
  const moh__generate_options *o = r->options;
  moh__generate_result *result = r->result;
  bool end = moh__ends_text(o, token);
  bool go_on = o->on_token == NULL || o->on_token(o->context, token);
  result->n_generated++;
  if (o->tokenizer != NULL && !end) {
    MOH_TRY(moh__stream_add(&r->stream, token, err));
    result->stop = r->stream.stop;
    go_on = go_on && !r->stream.refused;
  }
  *done = true;
  if (end)
    result->finish = MOH__FINISH_END;
  else if (result->stop >= 0)
    result->finish = MOH__FINISH_STOP;
  else if (!go_on)
    result->finish = MOH__FINISH_CANCELLED;
  else if (o->max_tokens > 0 && result->n_generated >= o->max_tokens)
    result->finish = MOH__FINISH_LENGTH;
  else
    *done = false;
  return MOH_OK;
}

/* Makes the newest token part of the context, unless there is no room for
 * another one behind it. */
static moh_status take_in(run *r, int32_t token, bool *done, moh_error *err) {
  int32_t length = moh__session_length(r->session);
  int32_t most = moh__session_max_length(r->session);
  if (length + 1 < most)
    return moh__session_feed(r->session, &token, 1, &r->logits, err);
  if (r->options->overflow == MOH__OVERFLOW_SLIDE)
    return slide_behind(r, &token, 1, err);
  r->result->finish = MOH__FINISH_CONTEXT;
  *done = true;
  return MOH_OK;
}

static moh_status generate_tokens(run *r, moh_error *err) {
  double begin = moh__now();
  for (bool done = false; !done;) {
    int32_t token = 0;
    MOH_TRY(moh__sampler_choose(
        &r->sampler, r->logits, moh__session_tokens(r->session),
        (size_t)moh__session_length(r->session), &token, err));
    MOH_TRY(deliver(r, token, &done, err));
    if (!done) MOH_TRY(take_in(r, token, &done, err));
  }
  if (r->options->tokenizer != NULL) moh__stream_finish(&r->stream);
  r->result->seconds = moh__now() - begin;
  return MOH_OK;
}

static moh_status open_run(run *r, moh_error *err) {
  const moh__generate_options *o = r->options;
  if (o->tokenizer != NULL)
    MOH_TRY(moh__stream_init(&r->stream, o->tokenizer, o->stops, o->n_stops,
                             o->on_text, o->context, err));
  return moh__sampler_init(&r->sampler, &o->sampling,
                           moh__session_vocabulary(r->session), err);
}

moh_status moh__generate(moh__session *session,
                         const moh__generate_options *options,
                         const int32_t *prompt, int32_t n,
                         moh__generate_result *result, moh_error *err) {
  run r = {.session = session, .options = options, .result = result};
  *result = (moh__generate_result){.stop = -1, .n_prompt = n};
  MOH_TRY(check_options(session, options, err));
  if (options->beam.width > 0)
    return moh__generate_beams(session, options, prompt, n, result, err);
  moh_status status = open_run(&r, err);
  if (status == MOH_OK) status = start(&r, prompt, n, err);
  if (status == MOH_OK) status = generate_tokens(&r, err);
  moh__sampler_free(&r.sampler);
  moh__stream_free(&r.stream);
  return status;
}
