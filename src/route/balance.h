/*
 * What keeps a router healthy, for n candidates (heads or experts) and T rows.
 *
 * Load balance, with P_i the mean over rows of p_i = softmax(logits)_i and f_i
 * the fraction of rows that selected candidate i:
 *   L_b = n sum_i P_i f_i
 * (the paper's equation 7 times n, as its released code has it): k when the
 * load is even, n for total collapse on one. f carries no gradient.
 *
 * Sparsity, with H(p) = -sum_i p_i ln p_i: mean over rows of H(p), in nats. A
 * router whose p are sharper reaches a mass with fewer candidates.
 *
 * z-loss (ST-MoE, arXiv 2202.08906): mean over rows of logsumexp(logits)^2.
 */
#ifndef MOH_ROUTE_BALANCE_H
#define MOH_ROUTE_BALANCE_H

#include <stdint.h>

#include "base/real.h"

/* selected[t * stride + i] != 0: row t uses candidate i.
 * mean_p, load: [n_candidates], written. Returns L_b. */
real moh__balance_loss(const real *logits, const unsigned char *selected,
                       int64_t stride, int32_t n_rows, int32_t n_candidates,
                       real *mean_p, real *load);

/* The load alone. */
void moh__head_load(const unsigned char *selected, int64_t stride,
                    int32_t n_rows, int32_t n_candidates, real *load);

/* d_logits += weight * dL_b/dlogits, load as moh__balance_loss gave it. */
void moh__balance_loss_grad(const real *logits, const real *load,
                            int32_t n_rows, int32_t n_candidates,
                            real weight, real *d_logits);

/* Balancing without a loss (arXiv 2408.15664, algorithm 1): biases that are
 * added to scores for selection alone move against the load,
 *   b_i += rate sign(mean load - load_i),
 * and their mean is taken off, which changes no selection. */
void moh__balance_bias(real *bias, const real *load, int32_t n_candidates,
                       real rate);

real moh__z_loss(const real *logits, int32_t n_rows, int32_t n_candidates);
void moh__z_loss_grad(const real *logits, int32_t n_rows,
                      int32_t n_candidates, real weight, real *d_logits);

/* Mean over rows of the entropy of p. */
real moh__sparsity_loss(const real *logits, int32_t n_rows,
                        int32_t n_candidates);
void moh__sparsity_loss_grad(const real *logits, int32_t n_rows,
                             int32_t n_candidates, real weight,
                             real *d_logits);

/* Entropy of the load over candidates, in nats: ln n when even. */
real moh__load_entropy(const real *load, int32_t n_candidates);

#endif
