/*
 * Parameters and multiply-adds, counted from tensors, against totals worked
 * out by hand; and that the file, the optimizer and the count agree.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "support/check.h"
#include "support/tiny.h"
#include "train/optimizer.h"

static int64_t count(const moh__config *c) {
  moh_error err;
  moh__model *model = NULL;
  assert_int_equal(moh__arch_model(&model, c, &err), MOH_OK);
  int64_t n = moh__model_count(model);
  moh__model_free(model);
  return n;
}

static void preset_seed_is_the_plans_accounting(void **state) {
  (void)state;
  moh_error err;
  moh__config c;
  assert_int_equal(moh__config_preset(&c, "seed", &err), MOH_OK);
  assert_int_equal(count(&c), 577280);
  moh__model *model = NULL;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__model_count_routers(model), 3 * 1280);
  moh__model_free(model);
  c.heads = MOH__HEADS_ALL;
  assert_int_equal(count(&c), 573440);
}

/* The same sizes with W_O and a final norm, by vocabulary and positions. */
static moh__config proper(int64_t vocab, moh__position_kind position,
                          moh__head_strategy heads) {
  moh_error err;
  moh__config c;
  assert_int_equal(moh__config_preset(&c, "seed-train", &err), MOH_OK);
  c.vocab_size = vocab;
  c.position = position;
  c.heads = heads;
  c.tied = false;
  return c;
}

static void proper_models_have_the_totals(void **state) {
  (void)state;
  static const struct {
    int64_t vocab;
    moh__position_kind position;
    moh__head_strategy heads;
    int64_t total;
  } rows[] = {
      {605, MOH__POSITION_ROPE, MOH__HEADS_ALL, 598144},
      {605, MOH__POSITION_COPE, MOH__HEADS_ALL, 622720},
      {605, MOH__POSITION_COPE, MOH__HEADS_MOH, 626560},
      {605, MOH__POSITION_LEARNED, MOH__HEADS_ALL, 608384},
      {605, MOH__POSITION_LEARNED, MOH__HEADS_MOH, 612224},
      {1520, MOH__POSITION_ROPE, MOH__HEADS_ALL, 832384},
      {1520, MOH__POSITION_COPE, MOH__HEADS_ALL, 856960},
      {1520, MOH__POSITION_COPE, MOH__HEADS_MOH, 860800},
      {1520, MOH__POSITION_LEARNED, MOH__HEADS_ALL, 842624},
      {1520, MOH__POSITION_LEARNED, MOH__HEADS_MOH, 846464},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    moh__config c = proper(rows[i].vocab, rows[i].position, rows[i].heads);
    assert_int_equal(count(&c), rows[i].total);
  }
}

/* Worked out by hand: 4,096 x 256 tied; 5 layers of 4 x 256^2 + 3 x 256 x
 * 688
 * + 2 x 256 and a router of 10 x 256; a final norm. */
static void preset_xs_has_five_million(void **state) {
  (void)state;
  moh_error err;
  moh__config c;
  assert_int_equal(moh__config_preset(&c, "moh-xs", &err), MOH_OK);
  c.vocab_size = 4096;
  assert_int_equal(count(&c), 5016832);
}

/* The original's own count, from ours: learned positions, no W_O, no final
 * norm; and its heads are blocks of 16 x 16 on the diagonal, 4,096 numbers
 * a layer where full-width Q, K, V have 32,768. */
static void the_originals_count_is_a_formula(void **state) {
  (void)state;
  moh_error err;
  moh__config c;
  assert_int_equal(moh__config_preset(&c, "seed", &err), MOH_OK);
  c.vocab_size = 1520;
  c.position = MOH__POSITION_LEARNED;
  assert_int_equal(count(&c) - 3 * (32768 - 4096), 711168);
  c.heads = MOH__HEADS_ALL;
  assert_int_equal(count(&c) - 3 * (32768 - 4096), 707328);
}

static void swiglu_has_three_matrices(void **state) {
  (void)state;
  moh_error err;
  moh__config c;
  moh__model *model = NULL;
  assert_int_equal(moh__config_preset(&c, "seed", &err), MOH_OK);
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++)
    if (strstr(model->params[i].name, "layers.0.mlp") != NULL)
      n += model->params[i].n;
  assert_int_equal(n, 98304);
  moh__model_free(model);
}

/* Mean over the tokens of a sequence of 80. */
static void multiply_adds_of_a_token(void **state) {
  (void)state;
  moh__config c = proper(1520, MOH__POSITION_ROPE, MOH__HEADS_MOH);
  int64_t dense = 0;
  int64_t active = 0;
  for (int64_t context = 1; context <= 80; context++) {
    moh__macs macs = moh__arch_macs(&c, context);
    dense += macs.dense;
    active += macs.active;
    assert_int_equal(macs.router, 3840);
  }
  assert_int_equal(dense, 80 * 668032);
  assert_int_equal(active, 80 * 639520);
}

