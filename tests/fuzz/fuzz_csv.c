/*
 * CSV (fuzz/records.h). The first byte tells the column, whether there is a
 * header, and how windows grow.
 */
#include <stdint.h>

#include "records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const fields[] = {NULL, "2", "text", "1"};
  if (size == 0) return 0;
  moh__text_options options = {.format = MOH__TEXT_CSV,
                               .field = fields[data[0] & 3],
                               .header = data[0] & 4};
  check_records((const char *)data + 1, size - 1, 1 + data[0] / 8, &options,
                "fuzz");
  return 0;
}
