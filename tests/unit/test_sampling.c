/* Sampling against distributions worked out by hand, each rule alone and in
 * their order; drawing against the exact shares of the unit interval. */
#include <math.h>
#include <string.h>

#include "infer/sampling.h"
#include "support/check.h"

enum { N = 5 };
static moh_error err;

/* ln of 4, 8, 2, 1, 1: probabilities 4/16, 8/16, 2/16, 1/16, 1/16. */
static const double parts[N] = {4, 8, 2, 1, 1};

static void set_logits(real *z) {
  for (int i = 0; i < N; i++) z[i] = (real)log(parts[i]);
}

/* Weights as probabilities, compared with expected / sum of expected. */
static void assert_weights(const moh__sampler *s, const double *expected) {
  double sum = 0, total = 0;
  for (int i = 0; i < s->n; i++) {
    sum += s->weights[i];
    total += expected[i];
  }
  for (int i = 0; i < s->n; i++) {
    if (expected[i] == 0) assert_true(s->weights[i] == 0);
    assert_true(fabs(s->weights[i] / sum - expected[i] / total) < 1e-6);
  }
}

static void assert_rules(moh__sampling rules, const int32_t *history,
                         size_t n_history, const double *expected) {
  moh__sampler s;
  real z[N];
  set_logits(z);
  assert_int_equal(moh__sampler_init(&s, &rules, N, &err), MOH_OK);
  assert_int_equal(moh__sampler_weigh(&s, z, history, n_history, &err),
                   MOH_OK);
  assert_weights(&s, expected);
  moh__sampler_free(&s);
}

static moh__sampling at_one(void) {
  moh__sampling rules = moh__sampling_default();
  rules.temperature = 1;
  return rules;
}

static void temperature_scales_logits(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  assert_rules(rules, NULL, 0, parts);
  rules.temperature = 0.5; /* softmax(2 z): squares */
  assert_rules(rules, NULL, 0, (double[]){16, 64, 4, 1, 1});
  rules.temperature = 2;
  assert_rules(rules, NULL, 0, (double[]){2, sqrt(8), sqrt(2), 1, 1});
  rules.temperature = 0;
  assert_rules(rules, NULL, 0, (double[]){0, 1, 0, 0, 0});
  rules.temperature = 1e-4; /* the limit */
  assert_rules(rules, NULL, 0, (double[]){0, 1, 0, 0, 0});
}

static void greedy_takes_the_lower_id_of_equals(void **state) {
  (void)state;
  moh__sampler s;
  moh__sampling rules = moh__sampling_default();
  const real z[3] = {-1, 3, 3};
  int32_t token = -1;
  assert_int_equal(moh__sampler_init(&s, &rules, 3, &err), MOH_OK);
  assert_int_equal(moh__sampler_choose(&s, z, NULL, 0, &token, &err),
                   MOH_OK);
  assert_int_equal(token, 1);
  assert_int_equal(s.rng.position, 0);
  moh__sampler_free(&s);
}

static void top_k_keeps_the_largest(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  rules.top_k = 1;
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
  rules.top_k = 3;
  assert_rules(rules, NULL, 0, (double[]){4, 8, 2, 0, 0});
  rules.top_k = 4; /* of the equal last two the lower id */
  assert_rules(rules, NULL, 0, (double[]){4, 8, 2, 1, 0});
  rules.top_k = N;
  assert_rules(rules, NULL, 0, parts);
  rules.top_k = 1 << 30;
  assert_rules(rules, NULL, 0, parts);
}

static void top_p_keeps_the_shortest_front(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  rules.top_p = 0; /* one always stays */
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
  rules.top_p = 0.49;
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
  rules.top_p = 0.51;
  assert_rules(rules, NULL, 0, (double[]){4, 8, 0, 0, 0});
  rules.top_p = 0.74;
  assert_rules(rules, NULL, 0, (double[]){4, 8, 0, 0, 0});
  rules.top_p = 0.9; /* 14/16 is not enough, and ties go by id */
  assert_rules(rules, NULL, 0, (double[]){4, 8, 2, 1, 0});
  rules.top_p = 0.99;
  assert_rules(rules, NULL, 0, parts);
}

static void min_p_is_relative_to_the_likeliest(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  rules.min_p = 1;
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
  rules.min_p = 0.26;
  assert_rules(rules, NULL, 0, (double[]){4, 8, 0, 0, 0});
  rules.min_p = 0.24; /* 2/8 is enough */
  assert_rules(rules, NULL, 0, (double[]){4, 8, 2, 0, 0});
  rules.min_p = 0.12; /* 1/8 too, of both equal ones */
  assert_rules(rules, NULL, 0, parts);
}

