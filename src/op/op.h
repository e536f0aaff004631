/*
 * The differentiable operations. Each stands with its backward pass in one
 * file; shapes are in the comments, (n, d) for n rows of d.
 */
#ifndef MOH_OP_OP_H
#define MOH_OP_OP_H

#include "op/batch.h"
#include "op/param.h"
#include "op/tape.h"
#include "op/window.h"
#include "route/head_router.h"
#include "route/plan.h"
#include "route/random_heads.h"

/* ---- linear.c: y = x W^T, W (out, in) ---- */

/* (n, in) -> (n, out), every row. */
moh__tensor *moh__op_linear(moh__tape *tape, moh__tensor *x,
                            moh__param *w);

/* ---- plan_linear.c: linear over a dispatch plan ---- */

/* Gathered: entry e of candidate c is row plan.rows[e] of x times group c.
 * (n, in) -> (entries, out of a group). W packed by outputs. */
moh__tensor *moh__op_gathered_linear(moh__tape *tape, moh__tensor *x,
                                     moh__param *w, const moh__plan *plan);

/* Scattered: row t of y is the sum over the candidates c that t uses, in
 * ascending order, of their entry times group c. (entries, in of a group) ->
 * (n, out). W packed by inputs. */
moh__tensor *moh__op_scattered_linear(moh__tape *tape, moh__tensor *x,
                                      moh__param *w,
                                      const moh__plan *plan);

/* Without an output projection: entry e of candidate c becomes columns
 * [c d, (c+1) d) of its row, 0 where c is not used. (entries, d) ->
 * (n, n_candidates d). */
moh__tensor *moh__op_scatter_heads(moh__tape *tape, moh__tensor *x,
                                   const moh__plan *plan);

/* ---- gather_heads.c ---- */

/* Of rows that every head has, (n_candidates n, d), head by head, those of the
 * plan's entries: (entries, d). */
moh__tensor *moh__op_gather_heads(moh__tape *tape, moh__tensor *x,
                                  const moh__plan *plan);

/* ---- gate.c ---- */

/* y_e = gates_e x_e for every entry. (entries, d), (entries, 1). */
moh__tensor *moh__op_gate(moh__tape *tape, moh__tensor *x,
                          moh__tensor *gates);

/* ---- head_probe.c ---- */

/* tape->probe at a layer's head outputs x (entries, d): x itself where there is
 * none. */
moh__tensor *moh__op_head_probe(moh__tape *tape, moh__tensor *x,
                                const moh__plan *plan, int64_t layer);

/* ---- norm.c ---- */

typedef enum moh__norm_kind {
  MOH__NORM_RMS,
  MOH__NORM_LAYER,
  MOH__NORM_DYT /* dynamic tanh, an operation of its own */
} moh__norm_kind;

/* RMSNorm: y = gain x / sqrt(mean(x^2) + eps) (arXiv 1910.07467, eq. 4).
 * LayerNorm: y = gain (x - mean) / sqrt(var + eps) + bias (1607.06450).
 * gain, bias (d); bias NULL for RMSNorm. x (n, d), or (n, heads d): then every
 * head is normed by itself. */
moh__tensor *moh__op_norm(moh__tape *tape, moh__tensor *x,
                          moh__norm_kind kind, real eps, moh__param *gain,
                          moh__param *bias);

/* ---- dynamic_tanh.c ---- */

/* In place of a norm: y = gain tanh(alpha x) + bias (arXiv 2503.10622). alpha
 * (1); gain, bias (d). */
moh__tensor *moh__op_dynamic_tanh(moh__tape *tape, moh__tensor *x,
                                  moh__param *alpha, moh__param *gain,
                                  moh__param *bias);

/* ---- feed_forward.c ---- */

/* silu(gate) * up (arXiv 2002.05202). All (n, f). */
moh__tensor *moh__op_swiglu(moh__tape *tape, moh__tensor *gate,
                            moh__tensor *up);
/* max(x, 0). */
moh__tensor *moh__op_relu(moh__tape *tape, moh__tensor *x);

/* ---- add.c ---- */

moh__tensor *moh__op_add(moh__tape *tape, moh__tensor *a, moh__tensor *b);
/* y = by x. */
moh__tensor *moh__op_scale(moh__tape *tape, moh__tensor *x, real by);

/* ---- learned_scale.c ---- */

/* y = s x; scale is of one element. */
moh__tensor *moh__op_learned_scale(moh__tape *tape, moh__tensor *x,
                                   moh__param *scale);

/* ---- embed.c ---- */

/* Row i is table[ids[i]]. table (n_ids, d) -> (n, d). */
moh__tensor *moh__op_embed(moh__tape *tape, moh__param *table,
                           const int32_t *ids, int32_t n);
/* The given rows of x; rows NULL gives x itself. */
moh__tensor *moh__op_select_rows(moh__tape *tape, moh__tensor *x,
                                 const int32_t *rows, int32_t n);

/* ---- rope.c ---- */

/*
 * Rotary positions (arXiv 2104.09864, eq. 34), in the half-split pairing of
 * LLaMA files: (x_i, x_{i + d/2}) of each d-wide head is turned by
 * position * theta^(-2i/d). In place: x is given back, its values rotated; its
 * gradient is rotated back in backward. angles: [max_pos][d/2][2] cos, sin.
 * Row r has position positions[rows ? rows[r] : r].
 */
