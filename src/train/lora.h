/*
 * Low-rank adapters (LoRA, arXiv 2106.09685): a matrix W (out, in) stays as it
 * is, and is used as
 *   W + s B A,   s = alpha / rank,   A (rank, in), B (out, rank).
 * A starts normal with variance 1 / in, B at 0, so that nothing changes at
 * first. Products are made with the sum, which is packed anew after each
 * update, while `data` keeps W; the gradient of the sum, dW, gives
 *   dA = s B^T dW,   dB = s dW A^T.
 * So every op is what it is without adapters. Moments are those of A and B;
 * everything else but routers is frozen and has neither gradients nor moments.
 */
#ifndef MOH_TRAIN_LORA_H
#define MOH_TRAIN_LORA_H

#include "base/pool.h"
#include "model/model.h"

typedef struct moh__lora moh__lora;

/* Flags the matrices that have adapters, none of those that are frozen, and
 * freezes all else but routers. on: parts of tensors' names, commas between,
 * "q_proj,v_proj"; each must stand for a matrix of a layer, and all of them
 * for some. */
moh_status moh__lora_mark(moh__model *model, const char *on, moh_error *err);

/* Marks the model's parameters, too; before their gradients are allocated. */
moh_status moh__lora_new(moh__lora **out, moh__model *model, int32_t rank,
                         double alpha, const char *on, uint64_t seed,
                         moh_error *err);
void moh__lora_free(moh__lora *lora);

/* A and B of every adapted matrix, "NAME.lora_a", "NAME.lora_b", as the
 * parameters of a model that has no others, with their gradients. */
moh__model *moh__lora_params(const moh__lora *lora);

/* Gradients of A and B from those of the matrices. */
void moh__lora_gradients(moh__lora *lora, moh__pool *pool);

/* Renews the packed sums; the model must have been packed. */
void moh__lora_pack(moh__lora *lora, moh__pool *pool);

/* Puts the sums into `data`, and W back. What fails has changed nothing. */
moh_status moh__lora_merge(moh__lora *lora, moh__pool *pool, moh_error *err);
void moh__lora_unmerge(moh__lora *lora);
/* For good. */
void moh__lora_settle(moh__lora *lora, moh__pool *pool);

#endif
