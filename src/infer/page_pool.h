/*
 * Which pages of a pool are in use, and by how many lists of pages: sequences
 * that begin alike list the same pages. A page is free again when the last
 * list has given it up. Only numbers; the memory is the session's.
 */
#ifndef MOH_INFER_PAGE_POOL_H
#define MOH_INFER_PAGE_POOL_H

#include <stdint.h>

#include "base/status.h"

typedef struct moh__page_pool {
  int32_t n_pages;
  int32_t *users; /* [n_pages] lists that have the page */
  int32_t *free;  /* [n_free] a stack of pages without users */
  int32_t n_free;
  int32_t most_used; /* pages that were in use at once, so far */
} moh__page_pool;

/* All pages free; the first to be taken is page 0. */
moh_status moh__page_pool_init(moh__page_pool *pool, int32_t n_pages,
                               moh_error *err);
void moh__page_pool_free(moh__page_pool *pool);

/* A free page, with one user. That there is one is the caller's duty. */
int32_t moh__page_pool_take(moh__page_pool *pool);

/* Makes n certain pages taken, of a pool whose pages are all free. */
void moh__page_pool_claim(moh__page_pool *pool, const int32_t *pages,
                          int32_t n);

/* One user more, or less, of each of n pages. */
void moh__page_pool_share(moh__page_pool *pool, const int32_t *pages,
                          int32_t n);
void moh__page_pool_release(moh__page_pool *pool, const int32_t *pages,
                            int32_t n);

static inline int32_t moh__page_pool_used(const moh__page_pool *pool) {
  return pool->n_pages - pool->n_free;
}

#endif
