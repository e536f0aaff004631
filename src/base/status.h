/*
 * Errors inside the library: a function that can fail returns a moh_status
 * and writes one sentence into the caller's moh_error.
 */
#ifndef MOH_BASE_STATUS_H
#define MOH_BASE_STATUS_H

#include "moh.h"

/* Fills err (when not NULL) and returns status: `return moh__fail(...)`.
 * The message says what, where and what to do, without a final newline;
 * control characters in what it quotes are replaced. */
moh_status moh__fail(moh_error *err, moh_status status, const char *format,
                     ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message that err already holds, and returns
 * err's status. Used on the way up, to add the file's name. */
moh_status moh__fail_in(moh_error *err, moh_status status,
                        const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define MOH_TRY(expression)                                                \
  do {                                                                     \
    moh_status moh_try_ = (expression);                                    \
    if (moh_try_ != MOH_OK) return moh_try_;                               \
  } while (0)

/* For functions with one clean-up label. */
#define MOH_TRY_GOTO(status, expression, label)                            \
  do {                                                                     \
    (status) = (expression);                                               \
    if ((status) != MOH_OK) goto label;                                    \
  } while (0)

#endif
