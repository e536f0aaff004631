/* moh completion: a script that lets a shell complete command lines. */
#include <string.h>

#include "commands.h"
#include "completion.h"

static const char *const shells[] = {"bash", "zsh", NULL};

static const moh__option_group groups[] = {{.options = NULL}};

static moh_status run_completion(const moh__call *call, moh_error *err) {
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "name a shell: bash or zsh");
  const char *shell = call->arguments[0];
  if (strcmp(shell, "bash") == 0)
    moh__completion_bash(stdout);
  else if (strcmp(shell, "zsh") == 0)
    moh__completion_zsh(stdout);
  else
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "there is no completion for '%s', only for bash and "
                     "zsh",
                     shell);
  return MOH_OK;
}

const moh__command moh__command_completion = {
    .name = "completion",
    .summary = "a script: the shell completes commands and options",
    .usage = "bash|zsh",
    .description =
        "Prints a script for bash or zsh that completes commands, options, "
        "their words, and names of files. Where moh is installed, new "
        "shells "
        "find it by themselves; elsewhere they read it at their start, zsh "
        "after compinit.",
    .examples =
        "  moh completion bash > "
        "~/.local/share/bash-completion/completions/"
        "moh\n"
        "  source <(moh completion zsh)\n",
    .groups = groups,
    .values_size = 1,
    .max_arguments = 1,
    .argument = "SHELL",
    .argument_words = shells,
    .run = run_completion,
};
