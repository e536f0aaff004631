/* Blocks from the C library, aligned to large pages where they are large. */
#include "base/block.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/checked.h"

enum { LARGE_PAGE = 2 << 20, LARGE = 2 * LARGE_PAGE };

void moh__block_advise(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  size_t before = -(uintptr_t)memory % LARGE_PAGE; /* to the next page */
  /* Where it fails, pages are small: slower, not wrong. */
  if (bytes >= before + LARGE_PAGE)
    madvise((char *)memory + before,
            (bytes - before) / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

void *moh__block_alloc(size_t bytes) {
  int64_t align = bytes < LARGE ? MOH__ALIGN : LARGE_PAGE;
  size_t size = (size_t)moh__round_up((int64_t)bytes + 1, align);
  void *memory = aligned_alloc((size_t)align, size);
  if (memory != NULL && bytes >= LARGE) moh__block_advise(memory, bytes);
  return memory;
}
