/*
 * Activations on their way into a product with weights of integers: rounded to
 * blocks of 32, once for all groups of the weight, in the tape's arena.
 */
#ifndef MOH_OP_CODES_H
#define MOH_OP_CODES_H

#include "kernel/kernel.h"
#include "op/param.h"
#include "op/tape.h"

typedef struct moh__coded {
  const moh__codes *codes; /* NULL: w does not want any, or counting */
  int64_t ld;              /* of a row */
  size_t mark;
} moh__coded;

/* Rows of x, as wide as a group of w. To be released before anything that was
 * allocated earlier. */
moh__coded moh__coded_rows(moh__tape *tape, const moh__param *w,
                           const real *x, int64_t rows);
void moh__coded_release(moh__tape *tape, const moh__coded *coded);

#endif
