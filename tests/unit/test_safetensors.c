/* safetensors: what is written comes back; every lie of a header is told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"
#include "support/check.h"
#include "support/temp_dir.h"

/* ---- files made by hand ---- */

typedef struct bytes {
  unsigned char *at;
  size_t n;
} bytes;

/* The stated length, the header, n_data bytes counting up. */
static bytes make_file(uint64_t length, const char *header, size_t n_data) {
  size_t n_header = strlen(header);
  bytes file = {malloc(8 + n_header + n_data), 8 + n_header + n_data};
  assert_non_null(file.at);
  for (int i = 0; i < 8; i++)
    file.at[i] = (unsigned char)(length >> (8 * i));
  memcpy(file.at + 8, header, n_header);
  for (size_t i = 0; i < n_data; i++)
    file.at[8 + n_header + i] = (unsigned char)i;
  return file;
}

static void assert_refused_bytes(bytes file, const char *part) {
  moh__safetensors *parsed;
  moh_error err = {0};
  moh_status status =
      moh__safetensors_parse(&parsed, file.at, file.n, "bad", &err);
  free(file.at);
  assert_int_not_equal(status, MOH_OK);
  assert_null(parsed);
  assert_memory_equal(err.message, "bad: ", 5);
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
}

static void assert_refused(const char *header, size_t n_data,
                           const char *part) {
  assert_refused_bytes(make_file(strlen(header), header, n_data), part);
}

#define TENSOR(name, dtype, shape, range)                  \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape \
  ",\"data_offsets\":" range "}"

/* ---- reading ---- */

static void a_file_by_hand_is_read(void **state) {
  (void)state;
  static const char header[] =
      "{" TENSOR("b", "U8", "[3]", "[12,15]") ",\"__metadata__\":"
      "{\"who\":\"me\"}," TENSOR("a", "F32", "[3,1]", "[0,12]") "}  ";
  bytes file = make_file(strlen(header), header, 15);
  moh__safetensors *parsed;
  assert_int_equal(
      moh__safetensors_parse(&parsed, file.at, file.n, "x", NULL), MOH_OK);
  assert_int_equal(parsed->n_tensors, 2);
  const moh__st_tensor *a = &parsed->tensors[0];
  assert_string_equal(a->name, "a"); /* by offset, not as in the header */
  assert_int_equal(a->dtype, MOH__F32);
  assert_int_equal(a->n_dims, 2);
  assert_int_equal(a->shape[0], 3);
  assert_int_equal(a->shape[1], 1);
  assert_int_equal(a->n, 3);
  assert_int_equal(a->n_bytes, 12);
  assert_int_equal(a->data[5], 5);
  assert_int_equal(moh__safetensors_find(parsed, "b")->data[0], 12);
  assert_null(moh__safetensors_find(parsed, "c"));
  assert_string_equal(
      json_string_value(json_object_get(parsed->metadata, "who")), "me");
  moh__safetensors_close(parsed);
  moh__safetensors_close(NULL);
  free(file.at);
}

static void scalars_and_empty_files_are_read(void **state) {
  (void)state;
  static const char header[] = "{" TENSOR("s", "F64", "[]", "[0,8]") "}";
  bytes file = make_file(strlen(header), header, 8);
  bytes empty = make_file(2, "{}", 0);
  moh__safetensors *parsed;
  assert_int_equal(
      moh__safetensors_parse(&parsed, file.at, file.n, "x", NULL), MOH_OK);
  assert_int_equal(parsed->tensors[0].n_dims, 0);
  assert_int_equal(parsed->tensors[0].n, 1);
  moh__safetensors_close(parsed);
  assert_int_equal(
      moh__safetensors_parse(&parsed, empty.at, empty.n, "x", NULL),
      MOH_OK);
  assert_int_equal(parsed->n_tensors, 0);
  assert_null(parsed->metadata);
  moh__safetensors_close(parsed);
  free(file.at);
  free(empty.at);
}

