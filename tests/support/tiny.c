/* Small models for tests; failures here abort, as no test can go on. */
#include "support/tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

static void must(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "tiny model: %s\n", err->message);
  abort();
}

moh__config tiny_config(void) {
  moh__config c;
  moh__config_default(&c);
  c.vocab_size = TINY_VOCAB;
  c.d_model = 12;
  c.d_ff = 10;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.d_head = 6;
  c.max_seq_len = TINY_MAX_LEN;
  return c;
}

moh__config tiny_moh_config(int n_shared, int k) {
  moh__config c = tiny_config();
  c.heads = MOH__HEADS_MOH;
  c.n_shared = n_shared;
  c.k = k;
  c.balance_weight = 0.1;
  c.z_weight = 0.01;
  return c;
}

moh__config tiny_adaptive_config(int n_shared, int min, int max) {
  moh__config c = tiny_moh_config(n_shared, max);
  c.heads = MOH__HEADS_ADAPTIVE;
  c.k_min = min;
  c.sparsity_weight = 0.2;
  return c;
}

moh__config tiny_group_config(int n_shared, int k) {
  moh__config c = tiny_moh_config(n_shared, k);
  c.route_by = MOH__ROUTE_BY_GROUP;
  return c;
}

void tiny_experts(moh__config *config, int n_shared, int k, int n_routed) {
  config->experts = (moh__experts){.n_routed = n_routed,
                                   .k = k,
                                   .n_shared = n_shared,
                                   .width = 7,
                                   .balance_weight = 0.2,
                                   .z_weight = 0.03,
                                   .router_init_std = 0.02};
}

double tiny_noise(uint64_t seed, uint64_t k) {
  moh__rng rng = moh__rng_make(seed, 99);
  rng.position = 2 * k;
  return moh__rng_normal(&rng);
}

static void fill_weights(moh__model *model, double std) {
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (strstr(w->name, "head_mass") != NULL) continue; /* no weight */
    double base = w->n_dims == 1 && strstr(w->name, "bias") == NULL;
    for (int64_t j = 0; j < w->n; j++)
      w->data[j] = (real)(base + std * tiny_noise(7 + (uint64_t)i,
                                                  (uint64_t)j));
  }
}

static void fill_batch(tiny *t) {
  static const int32_t start[TINY_SEQS + 1] = {0, 9, 10, TINY_ROWS};
  memcpy(t->seq_start, start, sizeof(start));
  for (int32_t s = 0; s < TINY_SEQS; s++)
    for (int32_t r = start[s]; r < start[s + 1]; r++) {
      t->positions[r] = r - start[s];
      t->tokens[r] = (r * 7 + 3) % TINY_VOCAB;
      t->targets[r] = r % 5 == 4 ? -1 : (r * 11 + 5) % TINY_VOCAB;
      t->weights[r] = (real)(0.02 + 0.01 * r);
    }
  t->batch = (moh__batch){.n = TINY_ROWS,
                          .tokens = t->tokens,
                          .positions = t->positions,
                          .n_seq = TINY_SEQS,
                          .seq_start = t->seq_start,
                          .n_out = TINY_ROWS};
}

void tiny_open(tiny *t, const moh__config *config, int n_threads,
               double std) {
  moh_error err;
  memset(t, 0, sizeof(*t));
  must(moh__pool_new(&t->pool, n_threads, &err), &err);
  must(moh__arch_model_init(&t->model, config, 1, &err), &err);
  must(moh__model_alloc_grads(t->model, &err), &err);
  fill_weights(t->model, std);
  fill_batch(t);
  size_t bytes = 0;
  size_t masked = 0;
  must(moh__arch_arena_bytes(t->model, TINY_SEQS, 9, true, &bytes, &err),
       &err);
  must(moh__arch_arena_bytes_masked(t->model, TINY_SEQS, 9, true, &masked,
                                    &err),
       &err);
  must(moh__arena_init(&t->arena, bytes > masked ? bytes : masked, &err),
       &err);
  must(moh__tape_init(&t->tape, &t->arena, t->pool, &err), &err);
}

void tiny_one_token(tiny *t) {
  t->batch.n = t->batch.n_seq = t->batch.n_out = t->seq_start[1] = 1;
}

bool tiny_grads_are_finite(const tiny *t) {
  for (int i = 0; i < t->model->n_params; i++)
    for (int64_t j = 0; j < t->model->params[i].n; j++)
      if (!isfinite(t->model->params[i].grad[j])) return false;
  return true;
}

void tiny_close(tiny *t) {
  moh__tape_free(&t->tape);
  moh__arena_free(&t->arena);
  moh__model_free(t->model);
  moh__pool_free(t->pool);
}

/* Task loss by the batch's weights, and the auxiliary losses by the rule of
 * the trainer: means over layers. */
static double total_loss(const tiny *t) {
  const moh__config *c = &t->model->config;
  double loss = 0;
  double share = (double)t->tape.aux_scale /
                 (double)moh__config_trained_passes(c);
  for (int32_t r = 0; r < t->batch.n; r++)
    loss += (double)t->tape.task_scale * (double)t->weights[r] *
            (double)t->loss[r];
  for (const moh__head_use *u = t->tape.use; u != NULL; u = u->next)
    loss += share * (c->balance_weight * (double)u->balance +
                     c->z_weight * (double)u->z +
                     moh__config_sparsity(c) * (double)u->sparsity);
  for (const moh__head_use *u = t->tape.expert_use; u != NULL; u = u->next)
    loss += share * (c->experts.balance_weight * (double)u->balance +
                     c->experts.z_weight * (double)u->z);
  return loss;
}

static double run(tiny *t, bool recording) {
  moh_error err;
  must(moh__model_pack(t->model, t->pool, &err), &err);
  moh__tape_reset(&t->tape, recording);
  moh__arch_loss(t->model, &t->tape, &t->batch, t->targets, t->weights,
                 t->loss);
  return total_loss(t);
}

double tiny_loss(tiny *t) { return run(t, false); }

/* Memory is full of NaN: an op that reads a gradient before it is settled, or
 * adds to it, shows. */
double tiny_backward(tiny *t) {
  memset(t->arena.base, 0xff, t->arena.size);
  for (int i = 0; i < t->model->n_params; i++) {
    moh__param *w = &t->model->params[i];
    if (w->grad != NULL) memset(w->grad, 0xff, (size_t)w->n * sizeof(real));
  }
  moh__model_forget_grads(t->model);
  double loss = run(t, true);
  moh__tape_backward(&t->tape);
  moh__model_settle_grads(t->model, t->pool);
  return loss;
}

const real *tiny_logits(tiny *t) {
  moh_error err;
  must(moh__model_pack(t->model, t->pool, &err), &err);
  moh__tape_reset(&t->tape, false);
  return moh__arch_logits(t->model, &t->tape, &t->batch)->v;
}
