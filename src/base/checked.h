/* Arithmetic on sizes that a file or a user can set: false on overflow. */
#ifndef MOH_BASE_CHECKED_H
#define MOH_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool moh__add_size(size_t a, size_t b, size_t *sum) {
  return !__builtin_add_overflow(a, b, sum);
}

static inline bool moh__mul_size(size_t a, size_t b, size_t *product) {
  return !__builtin_mul_overflow(a, b, product);
}

static inline bool moh__add_i64(int64_t a, int64_t b, int64_t *sum) {
  return !__builtin_add_overflow(a, b, sum);
}

static inline bool moh__mul_i64(int64_t a, int64_t b, int64_t *product) {
  return !__builtin_mul_overflow(a, b, product);
}

/* Rounds n up to a multiple of unit; n and unit are small and positive. */
static inline int64_t moh__round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

#endif
