/* moh help: the overview of all commands, or one command's options; both
 * as man pages, too. */
#include <stdio.h>

#include "commands.h"
#include "help.h"
#include "man.h"

typedef struct help_values {
  bool man;
} help_values;

static const moh__option output_options[] = {
    {"man", 0, MOH__OPTION_FLAG, NULL,
     "a man page: moh help --man train | man -l -",
     .offset = offsetof(help_values, man)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Output", output_options, 0},
    {.options = NULL},
};

static moh_status run_help(const moh__call *call, moh_error *err) {
  const help_values *v = call->values;
  if (call->n_arguments == 0) {
    (v->man ? moh__man_overview : moh__help_overview)(stdout);
    return MOH_OK;
  }
  const char *name = call->arguments[0];
  const moh__command *command = moh__command_find(name);
  if (command != NULL) {
    (v->man ? moh__man_command : moh__help_command)(stdout, command);
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
    .usage = "[--man] [COMMAND]",
    .description = "Says what the commands are, or what a command does.",
    .examples = "  moh help train\n  moh help --man train | man -l -\n",
    .groups = groups,
    .values_size = sizeof(help_values),
    .max_arguments = 1,
    .argument = "COMMAND",
    .run = run_help,
};
