/* Decoding and encoding of blocks, one after another; see blocks.h. */
#include "base/blocks.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum { SMALL = 32, LARGE = 256, HALF_SMALL = SMALL / 2 };

/* ---- single numbers ---- */

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

static float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

/* Exponents of f32 begin 112 lower than those of f16. */
static const uint32_t f16_bias = UINT32_C(112) << 23;

float moh__f16_value(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
  uint32_t rest = (uint32_t)(bits & 0x7fff) << 13; /* in f32's places */
  if (rest < 1 << 23) {
    float size = (float)(bits & 0x7fff) * 0x1p-24F; /* zero, subnormal */
    return sign != 0 ? -size : size;
  }
  bool finite = rest < UINT32_C(31) << 23;
  return float_of(sign | (rest + (finite ? f16_bias : 2 * f16_bias)));
}

uint16_t moh__f16_of(float x) {
  uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000;
  uint32_t size = bits & 0x7fffffff;
  if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00); /* NaN */
  if (size >= 0x47800000) return (uint16_t)(sign | 0x7c00);
  /* Below 2^-14: the last bit of a sum with 0.5 is worth 2^-24. */
  if (size < 0x38800000)
    return (uint16_t)(sign | (bits_of(float_of(size) + 0.5F) - 0x3f000000));
  size += 0xfff + (size >> 13 & 1);
  return (uint16_t)(sign | (size - f16_bias) >> 13);
}

uint16_t moh__bf16_of(float x) {
  uint32_t bits = bits_of(x);
  if (x != x) return (uint16_t)((bits | 0x400000) >> 16);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t u16_at(const unsigned char *at) {
  return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t u32_at(const unsigned char *at) {
  return u16_at(at) | (uint32_t)u16_at(at + 2) << 16;
}

static float f16_at(const unsigned char *at) {
  return moh__f16_value(u16_at(at));
}

static void put_u16(unsigned char *at, uint16_t bits) {
  at[0] = (unsigned char)bits;
  at[1] = (unsigned char)(bits >> 8);
}

/* ---- decoding: n blocks ---- */

static void decode_f32(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t i = 0; i < n; i++) dst[i] = float_of(u32_at(src + 4 * i));
}

static void decode_f16(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t i = 0; i < n; i++) dst[i] = f16_at(src + 2 * i);
}

static void decode_bf16(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t i = 0; i < n; i++)
    dst[i] = moh__bf16_value(u16_at(src + 2 * i));
}

static void decode_q8_0(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 2 + SMALL, dst += SMALL)
    for (int i = 0; i < SMALL; i++)
      dst[i] = f16_at(src) * (float)(int8_t)src[2 + i];
}

/* One block of 32: scale * (the 4 bits of q, above them the bit of h, - less)
 * + offset. */
static void decode_nibbles(const unsigned char *q, uint32_t h, int less,
                           float scale, float offset, float *dst) {
  for (int i = 0; i < HALF_SMALL; i++) {
    int low = (q[i] & 15) | (int)(h >> i & 1) << 4;
    int high = q[i] >> 4 | (int)(h >> (i + HALF_SMALL) & 1) << 4;
    dst[i] = scale * (float)(low - less) + offset;
    dst[i + HALF_SMALL] = scale * (float)(high - less) + offset;
  }
}

static void decode_q4_0(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 18, dst += SMALL)
    decode_nibbles(src + 2, 0, 8, f16_at(src), 0, dst);
}

static void decode_q4_1(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 20, dst += SMALL)
    decode_nibbles(src + 4, 0, 0, f16_at(src), f16_at(src + 2), dst);
}

static void decode_q5_0(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 22, dst += SMALL)
    decode_nibbles(src + 6, u32_at(src + 2), 16, f16_at(src), 0, dst);
}

static void decode_q5_1(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 24, dst += SMALL)
    decode_nibbles(src + 8, u32_at(src + 4), 0, f16_at(src), f16_at(src + 2),
                   dst);
}

/* The 6-bit scale and offset of part j of 8. */
static void unpack_scales(const unsigned char *packed, int j, int *scale,
                          int *offset) {
  if (j < 4) {
    *scale = packed[j] & 63;
    *offset = packed[j + 4] & 63;
  } else {
    *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
    *offset = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
  }
}

/* Part j of a block with the head d, m, scales[12]; h: the fifth bits, or
 * NULL. */
static void decode_part(const unsigned char *block, const unsigned char *h,
                        const unsigned char *q, int j, float *dst) {
  int scale, offset;
  unpack_scales(block + 4, j, &scale, &offset);
  float d = f16_at(block) * (float)scale;
  float m = f16_at(block + 2) * (float)offset;
  for (int i = 0; i < SMALL; i++) {
    int value = q[j / 2 * SMALL + i] >> 4 * (j % 2) & 15;
    if (h != NULL) value |= (h[i] >> j & 1) << 4;
    dst[i] = d * (float)value - m;
  }
}

static void decode_q4_k(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 144)
    for (int j = 0; j < LARGE / SMALL; j++, dst += SMALL)
      decode_part(src, NULL, src + 16, j, dst);
}

static void decode_q5_k(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 176)
    for (int j = 0; j < LARGE / SMALL; j++, dst += SMALL)
      decode_part(src, src + 16, src + 48, j, dst);
}

/* Half a block: 128 elements of 64 bytes of q, 32 of h and 8 scales. */
static void decode_half_q6_k(const unsigned char *q, const unsigned char *h,
                             const unsigned char *scales, float d,
                             float *dst) {
  for (int i = 0; i < LARGE / 2; i++) {
    int part = i / SMALL, at = i % SMALL;
    int low = q[at + SMALL * (part % 2)] >> 4 * (part / 2) & 15;
    int value = low | (h[at] >> 2 * part & 3) << 4;
    dst[i] = d * (float)(int8_t)scales[i / 16] * (float)(value - 32);
  }
}

