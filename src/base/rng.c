/* Philox 4x32-10 and the distributions built on it. */
#include "base/rng.h"

#include <math.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
  uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
  uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
  uint32_t old1 = c[1];
  uint32_t old3 = c[3];
  c[0] = (uint32_t)(p1 >> 32) ^ old1 ^ k0;
  c[1] = (uint32_t)p1;
  c[2] = (uint32_t)(p0 >> 32) ^ old3 ^ k1;
  c[3] = (uint32_t)p0;
}

/* Each block of 128 bits gives two draws. */
uint64_t moh__rng_u64(moh__rng *rng) {
  uint64_t block = rng->position / 2;
  uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32),
                   (uint32_t)rng->stream, (uint32_t)(rng->stream >> 32)};
  uint32_t k0 = (uint32_t)rng->seed;
  uint32_t k1 = (uint32_t)(rng->seed >> 32);
  for (int round = 0; round < 10; round++) {
    philox_round(c, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  int half = (int)(rng->position++ % 2) * 2;
  return ((uint64_t)c[half + 1] << 32) | c[half];
}

double moh__rng_uniform(moh__rng *rng) {
  return (double)(moh__rng_u64(rng) >> 11) * 0x1p-53;
}

uint64_t moh__rng_below(moh__rng *rng, uint64_t n) {
  uint64_t reject = -n % n; /* 2^64 mod n values would come up too often */
  uint64_t draw = moh__rng_u64(rng);
  while (draw < reject) draw = moh__rng_u64(rng);
  return draw % n;
}

double moh__rng_normal(moh__rng *rng) {
  double u = 1.0 - moh__rng_uniform(rng); /* in (0, 1] */
  double v = moh__rng_uniform(rng);
  return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
