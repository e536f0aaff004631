/*
 * Windows: which keys a query sees. The window belongs to the query, so that
 * cached decoding sees what a full pass does. A query at position i sees the
 * keys (i - w, i], itself among them:
 *   none     all of them
 *   sliding  w = size (arXiv 2004.05150, section 3.1, to one side)
 *   length   w = floor((i + 1) / 2), within [min, max]: it grows with the
 *            sequence
 *   entropy, perplexity
 *            w = min + floor((max - min) share): a sliding window whose size
 *            each layer has for itself. The share, in [0, 1], is saved with the
 *            model; training moves it (train/windows.h), and nothing else.
 */
#ifndef MOH_OP_WINDOW_H
#define MOH_OP_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

typedef enum moh__window_kind {
  MOH__WINDOW_NONE,
  MOH__WINDOW_SLIDING,
  MOH__WINDOW_LENGTH,
  MOH__WINDOW_ENTROPY,
  MOH__WINDOW_PERPLEXITY
} moh__window_kind;

typedef struct moh__window {
  moh__window_kind kind;
  int64_t size;     /* sliding */
  int64_t min, max; /* all but sliding */
} moh__window;

/* How evenly queries attend to what they see, added up: of each the entropy of
 * its weights as a share of the most that it can be. */
typedef struct moh__evenness {
  double sum;
  int64_t n;
} moh__evenness;

/* Whether layers have windows of their own, of a size that is learned. */
static inline bool moh__window_adapts(const moh__window *w) {
  return w->kind == MOH__WINDOW_ENTROPY || w->kind == MOH__WINDOW_PERPLEXITY;
}

/* The size of a window that adapts; a share that is no number is 0. */
static inline int64_t moh__window_adapted(const moh__window *w,
                                          double share) {
  if (share >= 1) return w->max;
  if (!(share > 0)) return w->min;
  return w->min + (int64_t)((double)(w->max - w->min) * share);
}

/* Keys that a query at a position sees; of a window that adapts, at most. */
static inline int64_t moh__window_size(const moh__window *w,
                                       int64_t position) {
  int64_t size = position + 1;
  if (w->kind == MOH__WINDOW_SLIDING) size = w->size;
  if (w->kind == MOH__WINDOW_LENGTH) {
    size /= 2;
    if (size < w->min) size = w->min;
    if (size > w->max) size = w->max;
  }
  if (moh__window_adapts(w)) size = w->max;
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
  if (w->kind == MOH__WINDOW_LENGTH || moh__window_adapts(w)) most = w->max;
  return most < otherwise ? most : otherwise;
}

#endif
