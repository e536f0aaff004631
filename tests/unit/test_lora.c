/*
 * Adapters of low rank, in double: nothing changes at first; gradients against
 * central differences; merged is as unmerged, to the bit; what is frozen has
 * neither gradients nor moments.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/tables.h"
#include "support/tiny.h"
#include "train/lora.h"
#include "train/optimizer.h"

static const char every_matrix[] =
    "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";

/* A model whose adapters are not 0. */
static moh__lora *open_adapted(tiny *t, const moh__config *config,
                               const char *on) {
  moh_error err = {0};
  moh__lora *lora = NULL;
  tiny_open(t, config, 2, 0.3);
  if (moh__lora_new(&lora, t->model, 3, 5, on, 7, &err) != MOH_OK ||
      moh__model_alloc_grads(t->model, &err) != MOH_OK)
    fail_msg("%s", err.message);
  return lora;
}

static void draw(moh__lora *lora) {
  moh__model *params = moh__lora_params(lora);
  for (int i = 0; i < params->n_params; i++)
    for (int64_t j = 0; j < params->params[i].n; j++)
      params->params[i].data[j] =
          0.3 * tiny_noise(400 + (uint64_t)i, (uint64_t)j);
}

static double loss_of(tiny *t, moh__lora *lora) {
  moh_error err;
  double sum = 0;
  assert_int_equal(moh__model_pack(t->model, t->pool, &err), MOH_OK);
  moh__lora_pack(lora, t->pool);
  moh__tape_reset(&t->tape, true);
  moh__arch_loss(t->model, &t->tape, &t->batch, t->targets, t->weights,
                 t->loss);
  for (int32_t r = 0; r < t->batch.n; r++) sum += t->weights[r] * t->loss[r];
  return sum;
}

static void check_gradients(const moh__config *config, const char *on) {
  tiny t;
  moh__lora *lora = open_adapted(&t, config, on);
  moh__model *params = moh__lora_params(lora);
  draw(lora);
  moh__model_forget_grads(t.model);
  loss_of(&t, lora);
  moh__tape_backward(&t.tape);
  moh__model_settle_grads(t.model, t.pool);
  moh__lora_gradients(lora, t.pool);
  for (int i = 0; i < params->n_params; i++) {
    moh__param *w = &params->params[i];
    for (int s = 0; s < 4; s++) {
      int64_t at = (s * 7919 + i) % w->n;
      double old = w->data[at], h = 1e-6;
      w->data[at] = old + h;
      double above = loss_of(&t, lora);
      w->data[at] = old - h;
      double below = loss_of(&t, lora);
      w->data[at] = old;
      double expected = (above - below) / (2 * h);
      if (!(fabs(w->grad[at] - expected) <=
            1e-6 * fmax(fabs(expected), 1e-2)))
        fail_msg("%s[%d]: %.9g, differences say %.9g", w->name, (int)at,
                 w->grad[at], expected);
    }
  }
  moh__lora_free(lora);
  tiny_close(&t);
}

static void gradients_are_right(void **state) {
  (void)state;
  moh__config c = tiny_config();
  check_gradients(&c, every_matrix);
  check_gradients(&c, "q_proj,v_proj");
  c = tiny_moh_config(1, 2);
  c.balance_weight = c.z_weight = 0;
  check_gradients(&c, "self_attn,mlp");
}

static void nothing_changes_at_first(void **state) {
  (void)state;
  moh__config c = tiny_config();
  tiny plain, adapted;
  tiny_open(&plain, &c, 1, 0.3);
  moh__lora *lora = open_adapted(&adapted, &c, every_matrix);
  real *logits = copied_reals(tiny_logits(&plain), TINY_ROWS * TINY_VOCAB);
  loss_of(&adapted, lora);
  moh__tape_reset(&adapted.tape, false);
  assert_same_reals(
      logits,
      moh__arch_logits(adapted.model, &adapted.tape, &adapted.batch)->v,
      TINY_ROWS * TINY_VOCAB, "logits");
  free(logits);
  moh__lora_free(lora);
  tiny_close(&plain);
  tiny_close(&adapted);
}

