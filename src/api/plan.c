/* Plans of moh.h: a dispatch plan and its gates in memory of their own. */
#include <stdlib.h>
#include <string.h>

#include "api/handles.h"
#include "api/sized.h"
#include "route/balance.h"

/* The same allocations on a counting and on a real arena. */
static void lay_out(moh_plan *plan, moh__arena *arena, int32_t n_rows,
                    int32_t n_heads, int32_t capacity) {
  moh__plan_new(&plan->inner, arena, n_rows, n_heads, capacity);
  plan->gates = moh__arena_alloc(arena, (size_t)capacity * sizeof(real));
}

moh_status moh__plan_handle_new(moh_plan **out, int32_t n_rows,
                                int32_t n_heads, int64_t capacity,
                                moh_error *err) {
  *out = NULL;
  if (n_rows < 1 || n_heads < 1 || capacity > INT32_MAX / 4)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%d rows over %d heads are no plan: both must be at "
                     "least 1, and their entries below 2^29",
                     n_rows, n_heads);
  moh_plan *plan = calloc(1, sizeof(*plan));
  if (plan == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a plan");
  moh__arena counting;
  moh__arena_init_counting(&counting);
  lay_out(plan, &counting, n_rows, n_heads, (int32_t)capacity);
  moh_status status = moh__arena_init(&plan->arena, counting.peak, err);
  if (status != MOH_OK) {
    free(plan);
    return status;
  }
  lay_out(plan, &plan->arena, n_rows, n_heads, (int32_t)capacity);
  *out = plan;
  return MOH_OK;
}

void moh_plan_free(moh_plan *plan) {
  if (plan == NULL) return;
  moh__arena_free(&plan->arena);
  free(plan);
}

static void gather_gates(moh_plan *plan, const float *table) {
  const moh__plan *p = &plan->inner;
  for (int32_t h = 0; h < p->n_candidates; h++)
    for (int32_t e = p->start[h]; e < p->start[h + 1]; e++)
      plan->gates[e] =
          table == NULL ? 1
                        : table[(int64_t)p->rows[e] * p->n_candidates + h];
}

moh_status moh_plan_new(moh_plan **plan, const unsigned char *selected,
                        const float *gates, int32_t n_rows, int32_t n_heads,
                        moh_error *err) {
  MOH__NEED(plan, err);
  *plan = NULL;
  MOH__NEED(selected, err);
  int64_t n = (int64_t)n_rows * n_heads;
  int64_t n_entries = 0;
  for (int64_t i = 0; i < n; i++) n_entries += selected[i] != 0;
  MOH_TRY(moh__plan_handle_new(plan, n_rows, n_heads, n_entries, err));
  moh__plan_fill(&(*plan)->inner, selected);
  gather_gates(*plan, gates);
  return MOH_OK;
}

/* ---- reading ---- */

int32_t moh_plan_n_rows(const moh_plan *plan) {
  return plan == NULL ? 0 : plan->inner.n_rows;
}

int32_t moh_plan_n_heads(const moh_plan *plan) {
  return plan == NULL ? 0 : plan->inner.n_candidates;
}

int32_t moh_plan_n_entries(const moh_plan *plan) {
  return plan == NULL ? 0 : moh__plan_entries(&plan->inner);
}

int32_t moh_plan_head(const moh_plan *plan, int32_t head,
                      const int32_t **rows, const float **gates,
                      int32_t *first) {
  bool known = head >= 0 && head < moh_plan_n_heads(plan);
  int32_t start = known ? plan->inner.start[head] : 0;
  if (rows != NULL) *rows = known ? plan->inner.rows + start : NULL;
  if (gates != NULL) *gates = known ? plan->gates + start : NULL;
  if (first != NULL) *first = start;
  return known ? moh__plan_count(&plan->inner, head) : 0;
}

int32_t moh_plan_row(const moh_plan *plan, int32_t row,
                     const int32_t **heads, const int32_t **entries) {
  bool known = row >= 0 && row < moh_plan_n_rows(plan);
  int32_t start = known ? plan->inner.token_start[row] : 0;
  if (heads != NULL)
    *heads = known ? plan->inner.candidate_of + start : NULL;
  if (entries != NULL) *entries = known ? plan->inner.entry_of + start : NULL;
  return known ? plan->inner.token_start[row + 1] - start : 0;
}

const float *moh_plan_gates(const moh_plan *plan) {
  return plan == NULL ? NULL : plan->gates;
}

moh_status moh_plan_load(const moh_plan *plan, float *load,
                         moh_error *err) {
  MOH__NEED(plan, err);
  MOH__NEED(load, err);
  for (int32_t h = 0; h < plan->inner.n_candidates; h++)
    load[h] = (float)moh__plan_count(&plan->inner, h) /
              (float)plan->inner.n_rows;
  return MOH_OK;
}

moh_status moh_load_entropy(const float *load, int32_t n, float *entropy,
                            moh_error *err) {
  MOH__NEED(load, err);
  MOH__NEED(entropy, err);
  if (n < 1)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there is no load of %d", n);
  *entropy = moh__load_entropy(load, n);
  return MOH_OK;
}
