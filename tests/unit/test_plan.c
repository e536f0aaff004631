/* Dispatch plans: both directions agree, and sizes on a counting arena. */
#include <string.h>

#include "base/rng.h"
#include "route/plan.h"
#include "support/check.h"

enum { ARENA_BYTES = 1 << 20 };

static int open_arena(void **state) {
  static moh__arena arena;
  *state = &arena;
  return moh__arena_init(&arena, ARENA_BYTES, NULL) == MOH_OK ? 0 : -1;
}

static int close_arena(void **state) {
  moh__arena_free(*state);
  return 0;
}

static void first_candidates_use_all_rows(void **state) {
  moh__plan plan;
  moh__plan_first(&plan, *state, 5, 4, 3);
  assert_int_equal(plan.n_rows, 5);
  assert_int_equal(plan.n_candidates, 4);
  assert_null(plan.rows);
  assert_null(plan.token_start);
  assert_int_equal(moh__plan_entries(&plan), 15);
  for (int32_t c = 0; c < 4; c++) {
    assert_int_equal(plan.start[c], 5 * c);
    assert_int_equal(moh__plan_count(&plan, c), c < 3 ? 5 : 0);
    assert_null(moh__plan_rows(&plan, c));
  }
}

static void filled_plan_lists_rows_and_candidates(void **state) {
  const unsigned char used[3][4] = {
      {1, 0, 1, 0}, {0, 0, 1, 0}, {1, 0, 9, 1}};
  const int32_t start[] = {0, 2, 2, 5, 6};
  const int32_t rows[] = {0, 2, 0, 1, 2, 2};
  const int32_t token_start[] = {0, 2, 3, 6};
  const int32_t candidate_of[] = {0, 2, 2, 0, 2, 3};
  const int32_t entry_of[] = {0, 2, 3, 1, 4, 5};
  moh__plan plan;
  moh__plan_new(&plan, *state, 3, 4, 7);
  assert_int_equal(moh__plan_entries(&plan), 0);
  moh__plan_fill(&plan, &used[0][0]);
  assert_int_equal(moh__plan_entries(&plan), 6);
  assert_memory_equal(plan.start, start, sizeof(start));
  assert_memory_equal(plan.rows, rows, sizeof(rows));
  assert_memory_equal(plan.token_start, token_start, sizeof(token_start));
  assert_memory_equal(plan.candidate_of, candidate_of,
                      sizeof(candidate_of));
  assert_memory_equal(plan.entry_of, entry_of, sizeof(entry_of));
  assert_int_equal(moh__plan_count(&plan, 1), 0);
  assert_int_equal(moh__plan_count(&plan, 2), 3);
  assert_ptr_equal(moh__plan_rows(&plan, 2), plan.rows + 2);
}

static void check_against_marks(const moh__plan *plan,
                                const unsigned char *used) {
  int32_t n = plan->n_candidates;
  int32_t entry = 0;
  for (int32_t c = 0; c < n; c++) { /* candidate -> rows, ascending */
    assert_int_equal(plan->start[c], entry);
    for (int32_t t = 0; t < plan->n_rows; t++)
      if (used[t * n + c]) assert_int_equal(plan->rows[entry++], t);
  }
  assert_int_equal(moh__plan_entries(plan), entry);
  int32_t listed = 0;
  for (int32_t t = 0; t < plan->n_rows; t++) { /* token -> candidates */
    assert_int_equal(plan->token_start[t], listed);
    for (int32_t c = 0; c < n; c++) {
      if (!used[t * n + c]) continue;
      assert_int_equal(plan->candidate_of[listed], c);
      int32_t e = plan->entry_of[listed++];
      assert_in_range(e, plan->start[c], plan->start[c + 1] - 1);
      assert_int_equal(plan->rows[e], t);
    }
  }
  assert_int_equal(plan->token_start[plan->n_rows], entry);
}

static void random_plans_match_their_marks(void **state) {
  moh__arena *arena = *state;
  moh__rng rng = moh__rng_make(2, 77);
  unsigned char used[20 * 9];
  for (int round = 0; round < 300; round++) {
    moh__arena_release(arena, 0);
    int32_t rows = (int32_t)moh__rng_below(&rng, 21);
    int32_t n = 1 + (int32_t)moh__rng_below(&rng, 9);
    uint64_t odds = moh__rng_below(&rng, 5); /* none ... all */
    int32_t total = 0;
    for (int32_t i = 0; i < rows * n; i++) {
      used[i] = moh__rng_below(&rng, 4) < odds;
      total += used[i];
    }
    moh__plan plan;
    moh__plan_new(&plan, arena, rows, n, total);
    moh__plan_fill(&plan, used);
    check_against_marks(&plan, used);
  }
}

