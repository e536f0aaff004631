/* The kernel tables that this processor can run, and test data for them. */
#ifndef MOH_TESTS_TABLES_H
#define MOH_TESTS_TABLES_H

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernel/kernel.h"
#include "support/check.h"

/* Calls check for every table here but the reference. */
static inline void for_each_table(
    void (*check)(const moh__kernels *table)) {
  static const char *const names[] = {"base", "avx2", "avx512",
                                      "avx512bf16"};
  for (int i = 0; i < 4; i++) {
    const moh__kernels *table = moh__kernel_named(names[i]);
    if (table != NULL)
      check(table);
    else
      printf("no kernel table \"%s\" on this machine: left out\n",
             names[i]);
  }
}

/* n normal numbers; exactly that much memory, so that reads past the end
 * are seen by the address sanitizer. */
static inline real *random_reals(moh__rng *rng, int64_t n, double std) {
  real *x = malloc((size_t)(n > 0 ? n : 1) * sizeof(real));
  assert_non_null(x);
  for (int64_t i = 0; i < n; i++) x[i] = (real)(std * moh__rng_normal(rng));
  return x;
}

/* Every other number from 1 on: distinct, ascending. */
static inline int32_t *odd_rows(int64_t n) {
  int32_t *rows = calloc((size_t)n, sizeof(int32_t));
  assert_non_null(rows);
  for (int64_t i = 0; i < n; i++) rows[i] = (int32_t)(2 * i + 1);
  return rows;
}

/* Equal numbers; NaN fails. */
static inline void assert_same_reals(const real *a, const real *b, int64_t n,
                        const char *what) {
  for (int64_t i = 0; i < n; i++)
    if (!(a[i] == b[i]))
      fail_msg("%s: element %d is %.9g and %.9g", what, (int)i,
               (double)a[i], (double)b[i]);
}

static inline real *copied_reals(const real *from, int64_t n) {
  real *x = malloc((size_t)(n > 0 ? n : 1) * sizeof(real));
  assert_non_null(x);
  for (int64_t i = 0; i < n; i++) x[i] = from[i];
  return x;
}

static inline real largest_of(const real *x, int64_t n) {
  real largest = 0;
  for (int64_t i = 0; i < n; i++)
    if (!(moh__fabs(x[i]) <= largest)) largest = moh__fabs(x[i]);
  return largest;
}

static inline real largest_difference(const real *x, const real *y,
                                      int64_t n) {
  real largest = 0;
  for (int64_t i = 0; i < n; i++)
    if (!(moh__fabs(x[i] - y[i]) <= largest))
      largest = moh__fabs(x[i] - y[i]); /* NaN too */
  return largest;
}

#endif
