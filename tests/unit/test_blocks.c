/*
 * Block formats against the Python package `gguf` (tests/golden/blocks,
 * written by scripts/golden_blocks.py), their sizes, and single numbers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"
#include "format/safetensors.h"
#include "support/check.h"

static moh__safetensors *golden;

static int open_golden(void **state) {
  (void)state;
  moh_error err;
  return moh__safetensors_open(&golden,
                               MOH_SOURCE_DIR
                               "/tests/golden/blocks/blocks.safetensors",
                               &err) == MOH_OK
             ? 0
             : -1;
}

static int close_golden(void **state) {
  (void)state;
  moh__safetensors_close(golden);
  return 0;
}

static const moh__st_tensor *find(moh__block_type type, const char *what) {
  char name[64];
  snprintf(name, sizeof(name), "%s.%s", moh__block_name(type), what);
  const moh__st_tensor *tensor = moh__safetensors_find(golden, name);
  if (tensor == NULL) fail_msg("no %s", name);
  return tensor;
}

/* The largest number of a tensor's elements i to i + n. */
static double most(const moh__st_tensor *tensor, int64_t i, int64_t n) {
  double size = 0;
  for (int64_t end = i + n; i < end; i++)
    size = fmax(size, fabs(moh__st_number(tensor, i)));
  return size;
}

/* Equal up to the rounding of a product and a sum, fused or not. */
static void check_decoding(moh__block_type type) {
  const moh__st_tensor *blocks = find(type, "blocks");
  const moh__st_tensor *values = find(type, "values");
  int64_t each = moh__block_elements(type);
  assert_int_equal(blocks->shape[1], moh__block_bytes(type));
  assert_int_equal(values->n, blocks->shape[0] * each);
  float *decoded = malloc((size_t)values->n * sizeof(float));
  assert_non_null(decoded);
  moh__block_decode(type, blocks->data, values->n, decoded);
  for (int64_t i = 0; i < values->n; i++) {
    double want = moh__st_number(values, i);
    double allowed = 0x1p-23 * most(values, i / each * each, each);
    if (fabs((double)decoded[i] - want) > allowed)
      fail_msg("%s: element %d is %g, not %g", moh__block_name(type), (int)i,
               (double)decoded[i], want);
  }
  free(decoded);
}

static void blocks_are_decoded_as_elsewhere(void **state) {
  (void)state;
  for (int type = MOH__BLOCK_F16; type < MOH__BLOCK_TYPES; type++)
    check_decoding((moh__block_type)type);
}

static void check_encoding(moh__block_type type) {
  const moh__st_tensor *values = moh__safetensors_find(golden, "values");
  const moh__st_tensor *want = find(type, "encoded");
  float numbers[256];
  unsigned char bytes[1024];
  int64_t n_bytes;
  assert_int_equal(values->n, 256);
  memcpy(numbers, values->data, sizeof(numbers));
  assert_true(moh__block_row_bytes(type, 256, &n_bytes));
  assert_int_equal(n_bytes, want->n);
  moh__block_encode(type, numbers, 256, bytes);
  for (int64_t i = 0; i < n_bytes; i++)
    if (bytes[i] != want->data[i])
      fail_msg("%s: byte %d is %d, not %d", moh__block_name(type), (int)i,
               bytes[i], want->data[i]);
}

static void blocks_are_encoded_as_elsewhere(void **state) {
  (void)state;
  check_encoding(MOH__BLOCK_F16);
  check_encoding(MOH__BLOCK_BF16);
  check_encoding(MOH__BLOCK_Q8_0);
  check_encoding(MOH__BLOCK_Q4_0);
}

static void what_is_decoded_is_encoded_to_the_same(void **state) {
  (void)state;
  float numbers[256], again[256];
  unsigned char bytes[1024];
  for (int i = 0; i < 256; i++) numbers[i] = sinf((float)i) * (float)i;
  for (int i = 0; i < MOH__BLOCK_TYPES; i++) {
    moh__block_type type = (moh__block_type)i;
    if (!moh__block_encodes(type)) continue;
    moh__block_encode(type, numbers, 256, bytes);
    moh__block_decode(type, bytes, 256, numbers);
    moh__block_encode(type, numbers, 256, bytes);
    moh__block_decode(type, bytes, 256, again);
    assert_memory_equal(numbers, again, sizeof(numbers));
  }
}

