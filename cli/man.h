/* Man pages from the tables of commands and options. */
#ifndef MOH_CLI_MAN_H
#define MOH_CLI_MAN_H

#include "options.h"

/* moh(1), and moh-COMMAND(1): troff with the macros of man(7). */
void moh__man_overview(FILE *out);
void moh__man_command(FILE *out, const moh__command *command);

#endif
