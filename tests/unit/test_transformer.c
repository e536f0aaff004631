/*
 * The model as a whole, in float: skipping gives the bits of masking, fresh
 * routers give the bits of a dense model, unused heads are not touched,
 * threads change nothing, and cached decoding is the full pass.
 */
#include "arch/arch.h"
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/session.h"
#include "support/tables.h"
#include "support/tiny.h"

static moh__config moh_config(int n_shared, int k) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = n_shared;
  c.k = k;
  c.balance_weight = 0.1;
  c.z_weight = 0.01;
  return c;
}

/* The router counts KV groups of two heads, unless n_kv_heads is changed. */
static moh__config group_config(int n_shared, int k) {
  moh__config c = moh_config(n_shared, k);
  c.route_by = MOH__ROUTE_BY_GROUP;
  return c;
}

static void assert_same(const real *a, const real *b, int64_t n,
                        const char *what) {
  for (int64_t i = 0; i < n; i++)
    if (!(a[i] == b[i]))
      fail_msg("%s: element %d is %.9g and %.9g", what, (int)i,
               (double)a[i], (double)b[i]);
}

/* Every parameter of a that b has too: the same gradient bits. */
static void assert_same_grads(const tiny *a, const tiny *b) {
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    const moh__param *other = moh__model_param(b->model, w->name);
    if (other != NULL) assert_same(w->grad, other->grad, w->n, w->name);
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
  assert_same(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB, "logits");
  tiny_backward(&a);
  tiny_backward(&b);
  assert_same(a.loss, b.loss, TINY_ROWS, "loss");
  assert_same_grads(&a, &b);
  free(logits);
  tiny_close(&a);
  tiny_close(&b);
}

static void check_fresh(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 0; n_shared <= 4; n_shared++)
    check_fresh_routers(moh_config(n_shared, 4 - n_shared));
  for (int n_shared = 0; n_shared <= 2; n_shared++)
    check_fresh_routers(group_config(n_shared, 2 - n_shared));
  for (int n_shared = 0; n_shared <= 1; n_shared++) {
    moh__config c = group_config(n_shared, 1 - n_shared);
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
  assert_same(skipped.loss, masked.loss, TINY_ROWS, "loss");
  assert_same_grads(&skipped, &masked);
  tiny_close(&skipped);
  tiny_close(&masked);
}

static void check_masked(const moh__kernels *table) {
  moh__kernel_use(table);
  for (int n_shared = 0; n_shared <= 3; n_shared++)
    for (int k = 0; k <= 4 - n_shared; k++) {
      if (n_shared + k == 0) continue;
      moh__config c = moh_config(n_shared, k);
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
    moh__config c = group_config(n_shared, 1);
    check_masked_config(&c);
    c = group_config(n_shared, 1 - n_shared);
    check_masked_config(&c);
    c.position = MOH__POSITION_COPE;
    c.cope_positions = 5;
    c.gate_scale = MOH__GATE_PAPER;
    check_masked_config(&c);
  }
}

static void skipping_gives_the_bits_of_masking(void **state) {
  (void)state;
  for_each_table(check_masked);
  for_each_table(check_masked_groups);
}

/* One token of 1 + 1 heads: two heads of each layer are nobody's. */
static void one_token(tiny *t) {
  t->batch.n = 1;
  t->batch.n_seq = 1;
  t->batch.n_out = 1;
  t->seq_start[1] = 1;
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
  moh__config c = moh_config(1, 1);
  c.n_kv_heads = 4;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  one_token(&t);
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
  assert_same(before, tiny_logits(&t), TINY_VOCAB, "logits");
  assert_true(isfinite(tiny_backward(&t)));
  for (int i = 0; i < t.model->n_params; i++)
    for (int64_t j = 0; j < t.model->params[i].n; j++)
      assert_true(isfinite(t.model->params[i].grad[j]));
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
  moh__config c = group_config(0, 1);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  one_token(&t);
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
  assert_same(before, tiny_logits(&t), TINY_VOCAB, "logits");
  free(before);
  tiny_close(&t);
}

