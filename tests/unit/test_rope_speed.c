/*
 * Speeds of rotary positions against those that the transformers package
 * (5.24.0) computes in float for LLaMA 3.1 8B: fast pairs, slow ones, and
 * those between them.
 */
#include "model/rope_speed.h"
#include "support/preset.h"

static moh__config llama(const char *scaling, double theta) {
  moh__config c = preset("moh-s");
  c.d_head = 128;
  c.rope_theta = theta;
  assert_int_equal(moh__config_set_rope_scaling(&c, scaling, NULL), MOH_OK);
  return c;
}

static void assert_speed(const moh__config *c, int pair, double expected) {
  double speed = moh__rope_speed(c, pair);
  if (!(fabs(speed - expected) <= 1e-6 * expected))
    fail_msg("pair %d: %.9g, not %.9g", pair, speed, expected);
}

static void pairs_of_llama_3_1(void **state) {
  (void)state;
  static const struct {
    int pair;
    double speed;
  } rows[] = {
      {0, 1.0},
      {1, 0.8146172165870667},
      {20, 0.016560440883040428},
      {28, 0.0032114461064338684},
      {29, 0.0021665706299245358},
      {30, 0.0013718936825171113},
      {33, 0.0003126936499029398},
      {34, 0.0001785077911335975},
      {35, 9.556212171446532e-05},
      {40, 3.428102354519069e-05},
      {63, 3.068925877869333e-07},
  };
  moh__config c = llama("llama3:8,1,4,8192", 500000);
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    assert_speed(&c, rows[i].pair, rows[i].speed);
}

static void linear_scaling_is_for_all(void **state) {
  (void)state;
  moh__config c = llama("linear:4", 10000);
  assert_speed(&c, 0, 0.25);
  assert_speed(&c, 1, 0.21649108827114105);
  assert_speed(&c, 63, 2.8869548259535804e-05);
}

static void unscaled_is_the_formula(void **state) {
  (void)state;
  moh__config c = llama("none", 10000);
  for (int i = 0; i < 64; i++)
    assert_true(moh__rope_speed(&c, i) == pow(10000, -2.0 * i / 128));
}

/* The factors of a scaling tell it, up to a common factor of its lengths. */
static void factors_tell_the_scaling(void **state) {
  (void)state;
  static const struct {
    const char *scaling;
    int64_t d_head;
  } rows[] = {{"none", 64},
              {"llama3:8,1,4,8192", 128},
              {"llama3:32,1,4,8192", 64},
              {"llama3:8,1,4,32", 16},
              {"llama3:4,1,2.5,500", 64},
              {"llama3:8,1,4,8192", 16}};
  for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
    float factors[64];
    moh__config c = llama(rows[r].scaling, 500000), found = c;
    c.d_head = found.d_head = rows[r].d_head;
    for (int64_t i = 0; i < c.d_head / 2; i++)
      factors[i] = (float)moh__rope_factor(&c, i);
    if (!moh__rope_find_scaling(&found, factors))
      fail_msg("%s was not found", rows[r].scaling);
    for (int i = 0; i < c.d_head / 2; i++)
      assert_speed(&found, i, moh__rope_speed(&c, i));
  }
}

static void other_factors_tell_none(void **state) {
  (void)state;
  moh__config c = llama("none", 10000);
  c.d_head = 8;
  const float rows[][4] = {{1, 3, 1, 2},        {1, 2, 3, 4},
                           {0.5F, 1, 1, 1},     {1, NAN, 2, 8},
                           {1, 1, INFINITY, 8}, {8, 4, 2, 1}};
  for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
    if (moh__rope_find_scaling(&c, rows[r])) fail_msg("row %zu", r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pairs_of_llama_3_1),
      cmocka_unit_test(linear_scaling_is_for_all),
      cmocka_unit_test(unscaled_is_the_formula),
      cmocka_unit_test(factors_tell_the_scaling),
      cmocka_unit_test(other_factors_tell_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
