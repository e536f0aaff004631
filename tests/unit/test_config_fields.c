/*
 * Every field of the configuration changes something, and only what it is
 * for. What can be seen of a model: its tensors (names and shapes), their
 * starting values, what it computes with given weights, and how long a
 * session may be. A table says for each field which of these must change;
 * the others must keep every bit.
 */
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/tiny.h"

enum {
  TENSORS = 1, /* names and shapes */
  INIT = 2,    /* starting values */
  LOSS = 4,    /* losses and gradients with given weights */
  LIMIT = 8    /* of a session */
};

/* FNV-1a over what can be seen. */
typedef struct view {
  uint64_t tensors, init, loss;
  int32_t limit;
} view;

static void add(uint64_t *hash, const void *bytes, size_t n) {
  const unsigned char *b = bytes;
  for (size_t i = 0; i < n; i++) *hash = (*hash ^ b[i]) * 0x100000001B3u;
}

static void view_tensors(const moh__model *model, view *v) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    add(&v->tensors, w->name, strlen(w->name));
    add(&v->tensors, w->shape, (size_t)w->n_dims * sizeof(w->shape[0]));
    add(&v->init, w->data, (size_t)w->n * sizeof(real));
  }
}

/* tiny_open draws its own weights: starting values play no part. */
static void view_loss(const moh__config *config, view *v) {
  tiny t;
  tiny_open(&t, config, 1, 0.3);
  double loss = tiny_backward(&t);
  add(&v->loss, &loss, sizeof(loss));
  for (int i = 0; i < t.model->n_params; i++) {
    const moh__param *w = &t.model->params[i];
    if (w->grad != NULL) /* a buffer has none */
      add(&v->loss, w->grad, (size_t)w->n * sizeof(real));
  }
  tiny_close(&t);
}

static void view_session(moh__model *model, view *v) {
  moh__pool *pool = NULL;
  moh__session *session = NULL;
  assert_int_equal(moh__pool_new(&pool, 1, NULL), MOH_OK);
  assert_int_equal(moh__model_pack(model, pool, NULL), MOH_OK);
  assert_int_equal(moh__session_new(&session, model, pool, 0, NULL),
                   MOH_OK);
  v->limit = moh__session_max_length(session);
  moh__session_free(session);
  moh__pool_free(pool);
}

static view look(const moh__config *config, const char *field) {
  view v = {.tensors = 1, .init = 1, .loss = 1};
  moh__model *model = NULL;
  moh_error err = {0};
  if (moh__config_check(config, &err) != MOH_OK)
    fail_msg("%s: %s", field, err.message);
  assert_int_equal(moh__arch_model_init(&model, config, 1, NULL), MOH_OK);
  view_tensors(model, &v);
  view_session(model, &v);
  moh__model_free(model);
  view_loss(config, &v);
  return v;
}

static unsigned difference(const view *a, const view *b) {
  return (a->tensors != b->tensors ? TENSORS : 0U) |
         (a->init != b->init ? INIT : 0U) |
         (a->loss != b->loss ? LOSS : 0U) |
         (a->limit != b->limit ? LIMIT : 0U);
}

static void expect(const moh__config *before, const moh__config *after,
                   const char *field, unsigned expected) {
  view a = look(before, field), b = look(after, field);
  unsigned changed = difference(&a, &b);
  if (changed != expected)
    fail_msg("%s changes %s%s%s%s, not %s%s%s%s", field,
             changed & TENSORS ? "tensors " : "",
             changed & INIT ? "init " : "", changed & LOSS ? "loss " : "",
             changed & LIMIT ? "limit " : "",
             expected & TENSORS ? "tensors " : "",
             expected & INIT ? "init " : "", expected & LOSS ? "loss " : "",
             expected & LIMIT ? "limit " : "");
}

