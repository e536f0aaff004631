/* Token ids in memory or in mapped files, read through one function. */
#include "text/tokens.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "ids are read from files as they are");

moh_status moh__tokens_new(moh__tokens **out, int32_t n_segments,
                           moh_error *err) {
  size_t n = (size_t)n_segments;
  moh__tokens *tokens = calloc(1, sizeof(*tokens));
  *out = tokens;
  if (tokens != NULL) {
    tokens->segments = calloc(n + 1, sizeof(*tokens->segments));
    tokens->first = calloc(n + 1, sizeof(*tokens->first));
    tokens->n_segments = n_segments;
    tokens->n_users = 1;
  }
  if (tokens != NULL && tokens->segments != NULL && tokens->first != NULL)
    return MOH_OK;
  moh__tokens_free(tokens);
  *out = NULL;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a dataset");
}

moh_status moh__tokens_in_memory(moh__tokens **out, int32_t *ids, int64_t n,
                                 int64_t *starts, int64_t n_examples,
                                 moh_error *err) {
  moh_status status = moh__tokens_new(out, 1, err);
  if (status != MOH_OK) {
    free(ids);
    free(starts);
    return status;
  }
  (*out)->segments[0] = (moh__segment){.ids = ids,
                                       .width = sizeof(*ids),
                                       .n = n,
                                       .starts = starts,
                                       .n_examples = n_examples};
  (*out)->examples = starts != NULL;
  moh__tokens_number(*out);
  return MOH_OK;
}

void moh__tokens_number(moh__tokens *tokens) {
  for (int32_t i = 0; i < tokens->n_segments; i++)
    tokens->first[i + 1] = tokens->first[i] + tokens->segments[i].n;
  tokens->n = tokens->first[tokens->n_segments];
}

moh__tokens *moh__tokens_share(moh__tokens *tokens) {
  tokens->n_users++;
  return tokens;
}

static void free_segment(moh__segment *segment) {
  if (segment->map.bytes == NULL) {
    free((void *)segment->ids);
    free((void *)segment->starts);
  }
  moh__map_close(&segment->map);
  free(segment->path);
}

void moh__tokens_free(moh__tokens *tokens) {
  if (tokens == NULL || --tokens->n_users > 0) return;
  for (int32_t i = 0; tokens->segments && i < tokens->n_segments; i++)
    free_segment(&tokens->segments[i]);
  free(tokens->segments);
  free(tokens->first);
  free(tokens);
}

/* ---- reading ---- */

/* The segment in which an id lies. */
static int32_t segment_of(const moh__tokens *tokens, int64_t at) {
  int32_t low = 0, high = tokens->n_segments - 1;
  while (low < high) {
    int32_t middle = (low + high + 1) / 2;
    if (tokens->first[middle] <= at)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

static void copy_ids(const moh__segment *segment, int64_t first, int64_t n,
                     int32_t *out) {
  if (segment->width == sizeof(*out)) {
    memcpy(out, (const int32_t *)segment->ids + first,
           (size_t)n * sizeof(*out));
    return;
  }
  const uint16_t *ids = (const uint16_t *)segment->ids + first;
  for (int64_t i = 0; i < n; i++) out[i] = ids[i];
}

static moh_status check_ids(const moh__tokens *tokens,
                            const moh__segment *segment, int64_t first,
                            int64_t n, const int32_t *ids, moh_error *err) {
  for (int64_t i = 0; i < n; i++) {
    if ((uint32_t)ids[i] < (uint32_t)tokens->vocab) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: token %" PRId64
                     " is %u, outside the vocabulary of %d; check it with "
                     "'moh data --check'",
                     segment->path, first + i, (uint32_t)ids[i],
                     tokens->vocab);
  }
  return MOH_OK;
}

moh_status moh__tokens_read(const moh__tokens *tokens, int64_t first,
                            int64_t n, int32_t *out, moh_error *err) {
  int32_t s = n > 0 ? segment_of(tokens, first) : 0;
  for (; n > 0; s++) {
    const moh__segment *segment = &tokens->segments[s];
    int64_t at = first - tokens->first[s];
    int64_t here = segment->n - at < n ? segment->n - at : n;
    copy_ids(segment, at, here, out);
    if (tokens->vocab > 0)
      MOH_TRY(check_ids(tokens, segment, at, here, out, err));
    first += here;
    out += here;
    n -= here;
  }
  return MOH_OK;
}
