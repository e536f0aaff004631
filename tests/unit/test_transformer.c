/*
 * The model as a whole, in float: skipping gives the bits of masking, fresh
 * routers give the bits of a dense model, unused heads are not touched,
 * and threads change nothing.
 */
#include "arch/arch.h"
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/tables.h"
#include "support/tiny.h"

/* Every parameter of a that b has too: the same gradient bits. */
static void assert_same_grads(const tiny *a, const tiny *b) {
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    const moh__param *other = moh__model_param(b->model, w->name);
    if (other != NULL) assert_same_reals(w->grad, other->grad, w->n, w->name);
  }
}

static void copy_weights(const tiny *from, tiny *to) {
  for (int i = 0; i < to->model->n_params; i++) {
    moh__param *w = &to->model->params[i];
    const moh__param *other = moh__model_param(from->model, w->name);
    if (other != NULL)
      memcpy(w->data, other->data, (size_t)w->n * sizeof(real));
    else
      memset(w->data, 0, (size_t)w->n * sizeof(real));
  }
}

static void check_fresh_routers(moh__config routed) {
  moh__config dense = tiny_config();
  dense.n_kv_heads = routed.n_kv_heads;
  tiny a;
  tiny b;
  tiny_open(&a, &dense, 1, 0.3);
  tiny_open(&b, &routed, 1, 0.3);
  copy_weights(&a, &b); /* routers: zeros */
  real *logits = copied_reals(tiny_logits(&a), TINY_ROWS * TINY_VOCAB);
  assert_same_reals(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB, "logits");
  tiny_backward(&a);
  tiny_backward(&b);
  assert_same_reals(a.loss, b.loss, TINY_ROWS, "loss");
  assert_same_grads(&a, &b);
  free(logits);
  tiny_close(&a);
  tiny_close(&b);
}

static void check_fresh(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 0; n_shared <= 4; n_shared++)
    check_fresh_routers(tiny_moh_config(n_shared, 4 - n_shared));
  for (int n_shared = 0; n_shared <= 2; n_shared++)
    check_fresh_routers(tiny_group_config(n_shared, 2 - n_shared));
  for (int n_shared = 0; n_shared <= 1; n_shared++) {
    moh__config c = tiny_group_config(n_shared, 1 - n_shared);
    c.n_kv_heads = 1;
    check_fresh_routers(c);
  }
}

static void fresh_routers_give_the_dense_bits(void **state) {
  (void)state;
  for_each_table(check_fresh);
}

static void check_masked_config(const moh__config *c) {
  tiny skipped;
  tiny masked;
  tiny_open(&skipped, c, 1, 0.3);
  tiny_open(&masked, c, 1, 0.3);
  masked.tape.masked = true;
  double a = tiny_backward(&skipped);
  double b = tiny_backward(&masked);
  assert_true(a == b);
  assert_same_reals(skipped.loss, masked.loss, TINY_ROWS, "loss");
  assert_same_grads(&skipped, &masked);
  tiny_close(&skipped);
  tiny_close(&masked);
}

static void check_masked(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 0; n_shared <= 3; n_shared++)
    for (int k = 0; k <= 4 - n_shared; k++) {
      if (n_shared + k == 0) continue;
      moh__config c = tiny_moh_config(n_shared, k);
      check_masked_config(&c);
      c.position = MOH__POSITION_COPE;
      c.cope_positions = 5;
      c.n_kv_heads = 1;
      check_masked_config(&c);
    }
}

static void check_masked_groups(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 0; n_shared <= 1; n_shared++) {
    moh__config c = tiny_group_config(n_shared, 1);
    check_masked_config(&c);
    c = tiny_group_config(n_shared, 1 - n_shared);
    check_masked_config(&c);
    c.position = MOH__POSITION_COPE;
    c.cope_positions = 5;
    c.gate_scale = MOH__GATE_PAPER;
    check_masked_config(&c);
  }
}

static void check_masked_draws(const moh__kernels *table) {
  moh__kernel_use(table);
  moh__config c = tiny_moh_config(1, 2);
  c.heads = MOH__HEADS_RANDOM;
  check_masked_config(&c);
  c.n_shared = 0;
  c.position = MOH__POSITION_COPE;
  c.cope_positions = 5;
  check_masked_config(&c);
  c.k = 1;
  c.route_by = MOH__ROUTE_BY_GROUP;
  check_masked_config(&c);
}

static void skipping_gives_the_bits_of_masking(void **state) {
  (void)state;
  for_each_table(check_masked_draws);
  for_each_table(check_masked);
  for_each_table(check_masked_groups);
}

static void plant_nan(tiny *t, int64_t layer, int32_t head) {
  int64_t d = t->model->config.d_head;
  moh__param *q =
      moh__model_layer_param(t->model, layer, "self_attn.q_proj.weight");
  moh__param *o =
      moh__model_layer_param(t->model, layer, "self_attn.o_proj.weight");
  for (int64_t i = 0; i < d * q->shape[1]; i++)
    q->data[head * d * q->shape[1] + i] = NAN;
  for (int64_t r = 0; r < o->shape[0]; r++)
    for (int64_t i = 0; i < d; i++)
      o->data[r * o->shape[1] + head * d + i] = NAN;
}