static void decode_q6_k(const unsigned char *src, int64_t n, float *dst) {
  for (int64_t b = 0; b < n; b++, src += 210)
    for (int half = 0; half < 2; half++, dst += LARGE / 2)
      decode_half_q6_k(src + (size_t)64 * half, src + 128 + 32 * half,
                       src + 192 + 8 * half, f16_at(src + 208), dst);
}

/* ---- encoding: n blocks ---- */

static void encode_f32(const float *src, int64_t n, unsigned char *dst) {
  memcpy(dst, src, (size_t)n * sizeof(float));
}

static void encode_f16(const float *src, int64_t n, unsigned char *dst) {
  for (int64_t i = 0; i < n; i++) put_u16(dst + 2 * i, moh__f16_of(src[i]));
}

static void encode_bf16(const float *src, int64_t n, unsigned char *dst) {
  for (int64_t i = 0; i < n; i++) put_u16(dst + 2 * i, moh__bf16_of(src[i]));
}

/* The first value of the largest magnitude. */
static float extreme(const float *src) {
  float most = 0;
  for (int i = 0; i < SMALL; i++)
    if (fabsf(src[i]) > fabsf(most)) most = src[i];
  return most;
}

/* 0 also where it would be infinite: such a scale rounds to 0 in f16. */
static float inverse(float d) { return isfinite(1 / d) ? 1 / d : 0; }

static void encode_q8_0(const float *src, int64_t n, unsigned char *dst) {
  for (int64_t b = 0; b < n; b++, src += SMALL, dst += 2 + SMALL) {
    float d = fabsf(extreme(src)) / 127;
    float scale = inverse(d);
    put_u16(dst, moh__f16_of(d));
    for (int i = 0; i < SMALL; i++)
      dst[2 + i] = (unsigned char)(int8_t)roundf(src[i] * scale);
  }
}

/* 0 to 15 for -8 to 7; rounded once, as a fused product and sum is. */
static unsigned nibble(float x, float scale) {
  double value = (double)x * (double)scale + 8.5;
  return value > 15 ? 15 : (unsigned)(float)value;
}

static void encode_q4_0(const float *src, int64_t n, unsigned char *dst) {
  for (int64_t b = 0; b < n; b++, src += SMALL, dst += 2 + HALF_SMALL) {
    float d = extreme(src) / -8;
    float scale = inverse(d);
    put_u16(dst, moh__f16_of(d));
    for (int i = 0; i < HALF_SMALL; i++)
      dst[2 + i] = (unsigned char)(nibble(src[i], scale) |
                                   nibble(src[i + HALF_SMALL], scale) << 4);
  }
}

/* ---- the types ---- */

static const struct {
  const char *name;
  int64_t n_elements;
  size_t n_bytes;
  void (*decode)(const unsigned char *src, int64_t n, float *dst);
  void (*encode)(const float *src, int64_t n, unsigned char *dst);
} types[MOH__BLOCK_TYPES] = {
    [MOH__BLOCK_F32] = {"f32", 1, 4, decode_f32, encode_f32},
    [MOH__BLOCK_F16] = {"f16", 1, 2, decode_f16, encode_f16},
    [MOH__BLOCK_BF16] = {"bf16", 1, 2, decode_bf16, encode_bf16},
    [MOH__BLOCK_Q8_0] = {"q8_0", SMALL, 34, decode_q8_0, encode_q8_0},
    [MOH__BLOCK_Q4_0] = {"q4_0", SMALL, 18, decode_q4_0, encode_q4_0},
    [MOH__BLOCK_Q4_1] = {"q4_1", SMALL, 20, decode_q4_1, NULL},
    [MOH__BLOCK_Q5_0] = {"q5_0", SMALL, 22, decode_q5_0, NULL},
    [MOH__BLOCK_Q5_1] = {"q5_1", SMALL, 24, decode_q5_1, NULL},
    [MOH__BLOCK_Q4_K] = {"q4_k", LARGE, 144, decode_q4_k, NULL},
    [MOH__BLOCK_Q5_K] = {"q5_k", LARGE, 176, decode_q5_k, NULL},
    [MOH__BLOCK_Q6_K] = {"q6_k", LARGE, 210, decode_q6_k, NULL},
};

const char *moh__block_name(moh__block_type type) { return types[type].name; }

bool moh__block_type_find(const char *name, moh__block_type *type) {
  for (int i = 0; i < MOH__BLOCK_TYPES; i++) {
    if (strcmp(types[i].name, name) != 0) continue;
    *type = (moh__block_type)i;
    return true;
  }
  return false;
}

int64_t moh__block_elements(moh__block_type type) {
  return types[type].n_elements;
}

size_t moh__block_bytes(moh__block_type type) { return types[type].n_bytes; }

bool moh__block_row_bytes(moh__block_type type, int64_t n, int64_t *bytes) {
  int64_t each = types[type].n_elements;
  return n >= 0 && n % each == 0 &&
         moh__mul_i64(n / each, (int64_t)types[type].n_bytes, bytes);
}

void moh__block_decode(moh__block_type type, const void *src, int64_t n,
                       float *dst) {
  types[type].decode(src, n / types[type].n_elements, dst);
}

bool moh__block_encodes(moh__block_type type) {
  return types[type].encode != NULL;
}

void moh__block_encode(moh__block_type type, const float *src, int64_t n,
                       void *dst) {
  types[type].encode(src, n / types[type].n_elements, dst);
}
