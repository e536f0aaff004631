/*
 * A beam search on a session: the search (beam.h) says which beams go on with
 * which tokens, branches of the session (branches.h) compute what comes next,
 * and for stop strings each beam has a stream of its own that follows it.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "infer/branches.h"
#include "infer/generate_internal.h"
#include "infer/session_internal.h"

typedef struct run {
  moh__session *session;
  const moh__generate_options *options;
  const int32_t *prompt;
  int32_t n_prompt;
  int32_t limit; /* tokens of a text */
  moh__beam_search *search;
  moh__branches *branches; /* once there is a second step */
  int32_t kept;            /* node of the text that branches keep */
  const real *logits;
  int32_t *parents, *tokens; /* [beams] */
  moh__stream *watch, *next; /* [beams]; NULL without stop strings */
  moh__beam *ranked;         /* [n_best] */
  int32_t *text;             /* [limit] tokens of one of them */
  moh__stream stream;        /* of the text that is passed on */
  int32_t n_passed;          /* tokens of it */
  bool enough;               /* the caller wants no more of it */
  bool cancelled;
  moh__generate_result *result;
} run;

/* ---- opening ---- */

/* The text of the prompt first, where it is wanted. */
static moh_status open_stream(const run *r, moh__stream *stream,
                              moh__text_fn *fn, moh_error *err) {
  const moh__generate_options *o = r->options;
  MOH_TRY(moh__stream_init(stream, o->tokenizer, o->stops, o->n_stops, fn,
                           o->context, err));
  moh_status status = MOH_OK;
  for (int32_t i = 0; o->echo && status == MOH_OK && i < r->n_prompt; i++)
    status = moh__stream_echo(stream, r->prompt[i], err);
  if (status != MOH_OK) moh__stream_free(stream);
  return status;
}

