/*
 * Shard files: token ids on disk, to be mapped. Little-endian, in this order:
 *
 *   byte  0  8 bytes   "MOHSHARD"
 *         8  uint32    version of the format, 1
 *        12  uint32    bytes of an id: 2 up to a vocabulary of 65,536, else 4
 *        16  uint64    ids
 *        24  uint64    examples; 0 in a shard of a stream
 *        32  uint32    size of the vocabulary; every id is below it
 *        36  uint32    1: examples, 0: a stretch of a stream
 *        40  uint64    examples that do not end with the end token
 *        48  uint64    ids that are the unknown token
 *        56  8 bytes   zero
 *        64  the ids, then zeros up to a multiple of 8 bytes
 *         .  of examples: int64 [examples + 1], where each begins, counted
 *            in ids, and the end of the last
 */
#ifndef MOH_TEXT_SHARD_H
#define MOH_TEXT_SHARD_H

#include "text/tokenizer.h"
#include "text/tokens.h"

enum { MOH__SHARD_VERSION = 1, MOH__SHARD_HEAD = 64 };

typedef struct moh__shard_head {
  int32_t width;
  int64_t n_tokens, n_examples;
  int32_t vocab;
  bool examples;
  int64_t n_open, n_unknown;
} moh__shard_head;

/* Bytes of an id. */
int32_t moh__shard_width(int32_t vocab);

/* A shard in the making; {0} with vocab and examples set is an empty one. */
typedef struct moh__shard {
  moh__shard_head head;
  void *ids; /* head.width bytes each */
  int64_t capacity;
  int64_t *starts; /* [head.n_examples + 1] */
  int64_t n_starts;
} moh__shard;

/* Adds ids of the vocabulary; of examples, they are one. */
moh_status moh__shard_add(moh__shard *shard, const int32_t *ids, int64_t n,
                          moh_error *err);
/* Writes the file, atomically. */
moh_status moh__shard_write(const moh__shard *shard, const char *path,
                            moh_error *err);
/* Without its ids, ready for the next; and without its memory. */
void moh__shard_clear(moh__shard *shard);
void moh__shard_free(moh__shard *shard);

/* Opens a shard as a segment. All is checked but the ids themselves. */
moh_status moh__shard_open(moh__segment *segment, moh__shard_head *head,
                           const char *path, moh_error *err);
/* The same of bytes in memory, at an address that is a multiple of 8, which
 * the segment borrows; `name` stands for the file in messages. */
moh_status moh__shard_parse(moh__segment *segment, moh__shard_head *head,
                            const unsigned char *bytes, size_t n,
                            const char *name, moh_error *err);

#endif
