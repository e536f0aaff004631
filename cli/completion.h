/* Scripts that complete moh's command lines, from the tables of options. */
#ifndef MOH_CLI_COMPLETION_H
#define MOH_CLI_COMPLETION_H

#include <stdio.h>

/* To be sourced, or put where the shell looks for such scripts. */
void moh__completion_bash(FILE *out);
void moh__completion_zsh(FILE *out);

#endif
