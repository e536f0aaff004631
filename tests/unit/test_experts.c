/*
 * A feed-forward of experts, in float: one expert is the dense feed-forward to
 * the bit, shared ones are a dense one cut into parts, and experts that no
 * token chose are not touched. (Gradients and all that experts go together
 * with: test_combinations, test_combination_gradients.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/feed_forward.h"
#include "infer/session.h"
#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"

static moh__config expert_config(int n_shared, int k, int n_routed) {
  moh__config c = tiny_moh_config(1, 2);
  tiny_experts(&c, n_shared, k, n_routed);
  return c;
}

static moh__param *part(const tiny *t, int64_t layer, const char *name) {
  moh__param *w = moh__model_layer_param(t->model, layer, name);
  assert_non_null(w);
  return w;
}

/* ---- a dense feed-forward among them ---- */

static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};

/* The parameter of the dense model that is the first experts' of the other. */
static moh__param *dense_of(const tiny *dense, const moh__param *w) {
  char name[MOH__NAME_MAX];
  const char *at = strstr(w->name, "mlp.experts.");
  if (at == NULL) return moh__model_param(dense->model, w->name);
  snprintf(name, sizeof(name), "%.*smlp.%s", (int)(at - w->name), w->name,
           at + strlen("mlp.experts."));
  return moh__model_param(dense->model, name);
}

/* The dense model's values into columns and rows of the first experts; what
 * is left of W_down becomes 0, so that routed experts add nothing. */
static void copy_dense(const tiny *dense, const tiny *t) {
  for (int i = 0; i < t->model->n_params; i++) {
    moh__param *w = &t->model->params[i];
    const moh__param *from = dense_of(dense, w);
    if (from == NULL) continue; /* a router */
    if (from->n == w->n || w->grouping != MOH__PACK_INPUTS) {
      memcpy(w->data, from->data, (size_t)from->n * sizeof(real));
      continue;
    }
    memset(w->data, 0, (size_t)w->n * sizeof(real));
    for (int64_t r = 0; r < w->shape[0]; r++)
      memcpy(w->data + r * w->shape[1], from->data + r * from->shape[1],
             (size_t)from->shape[1] * sizeof(real));
  }
}

static void open_pair(tiny *dense, tiny *experts, const moh__config *c,
                      int64_t n_dense, moh__precision precision) {
  moh__config d = *c;
  d.experts.n_routed = 0;
  d.d_ff = n_dense * c->experts.width;
  tiny_open(dense, &d, 1, 0.3);
  tiny_open(experts, c, 1, 0.3);
  moh__model_set_precision(dense->model, precision);
  moh__model_set_precision(experts->model, precision);
  copy_dense(dense, experts);
}

static void check_one_expert(moh__config c, moh__precision precision) {
  tiny dense, experts;
  c.experts.z_weight = 0; /* the only loss that one expert has */
  open_pair(&dense, &experts, &c, 1, precision);
  tiny_backward(&dense);
  tiny_backward(&experts);
  assert_same_reals(dense.loss, experts.loss, TINY_ROWS, "loss");
  for (int i = 0; i < experts.model->n_params; i++) {
    const moh__param *w = &experts.model->params[i];
    const moh__param *same = dense_of(&dense, w);
    if (same != NULL)
      assert_same_reals(same->grad, w->grad, w->n, w->name);
    else if (strstr(w->name, "mlp.wg") != NULL)
      assert_true(largest_of(w->grad, w->n) == 0);
  }
  tiny_close(&dense);
  tiny_close(&experts);
}

static void check_one(const moh__kernels *table) {
  moh__kernel_use(table);
  moh__config c = expert_config(0, 1, 1);
  check_one_expert(c, MOH__PRECISION_F32);
  check_one_expert(c, MOH__PRECISION_BF16);
  c.experts.width = 70; /* more than a panel */
  c.pre_norm = false;
  check_one_expert(c, MOH__PRECISION_F32);
  check_one_expert(c, MOH__PRECISION_BF16);
  c.ffn = MOH__FFN_RELU;
  check_one_expert(c, MOH__PRECISION_F32);
}

static void one_expert_is_the_dense_feed_forward(void **state) {
  (void)state;
  for_each_table(check_one);
}

