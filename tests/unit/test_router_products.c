/*
 * The router's products in float: many rows at once, where the three matrices
 * are joined, give the bits of few rows at a time, where they are not: gates
 * and plans, and in backward what x and every matrix get. A frozen matrix
 * among trained ones gets nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "op/op.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

enum { ROWS = 40, FEW = 10, D = 70, SHARED = 2, ROUTED = 5, K = 2 };
enum { ENTRIES = ROWS * (SHARED + K), MATRICES = 3 };

typedef struct bench {
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  moh__param w[MATRICES];
  real x[ROWS * D], dx[ROWS * D];
  real gates[ENTRIES]; /* of row 0, row 1, ..., by ascending head */
  int32_t heads[ENTRIES];
} bench;

static void *reals(size_t n) {
  void *memory = aligned_alloc(64, (n * sizeof(real) + 63) / 64 * 64);
  assert_non_null(memory);
  return memory;
}

static void open_matrix(bench *b, int i, int64_t rows, uint64_t seed) {
  moh__param *w = &b->w[i];
  w->n_dims = 2;
  w->shape[0] = rows;
  w->shape[1] = D;
  w->n = rows * D;
  w->grouping = MOH__PACK_OUTPUTS;
  w->n_groups = 1;
  w->data = reals((size_t)w->n);
  w->grad = reals((size_t)w->n);
  w->packed = reals((size_t)moh__param_packed_bytes(w));
  for (int64_t j = 0; j < w->n; j++) {
    w->data[j] = (real)tiny_noise(seed, (uint64_t)j);
    w->grad[j] = (real)(0.1 * tiny_noise(seed + 50, (uint64_t)j));
  }
  moh__param_pack(w, b->pool);
}

static void open_bench(bench *b) {
  moh_error err;
  memset(b, 0, sizeof(*b));
  assert_int_equal(moh__arena_init(&b->arena, 4 << 20, &err), MOH_OK);
  assert_int_equal(moh__pool_new(&b->pool, 1, &err), MOH_OK);
  assert_int_equal(moh__tape_init(&b->tape, &b->arena, b->pool, &err),
                   MOH_OK);
  open_matrix(b, 0, SHARED, 1);
  open_matrix(b, 1, ROUTED, 2);
  open_matrix(b, 2, 2, 3);
  for (int i = 0; i < ROWS * D; i++) {
    b->x[i] = (real)tiny_noise(4, (uint64_t)i);
    b->dx[i] = (real)tiny_noise(5, (uint64_t)i);
  }
}

static void close_bench(bench *b) {
  for (int i = 0; i < MATRICES; i++) {
    free(b->w[i].data);
    free(b->w[i].grad);
    free(b->w[i].packed);
  }
  moh__tape_free(&b->tape);
  moh__arena_free(&b->arena);
  moh__pool_free(b->pool);
}

/* Rows begin .. begin + n, forward and backward, as a step of their own. */
static void run_rows(bench *b, int32_t begin, int32_t n) {
  moh__router_args args = {.shape = {.n_shared = SHARED,
                                     .n_routed = ROUTED,
                                     .k = K,
                                     .scale = MOH__GATE_UNIT},
                           .heads_each = 1,
                           .w_shared = &b->w[0],
                           .w_routed = &b->w[1],
                           .w_mix = &b->w[2]};
  moh__tensor x = {
      .v = b->x + begin * D, .g = b->dx + begin * D, .rows = n, .cols = D};
  const moh__plan *plan;
  moh__tape_reset(&b->tape, true);
  moh__tensor *gates = moh__op_head_router(&b->tape, &x, &args, &plan);
  int32_t at = begin * (SHARED + K);
  gates->fresh = false;
  for (int32_t i = 0; i < plan->token_start[n]; i++, at++) {
    int32_t e = plan->entry_of[i];
    b->heads[at] = plan->candidate_of[i];
    b->gates[at] = gates->v[e];
    gates->g[e] = (real)tiny_noise(6, (uint64_t)at);
  }
  moh__tape_backward(&b->tape);
}

static void check_pieces(const moh__kernels *table) {
  static const char *const names[] = {"dW shared", "dW routed", "dW mix"};
  static bench whole, pieces;
  moh__kernel_use(table);
  open_bench(&whole);
  open_bench(&pieces);
  run_rows(&whole, 0, ROWS);
  for (int32_t i = 0; i < ROWS; i += FEW) run_rows(&pieces, i, FEW);
  assert_memory_equal(whole.heads, pieces.heads, sizeof(whole.heads));
  assert_same_reals(whole.gates, pieces.gates, ENTRIES, "gates");
  assert_same_reals(whole.dx, pieces.dx, ROWS * D, "dx");
  for (int i = 0; i < MATRICES; i++)
    assert_same_reals(whole.w[i].grad, pieces.w[i].grad, whole.w[i].n,
                      names[i]);
  close_bench(&whole);
  close_bench(&pieces);
}

static void many_rows_give_the_bits_of_few(void **state) {
  (void)state;
  for_each_table(check_pieces);
}

static void frozen_matrices_get_nothing(void **state) {
  (void)state;
  static bench b, old;
  open_bench(&b);
  open_bench(&old);
  b.w[1].flags = MOH__PARAM_FROZEN;
  run_rows(&b, 0, ROWS);
  run_rows(&old, 0, ROWS);
  assert_same_reals(b.w[0].grad, old.w[0].grad, b.w[0].n, "dW shared");
  assert_same_reals(b.w[2].grad, old.w[2].grad, b.w[2].n, "dW mix");
  close_bench(&old);
  open_bench(&old);
  assert_same_reals(b.w[1].grad, old.w[1].grad, b.w[1].n, "frozen");
  close_bench(&old);
  close_bench(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(many_rows_give_the_bits_of_few),
      cmocka_unit_test(frozen_matrices_get_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
