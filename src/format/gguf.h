/*
 * GGUF, versions 2 and 3: "GGUF", version, the numbers of tensors and of
 * metadata values, these, the tensors' names, shapes, types and offsets, and
 * from the next multiple of the alignment on their bytes. Little-endian. A
 * container: which names mean what is not known here. Every number of a file
 * is compared with the bytes that are there before it is used.
 */
#ifndef MOH_FORMAT_GGUF_H
#define MOH_FORMAT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blocks.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

/* With the numbers that files use for them. */
typedef enum moh__gguf_kind {
  MOH__GGUF_U8,
  MOH__GGUF_I8,
  MOH__GGUF_U16,
  MOH__GGUF_I16,
  MOH__GGUF_U32,
  MOH__GGUF_I32,
  MOH__GGUF_F32,
  MOH__GGUF_BOOL,
  MOH__GGUF_STRING,
  MOH__GGUF_ARRAY,
  MOH__GGUF_U64,
  MOH__GGUF_I64,
  MOH__GGUF_F64,
  MOH__GGUF_KINDS
} moh__gguf_kind;

enum {
  MOH__GGUF_DIMS = 4,
  MOH__GGUF_NAME = 65,      /* bytes of a tensor's name and a NUL */
  MOH__GGUF_ALIGNMENT = 32, /* unless the file says otherwise */
  MOH__GGUF_MAX_ALIGN = 1 << 20
};

/* n bytes of the file, any bytes. */
typedef struct moh__gguf_string {
  const char *bytes;
  size_t n;
} moh__gguf_string;

typedef struct moh__gguf_value {
  moh__gguf_string key;
  moh__gguf_kind kind;
  moh__gguf_kind element;  /* of an array, no array itself; else kind */
  size_t n;                /* elements of an array; else 1 */
  const unsigned char *at; /* the first; a string begins with its length */
} moh__gguf_value;

typedef struct moh__gguf_tensor {
  char name[MOH__GGUF_NAME];
  moh__block_type type;
  int n_dims;                   /* 1 to 4 */
  int64_t dims[MOH__GGUF_DIMS]; /* the innermost first, others 1 */
  int64_t n;                    /* elements */
  const unsigned char *data;    /* in the file */
  size_t n_bytes;
} moh__gguf_tensor;

typedef struct moh__gguf {
  moh__map map;
  const char *path; /* for messages; borrowed */
  size_t alignment;
  moh__gguf_value *values; /* in file order */
  size_t n_values;
  moh__gguf_tensor *tensors; /* in file order */
  size_t n_tensors;
  const moh__gguf_tensor **by_name; /* the same, sorted */
} moh__gguf;

/* ---- reading (gguf.c) ---- */

/*
 * Opens and checks: known version, kinds and types; keys and names not empty,
 * without control characters, none twice; lengths within the file; at most 4
 * dimensions, each positive; tensors aligned, inside the data, none sharing
 * bytes. The path must outlive the file.
 */
moh_status moh__gguf_open(moh__gguf **out, const char *path, moh_error *err);
/* The same over bytes in memory, which must outlive it: for fuzzing. */
moh_status moh__gguf_parse(moh__gguf **out, const unsigned char *bytes,
                           size_t n, const char *name, moh_error *err);
void moh__gguf_close(moh__gguf *file);

/* Whether there is a file that begins as one. */
bool moh__gguf_is(const char *path);

/* NULL when there is none. */
const moh__gguf_value *moh__gguf_find(const moh__gguf *file, const char *key);
const moh__gguf_tensor *moh__gguf_find_tensor(const moh__gguf *file,
                                              const char *name);

/* "u8", ...; bytes of one, 0 for strings and arrays. */
const char *moh__gguf_kind_name(moh__gguf_kind kind);
size_t moh__gguf_kind_bytes(moh__gguf_kind kind);

/* ---- values (gguf_values.c) ---- */

/*
 * Values by key, their kinds compared. A missing key is MOH_ERR_FORMAT with
 * its name, as is another kind. Any kind of whole number, and f32 or f64, do
 * for numbers. Strings are borrowed from the file.
 */
moh_status moh__gguf_get_integer(const moh__gguf *file, const char *key,
                                 int64_t *out, moh_error *err);
moh_status moh__gguf_get_number(const moh__gguf *file, const char *key,
                                double *out, moh_error *err);
moh_status moh__gguf_get_bool(const moh__gguf *file, const char *key,
                              bool *out, moh_error *err);
moh_status moh__gguf_get_string(const moh__gguf *file, const char *key,
                                moh__gguf_string *out, moh_error *err);
/* Arrays: to be freed with free. */
moh_status moh__gguf_get_strings(const moh__gguf *file, const char *key,
                                 moh__gguf_string **out, size_t *n,
                                 moh_error *err);
moh_status moh__gguf_get_numbers(const moh__gguf *file, const char *key,
                                 float **out, size_t *n, moh_error *err);
moh_status moh__gguf_get_integers(const moh__gguf *file, const char *key,
                                  int32_t **out, size_t *n, moh_error *err);

/* ---- writing (gguf_write.c) ---- */

/* Metadata in the making; {0} is empty. Running out of memory is told when the
 * file is written. Strings are copied. */
typedef struct moh__gguf_metadata {
  unsigned char *bytes;
  size_t n, capacity;
  uint64_t n_values;
  bool failed;
} moh__gguf_metadata;

void moh__gguf_put_u32(moh__gguf_metadata *m, const char *key, uint32_t x);
void moh__gguf_put_f32(moh__gguf_metadata *m, const char *key, float x);
void moh__gguf_put_bool(moh__gguf_metadata *m, const char *key, bool x);
void moh__gguf_put_string(moh__gguf_metadata *m, const char *key,
                          moh__gguf_string text);
void moh__gguf_put_strings(moh__gguf_metadata *m, const char *key,
                           const moh__gguf_string *texts, size_t n);
void moh__gguf_put_f32s(moh__gguf_metadata *m, const char *key,
                        const float *x, size_t n);
void moh__gguf_put_i32s(moh__gguf_metadata *m, const char *key,
                        const int32_t *x, size_t n);
void moh__gguf_metadata_free(moh__gguf_metadata *m);

/* A tensor to be written. */
typedef struct moh__gguf_item {
  char name[MOH__GGUF_NAME];
  moh__block_type type; /* one that moh__block_encode knows */
  int n_dims;
  int64_t dims[MOH__GGUF_DIMS]; /* the innermost first */
} moh__gguf_item;

/* Gives row `row` (dims[0] numbers) of an item. */
typedef void moh__gguf_row_fn(void *context, size_t item, int64_t row,
                              float *dst);

/* Writes version 3, atomically, tensors in the given order and aligned to 32
 * bytes. Adds no metadata. Stopped by the watch (NULL: none), it leaves
 * nothing. */
moh_status moh__gguf_write(const char *path, const moh__gguf_metadata *m,
                           const moh__gguf_item *items, size_t n_items,
                           moh__gguf_row_fn *row, void *context,
                           const moh__watch *watch, moh_error *err);

#endif
