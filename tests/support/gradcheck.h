/*
 * Gradient checks in double: the gradients that backward left are compared
 * with central differences of a scalar function, element by element.
 */
#ifndef MOH_TESTS_GRADCHECK_H
#define MOH_TESTS_GRADCHECK_H

#include <stdint.h>

#include "base/real.h"

#ifndef MOH_REAL_DOUBLE
#error "gradients are checked in double: link the test with moh_f64"
#endif

/* An input of the function and what backward says of it. */
typedef struct gradcheck_input {
  const char *name;
  real *x;          /* [n]; changed for a moment, then put back */
  const real *grad; /* [n] */
  int64_t n;
} gradcheck_input;

/* The function: reads the inputs where they are. */
typedef double gradcheck_fn(void *context);

/* The element that is furthest off. */
typedef struct gradcheck_result {
  double error; /* relative, see gradcheck */
  const char *name;
  int64_t index;
  double analytic, numeric;
} gradcheck_result;

/*
 * The error of an element is |analytic - numeric| over the larger of the
 * two, or over a thousandth of the input's largest gradient, or over 1e-6
 * of the function's value where that is more: below it differences are
 * rounding. At most max_elements of each input are tried, evenly spread; 0:
 * all.
 */
gradcheck_result gradcheck(gradcheck_fn *fn, void *context,
                           const gradcheck_input *inputs, int n_inputs,
                           int64_t max_elements);

/* Fails the cmocka test with the element's name when error > tolerance. */
void assert_gradients(gradcheck_fn *fn, void *context,
                      const gradcheck_input *inputs, int n_inputs,
                      int64_t max_elements, double tolerance);

#endif
