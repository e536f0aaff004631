/*
 * HRM in double: the one-step gradient is that of the last steps with the
 * states before them held, memory does not grow with the steps, counts and
 * starting states are as stated, and every option reaches the inner blocks.
 */
#include <math.h>
#include <string.h>

#include "arch/hrm.h"
#include "support/check.h"
#include "support/tiny.h"

static moh__config hrm_config(int64_t cycles, int64_t steps, bool exact) {
  moh__config c = tiny_moh_config(1, 2);
  moh__config_set_architecture(&c, MOH__HRM);
  c.hrm_cycles = cycles;
  c.hrm_steps = steps;
  c.hrm_exact = exact;
  return c;
}

/* ---- gradients ---- */

static void assert_same_grads(const tiny *a, const tiny *b, double limit) {
  for (int i = 0; i < a->model->n_params; i++) {
    const moh__param *w = &a->model->params[i];
    const moh__param *v = &b->model->params[i];
    if ((w->flags & MOH__PARAM_BUFFER) != 0) continue;
    double most = 0;
    for (int64_t j = 0; j < w->n; j++) most = fmax(most, fabs(v->grad[j]));
    for (int64_t j = 0; j < w->n; j++)
      if (!(fabs(w->grad[j] - v->grad[j]) <= limit * (most + 1e-5)))
        fail_msg("%s[%d]: %.12g, %.12g", w->name, (int)j, w->grad[j],
                 v->grad[j]);
  }
}

static void one_step_of_one_is_exact(void **state) {
  (void)state;
  moh__config one = hrm_config(1, 1, false);
  moh__config exact = hrm_config(1, 1, true);
  tiny a, b;
  tiny_open(&a, &one, 1, 0.4);
  tiny_open(&b, &exact, 1, 0.4);
  assert_true(tiny_backward(&a) == tiny_backward(&b));
  assert_same_grads(&a, &b, 0);
  tiny_close(&a);
  tiny_close(&b);
}

/* One sequence of equal tokens without positions: all rows are alike, so the
 * states before the last steps are one vector each. */
static void make_alike(tiny *t) {
  t->batch.n_seq = 1;
  t->seq_start[1] = TINY_ROWS;
  for (int i = 0; i < TINY_ROWS; i++) {
    t->tokens[i] = 4;
    t->positions[i] = i;
  }
}

/* The states of `t` before its last steps become where `u` begins. */
static void hand_over(tiny *t, tiny *u) {
  static const char *const names[] = {"model.low_state.weight",
                                      "model.high_state.weight"};
  moh_error err;
  moh__hrm_pass h;
  assert_int_equal(moh__model_pack(t->model, t->pool, &err), MOH_OK);
  moh__tape_reset(&t->tape, false);
  moh__hrm_begin(&h, t->model, &t->tape, &t->batch);
  for (int i = 0; i < 2; i++) {
    const moh__tensor *z = i == 0 ? h.low : h.high;
    moh__param *start = moh__model_param(u->model, names[i]);
    for (int64_t r = 1; r < z->rows; r++)
      for (int64_t j = 0; j < z->cols; j++)
        assert_true(fabs(z->v[r * z->cols + j] - z->v[j]) < 1e-12);
    memcpy(start->data, z->v, (size_t)start->n * sizeof(real));
  }
}

/* The exact gradient of the last steps alone, which test_model_gradients
 * compares with differences, is the one-step gradient of all. */
static void one_step_holds_earlier_states(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 2}, {2, 1}, {2, 3}, {3, 2}};
  for (int i = 0; i < 4; i++) {
    moh__config all = hrm_config(shapes[i][0], shapes[i][1], false);
    moh__config last = hrm_config(1, 1, true);
    tiny a, b;
    all.position = last.position = MOH__POSITION_NONE;
    tiny_open(&a, &all, 1, 0.4);
    tiny_open(&b, &last, 1, 0.4);
    make_alike(&a);
    make_alike(&b);
    hand_over(&a, &b);
    double difference = tiny_backward(&a) - tiny_backward(&b);
    assert_true(fabs(difference) < 1e-9);
    assert_same_grads(&a, &b, 1e-7);
    tiny_close(&a);
    tiny_close(&b);
  }
}

