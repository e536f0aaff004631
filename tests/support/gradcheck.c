/* Central differences of fourth order (four points an element). */
#include "support/gradcheck.h"

#include <math.h>

#include "support/check.h"

static const double step = 1e-4;

static double at_offset(gradcheck_fn *fn, void *context, real *x,
                        double offset) {
  real old = *x;
  *x = old + offset;
  double f = fn(context);
  *x = old;
  return f;
}

static double slope(gradcheck_fn *fn, void *context, real *x) {
  double near =
      at_offset(fn, context, x, step) - at_offset(fn, context, x, -step);
  double far = at_offset(fn, context, x, 2 * step) -
               at_offset(fn, context, x, -2 * step);
  return (8 * near - far) / (12 * step);
}

static double largest_gradient(const gradcheck_input *input) {
  double largest = 0;
  for (int64_t i = 0; i < input->n; i++)
    largest = fmax(largest, fabs(input->grad[i]));
  return largest;
}

/* NaN anywhere counts as infinitely wrong. */
static double relative_error(double a, double b, double floor) {
  double error = fabs(a - b) / fmax(fmax(fabs(a), fabs(b)), floor);
  return isnan(error) ? INFINITY : error;
}

gradcheck_result gradcheck(gradcheck_fn *fn, void *context,
                           const gradcheck_input *inputs, int n_inputs,
                           int64_t max_elements) {
  gradcheck_result worst = {-1, "nothing", 0, 0, 0};
  double noise = 1e-6 * fmax(1, fabs(fn(context)));
  for (int k = 0; k < n_inputs; k++) {
    const gradcheck_input *input = &inputs[k];
    double floor = fmax(noise, 1e-3 * largest_gradient(input));
    int64_t stride = 1;
    if (max_elements > 0)
      stride = (input->n + max_elements - 1) / max_elements;
    for (int64_t i = 0; i < input->n; i += stride) {
      double numeric = slope(fn, context, &input->x[i]);
      double error = relative_error(input->grad[i], numeric, floor);
      if (error > worst.error)
        worst = (gradcheck_result){error, input->name, i, input->grad[i],
                                   numeric};
    }
  }
  return worst;
}

void assert_gradients(gradcheck_fn *fn, void *context,
                      const gradcheck_input *inputs, int n_inputs,
                      int64_t max_elements, double tolerance) {
  gradcheck_result worst =
      gradcheck(fn, context, inputs, n_inputs, max_elements);
  if (worst.error <= tolerance) return;
  fail_msg(
      "gradient of %s[%lld] is %.12g, differences give %.12g: relative "
      "error %.3g, allowed %.3g",
      worst.name, (long long)worst.index, worst.analytic, worst.numeric,
      worst.error, tolerance);
}
