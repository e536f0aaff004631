/* GGUF: what is written comes back; every lie of a file is told. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"
#include "support/check.h"
#include "support/temp_dir.h"

static moh_error err;

/* ---- files made by hand ---- */

typedef struct bytes {
  unsigned char at[4096];
  size_t n;
} bytes;

static void number(bytes *b, uint64_t x, int n) {
  for (int i = 0; i < n; i++) b->at[b->n++] = (unsigned char)(x >> 8 * i);
}

static void text(bytes *b, const char *s) {
  number(b, strlen(s), 8);
  memcpy(b->at + b->n, s, strlen(s));
  b->n += strlen(s);
}

static bytes head(uint32_t version, uint64_t n_tensors, uint64_t n_values) {
  bytes b = {.n = 4};
  memcpy(b.at, "GGUF", 4);
  number(&b, version, 4);
  number(&b, n_tensors, 8);
  number(&b, n_values, 8);
  return b;
}

static void key(bytes *b, const char *name, uint32_t kind) {
  text(b, name);
  number(b, kind, 4);
}

static void tensor(bytes *b, const char *name, int n_dims, uint64_t d0,
                   uint64_t d1, uint32_t type, uint64_t offset) {
  text(b, name);
  number(b, (uint64_t)n_dims, 4);
  if (n_dims > 0) number(b, d0, 8);
  if (n_dims > 1) number(b, d1, 8);
  for (int i = 2; i < n_dims; i++) number(b, 1, 8);
  number(b, type, 4);
  number(b, offset, 8);
}

/* Zeros up to the alignment, then n bytes that count up. */
static void data(bytes *b, size_t alignment, size_t n) {
  while (b->n % alignment != 0) b->at[b->n++] = 0;
  for (size_t i = 0; i < n; i++) b->at[b->n++] = (unsigned char)i;
}

static void assert_refused(const bytes *b, const char *part) {
  moh__gguf *file;
  /* Exactly as long, so that a sanitizer sees a read too far. */
  unsigned char *copy = malloc(b->n);
  assert_non_null(copy);
  memcpy(copy, b->at, b->n);
  assert_int_not_equal(moh__gguf_parse(&file, copy, b->n, "bad", &err),
                       MOH_OK);
  free(copy);
  assert_null(file);
  assert_memory_equal(err.message, "bad: ", 5);
  if (strstr(err.message, part) == NULL)
    fail_msg("'%s' lacks '%s'", err.message, part);
}

static moh__gguf *accepted(const bytes *b) {
  moh__gguf *file;
  if (moh__gguf_parse(&file, b->at, b->n, "good", &err) != MOH_OK)
    fail_msg("%s", err.message);
  return file;
}

/* ---- reading ---- */

/* Each kind of value, a string array, two tensors. */
static bytes whole_file(uint32_t version) {
  bytes b = head(version, 2, 14);
  static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1};
  for (uint32_t kind = 0; kind < 8; kind++) {
    char name[8] = {'k', (char)('0' + kind)};
    key(&b, name, kind);
    number(&b,
           kind == 6   ? 0xc0200000
           : kind == 7 ? 1
                       : UINT64_MAX - 1,
           sizes[kind]);
  }
  key(&b, "text", MOH__GGUF_STRING);
  text(&b, "some");
  key(&b, "u64", MOH__GGUF_U64);
  number(&b, INT64_MAX, 8);
  key(&b, "i64", MOH__GGUF_I64);
  number(&b, UINT64_MAX, 8);
  key(&b, "f64", MOH__GGUF_F64);
  number(&b, UINT64_C(0x3ff8) << 48, 8);
  key(&b, "texts", MOH__GGUF_ARRAY);
  number(&b, MOH__GGUF_STRING, 4);
  number(&b, 2, 8);
  text(&b, "");
  text(&b, "one");
  key(&b, "i16s", MOH__GGUF_ARRAY);
  number(&b, MOH__GGUF_I16, 4);
  number(&b, 2, 8);
  number(&b, 0xfffe0005, 4);
  tensor(&b, "b", 2, 3, 2, 0, 32);
  tensor(&b, "a", 1, 5, 0, 1, 0);
  data(&b, 32, 56);
  return b;
}

