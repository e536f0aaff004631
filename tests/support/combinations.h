/*
 * Every combination of architecture, KV heads, positions, window and heads,
 * and some with experts, that a configuration can name, each a small model.
 */
#ifndef MOH_TESTS_COMBINATIONS_H
#define MOH_TESTS_COMBINATIONS_H

#include "model/config.h"

typedef struct combination {
  moh__config config;
  char name[160];
  bool possible; /* by the rules of docs/design.md; else it is refused */
} combination;

/* Calls check for each of them. A check that fails does not come back. */
void for_each_combination(void (*check)(const combination *c));

#endif
