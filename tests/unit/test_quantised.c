/*
 * Models that run with weights in blocks: close to f32 by the format's rounding
 * and under the same rule of bits: skipping is masking, threads and the cache
 * change nothing. What has no whole blocks, routers, norms and tables stay f32.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/small.h"
#include "support/tables.h"

enum { N = 40, VOCAB = 70 };

static const moh__precision precisions[] = {
    MOH__PRECISION_F16, MOH__PRECISION_Q8_0, MOH__PRECISION_Q4_0};
enum { N_PRECISIONS = sizeof(precisions) / sizeof(precisions[0]) };

static moh__config dense_config(void) {
  moh__config c = small_blocks_config(N);
  c.heads = MOH__HEADS_ALL;
  return c;
}

static moh__config routed_config(bool experts) {
  moh__config c = small_blocks_config(N);
  if (experts)
    c.experts = (moh__experts){.n_routed = 3,
                               .k = 1,
                               .n_shared = 1,
                               .width = 32,
                               .router_init_std = 0.02};
  return c;
}

typedef struct subject {
  moh__model *model;
  moh__pool *pool;
  moh__session *session;
} subject;

static moh__model *make_model(const moh__config *c) {
  moh__model *model;
  moh_error err;
  small_must(moh__arch_model_init(&model, c, 1, &err), &err);
  moh__rng rng = moh__rng_make(4, 21);
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    for (int64_t j = 0; w->n_dims == 2 && j < w->n; j++)
      w->data[j] = (real)(0.2 * moh__rng_normal(&rng));
  }
  return model;
}

static subject open_subject(const moh__config *c, moh__precision precision,
                            int n_threads, bool masked) {
  subject s = {.model = make_model(c)};
  moh_error err;
  moh__model_set_precision(s.model, precision);
  small_must(moh__pool_new(&s.pool, n_threads, &err), &err);
  small_must(moh__model_pack(s.model, s.pool, &err), &err);
  if (masked)
    small_must(
        moh__session_new_masked(&s.session, s.model, s.pool, N, &err), &err);
  else
    small_must(moh__session_new(&s.session, s.model, s.pool, N, &err), &err);
  return s;
}

static void close_subject(subject *s) {
  moh__session_free(s->session);
  moh__model_free(s->model);
  moh__pool_free(s->pool);
}

/* The logits behind N tokens that are fed by `step`. */
static const real *run(subject *s, int step) {
  int32_t tokens[N];
  const real *logits = NULL;
  moh_error err;
  for (int32_t i = 0; i < N; i++) tokens[i] = (i * i + 5) % VOCAB;
  for (int i = 0; i < N; i += step)
    small_must(moh__session_feed(s->session, tokens + i,
                           N - i < step ? N - i : step, &logits, &err),
         &err);
  return logits;
}

/* ---- bits ---- */

static void check_same(const moh__config *c, moh__precision precision) {
  subject all = open_subject(c, precision, 1, false);
  subject other[] = {open_subject(c, precision, 1, false),
                     open_subject(c, precision, 3, false),
                     open_subject(c, precision, 2, true)};
  const int steps[] = {1, 7, N};
  const real *logits = run(&all, N);
  assert_true(largest_of(logits, VOCAB) > 0);
  for (int i = 0; i < 3; i++) {
    assert_memory_equal(logits, run(&other[i], steps[i]),
                        VOCAB * sizeof(real));
    close_subject(&other[i]);
  }
  close_subject(&all);
}

static void check_bits(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int p = 0; p < N_PRECISIONS; p++)
    for (int experts = 0; experts < 2; experts++) {
      moh__config c = routed_config(experts);
      check_same(&c, precisions[p]);
    }
}

static void cache_threads_and_masks_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_bits);
}

/* ---- rounding ---- */

/* All heads, so that rounding cannot change a choice. */
static void check_closeness(const moh__kernels *table) {
  static const double allowed[N_PRECISIONS] = {1e-3, 0.03, 0.3};
  moh__kernel_use(table);
  moh__config c = dense_config();
  subject exact = open_subject(&c, MOH__PRECISION_F32, 1, false);
  const real *expected = run(&exact, N);
  double size = (double)largest_of(expected, VOCAB);
  for (int p = 0; p < N_PRECISIONS; p++) {
    subject s = open_subject(&c, precisions[p], 1, false);
    double off = (double)largest_difference(run(&s, N), expected, VOCAB);
    assert_true(off > 0 && off < allowed[p] * size);
    close_subject(&s);
  }
  close_subject(&exact);
}

static void close_to_f32(void **state) {
  (void)state;
  for_each_table(check_closeness);
}

/* ---- what is rounded ---- */

static moh__block_type type_in(const moh__model *model, const char *name) {
  const moh__param *w = moh__model_param(model, name);
  assert_non_null(w);
  return moh__param_type(w);
}

static void routers_and_odd_depths_stay_f32(void **state) {
  (void)state;
  moh__config c = routed_config(false);
  c.d_head = 24; /* W_O is packed by head */
  moh__model *model = make_model(&c);
  for (int p = 0; p < N_PRECISIONS; p++) {
    bool whole = precisions[p] == MOH__PRECISION_F16;
    moh__model_set_precision(model, precisions[p]);
    moh__block_type type = type_in(model, "lm_head.weight");
    assert_string_equal(moh__block_name(type),
                        moh__precision_names[precisions[p]]);
    assert_int_equal(type_in(model, "model.layers.0.self_attn.q_proj.weight"),
                     type);
    assert_int_equal(type_in(model, "model.layers.1.mlp.down_proj.weight"),
                     type);
    assert_int_equal(type_in(model, "model.layers.0.self_attn.o_proj.weight"),
                     whole ? type : MOH__BLOCK_F32);
    for (int i = 0; i < model->n_params; i++)
      if ((model->params[i].flags & MOH__PARAM_ROUTER) != 0)
        assert_int_equal(moh__param_type(&model->params[i]), MOH__BLOCK_F32);
  }
  moh__model_free(model);
  check_same(&c, MOH__PRECISION_Q8_0);
}

/* Bytes of a weight, scales included. */
static void memory_is_that_of_the_blocks(void **state) {
  (void)state;
  static const double bytes[N_PRECISIONS] = {2, 34.0 / 32, 18.0 / 32};
  moh__config c = dense_config();
  c.vocab_size = 64; /* no padding of columns */
  moh__model *model = make_model(&c);
  double exact = (double)moh__model_measure(model).packed;
  for (int p = 0; p < N_PRECISIONS; p++) {
    moh__model_set_precision(model, precisions[p]);
    double packed = (double)moh__model_measure(model).packed;
    assert_true(packed == exact / 4 * bytes[p]);
  }
  moh__model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cache_threads_and_masks_change_no_bit),
      cmocka_unit_test(close_to_f32),
      cmocka_unit_test(routers_and_odd_depths_stay_f32),
      cmocka_unit_test(memory_is_that_of_the_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
