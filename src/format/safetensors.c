/*
 * safetensors, strictly: whatever the header says is compared with the
 * bytes that are there before it is used. Tensors have 0 to 4 dimensions,
 * each positive, and together fill the data exactly, which leaves no room
 * for hidden or shared bytes.
 */
#include "format/safetensors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"

enum {
  LENGTH_BYTES = 8,
  ALIGNMENT = 8, /* of the data, from the file's start */
  MAX_HEADER =
      100 * 1000 * 1000 /* bytes; the limit of the Python package */
};

static const char metadata_key[] = "__metadata__";

static const struct {
  const char *name;
  size_t size; /* bytes */
} dtypes[] = {
    [MOH__F64] = {"F64", 8}, [MOH__F32] = {"F32", 4},
    [MOH__F16] = {"F16", 2}, [MOH__BF16] = {"BF16", 2},
    [MOH__I64] = {"I64", 8}, [MOH__I32] = {"I32", 4},
    [MOH__U8] = {"U8", 1},
};

size_t moh__dtype_size(moh__dtype dtype) { return dtypes[dtype].size; }

const char *moh__dtype_name(moh__dtype dtype) { return dtypes[dtype].name; }

/* ---- reading ---- */

static moh_status read_dtype(const json_t *entry, moh__dtype *dtype,
                             moh_error *err) {
  const char *text;
  MOH_TRY(moh__json_get_string(entry, "dtype", &text, err));
  for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
    if (strcmp(dtypes[i].name, text) != 0) continue;
    *dtype = (moh__dtype)i;
    return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the element type \"%.20s\" is not supported", text);
}

/* Sets shape, n and n_bytes; their product must not overflow. */
static moh_status read_shape(const json_t *entry, moh__st_tensor *tensor,
                             moh_error *err) {
  const json_t *shape = json_object_get(entry, "shape");
  if (!json_is_array(shape) || json_array_size(shape) > MOH__ST_DIMS)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"shape\" must be an array of at most %d numbers",
                     MOH__ST_DIMS);
  tensor->n_dims = (int)json_array_size(shape);
  tensor->n = 1;
  for (int i = 0; i < tensor->n_dims; i++) {
    const json_t *dim = json_array_get(shape, (size_t)i);
    int64_t size = json_is_integer(dim) ? json_integer_value(dim) : 0;
    if (size <= 0 || !moh__mul_i64(tensor->n, size, &tensor->n))
      return moh__fail(err, MOH_ERR_FORMAT,
                       "dimension %d is no positive whole number, or the "
                       "product of the dimensions is too large",
                       i);
    tensor->shape[i] = size;
  }
  if (!moh__mul_size((size_t)tensor->n, moh__dtype_size(tensor->dtype),
                     &tensor->n_bytes))
    return moh__fail(err, MOH_ERR_FORMAT, "the shape is too large");
  return MOH_OK;
}

/* The tensor's bytes lie in data and are as many as shape and type need. */
static moh_status read_range(const json_t *entry, const unsigned char *data,
                             size_t n, moh__st_tensor *tensor,
                             moh_error *err) {
  const json_t *range = json_object_get(entry, "data_offsets");
  const json_t *first = json_array_get(range, 0);
  const json_t *last = json_array_get(range, 1);
  if (json_array_size(range) != 2 || !json_is_integer(first) ||
      !json_is_integer(last))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"data_offsets\" must be two whole numbers");
  int64_t begin = json_integer_value(first), end = json_integer_value(last);
  if (begin < 0 || end < begin || (uint64_t)end > n)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the range %" PRId64 " to %" PRId64
                     " does not lie in the %zu bytes of data",
                     begin, end, n);
  if ((uint64_t)(end - begin) != tensor->n_bytes)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the range has %" PRId64
                     " bytes, but shape and type need %zu",
                     end - begin, tensor->n_bytes);
  tensor->data = data + begin;
  return MOH_OK;
}

static moh_status read_tensor(const char *name, const json_t *entry,
                              const unsigned char *data, size_t n,
                              moh__st_tensor *tensor, moh_error *err) {
  if (json_object_size(entry) != 3)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "must be an object of \"dtype\", \"shape\" and "
                     "\"data_offsets\"");
  MOH_TRY(read_dtype(entry, &tensor->dtype, err));
  MOH_TRY(read_shape(entry, tensor, err));
  MOH_TRY(read_range(entry, data, n, tensor, err));
  tensor->name = strdup(name);
  if (tensor->name != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

static moh_status check_metadata(json_t *metadata, moh_error *err) {
  const char *key;
  json_t *value;
  bool valid = json_is_object(metadata);
  json_object_foreach(metadata, key, value) {
    valid = valid && json_is_string(value);
  }
  if (valid) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" must hold only strings",
                   metadata_key);
}

static int by_offset(const void *a, const void *b) {
  const moh__st_tensor *x = a, *y = b;
  return (x->data > y->data) - (x->data < y->data);
}

