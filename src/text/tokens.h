/*
 * The token ids behind datasets, wherever they lie: in memory, or in mapped
 * shard files (text/shard.h). They are numbered through from 0, never
 * changed, and shared by the datasets that are made of them.
 */
#ifndef MOH_TEXT_TOKENS_H
#define MOH_TEXT_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "base/hash.h"

/* A stretch of ids that lie side by side. */
typedef struct moh__segment {
  const void *ids; /* [n], unsigned, little-endian */
  int32_t width;   /* bytes of an id, 2 or 4 */
  int64_t n;
  /* Where its examples begin, counted from the segment's first id, and the
   * end of the last: [n_examples + 1]. NULL: part of a stream. */
  const int64_t *starts;
  int64_t n_examples;
  char *path;   /* of its file, for messages; NULL: in memory */
  moh__map map; /* empty in memory: ids and starts are its own then */
} moh__segment;

typedef struct moh__tokens {
  int64_t n;
  bool examples;    /* segments have starts */
  int64_t n_open;   /* examples that do not end with the end token */
  int64_t n_unknown; /* ids outside the vocabulary they were made with */
  int32_t vocab;    /* every id is checked to be below it; 0: no need to */
  moh__segment *segments;
  int64_t *first; /* [n_segments + 1] */
  int32_t n_segments;
  char digest[MOH__SHA256_HEX]; /* that stands for the ids; "": none */
  int32_t n_users;
} moh__tokens;

/* Room for so many segments, all empty. */
moh_status moh__tokens_new(moh__tokens **out, int32_t n_segments,
                           moh_error *err);
/* One segment in memory. Takes over ids and starts (NULL for a stream), also
 * when it fails. */
moh_status moh__tokens_in_memory(moh__tokens **out, int32_t *ids, int64_t n,
                                 int64_t *starts, int64_t n_examples,
                                 moh_error *err);
/* Numbers the ids through, once all segments are in. */
void moh__tokens_number(moh__tokens *tokens);
/* One more user; each calls moh__tokens_free. Not to be called from two
 * threads at once. */
moh__tokens *moh__tokens_share(moh__tokens *tokens);
void moh__tokens_free(moh__tokens *tokens);

/* Ids [first, first + n) into out; they must be there. An id that is not
 * below vocab is MOH_ERR_FORMAT with its file and place. */
moh_status moh__tokens_read(const moh__tokens *tokens, int64_t first,
                            int64_t n, int32_t *out, moh_error *err);

#endif
