/* Top-k selection: order, ties, NaN, k outside 1..n. */
#include <string.h>

#include "base/rng.h"
#include "route/topk.h"
#include "support/check.h"

/* Asserts the indices found, and the same choice by marks. */
static void assert_topk(const real *scores, int32_t n, int32_t k,
                        const int32_t *expected, int32_t n_expected) {
  int32_t best[16];
  unsigned char chosen[16];
  unsigned char expected_marks[16] = {0};
  assert_int_equal(moh__topk(scores, n, k, best), n_expected);
  for (int32_t i = 0; i < n_expected; i++) {
    assert_int_equal(best[i], expected[i]);
    expected_marks[expected[i]] = 1;
  }
  memset(chosen, 7, sizeof(chosen));
  moh__topk_mark(scores, n, k, chosen);
  assert_memory_equal(chosen, expected_marks, (size_t)n);
}
#define ASSERT_TOPK(scores, n, k, ...)                      \
  assert_topk(scores, n, k, (const int32_t[]){__VA_ARGS__}, \
              sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void best_come_first(void **state) {
  (void)state;
  const real row[] = {0.1f, 0.5f, 0.3f, 0.2f};
  const real batch[2][3] = {{0.1f, 0.5f, 0.3f}, {0.4f, 0.2f, 0.6f}};
  ASSERT_TOPK(row, 4, 2, 1, 2);
  ASSERT_TOPK(row, 4, 1, 1);
  ASSERT_TOPK(batch[0], 3, 2, 1, 2);
  ASSERT_TOPK(batch[1], 3, 2, 2, 0);
}

static void k_is_clipped(void **state) {
  (void)state;
  const real row[] = {0.1f, 0.5f, 0.3f, 0.2f};
  ASSERT_TOPK(row, 4, 4, 1, 2, 3, 0);
  ASSERT_TOPK(row, 4, 9, 1, 2, 3, 0);
  assert_topk(row, 4, 0, NULL, 0);
  assert_topk(row, 4, -1, NULL, 0);
  assert_topk(row, 0, 3, NULL, 0);
}

static void ties_go_to_the_lower_index(void **state) {
  (void)state;
  const real row[] = {1, 2, 2, 1, 2, 0};
  ASSERT_TOPK(row, 6, 2, 1, 2);
  ASSERT_TOPK(row, 6, 4, 1, 2, 4, 0);
  ASSERT_TOPK(row, 6, 5, 1, 2, 4, 0, 3);
  const real zeros[4] = {0, -0.0f, 0, 0};
  ASSERT_TOPK(zeros, 4, 3, 0, 1, 2);
}

static void nan_ranks_last(void **state) {
  (void)state;
  const real row[] = {NAN, -INFINITY, 3, NAN, INFINITY};
  ASSERT_TOPK(row, 5, 2, 4, 2);
  ASSERT_TOPK(row, 5, 3, 4, 2, 1);
  ASSERT_TOPK(row, 5, 5, 4, 2, 1, 0, 3);
  const real nothing[] = {NAN, NAN, NAN};
  ASSERT_TOPK(nothing, 3, 2, 0, 1);
}

/* Against counting: i is chosen when fewer than k others rank before it. */
static void random_scores_match_counting(void **state) {
  (void)state;
  moh__rng rng = moh__rng_make(1, 77);
  for (int round = 0; round < 500; round++) {
    real scores[12];
    unsigned char chosen[12];
    int32_t n = 1 + (int32_t)moh__rng_below(&rng, 12);
    int32_t k = (int32_t)moh__rng_below(&rng, (uint64_t)n + 1);
    for (int32_t i = 0; i < n; i++)
      scores[i] = (real)moh__rng_below(&rng, 5); /* many ties */
    moh__topk_mark(scores, n, k, chosen);
    for (int32_t i = 0; i < n; i++) {
      int32_t before = 0;
      for (int32_t j = 0; j < n; j++)
        before +=
            scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
      assert_int_equal(chosen[i], before < k);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(best_come_first),
      cmocka_unit_test(k_is_clipped),
      cmocka_unit_test(ties_go_to_the_lower_index),
      cmocka_unit_test(nan_ranks_last),
      cmocka_unit_test(random_scores_match_counting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
