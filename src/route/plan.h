/*
 * The dispatch plan: what every way of choosing heads (or experts) ends in,
 * and all that the layers above know of it.
 *
 * For each candidate the token rows that use it, ascending, and a gate for
 * each; for each token the candidates that it uses, ascending. The entries
 * of candidate c are start[c] .. start[c+1]; everything that is computed
 * for an entry (a query, a head's output) is stored under its number, so
 * that a candidate's rows lie together. "All rows" is stored as nothing at
 * all.
 */
#ifndef MOH_ROUTE_PLAN_H
#define MOH_ROUTE_PLAN_H

#include <stdint.h>

#include "base/arena.h"
#include "base/real.h"

typedef struct moh__plan {
  int32_t n_rows;       /* tokens */
  int32_t n_candidates; /* heads or experts */
  int32_t capacity;     /* entries that there is room for */
  int32_t *start;       /* [n_candidates + 1]; NULL on a counting arena */
  /* rows[e] is the token row of entry e. NULL: a candidate that is used at
   * all is used by every row, in order. */
  int32_t *rows;
  /* entry_of[token_start[t] ..]: entries of token t by ascending candidate,
   * candidate_of[...]: their candidates. NULL when rows is NULL. */
  int32_t *token_start;  /* [n_rows + 1] */
  int32_t *candidate_of; /* [n_entries] */
  int32_t *entry_of;     /* [n_entries] */
} moh__plan;

/* On a counting arena: the most that there can be. */
static inline int32_t moh__plan_entries(const moh__plan *plan) {
  return plan->start == NULL ? plan->capacity
                             : plan->start[plan->n_candidates];
}

static inline int32_t moh__plan_count(const moh__plan *plan, int32_t c) {
  return plan->start[c + 1] - plan->start[c];
}

/* The row list of candidate c, NULL for "row i is token i". */
static inline const int32_t *moh__plan_rows(const moh__plan *plan,
                                            int32_t c) {
  return plan->rows == NULL ? NULL : plan->rows + plan->start[c];
}

/* Every row uses the first n_used of n_candidates: AllHeads (n_used equal
 * to n_candidates) and StaticPruning. The struct is the caller's, its
 * arrays are the arena's; on a counting arena they are NULL and only their
 * sizes count. */
void moh__plan_first(moh__plan *plan, moh__arena *arena, int32_t n_rows,
                     int32_t n_candidates, int32_t n_used);

/* A plan with room for `capacity` entries and nothing in it. */
void moh__plan_new(moh__plan *plan, moh__arena *arena, int32_t n_rows,
                   int32_t n_candidates, int32_t capacity);

/* Of the groups of `each` neighbouring candidates, how many some row uses: KV
 * heads that are read, with a plan of query heads. */
int32_t moh__plan_groups_used(const moh__plan *plan, int32_t each);

/* The first entry of candidate c whose row is at least `row`. */
int32_t moh__plan_lower_bound(const moh__plan *plan, int32_t c, int32_t row);

/* Fills `wide`, of moh__plan_new over `each` times the candidates and
 * entries: the rows of candidate c use candidates each c .. each (c + 1) of
 * it. Entry e of c is then entry moh__plan_wide_entry of its j-th. */
void moh__plan_widen(moh__plan *wide, const moh__plan *plan, int32_t each);

static inline int32_t moh__plan_wide_entry(const moh__plan *plan,
                                           int32_t each, int32_t c, int32_t e,
                                           int32_t j) {
  return (each - 1) * plan->start[c] + j * moh__plan_count(plan, c) + e;
}

/* Fills a plan of moh__plan_new from used[t * n_candidates + c] != 0. */
void moh__plan_fill(moh__plan *plan, const unsigned char *used);

#endif
