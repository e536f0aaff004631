/*
 * Random numbers from a counter: Philox 4x32-10 (Salmon et al., "Parallel
 * random numbers: as easy as 1, 2, 3", SC 2011). A generator is its seed, a
 * stream and a position, so its whole state fits into a checkpoint, and two
 * streams of one seed never meet.
 */
#ifndef MOH_BASE_RNG_H
#define MOH_BASE_RNG_H

#include <stdint.h>

typedef struct moh__rng {
  uint64_t seed;
  uint64_t stream;
  uint64_t position; /* 64-bit draws made so far */
} moh__rng;

/* Streams in use, so that no two purposes share random numbers. */
enum {
  MOH__STREAM_INIT = 1,   /* parameters; plus the parameter's index << 8 */
  MOH__STREAM_DATA = 2,   /* order of examples; plus the epoch << 8 */
  MOH__STREAM_SAMPLE = 3, /* generation */
  MOH__STREAM_MIX = 4,    /* order of mixed-in examples */
  MOH__STREAM_STATE = 5,  /* starting states of HRM, and 6 */
  MOH__STREAM_HEADS = 7,  /* heads by chance: route/random_heads.c */
};

static inline moh__rng moh__rng_make(uint64_t seed, uint64_t stream) {
  moh__rng rng = {seed, stream, 0};
  return rng;
}

uint64_t moh__rng_u64(moh__rng *rng);
/* Uniform in [0, 1), 53 random bits. */
double moh__rng_uniform(moh__rng *rng);
/* Uniform in 0..n-1 without bias; n > 0. */
uint64_t moh__rng_below(moh__rng *rng, uint64_t n);
/* Standard normal (Box-Muller; uses two draws). */
double moh__rng_normal(moh__rng *rng);

#endif
