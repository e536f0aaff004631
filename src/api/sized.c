/* Options and results whose size is the caller's. */
#include "api/sized.h"

#include <string.h>

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

void moh__options_init(void *given, size_t size, const void *defaults,
                       size_t known_size) {
  if (given == NULL || size < sizeof(size)) return;
  memset(given, 0, size);
  memcpy(given, defaults, smaller(size, known_size));
  memcpy(given, &size, sizeof(size));
}

moh_status moh__options_read(void *known, size_t known_size,
                             const void *given, const char *name,
                             moh_error *err) {
  if (given == NULL) return MOH_OK;
  size_t size;
  memcpy(&size, given, sizeof(size));
  if (size < sizeof(size))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the %s are not initialised; call %s_default first",
                     name, name);
  if (size > known_size)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the %s have %zu bytes, of which this libmoh %s knows "
                     "%zu: the program was compiled for a later version, or "
                     "%s_default was not called",
                     name, size, moh_version(), known_size, name);
  memcpy(known, given, size);
  return MOH_OK;
}

void moh__result_write(void *given, size_t size, const void *known,
                       size_t known_size) {
  memset(given, 0, size);
  memcpy(given, known, smaller(size, known_size));
}

moh_status moh__fail_null(moh_error *err, const char *argument) {
  return moh__fail(err, MOH_ERR_ARGUMENT, "'%s' must not be NULL", argument);
}