static void assert_integer(const moh__gguf *file, const char *name,
                           int64_t want) {
  int64_t x;
  assert_int_equal(moh__gguf_get_integer(file, name, &x, &err), MOH_OK);
  assert_true(x == want);
}

static void assert_number(const moh__gguf *file, const char *name,
                          double want) {
  double x;
  assert_int_equal(moh__gguf_get_number(file, name, &x, &err), MOH_OK);
  assert_true(x == want);
}

static void check_values(const moh__gguf *file) {
  bool truth;
  moh__gguf_string string;
  assert_integer(file, "k0", 0xfe);
  assert_integer(file, "k1", -2);
  assert_integer(file, "k2", 0xfffe);
  assert_integer(file, "k3", -2);
  assert_integer(file, "k4", 0xfffffffe);
  assert_integer(file, "k5", -2);
  assert_integer(file, "u64", INT64_MAX);
  assert_integer(file, "i64", -1);
  assert_number(file, "k6", -2.5);
  assert_number(file, "f64", 1.5);
  assert_number(file, "k1", -2);
  assert_int_equal(moh__gguf_get_bool(file, "k7", &truth, &err), MOH_OK);
  assert_true(truth);
  assert_int_equal(moh__gguf_get_string(file, "text", &string, &err), MOH_OK);
  assert_int_equal(string.n, 4);
  assert_memory_equal(string.bytes, "some", 4);
}

static void check_arrays(const moh__gguf *file) {
  moh__gguf_string *strings;
  int32_t *integers;
  size_t n;
  assert_int_equal(moh__gguf_get_strings(file, "texts", &strings, &n, &err),
                   MOH_OK);
  assert_int_equal(n, 2);
  assert_int_equal(strings[0].n, 0);
  assert_memory_equal(strings[1].bytes, "one", 3);
  free(strings);
  assert_int_equal(moh__gguf_get_integers(file, "i16s", &integers, &n, &err),
                   MOH_OK);
  assert_int_equal(n, 2);
  assert_int_equal(integers[0], 5);
  assert_int_equal(integers[1], -2);
  free(integers);
}

static void check_tensors(const moh__gguf *file, const bytes *b) {
  const moh__gguf_tensor *two = moh__gguf_find_tensor(file, "b");
  const moh__gguf_tensor *one = moh__gguf_find_tensor(file, "a");
  assert_int_equal(file->n_tensors, 2);
  assert_null(moh__gguf_find_tensor(file, "c"));
  assert_int_equal(two->type, MOH__BLOCK_F32);
  assert_int_equal(two->n_dims, 2);
  assert_int_equal(two->dims[0], 3);
  assert_int_equal(two->dims[1], 2);
  assert_int_equal(two->dims[3], 1);
  assert_int_equal(two->n, 6);
  assert_int_equal(two->n_bytes, 24);
  assert_ptr_equal(two->data, b->at + b->n - 24);
  assert_int_equal(one->type, MOH__BLOCK_F16);
  assert_int_equal(one->n_bytes, 10);
  assert_ptr_equal(one->data, b->at + b->n - 56);
}

static void a_file_by_hand_is_read(void **state) {
  (void)state;
  for (uint32_t version = 2; version <= 3; version++) {
    bytes b = whole_file(version);
    moh__gguf *file = accepted(&b);
    check_values(file);
    check_arrays(file);
    check_tensors(file, &b);
    moh__gguf_close(file);
  }
}

static void every_cut_is_told(void **state) {
  (void)state;
  bytes b = whole_file(3);
  for (size_t n = b.n; n-- > 0;) {
    bytes cut = b;
    cut.n = n;
    assert_refused(&cut, "");
  }
}

