/* SHA-256 through libcrypto, which uses the CPU's SHA instructions. */
#include "base/hash.h"

#include <openssl/evp.h>

enum {
  DIGEST = 32,    /* bytes */
  PIECE = 4 << 20 /* bytes between two ticks of a watch */
};

/* moh__hasher is libcrypto's own context under our name. */
static EVP_MD_CTX *context_of(moh__hasher *hasher) {
  return (EVP_MD_CTX *)hasher;
}

static moh_status no_sha256(moh_error *err) {
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the crypto library cannot compute SHA-256");
}

moh_status moh__hasher_new(moh__hasher **out, moh_error *err) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  *out = (moh__hasher *)context;
  if (context == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a hash");
  if (EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1) return MOH_OK;
  moh__hasher_free(*out);
  *out = NULL;
  return no_sha256(err);
}

moh_status moh__hasher_put(moh__hasher *hasher, const void *bytes, size_t n,
                           moh_error *err) {
  if (n == 0 || EVP_DigestUpdate(context_of(hasher), bytes, n) == 1)
    return MOH_OK;
  return no_sha256(err);
}

moh_status moh__hasher_end(moh__hasher *hasher, char hex[MOH__SHA256_HEX],
                           moh_error *err) {
  static const char digits[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  hex[0] = '\0';
  if (EVP_DigestFinal_ex(context_of(hasher), digest, &length) != 1 ||
      length != DIGEST)
    return no_sha256(err);
  for (int i = 0; i < DIGEST; i++) {
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  hex[MOH__SHA256_HEX - 1] = '\0';
  return MOH_OK;
}

void moh__hasher_free(moh__hasher *hasher) {
  EVP_MD_CTX_free(context_of(hasher));
}

/* ---- watching ---- */

moh_status moh__watch_ask(const moh__watch *watch, size_t n_bytes,
                          moh_error *err) {
  if (watch == NULL || watch->tick(watch->context, n_bytes)) return MOH_OK;
  return moh__fail(err, MOH_ERR_INTERRUPTED,
                   "interrupted; nothing was written");
}

/* ---- whole blocks of memory ---- */

static moh_status put_pieces(moh__hasher *hasher,
                             const unsigned char *bytes, size_t n,
                             const moh__watch *watch, moh_error *err) {
  while (n > 0) {
    size_t piece = n < PIECE ? n : PIECE;
    MOH_TRY(moh__hasher_put(hasher, bytes, piece, err));
    if (watch != NULL && !watch->tick(watch->context, piece))
      return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
    bytes += piece;
    n -= piece;
  }
  return MOH_OK;
}

moh_status moh__sha256_watched(const void *bytes, size_t n,
                               char hex[MOH__SHA256_HEX],
                               const moh__watch *watch, moh_error *err) {
  moh__hasher *hasher;
  hex[0] = '\0';
  MOH_TRY(moh__hasher_new(&hasher, err));
  moh_status status = put_pieces(hasher, bytes, n, watch, err);
  if (status == MOH_OK) status = moh__hasher_end(hasher, hex, err);
  moh__hasher_free(hasher);
  return status;
}

moh_status moh__sha256(const void *bytes, size_t n,
                       char hex[MOH__SHA256_HEX], moh_error *err) {
  return moh__sha256_watched(bytes, n, hex, NULL, err);
}
