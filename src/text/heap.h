/*
 * A heap of pairs of numbers, the least pair first: the queue in which
 * merges wait, while a vocabulary is made and while a word is encoded.
 */
#ifndef MOH_TEXT_HEAP_H
#define MOH_TEXT_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Ordered by `first`, then by `second`. */
typedef struct moh__heap_item {
  uint64_t first, second;
} moh__heap_item;

/* {0} is empty. Its room is kept when items are taken out. */
typedef struct moh__heap {
  moh__heap_item *items;
  size_t n, capacity;
} moh__heap;

moh_status moh__heap_push(moh__heap *heap, uint64_t first, uint64_t second,
                          moh_error *err);
/* Takes the least item out; false when there is none. */
bool moh__heap_pop(moh__heap *heap, moh__heap_item *item);
void moh__heap_free(moh__heap *heap);

#endif
