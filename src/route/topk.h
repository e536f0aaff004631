/* The k best of n scores, the selection of every router. */
#ifndef MOH_ROUTE_TOPK_H
#define MOH_ROUTE_TOPK_H

#include <stdint.h>

#include "base/real.h"

/* Writes the indices of the min(k, n) largest scores, best first, and
 * returns how many. Ties go to the lower index; NaN ranks behind
 * everything. */
int32_t moh__topk(const real *scores, int32_t n, int32_t k, int32_t *best);

/* The index of the largest score that is not chosen; there must be one. */
int32_t moh__topk_next(const real *scores, int32_t n,
                       const unsigned char *chosen);

/* The same choice as marks: chosen[i] = 1 for those, 0 for the others. */
void moh__topk_mark(const real *scores, int32_t n, int32_t k,
                    unsigned char *chosen);

#endif
