/* The transformer's entry in the table of architectures. */
#ifndef MOH_ARCH_TRANSFORMER_H
#define MOH_ARCH_TRANSFORMER_H

#include "arch/arch.h"

extern const moh__arch moh__transformer;

#endif
