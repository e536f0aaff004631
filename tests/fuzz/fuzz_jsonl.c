/*
 * JSONL and JSON arrays (fuzz/records.h). The first byte tells which, and
 * how windows grow; the field is "text" or "t".
 */
#include <stdint.h>

#include "records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  moh__text_options options = {
      .format = data[0] & 1 ? MOH__TEXT_JSON : MOH__TEXT_JSONL,
      .field = data[0] & 2 ? "t" : NULL};
  check_records((const char *)data + 1, size - 1, 1 + data[0] / 4, &options,
                "fuzz");
  return 0;
}
