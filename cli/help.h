/* What moh says about itself, from the tables of commands and options. */
#ifndef MOH_CLI_HELP_H
#define MOH_CLI_HELP_H

#include "options.h"

void moh__help_overview(FILE *out);
void moh__help_command(FILE *out, const moh__command *command);

#endif
