/* Top-k by insertion: k is small wherever scores are ranked. */
#include "route/topk.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* NaN ranks last; equal scores do not pass each other. */
static bool ranks_before(real a, real b) {
  return a > b || (isnan(b) && !isnan(a));
}

int32_t moh__topk(const real *scores, int32_t n, int32_t k, int32_t *best) {
  int32_t found = 0;
  for (int32_t i = 0; i < n && k > 0; i++) {
    if (found == k && !ranks_before(scores[i], scores[best[k - 1]]))
      continue;
    int32_t place = found < k ? found++ : k - 1;
    while (place > 0 && ranks_before(scores[i], scores[best[place - 1]])) {
      best[place] = best[place - 1];
      place--;
    }
    best[place] = i;
  }
  return found;
}

int32_t moh__topk_next(const real *scores, int32_t n,
                       const unsigned char *chosen) {
  int32_t best = -1;
  for (int32_t i = 0; i < n; i++) {
    if (chosen[i]) continue;
    if (best < 0 || ranks_before(scores[i], scores[best])) best = i;
  }
  return best;
}

void moh__topk_mark(const real *scores, int32_t n, int32_t k,
                    unsigned char *chosen) {
  memset(chosen, 0, (size_t)n);
  for (int32_t pass = 0; pass < k && pass < n; pass++)
    chosen[moh__topk_next(scores, n, chosen)] = 1;
}