/* Each rule sees what the one before left, and none sees the temperature.
 */
static void rules_work_in_order(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  rules.top_k = 2; /* 8 and 4: 8/12 is above 0.6, 8/16 would not be */
  rules.top_p = 0.6;
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
  rules.top_p = 0.7;
  rules.temperature = 100;
  assert_rules(rules, NULL, 0,
               (double[]){pow(4, 0.01), pow(8, 0.01), 0, 0, 0});
  rules.min_p = 0.6;
  assert_rules(rules, NULL, 0, (double[]){0, 8, 0, 0, 0});
}

static void penalty_weakens_what_came_before(void **state) {
  (void)state;
  moh__sampling rules = at_one();
  rules.repeat_penalty = 3; /* ln 8 / 3 = ln 2; once, however often */
  const int32_t history[] = {0, 1, 1};
  rules.repeat_last = 2;
  assert_rules(rules, history, 3, (double[]){4, 2, 2, 1, 1});
  rules.repeat_last = 64;
  assert_rules(rules, history, 3, (double[]){pow(4, 1 / 3.0), 2, 2, 1, 1});
  rules.repeat_last = -1;
  assert_rules(rules, history, 3, (double[]){pow(4, 1 / 3.0), 2, 2, 1, 1});
  rules.repeat_last = 0;
  assert_rules(rules, history, 3, parts);
  rules.repeat_penalty = 0.5; /* below 1 strengthens: ln 8 * 2 = ln 64 */
  rules.repeat_last = 1;
  assert_rules(rules, history, 3, (double[]){4, 64, 2, 1, 1});
}

static void penalty_moves_negative_logits_down(void **state) {
  (void)state;
  moh__sampler s;
  moh__sampling rules = at_one();
  rules.repeat_penalty = 2;
  const real z[2] = {-1, -1};
  const int32_t history[] = {1};
  assert_int_equal(moh__sampler_init(&s, &rules, 2, &err), MOH_OK);
  assert_int_equal(moh__sampler_weigh(&s, z, history, 1, &err), MOH_OK);
  assert_weights(&s, (double[]){exp(-1), exp(-2)});
  /* It also decides what greedy takes. */
  s.rules.temperature = 0;
  const real equal[2] = {1, 1.5};
  int32_t token = -1;
  assert_int_equal(moh__sampler_choose(&s, equal, history, 1, &token, &err),
                   MOH_OK);
  assert_int_equal(token, 0);
  moh__sampler_free(&s);
}

/* u runs over the middles of 1600 equal parts of [0, 1): every token gets
 * exactly its share, in the order of ids, and the removed one nothing. */
static void drawing_inverts_the_cumulative_distribution(void **state) {
  (void)state;
  const double weights[N] = {4, 8, 0, 2, 2};
  int counts[N] = {0};
  int32_t before = 0;
  for (int i = 0; i < 1600; i++) {
    int32_t token = moh__draw(weights, N, (i + 0.5) / 1600);
    assert_true(token >= before);
    before = token;
    counts[token]++;
  }
  const int expected[N] = {400, 800, 0, 200, 200};
  for (int i = 0; i < N; i++) assert_int_equal(counts[i], expected[i]);
  assert_int_equal(moh__draw(weights, N, 0), 0);
  assert_int_equal(moh__draw(weights, N, 0.25), 1); /* a border */
  assert_int_equal(moh__draw(weights, N, 1 - 0x1p-53), 4);
  const double tail[3] = {0, 1, 0};
  assert_int_equal(moh__draw(tail, 3, 1 - 0x1p-53), 1);
}

/* Pearson's statistic of 16000 draws: its 99.9 % point with 4 degrees of
 * freedom is 18.47. The draws are always the same. */
