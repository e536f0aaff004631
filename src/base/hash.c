/* SHA-256 through libcrypto, which uses the CPU's SHA instructions. */
#include "base/hash.h"

#include <openssl/evp.h>

moh_status moh__sha256(const void *bytes, size_t n,
                       char hex[MOH__SHA256_HEX], moh_error *err) {
  static const char digits[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  hex[0] = '\0';
  if (EVP_Digest(n == 0 ? "" : bytes, n, digest, &length, EVP_sha256(),
                 NULL) != 1 ||
      length != 32)
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "the crypto library cannot compute SHA-256");
  for (unsigned i = 0; i < length; i++) {
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  hex[2 * length] = '\0';
  return MOH_OK;
}
