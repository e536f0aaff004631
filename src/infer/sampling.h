/*
 * From logits to one token. The rules work in the order of llama.cpp, each
 * on what the one before left:
 *   1. repetition penalty r (Keskar et al., CTRL, 2019, section 4.1): the
 *      logit of every token among the last ones becomes z / r where z > 0,
 *      and z r elsewhere, once for each token;
 *   2. top-k: the k largest logits stay;
 *   3. top-p (Holtzman et al., 2020): of the tokens in descending order the
 *      shortest front part stays whose share of probability is at least p;
 *   4. min-p: tokens stay whose probability is at least min_p times that of
 *      the likeliest;
 *   5. temperature T: one is drawn from softmax(z / T). With T = 0 the
 *      likeliest is taken instead, and 2 to 4 have nothing to do.
 * Rules 3 and 4 see softmax(z), without T. Equal logits rank by lower id;
 * at least one token always stays. A rule that removes nothing changes no
 * bit.
 */
#ifndef MOH_INFER_SAMPLING_H
#define MOH_INFER_SAMPLING_H

#include "base/real.h"
#include "base/rng.h"
#include "base/status.h"

typedef struct moh__sampling {
  double temperature;    /* 0: greedy */
  int32_t top_k;         /* 0: off */
  double top_p;          /* in [0, 1]; 1: off */
  double min_p;          /* in [0, 1]; 0: off */
  double repeat_penalty; /* above 0; 1: off */
  int32_t repeat_last;   /* tokens that the penalty looks at; -1: all */
  uint64_t seed;
} moh__sampling;

/* Greedy: every rule off, repeat_last 64, seed 1. */
moh__sampling moh__sampling_default(void);

/* A value outside its range is MOH_ERR_ARGUMENT with its name. */
moh_status moh__sampling_check(const moh__sampling *sampling,
                               moh_error *err);

/* Its memory, its rules and its random numbers: a draw takes one, greedy
 * choice none, so a seed gives the same tokens for the same logits. */
typedef struct moh__sampler {
  moh__sampling rules;
  moh__rng rng;
  int32_t n;       /* size of the vocabulary */
  double *logits;  /* [n] after the penalty; -INFINITY: removed */
  double *weights; /* [n] what is drawn from, not normalised */
  int32_t *order;  /* [n] a heap of n_heap ids, then ids ranked backwards */
  int32_t n_heap;
} moh__sampler;

moh_status moh__sampler_init(moh__sampler *sampler,
                             const moh__sampling *rules, int32_t n,
                             moh_error *err);
void moh__sampler_free(moh__sampler *sampler);

/* Fills weights, of which 0 is a token that cannot be drawn. logits: [n];
 * history: the tokens so far, [n_history], the newest last. Logits that are
 * not finite are MOH_ERR_DIVERGED. */
moh_status moh__sampler_weigh(moh__sampler *sampler, const real *logits,
                              const int32_t *history, size_t n_history,
                              moh_error *err);

/* Weighs, and draws (or takes the likeliest). */
moh_status moh__sampler_choose(moh__sampler *sampler, const real *logits,
                               const int32_t *history, size_t n_history,
                               int32_t *token, moh_error *err);

/* Inverse of the cumulative distribution, added up in the order of ids: the
 * first i with weights[0] + ... + weights[i] > u * sum of all; u in [0, 1).
 */
int32_t moh__draw(const double *weights, int32_t n, double u);

#endif