static void one_step_is_not_exact_for_more(void **state) {
  (void)state;
  moh__config one = hrm_config(2, 2, false);
  moh__config exact = hrm_config(2, 2, true);
  tiny a, b;
  tiny_open(&a, &one, 1, 0.4);
  tiny_open(&b, &exact, 1, 0.4);
  tiny_backward(&a);
  tiny_backward(&b);
  const moh__param *w =
      moh__model_param(a.model, "model.layers.0.mlp.up_proj.weight");
  const moh__param *v =
      moh__model_param(b.model, "model.layers.0.mlp.up_proj.weight");
  assert_true(fabs(w->grad[0] - v->grad[0]) > 1e-6 * fabs(v->grad[0]));
  tiny_close(&a);
  tiny_close(&b);
}

/* Two losses, behind one cycle and behind two: the mean of those of models of
 * one and of two cycles, and so is the one-step gradient. */
static void supervision_is_the_mean_of_its_parts(void **state) {
  (void)state;
  tiny both, one, two;
  moh__config c = hrm_config(2, 2, false);
  moh__config first = hrm_config(1, 2, false);
  c.balance_weight = first.balance_weight = 0.3;
  tiny_open(&two, &c, 1, 0.4);
  tiny_open(&one, &first, 1, 0.4);
  c.hrm_supervision = 2;
  tiny_open(&both, &c, 1, 0.4);
  double loss = (tiny_backward(&one) + tiny_backward(&two)) / 2;
  assert_true(fabs(tiny_backward(&both) - loss) < 1e-12 * fabs(loss));
  for (int i = 0; i < two.model->n_params; i++) {
    moh__param *w = &two.model->params[i];
    if ((w->flags & MOH__PARAM_BUFFER) != 0) continue;
    for (int64_t j = 0; j < w->n; j++)
      w->grad[j] = (w->grad[j] + one.model->params[i].grad[j]) / 2;
  }
  assert_same_grads(&both, &two, 1e-12);
  tiny_loss(&both); /* not recorded: the loss of the last state */
  tiny_loss(&two);
  for (int i = 0; i < TINY_ROWS; i++)
    assert_true(both.loss[i] == two.loss[i]);
  tiny_close(&both);
  tiny_close(&one);
  tiny_close(&two);
}

/* With exact gradients too, none flows through a held state: the first part is
 * the model of one cycle, and the second alone reaches nothing of it. */
static void supervision_holds_the_states(void **state) {
  (void)state;
  tiny both, last;
  moh__config c = hrm_config(2, 1, true);
  moh__config one_step = hrm_config(2, 1, false);
  c.hrm_supervision = one_step.hrm_supervision = 2;
  tiny_open(&both, &c, 1, 0.4);
  tiny_open(&last, &one_step, 1, 0.4);
  assert_true(tiny_backward(&both) == tiny_backward(&last));
  assert_same_grads(&both, &last, 0);
  tiny_close(&both);
  tiny_close(&last);
}

static void recomputing_changes_no_bit(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    moh__config c = hrm_config(2, 2, i % 2 == 1);
    c.hrm_supervision = 1 + i / 2;
    tiny a, b;
    tiny_open(&a, &c, 1, 0.4);
    tiny_open(&b, &c, 2, 0.4); /* and two threads */
    b.tape.recompute = true;
    assert_true(tiny_backward(&a) == tiny_backward(&b));
    assert_same_grads(&a, &b, 0);
    tiny_close(&a);
    tiny_close(&b);
  }
}

/* ---- memory and counts ---- */

static size_t training_bytes(int64_t cycles, int64_t steps, bool exact) {
  moh__config c = hrm_config(cycles, steps, exact);
  moh__model *model = NULL;
  moh_error err;
  size_t bytes = 0;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__arch_arena_bytes(model, 3, 40, true, &bytes, &err),
                   MOH_OK);
  moh__model_free(model);
  return bytes;
}

static void memory_does_not_grow_with_the_steps(void **state) {
  (void)state;
  size_t two = training_bytes(1, 2, false);
  assert_int_equal(training_bytes(2, 2, false), two);
  assert_int_equal(training_bytes(8, 8, false), two);
  assert_true(training_bytes(8, 8, true) > 5 * two);
}

