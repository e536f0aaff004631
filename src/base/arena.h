/*
 * Arena: one block of memory handed out from the front and given back all at
 * once, or back to a mark. A step of training or inference allocates from
 * nothing else. What must outlive a release is taken from the end.
 *
 * A counting arena hands out NULL and only adds up sizes: a dry run of a step
 * over it says how large the real arena must be (`peak`).
 */
#ifndef MOH_BASE_ARENA_H
#define MOH_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { MOH__ALIGN = 64 }; /* bytes; every allocation starts on one */

typedef struct moh__arena {
  unsigned char *base; /* NULL when counting */
  size_t size;         /* bytes */
  size_t used;         /* bytes from the front */
  size_t used_at_end;  /* bytes from the end */
  size_t peak;         /* largest sum of both so far */
  bool at_end;         /* allocate from the end: outlives a release */
  bool counting;
} moh__arena;

/* A real arena of `size` bytes; the memory is not touched before it is used.
 * Freed with moh__arena_free. */
moh_status moh__arena_init(moh__arena *arena, size_t size, moh_error *err);
void moh__arena_init_counting(moh__arena *arena);
void moh__arena_free(moh__arena *arena);

/* n bytes, not cleared. Running over the end of a real arena means that the
 * dry run that sized it was wrong: a programmer's error, which aborts. */
void *moh__arena_alloc(moh__arena *arena, size_t n);

/* Gives everything back, at both ends. */
static inline void moh__arena_reset(moh__arena *arena) {
  arena->used = 0;
  arena->used_at_end = 0;
}

static inline size_t moh__arena_mark(const moh__arena *arena) {
  return arena->used;
}
static inline void moh__arena_release(moh__arena *arena, size_t mark) {
  arena->used = mark;
}

#endif
