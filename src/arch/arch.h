/*
 * Architectures: each declares its parameters and state slots and composes
 * ops into a forward pass. Only this room knows them apart.
 */
#ifndef MOH_ARCH_ARCH_H
#define MOH_ARCH_ARCH_H

#include "arch/feed_forward.h"
#include "model/model.h"
#include "op/op.h"

typedef struct moh__arch {
  const char *name;
  /* Declares all parameters of model->config, in file order. */
  moh_status (*declare)(moh__model *model, moh_error *err);
  /* Fills data with starting values from a seed. */
  void (*init)(moh__model *model, uint64_t seed);
  /* Hidden states of the batch's out rows, (n_out, d_model), ready for the
   * output matrix. */
  moh__tensor *(*forward)(const moh__model *model, moh__tape *tape,
                          const moh__batch *batch);
  /* Calls use for hidden states of which the loss is the mean: those of
   * forward last, and before them those of earlier steps: moh__config_losses
   * in all. NULL where it is always those of forward alone. */
  void (*supervise)(const moh__model *model, moh__tape *tape,
                    const moh__batch *batch,
                    void (*use)(void *context, moh__tensor *hidden),
                    void *context);
  /* One layer's attention by itself, and its router by itself (gates, one an
   * entry; NULL without a router), from rows x (n, d_model) as the layer's
   * norm gives them: for measuring and testing a part. */
  moh__tensor *(*attention)(const moh__model *model, moh__tape *tape,
                            const moh__batch *batch, int64_t layer,
                            moh__tensor *x);
  moh__tensor *(*route)(const moh__model *model, moh__tape *tape,
                        const moh__batch *batch, int64_t layer,
                        moh__tensor *x);
  /* The layer's feed-forward parameters, for the same. */
  const moh__feed_forward *(*feed_forward)(const moh__model *model,
                                           int64_t layer);
} moh__arch;

const moh__arch *moh__arch_of(const moh__config *config);

/* A model with all its parameters declared, without data. */
moh_status moh__arch_model(moh__model **out, const moh__config *config,
                           moh_error *err);
/* The same with data, initialised from seed. */
moh_status moh__arch_model_init(moh__model **out, const moh__config *config,
                                uint64_t seed, moh_error *err);

/* The matrix that turns hidden states into logits. */
moh__param *moh__arch_output(const moh__model *model);

/* Logits of the batch's out rows, (n_out, vocab_size). */
moh__tensor *moh__arch_logits(const moh__model *model, moh__tape *tape,
                              const moh__batch *batch);

/* Forward and loss: sum of weights[i] loss[i] recorded for backward; see
 * moh__op_cross_entropy. targets, weights, loss: [n_out]. While recording, a
 * loss is the mean over all states that the architecture supervises; else it
 * is that of the last ones. */
void moh__arch_loss(const moh__model *model, moh__tape *tape,
                    const moh__batch *batch, const int32_t *targets,
                    const real *weights, real *loss);

/* Bytes of arena that a step can need at most, by a dry run. Training: n_seq
 * sequences of seq_len tokens, recorded, with a loss. Inference: one logit row
 * a sequence, keys and values in a cache. */
moh_status moh__arch_arena_bytes(const moh__model *model, int32_t n_seq,
                                 int32_t seq_len, bool training,
                                 size_t *bytes, moh_error *err);
/* Training with or without moh__tape.recompute and .every_head. */
moh_status moh__arch_arena_bytes_training(const moh__model *model,
                                          int32_t n_seq, int32_t seq_len,
                                          bool recompute, bool every_head,
                                          size_t *bytes, moh_error *err);
/* The same with every head computed (moh__tape.masked). */
moh_status moh__arch_arena_bytes_masked(const moh__model *model,
                                        int32_t n_seq, int32_t seq_len,
                                        bool training, size_t *bytes,
                                        moh_error *err);
/* A loss of chosen rows with a probe (NULL: none), recorded where that asks
 * for importance. */
moh_status moh__arch_arena_bytes_loss(const moh__model *model, int32_t n_seq,
                                      int32_t seq_len,
                                      const moh__head_probe *probe,
                                      size_t *bytes, moh_error *err);

/* Multiply-adds of one token's forward pass that sees `context` keys, itself
 * included, output matrix included. */
typedef struct moh__macs {
  int64_t dense;  /* all heads, all experts */
  int64_t active; /* with the configured plans, routers included */
  int64_t router; /* of both kinds */
  int64_t positions; /* of active: contextual positions, q . e_n */
} moh__macs;
moh__macs moh__arch_macs(const moh__config *config, int64_t context);
/* The same with so many heads in use, on average, not the most. */
moh__macs moh__arch_macs_at(const moh__config *config, int64_t context,
                            double heads);
/* The same of one layer's feed-forward, with its router. */
moh__macs moh__arch_feed_forward_macs(const moh__config *config);
/* The same of one layer's attention: router, Q, K, V, scores, values, W_O. */
moh__macs moh__arch_attention_macs(const moh__config *config,
                                   int64_t context);

#endif