/* The original's sizes, with W_O: 4 x (65,536 + 49,152 + 512) in the blocks. */
static void counts_are_the_originals(void **state) {
  (void)state;
  moh__config c;
  moh__model *model = NULL;
  moh_error err;
  moh__config_default(&c);
  moh__config_set_architecture(&c, MOH__HRM);
  c.vocab_size = 1520;
  c.d_model = 128;
  c.d_ff = 192;
  c.n_heads = c.n_kv_heads = 8;
  c.d_head = 16;
  c.norm = MOH__NORM_LAYER;
  c.ffn = MOH__FFN_RELU;
  c.position = MOH__POSITION_LEARNED;
  c.max_seq_len = 80;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(moh__model_count(model),
                   460800 + 2 * 1520 * 128 + 80 * 128);
  assert_int_equal(moh__config_passes(&c), 12);
  moh__model_free(model);
  moh__config plain = c;
  plain.architecture = MOH__TRANSFORMER;
  int64_t output = 1520 * 128;
  assert_int_equal(moh__arch_macs(&c, 50).dense - output,
                   3 * (moh__arch_macs(&plain, 50).dense - output));
}

static void states_begin_truncated(void **state) {
  (void)state;
  moh__config c = hrm_config(1, 1, false);
  moh__model *model = NULL;
  moh_error err;
  double squares = 0;
  c.d_model = 1000;
  c.output_projection = true;
  assert_int_equal(moh__arch_model_init(&model, &c, 3, &err), MOH_OK);
  const moh__param *low = moh__model_param(model, "model.low_state.weight");
  const moh__param *high = moh__model_param(model, "model.high_state.weight");
  assert_true(low->data[0] != high->data[0]);
  for (int64_t i = 0; i < low->n; i++) {
    assert_true(fabs(low->data[i]) <= 2);
    squares += low->data[i] * low->data[i];
  }
  /* The variance of a normal that is cut at 2 is .774. */
  assert_true(fabs(squares / 1000 - .774) < .1);
  moh__model_free(model);
}

/* ---- causality, and options that reach the blocks ---- */

static void later_tokens_change_nothing(void **state) {
  (void)state;
  moh__config c = hrm_config(2, 2, false);
  tiny t;
  real before[TINY_VOCAB];
  tiny_open(&t, &c, 1, 0.4);
  memcpy(before, tiny_logits(&t) + 3 * TINY_VOCAB, sizeof(before));
  t.tokens[4] = (t.tokens[4] + 1) % TINY_VOCAB;
  const real *after = tiny_logits(&t);
  assert_memory_equal(before, after + 3 * TINY_VOCAB, sizeof(before));
  t.tokens[2] = (t.tokens[2] + 1) % TINY_VOCAB;
  after = tiny_logits(&t);
  assert_true(before[0] != after[3 * TINY_VOCAB]);
  tiny_close(&t);
}

static real first_logit(const moh__config *c) {
  tiny t;
  tiny_open(&t, c, 1, 0.4);
  real logit = tiny_logits(&t)[8 * TINY_VOCAB];
  tiny_close(&t);
  return logit;
}

static void every_option_reaches_the_blocks(void **state) {
  (void)state;
  moh__config base = hrm_config(2, 2, false), c;
  real logit = first_logit(&base);
#define CHANGES(change)                    \
  do {                                     \
    c = base;                              \
    change;                                \
    assert_true(first_logit(&c) != logit); \
  } while (0)
  CHANGES(c.hrm_cycles = 3);
  CHANGES(c.hrm_steps = 1);
  CHANGES(c.pre_norm = true);
  CHANGES(c.norm = MOH__NORM_LAYER);
  CHANGES(c.ffn = MOH__FFN_RELU);
  CHANGES(c.position = MOH__POSITION_NONE);
  CHANGES(c.heads = MOH__HEADS_ALL);
  CHANGES(c.k = 1);
  CHANGES(c.n_kv_heads = 4);
  CHANGES(c.window = ((moh__window){MOH__WINDOW_SLIDING, 2, 0, 0}));
#undef CHANGES
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_step_of_one_is_exact),
      cmocka_unit_test(one_step_holds_earlier_states),
      cmocka_unit_test(one_step_is_not_exact_for_more),
      cmocka_unit_test(supervision_is_the_mean_of_its_parts),
      cmocka_unit_test(supervision_holds_the_states),
      cmocka_unit_test(recomputing_changes_no_bit),
      cmocka_unit_test(memory_does_not_grow_with_the_steps),
      cmocka_unit_test(counts_are_the_originals),
      cmocka_unit_test(states_begin_truncated),
      cmocka_unit_test(later_tokens_change_nothing),
      cmocka_unit_test(every_option_reaches_the_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
