/* A binary heap: the children of item i are 2 i + 1 and 2 i + 2. */
#include "text/heap.h"

#include <stdlib.h>

static bool is_less(moh__heap_item a, moh__heap_item b) {
  return a.first < b.first || (a.first == b.first && a.second < b.second);
}

static moh_status grow(moh__heap *heap, moh_error *err) {
  size_t capacity = heap->capacity ? 2 * heap->capacity : 64;
  moh__heap_item *items =
      reallocarray(heap->items, capacity, sizeof(*items));
  if (items == NULL) {
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for %zu merges that wait", capacity);
  }
  heap->items = items;
  heap->capacity = capacity;
  return MOH_OK;
}

moh_status moh__heap_push(moh__heap *heap, uint64_t first, uint64_t second,
                          moh_error *err) {
  moh__heap_item item = {first, second};
  if (heap->n == heap->capacity) MOH_TRY(grow(heap, err));
  size_t at = heap->n++;
  while (at > 0 && is_less(item, heap->items[(at - 1) / 2])) {
    heap->items[at] = heap->items[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap->items[at] = item;
  return MOH_OK;
}

bool moh__heap_pop(moh__heap *heap, moh__heap_item *item) {
  if (heap->n == 0) return false;
  moh__heap_item *items = heap->items, last = items[--heap->n];
  size_t n = heap->n, at = 0, child = 1;
  *item = items[0];
  while (child < n) {
    if (child + 1 < n && is_less(items[child + 1], items[child])) child++;
    if (!is_less(items[child], last)) break;
    items[at] = items[child];
    at = child;
    child = 2 * at + 1;
  }
  items[at] = last;
  return true;
}

void moh__heap_free(moh__heap *heap) {
  free(heap->items);
  *heap = (moh__heap){0};
}
