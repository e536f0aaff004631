/* Sessions of moh.h: each with a pool of its own, as a pool runs one job at a
 * time and two sessions may run at once. */
#include <stdlib.h>

#include "api/handles.h"
#include "api/sized.h"

static const moh_session_options defaults = {.size = sizeof(defaults)};

void moh_session_options_default(moh_session_options *options,
                                 size_t size) {
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

static moh_status open_session(moh_session *session,
                               const moh_session_options *o,
                               moh_error *err) {
  MOH_TRY(moh__pool_new(&session->pool, o->n_threads, err));
  return moh__session_new(&session->inner, session->model->inner,
                          session->pool, o->max_length, err);
}

moh_status moh_session_new(moh_session **session, const moh_model *model,
                           const moh_session_options *options,
                           moh_error *err) {
  MOH__NEED(session, err);
  *session = NULL;
  MOH__NEED(model, err);
  moh_session_options o = defaults;
  MOH_TRY(moh__options_read(&o, sizeof(o), options, "moh_session_options",
                            err));
  moh_session *made = calloc(1, sizeof(*made));
  if (made == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a session");
  made->model = model;
  moh_status status = open_session(made, &o, err);
  if (status != MOH_OK) {
    moh_session_free(made);
    return status;
  }
  *session = made;
  return MOH_OK;
}

void moh_session_free(moh_session *session) {
  if (session == NULL) return;
  moh__session_free(session->inner);
  moh__pool_free(session->pool);
  free(session);
}

moh_status moh_session_feed(moh_session *session, const int32_t *tokens,
                            int32_t n, const float **logits,
                            moh_error *err) {
  MOH__NEED(logits, err);
  *logits = NULL;
  MOH__NEED(session, err);
  MOH__NEED(tokens, err);
  return moh__session_feed(session->inner, tokens, n, logits, err);
}

int32_t moh_session_length(const moh_session *session) {
  return session == NULL ? 0 : moh__session_length(session->inner);
}

int32_t moh_session_max_length(const moh_session *session) {
  return session == NULL ? 0 : moh__session_max_length(session->inner);
}

const int32_t *moh_session_tokens(const moh_session *session) {
  return session == NULL ? NULL : moh__session_tokens(session->inner);
}

moh_status moh_session_rewind(moh_session *session, const int32_t *tokens,
                              int32_t n, int32_t *held, moh_error *err) {
  MOH__NEED(held, err);
  *held = 0;
  MOH__NEED(session, err);
  MOH__NEED(tokens, err);
  if (n < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there are no %d tokens", n);
  *held = moh__session_rewind(session->inner, tokens, n);
  return MOH_OK;
}

moh_status moh_session_truncate(moh_session *session, int32_t n,
                                moh_error *err) {
  MOH__NEED(session, err);
  int32_t length = moh__session_length(session->inner);
  if (n < 0 || n > length)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a session of %d tokens cannot be cut to %d", length,
                     n);
  moh__session_truncate(session->inner, n);
  return MOH_OK;
}

/* ---- plans ---- */

/* Every row uses the first n_used heads, with gates of 1. */
static moh_status first_heads(moh_plan **plan, int32_t n_rows,
                              int32_t n_heads, int32_t n_used,
                              moh_error *err) {
  size_t n = (size_t)n_rows * (size_t)n_heads;
  unsigned char *used = malloc(n);
  if (used == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  for (size_t i = 0; i < n; i++) used[i] = (int32_t)(i % n_heads) < n_used;
  moh_status status = moh_plan_new(plan, used, NULL, n_rows, n_heads, err);
  free(used);
  return status;
}

moh_status moh_session_plan(const moh_session *session, int32_t layer,
                            int32_t first, int32_t n, moh_plan **plan,
                            moh_error *err) {
  MOH__NEED(plan, err);
  *plan = NULL;
  MOH__NEED(session, err);
  const moh__config *c = &session->model->inner->config;
  int32_t length = moh__session_length(session->inner);
  int32_t n_passes = (int32_t)moh__config_passes(c);
  if (layer < 0 || layer >= n_passes)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "layers are 0 to %d; there is no layer %d",
                     n_passes - 1, layer);
  if (first < 0 || n < 1 || first >= length || n > length - first)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d tokens from position %d are not in a session of %d",
                     n, first, length);
  const moh__gate_record *r = moh__session_gates(session->inner);
  int32_t n_heads = (int32_t)c->n_heads;
  if (r->used == NULL)
    return first_heads(plan, n, n_heads,
                       (int32_t)moh__config_active_heads(c), err);
  int64_t at = moh__gate_record_at(r, layer, first);
  return moh_plan_new(plan, r->used + at, r->gates + at, n, n_heads, err);
}
