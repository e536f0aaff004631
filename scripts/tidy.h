/* Included by scripts/test.sh before every source that clang-tidy checks: the
 * analyzer cannot see into moh__fail, and would follow paths on which an
 * error is MOH_OK. */
#ifndef MOH_SCRIPTS_TIDY_H
#define MOH_SCRIPTS_TIDY_H

#include "base/status.h"

void moh__tidy_uses(const moh_error *err, const char *format, ...);

#define moh__fail(err, status, ...) \
  (moh__tidy_uses(err, __VA_ARGS__), (status))
#define moh__fail_in(err, status, ...) \
  (moh__tidy_uses(err, __VA_ARGS__), (status))

#endif
