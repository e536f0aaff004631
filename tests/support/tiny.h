/*
 * Small models for tests of the whole: a configuration, random weights, and a
 * ragged batch of three sequences, with everything that a step needs.
 */
#ifndef MOH_TESTS_TINY_H
#define MOH_TESTS_TINY_H

#include "arch/arch.h"

enum { TINY_ROWS = 17, TINY_SEQS = 3, TINY_VOCAB = 23, TINY_MAX_LEN = 90 };

typedef struct tiny {
  moh__model *model;
  moh__pool *pool;
  moh__arena arena;
  moh__tape tape;
  moh__batch batch;
  int32_t tokens[TINY_ROWS];
  int32_t targets[TINY_ROWS];
  int32_t positions[TINY_ROWS];
  int32_t seq_start[TINY_SEQS + 1];
  real weights[TINY_ROWS];
  real loss[TINY_ROWS];
} tiny;

/* Two layers, d_model 12, 4 heads of 6 with 2 KV heads, AllHeads, RoPE. */
moh__config tiny_config(void);
/* The same with routers and auxiliary losses; the second counts KV groups of
 * two heads. */
moh__config tiny_moh_config(int n_shared, int k);
/* And min to max routed heads, by mass. */
moh__config tiny_adaptive_config(int n_shared, int min, int max);
moh__config tiny_group_config(int n_shared, int k);

/* A feed-forward of experts, 7 hidden units each, with auxiliary losses. */
void tiny_experts(moh__config *config, int n_shared, int k, int n_routed);

/* All weights are drawn anew from N(0, std), norms and biases too, so that no
 * factor is 1 or 0. */
void tiny_open(tiny *t, const moh__config *config, int n_threads,
               double std);
void tiny_close(tiny *t);

/* The total loss as the trainer defines it, and with gradients. */
double tiny_loss(tiny *t);
double tiny_backward(tiny *t);

/* From now on one sequence of one token. */
void tiny_one_token(tiny *t);

bool tiny_grads_are_finite(const tiny *t);

/* Logits of all rows, (TINY_ROWS, TINY_VOCAB); hold until the next call. */
const real *tiny_logits(tiny *t);

/* Deterministic noise: call k of a seed gives the same number always. */
double tiny_noise(uint64_t seed, uint64_t k);

#endif