static void element_types(void **state) {
  (void)state;
  static const struct {
    moh__dtype dtype;
    const char *name;
    size_t size;
  } all[] = {{MOH__F64, "F64", 8}, {MOH__F32, "F32", 4},
             {MOH__F16, "F16", 2}, {MOH__BF16, "BF16", 2},
             {MOH__I64, "I64", 8}, {MOH__I32, "I32", 4},
             {MOH__U8, "U8", 1}};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    assert_string_equal(moh__dtype_name(all[i].dtype), all[i].name);
    assert_int_equal(moh__dtype_size(all[i].dtype), all[i].size);
  }
}

/* ---- lies ---- */

static void header_lengths_are_checked(void **state) {
  (void)state;
  bytes none = {malloc(1), 0}, seven = {calloc(1, 7), 7};
  assert_refused_bytes(none, "has 0 bytes");
  assert_refused_bytes(seven, "has 7 bytes");
  assert_refused_bytes(make_file(0, "", 0), "begin with '{'");
  assert_refused_bytes(make_file(0, "{}", 0), "begin with '{'");
  assert_refused_bytes(make_file(3, "{}", 0), "length is 3");
  assert_refused_bytes(make_file(1, "{}", 0), "line 1");
  assert_refused_bytes(make_file(UINT64_MAX, "{}", 0), "length is 1844");
  assert_refused_bytes(make_file(UINT64_MAX - 7, "{}", 0),
                       "length is 1844");
  assert_refused_bytes(make_file((uint64_t)1 << 32, "{}", 0),
                       "length is 42");
}

/* 100,000,000 bytes of header are taken, blanks for the most part; one more
 * is refused before it is read. */
static void the_header_has_a_limit(void **state) {
  (void)state;
  const size_t most = 100 * 1000 * 1000;
  moh__safetensors *file;
  bytes large = make_file(most, "{}", most);
  memset(large.at + 8 + 2, ' ', large.n - 10);
  large.n = 8 + most;
  assert_int_equal(
      moh__safetensors_parse(&file, large.at, large.n, "x", NULL), MOH_OK);
  moh__safetensors_close(file);
  large.at[0]++;
  large.n++;
  moh_error err = {0};
  assert_int_equal(
      moh__safetensors_parse(&file, large.at, large.n, "x", &err),
      MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "100000000 are the limit"));
  free(large.at);
}

static void headers_are_strict_json(void **state) {
  (void)state;
  assert_refused("[]", 0, "begin with '{'");
  assert_refused(" {}", 0, "begin with '{'");
  assert_refused("{]", 0, "line 1");
  assert_refused("{} x", 0, "line 1");
  assert_refused("{\"a\":1}", 0, "'a'");
  assert_refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR(
                     "a", "U8", "[1]", "[1,2]") "}",
                 2, "duplicate");
  assert_refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR(
                     "\\u0061", "U8", "[1]", "[1,2]") "}",
                 2, "duplicate");
}

static void entries_are_strict(void **state) {
  (void)state;
  assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "must be");
  assert_refused(
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"offsets\":[0,1]}}", 1,
      "data_offsets");
  assert_refused("{" TENSOR("a", "F4", "[1]", "[0,1]") "}", 1, "\"F4\"");
  assert_refused("{" TENSOR("a", "f32", "[1]", "[0,4]") "}", 4, "\"f32\"");
  assert_refused(
      "{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
      "dtype");
  assert_refused("{\"__metadata__\":{\"a\":1}}", 0, "only strings");
  assert_refused("{\"__metadata__\":[]}", 0, "only strings");
}

static void shapes_are_checked(void **state) {
  (void)state;
  assert_refused("{" TENSOR("a", "U8", "1", "[0,1]") "}", 1, "shape");
  assert_refused("{" TENSOR("a", "U8", "[1,1,1,1,1]", "[0,1]") "}", 1,
                 "at most 4");
  assert_refused("{" TENSOR("a", "U8", "[0]", "[0,0]") "}", 0,
                 "dimension 0");
  assert_refused("{" TENSOR("a", "U8", "[1,-1]", "[0,1]") "}", 1,
                 "dimension 1");
  assert_refused("{" TENSOR("a", "U8", "[1.0]", "[0,1]") "}", 1,
                 "dimension 0");
  assert_refused("{" TENSOR("a", "U8", "[\"1\"]", "[0,1]") "}", 1,
                 "dimension 0");
}