static void unused_heads_are_never_touched(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 1);
  c.n_kv_heads = 4;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  tiny_one_token(&t);
  real *before = copied_reals(tiny_logits(&t), TINY_VOCAB);
  int64_t layer = 0;
  int n_planted = 0;
  for (const moh__head_use *u = t.tape.use; u != NULL; u = u->next, layer++)
    for (int32_t h = 0; h < 4; h++)
      if (moh__plan_count(u->plan, h) == 0) {
        plant_nan(&t, layer, h);
        n_planted++;
      }
  assert_int_equal(n_planted, 4);
  assert_same_reals(before, tiny_logits(&t), TINY_VOCAB, "logits");
  assert_true(isfinite(tiny_backward(&t)));
  assert_true(tiny_grads_are_finite(&t));
  free(before);
  tiny_close(&t);
}

/* Neither are its keys and values, which are in the cache all the same. */
static void plant_nan_keys(tiny *t, int64_t layer, int32_t group) {
  static const char *const names[] = {"self_attn.k_proj.weight",
                                      "self_attn.v_proj.weight"};
  for (int i = 0; i < 2; i++) {
    moh__param *w = moh__model_layer_param(t->model, layer, names[i]);
    int64_t n = t->model->config.d_head * w->shape[1];
    for (int64_t j = 0; j < n; j++) w->data[group * n + j] = NAN;
  }
}

/* A group goes as a whole: 2 layers of 2 groups of 2 heads, 1 in use. */
static void unused_groups_are_never_read(void **state) {
  (void)state;
  moh__config c = tiny_group_config(0, 1);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  tiny_one_token(&t);
  real *before = copied_reals(tiny_logits(&t), TINY_VOCAB);
  int64_t layer = 0;
  for (const moh__head_use *u = t.tape.use; u != NULL; u = u->next, layer++) {
    assert_int_equal(u->n_routed, 2);
    assert_true(u->load[0] + u->load[1] == 1);
    assert_true(u->gates[0] == u->gates[1]);
    for (int32_t g = 0; g < 2; g++) {
      int32_t n = u->load[g] > 0;
      assert_int_equal(moh__plan_count(u->plan, 2 * g), n);
      assert_int_equal(moh__plan_count(u->plan, 2 * g + 1), n);
      if (n > 0) continue;
      plant_nan(&t, layer, 2 * g);
      plant_nan(&t, layer, 2 * g + 1);
      plant_nan_keys(&t, layer, g);
    }
  }
  assert_int_equal(layer, 2);
  assert_same_reals(before, tiny_logits(&t), TINY_VOCAB, "logits");
  free(before);
  tiny_close(&t);
}

/* Groups of one head are heads. */
static void groups_of_one_are_heads(void **state) {
  (void)state;
  for (int n_shared = 0; n_shared <= 2; n_shared++) {
    moh__config heads = tiny_moh_config(n_shared, 2);
    heads.n_kv_heads = 4;
    moh__config groups = heads;
    groups.route_by = MOH__ROUTE_BY_GROUP;
    tiny a;
    tiny b;
    tiny_open(&a, &heads, 1, 0.3);
    tiny_open(&b, &groups, 1, 0.3);
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    assert_same_reals(a.loss, b.loss, TINY_ROWS, "loss");
    assert_same_grads(&a, &b);
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* A table that counts the rows it is given, on one thread. */
static int64_t rows_attended;
static int64_t rows_gathered; /* products with 6 outputs: Q of a head */

static void counting_attention(const moh__attention *a, void *scratch) {
  rows_attended += a->n;
  moh__kernels_reference.attention(a, scratch);
}

static void counting_gemm(const moh__gemm *g, void *scratch) {
  if (g->n == 6 && g->k == 12) rows_gathered += g->m;
  moh__kernels_reference.gemm(g, scratch);
}

static void check_rows_computed(moh__head_strategy heads) {
  moh__kernels table = moh__kernels_reference;
  table.attention = counting_attention;
  table.gemm = counting_gemm;
  const moh__kernels *old = moh__kernel();
  moh__config c = tiny_moh_config(1, 2);
  c.heads = heads;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh__kernel_use(&table);
  rows_attended = 0;
  rows_gathered = 0;
  tiny_logits(&t);
  int64_t planned = 0;
  for (const moh__head_use *u = t.tape.use; u != NULL; u = u->next)
    planned += moh__plan_entries(u->plan);
  moh__kernel_use(old);
  assert_int_equal(planned, 2 * 3 * TINY_ROWS); /* 2 layers, 3 of 4 heads */
  assert_int_equal(rows_attended, planned);
  assert_int_equal(rows_gathered, planned);
  tiny_close(&t);
}

static void rows_computed_are_the_plans(void **state) {
  (void)state;
  check_rows_computed(MOH__HEADS_MOH);
  check_rows_computed(MOH__HEADS_RANDOM);
}

static void check_threads_of(moh__head_strategy heads,
                             moh__position_kind position) {
  moh__config c = tiny_moh_config(1, 2);
  c.heads = heads;
  c.position = position;
  c.cope_positions = 5;
  tiny one;
  tiny two;
  tiny_open(&one, &c, 1, 0.3);
  tiny_open(&two, &c, 2, 0.3);
  assert_true(tiny_backward(&one) == tiny_backward(&two));
  assert_same_grads(&one, &two);
  tiny_close(&one);
  tiny_close(&two);
}

static void check_threads(const moh__kernels *table) {
  moh__kernel_use(table);
  check_threads_of(MOH__HEADS_MOH, MOH__POSITION_ROPE);
  check_threads_of(MOH__HEADS_MOH, MOH__POSITION_COPE);
  check_threads_of(MOH__HEADS_RANDOM, MOH__POSITION_ROPE);
}

static void threads_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_threads);
}

