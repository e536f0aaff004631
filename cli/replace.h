/* Pictures, pages and conversations are written under names that people give,
 * again and again; what else has such a name must stay. */
#ifndef MOH_CLI_REPLACE_H
#define MOH_CLI_REPLACE_H

#include "moh.h"

/* MOH_ERR_ARGUMENT where path is there already and is no regular file that
 * begins as those do that are written to it. */
moh_status moh__replace_check(const char *path, const char *begin,
                              moh_error *err);

#endif