static void other_files_and_versions_are_refused(void **state) {
  (void)state;
  bytes b = whole_file(1);
  assert_refused(&b, "version 1; known are 2 and 3");
  b = whole_file(4);
  assert_refused(&b, "version 4");
  b = whole_file(0x03000000);
  assert_refused(&b, "or is big-endian");
  b.at[3] = 'X';
  assert_refused(&b, "this is no GGUF file");
}

/* ---- lies about lengths ---- */

static void counts_are_compared_with_the_bytes_that_follow(void **state) {
  (void)state;
  bytes b = head(3, UINT64_C(1) << 62, 0);
  data(&b, 1, 100);
  assert_refused(&b, "the number of tensors is 4611686018427387904");
  b = head(3, 0, UINT64_MAX);
  data(&b, 1, 100);
  assert_refused(&b, "the number of values is 18446744073709551615");
  b = head(3, 0, 1);
  number(&b, UINT64_MAX, 8);
  data(&b, 1, 100);
  assert_refused(&b, "a key is 18446744073709551615");
  b = head(3, 0, 1);
  key(&b, "k", MOH__GGUF_STRING);
  number(&b, 101, 8);
  data(&b, 1, 100);
  assert_refused(&b, "key 'k': the length of a string is 101");
}

static void arrays_are_compared_with_the_bytes_that_follow(void **state) {
  (void)state;
  static const uint32_t elements[] = {MOH__GGUF_U8, MOH__GGUF_F64,
                                      MOH__GGUF_STRING};
  static const uint64_t least[] = {1, 8, 8};
  for (int i = 0; i < 3; i++) {
    bytes b = head(3, 0, 1);
    key(&b, "k", MOH__GGUF_ARRAY);
    number(&b, elements[i], 4);
    number(&b, 96 / least[i] + 1, 8);
    data(&b, 1, 0);
    for (int j = 0; j < 96; j++) number(&b, 0, 1);
    assert_refused(&b, "the length of an array is");
  }
}

static void kinds_are_checked(void **state) {
  (void)state;
  bytes b = head(3, 0, 1);
  key(&b, "k", 13);
  number(&b, 0, 8);
  assert_refused(&b, "13 is no kind of value");
  b = head(3, 0, 1);
  key(&b, "k", MOH__GGUF_ARRAY);
  number(&b, MOH__GGUF_ARRAY, 4);
  number(&b, 0, 8);
  assert_refused(&b, "arrays of arrays");
  b = head(3, 0, 1);
  key(&b, "k", MOH__GGUF_BOOL);
  number(&b, 2, 1);
  assert_refused(&b, "a bool is 2");
}

/* ---- lies about names ---- */

static void names_are_fit_for_messages(void **state) {
  (void)state;
  bytes b = head(3, 0, 1);
  key(&b, "", MOH__GGUF_U8);
  number(&b, 0, 2);
  assert_refused(&b, "a key at byte 24 is empty");
  b = head(3, 0, 1);
  key(&b, "a\033[2J", MOH__GGUF_U8);
  number(&b, 0, 1);
  assert_refused(&b, "control characters");
  char name[66];
  memset(name, 'n', 65);
  name[65] = '\0';
  b = head(3, 1, 0);
  tensor(&b, name, 1, 4, 0, 0, 0);
  data(&b, 32, 16);
  assert_refused(&b, "longer than 64 bytes");
  b = head(3, 1, 0);
  tensor(&b, name + 1, 1, 4, 0, 0, 0);
  data(&b, 32, 16);
  moh__gguf_close(accepted(&b));
}

static void names_are_not_there_twice(void **state) {
  (void)state;
  bytes b = head(3, 0, 3);
  for (int i = 0; i < 3; i++) {
    key(&b, i == 1 ? "other" : "same", MOH__GGUF_U8);
    number(&b, 7, 1);
  }
  assert_refused(&b, "the key 'same' is there twice");
  b = head(3, 3, 0);
  for (uint64_t i = 0; i < 3; i++)
    tensor(&b, i == 1 ? "other" : "same", 1, 4, 0, 0, 32 * i);
  data(&b, 32, 96);
  assert_refused(&b, "two tensors of the name 'same'");
}

