/*
 * Unit gates in float: equal logits must give gates of exactly 1, or a
 * fresh router with k = all would not be dense attention to the bit.
 */

#include "route/head_router.h"
#include "support/check.h"

enum { N_TOKENS = 3, MAX_HEADS = 64 };

static real logits_of[MAX_HEADS * N_TOKENS];
static real mix[2 * N_TOKENS];
static real gates[MAX_HEADS * N_TOKENS];
static unsigned char used[MAX_HEADS * N_TOKENS];

/* Gates with all logits equal to `level`. */
static int32_t equal_gates(moh__router_shape shape, real level) {
  int32_t heads = shape.n_shared + shape.n_routed;
  for (int i = 0; i < MAX_HEADS * N_TOKENS; i++) logits_of[i] = level;
  for (int i = 0; i < 2 * N_TOKENS; i++) mix[i] = level;
  moh__router_logits logits = {
      .shared = moh__router_has_shared(&shape) ? logits_of : NULL,
      .routed = moh__router_has_routed(&shape) ? logits_of : NULL,
      .mix = moh__router_has_mix(&shape) ? mix : NULL};
  moh__arena arena;
  moh__plan plan;
  assert_int_equal(moh__arena_init(&arena, 1 << 16, NULL), MOH_OK);
  moh__router_select(&shape, N_TOKENS, logits_of, used);
  moh__plan_new(&plan, &arena, N_TOKENS, heads, N_TOKENS * heads);
  moh__plan_fill(&plan, used);
  moh__router_gates(&shape, &logits, &plan, gates);
  int32_t n = moh__plan_entries(&plan);
  moh__arena_free(&arena);
  return n;
}

static void equal_logits_give_exactly_one(void **state) {
  (void)state;
  const real levels[] = {0, 0.3f, -7.25f, 1000};
  for (int l = 0; l < 4; l++)
    for (int32_t n_shared = 0; n_shared <= 14; n_shared++)
      for (int32_t k = 0; k <= 16; k++)
        for (int32_t extra = 0; extra <= 3; extra += 3) {
          moh__router_shape shape = {.n_shared = n_shared,
                                     .n_routed = k + extra,
                                     .k = k,
                                     .scale = MOH__GATE_UNIT};
          int32_t n = equal_gates(shape, levels[l]);
          assert_int_equal(n, N_TOKENS * (n_shared + k));
          for (int32_t e = 0; e < n; e++) assert_true(gates[e] == 1.0f);
        }
}

/* The way by normalised probabilities is off for these: the reason for the
 * order of operations in head_router.c. */
static void tens_of_heads_are_exact_too(void **state) {
  (void)state;
  const int32_t ks[] = {10, 11, 12, 47, 49, 50, 55};
  for (int i = 0; i < 7; i++) {
    moh__router_shape routed = {.n_shared = 0,
                                .n_routed = ks[i],
                                .k = ks[i],
                                .scale = MOH__GATE_UNIT};
    moh__router_shape shared = {
        .n_shared = ks[i], .n_routed = 0, .k = 0, .scale = MOH__GATE_UNIT};
    int32_t n = equal_gates(routed, 0);
    for (int32_t e = 0; e < n; e++) assert_true(gates[e] == 1.0f);
    n = equal_gates(shared, 0);
    for (int32_t e = 0; e < n; e++) assert_true(gates[e] == 1.0f);
  }
}

static void ties_choose_the_first_heads(void **state) {
  (void)state;
  moh__router_shape shape = {
      .n_shared = 2, .n_routed = 6, .k = 4, .scale = MOH__GATE_UNIT};
  const unsigned char first[8] = {1, 1, 1, 1, 1, 1, 0, 0};
  equal_gates(shape, 0);
  for (int t = 0; t < N_TOKENS; t++)
    assert_memory_equal(used + 8 * t, first, 8);
}

static void paper_gates_are_shares(void **state) {
  (void)state;
  moh__router_shape shape = {
      .n_shared = 2, .n_routed = 4, .k = 2, .scale = MOH__GATE_PAPER};
  int32_t n = equal_gates(shape, 0);
  assert_int_equal(n, 4 * N_TOKENS);
  for (int32_t e = 0; e < n; e++) /* entries: heads 0, 1 then 2, 3 */
    assert_true(gates[e] == (e < 2 * N_TOKENS ? 0.25f : 0.125f));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equal_logits_give_exactly_one),
      cmocka_unit_test(tens_of_heads_are_exact_too),
      cmocka_unit_test(ties_choose_the_first_heads),
      cmocka_unit_test(paper_gates_are_shares),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
