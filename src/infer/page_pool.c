/* Counting the users of pages. */
#include "infer/page_pool.h"

#include <assert.h>
#include <stdlib.h>

/* The stack of pages without users, the first on top. */
static void list_free(moh__page_pool *pool) {
  pool->n_free = 0;
  for (int32_t i = pool->n_pages; i-- > 0;)
    if (pool->users[i] == 0) pool->free[pool->n_free++] = i;
}

moh_status moh__page_pool_init(moh__page_pool *pool, int32_t n_pages,
                               moh_error *err) {
  *pool = (moh__page_pool){.n_pages = n_pages};
  pool->users = calloc((size_t)n_pages, sizeof(int32_t));
  pool->free = calloc((size_t)n_pages, sizeof(int32_t));
  if (pool->users == NULL || pool->free == NULL) {
    moh__page_pool_free(pool);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %d pages", n_pages);
  }
  list_free(pool);
  return MOH_OK;
}

void moh__page_pool_free(moh__page_pool *pool) {
  free(pool->users);
  free(pool->free);
  *pool = (moh__page_pool){0};
}

static void note_used(moh__page_pool *pool) {
  int32_t used = moh__page_pool_used(pool);
  if (used > pool->most_used) pool->most_used = used;
}

int32_t moh__page_pool_take(moh__page_pool *pool) {
  assert(pool->n_free > 0);
  int32_t page = pool->free[--pool->n_free];
  pool->users[page] = 1;
  note_used(pool);
  return page;
}

void moh__page_pool_claim(moh__page_pool *pool, const int32_t *pages,
                          int32_t n) {
  moh__page_pool_share(pool, pages, n);
  list_free(pool);
  note_used(pool);
}

void moh__page_pool_share(moh__page_pool *pool, const int32_t *pages,
                          int32_t n) {
  for (int32_t i = 0; i < n; i++) pool->users[pages[i]]++;
}

void moh__page_pool_release(moh__page_pool *pool, const int32_t *pages,
                            int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    assert(pool->users[pages[i]] > 0);
    if (--pool->users[pages[i]] == 0) pool->free[pool->n_free++] = pages[i];
  }
}
