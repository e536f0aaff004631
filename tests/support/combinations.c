/* Every combination of what a model can be made of. */
#include "support/combinations.h"

#include <stdio.h>

#include "support/tiny.h"

typedef struct choice {
  const char *name;
  void (*set)(moh__config *config);
} choice;

#define N(list) ((int)(sizeof(list) / sizeof((list)[0])))

/* ---- architectures, and what each cannot have ---- */

static void transformer(moh__config *c) { (void)c; }

static void hrm(moh__config *c) {
  moh__config_set_architecture(c, MOH__HRM);
  c->hrm_exact = true;
}

static void hypermixer(moh__config *c) {
  c->d_model = c->n_heads * c->d_head;
  moh__config_set_architecture(c, MOH__HYPERMIXER);
  c->hyper_width = 5;
  c->hyper_mix = 3;
}

static const choice architectures[] = {
    {"transformer", transformer}, {"hrm", hrm}, {"hypermixer", hypermixer}};

/* ---- KV heads ---- */

static void mha(moh__config *c) { c->n_kv_heads = 4; }
static void gqa(moh__config *c) { c->n_kv_heads = 2; }
static void mqa(moh__config *c) { c->n_kv_heads = 1; }

static const choice kv_heads[] = {{"MHA", mha}, {"GQA", gqa}, {"MQA", mqa}};

/* ---- positions ---- */

static void rope(moh__config *c) { c->position = MOH__POSITION_ROPE; }
static void learned(moh__config *c) { c->position = MOH__POSITION_LEARNED; }
static void no_positions(moh__config *c) { c->position = MOH__POSITION_NONE; }
static void cope(moh__config *c) {
  c->position = MOH__POSITION_COPE;
  c->cope_positions = 5;
}

static const choice positions[] = {{"rope", rope},
                                   {"learned", learned},
                                   {"cope", cope},
                                   {"no positions", no_positions}};

/* ---- windows ---- */

static void no_window(moh__config *c) { (void)c; }
static void sliding(moh__config *c) {
  c->window = (moh__window){MOH__WINDOW_SLIDING, 3, 0, 0};
}
static void by_length(moh__config *c) {
  c->window = (moh__window){MOH__WINDOW_LENGTH, 0, 2, 4};
}

static const choice windows[] = {{"no window", no_window},
                                 {"sliding window", sliding},
                                 {"window by length", by_length}};

/* ---- heads ---- */

static void all_heads(moh__config *c) { c->heads = MOH__HEADS_ALL; }
static void first_heads(moh__config *c) {
  c->heads = MOH__HEADS_STATIC;
  c->n_static = 3;
}
static void moh_heads(moh__config *c) {
  c->heads = MOH__HEADS_MOH;
  c->n_shared = 1;
  c->k = 2;
}
static void moh_routed(moh__config *c) {
  moh_heads(c);
  c->n_shared = 0;
}
static void moh_shared(moh__config *c) {
  moh_heads(c);
  c->k = 0;
}
static void moh_full(moh__config *c) {
  moh_heads(c);
  c->k = 3;
}
static void moh_plain(moh__config *c) {
  moh_heads(c);
  c->gate_scale = MOH__GATE_PAPER;
  c->bias_balance = 0.1;
}
static void by_chance(moh__config *c) {
  moh_heads(c);
  c->heads = MOH__HEADS_RANDOM;
}
static void by_mass(moh__config *c) {
  moh_heads(c);
  c->heads = MOH__HEADS_ADAPTIVE;
  c->k = 3;
  c->k_min = 1;
  c->sparsity_weight = 0.2;
}
static void groups(moh__config *c) {
  moh_heads(c);
  c->route_by = MOH__ROUTE_BY_GROUP;
  c->n_shared = 0;
  c->k = 1;
}

static void by_query(moh__config *c) {
  moh_heads(c);
  c->heads = MOH__HEADS_NORM;
  c->gate_scale = MOH__GATE_ONE;
  c->z_weight = 0;
}
static void groups_by_query(moh__config *c) {
  by_query(c);
  c->route_by = MOH__ROUTE_BY_GROUP;
  c->n_shared = 0;
  c->k = 1;
}

static const choice heads[] = {{"all heads", all_heads},
                               {"static", first_heads},
                               {"moh 1+2", moh_heads},
                               {"moh 0+2", moh_routed},
                               {"moh 1+0", moh_shared},
                               {"moh 1+3", moh_full},
                               {"moh 1+2 paper's gates, biases", moh_plain},
                               {"moh by group", groups},
                               {"random 1+2", by_chance},
                               {"adaptive 1+1-3", by_mass},
                               {"norm 1+2", by_query},
                               {"norm by group", groups_by_query}};