/* Every byte of the data belongs to one tensor. */
static moh_status check_cover(const moh__safetensors *file,
                              const unsigned char *data, size_t n,
                              moh_error *err) {
  const unsigned char *end = data;
  for (size_t i = 0; i < file->n_tensors; i++) {
    const moh__st_tensor *tensor = &file->tensors[i];
    if (tensor->data != end)
      return moh__fail(
          err, MOH_ERR_FORMAT, "tensor '%.100s': there is %s before it",
          tensor->name, tensor->data < end ? "an overlap" : "a gap");
    end += tensor->n_bytes;
  }
  if (end == data + n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%zu bytes at the end belong to no tensor",
                   (size_t)(data + n - end));
}

static moh_status read_tensors(moh__safetensors *file, json_t *header,
                               const unsigned char *data, size_t n,
                               moh_error *err) {
  const char *key;
  json_t *entry;
  file->tensors =
      calloc(json_object_size(header) + 1, sizeof(*file->tensors));
  if (file->tensors == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  json_object_foreach(header, key, entry) {
    if (strcmp(key, metadata_key) == 0) {
      MOH_TRY(check_metadata(entry, err));
      file->metadata = json_incref(entry);
      continue;
    }
    moh_status status = read_tensor(key, entry, data, n,
                                    &file->tensors[file->n_tensors], err);
    if (status != MOH_OK)
      return moh__fail_in(err, status, "tensor '%.100s'", key);
    file->n_tensors++;
  }
  qsort(file->tensors, file->n_tensors, sizeof(*file->tensors), by_offset);
  return check_cover(file, data, n, err);
}

static uint64_t read_length(const unsigned char *bytes) {
  uint64_t length = 0;
  for (int i = LENGTH_BYTES - 1; i >= 0; i--)
    length = length << 8 | bytes[i];
  return length;
}

/* The header's JSON text within the bytes. */
static moh_status find_header(const unsigned char *bytes, size_t n,
                              size_t *length, moh_error *err) {
  if (n < LENGTH_BYTES)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "has %zu bytes, too few for a safetensors file", n);
  uint64_t stated = read_length(bytes);
  if (stated > n - LENGTH_BYTES || stated > MAX_HEADER)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the header's length is %" PRIu64
                     ", but %zu bytes follow and %d are the limit",
                     stated, n - LENGTH_BYTES, MAX_HEADER);
  *length = (size_t)stated;
  if (*length > 0 && bytes[LENGTH_BYTES] == '{') return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the header does not begin with '{': this is no "
                   "safetensors file");
}

static moh_status parse(moh__safetensors *file, const unsigned char *bytes,
                        size_t n, moh_error *err) {
  size_t length = 0;
  json_t *header;
  MOH_TRY(find_header(bytes, n, &length, err));
  MOH_TRY(moh__json_parse(&header, (const char *)bytes + LENGTH_BYTES,
                          length, "header", err));
  size_t start = LENGTH_BYTES + length;
  moh_status status =
      read_tensors(file, header, bytes + start, n - start, err);
  json_decref(header);
  return status;
}

moh_status moh__safetensors_parse(moh__safetensors **out,
                                  const unsigned char *bytes, size_t n,
                                  const char *name, moh_error *err) {
  *out = NULL;
  moh__safetensors *file = calloc(1, sizeof(*file));
  if (file == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "%s: out of memory", name);
  moh_status status = parse(file, bytes, n, err);
  if (status == MOH_OK) {
    *out = file;
    return MOH_OK;
  }
  moh__safetensors_close(file);
  return moh__fail_in(err, status, "%s", name);
}

moh_status moh__safetensors_open(moh__safetensors **out, const char *path,
                                 moh_error *err) {
  *out = NULL;
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status =
      moh__safetensors_parse(out, map.bytes, map.size, path, err);
  if (status == MOH_OK)
    (*out)->map = map;
  else
    moh__map_close(&map);
  return status;
}

void moh__safetensors_close(moh__safetensors *file) {
  if (file == NULL) return;
  for (size_t i = 0; i < file->n_tensors; i++) free(file->tensors[i].name);
  free(file->tensors);
  json_decref(file->metadata);
  moh__map_close(&file->map);
  free(file);
}

const moh__st_tensor *moh__safetensors_find(const moh__safetensors *file,
                                            const char *name) {
  for (size_t i = 0; i < file->n_tensors; i++)
    if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
  return NULL;
}

/* ---- writing ---- */

static bool item_bytes(const moh__st_item *item, size_t *n_bytes) {
  *n_bytes = moh__dtype_size(item->dtype);
  for (int i = 0; i < item->n_dims; i++)
    if (item->shape[i] <= 0 ||
        !moh__mul_size(*n_bytes, (size_t)item->shape[i], n_bytes))
      return false;
  return item->n_dims >= 0 && item->n_dims <= MOH__ST_DIMS;
}

