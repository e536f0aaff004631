/* The commands, one file each, and the table of them all. */
#ifndef MOH_CLI_COMMANDS_H
#define MOH_CLI_COMMANDS_H

#include "options.h"

extern const moh__command moh__command_train;
extern const moh__command moh__command_tune;
extern const moh__command moh__command_eval;
extern const moh__command moh__command_generate;
extern const moh__command moh__command_chat;
extern const moh__command moh__command_import;
extern const moh__command moh__command_inspect;
extern const moh__command moh__command_prune;
extern const moh__command moh__command_upcycle;
extern const moh__command moh__command_export;
extern const moh__command moh__command_quantize;
extern const moh__command moh__command_routes;
extern const moh__command moh__command_report;
extern const moh__command moh__command_verify;
extern const moh__command moh__command_tokenize;
extern const moh__command moh__command_data;
extern const moh__command moh__command_bench;
extern const moh__command moh__command_completion;
extern const moh__command moh__command_help;

enum { MOH__COMMANDS_MAX = 64 };

/* In the order of the overview; NULL at the end. */
extern const moh__command *const moh__commands[];

/* NULL when there is none of that name. */
const moh__command *moh__command_find(const char *name);

/* The command or option of moh itself that was probably meant, or NULL. */
const char *moh__command_nearest(const char *word);

#endif
