/*
 * Building dispatch plans. Both directions, candidate -> rows and token ->
 * candidates, come from one pass over the tokens, which is why both lists
 * are ascending.
 */
#include "route/plan.h"

#include <assert.h>
#include <string.h>

static int32_t *alloc_ints(moh__arena *arena, int64_t n) {
  return moh__arena_alloc(arena, (size_t)n * sizeof(int32_t));
}

void moh__plan_first(moh__plan *plan, moh__arena *arena, int32_t n_rows,
                     int32_t n_candidates, int32_t n_used) {
  memset(plan, 0, sizeof(*plan));
  plan->n_rows = n_rows;
  plan->n_candidates = n_candidates;
  plan->capacity = n_rows * n_used;
  plan->start = alloc_ints(arena, (int64_t)n_candidates + 1);
  if (arena->counting) return;
  for (int32_t c = 0; c <= n_candidates; c++)
    plan->start[c] = n_rows * (c < n_used ? c : n_used);
}

void moh__plan_new(moh__plan *plan, moh__arena *arena, int32_t n_rows,
                   int32_t n_candidates, int32_t capacity) {
  plan->n_rows = n_rows;
  plan->n_candidates = n_candidates;
  plan->capacity = capacity;
  plan->start = alloc_ints(arena, (int64_t)n_candidates + 1);
  plan->rows = alloc_ints(arena, capacity);
  plan->token_start = alloc_ints(arena, (int64_t)n_rows + 1);
  plan->candidate_of = alloc_ints(arena, capacity);
  plan->entry_of = alloc_ints(arena, capacity);
  if (arena->counting) return;
  memset(plan->start, 0, ((size_t)n_candidates + 1) * sizeof(int32_t));
  memset(plan->token_start, 0, ((size_t)n_rows + 1) * sizeof(int32_t));
}

/* start[c] becomes the first entry of candidate c. */
static void count_entries(moh__plan *plan, const unsigned char *used) {
  int32_t n = plan->n_candidates;
  memset(plan->start, 0, ((size_t)n + 1) * sizeof(int32_t));
  for (int32_t t = 0; t < plan->n_rows; t++)
    for (int32_t c = 0; c < n; c++)
      plan->start[c + 1] += used[(int64_t)t * n + c] != 0;
  for (int32_t c = 0; c < n; c++) plan->start[c + 1] += plan->start[c];
  assert(plan->start[n] <= plan->capacity);
}

void moh__plan_fill(moh__plan *plan, const unsigned char *used) {
  count_entries(plan, used);
  int32_t n = plan->n_candidates;
  int32_t n_listed = 0;
  /* start[c] serves as the cursor of candidate c, and ends on start[c + 1].
   */
  for (int32_t t = 0; t < plan->n_rows; t++) {
    plan->token_start[t] = n_listed;
    for (int32_t c = 0; c < n; c++) {
      if (used[(int64_t)t * n + c] == 0) continue;
      int32_t entry = plan->start[c]++;
      plan->rows[entry] = t;
      plan->candidate_of[n_listed] = c;
      plan->entry_of[n_listed++] = entry;
    }
  }
  plan->token_start[plan->n_rows] = n_listed;
  for (int32_t c = n; c > 0; c--) plan->start[c] = plan->start[c - 1];
  plan->start[0] = 0;
}

void moh__plan_widen(moh__plan *wide, const moh__plan *plan, int32_t each) {
  for (int32_t c = 0; c < plan->n_candidates; c++)
    for (int32_t j = 0; j < each; j++) {
      int32_t first = moh__plan_wide_entry(plan, each, c, plan->start[c], j);
      wide->start[c * each + j] = first;
      memcpy(wide->rows + first, plan->rows + plan->start[c],
             (size_t)moh__plan_count(plan, c) * sizeof(int32_t));
    }
  int32_t n = plan->start[plan->n_candidates];
  wide->start[wide->n_candidates] = n * each;
  for (int32_t t = 0; t <= plan->n_rows; t++)
    wide->token_start[t] = plan->token_start[t] * each;
  for (int32_t i = 0; i < n; i++)
    for (int32_t j = 0; j < each; j++) {
      int32_t c = plan->candidate_of[i];
      wide->candidate_of[i * each + j] = c * each + j;
      wide->entry_of[i * each + j] =
          moh__plan_wide_entry(plan, each, c, plan->entry_of[i], j);
    }
}

int32_t moh__plan_groups_used(const moh__plan *plan, int32_t each) {
  int32_t n_used = 0;
  for (int32_t c = 0; c < plan->n_candidates; c += each)
    n_used += plan->start[c + each] > plan->start[c];
  return n_used;
}

int32_t moh__plan_lower_bound(const moh__plan *plan, int32_t c, int32_t row) {
  int32_t low = plan->start[c];
  int32_t high = plan->start[c + 1];
  if (plan->rows == NULL) return low + (row < high - low ? row : high - low);
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if (plan->rows[middle] < row)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
