/*
 * safetensors: 8 bytes little-endian header length, a JSON header, then the
 * tensors' bytes. A container of bytes: which tensors mean what is not known
 * here. Every number of the header is checked before it is used.
 */
#ifndef MOH_FORMAT_SAFETENSORS_H
#define MOH_FORMAT_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

typedef enum moh__dtype {
  MOH__F64,
  MOH__F32,
  MOH__F16,
  MOH__BF16,
  MOH__I64,
  MOH__I32,
  MOH__U8
} moh__dtype;

enum { MOH__ST_DIMS = 4 };

typedef struct moh__st_tensor {
  char *name;
  moh__dtype dtype;
  int n_dims;
  int64_t shape[MOH__ST_DIMS];
  int64_t n;                 /* elements */
  const unsigned char *data; /* in the mapping */
  size_t n_bytes;
} moh__st_tensor;

typedef struct moh__safetensors {
  moh__map map;
  moh__st_tensor *tensors; /* by ascending offset */
  size_t n_tensors;
  json_t *metadata; /* object of strings, or NULL */
} moh__safetensors;

size_t moh__dtype_size(moh__dtype dtype);
const char *moh__dtype_name(moh__dtype dtype);

/* Opens and checks: header within the file, known types, sizes that match
 * shape and type, ranges inside the data, in order and without gaps or
 * overlap, no duplicate names. */
moh_status moh__safetensors_open(moh__safetensors **out, const char *path,
                                 moh_error *err);
/* The same over bytes in memory, which must outlive it: for fuzzing. */
moh_status moh__safetensors_parse(moh__safetensors **out,
                                  const unsigned char *bytes, size_t n,
                                  const char *name, moh_error *err);
void moh__safetensors_close(moh__safetensors *file);
/* NULL when there is none. */
const moh__st_tensor *moh__safetensors_find(const moh__safetensors *file,
                                            const char *name);

/* Element i as a number, exactly. */
double moh__st_number(const moh__st_tensor *tensor, int64_t i);

/* What is to be written. */
typedef struct moh__st_item {
  const char *name;
  moh__dtype dtype;
  int n_dims;
  int64_t shape[MOH__ST_DIMS];
  const void *data;
} moh__st_item;

/* Writes atomically; tensors in the given order, data aligned to 8 bytes.
 * metadata: object of strings or NULL (borrowed). */
moh_status moh__safetensors_write(const char *path,
                                  const moh__st_item *items, size_t n_items,
                                  const json_t *metadata, moh_error *err);
/* The same, watched: stopped, it leaves nothing. */
moh_status moh__safetensors_write_watched(const char *path,
                                          const moh__st_item *items,
                                          size_t n_items,
                                          const json_t *metadata,
                                          const moh__watch *watch,
                                          moh_error *err);

#endif
