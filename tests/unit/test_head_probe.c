/*
 * Importance against central differences, in double: with one token its
 * absolute value is that of the derivative by the factor; with more, the sum
 * of absolute values is no less than the derivative's. And a factor reaches
 * the gradients of what lies before it.
 */
#include <string.h>

#include "support/check.h"
#include "support/tiny.h"

enum { LAYERS = 2, HEADS = 4 };

static real factors[LAYERS * HEADS];
static double importance[LAYERS * HEADS];

static double difference(tiny *t, real *number) {
  double old = *number, h = 1e-5;
  *number = old + h;
  double above = tiny_loss(t);
  *number = old - h;
  double below = tiny_loss(t);
  *number = old;
  return (above - below) / (2 * h);
}

static void open_probed(tiny *t, const moh__config *c,
                        const moh__head_probe *probe) {
  for (int i = 0; i < LAYERS * HEADS; i++)
    factors[i] = (real)(1 + 0.2 * tiny_noise(3, (uint64_t)i));
  memset(importance, 0, sizeof(importance));
  tiny_open(t, c, 1, 0.4);
  size_t bytes = 0;
  moh_error err;
  assert_int_equal(
      moh__arch_arena_bytes_loss(t->model, TINY_SEQS, 9, probe, &bytes, &err),
      MOH_OK);
  moh__arena_free(&t->arena);
  assert_int_equal(moh__arena_init(&t->arena, bytes, &err), MOH_OK);
  t->tape.probe = probe;
  t->tape.aux_scale = 0;
}

static void check(const moh__config *c, int32_t n_rows) {
  moh__head_probe probe = {.factors = factors, .importance = importance};
  tiny t;
  open_probed(&t, c, &probe);
  if (n_rows == 1) {
    t.batch.n = t.batch.n_seq = t.batch.n_out = 1;
    t.seq_start[1] = 1;
  }
  tiny_backward(&t);
  double sums[LAYERS * HEADS];
  memcpy(sums, importance, sizeof(sums));
  for (int i = 0; i < LAYERS * HEADS; i++) {
    double expected = fabs(difference(&t, &factors[i]));
    if (n_rows == 1)
      assert_true(fabs(sums[i] - expected) < 1e-7 * (1 + expected));
    else
      assert_true(sums[i] > expected - 1e-7);
  }
  moh__param *v =
      moh__model_layer_param(t.model, 0, "self_attn.v_proj.weight");
  for (int64_t i = 0; i < v->n; i += 13)
    assert_true(fabs(v->grad[i] - difference(&t, &v->data[i])) < 1e-6);
  tiny_close(&t);
}

static void importance_is_a_derivative(void **state) {
  (void)state;
  for (int n_kv = 1; n_kv <= 4; n_kv *= 2)
    for (int s = 0; s <= MOH__HEADS_RANDOM; s++) {
      moh__config c = tiny_moh_config(1, 2);
      c.n_kv_heads = n_kv;
      c.heads = (moh__head_strategy)s;
      c.n_static = 3;
      check(&c, 1);
      check(&c, TINY_ROWS);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(importance_is_a_derivative),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
