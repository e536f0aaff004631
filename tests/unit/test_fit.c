/* What fits a number format: the last number that rounds to a finite one, and
 * the next, in every format and in what is stored in one. */
#include <math.h>
#include <string.h>

#include "store/fit.h"
#include "support/check.h"

enum { N = 32 };

/* A vector whose other numbers are small. */
static moh__param vector(float *data, float x) {
  moh__param w = {.name = "w", .n_dims = 1, .shape = {N}, .n = N};
  for (int i = 0; i < N; i++) data[i] = 0.5F;
  data[7] = x;
  w.data = data;
  return w;
}

static bool is_finite_as(moh__block_type type, const float *data) {
  unsigned char blocks[N * sizeof(float)];
  float back[N];
  bool finite = true;
  moh__block_encode(type, data, N, blocks);
  moh__block_decode(type, blocks, N, back);
  for (int i = 0; i < N; i++) finite = finite && isfinite(back[i]);
  return finite;
}

/* The format's own rounding is what decides. */
static void the_limit_is_where_rounding_gives_infinity(void **state) {
  static const struct {
    moh__block_type type;
    float limit;
  } limits[] = {{MOH__BLOCK_F16, 65520},
                {MOH__BLOCK_BF16, 0x1.ffp127F},
                {MOH__BLOCK_Q8_0, 65520 * 127.F},
                {MOH__BLOCK_Q4_0, 65520 * 8.F}};
  (void)state;
  for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
    for (int way = -1; way <= 1; way += 2) {
      float data[N], x = (float)way * limits[i].limit;
      moh_error err;
      moh__param w = vector(data, x);
      assert_int_equal(moh__check_fit(&w, limits[i].type, &err),
                       MOH_ERR_FORMAT);
      assert_false(is_finite_as(limits[i].type, data));
      assert_non_null(strstr(err.message, "w has a weight of size "));
      assert_non_null(strstr(err.message, moh__block_name(limits[i].type)));
      /* one step of f32 less may still be rounded up in the scale */
      data[7] = nextafterf(nextafterf(x, 0), 0);
      assert_int_equal(moh__check_fit(&w, limits[i].type, &err), MOH_OK);
      assert_true(is_finite_as(limits[i].type, data));
    }
}

static void what_is_not_finite_fits_nowhere(void **state) {
  static const float bad[] = {INFINITY, -INFINITY, NAN};
  (void)state;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    for (int type = 0; type < MOH__BLOCK_TYPES; type++) {
      float data[N];
      moh_error err;
      moh__param w = vector(data, bad[i]);
      assert_int_equal(moh__check_fit(&w, (moh__block_type)type, &err),
                       MOH_ERR_FORMAT);
      assert_string_equal(err.message, "w has a weight that is not finite");
      data[7] = 3e38F;
      assert_int_equal(moh__check_fit(&w, MOH__BLOCK_F32, &err), MOH_OK);
    }
}

/* Rows of a matrix that is stored, and has no numbers of its own. */
static void stored_rows_are_looked_at(void **state) {
  float data[2 * N];
  uint16_t stored[2 * N];
  moh_error err;
  (void)state;
  for (int i = 0; i < 2 * N; i++) data[i] = i == 40 ? 1e5F : 1;
  moh__block_encode(MOH__BLOCK_BF16, data, 2 * N, stored);
  moh__param w = {.name = "w",
                  .n_dims = 2,
                  .shape = {2, N},
                  .n = 2 * N,
                  .stored = stored,
                  .stored_type = MOH__BLOCK_BF16};
  assert_int_equal(moh__check_fit(&w, MOH__BLOCK_F16, &err), MOH_ERR_FORMAT);
  assert_int_equal(moh__check_fit(&w, MOH__BLOCK_Q4_0, &err), MOH_OK);
  assert_int_equal(moh__check_fit(&w, MOH__BLOCK_BF16, &err), MOH_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_limit_is_where_rounding_gives_infinity),
      cmocka_unit_test(what_is_not_finite_fits_nowhere),
      cmocka_unit_test(stored_rows_are_looked_at),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