static void merged_is_as_unmerged(void **state) {
  (void)state;
  moh_error err;
  moh__config c = tiny_config();
  tiny t;
  moh__lora *lora = open_adapted(&t, &c, every_matrix);
  moh__param *q =
      moh__model_layer_param(t.model, 1, "self_attn.q_proj.weight");
  draw(lora);
  real *before = copied_reals(q->data, q->n);
  loss_of(&t, lora);
  real *loss = copied_reals(t.loss, TINY_ROWS);
  assert_int_equal(moh__lora_merge(lora, t.pool, &err), MOH_OK);
  assert_true(largest_difference(before, q->data, q->n) > 0.01);
  tiny_loss(&t); /* packs data as it is */
  assert_same_reals(loss, t.loss, TINY_ROWS, "loss");
  moh__lora_unmerge(lora);
  assert_same_reals(before, q->data, q->n, "W");
  moh__lora_settle(lora, t.pool);
  tiny_loss(&t);
  assert_same_reals(loss, t.loss, TINY_ROWS, "loss");
  free(before);
  free(loss);
  moh__lora_free(lora);
  tiny_close(&t);
}

/* Of all that is trained, and nothing else, there are gradients; moments are
 * those of the adapters and of routers. */
static void memory_is_of_adapters_and_routers(void **state) {
  (void)state;
  moh_error err;
  moh__config c = tiny_moh_config(1, 2);
  tiny t;
  moh__lora *lora = open_adapted(&t, &c, "q_proj");
  moh__model *params = moh__lora_params(lora);
  moh__optimizer *own, *adapters;
  assert_int_equal(moh__optimizer_new(&own, t.model, false, &err), MOH_OK);
  assert_int_equal(moh__optimizer_new(&adapters, params, false, &err),
                   MOH_OK);
  assert_int_equal(params->n_params, 4); /* A and B of two layers */
  for (int i = 0; i < t.model->n_params; i++) {
    const moh__param *w = &t.model->params[i];
    bool router = (w->flags & MOH__PARAM_ROUTER) != 0;
    bool adapted = strstr(w->name, "q_proj") != NULL;
    assert_true((w->grad != NULL) == (router || adapted));
    assert_true((moh__optimizer_m(own, w) != NULL) == router);
  }
  for (int i = 0; i < params->n_params; i++)
    assert_non_null(moh__optimizer_v(adapters, &params->params[i]));
  moh__optimizer_free(own);
  moh__optimizer_free(adapters);
  moh__lora_free(lora);
  for (int i = 0; i < t.model->n_params; i++)
    assert_true((t.model->params[i].flags & MOH__PARAM_ADAPTED) == 0);
  tiny_close(&t);
}

static void what_is_no_matrix_is_refused(void **state) {
  (void)state;
  static const char *const wrong[] = {
      "",   "q_proj,", "norm",          "embed_tokens",   "lm_head",
      "wg", "proj",    "q_proj v_proj", "input_layernorm"};
  moh__config c = tiny_moh_config(1, 2);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    moh__lora *lora = NULL;
    moh_error err;
    tiny t;
    tiny_open(&t, &c, 1, 0.3);
    if (moh__lora_new(&lora, t.model, 2, 4, wrong[i], 1, &err) !=
        MOH_ERR_ARGUMENT)
      fail_msg("'%s' is not refused", wrong[i]);
    assert_null(lora);
    tiny_close(&t);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_are_right),
      cmocka_unit_test(nothing_changes_at_first),
      cmocka_unit_test(merged_is_as_unmerged),
      cmocka_unit_test(memory_is_of_adapters_and_routers),
      cmocka_unit_test(what_is_no_matrix_is_refused),
  };
  return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