/* ---- lies about tensors ---- */

static void assert_tensor_refused(int n_dims, uint64_t d0, uint64_t d1,
                                  uint32_t type, uint64_t offset,
                                  const char *part) {
  bytes b = head(3, 1, 0);
  tensor(&b, "t", n_dims, d0, d1, type, offset);
  data(&b, 32, 128);
  assert_refused(&b, part);
  assert_non_null(strstr(err.message, "tensor 't'"));
}

static void shapes_are_checked(void **state) {
  (void)state;
  assert_tensor_refused(0, 0, 0, 0, 0, "has 0 dimensions");
  assert_tensor_refused(5, 1, 1, 0, 0, "has 5 dimensions");
  assert_tensor_refused(2, 4, 0, 0, 0, "dimension 1 is 0");
  assert_tensor_refused(1, UINT64_MAX, 0, 0, 0, "dimension 0 is 0, or");
  assert_tensor_refused(2, UINT64_C(1) << 32, UINT64_C(1) << 32, 0, 0,
                        "dimension 1 is 0, or the product");
  assert_tensor_refused(1, UINT64_C(1) << 62, 0, 0, 0, "too large");
  assert_tensor_refused(2, UINT64_C(1) << 61, 2, 0, 0, "too large");
  assert_tensor_refused(1, 48, 0, 2, 0, "no whole blocks of q4_0");
  assert_tensor_refused(2, 128, 2, 12, 0, "no whole blocks of q4_k");
}

static void types_are_checked(void **state) {
  (void)state;
  assert_tensor_refused(1, 256, 0, 11, 0, "the type Q3_K (11) is not");
  assert_tensor_refused(1, 32, 0, 4, 0, "of an unknown number (4)");
  assert_tensor_refused(1, 32, 0, UINT32_MAX, 0, "(4294967295)");
}

static void places_are_checked(void **state) {
  (void)state;
  assert_tensor_refused(1, 4, 0, 0, 8, "no multiple of the alignment 32");
  assert_tensor_refused(1, 33, 0, 0, 0, "132 bytes at offset 0");
  assert_tensor_refused(1, 4, 0, 0, 128, "do not lie in the 128 bytes");
  assert_tensor_refused(1, 4, 0, 0, UINT64_MAX - 31, "do not lie in");
  bytes b = head(3, 2, 0);
  tensor(&b, "t", 1, 4, 0, 0, 32);
  tensor(&b, "s", 1, 9, 0, 0, 0);
  data(&b, 32, 128);
  assert_refused(&b, "tensors 's' and 't' share bytes");
}

static bytes aligned_file(uint32_t kind, uint64_t alignment, size_t really) {
  bytes b = head(3, 1, 1);
  key(&b, "general.alignment", kind);
  number(&b, alignment, kind == MOH__GGUF_U32 ? 4 : 8);
  tensor(&b, "t", 1, 4, 0, 0, 0);
  data(&b, really, 16);
  return b;
}

static void alignments_are_checked(void **state) {
  (void)state;
  static const uint64_t bad[] = {0, 3, 48, 1 << 21, UINT32_MAX};
  for (int i = 0; i < 5; i++) {
    bytes b = aligned_file(MOH__GGUF_U32, bad[i], 32);
    assert_refused(&b, "no power of two up to 1048576");
  }
  bytes b = aligned_file(MOH__GGUF_F64, 64, 64);
  assert_refused(&b, "general.alignment' is of the kind f64");
  b = aligned_file(MOH__GGUF_U32, 64, 64);
  moh__gguf *file = accepted(&b);
  assert_ptr_equal(file->tensors[0].data, b.at + b.n - 16);
  moh__gguf_close(file);
  b = aligned_file(MOH__GGUF_U32, 1 << 20, 64);
  assert_refused(&b, "do not lie in the 0 bytes");
}

/* ---- values that are not what is asked for ---- */

