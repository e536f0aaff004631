/* Checkpoints of llama2.c: the head is checked, then the size of the whole,
 * and only then does anything point into the file. */
#include "format/llama2c.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

enum { HEAD_NUMBERS = 7, HEAD_BYTES = 4 * HEAD_NUMBERS };

static const uint32_t magic = 0x616b3432; /* later versions begin with it */

static int32_t int_at(const unsigned char *bytes, int i) {
  uint32_t x = 0;
  for (int b = 3; b >= 0; b--) x = x << 8 | bytes[4 * i + b];
  int32_t number;
  memcpy(&number, &x, sizeof(number));
  return number;
}

static moh_status read_head(moh__llama2c *f, const unsigned char *bytes,
                            size_t n, moh_error *err) {
  int64_t *const numbers[HEAD_NUMBERS] = {
      &f->d_model,    &f->d_ff,       &f->n_layers,   &f->n_heads,
      &f->n_kv_heads, &f->vocab_size, &f->max_seq_len};
  if (n < HEAD_BYTES)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "has %zu bytes, too few for a llama2.c checkpoint", n);
  if ((uint32_t)int_at(bytes, 0) == magic)
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "is a llama2.c checkpoint of version %" PRId32
                     "; only version 0 is known, which model.bin files have",
                     int_at(bytes, 1));
  for (int i = 0; i < HEAD_NUMBERS; i++) *numbers[i] = int_at(bytes, i);
  f->tied = f->vocab_size > 0;
  if (!f->tied) f->vocab_size = -f->vocab_size;
  for (int i = 0; i < HEAD_NUMBERS; i++)
    if (*numbers[i] < 1)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "number %d of the head is %" PRId64
                       ": this is no llama2.c checkpoint",
                       i, *numbers[i]);
  if (f->d_model % f->n_heads == 0 && f->d_model / f->n_heads % 2 == 0 &&
      f->n_heads % f->n_kv_heads == 0)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the head says width %" PRId64 ", %" PRId64
                   " heads, %" PRId64
                   " KV heads, which do not go together: this is no llama2.c "
                   "checkpoint",
                   f->d_model, f->n_heads, f->n_kv_heads);
}

/* All numbers of the head are below 2^31, so products of two fit. */
static void set_sizes(moh__llama2c *f) {
  int64_t d = f->d_model, d_head = d / f->n_heads;
  int64_t kv = d_head * f->n_kv_heads;
  int64_t *n = f->n;
  n[MOH__LLAMA2C_EMBEDDING] = f->vocab_size * d;
  n[MOH__LLAMA2C_NORM1] = n[MOH__LLAMA2C_NORM2] = n[MOH__LLAMA2C_NORM] = d;
  n[MOH__LLAMA2C_Q] = n[MOH__LLAMA2C_O] = d * d;
  n[MOH__LLAMA2C_K] = n[MOH__LLAMA2C_V] = kv * d;
  n[MOH__LLAMA2C_GATE] = n[MOH__LLAMA2C_UP] = f->d_ff * d;
  n[MOH__LLAMA2C_DOWN] = f->d_ff * d;
  n[MOH__LLAMA2C_COS] = n[MOH__LLAMA2C_SIN] = f->max_seq_len * (d_head / 2);
  n[MOH__LLAMA2C_OUTPUT] = f->tied ? 0 : f->vocab_size * d;
}

static bool is_layered(int kind) {
  return kind >= MOH__LLAMA2C_NORM1 && kind <= MOH__LLAMA2C_UP;
}

/* Bytes of all layers of a kind, added to *end. */
static bool add_kind(const moh__llama2c *f, int kind, size_t *end) {
  size_t n_bytes;
  size_t times = is_layered(kind) ? (size_t)f->n_layers : 1;
  return moh__mul_size((size_t)f->n[kind], 4, &n_bytes) &&
         moh__mul_size(n_bytes, times, &n_bytes) &&
         moh__add_size(*end, n_bytes, end);
}

static moh_status place(moh__llama2c *f, const unsigned char *bytes, size_t n,
                        moh_error *err) {
  size_t end = HEAD_BYTES, begins[MOH__LLAMA2C_KINDS];
  for (int kind = 0; kind < MOH__LLAMA2C_KINDS; kind++) {
    begins[kind] = end;
    if (!add_kind(f, kind, &end))
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the numbers of the head are too large: this is no "
                       "llama2.c checkpoint");
  }
  if (end != n)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "has %zu bytes, but the numbers of its head need %zu: "
                     "it is not whole, or no llama2.c checkpoint",
                     n, end);
  for (int kind = 0; kind < MOH__LLAMA2C_KINDS; kind++)
    f->data[kind] = bytes + begins[kind];
  return MOH_OK;
}

moh_status moh__llama2c_parse(moh__llama2c *out, const unsigned char *bytes,
                              size_t n, const char *name, moh_error *err) {
  *out = (moh__llama2c){.tied = false};
  moh_status status = read_head(out, bytes, n, err);
  if (status == MOH_OK) {
    set_sizes(out);
    status = place(out, bytes, n, err);
  }
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", name);
}

moh_status moh__llama2c_open(moh__llama2c *out, const char *path,
                             moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__llama2c_parse(out, map.bytes, map.size, path, err);
  if (status == MOH_OK)
    out->map = map;
  else
    moh__map_close(&map);
  return status;
}

void moh__llama2c_close(moh__llama2c *file) { moh__map_close(&file->map); }