/* 2^42 * 2^42 = 2^84, 2^32 * 2^32 = 2^64 (0 in 64 bits), and 2^61 eights.
 */
static void overflowing_shapes_are_refused(void **state) {
  (void)state;
  assert_refused(
      "{" TENSOR("a", "U8", "[4398046511104,4398046511104]", "[0,1]") "}",
      1, "too large");
  assert_refused(
      "{" TENSOR("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0,
      "too large");
  assert_refused(
      "{" TENSOR("a", "F64", "[2305843009213693952]", "[0,0]") "}", 0,
      "too large");
  assert_refused(
      "{" TENSOR("a", "U8", "[9223372036854775808]", "[0,1]") "}", 1,
      "too big");
}

static void ranges_must_lie_in_the_data(void **state) {
  (void)state;
  static const char *const bad[] = {"[0,2]", "[-1,0]", "[1,0]", "[2,3]",
                                    ("[9223372036854775806,"
                                     "9223372036854775807]")};
  char header[200];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    snprintf(header, sizeof(header), "{" TENSOR("a", "U8", "[1]", "%s") "}",
             bad[i]);
    assert_refused(header, 1, "does not lie in");
  }
  assert_refused("{" TENSOR("a", "U8", "[1]", "[0]") "}", 1, "two whole");
  assert_refused("{" TENSOR("a", "U8", "[1]", "[0,1,2]") "}", 1,
                 "two whole");
  assert_refused("{" TENSOR("a", "U8", "[1]", "[0,1.0]") "}", 1,
                 "two whole");
  assert_refused("{" TENSOR("a", "U8", "[1]", "{}") "}", 1, "two whole");
}

static void ranges_must_have_the_size_of_the_shape(void **state) {
  (void)state;
  assert_refused("{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, "need 8");
  assert_refused("{" TENSOR("a", "F32", "[2]", "[0,12]") "}", 12, "need 8");
  assert_refused("{" TENSOR("a", "F32", "[]", "[0,0]") "}", 0, "need 4");
}

static void data_is_covered_exactly_once(void **state) {
  (void)state;
  assert_refused("{}", 1, "1 bytes at the end");
  assert_refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "}", 5,
                 "3 bytes at the end");
  assert_refused("{" TENSOR("a", "U8", "[2]", "[1,3]") "}", 3, "a gap");
  assert_refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR(
                     "b", "U8", "[2]", "[3,5]") "}",
                 5, "a gap");
  assert_refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR(
                     "b", "U8", "[2]", "[1,3]") "}",
                 3, "an overlap");
  assert_refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR(
                     "b", "U8", "[2]", "[0,2]") "}",
                 2, "an overlap");
}

/* Every shorter version of a good file is refused. */
static void truncation_is_refused(void **state) {
  (void)state;
  static const char header[] = "{" TENSOR("a", "F32", "[2]", "[0,8]") "}";
  bytes file = make_file(strlen(header), header, 8);
  moh__safetensors *parsed;
  for (size_t n = 0; n < file.n; n++) {
    unsigned char *copy = malloc(n + 1); /* so that reading over is seen */
    memcpy(copy, file.at, n);
    assert_int_not_equal(
        moh__safetensors_parse(&parsed, copy, n, "x", NULL), MOH_OK);
    free(copy);
  }
  free(file.at);
}

/* ---- writing ---- */

static void written_bytes_are_the_format(void **state) {
  const char *path = temp_path(state, "w");
  static const unsigned char data[] = {7, 8, 9};
  const moh__st_item item = {"abc", MOH__U8, 1, {3}, data};
  static const char expected[] =
      "\x38\0\0\0\0\0\0\0"
      "{\"abc\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}"
      " \x07\x08\x09";
  size_t n;
  assert_int_equal(moh__safetensors_write(path, &item, 1, NULL, NULL),
                   MOH_OK);
  unsigned char *file = temp_read(path, &n);
  assert_int_equal(n, 8 + 56 + 3);
  assert_memory_equal(file, expected, n);
  free(file);
}

