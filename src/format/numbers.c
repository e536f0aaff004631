/* The elements of a tensor as numbers, whatever type they have. */
#include <math.h>
#include <string.h>

#include "format/safetensors.h"

static double number_of_bf16(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof(value));
  return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static double number_of_f16(uint16_t bits) {
  int exponent = bits >> 10 & 31;
  double fraction = bits & 1023;
  double size;
  if (exponent == 31)
    size = fraction == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    size = ldexp(fraction, -24);
  else
    size = ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -size : size;
}

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
      return number_of_f16(value.half);
    case MOH__BF16:
      return number_of_bf16(value.half);
    case MOH__I64:
      return (double)value.int64;
    case MOH__I32:
      return value.int32;
    case MOH__U8:
      return value.byte;
  }
  return NAN;
}