/* ---- feed-forward ---- */

static void dense(moh__config *c) { (void)c; }
static void experts(moh__config *c) { tiny_experts(c, 0, 2, 4); }
static void all_experts(moh__config *c) { tiny_experts(c, 0, 3, 3); }
static void one_of_experts(moh__config *c) { tiny_experts(c, 2, 1, 3); }
static void shared_experts(moh__config *c) { tiny_experts(c, 1, 2, 3); }
static void relu_experts(moh__config *c) {
  shared_experts(c);
  c->ffn = MOH__FFN_RELU;
}

static const choice feed_forwards[] = {{"experts 0+2/4", experts},
                                       {"experts 0+3/3", all_experts},
                                       {"experts 2+1/3", one_of_experts},
                                       {"experts 1+2/3", shared_experts},
                                       {"ReLU experts", relu_experts}};

static const choice dense_feed_forward = {"dense", dense};

/* ---- biases and norms of queries and keys ---- */

static void qwen2(moh__config *c) { c->qkv_bias = true; }
static void qwen3(moh__config *c) { c->qk_norm = true; }
static void biases(moh__config *c) {
  c->qkv_bias = c->output_bias = c->mlp_bias = true;
}
static void vectors(moh__config *c) {
  biases(c);
  c->qk_norm = true;
  if (c->position == MOH__POSITION_ROPE)
    c->rope_scaling = (moh__rope_scaling){MOH__ROPE_LLAMA3, 4, 1, 4, 12};
}

static const choice families[] = {{"Q, K, V biases", qwen2},
                                  {"Q and K norms", qwen3},
                                  {"all biases", biases},
                                  {"all biases, Q and K norms", vectors}};

/* ---- all together ---- */

static bool is_possible(const moh__config *c) {
  if (c->architecture != MOH__HYPERMIXER) return true;
  return !c->qkv_bias && !c->output_bias && !c->qk_norm &&
         c->n_kv_heads == c->n_heads && c->route_by == MOH__ROUTE_BY_HEAD &&
         c->heads != MOH__HEADS_NORM && c->window.kind == MOH__WINDOW_NONE &&
         (c->position == MOH__POSITION_NONE ||
          c->position == MOH__POSITION_LEARNED);
}

static void combine(combination *c, const choice *const part[6]) {
  c->config = tiny_config();
  c->config.balance_weight = 0.3;
  c->config.z_weight = 0.1;
  for (int i = 0; i < 6; i++) part[i]->set(&c->config);
  snprintf(c->name, sizeof(c->name), "%s, %s, %s, %s, %s, %s", part[0]->name,
           part[1]->name, part[2]->name, part[3]->name, part[4]->name,
           part[5]->name);
  c->possible = is_possible(&c->config);
}

/* Experts take turns where KV heads and windows are the plain ones: these have
 * no part in the feed-forward. */
static void for_each_expert(void (*check)(const combination *c)) {
  combination c;
  int turn = 0;
  for (int a = 0; a < N(architectures); a++)
    for (int p = 0; p < N(positions); p++)
      for (int h = 0; h < N(heads); h++) {
        const choice *const part[] = {
            &architectures[a], &kv_heads[0], &positions[p],
            &windows[0],       &heads[h],    &feed_forwards[turn]};
        turn = (turn + 1) % N(feed_forwards);
        combine(&c, part);
        check(&c);
      }
}

/* The same of biases and norms, with the KV heads that they are cut by. */
static void for_each_family(void (*check)(const combination *c)) {
  combination c;
  int turn = 0;
  for (int a = 0; a < N(architectures); a++)
    for (int g = 0; g < N(kv_heads); g++)
      for (int h = 0; h < N(heads); h++) {
        int p = (turn + turn / N(families)) % N(positions);
        const choice *const part[] = {
            &architectures[a], &kv_heads[g], &positions[p],
            &windows[0],       &heads[h],    &families[turn % N(families)]};
        turn++;
        combine(&c, part);
        check(&c);
      }
}

void for_each_combination(void (*check)(const combination *c)) {
  combination c;
  for (int a = 0; a < N(architectures); a++)
    for (int g = 0; g < N(kv_heads); g++)
      for (int p = 0; p < N(positions); p++)
        for (int w = 0; w < N(windows); w++)
          for (int h = 0; h < N(heads); h++) {
            const choice *const part[] = {
                &architectures[a], &kv_heads[g], &positions[p],
                &windows[w],       &heads[h],    &dense_feed_forward};
            combine(&c, part);
            check(&c);
          }
  for_each_expert(check);
  for_each_family(check);
}
