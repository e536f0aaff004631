/*
 * Heads by chance, the control for a learned router: each token draws k of
 * the routed heads, all sets alike. A draw is a function of the seed, the
 * pass through a layer, the token's position and its id, so it is the same
 * alone and in company, read at once or one by one, by any number of threads.
 */
#ifndef MOH_ROUTE_RANDOM_HEADS_H
#define MOH_ROUTE_RANDOM_HEADS_H

#include <stdint.h>

#include "route/head_router.h"

typedef struct moh__random_heads {
  uint64_t seed;
  int32_t pass;             /* of the passes through layers */
  const int32_t *positions; /* [n] in the own sequence */
  const int32_t *tokens;    /* [n] ids */
} moh__random_heads;

/* used[t * candidates + c] = 1 for shared heads and the k that t draws. */
void moh__random_select(const moh__router_shape *shape,
                        const moh__random_heads *draw, int32_t n,
                        unsigned char *used);

#endif