static void kinds_are_compared_at_access(void **state) {
  (void)state;
  bytes b = whole_file(3);
  moh__gguf *file = accepted(&b);
  int64_t integer;
  double real;
  bool truth;
  moh__gguf_string string;
  moh__gguf_string *strings;
  float *reals;
  int32_t *integers;
  size_t n;
  assert_int_equal(moh__gguf_get_integer(file, "none", &integer, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message, "good: the key 'none' is missing");
  assert_int_equal(moh__gguf_get_integer(file, "k6", &integer, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(
      err.message, "good: key 'k6' is of the kind f32, not a whole number");
  assert_int_equal(moh__gguf_get_integer(file, "i16s", &integer, &err),
                   MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "is an array of i16"));
  assert_int_equal(moh__gguf_get_number(file, "k7", &real, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_bool(file, "k0", &truth, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_string(file, "texts", &string, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_strings(file, "text", &strings, &n, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_strings(file, "i16s", &strings, &n, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_numbers(file, "i16s", &reals, &n, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_integers(file, "texts", &integers, &n, &err),
                   MOH_ERR_FORMAT);
  moh__gguf_close(file);
}

static void numbers_have_limits(void **state) {
  (void)state;
  int64_t integer;
  int32_t *integers;
  size_t n;
  bytes b = head(3, 0, 2);
  key(&b, "u64", MOH__GGUF_U64);
  number(&b, UINT64_C(1) << 63, 8);
  key(&b, "u32s", MOH__GGUF_ARRAY);
  number(&b, MOH__GGUF_U32, 4);
  number(&b, 2, 8);
  number(&b, 1, 4);
  number(&b, UINT32_C(1) << 31, 4);
  moh__gguf *file = accepted(&b);
  assert_int_equal(moh__gguf_get_integer(file, "u64", &integer, &err),
                   MOH_ERR_FORMAT);
  assert_int_equal(moh__gguf_get_integers(file, "u32s", &integers, &n, &err),
                   MOH_ERR_FORMAT);
  assert_string_equal(err.message,
                      "good: element 1 of key 'u32s' is too large");
  moh__gguf_close(file);
}

/* ---- writing ---- */

static void give_row(void *context, size_t item, int64_t row, float *dst) {
  const moh__gguf_item *items = context;
  for (int64_t i = 0; i < items[item].dims[0]; i++)
    dst[i] = (float)(i - 7) * (float)(row + 1) / 4;
}

static const moh__gguf_item items[] = {
    {"first", MOH__BLOCK_F32, 1, {5}},
    {"second", MOH__BLOCK_Q8_0, 2, {64, 3}},
    {"third", MOH__BLOCK_BF16, 3, {1, 2, 2}},
    {"fourth", MOH__BLOCK_F16, 2, {3, 1}},
    {"fifth", MOH__BLOCK_Q4_0, 4, {32, 1, 1, 2}},
};

static void check_written(const moh__gguf_tensor *tensor,
                          const moh__gguf_item *item, size_t index) {
  float want[64], have[64];
  unsigned char coded[256];
  int64_t row;
  assert_int_equal(tensor->type, item->type);
  assert_int_equal(tensor->n_dims, item->n_dims);
  assert_true(moh__block_row_bytes(item->type, item->dims[0], &row));
  assert_int_equal((uintptr_t)tensor->data % 32, 0);
  for (int64_t i = 0; i < tensor->n / item->dims[0]; i++) {
    give_row((void *)items, index, i, want);
    moh__block_encode(item->type, want, item->dims[0], coded);
    moh__block_decode(item->type, coded, item->dims[0], want);
    moh__block_decode(item->type, tensor->data + i * row, item->dims[0],
                      have);
    assert_memory_equal(want, have, (size_t)item->dims[0] * sizeof(float));
  }
}

static void what_is_written_comes_back(void **state) {
  const char *path = temp_path(state, "a.gguf");
  static const moh__gguf_string strings[] = {{"\0x", 2}, {"", 0}};
  static const float reals[] = {0.5F, -1};
  static const int32_t integers[] = {-3, 4, 5};
  moh__gguf_metadata m = {0};
  moh__gguf_put_u32(&m, "u", 7);
  moh__gguf_put_f32(&m, "f", 2.5F);
  moh__gguf_put_bool(&m, "b", true);
  moh__gguf_put_string(&m, "s", (moh__gguf_string){"text", 4});
  moh__gguf_put_strings(&m, "ss", strings, 2);
  moh__gguf_put_f32s(&m, "fs", reals, 2);
  moh__gguf_put_i32s(&m, "is", integers, 3);
  assert_int_equal(
      moh__gguf_write(path, &m, items, 5, give_row, (void *)items, NULL, &err),
      MOH_OK);
  moh__gguf_metadata_free(&m);

  moh__gguf *file;
  assert_int_equal(moh__gguf_open(&file, path, &err), MOH_OK);
  moh__gguf_string *ss;
  float *fs;
  int32_t *is;
  size_t n;
  assert_int_equal(file->n_values, 7);
  assert_integer(file, "u", 7);
  assert_number(file, "f", 2.5);
  assert_int_equal(moh__gguf_get_strings(file, "ss", &ss, &n, &err), MOH_OK);
  assert_int_equal(n, 2);
  assert_int_equal(ss[0].n, 2);
  assert_memory_equal(ss[0].bytes, "\0x", 2);
  free(ss);
  assert_int_equal(moh__gguf_get_numbers(file, "fs", &fs, &n, &err), MOH_OK);
  assert_memory_equal(fs, reals, sizeof(reals));
  free(fs);
  assert_int_equal(moh__gguf_get_integers(file, "is", &is, &n, &err), MOH_OK);
  assert_memory_equal(is, integers, sizeof(integers));
  free(is);
  assert_int_equal(file->n_tensors, 5);
  for (size_t i = 0; i < 5; i++)
    check_written(moh__gguf_find_tensor(file, items[i].name), &items[i], i);
  moh__gguf_close(file);
}

static void what_cannot_be_written_is_told(void **state) {
  const char *path = temp_path(state, "a.gguf");
  static const moh__gguf_item bad[] = {
      {"odd", MOH__BLOCK_Q8_0, 2, {33, 2}},
      {"other", MOH__BLOCK_Q4_1, 1, {32}},
      {"huge", MOH__BLOCK_F32, 2, {INT64_C(1) << 40, INT64_C(1) << 40}},
  };
  moh__gguf_metadata m = {0};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(moh__gguf_write(path, &m, &bad[i], 1, give_row,
                                     (void *)bad, NULL, &err),
                     MOH_ERR_ARGUMENT);
    assert_non_null(strstr(err.message, bad[i].name));
    assert_false(temp_exists(path));
  }
}

static void a_missing_file_is_named(void **state) {
  const char *path = temp_path(state, "none.gguf");
  moh__gguf *file;
  assert_int_equal(moh__gguf_open(&file, path, &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, "none.gguf"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_by_hand_is_read),
      cmocka_unit_test(every_cut_is_told),
      cmocka_unit_test(other_files_and_versions_are_refused),
      cmocka_unit_test(counts_are_compared_with_the_bytes_that_follow),
      cmocka_unit_test(arrays_are_compared_with_the_bytes_that_follow),
      cmocka_unit_test(kinds_are_checked),
      cmocka_unit_test(names_are_fit_for_messages),
      cmocka_unit_test(names_are_not_there_twice),
      cmocka_unit_test(shapes_are_checked),
      cmocka_unit_test(types_are_checked),
      cmocka_unit_test(places_are_checked),
      cmocka_unit_test(alignments_are_checked),
      cmocka_unit_test(kinds_are_compared_at_access),
      cmocka_unit_test(numbers_have_limits),
      cmocka_unit_test_setup_teardown(what_is_written_comes_back,
                                      temp_dir_setup, temp_dir_teardown),
      cmocka_unit_test_setup_teardown(what_cannot_be_written_is_told,
                                      temp_dir_setup, temp_dir_teardown),
      cmocka_unit_test_setup_teardown(a_missing_file_is_named, temp_dir_setup,
                                      temp_dir_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
