/*
 * Structures of moh.h that may grow: they begin with a size_t, the size that
 * the program was compiled with. Later versions only append members, so the
 * first min(theirs, ours) bytes mean the same to both.
 */
#ifndef MOH_API_SIZED_H
#define MOH_API_SIZED_H

#include "base/status.h"

/* A maker of options: given := defaults, as far as `size` reaches. */
void moh__options_init(void *given, size_t size, const void *defaults,
                       size_t known_size);

/* known := given, as far as it reaches; what `known` holds beyond stays.
 * given NULL changes nothing. Refused when given was not made by its maker or
 * is larger than known. `name` is the structure's type, for messages. */
moh_status moh__options_read(void *known, size_t known_size,
                             const void *given, const char *name,
                             moh_error *err);

/* A result: given := known, as far as `size` reaches, and 0 behind it. */
void moh__result_write(void *given, size_t size, const void *known,
                       size_t known_size);

/* Refuses a pointer that is NULL, by the name of the argument. */
#define MOH__NEED(pointer, err)                                            \
  do {                                                                     \
    if ((pointer) == NULL) return moh__fail_null(err, #pointer);           \
  } while (0)

moh_status moh__fail_null(moh_error *err, const char *argument);

#endif
