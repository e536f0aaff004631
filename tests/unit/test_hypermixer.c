/*
 * HyperMixer in double: the op against its formula written out, causality,
 * dependence on content, exact counts, no parameter without a gradient,
 * linear cost, and bits that neither threads nor masks nor recomputing change.
 */
#include <math.h>
#include <string.h>

#include "arch/arch.h"
#include "support/check.h"
#include "support/tiny.h"

static moh__config hyper_config(moh__head_strategy heads) {
  moh__config c = tiny_moh_config(1, 2);
  c.d_model = 24;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  c.hyper_width = 5;
  c.hyper_mix = 3;
  c.heads = heads;
  c.n_static = 3;
  return c;
}

/* ---- the op ---- */

static double gelu(double z) { return 0.5 * z * erfc(-z / sqrt(2)); }

enum { T = 150, D = 3, WIDTH = 2, HEADS = 2 };

/* y of one token and head: all earlier tokens of its sequence, added up. */
static void written_out(const moh__tensor *x, const moh__tensor *w1,
                        const real *w2, int32_t first, int32_t t, int head,
                        real *y) {
  for (int c = 0; c < D; c++) y[c] = 0;
  for (int r = 0; r < WIDTH; r++)
    for (int c = 0; c < D; c++) {
      double s = 0;
      for (int32_t j = first; j <= t; j++)
        s += w1->v[j * w1->cols + head * WIDTH + r] *
             x->v[j * x->cols + head * D + c];
      y[c] += w2[r] * gelu(s / (t - first + 1));
    }
}

static void fill(moh__tensor *x, uint64_t seed) {
  for (int64_t i = 0; i < x->rows * x->cols; i++)
    x->v[i] = tiny_noise(seed, (uint64_t)i);
}

/* Two sequences; head 0 is used by all tokens, head 1 by every third. */
static void mixing_is_its_formula(void **state) {
  (void)state;
  moh__pool *pool = NULL;
  moh__arena arena;
  moh__tape tape;
  moh__plan plan;
  static unsigned char used[T][HEADS];
  static int32_t positions[T];
  int32_t starts[] = {0, 100, T};
  real y[D];
  moh__pool_new(&pool, 2, NULL);
  assert_int_equal(moh__arena_init(&arena, 1 << 20, NULL), MOH_OK);
  assert_int_equal(moh__tape_init(&tape, &arena, pool, NULL), MOH_OK);
  moh__tape_reset(&tape, true);
  for (int t = 0; t < T; t++) {
    used[t][0] = 1;
    used[t][1] = t % 3 == 0;
    positions[t] = t < 100 ? t : t - 100;
  }
  moh__plan_new(&plan, &arena, T, HEADS, T + (T + 2) / 3);
  moh__plan_fill(&plan, &used[0][0]);
  moh__tensor *x = moh__tape_tensor(&tape, T, HEADS * D);
  moh__tensor *w1 = moh__tape_tensor(&tape, T, HEADS * WIDTH);
  moh__tensor *w2 = moh__tape_tensor(&tape, moh__plan_entries(&plan), WIDTH);
  fill(x, 1);
  fill(w1, 2);
  fill(w2, 3);
  moh__batch batch = {.n = T, .positions = positions, .n_seq = 2,
                      .seq_start = starts};
  moh__mix_args args = {.plan = &plan, .batch = &batch, .n_heads = HEADS,
                        .d_head = D, .width = WIDTH};
  const moh__tensor *got = moh__op_causal_mix(&tape, x, w1, w2, &args);
  for (int h = 0; h < HEADS; h++)
    for (int32_t e = plan.start[h]; e < plan.start[h + 1]; e++) {
      int32_t t = plan.rows[e];
      written_out(x, w1, w2->v + e * WIDTH, t < 100 ? 0 : 100, t, h, y);
      for (int c = 0; c < D; c++)
        assert_true(fabs(y[c] - got->v[e * D + c]) < 1e-12);
    }
  moh__tape_free(&tape);
  moh__arena_free(&arena);
  moh__pool_free(pool);
}

/* ---- the model ---- */

static void every_parameter_has_a_gradient(void **state) {
  (void)state;
  moh__config c = hyper_config(MOH__HEADS_MOH);
  tiny t;
  tiny_open(&t, &c, 1, 0.4);
  tiny_backward(&t);
  for (int i = 0; i < t.model->n_params; i++) {
    const moh__param *w = &t.model->params[i];
    double most = 0;
    for (int64_t j = 0; j < w->n; j++) most = fmax(most, fabs(w->grad[j]));
    if (!(most > 0)) fail_msg("%s has no gradient", w->name);
  }
  tiny_close(&t);
}

static void later_tokens_change_nothing(void **state) {
  (void)state;
  for (int s = 0; s < 3; s++) {
    moh__config c = hyper_config((moh__head_strategy)s);
    tiny t;
    real before[TINY_VOCAB];
    tiny_open(&t, &c, 1, 0.4);
    memcpy(before, tiny_logits(&t) + 3 * TINY_VOCAB, sizeof(before));
    t.tokens[4] = (t.tokens[4] + 1) % TINY_VOCAB;
    const real *after = tiny_logits(&t) + 3 * TINY_VOCAB;
    assert_memory_equal(before, after, sizeof(before));
    t.tokens[1] = (t.tokens[1] + 1) % TINY_VOCAB;
    after = tiny_logits(&t) + 3 * TINY_VOCAB;
    assert_true(before[0] != after[0]);
    tiny_close(&t);
  }
}

