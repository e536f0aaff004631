/*
 * GGUF from memory. In a file that is accepted every tensor lies in the data,
 * aligned, has as many bytes as its shape and type need, and shares none with
 * another; every value can be read as what it says it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

/* Reads all of it, so that the sanitizer sees a byte that is not there. */
static unsigned sum_of(const void *bytes, size_t n) {
  const unsigned char *at = bytes;
  unsigned sum = 0;
  for (size_t i = 0; i < n; i++) sum += at[i];
  return sum;
}

static void check_strings(const moh__gguf *file, const char *key) {
  moh_error err = {0};
  moh__gguf_string *strings;
  size_t n;
  unsigned sum = 0;
  require(moh__gguf_get_strings(file, key, &strings, &n, &err) == MOH_OK);
  for (size_t i = 0; i < n; i++)
    sum += sum_of(strings[i].bytes, strings[i].n);
  require(sum == 0 || n > 0);
  free(strings);
}

/* Each reader by its kind; a wrong one is refused. */
static void check_value(const moh__gguf *file, const moh__gguf_value *value) {
  moh_error err = {0};
  moh__gguf_string string;
  float *reals;
  int32_t *integers;
  int64_t integer;
  size_t n;
  char *key = strndup(value->key.bytes, value->key.n);
  require(key != NULL && moh__gguf_find(file, key) == value);
  if (value->kind == MOH__GGUF_ARRAY && value->element == MOH__GGUF_STRING)
    check_strings(file, key);
  if (moh__gguf_get_numbers(file, key, &reals, &n, &err) == MOH_OK) {
    require(value->kind == MOH__GGUF_ARRAY && n == value->n);
    free(reals);
  }
  if (moh__gguf_get_integers(file, key, &integers, &n, &err) == MOH_OK) {
    require(value->kind == MOH__GGUF_ARRAY && n == value->n);
    free(integers);
  }
  if (moh__gguf_get_string(file, key, &string, &err) == MOH_OK)
    require(sum_of(string.bytes, string.n) <= 255 * string.n);
  if (moh__gguf_get_integer(file, key, &integer, &err) == MOH_OK)
    require(value->kind != MOH__GGUF_ARRAY && value->kind != MOH__GGUF_F32);
  free(key);
}

static void check_tensor(const moh__gguf *file,
                         const moh__gguf_tensor *tensor, const uint8_t *data,
                         size_t size) {
  int64_t n = 1, n_bytes;
  for (int i = 0; i < MOH__GGUF_DIMS; i++) n *= tensor->dims[i];
  require(n == tensor->n && n > 0);
  require(moh__block_row_bytes(tensor->type, n, &n_bytes));
  require(tensor->n_bytes == (size_t)n_bytes);
  require(tensor->data > data && tensor->n_bytes <= size);
  require(tensor->data + tensor->n_bytes <= data + size);
  require((size_t)(tensor->data - data) % file->alignment == 0);
  require(moh__gguf_find_tensor(file, tensor->name) == tensor);
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__gguf_tensor *other = &file->tensors[i];
    require(other == tensor || other->data >= tensor->data + n_bytes ||
            tensor->data >= other->data + other->n_bytes);
  }
}

static void decode_tensor(const moh__gguf_tensor *tensor) {
  float *numbers = malloc((size_t)tensor->n * sizeof(float));
  require(numbers != NULL);
  moh__block_decode(tensor->type, tensor->data, tensor->n, numbers);
  free(numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__gguf *file;
  moh_error err = {0};
  if (moh__gguf_parse(&file, data, size, "fuzz", &err) != MOH_OK) {
    require(file == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return 0;
  }
  for (size_t i = 0; i < file->n_values; i++)
    check_value(file, &file->values[i]);
  for (size_t i = 0; i < file->n_tensors; i++) {
    check_tensor(file, &file->tensors[i], data, size);
    decode_tensor(&file->tensors[i]);
  }
  moh__gguf_close(file);
  return 0;
}