static void what_is_written_is_read(void **state) {
  const char *path = temp_path(state, "rw");
  const float weights[6] = {1, -0.0f, 3.5f, 1e-40f, 5, 6};
  const int64_t steps[1] = {-3};
  const moh__st_item items[] = {
      {"layer.\xc3\xa9", MOH__F32, 2, {2, 3}, weights},
      {"steps", MOH__I64, 0, {0}, steps}};
  json_t *metadata = json_pack("{s:s}", "format", "pt");
  moh__safetensors *file;
  assert_int_equal(moh__safetensors_write(path, items, 2, metadata, NULL),
                   MOH_OK);
  assert_int_equal(moh__safetensors_open(&file, path, NULL), MOH_OK);
  assert_int_equal(file->n_tensors, 2);
  assert_string_equal(file->tensors[0].name, "layer.\xc3\xa9");
  assert_memory_equal(file->tensors[0].data, weights, sizeof(weights));
  assert_memory_equal(file->tensors[1].data, steps, sizeof(steps));
  assert_int_equal((uintptr_t)file->tensors[0].data % 8, 0);
  assert_true(json_equal(file->metadata, metadata));
  moh__safetensors_close(file);
  json_decref(metadata);
}

static void assert_unwritable(void **state, const moh__st_item *items,
                              size_t n, const json_t *metadata) {
  const char *path = temp_path(state, "u");
  moh_error err = {0};
  assert_int_not_equal(
      moh__safetensors_write(path, items, n, metadata, &err), MOH_OK);
  assert_non_null(strstr(err.message, path));
  assert_int_equal(temp_count(*state), 0);
}

static void what_cannot_be_read_is_not_written(void **state) {
  const float data[2] = {0};
  const moh__st_item twice[] = {{"a", MOH__F32, 1, {2}, data},
                                {"a", MOH__F32, 1, {2}, data}};
  const moh__st_item taken = {"__metadata__", MOH__F32, 1, {2}, data};
  const moh__st_item zero = {"a", MOH__F32, 1, {0}, data};
  const moh__st_item huge = {"a", MOH__F32, 2, {INT64_MAX, 4}, data};
  const moh__st_item latin = {"\xe9", MOH__F32, 1, {2}, data};
  json_t *numbers = json_pack("{s:i}", "a", 1);
  assert_unwritable(state, twice, 2, NULL);
  assert_unwritable(state, &taken, 1, NULL);
  assert_unwritable(state, &zero, 1, NULL);
  assert_unwritable(state, &huge, 1, NULL);
  assert_unwritable(state, &latin, 1, NULL);
  assert_unwritable(state, twice, 1, numbers);
  json_decref(numbers);
}

static void a_missing_file_is_named(void **state) {
  const char *path = temp_path(state, "none");
  moh__safetensors *file;
  moh_error err = {0};
  assert_int_equal(moh__safetensors_open(&file, path, &err), MOH_ERR_IO);
  assert_null(file);
  assert_non_null(strstr(err.message, path));
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_by_hand_is_read),
      cmocka_unit_test(scalars_and_empty_files_are_read),
      cmocka_unit_test(element_types),
      cmocka_unit_test(header_lengths_are_checked),
      cmocka_unit_test(the_header_has_a_limit),
      cmocka_unit_test(headers_are_strict_json),
      cmocka_unit_test(entries_are_strict),
      cmocka_unit_test(shapes_are_checked),
      cmocka_unit_test(overflowing_shapes_are_refused),
      cmocka_unit_test(ranges_must_lie_in_the_data),
      cmocka_unit_test(ranges_must_have_the_size_of_the_shape),
      cmocka_unit_test(data_is_covered_exactly_once),
      cmocka_unit_test(truncation_is_refused),
      WITH_DIR(written_bytes_are_the_format),
      WITH_DIR(what_is_written_is_read),
      WITH_DIR(what_cannot_be_read_is_not_written),
      WITH_DIR(a_missing_file_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