/* Two earlier tokens change places: without positions nothing changes but the
 * order of sums; with them everything does. */
static void order_is_seen_through_positions(void **state) {
  (void)state;
  for (int learned = 0; learned < 2; learned++) {
    moh__config c = hyper_config(MOH__HEADS_ALL);
    c.n_layers = 1; /* a second layer sees what the first one mixed */
    c.position = learned ? MOH__POSITION_LEARNED : MOH__POSITION_NONE;
    tiny t;
    tiny_open(&t, &c, 1, 0.4);
    double before = tiny_logits(&t)[5 * TINY_VOCAB];
    int32_t first = t.tokens[1];
    t.tokens[1] = t.tokens[3];
    t.tokens[3] = first;
    double after = tiny_logits(&t)[5 * TINY_VOCAB];
    assert_true(learned ? fabs(after - before) > 1e-6
                        : fabs(after - before) < 1e-9);
    tiny_close(&t);
  }
}

static void assert_same_grads(const tiny *a, const tiny *b) {
  for (int i = 0; i < a->model->n_params; i++)
    assert_memory_equal(a->model->params[i].grad, b->model->params[i].grad,
                        (size_t)a->model->params[i].n * sizeof(real));
}

static void nothing_else_changes_a_bit(void **state) {
  (void)state;
  moh__config c = hyper_config(MOH__HEADS_MOH);
  for (int variant = 0; variant < 3; variant++) {
    tiny a, b;
    tiny_open(&a, &c, 1, 0.4);
    tiny_open(&b, &c, variant == 0 ? 2 : 1, 0.4);
    b.tape.masked = variant == 1;
    b.tape.recompute = variant == 2;
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    assert_same_grads(&a, &b);
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* ---- counts ---- */

static moh__config original(void) {
  moh__config c;
  moh__config_default(&c);
  c.vocab_size = 533;
  c.d_model = 128;
  c.d_ff = 256;
  c.n_heads = c.n_kv_heads = 1;
  c.d_head = 128;
  c.max_seq_len = 80;
  moh__config_set_architecture(&c, MOH__HYPERMIXER);
  return c;
}

static void counts_are_exact(void **state) {
  (void)state;
  moh__config c = original();
  moh__model *model = NULL;
  moh_error err;
  /* One head: each hypernetwork 128 * 32 + 32 + 32 * 64 + 64 = 6,240. */
  int64_t layer = 2 * 6240 + 3 * 128 + 3 * 128 * 256;
  int64_t rest = 2 * 533 * 128 + 80 * 128 + 128;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__model_count(model), 4 * layer + rest);
  moh__model_free(model);
  c.n_heads = c.n_kv_heads = 8; /* outputs of each head */
  c.d_head = 16;
  layer += 2 * 7 * (32 * 64 + 64);
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__model_count(model), 4 * layer + rest);
  moh__model_free(model);
}

static void cost_does_not_depend_on_the_context(void **state) {
  (void)state;
  moh__config c = original();
  assert_int_equal(moh__arch_macs(&c, 1).active,
                   moh__arch_macs(&c, 80).active);
  c.n_heads = c.n_kv_heads = 8;
  c.d_head = 16;
  moh__macs all = moh__arch_attention_macs(&c, 80);
  /* Hidden layers, outputs of 8 heads twice, state written and read. */
  assert_int_equal(all.dense, 2 * 128 * 32 + 2 * 8 * 32 * 64 + 2 * 128 * 64);
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 2;
  c.k = 2;
  moh__macs half = moh__arch_attention_macs(&c, 80);
  assert_int_equal(half.active - half.router,
                   all.dense - 4 * (32 * 64 + 16 * 64));
}

static size_t training_bytes(int32_t seq_len) {
  moh__config c = hyper_config(MOH__HEADS_MOH);
  moh__model *model = NULL;
  moh_error err;
  size_t bytes = 0;
  c.max_seq_len = 1 << 15;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(
      moh__arch_arena_bytes(model, 1, seq_len, true, &bytes, &err), MOH_OK);
  moh__model_free(model);
  return bytes;
}

static void memory_is_linear_in_the_tokens(void **state) {
  (void)state;
  double ratio = (double)training_bytes(16384) / (double)training_bytes(4096);
  assert_true(ratio > 3.5 && ratio < 4.1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mixing_is_its_formula),
      cmocka_unit_test(every_parameter_has_a_gradient),
      cmocka_unit_test(later_tokens_change_nothing),
      cmocka_unit_test(order_is_seen_through_positions),
      cmocka_unit_test(nothing_else_changes_a_bit),
      cmocka_unit_test(counts_are_exact),
      cmocka_unit_test(cost_does_not_depend_on_the_context),
      cmocka_unit_test(memory_is_linear_in_the_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
