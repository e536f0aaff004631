/*
 * Windows: which keys a query sees. The window belongs to the query, so that
 * cached decoding sees what a full pass does. A query at position i sees the
 * keys (i - w, i], itself among them:
 *   none     all of them
 *   sliding  w = size (arXiv 2004.05150, section 3.1, to one side)
 *   length   w = floor((i + 1) / 2), within [min, max]: it grows with the
 *            sequence
 */
#ifndef MOH_OP_WINDOW_H
#define MOH_OP_WINDOW_H

#include <stdint.h>

typedef enum moh__window_kind {
  MOH__WINDOW_NONE,
  MOH__WINDOW_SLIDING,
  MOH__WINDOW_LENGTH
} moh__window_kind;

typedef struct moh__window {
  moh__window_kind kind;
  int64_t size;     /* sliding */
  int64_t min, max; /* length */
} moh__window;

/* Keys that a query at a position sees. */
static inline int64_t moh__window_size(const moh__window *w,
                                       int64_t position) {
  int64_t size = position + 1;
  if (w->kind == MOH__WINDOW_SLIDING) size = w->size;
  if (w->kind == MOH__WINDOW_LENGTH) {
    size /= 2;
    if (size < w->min) size = w->min;
    if (size > w->max) size = w->max;
  }
  return size < position + 1 ? size : position + 1;
}

/* The first key that it sees; it never falls from one position to the next. */
static inline int64_t moh__window_first(const moh__window *w,
                                        int64_t position) {
  return position + 1 - moh__window_size(w, position);
}

/* Keys that any query sees, at most; `otherwise` where there is no limit. */
static inline int64_t moh__window_most(const moh__window *w,
                                       int64_t otherwise) {
  int64_t most = otherwise;
  if (w->kind == MOH__WINDOW_SLIDING) most = w->size;
  if (w->kind == MOH__WINDOW_LENGTH) most = w->max;
  return most < otherwise ? most : otherwise;
}

#endif
