/*
 * Number formats of stored weights, with the byte layouts of GGUF. A row of
 * numbers is a row of blocks; everything is little-endian, nothing is padded,
 * blocks lie at any address. f16 is IEEE 754 binary16, bf16 the upper half of
 * a float; d, m are f16.
 *
 *   type    elements  bytes  layout, and the value of element i
 *   f32            1      4
 *   f16            1      2
 *   bf16           1      2
 *   q8_0          32     34  d, int8 q[32]: d q[i]
 *   q4_0          32     18  d, q[16]: d (n(i) - 8), where n(i) is the lower
 *                            half of byte i for i < 16, the upper one of byte
 *                            i - 16 otherwise
 *   q4_1          32     20  d, m, q[16]: d n(i) + m
 *   q5_0          32     22  d, uint32 h, q[16]: d (n(i) + 16 h_i - 16), h_i
 *                            being bit i of h
 *   q5_1          32     24  d, m, uint32 h, q[16]: d (n(i) + 16 h_i) + m
 *   q4_k         256    144  d, m, scales[12], q[128]: d s_j n(i) - m o_j. j
 *                            = i / 32; of each 64 elements the first 32 are
 *                            the lower halves of 32 bytes, the others the
 *                            upper ones. Scale s_j and offset o_j have 6 bits:
 *                            j < 4: the lower bits of bytes j and j + 4;
 *                            others: the halves of byte j + 4, above them the
 *                            upper 2 bits of bytes j - 4 (s) and j (o)
 *   q5_k         256    176  d, m, scales[12], h[32], q[128]: the same with
 *                            n(i) + 16 * bit j of h[i % 32]
 *   q6_k         256    210  q[128], h[64], int8 s[16], d: d s[i / 16] (v -
 *                            32). Of each 128 elements, which have 64 bytes of
 *                            q and 32 of h, element p * 32 + l has for v the
 *                            lower (p < 2) or upper half of q[l + 32 (p % 2)],
 *                            and above it bits 2 p and 2 p + 1 of h[l]
 */
#ifndef MOH_BASE_BLOCKS_H
#define MOH_BASE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum moh__block_type {
  MOH__BLOCK_F32,
  MOH__BLOCK_F16,
  MOH__BLOCK_BF16,
  MOH__BLOCK_Q8_0,
  MOH__BLOCK_Q4_0,
  MOH__BLOCK_Q4_1,
  MOH__BLOCK_Q5_0,
  MOH__BLOCK_Q5_1,
  MOH__BLOCK_Q4_K,
  MOH__BLOCK_Q5_K,
  MOH__BLOCK_Q6_K,
  MOH__BLOCK_TYPES
} moh__block_type;

/* "f32", "q8_0", ... */
const char *moh__block_name(moh__block_type type);
/* False: no type has that name. */
bool moh__block_type_find(const char *name, moh__block_type *type);

/* Of one block: 1, 32 or 256 elements, and their bytes. */
int64_t moh__block_elements(moh__block_type type);
size_t moh__block_bytes(moh__block_type type);

/* Bytes of n elements. False: n is no multiple of a block's elements, or there
 * are too many. */
bool moh__block_row_bytes(moh__block_type type, int64_t n, int64_t *bytes);

/* n is a multiple of a block's elements. */
void moh__block_decode(moh__block_type type, const void *src, int64_t n,
                       float *dst);

/* Whether there is an encoder: f32, f16, bf16, q8_0, q4_0. */
bool moh__block_encodes(moh__block_type type);

/* Rounds as GGUF's reference does; values are finite. In q8_0 the largest
 * magnitude of a block becomes 127; in q4_0 the first value of the largest
 * magnitude becomes -8. */
void moh__block_encode(moh__block_type type, const float *src, int64_t n,
                       void *dst);

/* Single numbers; to nearest, ties to even; NaN stays NaN. */
float moh__f16_value(uint16_t bits);
uint16_t moh__f16_of(float x);
uint16_t moh__bf16_of(float x);
static inline float moh__bf16_value(uint16_t bits) {
  union {
    uint32_t u;
    float f;
  } wide = {(uint32_t)bits << 16};
  return wide.f;
}

#endif
