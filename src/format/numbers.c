/* The elements of a tensor as numbers, whatever type they have. */
#include <math.h>
#include <string.h>

#include "base/blocks.h"
#include "format/safetensors.h"

/* Data of a file may lie at any address. */
double moh__st_number(const moh__st_tensor *tensor, int64_t i) {
  const unsigned char *at =
      tensor->data + (size_t)i * moh__dtype_size(tensor->dtype);
  union {
    uint16_t half;
    float single;
    double wide;
    int32_t int32;
    int64_t int64;
    unsigned char byte;
  } value;
  memcpy(&value, at, moh__dtype_size(tensor->dtype));
  switch (tensor->dtype) {
    case MOH__F64:
      return value.wide;
    case MOH__F32:
      return value.single;
    case MOH__F16:
      return moh__f16_value(value.half);
    case MOH__BF16:
      return moh__bf16_value(value.half);
    case MOH__I64:
      return (double)value.int64;
    case MOH__I32:
      return value.int32;
    case MOH__U8:
      return value.byte;
  }
  return NAN;
}