/* Groups of one head are heads. */
static void groups_of_one_are_heads(void **state) {
  (void)state;
  for (int n_shared = 0; n_shared <= 2; n_shared++) {
    moh__config heads = moh_config(n_shared, 2);
    heads.n_kv_heads = 4;
    moh__config groups = heads;
    groups.route_by = MOH__ROUTE_BY_GROUP;
    tiny a;
    tiny b;
    tiny_open(&a, &heads, 1, 0.3);
    tiny_open(&b, &groups, 1, 0.3);
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    assert_same(a.loss, b.loss, TINY_ROWS, "loss");
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

static void rows_computed_are_the_plans(void **state) {
  (void)state;
  moh__kernels table = moh__kernels_reference;
  table.attention = counting_attention;
  table.gemm = counting_gemm;
  const moh__kernels *old = moh__kernel();
  moh__config c = moh_config(1, 2);
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

static void check_threads(const moh__kernels *table) {
  moh__kernel_use(table);
  moh__config c = moh_config(1, 2);
  tiny one;
  tiny two;
  tiny_open(&one, &c, 1, 0.3);
  tiny_open(&two, &c, 2, 0.3);
  assert_true(tiny_backward(&one) == tiny_backward(&two));
  assert_same_grads(&one, &two);
  tiny_close(&one);
  tiny_close(&two);
}

static void threads_change_no_bit(void **state) {
  (void)state;
  for_each_table(check_threads);
}

/* ---- cached decoding ---- */

enum { LONG = 80 }; /* more than a page */

/* Logits of every token in one pass without a cache. */
static real *full_logits(tiny *t, const int32_t *tokens) {
  moh_error err;
  size_t bytes = 0;
  int32_t positions[LONG];
  int32_t seq_start[2] = {0, LONG};
  for (int32_t i = 0; i < LONG; i++) positions[i] = i;
  assert_int_equal(
      moh__arch_arena_bytes(t->model, 1, LONG, true, &bytes, &err), MOH_OK);
  moh__arena_free(&t->arena);
  assert_int_equal(moh__arena_init(&t->arena, bytes, &err), MOH_OK);
  moh__batch batch = {.n = LONG, .tokens = tokens, .positions = positions,
                      .n_seq = 1, .seq_start = seq_start, .n_out = LONG};
  moh__tape_reset(&t->tape, false);
  const moh__tensor *logits = moh__arch_logits(t->model, &t->tape, &batch);
  return copied_reals(logits->v, (int64_t)LONG * TINY_VOCAB);
}

/* Steps of 1, 2, 3, ... tokens, each compared with the full pass. */
static void check_session(tiny *t, const int32_t *tokens, const real *full,
                          int32_t step, const char *what) {
  moh_error err;
  moh__session *session = NULL;
  assert_int_equal(
      moh__session_new(&session, t->model, t->pool, LONG, &err), MOH_OK);
  real limit = (real)1e-5 * largest_of(full, (int64_t)LONG * TINY_VOCAB);
  for (int32_t at = 0; at < LONG;) {
    int32_t n = at + step > LONG ? LONG - at : step;
    const real *logits = NULL;
    assert_int_equal(
        moh__session_feed(session, tokens + at, n, &logits, &err), MOH_OK);
    at += n;
    real off = largest_difference(logits, full + (at - 1) * TINY_VOCAB,
                                  TINY_VOCAB);
    if (!(off <= limit))
      fail_msg("%s: token %d differs by %g", what, (int)at, (double)off);
  }
  moh__session_free(session);
}

static void check_cached(const moh__config *c, const char *what) {
  moh_error err;
  tiny t;
  tiny_open(&t, c, 1, 0.3);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  int32_t tokens[LONG];
  for (int32_t i = 0; i < LONG; i++) tokens[i] = (i * i + 5) % TINY_VOCAB;
  real *full = full_logits(&t, tokens);
  check_session(&t, tokens, full, 1, what);
  check_session(&t, tokens, full, 7, what);
  check_session(&t, tokens, full, LONG, what);
  free(full);
  tiny_close(&t);
}

static void cached_decoding_is_the_full_pass(void **state) {
  (void)state;
  static const int kv[] = {4, 2, 1};
  char what[64];
  for (int g = 0; g < 3; g++)
    for (int p = 0; p < 4; p++)
      for (int s = 0; s < 3; s++)
        for (int post = 0; post < 2; post++) {
          moh__config c = moh_config(1, 2);
          c.n_kv_heads = kv[g];
          c.position = (moh__position_kind)p;
          c.cope_positions = 7;
          c.heads = (moh__head_strategy)s;
          c.n_static = 3;
          c.pre_norm = post == 0;
          c.final_norm = post == 0;
          c.norm = post ? MOH__NORM_LAYER : MOH__NORM_RMS;
          snprintf(what, sizeof(what), "kv %d position %d heads %d post %d",
                   kv[g], p, s, post);
          check_cached(&c, what);
        }
}

/* ---- several sequences at once ---- */

enum { TOGETHER = 8, STEPS = 70 }; /* more than a page for the longest */

/* A cache for all sequences; pages of one are not behind each other. */
typedef struct shared_cache {
  moh__cache cache;
  real *slots[2];
  int32_t page_ids[TOGETHER * 2];
} shared_cache;

static void open_cache(shared_cache *s, const moh__config *c) {
  int64_t page = 2 * c->n_kv_heads * c->d_head * MOH__PANEL;
  for (int i = 0; i < 2; i++)
    s->slots[i] = calloc((size_t)(2 * TOGETHER * page), sizeof(real));
  for (int i = 0; i < 2 * TOGETHER; i++)
    s->page_ids[i] = (i * 5 + 3) % (2 * TOGETHER);
  s->cache = (moh__cache){.slots = s->slots,
                          .page_size = page,
                          .page_ids = s->page_ids,
                          .pages_per_seq = 2};
}

static int32_t token_of(int sequence, int32_t position) {
  return (position * position + 7 * sequence + 5) % TINY_VOCAB;
}

/* One token of each. */
static const real *step_together(tiny *t, const shared_cache *s, int step) {
  static int32_t tokens[TOGETHER], positions[TOGETHER];
  static int32_t starts[TOGETHER + 1];
  int32_t n = TOGETHER;
  for (int i = 0; i < TOGETHER; i++) {
    tokens[i] = token_of(i, step);
    positions[i] = step;
    starts[i + 1] = i + 1;
  }
  moh__batch batch = {.n = n, .tokens = tokens, .positions = positions,
                      .n_seq = n, .seq_start = starts, .n_out = n,
                      .cache = &s->cache};
  moh__tape_reset(&t->tape, false);
  return moh__arch_logits(t->model, &t->tape, &batch)->v;
}

static void check_together(const moh__config *c) {
  tiny t;
  shared_cache s;
  moh_error err;
  moh__session *alone[TOGETHER];
  tiny_open(&t, c, 2, 0.3);
  open_cache(&s, c);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  for (int i = 0; i < TOGETHER; i++)
    assert_int_equal(
        moh__session_new(&alone[i], t.model, t.pool, STEPS, &err), MOH_OK);
  for (int step = 0; step < STEPS; step++) {
    const real *all = step_together(&t, &s, step);
    for (int i = 0; i < TOGETHER; i++) {
      const real *one;
      int32_t token = token_of(i, step);
      moh__session_feed(alone[i], &token, 1, &one, &err);
      assert_same(one, all + i * TINY_VOCAB, TINY_VOCAB, "logits");
    }
  }
  for (int i = 0; i < TOGETHER; i++) moh__session_free(alone[i]);
  free(s.slots[0]);
  free(s.slots[1]);
  tiny_close(&t);
}

static void sequences_together_are_as_alone(void **state) {
  (void)state;
  moh__config c = moh_config(1, 2);
  check_together(&c);
  c.n_kv_heads = 4;
  check_together(&c);
  c.heads = MOH__HEADS_ALL;
  check_together(&c);
}

static void groups_decode_as_in_the_full_pass(void **state) {
  (void)state;
  for (int n_shared = 0; n_shared <= 1; n_shared++) {
    moh__config c = group_config(n_shared, 1);
    check_cached(&c, "2 groups");
    c.n_kv_heads = 1;
    c.k = 1 - n_shared;
    check_cached(&c, "1 group");
  }
}

static void later_tokens_change_nothing_before(void **state) {
  (void)state;
  moh__config c = moh_config(1, 2);
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  real *before = copied_reals(tiny_logits(&t), 9 * TINY_VOCAB);
  t.tokens[5] = (t.tokens[5] + 1) % TINY_VOCAB;
  const real *after = tiny_logits(&t);
  assert_same(before, after, 5 * TINY_VOCAB, "logits");
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
  assert_same(logits, tiny_logits(&b), TINY_ROWS * TINY_VOCAB, "logits");
  free(logits);
  tiny_close(&a);
  tiny_close(&b);
}

/* Chunks of a prompt and single tokens; what a masked session computes more
 * is seen in its memory. */
static void a_masked_session_has_the_bits_of_skipping(void **state) {
  (void)state;
  moh__config c = moh_config(1, 1);
  moh_error err;
  tiny t;
  tiny_open(&t, &c, 1, 0.3);
  assert_int_equal(moh__model_pack(t.model, t.pool, &err), MOH_OK);
  moh__session *skipped = NULL;
  moh__session *masked = NULL;
  assert_int_equal(
      moh__session_new(&skipped, t.model, t.pool, LONG, &err), MOH_OK);
  assert_int_equal(
      moh__session_new_masked(&masked, t.model, t.pool, LONG, &err), MOH_OK);
  for (int32_t at = 0; at < LONG;) {
    int32_t tokens[LONG];
    const real *a = NULL;
    const real *b = NULL;
    int32_t n = at == 0 ? LONG - 3 : 1;
    for (int32_t i = 0; i < n; i++) tokens[i] = (at + i) % TINY_VOCAB;
    assert_int_equal(moh__session_feed(skipped, tokens, n, &a, &err),
                     MOH_OK);
    assert_int_equal(moh__session_feed(masked, tokens, n, &b, &err),
                     MOH_OK);
    assert_same(a, b, TINY_VOCAB, "logits");
    at += n;
  }
  assert_true(moh__session_peak(masked) > moh__session_peak(skipped));
  moh__session_free(skipped);
  moh__session_free(masked);
  tiny_close(&t);
}

/* Without W_down a layer is x + attention(norm(x)): the part that is measured
 * alone is the part of the whole. */
static void a_layers_attention_alone(void **state) {
  (void)state;
  moh__config c = moh_config(1, 2);
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
  assert_same(t.tape.use->gates, t.tape.use_last->gates, gates->rows,
              "gates");
  y = moh__op_add(&t.tape, x, y);
  assert_same(expected, y->v, y->rows * y->cols, "attention");
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
      cmocka_unit_test(cached_decoding_is_the_full_pass),
      cmocka_unit_test(sequences_together_are_as_alone),
      cmocka_unit_test(groups_decode_as_in_the_full_pass),
      cmocka_unit_test(later_tokens_change_nothing_before),
      cmocka_unit_test(repeated_kv_heads_are_gqa),
      cmocka_unit_test(a_layers_attention_alone),
      cmocka_unit_test(a_masked_session_has_the_bits_of_skipping),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