static void check_shared(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 1; n_shared <= 3; n_shared++) {
    moh__config c = expert_config(n_shared, 1, 2);
    tiny dense, experts;
    open_pair(&dense, &experts, &c, n_shared, MOH__PRECISION_F32);
    real *logits =
        copied_reals(tiny_logits(&dense), (int64_t)TINY_ROWS * TINY_VOCAB);
    assert_same_reals(logits, tiny_logits(&experts), TINY_ROWS * TINY_VOCAB,
                      "logits");
    free(logits);
    tiny_close(&dense);
    tiny_close(&experts);
  }
}

/* Their weight is 1, so their hidden units are those of one wider part. */
static void shared_experts_are_a_dense_one_in_parts(void **state) {
  (void)state;
  for_each_table(check_shared);
}

/* ---- the formula ---- */

enum { WIDTH = 7, ROUTED = 4, CHOSEN = 2, SHARED = 1, D = 12 };

static double dot(const real *a, const real *b, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* y += weight W_down (silu(W_gate x) * W_up x) of one expert. */
static void add_expert(const tiny *t, int expert, double weight,
                       const real *x, double *y) {
  const moh__param *gate = part(t, 0, "mlp.experts.gate_proj.weight");
  const moh__param *up = part(t, 0, "mlp.experts.up_proj.weight");
  const moh__param *down = part(t, 0, "mlp.experts.down_proj.weight");
  for (int j = expert * WIDTH; j < (expert + 1) * WIDTH; j++) {
    double g = dot(gate->data + j * D, x, D);
    double h = g / (1 + exp(-g)) * dot(up->data + j * D, x, D);
    for (int i = 0; i < D; i++)
      y[i] += weight * h * (double)down->data[i * down->shape[1] + j];
  }
}

/* The two largest of the logits, and the softmax over these. */
static void expected_output(const tiny *t, const real *x, double *y) {
  const moh__param *router = part(t, 0, "mlp.wg.weight");
  double l[ROUTED], sum = 0;
  int rank[ROUTED] = {0};
  memset(y, 0, D * sizeof(double));
  for (int e = 0; e < SHARED; e++) add_expert(t, e, 1, x, y);
  for (int e = 0; e < ROUTED; e++) l[e] = dot(router->data + e * D, x, D);
  for (int e = 0; e < ROUTED; e++)
    for (int f = 0; f < ROUTED; f++) rank[e] += l[f] > l[e];
  for (int e = 0; e < ROUTED; e++)
    if (rank[e] < CHOSEN) sum += exp(l[e]);
  for (int e = 0; e < ROUTED; e++)
    if (rank[e] < CHOSEN) add_expert(t, SHARED + e, exp(l[e]) / sum, x, y);
}

static void outputs_follow_the_formula(void **state) {
  (void)state;
  moh__config c = expert_config(SHARED, CHOSEN, ROUTED);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh_error err;
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  moh__feed_forward w = moh__feed_forward_find(t.model, "model.layers.0.");
  moh__tensor *x = moh__tape_tensor(&t.tape, TINY_ROWS, D);
  for (int64_t i = 0; i < x->rows * D; i++)
    x->v[i] = (real)tiny_noise(5, (uint64_t)i);
  const moh__tensor *y = moh__feed_forward_run(t.model, &t.tape, &w, x);
  for (int r = 0; r < TINY_ROWS; r++) {
    double expected[D];
    expected_output(&t, x->v + r * D, expected);
    for (int i = 0; i < D; i++)
      assert_true(fabs((double)y->v[r * D + i] - expected[i]) < 1e-5);
  }
  tiny_close(&t);
}

/* ---- only chosen experts run ---- */

static void plant_nan(const tiny *t, int64_t layer, int32_t expert) {
  char name[64];
  for (int p = 0; p < 3; p++) {
    snprintf(name, sizeof(name), "mlp.experts.%s.weight", parts[p]);
    moh__param *w = part(t, layer, name);
    int64_t in = moh__param_group_in(w), out = moh__param_group_out(w);
    real *first = w->data + expert * (p == 2 ? in : out * in);
    for (int64_t r = 0; r < out; r++)
      for (int64_t i = 0; i < in; i++) first[r * w->shape[1] + i] = NAN;
  }
}

/* One token of 1 + 1 of 4: three experts of each layer are nobody's. */
static void unused_experts_are_never_touched(void **state) {
  (void)state;
  moh__config c = expert_config(1, 1, 4);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  tiny_one_token(&t);
  real *before = copied_reals(tiny_logits(&t), TINY_VOCAB);
  int64_t layer = 0;
  int n_planted = 0;
  for (const moh__head_use *u = t.tape.expert_use; u != NULL;
       u = u->next, layer++)
    for (int32_t e = 0; e < 5; e++)
      if (moh__plan_count(u->plan, e) == 0) {
        plant_nan(&t, layer, e);
        n_planted++;
      }
  assert_int_equal(n_planted, 6);
  assert_same_reals(before, tiny_logits(&t), TINY_VOCAB, "logits");
  assert_true(isfinite(tiny_backward(&t)));
  assert_true(tiny_grads_are_finite(&t));
  free(before);
  tiny_close(&t);
}

/* A table that counts, on one thread: only experts have 7 hidden units. */
static int64_t rows_in, rows_out;

static void counting_gemm(const moh__gemm *g, void *scratch) {
  if (g->n == WIDTH && g->k == D) rows_in += g->m;
  if (g->n == D && g->k == WIDTH) rows_out += g->m;
  moh__kernels_reference.gemm(g, scratch);
}

static void rows_computed_are_the_plans(void **state) {
  (void)state;
  moh__kernels table = moh__kernels_reference;
  table.gemm = counting_gemm;
  const moh__kernels *old = moh__kernel();
  moh__config c = expert_config(1, 2, 5);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  moh__kernel_use(&table);
  rows_in = rows_out = 0;
  tiny_logits(&t);
  int64_t planned = 0;
  for (const moh__head_use *u = t.tape.expert_use; u != NULL; u = u->next) {
    planned += moh__plan_entries(u->plan);
    for (int32_t e = 0; e < 5; e++)
      assert_int_equal(moh__plan_count(u->plan, 1 + e),
                       lround((double)u->load[e] * TINY_ROWS));
  }
  moh__kernel_use(old);
  assert_int_equal(planned, 2 * 3 * TINY_ROWS); /* 2 layers, 3 of 6 */
  assert_int_equal(rows_in, 2 * planned);       /* W_gate and W_up */
  assert_int_equal(rows_out, planned);
  tiny_close(&t);
}

/* ---- bits ---- */

static void assert_same_steps(tiny *a, tiny *b) {
  assert_true(tiny_backward(a) == tiny_backward(b));
  assert_same_reals(a->loss, b->loss, TINY_ROWS, "loss");
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    assert_same_reals(w->grad, b->model->params[i].grad, w->n, w->name);
  }
}

