/* The parts of the plain reference that stand in other files. */
#ifndef MOH_KERNEL_REFERENCE_H
#define MOH_KERNEL_REFERENCE_H

#include "kernel/kernel.h"

/* ---- reference_attention.c ---- */

void moh__reference_attention(const moh__attention *a, void *scratch);
void moh__reference_attention_grad(const moh__attention_grad *b, int64_t n,
                                   void *scratch);

/* ---- reference_blocks.c ---- */

void moh__reference_encode(moh__codes *dst, moh__block_type type,
                           const real *x, int64_t k);
/* C[i][j] (+)= of one row of codes against column j. */
real moh__reference_chain(const moh__gemm *g, const moh__codes *a, int64_t j,
                          real sum);
/* B(k, j) of packed f16. */
real moh__reference_f16(const moh__gemm *g, int64_t k, int64_t j);

#endif
