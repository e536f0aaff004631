/* What commands that make a model out of another one have in common: the
 * directory that they fill, the texts that they read, and what they note. */
#ifndef MOH_CLI_RECEIPT_H
#define MOH_CLI_RECEIPT_H

#include <jansson.h>

#include "options.h"

/* MOH_ERR_ARGUMENT where there is something in it. */
moh_status moh__receipt_check_out(const char *out, moh_error *err);

/* Appends an object with name, size and SHA-256 of each file. */
moh_status moh__receipt_files(json_t *files, const moh__list *data,
                              moh_error *err);

#endif