static moh_status open_watch(run *r, int32_t most, moh_error *err) {
  if (r->options->n_stops == 0) return MOH_OK;
  r->watch = calloc((size_t)most, sizeof(moh__stream));
  r->next = calloc((size_t)most, sizeof(moh__stream));
  if (r->watch == NULL || r->next == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for stop strings");
  for (int32_t i = 0; i < most; i++) {
    MOH_TRY(open_stream(r, &r->watch[i], NULL, err));
    MOH_TRY(open_stream(r, &r->next[i], NULL, err));
  }
  return MOH_OK;
}

static moh_status open_run(run *r, moh_error *err) {
  const moh__generate_options *o = r->options;
  int32_t most = moh__beam_most(&o->beam);
  r->kept = -1;
  r->limit =
      moh__session_max_length(r->session) - moh__session_length(r->session);
  if (o->max_tokens > 0 && o->max_tokens < r->limit) r->limit = o->max_tokens;
  r->parents = calloc((size_t)most, sizeof(int32_t));
  r->tokens = calloc((size_t)most, sizeof(int32_t));
  r->ranked = calloc((size_t)o->beam.n_best, sizeof(moh__beam));
  r->text = calloc((size_t)r->limit, sizeof(int32_t));
  if (r->parents == NULL || r->tokens == NULL || r->ranked == NULL ||
      r->text == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d beams", most);
  MOH_TRY(open_watch(r, most, err));
  MOH_TRY(moh__beam_search_new(&r->search, &o->beam,
                               moh__session_vocabulary(r->session), r->limit,
                               o->end_token, r->session->tape.pool, err));
  if (o->end_token >= 0) moh__beam_search_ends(r->search, o->tokenizer);
  return MOH_OK;
}

static void close_run(run *r) {
  int32_t most = moh__beam_most(&r->options->beam);
  for (int32_t i = 0; r->watch != NULL && i < most; i++)
    moh__stream_free(&r->watch[i]);
  for (int32_t i = 0; r->next != NULL && i < most; i++)
    moh__stream_free(&r->next[i]);
  moh__stream_free(&r->stream);
  free(r->watch);
  free(r->next);
  moh__branches_close(r->branches);
  moh__beam_search_free(r->search);
  free(r->parents);
  free(r->tokens);
  free(r->ranked);
  free(r->text);
}

/* ---- the search ---- */

/* Follows every beam by its newest token; those that have a stop string now
 * are complete. */
static moh_status look_for_stops(run *r, moh_error *err) {
  int32_t n, i = 0;
  const moh__beam *beams = moh__beam_search_beams(r->search, &n);
  if (r->watch == NULL) return MOH_OK;
  while (i < n) {
    MOH_TRY(moh__stream_copy(&r->next[i], &r->watch[beams[i].parent], err));
    MOH_TRY(moh__stream_add(&r->next[i], beams[i].token, err));
    if (r->next[i].stop < 0) {
      i++;
      continue;
    }
    moh__beam_search_stop(r->search, i);
    beams = moh__beam_search_beams(r->search, &n);
  }
  moh__stream *watch = r->next;
  r->next = r->watch;
  r->watch = watch;
  return MOH_OK;
}

/* The session will go on with the best text: what it has read of it stays. */
static void keep_best(run *r) {
  int32_t n;
  const moh__beam *complete = moh__beam_search_complete(r->search, &n);
  if (n == 0 || complete[0].node == r->kept) return;
  r->kept = complete[0].node;
  if (r->branches != NULL)
    moh__branches_keep(r->branches, complete[0].parent);
}

static moh_status step(run *r, moh_error *err) {
  int32_t n;
  MOH_TRY(moh__beam_search_step(r->search, r->logits, err));
  MOH_TRY(look_for_stops(r, err));
  keep_best(r);
  moh__beam_search_beams(r->search, &n);
  r->result->n_steps++;
  r->cancelled = r->options->on_step != NULL &&
                 !r->options->on_step(r->options->context, n);
  return MOH_OK;
}

/* The newest token of each beam becomes part of its branch. */
static moh_status read_beams(run *r, moh_error *err) {
  int32_t n, most = moh__beam_most(&r->options->beam);
  const moh__beam *beams = moh__beam_search_beams(r->search, &n);
  if (r->branches == NULL)
    MOH_TRY(moh__branches_open(&r->branches, r->session, most, r->limit - 1,
                               err));
  for (int32_t i = 0; i < n; i++) {
    r->parents[i] = beams[i].parent;
    r->tokens[i] = beams[i].token;
  }
  moh__branches_fork(r->branches, r->parents, n);
  r->result->n_read += n;
  return moh__branches_feed(r->branches, r->tokens, &r->logits, err);
}

/* ---- passing on ---- */

/* Whether the caller wants to know about a text before it comes. */
static bool waits_for_texts(const run *r) {
  return r->options->on_hypothesis != NULL || r->options->beam.n_best > 1;
}

static moh_status begin_text(run *r, moh_error *err) {
  const moh__generate_options *o = r->options;
  moh__stream_free(&r->stream);
  r->stream = (moh__stream){.stop = -1};
  r->n_passed = 0;
  if (o->tokenizer == NULL) return MOH_OK;
  return open_stream(r, &r->stream, o->on_text, err);
}

/* Passes on r->text up to its n-th token, until the caller has enough. */
static moh_status pass_on(run *r, int32_t n, moh_error *err) {
  const moh__generate_options *o = r->options;
  while (r->n_passed < n && !r->enough) {
    int32_t token = r->text[r->n_passed++];
    r->enough = o->on_token != NULL && !o->on_token(o->context, token);
    if (r->enough || o->tokenizer == NULL || moh__ends_text(o, token))
      continue;
    MOH_TRY(moh__stream_add(&r->stream, token, err));
    r->enough = r->stream.refused;
  }
  return MOH_OK;
}

/* The tokens that are certain: those that all beams have. */
static moh_status pass_common(run *r, moh_error *err) {
  int32_t n, common = moh__beam_search_common(r->search);
  const moh__beam *first = moh__beam_search_beams(r->search, &n);
  if (waits_for_texts(r) || common == r->n_passed) return MOH_OK;
  moh__beam_search_tokens(r->search, first, r->text);
  MOH_TRY(pass_on(r, common, err));
  r->cancelled = r->enough;
  return MOH_OK;
}

static moh_status search(run *r, moh_error *err) {
  double begin = moh__now();
  if (!waits_for_texts(r)) MOH_TRY(begin_text(r, err));
  MOH_TRY(step(r, err));
  while (!moh__beam_search_done(r->search) && !r->cancelled) {
    MOH_TRY(pass_common(r, err));
    if (r->cancelled) break;
    MOH_TRY(read_beams(r, err));
    MOH_TRY(step(r, err));
  }
  if (r->branches != NULL)
    r->result->most_pages = moh__branches_most_pages(r->branches);
  r->result->seconds = moh__now() - begin;
  return MOH_OK;
}

/* ---- its texts ---- */

static moh__finish finish_of(const run *r, const moh__beam *beam) {
  if (beam->state == MOH__BEAM_END) return MOH__FINISH_END;
  if (beam->state == MOH__BEAM_STOP) return MOH__FINISH_STOP;
  if (beam->n < r->limit) return MOH__FINISH_CANCELLED;
  return r->limit == r->options->max_tokens ? MOH__FINISH_LENGTH
                                            : MOH__FINISH_CONTEXT;
}

/* Which stop string ended r->text. */
static moh_status find_stop(const run *r, moh__hypothesis *h,
                            moh_error *err) {
  moh__stream stream;
  moh_status status = MOH_OK;
  if (h->finish != MOH__FINISH_STOP) return MOH_OK;
  MOH_TRY(open_stream(r, &stream, NULL, err));
  for (int32_t i = 0; status == MOH_OK && i < h->n_tokens; i++)
    status = moh__stream_add(&stream, r->text[i], err);
  h->stop = stream.stop;
  moh__stream_free(&stream);
  return status;
}

/* All of r->text, or what is left of it. */
static moh_status pass_text(run *r, int32_t n, moh_error *err) {
  if (waits_for_texts(r)) MOH_TRY(begin_text(r, err));
  MOH_TRY(pass_on(r, n, err));
  if (r->options->tokenizer != NULL) moh__stream_finish(&r->stream);
  return MOH_OK;
}

static moh_status deliver(run *r, int32_t rank, moh_error *err) {
  const moh__beam *beam = &r->ranked[rank];
  moh__hypothesis h = {.rank = rank,
                       .n_tokens = beam->n,
                       .log_p = beam->log_p,
                       .score = beam->score,
                       .finish = finish_of(r, beam),
                       .stop = -1};
  moh__beam_search_tokens(r->search, beam, r->text);
  MOH_TRY(find_stop(r, &h, err));
  if (r->options->on_hypothesis != NULL)
    r->options->on_hypothesis(r->options->context, &h);
  if (rank == 0) {
    r->result->finish = h.finish;
    r->result->stop = h.stop;
    r->result->n_generated = h.n_tokens;
    r->result->log_p = h.log_p;
    r->result->score = h.score;
  }
  return pass_text(r, h.n_tokens, err);
}

/* The session has read all tokens of the best text but the last one. */
static moh_status finish(run *r, moh_error *err) {
  int32_t n = moh__beam_search_rank(r->search, r->ranked);
  const moh__beam *best = &r->ranked[0];
  if (r->branches != NULL && best->n > 1)
    moh__branches_adopt(r->branches,
                        best->state == MOH__BEAM_LIVE ? best->parent : -1);
  for (int32_t i = 0; i < n && (i == 0 || !r->enough); i++)
    MOH_TRY(deliver(r, i, err));
  return MOH_OK;
}

moh_status moh__generate_beams(moh__session *session,
                               const moh__generate_options *options,
                               const int32_t *prompt, int32_t n,
                               moh__generate_result *result, moh_error *err) {
  run r = {.session = session,
           .options = options,
           .prompt = prompt,
           .n_prompt = n,
           .result = result};
  double begin = moh__now();
  MOH_TRY(
      moh__generate_read(session, prompt, n, "shorten it", &r.logits, err));
  result->prompt_seconds = moh__now() - begin;
  moh_status status = open_run(&r, err);
  if (status == MOH_OK) status = search(&r, err);
  if (status == MOH_OK) status = finish(&r, err);
  close_run(&r);
  return status;
}
