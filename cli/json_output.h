/* Results as JSON, what --json asks for. */
#ifndef MOH_CLI_JSON_OUTPUT_H
#define MOH_CLI_JSON_OUTPUT_H

#include <jansson.h>

#include "base/status.h"

/* Writes an object to stdout, indented, a newline behind it; the reference is
 * given back. NULL, which is what json_pack makes of a name that is not UTF-8
 * and of a number that is not finite, is MOH_ERR_FORMAT. */
moh_status moh__print_json(json_t *object, moh_error *err);

#endif