#define CHANGE(member, value, expected)      \
  do {                                       \
    moh__config changed = c;                 \
    changed.member = (value);                \
    expect(&c, &changed, #member, expected); \
  } while (0)

enum { ALL_NEW = TENSORS | INIT | LOSS };

static void sizes_change_the_tensors(void **state) {
  (void)state;
  moh__config c = tiny_config();
  CHANGE(vocab_size, TINY_VOCAB, 0); /* the same twice is the same */
  CHANGE(vocab_size, TINY_VOCAB + 1, ALL_NEW);
  CHANGE(d_model, 16, ALL_NEW);
  CHANGE(d_ff, 12, ALL_NEW);
  CHANGE(n_layers, 1, ALL_NEW);
  CHANGE(n_heads, 2, ALL_NEW);
  CHANGE(n_kv_heads, 1, ALL_NEW);
  CHANGE(d_head, 8, ALL_NEW);
}

static void a_longest_sequence_limits_sessions(void **state) {
  (void)state;
  moh__config c = tiny_config();
  CHANGE(max_seq_len, TINY_MAX_LEN - 1, LIMIT);
  c.position = MOH__POSITION_LEARNED; /* one row for each position */
  CHANGE(max_seq_len, TINY_MAX_LEN - 1, ALL_NEW | LIMIT);
}

static void choices_of_the_block(void **state) {
  (void)state;
  moh__config c = tiny_config();
  CHANGE(norm, MOH__NORM_LAYER, ALL_NEW); /* has biases */
  CHANGE(norm, MOH__NORM_DYT, ALL_NEW);   /* and alpha */
  CHANGE(norm_eps, 1e-3, LOSS);
  CHANGE(pre_norm, false, LOSS);
  CHANGE(final_norm, false, ALL_NEW);
  CHANGE(ffn, MOH__FFN_RELU, ALL_NEW);
  CHANGE(tied, true, ALL_NEW);
  CHANGE(qkv_bias, true, ALL_NEW);
  CHANGE(output_bias, true, ALL_NEW);
  CHANGE(mlp_bias, true, ALL_NEW);
  CHANGE(qk_norm, true, ALL_NEW);
  c.d_model = c.n_heads * c.d_head;
  CHANGE(output_projection, false, ALL_NEW);
}

static void positions(void **state) {
  (void)state;
  moh__config c = tiny_config();
  c.cope_positions = 5;
  CHANGE(position, MOH__POSITION_NONE, LOSS);
  CHANGE(position, MOH__POSITION_LEARNED, ALL_NEW);
  CHANGE(position, MOH__POSITION_COPE, ALL_NEW);
  CHANGE(rope_theta, 500, LOSS);
  c.rope_scaling = (moh__rope_scaling){MOH__ROPE_UNSCALED, 8, 1, 4, 9};
  CHANGE(rope_scaling.kind, MOH__ROPE_LINEAR, LOSS);
  c.rope_scaling.kind = MOH__ROPE_LLAMA3;
  CHANGE(rope_scaling.factor, 2, LOSS);
  CHANGE(rope_scaling.low_freq_factor, 0.5, LOSS);
  CHANGE(rope_scaling.high_freq_factor, 3, LOSS);
  CHANGE(rope_scaling.original_max, 40, LOSS);
  c.rope_scaling.kind = MOH__ROPE_UNSCALED;
  c.position = MOH__POSITION_COPE;
  CHANGE(cope_positions, 6, ALL_NEW);
}

static void head_strategies(void **state) {
  (void)state;
  moh__config c = tiny_config();
  c.n_static = 2;
  c.n_shared = 1;
  c.k = 2;
  CHANGE(heads, MOH__HEADS_STATIC, LOSS);
  CHANGE(heads, MOH__HEADS_MOH, ALL_NEW);
  CHANGE(heads, MOH__HEADS_RANDOM, LOSS);
  c.gate_scale = MOH__GATE_ONE;
  CHANGE(heads, MOH__HEADS_NORM, LOSS);
  c.heads = MOH__HEADS_NORM;
  CHANGE(k, 1, LOSS);
  CHANGE(balance_weight, 0.5, LOSS);
  c.heads = MOH__HEADS_STATIC;
  CHANGE(n_static, 3, LOSS);
  c.heads = MOH__HEADS_RANDOM;
  CHANGE(n_shared, 2, LOSS);
  CHANGE(k, 1, LOSS);
  CHANGE(route_seed, 2, LOSS);
  CHANGE(balance_weight, 0.5, 0);
  CHANGE(gate_scale, MOH__GATE_PAPER, 0);
  c.k = 1;
  CHANGE(route_by, MOH__ROUTE_BY_GROUP, LOSS);
}

static void mixture_of_heads(void **state) {
  (void)state;
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 2;
  c.k = 1;
  CHANGE(n_shared, 3, ALL_NEW);
  CHANGE(k, 2, LOSS);
  CHANGE(gate_scale, MOH__GATE_PAPER, LOSS);
  CHANGE(gate_scale, MOH__GATE_ONE, LOSS);
  CHANGE(balance_weight, 0.5, LOSS);
  CHANGE(z_weight, 0.5, LOSS);
  c.k = 0; /* all of the 2 groups */
  CHANGE(route_by, MOH__ROUTE_BY_GROUP, ALL_NEW);
}

static void mixture_of_experts(void **state) {
  (void)state;
  moh__config c = tiny_config();
  moh__config with = c;
  tiny_experts(&with, 1, 2, 4);
  expect(&c, &with, "experts", ALL_NEW);
  c = with;
  CHANGE(experts.n_routed, 5, ALL_NEW);
  CHANGE(experts.n_shared, 0, ALL_NEW);
  CHANGE(experts.width, 8, ALL_NEW);
  CHANGE(experts.k, 1, LOSS);
  CHANGE(experts.balance_weight, 0.5, LOSS);
  CHANGE(experts.z_weight, 0.5, LOSS);
  CHANGE(experts.router_init_std, 0.03, INIT);
  CHANGE(d_ff, 12, 0); /* of the dense one, which is not there */
  CHANGE(router_init_std, 0.03, 0);
}

static void heads_by_mass(void **state) {
  (void)state;
  moh__config c = tiny_adaptive_config(1, 1, 2);
  CHANGE(k, 3, LOSS);
  CHANGE(k_min, 2, TENSORS | INIT | LOSS); /* no limit is needed */
  CHANGE(mass, 0.4, INIT | LOSS);
  CHANGE(sparsity_weight, 0.5, LOSS);
  CHANGE(heads, MOH__HEADS_MOH, ALL_NEW);
  c = tiny_moh_config(1, 2);
  CHANGE(mass, 0.4, 0);
  CHANGE(sparsity_weight, 0.5, 0);
}

static void starting_values(void **state) {
  (void)state;
  moh__config c = tiny_config();
  CHANGE(init_std, 0.03, INIT);
  c.heads = MOH__HEADS_MOH;
  c.n_shared = c.k = 2;
  CHANGE(router_init_std, 0.03, INIT);
  CHANGE(router_init_std, 0, INIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_change_the_tensors),
      cmocka_unit_test(a_longest_sequence_limits_sessions),
      cmocka_unit_test(choices_of_the_block),
      cmocka_unit_test(positions),
      cmocka_unit_test(head_strategies),
      cmocka_unit_test(mixture_of_heads),
      cmocka_unit_test(mixture_of_experts),
      cmocka_unit_test(heads_by_mass),
      cmocka_unit_test(starting_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
