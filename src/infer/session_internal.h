/* What a session holds, for what works inside of it: session.c, and branches
 * of a session. */
#ifndef MOH_INFER_SESSION_INTERNAL_H
#define MOH_INFER_SESSION_INTERNAL_H

#include "infer/session.h"
#include "kernel/kernel.h"

struct moh__session {
  const moh__model *model;
  int32_t max_len;
  int32_t length;
  int32_t *tokens;   /* [max_len] */
  real *pages;       /* all slots */
  int32_t n_pages;   /* of each slot: the ring's, or more */
  real **slots;      /* [n_slots] into pages */
  int32_t *page_ids; /* of the own sequence: page p is page_ids[p % n_ring] */
  int32_t n_ring;    /* different ones: all, or a window's */
  int32_t newest;    /* page that has been written, at most; -1: none */
  int32_t oldest;    /* page that the ring has, if it has not moved on */
  int32_t *positions;
  real *marked; /* pages of all slots when it was marked; NULL: never */
  int32_t marked_length; /* -1: not any more */
  moh__cache cache;
  moh__gate_record gates;
  moh__arena arena;
  moh__tape tape;
};

/* Pages that n tokens lie in. */
static inline int32_t moh__session_pages_for(const moh__config *config,
                                             int64_t n) {
  int64_t tokens = moh__config_page_tokens(config);
  return (int32_t)((n + tokens - 1) / tokens);
}

/* The first page that a token at position n sees, and so do those behind it. */
static inline int32_t moh__session_first_page(const moh__session *session,
                                              int32_t n) {
  const moh__config *config = &session->model->config;
  return (int32_t)(moh__window_first(&config->window, n) /
                   moh__config_page_tokens(config));
}

/* Of what was read, only what the next token sees is still there. */
void moh__session_only_window(moh__session *session);

/* Sees to at least n_pages pages in each slot; those that the next
 * token sees stay what they are. After a failure nothing has changed. */
moh_status moh__session_need_pages(moh__session *session, int32_t n_pages,
                                   moh_error *err);

/* Sees to memory for steps of one token in each of n_seq sequences. */
moh_status moh__session_need_rows(moh__session *session, int32_t n_seq,
                                  moh_error *err);

/* Bytes of n_pages pages of all slots. */
size_t moh__session_page_bytes(const moh__config *config, int32_t n_pages);

#endif