static int count_use(const tiny *t) {
  int n = 0;
  for (const moh__head_use *u = t->tape.expert_use; u != NULL; u = u->next)
    n++;
  return n;
}

typedef struct variant {
  int n_threads;
  bool masked, recompute;
} variant;

static void check_variant(const moh__config *c, const variant *v,
                          moh__precision precision) {
  tiny plain, other;
  tiny_open(&plain, c, 1, 0.3);
  tiny_open(&other, c, v->n_threads, 0.3);
  moh__model_set_precision(plain.model, precision);
  moh__model_set_precision(other.model, precision);
  other.tape.masked = v->masked;
  other.tape.recompute = v->recompute;
  assert_same_steps(&plain, &other);
  assert_int_equal(count_use(&other), 2); /* once a layer */
  tiny_close(&plain);
  tiny_close(&other);
}

static void check_variants(const moh__kernels *table) {
  static const variant variants[] = {
      {1, true, false}, {2, false, false}, {2, false, true}, {2, true, true}};
  moh__kernel_use(table);
  for (int i = 0; i < 4; i++)
    for (int n_shared = 0; n_shared <= 2; n_shared++)
      for (int k = 1; k <= 3; k++) {
        moh__config c = expert_config(n_shared, k, 3);
        check_variant(&c, &variants[i], MOH__PRECISION_F32);
        c.experts.width = 70;
        check_variant(&c, &variants[i], MOH__PRECISION_BF16);
      }
}

