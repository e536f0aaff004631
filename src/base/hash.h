/* SHA-256 (FIPS 180-4) of bytes and files, as 64 lower-case hex digits. */
#ifndef MOH_BASE_HASH_H
#define MOH_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { MOH__SHA256_HEX = 65 }; /* with the final NUL */

moh_status moh__sha256(const void *bytes, size_t n,
                       char hex[MOH__SHA256_HEX], moh_error *err);

/* Is told of the bytes that were just read or are written next, some megabytes
 * at a time; false stops the work, which then is MOH_ERR_INTERRUPTED. */
typedef struct moh__watch {
  bool (*tick)(void *context, size_t n_bytes);
  void *context;
} moh__watch;

/* Between two parts of what is written: MOH_ERR_INTERRUPTED when the watch
 * stops it, for which the files go again. NULL never does. */
moh_status moh__watch_ask(const moh__watch *watch, size_t n_bytes,
                          moh_error *err);

/* The same, watched; NULL: not watched. */
moh_status moh__sha256_watched(const void *bytes, size_t n,
                               char hex[MOH__SHA256_HEX],
                               const moh__watch *watch, moh_error *err);

/* The same over bytes that come in parts. */
typedef struct moh__hasher moh__hasher;

moh_status moh__hasher_new(moh__hasher **out, moh_error *err);
moh_status moh__hasher_put(moh__hasher *hasher, const void *bytes, size_t n,
                           moh_error *err);
/* Of all that was put in; nothing more can be put in then. */
moh_status moh__hasher_end(moh__hasher *hasher, char hex[MOH__SHA256_HEX],
                           moh_error *err);
void moh__hasher_free(moh__hasher *hasher);

#endif