static void refilling_forgets_the_old_plan(void **state) {
  unsigned char used[12];
  moh__plan plan;
  moh__plan_new(&plan, *state, 4, 3, 12);
  memset(used, 1, sizeof(used));
  moh__plan_fill(&plan, used);
  assert_int_equal(moh__plan_entries(&plan), 12);
  memset(used, 0, sizeof(used));
  used[5] = 1;
  moh__plan_fill(&plan, used);
  check_against_marks(&plan, used);
}

static void counting_takes_as_much_as_the_real_thing(void **state) {
  moh__arena *arena = *state;
  moh__arena counting;
  moh__plan plan;
  moh__arena_init_counting(&counting);
  moh__arena_release(arena, 0);
  moh__plan_new(&plan, &counting, 37, 8, 37 * 6);
  assert_null(plan.start);
  assert_null(plan.rows);
  assert_int_equal(moh__plan_entries(&plan), 37 * 6);
  moh__plan_first(&plan, &counting, 37, 8, 5);
  assert_null(plan.start);
  assert_int_equal(moh__plan_entries(&plan), 37 * 5);
  moh__plan_new(&plan, arena, 37, 8, 37 * 6);
  moh__plan_first(&plan, arena, 37, 8, 5);
  assert_int_equal(moh__plan_entries(&plan), 37 * 5);
  assert_true(counting.used > 0);
  assert_int_equal(counting.used, arena->used);
}

/* A wide plan is the one that is filled from the wide marks. */
static void wide_plans_are_filled_ones(void **state) {
  enum { ROWS = 30, GROUPS = 5, EACH = 3 };
  unsigned char used[ROWS * GROUPS], heads[ROWS * GROUPS * EACH];
  moh__plan plan, wide, filled;
  moh__rng rng = moh__rng_make(3, 1);
  for (int i = 0; i < ROWS * GROUPS; i++) {
    used[i] = i % GROUPS != 2 && moh__rng_u64(&rng) % 2 == 0;
    memset(heads + i * EACH, used[i], EACH);
  }
  moh__plan_new(&plan, *state, ROWS, GROUPS, ROWS * GROUPS);
  moh__plan_fill(&plan, used);
  int32_t n = moh__plan_entries(&plan) * EACH;
  moh__plan_new(&wide, *state, ROWS, GROUPS * EACH, n);
  moh__plan_new(&filled, *state, ROWS, GROUPS * EACH, n);
  moh__plan_widen(&wide, &plan, EACH);
  moh__plan_fill(&filled, heads);
  size_t bytes = (size_t)n * sizeof(int32_t);
  assert_memory_equal(wide.start, filled.start,
                      (GROUPS * EACH + 1) * sizeof(int32_t));
  assert_memory_equal(wide.token_start, filled.token_start,
                      (ROWS + 1) * sizeof(int32_t));
  assert_memory_equal(wide.rows, filled.rows, bytes);
  assert_memory_equal(wide.candidate_of, filled.candidate_of, bytes);
  assert_memory_equal(wide.entry_of, filled.entry_of, bytes);
}

/* 8 query heads of 2 KV heads, of which a token uses some. */
static void a_group_is_in_use_with_any_of_its_heads(void **state) {
  static const struct {
    unsigned char used[8];
    int32_t groups_of_4, groups_of_2;
  } cases[] = {{{1, 0, 1, 0, 0, 1, 0, 1}, 2, 4},
               {{1, 1, 0, 1, 0, 0, 0, 0}, 1, 2},
               {{0, 0, 0, 0, 0, 0, 0, 1}, 1, 1},
               {{0}, 0, 0}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    moh__plan plan;
    moh__plan_new(&plan, *state, 1, 8, 8);
    moh__plan_fill(&plan, cases[i].used);
    assert_int_equal(moh__plan_groups_used(&plan, 4), cases[i].groups_of_4);
    assert_int_equal(moh__plan_groups_used(&plan, 2), cases[i].groups_of_2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(first_candidates_use_all_rows),
      cmocka_unit_test(filled_plan_lists_rows_and_candidates),
      cmocka_unit_test(random_plans_match_their_marks),
      cmocka_unit_test(wide_plans_are_filled_ones),
      cmocka_unit_test(a_group_is_in_use_with_any_of_its_heads),
      cmocka_unit_test(refilling_forgets_the_old_plan),
      cmocka_unit_test(counting_takes_as_much_as_the_real_thing),
  };
  return cmocka_run_group_tests(tests, open_arena, close_arena);
}