static void later_tokens_change_nothing_before(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  real *before = copied_reals(tiny_logits(&t), 9 * TINY_VOCAB);
  t.tokens[5] = (t.tokens[5] + 1) % TINY_VOCAB;
  const real *after = tiny_logits(&t);
  assert_same_reals(before, after, 5 * TINY_VOCAB, "logits");
  assert_true(largest_difference(before + 5 * TINY_VOCAB,
                                 after + 5 * TINY_VOCAB, TINY_VOCAB) > 0);
  free(before);
  tiny_close(&t);
}

/* MHA whose KV heads are repeated is GQA, bit for bit. */
static void repeated_kv_heads_are_gqa(void **state) {
  (void)state;
  moh__config gqa = tiny_config();
  moh__config mha = tiny_config();
  mha.n_kv_heads = 4;
  tiny a;
  tiny b;
  tiny_open(&a, &gqa, 1, 0.3);
  tiny_open(&b, &mha, 1, 0.3);
  for (int i = 0; i < b.model->n_params; i++) {
    moh__param *w = &b.model->params[i];
    const moh__param *from = moh__model_param(a.model, w->name);
    int64_t head = gqa.d_head * gqa.d_model;
    if (from->n == w->n)
      memcpy(w->data, from->data, (size_t)w->n * sizeof(real));
    else
      for (int64_t h = 0; h < 4; h++)
        memcpy(w->data + h * head, from->data + h / 2 * head,
               (size_t)head * sizeof(real));
  }
  real *logits = copied_reals(tiny_logits(&a), TINY_ROWS * TINY_VOCAB);
  assert_same_reals(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB, "logits");
  free(logits);
  tiny_close(&a);
  tiny_close(&b);
}

/* Without W_down a layer is x + attention(norm(x)): the part that is measured
 * alone is the part of the whole. */
static void a_layers_attention_alone(void **state) {
  (void)state;
  moh__config c = tiny_moh_config(1, 2);
  c.n_layers = 1;
  c.final_norm = false;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh__param *down = moh__model_layer_param(t.model, 0, "mlp.down_proj.weight");
  memset(down->data, 0, (size_t)down->n * sizeof(real));
  moh_error err;
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  const moh__arch *arch = moh__arch_of(&c);
  moh__tape_reset(&t.tape, false);
  moh__tensor *whole = arch->forward(t.model, &t.tape, &t.batch);
  real *expected = copied_reals(whole->v, whole->rows * whole->cols);
  moh__tape_reset(&t.tape, false);
  moh__tensor *x = moh__op_embed(
      &t.tape, moh__model_param(t.model, "model.embed_tokens.weight"),
      t.tokens, TINY_ROWS);
  moh__tensor *h = moh__op_norm(
      &t.tape, x, c.norm, (real)c.norm_eps,
      moh__model_layer_param(t.model, 0, "input_layernorm.weight"), NULL);
  moh__tensor *gates = arch->route(t.model, &t.tape, &t.batch, 0, h);
  assert_int_equal(gates->rows, TINY_ROWS * 3);
  moh__tensor *y = arch->attention(t.model, &t.tape, &t.batch, 0, h);
  assert_same_reals(t.tape.use->gates, t.tape.use_last->gates, gates->rows,
              "gates");
  y = moh__op_add(&t.tape, x, y);
  assert_same_reals(expected, y->v, y->rows * y->cols, "attention");
  free(expected);
  tiny_close(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fresh_routers_give_the_dense_bits),
      cmocka_unit_test(skipping_gives_the_bits_of_masking),
      cmocka_unit_test(unused_heads_are_never_touched),
      cmocka_unit_test(unused_groups_are_never_read),
      cmocka_unit_test(groups_of_one_are_heads),
      cmocka_unit_test(rows_computed_are_the_plans),
      cmocka_unit_test(threads_change_no_bit),
      cmocka_unit_test(later_tokens_change_nothing_before),
      cmocka_unit_test(repeated_kv_heads_are_gqa),
      cmocka_unit_test(a_layers_attention_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
