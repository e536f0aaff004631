/* What moh says about itself, from the tables of commands and options. */
#ifndef MOH_CLI_HELP_H
#define MOH_CLI_HELP_H

#include "options.h"

enum { MOH__HELP_TEXT_MAX = 512 };

/* An exit code and what it says. */
typedef struct moh__exit {
  int code;
  const char *meaning; /* NULL ends the table */
} moh__exit;

extern const moh__exit moh__help_exits[];
extern const char *const moh__help_description; /* of moh as a whole */

/* What an option does, that it is required, or its default. */
void moh__help_option_text(const moh__option *option, char *text,
                           size_t size);

void moh__help_overview(FILE *out);
void moh__help_command(FILE *out, const moh__command *command);

#endif