moh__tensor *moh__op_rope(moh__tape *tape, moh__tensor *x, int64_t d_head,
                          const real *angles, const int32_t *positions,
                          const int32_t *rows);

/* ---- attention.c ---- */

typedef struct moh__attention_args {
  const moh__plan *plan; /* over query heads */
  const moh__batch *batch;
  int32_t slot; /* which state slot of batch->cache */
  int32_t n_heads, n_kv_heads;
  int64_t d_head;
  moh__window window; /* which keys a query sees; not one that adapts */
  moh__evenness
      *evenness; /* [n_heads] added to by some queries; NULL: none */
} moh__attention_args;

/* Row numbers of all entries, also where the plan stores none: [entries].
 * For rope on queries. NULL when counting. */
const int32_t *moh__plan_entry_rows(moh__tape *tape, const moh__plan *plan);

/*
 * Causal softmax attention of every entry's query over the keys of its
 * sequence up to its own position, those in its window, scaled by 1 /
 * sqrt(d_head). Query head h
 * uses KV head h / (n_heads / n_kv_heads). q (entries, d_head); k, v (n,
 * n_kv_heads d_head), which are appended to the cache, or to pages of the
 * step when there is none. -> (entries, d_head).
 */
moh__tensor *moh__op_attention(moh__tape *tape, moh__tensor *q,
                               moh__tensor *k, moh__tensor *v,
                               const moh__attention_args *args);

/* The same with contextual positions (moh__cope in kernel.h). table (n_heads,
 * n_positions, d_head), packed by head; NULL: without. */
moh__tensor *moh__op_attention_cope(moh__tape *tape, moh__tensor *q,
                                    moh__tensor *k, moh__tensor *v,
                                    moh__param *table,
                                    const moh__attention_args *args);

/* ---- router.c ---- */

typedef struct moh__router_args {
  moh__router_shape shape;
  int32_t heads_each;     /* heads of a candidate, all with its gate */
  const moh__random_heads *draw; /* heads by chance, gates 1: no matrices;
                                  * NULL: by the matrices */
  moh__tensor *queries;   /* of all heads, (n_heads n, d_head), head by head:
                           * chosen by their norms (op/query_scores.h), with
                           * gates 1 and no matrices; NULL: otherwise */
  bool experts;           /* candidates are experts */
  moh__param *w_shared; /* (n_shared, d) or NULL */
  moh__param *w_routed; /* (n_routed, d) or NULL */
  moh__param *w_mix;    /* (2, d) or NULL */
  moh__param *bias;     /* (n_routed) of the selection; or NULL */
  real balance_weight;  /* weight of this layer's L_b in the loss */
  real z_weight;
  real sparsity_weight; /* of the mean entropy of p: sparsity */
  int32_t layer;        /* for tape->use */
} moh__router_args;

/* Scores the rows of x (n, d), chooses among n_shared + n_routed candidates,
 * and gives the plan over their heads and its gates (entries, 1), NULL where
 * these are 1 by themselves. Adds the layer's auxiliary losses to the
 * gradients, and an entry to tape->use, or to tape->expert_use. */
moh__tensor *moh__op_head_router(moh__tape *tape, moh__tensor *x,
                                 const moh__router_args *args,
                                 const moh__plan **plan);

/* ---- bias.c ---- */

/* x += b in every row, in place: x is given back. With a plan (x has its
 * entries), entry e of candidate c has the c-th part of b. */
moh__tensor *moh__op_bias(moh__tape *tape, moh__tensor *x, moh__param *b,
                          const moh__plan *plan);

/* ---- causal_mix.c ---- */

typedef struct moh__mix_args {
  const moh__plan *plan; /* over heads */
  const moh__batch *batch;
  int32_t slot; /* which state slot of batch->cache */
  int32_t n_heads;
  int64_t d_head, width;
} moh__mix_args;

/*
 * Token mixing by weights that each token makes (HyperMixer, arXiv 2203.03691,
 * section 3.2, in a causal form): of head h, with x_j its columns of row j,
 *   S_t = sum_{j<=t} w1_j (x) x_j / (t + 1)    (width, d_head)
 *   y_t = sum_r w2_t[r] gelu(S_t[r])
 * for the tokens t that use the head; every token takes part in S. x (n,
 * n_heads d_head), w1 (n, n_heads width), w2 (entries, width) -> (entries,
 * d_head). Time is linear in the tokens. The state, the sum, lies in the first
 * page of a sequence, or in memory of the step when there is no cache.
 */
moh__tensor *moh__op_causal_mix(moh__tape *tape, moh__tensor *x,
                                moh__tensor *w1, moh__tensor *w2,
                                const moh__mix_args *args);

/* ---- cross_entropy.c ---- */

/*
 * Fused output projection and cross entropy, in chunks of rows, so that the
 * logits of a batch are never stored: loss[i] = -ln softmax(x_i W^T)[target].
 * Rows with target < 0 are skipped (loss 0). Backward of sum_i weights[i]
 * loss[i], times tape->task_scale, is done on the spot.
 * x (n, d); w (vocabulary, d); loss [n], written (NULL when counting).
 */
void moh__op_cross_entropy(moh__tape *tape, moh__tensor *x, moh__param *w,
                           const int32_t *targets, const real *weights,
                           real *loss);

#endif
