/* Selection sampling (Knuth, TAOCP 3.4.2, algorithm S): a candidate is taken
 * with the share that is still wanted of those that are left. */
#include "route/random_heads.h"

#include <string.h>

#include "base/rng.h"

/* A stream of its own for each pass and id, a stretch of it for each
 * position. */
static moh__rng generator(const moh__random_heads *draw, int32_t row) {
  uint64_t pass = (uint64_t)draw->pass << 8;
  uint64_t token = (uint64_t)draw->tokens[row] << 32;
  moh__rng rng = moh__rng_make(draw->seed, MOH__STREAM_HEADS + pass + token);
  rng.position = (uint64_t)draw->positions[row] << 32;
  return rng;
}

static void draw_heads(moh__rng *rng, int32_t n, int32_t k,
                       unsigned char *used) {
  for (int32_t i = 0; i < n; i++) {
    used[i] = moh__rng_below(rng, (uint64_t)(n - i)) < (uint64_t)k;
    k -= used[i];
  }
}

void moh__random_select(const moh__router_shape *shape,
                        const moh__random_heads *draw, int32_t n,
                        unsigned char *used) {
  for (int32_t t = 0; t < n; t++) {
    moh__rng rng = generator(draw, t);
    memset(used, 1, (size_t)shape->n_shared);
    draw_heads(&rng, shape->n_routed, shape->k, used + shape->n_shared);
    used += shape->n_shared + shape->n_routed;
  }
}
