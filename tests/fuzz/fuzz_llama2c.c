/*
 * Checkpoints of llama2.c from memory. In a file that is accepted the kinds of
 * tensors fill it behind its head, one behind the other.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/llama2c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__llama2c file;
  moh_error err = {0};
  if (moh__llama2c_parse(&file, data, size, "fuzz", &err) != MOH_OK) {
    require(strncmp(err.message, "fuzz: ", 6) == 0);
    return 0;
  }
  const uint8_t *next = data + 28;
  for (int kind = 0; kind < MOH__LLAMA2C_KINDS; kind++) {
    bool once = kind == MOH__LLAMA2C_EMBEDDING || kind >= MOH__LLAMA2C_NORM;
    size_t n = (size_t)(file.n[kind] * (once ? 1 : file.n_layers));
    require(file.data[kind] == next && n <= size / 4);
    next += 4 * n;
  }
  require(next == data + size);
  return 0;
}
