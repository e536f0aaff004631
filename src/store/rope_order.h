/*
 * Two orders of the rows of W_Q and W_K. Rotary positions turn pairs of a
 * head's elements: (i, i + d/2) in our files and LLaMA directories, (2i, 2i +
 * 1) in llama2.c's and in GGUF files of LLaMA models. The rows of one are
 * those of the other in another order; scores are the same.
 */
#ifndef MOH_STORE_ROPE_ORDER_H
#define MOH_STORE_ROPE_ORDER_H

#include <stdint.h>

/* Our row of what is `row` where pairs are neighbours; d: rows of a head. */
static inline int64_t moh__rope_row(int64_t row, int64_t d) {
  int64_t i = row % d;
  return row - i + i % 2 * (d / 2) + i / 2;
}

#endif
