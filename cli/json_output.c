/* Results as JSON. */
#include "json_output.h"

#include <stdio.h>

moh_status moh__print_json(json_t *object, moh_error *err) {
  if (object == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "a name is not UTF-8, or a number is not finite, so the "
                     "result cannot be written as JSON");
  json_dumpf(object, stdout, JSON_INDENT(2));
  putchar('\n');
  json_decref(object);
  return MOH_OK;
}
