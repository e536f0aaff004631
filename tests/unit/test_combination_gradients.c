/*
 * Every combination of architecture, KV heads, positions, window and heads:
 * the derivative of the loss along a random direction of each tensor, in
 * double, against central differences. (test_model_gradients looks at single
 * numbers, in fewer combinations.) With the straight-through estimator the
 * gradient of what lies behind gates is not its derivative: there the balance
 * loss of a single layer is looked at, and test_golden has the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/combinations.h"
#include "support/tiny.h"

static int n_checked;
static double worst;

/* w += h * direction. */
static void move(moh__param *w, uint64_t seed, double h) {
  for (int64_t i = 0; i < w->n; i++)
    w->data[i] += h * tiny_noise(seed, (uint64_t)i);
}

static double along_gradient(const moh__param *w, uint64_t seed) {
  double sum = 0;
  for (int64_t i = 0; i < w->n; i++)
    sum += w->grad[i] * tiny_noise(seed, (uint64_t)i);
  return sum;
}

static double along_differences(tiny *t, moh__param *w, uint64_t seed) {
  const double h = 2e-7;
  size_t bytes = (size_t)w->n * sizeof(real);
  real *old = malloc(bytes);
  assert_non_null(old);
  memcpy(old, w->data, bytes);
  move(w, seed, h);
  double above = tiny_loss(t);
  memcpy(w->data, old, bytes);
  move(w, seed, -h);
  double below = tiny_loss(t);
  memcpy(w->data, old, bytes);
  free(old);
  return (above - below) / (2 * h);
}

static void check_tensor(tiny *t, moh__param *w, uint64_t seed,
                         const char *name) {
  double expected = along_differences(t, w, seed);
  double found = along_gradient(w, seed);
  /* Differences of a loss near 1 are rounded at about 1e-9. */
  double error = fabs(found - expected) / fmax(fabs(expected), 1e-3);
  if (error > worst) worst = error;
  if (!(error <= 1e-4))
    fail_msg("%s: %s: along the gradient %.9g, differences say %.9g", name,
             w->name, found, expected);
}

static void check(const combination *c) {
  bool estimated = c->config.heads == MOH__HEADS_NORM;
  moh__config config = c->config;
  if (!c->possible) return;
  if (estimated && (config.architecture != MOH__TRANSFORMER ||
                    config.experts.n_routed > 0))
    return;
  if (estimated) config.n_layers = 1;
  tiny t;
  tiny_open(&t, &config, 1, 0.3);
  if (estimated) t.tape.task_scale = 0;
  tiny_backward(&t);
  for (int i = 0; i < t.model->n_params; i++) {
    moh__param *w = &t.model->params[i];
    if ((w->flags & MOH__PARAM_BUFFER) == 0)
      check_tensor(&t, w, 100 + (uint64_t)i, c->name);
  }
  tiny_close(&t);
  n_checked++;
}

static void gradients_of_all_combinations(void **state) {
  (void)state;
  for_each_combination(check);
  print_message("%d combinations, largest relative error %.2g\n", n_checked,
                worst);
  assert_true(n_checked > 500);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_all_combinations)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
