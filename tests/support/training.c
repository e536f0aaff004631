#include "support/training.h"

#include <stdlib.h>

#include "support/check.h"
#include "support/tables.h"

static moh__dataset *make_data(bool examples) {
  moh__tokens *tokens;
  moh__dataset *data;
  int32_t *ids = calloc(N_EXAMPLES * EXAMPLE, sizeof(int32_t));
  int64_t *starts = calloc(N_EXAMPLES + 1, sizeof(int64_t));
  for (int64_t s = 0; s < N_EXAMPLES; s++) {
    starts[s + 1] = (s + 1) * EXAMPLE;
    for (int64_t i = 0; i < EXAMPLE; i++)
      ids[s * EXAMPLE + i] = (int32_t)((s * 3 + i) % TINY_VOCAB);
  }
  if (!examples) {
    free(starts);
    starts = NULL;
  }
  assert_int_equal(
      moh__tokens_in_memory(&tokens, ids, N_EXAMPLES * EXAMPLE, starts,
                            examples ? N_EXAMPLES : 0, NULL),
      MOH_OK);
  moh__dataset_options whole = {.max_len = EXAMPLE};
  assert_int_equal(moh__dataset_of_tokens(&data, tokens, whole, NULL),
                   MOH_OK);
  moh__tokens_free(tokens);
  return data;
}

moh__dataset *training_data(void) { return make_data(true); }

moh__config routed_config(void) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = 1;
  c.k = 2;
  return c;
}

moh__train_options short_run(void) {
  moh__train_options o;
  moh__train_options_default(&o);
  o.steps = 20;
  o.batch = 4;
  o.context = EXAMPLE;
  o.lr = 3e-3;
  return o;
}

void open_bench(bench *b, const moh__config *c, const moh__train_options *o,
                int n_threads) {
  moh_error err;
  b->data = training_data();
  assert_int_equal(moh__pool_new(&b->pool, n_threads, &err), MOH_OK);
  assert_int_equal(moh__arch_model_init(&b->model, c, 5, &err), MOH_OK);
  assert_int_equal(moh__trainer_new(&b->trainer, b->model, b->pool, o,
                                    b->data, NULL, &err),
                   MOH_OK);
}

void close_bench(bench *b) {
  moh__trainer_free(b->trainer);
  moh__model_free(b->model);
  moh__pool_free(b->pool);
  moh__dataset_free(b->data);
}

void use_stream(bench *b, const moh__train_options *o) {
  moh__trainer_free(b->trainer);
  moh__dataset_free(b->data);
  b->data = make_data(false);
  assert_int_equal(moh__trainer_new(&b->trainer, b->model, b->pool, o,
                                    b->data, NULL, NULL),
                   MOH_OK);
}

moh__step_report step(bench *b) {
  moh_error err;
  moh__step_report r;
  assert_int_equal(moh__trainer_step(b->trainer, &r, &err), MOH_OK);
  return r;
}

real furthest_weight(const bench *a, const bench *b) {
  real most = 0;
  for (int i = 0; i < a->model->n_params; i++) {
    real off =
        largest_difference(a->model->params[i].data,
                           b->model->params[i].data, a->model->params[i].n);
    if (!(off <= most)) most = off;
  }
  return most;
}