static void draws_follow_the_distribution(void **state) {
  (void)state;
  moh__sampler s;
  moh__sampling rules = at_one();
  real z[N];
  int32_t token = 0;
  int counts[N] = {0};
  set_logits(z);
  assert_int_equal(moh__sampler_init(&s, &rules, N, &err), MOH_OK);
  for (int i = 0; i < 16000; i++) {
    assert_int_equal(moh__sampler_choose(&s, z, NULL, 0, &token, &err),
                     MOH_OK);
    counts[token]++;
  }
  double chi = 0;
  for (int i = 0; i < N; i++) {
    double expected = 1000 * parts[i];
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  assert_true(chi < 18.47);
  assert_int_equal(s.rng.position, 16000);
  moh__sampler_free(&s);
}

static void seeds_decide(void **state) {
  (void)state;
  real z[N];
  int32_t drawn[3][40];
  set_logits(z);
  for (int k = 0; k < 3; k++) {
    moh__sampler s;
    moh__sampling rules = at_one();
    rules.seed = k == 2 ? 8 : 7;
    assert_int_equal(moh__sampler_init(&s, &rules, N, &err), MOH_OK);
    for (int i = 0; i < 40; i++)
      moh__sampler_choose(&s, z, NULL, 0, &drawn[k][i], &err);
    moh__sampler_free(&s);
  }
  assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
  assert_memory_not_equal(drawn[0], drawn[2], sizeof drawn[0]);
}

/* The heap against plain sorting, on many numbers with many equal ones. */
static void ranks_are_those_of_sorting(void **state) {
  (void)state;
  enum { MANY = 1000 };
  real z[MANY];
  moh__sampler s;
  moh__sampling rules = at_one();
  moh__rng rng = moh__rng_make(3, 99);
  for (int i = 0; i < MANY; i++)
    z[i] = (real)moh__rng_below(&rng, 100) / 10;
  for (int k = 1; k < MANY; k += 37) {
    rules.top_k = k;
    assert_int_equal(moh__sampler_init(&s, &rules, MANY, &err), MOH_OK);
    assert_int_equal(moh__sampler_weigh(&s, z, NULL, 0, &err), MOH_OK);
    for (int i = 0; i < MANY; i++) {
      int rank = 0;
      for (int j = 0; j < MANY; j++)
        rank += z[j] > z[i] || (z[j] == z[i] && j < i);
      assert_int_equal(s.weights[i] > 0, rank < k);
    }
    moh__sampler_free(&s);
  }
}

static void numbers_that_are_not_finite_are_refused(void **state) {
  (void)state;
  moh__sampler s;
  moh__sampling rules = at_one();
  assert_int_equal(moh__sampler_init(&s, &rules, N, &err), MOH_OK);
  const real bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 3; i++) {
    real z[N] = {0};
    int32_t token;
    z[3] = bad[i];
    assert_int_equal(moh__sampler_choose(&s, z, NULL, 0, &token, &err),
                     MOH_ERR_DIVERGED);
    assert_non_null(strstr(err.message, "token 3 "));
  }
  moh__sampler_free(&s);
}

static void wrong_values_are_named(void **state) {
  (void)state;
  static const struct {
    const char *name;
    moh__sampling rules;
  } cases[] = {
      {"temperature", {-1, 0, 1, 0, 1, 0, 0}},
      {"temperature", {NAN, 0, 1, 0, 1, 0, 0}},
      {"temperature", {INFINITY, 0, 1, 0, 1, 0, 0}},
      {"top_k", {1, -1, 1, 0, 1, 0, 0}},
      {"top_p", {1, 0, 1.5, 0, 1, 0, 0}},
      {"top_p", {1, 0, NAN, 0, 1, 0, 0}},
      {"min_p", {1, 0, 1, -0.5, 1, 0, 0}},
      {"repeat_penalty", {1, 0, 1, 0, 0, 0, 0}},
      {"repeat_last", {1, 0, 1, 0, 1, -2, 0}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal(moh__sampling_check(&cases[i].rules, &err),
                     MOH_ERR_ARGUMENT);
    size_t n = strlen(cases[i].name);
    assert_memory_equal(err.message, cases[i].name, n);
  }
  moh__sampling rules = moh__sampling_default();
  assert_int_equal(moh__sampling_check(&rules, &err), MOH_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(temperature_scales_logits),
      cmocka_unit_test(greedy_takes_the_lower_id_of_equals),
      cmocka_unit_test(top_k_keeps_the_largest),
      cmocka_unit_test(top_p_keeps_the_shortest_front),
      cmocka_unit_test(min_p_is_relative_to_the_likeliest),
      cmocka_unit_test(rules_work_in_order),
      cmocka_unit_test(penalty_weakens_what_came_before),
      cmocka_unit_test(penalty_moves_negative_logits_down),
      cmocka_unit_test(drawing_inverts_the_cumulative_distribution),
      cmocka_unit_test(draws_follow_the_distribution),
      cmocka_unit_test(seeds_decide),
      cmocka_unit_test(ranks_are_those_of_sorting),
      cmocka_unit_test(numbers_that_are_not_finite_are_refused),
      cmocka_unit_test(wrong_values_are_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
