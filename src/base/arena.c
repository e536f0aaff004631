/* Arena over an anonymous mapping, so that untouched pages cost nothing. */
#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/block.h"
#include "base/checked.h"

moh_status moh__arena_init(moh__arena *arena, size_t size, moh_error *err) {
  memset(arena, 0, sizeof(*arena));
  size = (size_t)moh__round_up((int64_t)(size + 1), MOH__ALIGN);
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "cannot reserve %zu bytes of working memory", size);
  moh__block_advise(base, size);
  arena->base = base;
  arena->size = size;
  return MOH_OK;
}

void moh__arena_init_counting(moh__arena *arena) {
  memset(arena, 0, sizeof(*arena));
  arena->counting = true;
}

void moh__arena_free(moh__arena *arena) {
  if (arena->base != NULL) munmap(arena->base, arena->size);
  memset(arena, 0, sizeof(*arena));
}

void *moh__arena_alloc(moh__arena *arena, size_t n) {
  size_t size = (size_t)moh__round_up((int64_t)n, MOH__ALIGN);
  size_t total = arena->used + arena->used_at_end + size;
  if (!arena->counting && total > arena->size) {
    assert(!"arena smaller than its dry run said");
    abort();
  }
  if (total > arena->peak) arena->peak = total;
  size_t start = arena->used;
  if (arena->at_end) {
    arena->used_at_end += size;
    start = arena->size - arena->used_at_end;
  } else {
    arena->used += size;
  }
  return arena->counting ? NULL : arena->base + start;
}
