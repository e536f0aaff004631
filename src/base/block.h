/*
 * Large blocks of memory: aligned for kernels, and in large pages where the
 * system has them, as weights and caches are read from front to back. To be
 * freed with free().
 */
#ifndef MOH_BASE_BLOCK_H
#define MOH_BASE_BLOCK_H

#include <stddef.h>

/* Not cleared. NULL when there is no memory. */
void *moh__block_alloc(size_t bytes);

/* Asks for large pages in memory that is not touched yet. */
void moh__block_advise(void *memory, size_t bytes);

#endif
