/*
 * Activations computed again in backward: the same losses and gradients to the
 * last bit, head use reported once, and less memory.
 */
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"
#include "support/training.h"

static moh__config moh_config(void) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 1;
  c.k = 2;
  c.balance_weight = 0.1; /* an auxiliary loss applied twice would show */
  c.z_weight = 0.05;
  return c;
}

static int count_use(const tiny *t) {
  int n = 0;
  for (const moh__head_use *u = t->tape.use; u != NULL; u = u->next) n++;
  return n;
}

static void check_same(const moh__config *c, int n_threads, bool masked,
                       moh__precision precision) {
  tiny kept, again;
  tiny_open(&kept, c, 1, 0.3);
  tiny_open(&again, c, n_threads, 0.3);
  moh__model_set_precision(kept.model, precision);
  moh__model_set_precision(again.model, precision);
  kept.tape.masked = again.tape.masked = masked;
  again.tape.recompute = true;
  assert_true(tiny_backward(&kept) == tiny_backward(&again));
  assert_memory_equal(kept.loss, again.loss, sizeof(kept.loss));
  assert_int_equal(count_use(&kept), count_use(&again));
  for (int i = 0; i < kept.model->n_params; i++) {
    const moh__param *w = &kept.model->params[i];
    for (int64_t j = 0; j < w->n; j++)
      if (!(w->grad[j] == again.model->params[i].grad[j]))
        fail_msg("%s differs at %d", w->name, (int)j);
  }
  tiny_close(&kept);
  tiny_close(&again);
}

static void gradients_are_the_same_bits(void **state) {
  (void)state;
  for (int position = 0; position < 4; position++)
    for (int kv = 1; kv <= 4; kv *= 2) {
      moh__config c = moh_config();
      c.position = (moh__position_kind)position;
      c.cope_positions = 5;
      c.n_kv_heads = kv;
      check_same(&c, 1, false, MOH__PRECISION_F32);
      check_same(&c, 2, false, MOH__PRECISION_BF16);
      check_same(&c, 2, true, MOH__PRECISION_F32);
      c.pre_norm = c.final_norm = false;
      c.norm = MOH__NORM_LAYER;
      check_same(&c, 2, false, MOH__PRECISION_F32);
      c.heads = MOH__HEADS_ALL;
      check_same(&c, 2, false, MOH__PRECISION_F32);
    }
}

static void training_is_the_same_bits(void **state) {
  (void)state;
  moh__config c = routed_config();
  moh__train_options o = short_run();
  bench kept, again;
  open_bench(&kept, &c, &o, 1);
  o.recompute = true;
  open_bench(&again, &c, &o, 2);
  for (int i = 0; i < 20; i++) {
    moh__step_report a = step(&kept);
    moh__step_report b = step(&again);
    assert_true(a.total_loss == b.total_loss);
    assert_true(a.balance_loss == b.balance_loss);
    assert_true(a.grad_norm == b.grad_norm);
  }
  assert_true(furthest_weight(&kept, &again) == 0);
  close_bench(&kept);
  close_bench(&again);
}

/* Of eight layers one is there at a time, beside their inputs. */
static void memory_is_a_fraction(void **state) {
  (void)state;
  moh_error err;
  moh__config c = moh_config();
  size_t kept, again;
  c.n_layers = 8;
  c.d_ff = 48;
  moh__model *model;
  assert_int_equal(moh__arch_model(&model, &c, &err), MOH_OK);
  assert_int_equal(
      moh__arch_arena_bytes_training(model, 4, 64, false, false, &kept, &err),
      MOH_OK);
  assert_int_equal(
      moh__arch_arena_bytes_training(model, 4, 64, true, false, &again, &err),
      MOH_OK);
  assert_true(again < kept / 3);
  moh__model_free(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_the_same_bits),
      cmocka_unit_test(training_is_the_same_bits),
      cmocka_unit_test(memory_is_a_fraction),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
