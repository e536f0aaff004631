/* SHA-256 (FIPS 180-4) of bytes and files, as 64 lower-case hex digits. */
#ifndef MOH_BASE_HASH_H
#define MOH_BASE_HASH_H

#include <stddef.h>

#include "base/status.h"

enum { MOH__SHA256_HEX = 65 }; /* with the final NUL */

moh_status moh__sha256(const void *bytes, size_t n, char hex[MOH__SHA256_HEX],
                       moh_error *err);

#endif
