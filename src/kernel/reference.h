/* The parts of the plain reference that stand in other files. */
#ifndef MOH_KERNEL_REFERENCE_H
#define MOH_KERNEL_REFERENCE_H

#include "kernel/kernel.h"

/* ---- reference_attention.c ---- */

void moh__reference_attention(const moh__attention *a, void *scratch);
void moh__reference_attention_grad(const moh__attention_grad *b, int64_t n,
                                   void *scratch);

#endif
