/* The text that a command works on: its argument, a file, or stdin. */
#ifndef MOH_CLI_INPUT_H
#define MOH_CLI_INPUT_H

#include "text/tokenizer.h"

typedef struct moh__input {
  moh__text text;
  char *owned; /* what was read, NULL for an argument */
} moh__input;

/*
 * `word` is the argument, '-' reads stdin; `file` is a path; NULL: not
 * given. With neither, stdin is read unless it is a terminal. `what` and
 * `argument` name the text in messages: "prompt", "PROMPT". Texts of more
 * than 100 MiB are refused.
 */
moh_status moh__input_open(moh__input *input, const char *word,
                           const char *file, const char *what,
                           const char *argument, moh_error *err);
void moh__input_close(moh__input *input);

#endif