/* Their scales round to 0, and no inverse is infinite on the way. */
static void tiny_numbers_are_encoded_as_0(void **state) {
  (void)state;
  static const moh__block_type types[] = {MOH__BLOCK_Q8_0, MOH__BLOCK_Q4_0};
  for (size_t t = 0; t < 2; t++) {
    float numbers[32] = {1e-43F, -1e-44F}, back[32];
    unsigned char bytes[64];
    moh__block_encode(types[t], numbers, 32, bytes);
    moh__block_decode(types[t], bytes, 32, back);
    for (int i = 0; i < 32; i++) assert_true(back[i] == 0);
  }
}

static void f32_keeps_every_bit(void **state) {
  (void)state;
  float numbers[] = {0, -0.0F, 1e-40F, -INFINITY, 3.3F}, back[5];
  unsigned char bytes[21];
  moh__block_encode(MOH__BLOCK_F32, numbers, 5, bytes + 1);
  moh__block_decode(MOH__BLOCK_F32, bytes + 1, 5, back);
  assert_memory_equal(numbers, back, sizeof(back));
}

static void every_f16_comes_back(void **state) {
  (void)state;
  for (int bits = 0; bits < 0x10000; bits++) {
    float value = moh__f16_value((uint16_t)bits);
    if (isnan(value))
      assert_true((bits & 0x7fff) > 0x7c00);
    else
      assert_int_equal(moh__f16_of(value), bits);
  }
  assert_true(isnan(moh__f16_value(moh__f16_of(-NAN))));
}

/* Halfway between neighbours the even one is taken. */
static void f16_rounds_ties_to_even(void **state) {
  (void)state;
  for (int bits = 0; bits < 0x7bff; bits++) {
    float low = moh__f16_value((uint16_t)bits);
    float high = moh__f16_value((uint16_t)(bits + 1));
    float middle = low + (high - low) / 2;
    assert_int_equal(moh__f16_of(middle), bits + bits % 2);
    assert_int_equal(moh__f16_of(nextafterf(middle, 0)), bits);
    assert_int_equal(moh__f16_of(-nextafterf(middle, high)),
                     0x8000 + bits + 1);
  }
  assert_int_equal(moh__f16_of(65519), 0x7bff);
  assert_int_equal(moh__f16_of(65520), 0x7c00);
  assert_int_equal(moh__f16_of(1e-30F), 0);
}

static void types_have_names_and_sizes(void **state) {
  (void)state;
  moh__block_type type;
  int64_t bytes;
  for (int i = 0; i < MOH__BLOCK_TYPES; i++) {
    assert_true(
        moh__block_type_find(moh__block_name((moh__block_type)i), &type));
    assert_int_equal(type, i);
  }
  assert_false(moh__block_type_find("q3_k", &type));
  assert_true(moh__block_row_bytes(MOH__BLOCK_Q6_K, 512, &bytes));
  assert_int_equal(bytes, 420);
  assert_false(moh__block_row_bytes(MOH__BLOCK_Q4_0, 48, &bytes));
  assert_false(moh__block_row_bytes(MOH__BLOCK_F32, INT64_MAX / 2, &bytes));
  assert_false(moh__block_row_bytes(MOH__BLOCK_F32, -1, &bytes));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_are_decoded_as_elsewhere),
      cmocka_unit_test(blocks_are_encoded_as_elsewhere),
      cmocka_unit_test(what_is_decoded_is_encoded_to_the_same),
      cmocka_unit_test(tiny_numbers_are_encoded_as_0),
      cmocka_unit_test(f32_keeps_every_bit),
      cmocka_unit_test(every_f16_comes_back),
      cmocka_unit_test(f16_rounds_ties_to_even),
      cmocka_unit_test(types_have_names_and_sizes),
  };
  return cmocka_run_group_tests(tests, open_golden, close_golden);
}