static void masking_threads_and_recomputing_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_variants);
}

/* Two cycles of two steps and one, with one block each: steps without a
 * gradient are not listed while recording, as their losses do not count. */
static void passes_are_listed_with_their_gradients(void **state) {
  (void)state;
  moh__config c = expert_config(1, 2, 4);
  tiny t;
  moh__config_set_architecture(&c, MOH__HRM);
  tiny_open(&t, &c, 1, 0.3);
  tiny_logits(&t);
  assert_int_equal(count_use(&t), 6);
  tiny_backward(&t);
  assert_int_equal(count_use(&t), 2);
  tiny_close(&t);
}

static void later_tokens_change_nothing_before(void **state) {
  (void)state;
  moh__config c = expert_config(1, 2, 5);
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

/* Reading by `step` tokens: the logits of the last one of each. */
static void read_by(tiny *t, int32_t n, int32_t step, real *last) {
  moh_error err;
  moh__session *session = NULL;
  const real *logits = NULL;
  assert_int_equal(moh__session_new(&session, t->model, t->pool, n, &err),
                   MOH_OK);
  for (int32_t at = 0; at < n; at += step)
    assert_int_equal(
        moh__session_feed(session, t->tokens + at, step, &logits, &err),
        MOH_OK);
  memcpy(last, logits, TINY_VOCAB * sizeof(real));
  moh__session_free(session);
}

static void check_session(const moh__kernels *table) {
  moh__kernel_use(table);
  moh__config c = expert_config(1, 2, 5);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  real full[TINY_VOCAB], cached[TINY_VOCAB];
  real *logits =
      copied_reals(tiny_logits(&t), (int64_t)TINY_ROWS * TINY_VOCAB);
  read_by(&t, 9, 9, full); /* the first sequence of the batch */
  assert_same_reals(full, logits + 8 * TINY_VOCAB, TINY_VOCAB, "one pass");
  read_by(&t, 9, 1, cached);
  assert_same_reals(full, cached, TINY_VOCAB, "token by token");
  read_by(&t, 9, 3, cached);
  assert_same_reals(full, cached, TINY_VOCAB, "by threes");
  free(logits);
  tiny_close(&t);
}

static void cached_decoding_is_the_full_pass_to_the_bit(void **state) {
  (void)state;
  for_each_table(check_session);
}

/* ---- counts ---- */

static void counts_are_those_of_the_formula(void **state) {
  (void)state;
  moh__config dense = tiny_config();
  moh__config c = dense;
  tiny_experts(&c, 1, 2, 5);
  moh__macs a = moh__arch_macs(&dense, 50);
  moh__macs b = moh__arch_macs(&c, 50);
  int64_t part_of_dense = 2 * 3 * dense.d_model * dense.d_ff;
  int64_t expert = 2 * 3 * dense.d_model * WIDTH;
  int64_t router = 2 * 5 * dense.d_model;
  assert_int_equal(b.router, router);
  assert_int_equal(b.dense, a.dense - part_of_dense + 6 * expert);
  assert_int_equal(b.active, a.active - part_of_dense + 3 * expert + router);
  moh__model *model;
  assert_int_equal(moh__arch_model(&model, &c, NULL), MOH_OK);
  assert_int_equal(moh__model_count_routers(model), router);
  moh__model *other;
  assert_int_equal(moh__arch_model(&other, &dense, NULL), MOH_OK);
  assert_int_equal(
      moh__model_count(model),
      moh__model_count(other) - part_of_dense + 6 * expert + router);
  moh__model_free(model);
  moh__model_free(other);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_expert_is_the_dense_feed_forward),
      cmocka_unit_test(shared_experts_are_a_dense_one_in_parts),
      cmocka_unit_test(outputs_follow_the_formula),
      cmocka_unit_test(unused_experts_are_never_touched),
      cmocka_unit_test(rows_computed_are_the_plans),
      cmocka_unit_test(masking_threads_and_recomputing_change_no_bit),
      cmocka_unit_test(passes_are_listed_with_their_gradients),
      cmocka_unit_test(later_tokens_change_nothing_before),
      cmocka_unit_test(cached_decoding_is_the_full_pass_to_the_bit),
      cmocka_unit_test(counts_are_those_of_the_formula),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
