/* One line from a terminal through libedit, with editing keys and history.
 * Without libedit there is none: moh__line_editor_open gives NULL. */
#ifndef MOH_CLI_LINE_EDITOR_H
#define MOH_CLI_LINE_EDITOR_H

#include <stdbool.h>

typedef struct moh__line_editor moh__line_editor;

/* NULL where lines cannot be edited. */
moh__line_editor *moh__line_editor_open(const char *history_path);
/* Saves the history; NULL is fine. */
void moh__line_editor_close(moh__line_editor *editor);

/* The line with its newline, or NULL: at the end of the input, or when a
 * signal came; *empty says whether nothing had been typed then. */
const char *moh__line_editor_read(moh__line_editor *editor,
                                  const char *prompt, bool *empty);

#endif