static json_t *item_to_json(const moh__st_item *item, size_t begin,
                            size_t end) {
  json_t *shape = json_array();
  int failed = 0;
  for (int i = 0; i < item->n_dims; i++)
    failed |= json_array_append_new(shape, json_integer(item->shape[i]));
  json_t *entry = json_pack(
      "{s:s, s:o, s:[I,I]}", "dtype", moh__dtype_name(item->dtype), "shape",
      shape, "data_offsets", (json_int_t)begin, (json_int_t)end);
  if (failed == 0) return entry;
  json_decref(entry);
  return NULL;
}

/* Adds one tensor's entry; *end moves behind its bytes. */
static moh_status describe(json_t *header, const moh__st_item *item,
                           size_t *end, moh_error *err) {
  size_t begin = *end, n_bytes;
  if (json_object_get(header, item->name) != NULL ||
      strcmp(item->name, metadata_key) == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "the tensor name '%s' is taken",
                     item->name);
  if (!item_bytes(item, &n_bytes) || !moh__add_size(begin, n_bytes, end) ||
      *end > INT64_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "tensor '%s' has a shape that cannot be written",
                     item->name);
  json_t *entry = item_to_json(item, begin, *end);
  if (json_object_set_new(header, item->name, entry) == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY,
                   "out of memory, or '%s' is not UTF-8", item->name);
}

static moh_status make_header(const moh__st_item *items, size_t n_items,
                              const json_t *metadata, json_t *header,
                              moh_error *err) {
  size_t end = 0;
  if (metadata != NULL) {
    json_t *copy = json_deep_copy(metadata);
    if (json_object_set_new(header, metadata_key, copy) != 0)
      return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
    MOH_TRY(check_metadata(copy, err));
  }
  for (size_t i = 0; i < n_items; i++)
    MOH_TRY(describe(header, &items[i], &end, err));
  return MOH_OK;
}

/* The length, the header, and blanks up to the data's alignment. */
static moh_status put_header(moh__writer *writer, const char *text,
                             moh_error *err) {
  static const char blanks[ALIGNMENT] = "        ";
  unsigned char length[LENGTH_BYTES];
  size_t n = strlen(text);
  size_t padded = (size_t)moh__round_up((int64_t)n, ALIGNMENT);
  for (int i = 0; i < LENGTH_BYTES; i++)
    length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
  MOH_TRY(moh__writer_put(writer, length, LENGTH_BYTES, err));
  MOH_TRY(moh__writer_put(writer, text, n, err));
  return moh__writer_put(writer, blanks, padded - n, err);
}

static moh_status put_data(moh__writer *writer, const unsigned char *data,
                           size_t n, const moh__watch *watch,
                           moh_error *err) {
  const size_t most = 1 << 24;
  for (size_t done = 0; done < n; done += most) {
    size_t part = n - done < most ? n - done : most;
    MOH_TRY(moh__watch_ask(watch, part, err));
    MOH_TRY(moh__writer_put(writer, data + done, part, err));
  }
  return MOH_OK;
}

static moh_status put_all(moh__writer *writer, const char *text,
                          const moh__st_item *items, size_t n_items,
                          const moh__watch *watch, moh_error *err) {
  MOH_TRY(put_header(writer, text, err));
  for (size_t i = 0; i < n_items; i++) {
    size_t n_bytes = 0;
    item_bytes(&items[i], &n_bytes); /* checked when it was described */
    MOH_TRY(put_data(writer, items[i].data, n_bytes, watch, err));
  }
  return MOH_OK;
}

static moh_status write_file(const char *path, const char *text,
                             const moh__st_item *items, size_t n_items,
                             const moh__watch *watch, moh_error *err) {
  moh__writer *writer;
  if (text == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  MOH_TRY(moh__writer_open(&writer, path, err));
  moh_status status = put_all(writer, text, items, n_items, watch, err);
  if (status == MOH_OK) return moh__writer_commit(writer, err);
  moh__writer_discard(writer);
  return status;
}

moh_status moh__safetensors_write(const char *path,
                                  const moh__st_item *items, size_t n_items,
                                  const json_t *metadata, moh_error *err) {
  return moh__safetensors_write_watched(path, items, n_items, metadata, NULL,
                                        err);
}

moh_status moh__safetensors_write_watched(const char *path,
                                          const moh__st_item *items,
                                          size_t n_items,
                                          const json_t *metadata,
                                          const moh__watch *watch,
                                          moh_error *err) {
  json_t *header = json_object();
  moh_status status = make_header(items, n_items, metadata, header, err);
  if (status == MOH_OK) {
    char *text = json_dumps(header, JSON_COMPACT);
    status = write_file(path, text, items, n_items, watch, err);
    free(text);
  } else {
    status = moh__fail_in(err, status, "%s", path);
  }
  json_decref(header);
  return status;
}
