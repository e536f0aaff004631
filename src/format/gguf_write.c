/*
 * Writing of GGUF, version 3. Metadata is collected as the bytes of the file;
 * tensors are asked for row by row and encoded on the way, so that a file may
 * be larger than memory.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "format/gguf.h"

/* ---- bytes ---- */

static void put(moh__gguf_metadata *m, const void *bytes, size_t n) {
  size_t need;
  if (m->failed || n == 0) return;
  if (!moh__add_size(m->n, n, &need) || need > SIZE_MAX / 2) {
    m->failed = true;
    return;
  }
  if (m->bytes == NULL || need > m->capacity) {
    size_t capacity = need < 1024 ? 1024 : 2 * need;
    unsigned char *grown = realloc(m->bytes, capacity);
    m->failed = grown == NULL;
    if (m->failed) return;
    m->bytes = grown;
    m->capacity = capacity;
  }
  memcpy(m->bytes + m->n, bytes, n);
  m->n = need;
}

static void put_number(moh__gguf_metadata *m, uint64_t x, int n) {
  unsigned char bytes[8];
  for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(x >> 8 * i);
  put(m, bytes, (size_t)n);
}

static void put_text(moh__gguf_metadata *m, const char *bytes, size_t n) {
  put_number(m, n, 8);
  put(m, bytes, n);
}

/* ---- metadata ---- */

static void put_key(moh__gguf_metadata *m, const char *key,
                    moh__gguf_kind kind) {
  put_text(m, key, strlen(key));
  put_number(m, kind, 4);
  m->n_values++;
}

static void put_array(moh__gguf_metadata *m, const char *key,
                      moh__gguf_kind element, size_t n) {
  put_key(m, key, MOH__GGUF_ARRAY);
  put_number(m, element, 4);
  put_number(m, n, 8);
}

void moh__gguf_put_u32(moh__gguf_metadata *m, const char *key, uint32_t x) {
  put_key(m, key, MOH__GGUF_U32);
  put_number(m, x, 4);
}

void moh__gguf_put_f32(moh__gguf_metadata *m, const char *key, float x) {
  put_key(m, key, MOH__GGUF_F32);
  put(m, &x, sizeof(x));
}

void moh__gguf_put_bool(moh__gguf_metadata *m, const char *key, bool x) {
  put_key(m, key, MOH__GGUF_BOOL);
  put_number(m, x, 1);
}

void moh__gguf_put_string(moh__gguf_metadata *m, const char *key,
                          moh__gguf_string text) {
  put_key(m, key, MOH__GGUF_STRING);
  put_text(m, text.bytes, text.n);
}

void moh__gguf_put_strings(moh__gguf_metadata *m, const char *key,
                           const moh__gguf_string *texts, size_t n) {
  put_array(m, key, MOH__GGUF_STRING, n);
  for (size_t i = 0; i < n; i++) put_text(m, texts[i].bytes, texts[i].n);
}

void moh__gguf_put_f32s(moh__gguf_metadata *m, const char *key,
                        const float *x, size_t n) {
  put_array(m, key, MOH__GGUF_F32, n);
  put(m, x, n * sizeof(*x));
}

void moh__gguf_put_i32s(moh__gguf_metadata *m, const char *key,
                        const int32_t *x, size_t n) {
  put_array(m, key, MOH__GGUF_I32, n);
  put(m, x, n * sizeof(*x));
}

void moh__gguf_metadata_free(moh__gguf_metadata *m) {
  free(m->bytes);
  *m = (moh__gguf_metadata){0};
}

/* ---- tensors ---- */

static uint32_t number_of(moh__block_type type) {
  static const uint32_t numbers[] = {
      [MOH__BLOCK_F32] = 0,   [MOH__BLOCK_F16] = 1,  [MOH__BLOCK_BF16] = 30,
      [MOH__BLOCK_Q8_0] = 8,  [MOH__BLOCK_Q4_0] = 2, [MOH__BLOCK_Q4_1] = 3,
      [MOH__BLOCK_Q5_0] = 6,  [MOH__BLOCK_Q5_1] = 7, [MOH__BLOCK_Q4_K] = 12,
      [MOH__BLOCK_Q5_K] = 13, [MOH__BLOCK_Q6_K] = 14};
  return numbers[type];
}

typedef struct sizes {
  int64_t n_rows, row, all; /* bytes of one and of all */
} sizes;

static bool measure(const moh__gguf_item *item, sizes *s) {
  s->n_rows = 1;
  if (item->n_dims < 1 || item->n_dims > MOH__GGUF_DIMS) return false;
  for (int i = 0; i < item->n_dims; i++)
    if (item->dims[i] < 1 ||
        (i > 0 && !moh__mul_i64(s->n_rows, item->dims[i], &s->n_rows)))
      return false;
  return moh__block_encodes(item->type) &&
         moh__block_row_bytes(item->type, item->dims[0], &s->row) &&
         moh__mul_i64(s->n_rows, s->row, &s->all);
}

