/* The commands, one file each, and what main.c needs of them. */
#ifndef MOH_CLI_COMMANDS_H
#define MOH_CLI_COMMANDS_H

#include "options.h"

extern const moh__command moh__command_train;
extern const moh__command moh__command_tune;
extern const moh__command moh__command_generate;
extern const moh__command moh__command_chat;
extern const moh__command moh__command_inspect;

#endif
