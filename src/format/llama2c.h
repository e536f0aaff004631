/*
 * Checkpoints of llama2.c in its first format (version 0, without a magic
 * number): seven int32 (width, hidden units, layers, heads, KV heads,
 * vocabulary, longest sequence; a negative vocabulary has an output matrix of
 * its own), then the tensors as float32, of all layers one kind after the
 * other, rows of W_Q and W_K with the pairs of rotary positions as neighbours.
 * Little-endian. The size of the file is exactly what these numbers need.
 */
#ifndef MOH_FORMAT_LLAMA2C_H
#define MOH_FORMAT_LLAMA2C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/status.h"

/* In file order. */
typedef enum moh__llama2c_kind {
  MOH__LLAMA2C_EMBEDDING, /* (vocab, width) */
  MOH__LLAMA2C_NORM1,     /* (layers, width) */
  MOH__LLAMA2C_Q,         /* (layers, width, width) */
  MOH__LLAMA2C_K,         /* (layers, kv width, width) */
  MOH__LLAMA2C_V,
  MOH__LLAMA2C_O,     /* (layers, width, width) */
  MOH__LLAMA2C_NORM2, /* (layers, width) */
  MOH__LLAMA2C_GATE,  /* (layers, hidden, width) */
  MOH__LLAMA2C_DOWN,  /* (layers, width, hidden) */
  MOH__LLAMA2C_UP,    /* (layers, hidden, width) */
  MOH__LLAMA2C_NORM,  /* (width) */
  MOH__LLAMA2C_COS,   /* (longest, head width / 2) */
  MOH__LLAMA2C_SIN,
  MOH__LLAMA2C_OUTPUT, /* (vocab, width); nothing where tied */
  MOH__LLAMA2C_KINDS
} moh__llama2c_kind;

typedef struct moh__llama2c {
  moh__map map;
  int64_t d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size;
  int64_t max_seq_len;
  bool tied;
  /* Of all layers of a kind: where they are, and numbers of one layer. */
  const unsigned char *data[MOH__LLAMA2C_KINDS];
  int64_t n[MOH__LLAMA2C_KINDS];
} moh__llama2c;

moh_status moh__llama2c_open(moh__llama2c *out, const char *path,
                             moh_error *err);
/* The same over bytes in memory, which must outlive it: for fuzzing. */
moh_status moh__llama2c_parse(moh__llama2c *out, const unsigned char *bytes,
                              size_t n, const char *name, moh_error *err);
void moh__llama2c_close(moh__llama2c *file);

#endif
