/* The table of commands, and what may be said of a wrong one. */
#include "commands.h"

#include <string.h>

/* clang-format off */
const moh__command *const moh__commands[] = {
    &moh__command_train,
    &moh__command_tune,
    &moh__command_eval,
    &moh__command_generate,
    &moh__command_chat,
    &moh__command_prune,
    &moh__command_upcycle,
    &moh__command_import,
    &moh__command_export,
    &moh__command_quantize,
    &moh__command_inspect,
    &moh__command_routes,
    &moh__command_report,
    &moh__command_verify,
    &moh__command_tokenize,
    &moh__command_data,
    &moh__command_bench,
    &moh__command_completion,
    &moh__command_help,
    NULL,
};
/* clang-format on */

const moh__command *moh__command_find(const char *name) {
  for (int i = 0; moh__commands[i] != NULL; i++)
    if (strcmp(moh__commands[i]->name, name) == 0) return moh__commands[i];
  return NULL;
}

const char *moh__command_nearest(const char *word) {
  const char *names[MOH__COMMANDS_MAX + 2] = {"--version", "--help"};
  int n = 2;
  for (int i = 0; moh__commands[i] != NULL && i < MOH__COMMANDS_MAX; i++)
    names[n++] = moh__commands[i]->name;
  return moh__nearest(word, names, n);
}
