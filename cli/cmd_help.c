/* moh help: the overview of all commands, or one command's options. */
#include <stdio.h>

#include "commands.h"
#include "help.h"

static const moh__option_group groups[] = {{.options = NULL}};

static moh_status run_help(const moh__call *call, moh_error *err) {
  if (call->n_arguments == 0) {
    moh__help_overview(stdout);
    return MOH_OK;
  }
  const char *name = call->arguments[0];
  const moh__command *command = moh__command_find(name);
  if (command != NULL) {
    moh__help_command(stdout, command);
    return MOH_OK;
  }
  const char *near = moh__command_nearest(name);
  return moh__fail(err, MOH_ERR_ARGUMENT, "there is no command '%s'%s%s%s",
                   name, near != NULL ? "; did you mean '" : "",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
}

const moh__command moh__command_help = {
    .name = "help",
    .summary = "this overview, or a command's options",
    .usage = "[COMMAND]",
    .description = "Says what the commands are, or what a command does.",
    .examples = "  moh help train\n",
    .groups = groups,
    .values_size = 1,
    .max_arguments = 1,
    .argument = "COMMAND",
    .run = run_help,
};