/* Worked out by hand for 4 KV heads and 8 heads of 16, d 128: K and V 2 x 64
 * x 128; a head 2 x 16 x 128 and 2 x 16 a key; a router of 10 rows. With the
 * feed-forward part and the output matrix that is the whole. */
static void multiply_adds_of_attention(void **state) {
  (void)state;
  moh__config c = proper(1520, MOH__POSITION_ROPE, MOH__HEADS_MOH);
  moh__macs part = moh__arch_attention_macs(&c, 100);
  assert_int_equal(part.dense, 16384 + 8 * (4096 + 3200));
  assert_int_equal(part.active, 16384 + 6 * (4096 + 3200) + 1280);
  assert_int_equal(part.router, 1280);
  moh__macs whole = moh__arch_macs(&c, 100);
  int64_t rest = 3 * 3 * 128 * 256 + 1520 * 128;
  assert_int_equal(whole.dense, 3 * part.dense + rest);
  assert_int_equal(whole.active, 3 * part.active + rest);
}

/* 64 rows of 16 for each head. */
static void multiply_adds_of_positions(void **state) {
  (void)state;
  moh__config rope = proper(1520, MOH__POSITION_ROPE, MOH__HEADS_MOH);
  moh__config cope = proper(1520, MOH__POSITION_COPE, MOH__HEADS_MOH);
  moh__macs without = moh__arch_macs(&rope, 100);
  moh__macs with = moh__arch_macs(&cope, 100);
  assert_int_equal(without.positions, 0);
  assert_int_equal(with.positions, 3 * 6 * 64 * 16);
  assert_int_equal(with.active - without.active, with.positions);
  assert_int_equal(with.dense - without.dense, 3 * 8 * 64 * 16);
}

/* By group, 1 + 2 of 4: as many heads, a router of 3 + 2 rows. */
static void groups_have_smaller_routers(void **state) {
  (void)state;
  moh__config c = proper(1520, MOH__POSITION_ROPE, MOH__HEADS_MOH);
  c.route_by = MOH__ROUTE_BY_GROUP;
  c.n_shared = 1;
  c.k = 2;
  moh__macs part = moh__arch_attention_macs(&c, 100);
  assert_int_equal(part.dense, 16384 + 8 * (4096 + 3200));
  assert_int_equal(part.active, 16384 + 6 * (4096 + 3200) + 5 * 128);
  assert_int_equal(part.router, 5 * 128);
  assert_int_equal(count(&c), 832384 + 3 * 5 * 128);
}

/* Queries of all heads are computed, to rank them, and the squares of the six
 * routed ones: only scores, values and W_O are spared. */
static void query_norms_spare_no_queries(void **state) {
  (void)state;
  moh__config c = proper(1520, MOH__POSITION_ROPE, MOH__HEADS_MOH);
  int64_t dense = moh__arch_attention_macs(&c, 100).dense;
  c.heads = MOH__HEADS_NORM;
  c.gate_scale = MOH__GATE_ONE;
  moh__macs part = moh__arch_attention_macs(&c, 100);
  assert_int_equal(part.dense, dense);
  assert_int_equal(part.active, 16384 + 8 * 2048 + 6 * (2048 + 3200) + 6 * 16);
  assert_int_equal(part.router, 6 * 16);
  assert_int_equal(count(&c), 832384);
}

/* A step with a gradient of 1 everywhere moves exactly the counted numbers.
 */
static void the_optimizer_updates_what_is_counted(void **state) {
  (void)state;
  moh_error err;
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 2;
  c.k = 1;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh__optimizer *optimizer = NULL;
  assert_int_equal(moh__optimizer_new(&optimizer, t.model, false, &err),
                   MOH_OK);
  moh__adamw_options o = {.lr = 0.5, .router_lr = 1, .eps = 1e-8};
  int64_t moved = 0;
  for (int i = 0; i < t.model->n_params; i++)
    for (int64_t j = 0; j < t.model->params[i].n; j++) {
      t.model->params[i].data[j] = 0;
      t.model->params[i].grad[j] = 1;
    }
  assert_int_equal(moh__optimizer_step(optimizer, t.pool, &o, 1, &err),
                   MOH_OK);
  for (int i = 0; i < t.model->n_params; i++)
    for (int64_t j = 0; j < t.model->params[i].n; j++)
      moved += t.model->params[i].data[j] < -0.4f;
  assert_int_equal(moved, moh__model_count(t.model));
  moh__optimizer_free(optimizer);
  tiny_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(preset_seed_is_the_plans_accounting),
      cmocka_unit_test(proper_models_have_the_totals),
      cmocka_unit_test(preset_xs_has_five_million),
      cmocka_unit_test(the_originals_count_is_a_formula),
      cmocka_unit_test(swiglu_has_three_matrices),
      cmocka_unit_test(multiply_adds_of_a_token),
      cmocka_unit_test(multiply_adds_of_attention),
      cmocka_unit_test(multiply_adds_of_positions),
      cmocka_unit_test(groups_have_smaller_routers),
      cmocka_unit_test(query_norms_spare_no_queries),
      cmocka_unit_test(the_optimizer_updates_what_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
