/*
 * Heads by chance: the draws by themselves, and in a model, where nothing but
 * the seed, the pass, the position and the token may decide them.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "route/random_heads.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

enum { ROWS = 6000, N_ROUTED = 6, WIDTH = 8 };

/* 2 shared heads and k of 6, tokens and positions all different. */
static void draw(uint64_t seed, int32_t pass, int32_t k,
                 unsigned char *used) {
  static int32_t positions[ROWS], tokens[ROWS];
  for (int32_t t = 0; t < ROWS; t++) {
    positions[t] = t % 64;
    tokens[t] = t / 64;
  }
  moh__router_shape shape = {.n_shared = 2, .n_routed = N_ROUTED, .k = k};
  moh__random_heads draw = {seed, pass, positions, tokens};
  moh__random_select(&shape, &draw, ROWS, used);
}

static unsigned char used[ROWS][WIDTH], other[ROWS][WIDTH];

static void every_token_draws_k(void **state) {
  (void)state;
  for (int32_t k = 0; k <= N_ROUTED; k++) {
    draw(1, 0, k, used[0]);
    for (int t = 0; t < ROWS; t++) {
      int n = 0;
      assert_true(used[t][0] == 1 && used[t][1] == 1);
      for (int i = 2; i < WIDTH; i++) n += used[t][i];
      assert_int_equal(n, k);
    }
  }
}

/* Each of the 15 pairs within 5 standard deviations of its share. */
static void all_sets_are_alike(void **state) {
  (void)state;
  int count[N_ROUTED][N_ROUTED] = {{0}};
  draw(3, 5, 2, used[0]);
  for (int t = 0; t < ROWS; t++)
    for (int i = 0; i < N_ROUTED; i++)
      for (int j = i + 1; j < N_ROUTED; j++)
        count[i][j] += used[t][2 + i] && used[t][2 + j];
  for (int i = 0; i < N_ROUTED; i++)
    for (int j = i + 1; j < N_ROUTED; j++)
      assert_in_range(count[i][j], 400 - 97, 400 + 97);
}

static int n_equal(void) {
  int n = 0;
  for (int t = 0; t < ROWS; t++) n += memcmp(used[t], other[t], WIDTH) == 0;
  return n;
}

/* One of 20 sets of 3: 300 of 6,000 by chance, 17 their deviation. */
static void draws_depend_on_all_they_should(void **state) {
  (void)state;
  draw(1, 0, 3, used[0]);
  draw(1, 0, 3, other[0]);
  assert_int_equal(n_equal(), ROWS);
  draw(2, 0, 3, other[0]);
  assert_in_range(n_equal(), 200, 400);
  draw(1, 1, 3, other[0]);
  assert_in_range(n_equal(), 200, 400);
  memcpy(other[0], used[1], (ROWS - 1) * WIDTH); /* the next position */
  assert_in_range(n_equal(), 200, 400);
  memcpy(other[0], used[64], (ROWS - 64) * WIDTH); /* the next token */
  assert_in_range(n_equal(), 200, 400);
}

static void a_row_alone_draws_the_same(void **state) {
  (void)state;
  draw(9, 2, 3, used[0]);
  moh__router_shape shape = {.n_shared = 2, .n_routed = N_ROUTED, .k = 3};
  for (int32_t t = 0; t < ROWS; t += 7) {
    int32_t position = t % 64, token = t / 64;
    moh__random_heads alone = {9, 2, &position, &token};
    moh__random_select(&shape, &alone, 1, other[0]);
    assert_memory_equal(used[t], other[0], WIDTH);
  }
}

/* ---- in a model ---- */

static moh__config random_config(int n_shared, int k) {
  moh__config c = tiny_moh_config(n_shared, k);
  c.heads = MOH__HEADS_RANDOM;
  return c;
}

/* Drawing all heads is having them all: every bit, and no router. */
static void all_heads_give_the_dense_bits(void **state) {
  (void)state;
  moh__config dense = tiny_config();
  for (int n_shared = 0; n_shared <= 4; n_shared++) {
    moh__config drawn = random_config(n_shared, 4 - n_shared);
    tiny a;
    tiny b;
    tiny_open(&a, &dense, 1, 0.3);
    tiny_open(&b, &drawn, 1, 0.3);
    assert_int_equal(a.model->n_params, b.model->n_params);
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    for (int i = 0; i < a.model->n_params; i++)
      assert_same_reals(a.model->params[i].grad, b.model->params[i].grad,
                        a.model->params[i].n, "gradient");
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* Layers differ, and so do the passes of HRM through one layer. */
static void passes_draw_for_themselves(void **state) {
  (void)state;
  for (int hrm = 0; hrm < 2; hrm++) {
    moh__config c = random_config(0, 2);
    if (hrm) moh__config_set_architecture(&c, MOH__HRM);
    tiny t;
    tiny_open(&t, &c, 1, 0.3);
    tiny_logits(&t);
    int n_uses = 0;
    for (const moh__head_use *a = t.tape.use; a != NULL; a = a->next) {
      int32_t n = moh__plan_entries(a->plan);
      assert_int_equal(n, 2 * TINY_ROWS);
      double sum = 0;
      for (int h = 0; h < 4; h++) sum += (double)a->load[h];
      assert_true(fabs(sum - 2) < 1e-6);
      for (const moh__head_use *b = a->next; b != NULL; b = b->next)
        assert_memory_not_equal(a->plan->rows, b->plan->rows,
                                (size_t)n * sizeof(int32_t));
      n_uses++;
    }
    assert_int_equal(n_uses, moh__config_passes(&c));
    tiny_close(&t);
  }
}

static void the_seed_changes_the_model(void **state) {
  (void)state;
  moh__config c = random_config(1, 2);
  tiny a;
  tiny b;
  tiny_open(&a, &c, 1, 0.3);
  c.route_seed = 2;
  tiny_open(&b, &c, 1, 0.3);
  assert_true(tiny_loss(&a) != tiny_loss(&b));
  tiny_close(&a);
  tiny_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_token_draws_k),
      cmocka_unit_test(all_sets_are_alike),
      cmocka_unit_test(draws_depend_on_all_they_should),
      cmocka_unit_test(a_row_alone_draws_the_same),
      cmocka_unit_test(all_heads_give_the_dense_bits),
      cmocka_unit_test(passes_draw_for_themselves),
      cmocka_unit_test(the_seed_changes_the_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
