/* What a command that writes a model says of its matrices: those that stay
 * f32, because their rows are no whole blocks of what the others are in. */
#ifndef MOH_CLI_STORED_H
#define MOH_CLI_STORED_H

#include "model/model.h"

int moh__stored_exact(const moh__model *model, moh__block_type type);

/* A line with their number; nothing where there are none. */
void moh__stored_print_exact(const moh__model *model, moh__block_type type);

#endif
