/*
 * Lines that a person types, or that a script pipes in. On a terminal they
 * can be edited, and earlier ones called back, where the program was built
 * with libedit. A backslash at the end of a line joins the next one to it.
 */
#ifndef MOH_CLI_LINE_INPUT_H
#define MOH_CLI_LINE_INPUT_H

#include <stdbool.h>

#include "base/status.h"

typedef enum moh__line_kind {
  MOH__LINE_TEXT,
  MOH__LINE_END,       /* of the input */
  MOH__LINE_CANCELLED, /* Ctrl-C: the line is forgotten */
  MOH__LINE_QUIT       /* Ctrl-C with nothing typed, or again; or SIGTERM */
} moh__line_kind;

typedef struct moh__line_input moh__line_input;

/* history: a file of earlier lines, NULL for none. Signals are to be caught
 * (interrupt.h). */
moh_status moh__line_input_open(moh__line_input **out, const char *history,
                                moh_error *err);
/* Saves the history, readable by its owner only. */
void moh__line_input_close(moh__line_input *input);

/* Whether a person types: there are prompts, and hints make sense. */
bool moh__line_input_is_terminal(const moh__line_input *input);

/* *text holds until the next call; without the final newline. */
moh__line_kind moh__line_read(moh__line_input *input, const char *prompt,
                              char **text);

/* $XDG_STATE_HOME/moh/history or ~/.local/state/moh/history, allocated;
 * NULL where there is neither. */
char *moh__history_path(void);

#endif