static moh_status describe(moh__gguf_metadata *head,
                           const moh__gguf_item *item, int64_t *offset,
                           moh_error *err) {
  sizes s;
  int64_t end;
  if (!measure(item, &s) || !moh__add_i64(*offset, s.all, &end) ||
      end > INT64_MAX - MOH__GGUF_ALIGNMENT)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "tensor '%s' cannot be written as %s: rows have "
                     "%" PRId64 " numbers",
                     item->name, moh__block_name(item->type), item->dims[0]);
  put_text(head, item->name, strlen(item->name));
  put_number(head, (uint64_t)item->n_dims, 4);
  for (int i = 0; i < item->n_dims; i++)
    put_number(head, (uint64_t)item->dims[i], 8);
  put_number(head, number_of(item->type), 4);
  put_number(head, (uint64_t)*offset, 8);
  *offset = moh__round_up(end, MOH__GGUF_ALIGNMENT);
  return MOH_OK;
}

static moh_status make_head(moh__gguf_metadata *head,
                            const moh__gguf_metadata *m,
                            const moh__gguf_item *items, size_t n_items,
                            moh_error *err) {
  static const unsigned char zeros[MOH__GGUF_ALIGNMENT];
  int64_t offset = 0;
  put(head, "GGUF", 4);
  put_number(head, 3, 4);
  put_number(head, n_items, 8);
  put_number(head, m->n_values, 8);
  put(head, m->bytes, m->n);
  for (size_t i = 0; i < n_items; i++)
    MOH_TRY(describe(head, &items[i], &offset, err));
  put(head, zeros, -head->n % MOH__GGUF_ALIGNMENT);
  if (!m->failed && !head->failed) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

typedef struct rows {
  moh__gguf_row_fn *fn;
  void *context;
  float *numbers;       /* of one row */
  unsigned char *bytes; /* the same, encoded */
  const moh__watch *watch;
} rows;

static moh_status write_tensor(moh__writer *writer, const rows *r,
                               const moh__gguf_item *item, size_t index,
                               moh_error *err) {
  static const unsigned char zeros[MOH__GGUF_ALIGNMENT];
  sizes s;
  measure(item, &s); /* checked when it was described */
  for (int64_t i = 0; i < s.n_rows; i++) {
    MOH_TRY(moh__watch_ask(r->watch, (size_t)s.row, err));
    r->fn(r->context, index, i, r->numbers);
    moh__block_encode(item->type, r->numbers, item->dims[0], r->bytes);
    MOH_TRY(moh__writer_put(writer, r->bytes, (size_t)s.row, err));
  }
  size_t pad = (size_t)(-(uint64_t)s.all % MOH__GGUF_ALIGNMENT);
  return moh__writer_put(writer, zeros, pad, err);
}

static moh_status write_all(moh__writer *writer,
                            const moh__gguf_metadata *head,
                            const moh__gguf_item *items, size_t n_items,
                            const rows *r, moh_error *err) {
  MOH_TRY(moh__writer_put(writer, head->bytes, head->n, err));
  for (size_t i = 0; i < n_items; i++)
    MOH_TRY(write_tensor(writer, r, &items[i], i, err));
  return MOH_OK;
}

/* Room for the longest row; encoded it is no longer, 4 bytes an element. */
static moh_status make_rows(rows *r, const moh__gguf_item *items,
                            size_t n_items, moh_error *err) {
  int64_t most = 1;
  for (size_t i = 0; i < n_items; i++)
    if (items[i].dims[0] > most) most = items[i].dims[0];
  r->numbers = calloc((size_t)most, sizeof(float));
  r->bytes = calloc((size_t)most, 4);
  if (r->numbers != NULL && r->bytes != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

static moh_status write_file(const char *path, const moh__gguf_metadata *head,
                             const moh__gguf_item *items, size_t n_items,
                             const rows *r, moh_error *err) {
  moh__writer *writer;
  MOH_TRY(moh__writer_open(&writer, path, err));
  moh_status status = write_all(writer, head, items, n_items, r, err);
  if (status == MOH_OK) return moh__writer_commit(writer, err);
  moh__writer_discard(writer);
  return status;
}

moh_status moh__gguf_write(const char *path, const moh__gguf_metadata *m,
                           const moh__gguf_item *items, size_t n_items,
                           moh__gguf_row_fn *row, void *context,
                           const moh__watch *watch, moh_error *err) {
  moh__gguf_metadata head = {0};
  rows r = {.fn = row, .context = context, .watch = watch};
  moh_status status = make_head(&head, m, items, n_items, err);
  if (status == MOH_OK) status = make_rows(&r, items, n_items, err);
  if (status == MOH_OK)
    status = write_file(path, &head, items, n_items, &r, err);
  else
    status = moh__fail_in(err, status, "%s", path);
  moh__gguf_metadata_free(&head);
  free(r.numbers);
  free(r.bytes);
  return status;
}
