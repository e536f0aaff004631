/*
 * safetensors from memory. In a file that is accepted every tensor lies in
 * the data, has as many bytes as its shape and type need, and shares none
 * with another.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

/* Elements by the shape, never more than there are bytes. */
static size_t count(const moh__st_tensor *tensor, size_t most) {
  size_t n = 1;
  for (int i = 0; i < tensor->n_dims; i++) {
    require(tensor->shape[i] > 0);
    require((size_t)tensor->shape[i] <= most / n);
    n *= (size_t)tensor->shape[i];
  }
  return n;
}

/* Reads all of it, so that the sanitizer sees a byte that is not there. */
static void check_tensor(const moh__safetensors *file,
                         const moh__st_tensor *tensor, const uint8_t *end,
                         size_t size) {
  unsigned sum = 0;
  size_t n = count(tensor, size);
  require(tensor->n_dims >= 0 && tensor->n_dims <= MOH__ST_DIMS);
  require(tensor->n == (int64_t)n);
  require(tensor->n_bytes == n * moh__dtype_size(tensor->dtype));
  require(tensor->n_bytes <= (size_t)(end - tensor->data));
  for (size_t i = 0; i < tensor->n_bytes; i++) sum += tensor->data[i];
  require(sum <= 255 * tensor->n_bytes);
  require(moh__safetensors_find(file, tensor->name) == tensor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__safetensors *file;
  moh_error err = {0};
  if (moh__safetensors_parse(&file, data, size, "fuzz", &err) != MOH_OK) {
    require(file == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return 0;
  }
  const uint8_t *next = data + 8;
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__st_tensor *tensor = &file->tensors[i];
    require(tensor->data >= next);
    check_tensor(file, tensor, data + size, size);
    next = tensor->data + tensor->n_bytes;
  }
  moh__safetensors_close(file);
  return 0;
}
