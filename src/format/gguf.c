/*
 * Reading of GGUF. A cursor walks once over the head of the file; it hands
 * out bytes only after it has seen that so many are left.
 */
#include "format/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* The least bytes of a value (length of the key, one byte of it, kind, one
 * byte) and of a tensor (length, one byte, dimensions, one of them, type,
 * offset), and of a string. */
enum { LEAST_VALUE = 14, LEAST_TENSOR = 33, LEAST_STRING = 8 };
enum { MAX_KEY = 65535 };

static const struct {
  const char *name;
  size_t n_bytes; /* 0: no fixed size */
} kinds[MOH__GGUF_KINDS] = {
    [MOH__GGUF_U8] = {"u8", 1},         [MOH__GGUF_I8] = {"i8", 1},
    [MOH__GGUF_U16] = {"u16", 2},       [MOH__GGUF_I16] = {"i16", 2},
    [MOH__GGUF_U32] = {"u32", 4},       [MOH__GGUF_I32] = {"i32", 4},
    [MOH__GGUF_F32] = {"f32", 4},       [MOH__GGUF_BOOL] = {"bool", 1},
    [MOH__GGUF_STRING] = {"string", 0}, [MOH__GGUF_ARRAY] = {"array", 0},
    [MOH__GGUF_U64] = {"u64", 8},       [MOH__GGUF_I64] = {"i64", 8},
    [MOH__GGUF_F64] = {"f64", 8},
};

const char *moh__gguf_kind_name(moh__gguf_kind kind) {
  return kinds[kind].name;
}

size_t moh__gguf_kind_bytes(moh__gguf_kind kind) {
  return kinds[kind].n_bytes;
}

/* Types of tensors by their numbers in files; those without a block type have
 * a name for the message only. */
static const struct {
  const char *name;
  bool known;
  moh__block_type type;
} tensor_types[] = {
    [0] = {"F32", true, MOH__BLOCK_F32},
    [1] = {"F16", true, MOH__BLOCK_F16},
    [2] = {"Q4_0", true, MOH__BLOCK_Q4_0},
    [3] = {"Q4_1", true, MOH__BLOCK_Q4_1},
    [6] = {"Q5_0", true, MOH__BLOCK_Q5_0},
    [7] = {"Q5_1", true, MOH__BLOCK_Q5_1},
    [8] = {"Q8_0", true, MOH__BLOCK_Q8_0},
    [9] = {"Q8_1", false, 0},
    [10] = {"Q2_K", false, 0},
    [11] = {"Q3_K", false, 0},
    [12] = {"Q4_K", true, MOH__BLOCK_Q4_K},
    [13] = {"Q5_K", true, MOH__BLOCK_Q5_K},
    [14] = {"Q6_K", true, MOH__BLOCK_Q6_K},
    [15] = {"Q8_K", false, 0},
    [16] = {"IQ2_XXS", false, 0},
    [17] = {"IQ2_XS", false, 0},
    [18] = {"IQ3_XXS", false, 0},
    [19] = {"IQ1_S", false, 0},
    [20] = {"IQ4_NL", false, 0},
    [21] = {"IQ3_S", false, 0},
    [22] = {"IQ2_S", false, 0},
    [23] = {"IQ4_XS", false, 0},
    [24] = {"I8", false, 0},
    [25] = {"I16", false, 0},
    [26] = {"I32", false, 0},
    [27] = {"I64", false, 0},
    [28] = {"F64", false, 0},
    [29] = {"IQ1_M", false, 0},
    [30] = {"BF16", true, MOH__BLOCK_BF16},
};
enum { N_TENSOR_TYPES = sizeof(tensor_types) / sizeof(tensor_types[0]) };

/* ---- bytes ---- */

typedef struct cursor {
  const unsigned char *bytes;
  size_t n, at;
  moh_error *err;
} cursor;

static size_t left(const cursor *c) { return c->n - c->at; }

/* The next n bytes. */
static moh_status take(cursor *c, size_t n, const char *what,
                       const unsigned char **out) {
  if (n > left(c))
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "ends within %s: at byte %zu of %zu, %zu more are "
                     "needed",
                     what, c->at, c->n, n);
  *out = c->bytes + c->at;
  c->at += n;
  return MOH_OK;
}

static uint64_t number_at(const unsigned char *at, int n) {
  uint64_t x = 0;
  for (int i = n - 1; i >= 0; i--) x = x << 8 | at[i];
  return x;
}

static moh_status take_u32(cursor *c, const char *what, uint32_t *out) {
  const unsigned char *at = NULL;
  MOH_TRY(take(c, 4, what, &at));
  *out = (uint32_t)number_at(at, 4);
  return MOH_OK;
}

static moh_status take_u64(cursor *c, const char *what, uint64_t *out) {
  const unsigned char *at = NULL;
  MOH_TRY(take(c, 8, what, &at));
  *out = number_at(at, 8);
  return MOH_OK;
}

/* A number of things that have at least `least` bytes each. */
static moh_status take_count(cursor *c, size_t least, const char *what,
                             size_t *out) {
  uint64_t n = 0;
  size_t at = c->at;
  MOH_TRY(take_u64(c, what, &n));
  if (n > left(c) / least)
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "%s is %" PRIu64
                     " (at byte %zu), but only %zu bytes "
                     "follow",
                     what, n, at, left(c));
  *out = (size_t)n;
  return MOH_OK;
}

static moh_status take_string(cursor *c, const char *what,
                              moh__gguf_string *out) {
  const unsigned char *at = NULL;
  MOH_TRY(take_count(c, 1, what, &out->n));
  MOH_TRY(take(c, out->n, what, &at));
  out->bytes = (const char *)at;
  return MOH_OK;
}

/* A key or a tensor's name: fit for messages. */
static moh_status take_name(cursor *c, const char *what, size_t most,
                            moh__gguf_string *out) {
  size_t at = c->at;
  MOH_TRY(take_string(c, what, out));
  bool fit = out->n > 0 && out->n <= most;
  for (size_t i = 0; fit && i < out->n; i++) {
    unsigned char byte = (unsigned char)out->bytes[i];
    fit = byte >= ' ' && byte != 127;
  }
  if (fit) return MOH_OK;
  return moh__fail(c->err, MOH_ERR_FORMAT,
                   "%s at byte %zu is empty, longer than %zu bytes, or has "
                   "control characters",
                   what, at, most);
}

/* ---- metadata ---- */

static moh_status take_kind(cursor *c, moh__gguf_kind *out) {
  uint32_t kind = 0;
  MOH_TRY(take_u32(c, "the kind of a value", &kind));
  if (kind >= MOH__GGUF_KINDS)
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "at byte %zu: %" PRIu32 " is no kind of value",
                     c->at - 4, kind);
  *out = (moh__gguf_kind)kind;
  return MOH_OK;
}

static moh_status skip_strings(cursor *c, size_t n) {
  moh__gguf_string string;
  for (size_t i = 0; i < n; i++)
    MOH_TRY(take_string(c, "the length of a string", &string));
  return MOH_OK;
}

static moh_status skip_bools(cursor *c, size_t n) {
  const unsigned char *at = NULL;
  MOH_TRY(take(c, n, "a value", &at));
  for (size_t i = 0; i < n; i++)
    if (at[i] > 1)
      return moh__fail(c->err, MOH_ERR_FORMAT,
                       "at byte %zu: a bool is %d, not 0 or 1", c->at - n + i,
                       at[i]);
  return MOH_OK;
}

/* n elements of one kind. */
static moh_status skip_elements(cursor *c, moh__gguf_kind kind, size_t n) {
  const unsigned char *at = NULL;
  size_t n_bytes;
  if (kind == MOH__GGUF_STRING) return skip_strings(c, n);
  if (kind == MOH__GGUF_BOOL) return skip_bools(c, n);
  if (!moh__mul_size(n, kinds[kind].n_bytes, &n_bytes))
    return moh__fail(c->err, MOH_ERR_FORMAT, "an array is too large");
  return take(c, n_bytes, "a value", &at);
}

static moh_status take_array_head(cursor *c, moh__gguf_value *value) {
  MOH_TRY(take_kind(c, &value->element));
  if (value->element == MOH__GGUF_ARRAY)
    return moh__fail(c->err, MOH_ERR_UNSUPPORTED,
                     "at byte %zu: arrays of arrays are not supported",
                     c->at - 4);
  size_t least = value->element == MOH__GGUF_STRING
                     ? LEAST_STRING
                     : kinds[value->element].n_bytes;
  return take_count(c, least, "the length of an array", &value->n);
}

static moh_status take_value(cursor *c, moh__gguf_value *value) {
  MOH_TRY(take_kind(c, &value->kind));
  value->element = value->kind;
  value->n = 1;
  if (value->kind == MOH__GGUF_ARRAY) MOH_TRY(take_array_head(c, value));
  value->at = c->bytes + c->at;
  return skip_elements(c, value->element, value->n);
}

static moh_status take_values(cursor *c, moh__gguf *file, size_t n) {
  file->values = calloc(n + 1, sizeof(*file->values));
  if (file->values == NULL)
    return moh__fail(c->err, MOH_ERR_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    moh__gguf_value *value = &file->values[i];
    MOH_TRY(take_name(c, "a key", MAX_KEY, &value->key));
    moh_status status = take_value(c, value);
    if (status != MOH_OK)
      return moh__fail_in(c->err, status, "key '%.*s'",
                          (int)(value->key.n < 100 ? value->key.n : 100),
                          value->key.bytes);
    file->n_values++;
  }
  return MOH_OK;
}

/* ---- tensors ---- */

static moh_status take_dims(cursor *c, moh__gguf_tensor *tensor) {
  uint32_t n = 0;
  MOH_TRY(take_u32(c, "a number of dimensions", &n));
  if (n < 1 || n > MOH__GGUF_DIMS)
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "has %" PRIu32 " dimensions, not 1 to %d", n,
                     MOH__GGUF_DIMS);
  tensor->n_dims = (int)n;
  tensor->n = 1;
  for (int i = 0; i < MOH__GGUF_DIMS; i++) tensor->dims[i] = 1;
  for (int i = 0; i < tensor->n_dims; i++) {
    uint64_t dim = 0;
    MOH_TRY(take_u64(c, "a dimension", &dim));
    if (dim < 1 || dim > INT64_MAX ||
        !moh__mul_i64(tensor->n, (int64_t)dim, &tensor->n))
      return moh__fail(c->err, MOH_ERR_FORMAT,
                       "dimension %d is 0, or the product of the dimensions "
                       "is too large",
                       i);
    tensor->dims[i] = (int64_t)dim;
  }
  return MOH_OK;
}

static moh_status take_type(cursor *c, moh__gguf_tensor *tensor) {
  uint32_t type = 0;
  MOH_TRY(take_u32(c, "a tensor's type", &type));
  const char *name = type < N_TENSOR_TYPES ? tensor_types[type].name : NULL;
  if (name != NULL && tensor_types[type].known) {
    tensor->type = tensor_types[type].type;
    return MOH_OK;
  }
  return moh__fail(c->err, MOH_ERR_UNSUPPORTED,
                   "the type %s (%" PRIu32
                   ") is not supported: known are "
                   "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K "
                   "and Q6_K",
                   name != NULL ? name : "of an unknown number", type);
}

/* Rows are whole blocks, and the bytes of all are a number. */
static moh_status set_size(cursor *c, moh__gguf_tensor *tensor) {
  int64_t row, n_bytes;
  if (!moh__block_row_bytes(tensor->type, tensor->dims[0], &row) ||
      !moh__mul_i64(row, tensor->n / tensor->dims[0], &n_bytes))
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "rows of %" PRId64
                     " numbers are no whole blocks of "
                     "%s, or too large",
                     tensor->dims[0], moh__block_name(tensor->type));
  tensor->n_bytes = (size_t)n_bytes;
  return MOH_OK;
}

static moh_status take_tensor(cursor *c, moh__gguf_tensor *tensor,
                              uint64_t *offset) {
  MOH_TRY(take_dims(c, tensor));
  MOH_TRY(take_type(c, tensor));
  MOH_TRY(take_u64(c, "a tensor's offset", offset));
  return set_size(c, tensor);
}

static moh_status take_tensors(cursor *c, moh__gguf *file, size_t n,
                               uint64_t *offsets) {
  for (size_t i = 0; i < n; i++) {
    moh__gguf_tensor *tensor = &file->tensors[i];
    moh__gguf_string name;
    MOH_TRY(take_name(c, "a tensor's name", MOH__GGUF_NAME - 1, &name));
    memcpy(tensor->name, name.bytes, name.n);
    moh_status status = take_tensor(c, tensor, &offsets[i]);
    if (status != MOH_OK)
      return moh__fail_in(c->err, status, "tensor '%s'", tensor->name);
    file->n_tensors++;
  }
  return MOH_OK;
}

/* ---- where the tensors lie ---- */

static moh_status read_alignment(moh__gguf *file, moh_error *err) {
  static const char key[] = "general.alignment";
  int64_t alignment = MOH__GGUF_ALIGNMENT;
  if (moh__gguf_find(file, key) != NULL)
    MOH_TRY(moh__gguf_get_integer(file, key, &alignment, err));
  if (alignment < 1 || alignment > MOH__GGUF_MAX_ALIGN ||
      (alignment & (alignment - 1)) != 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s is %" PRId64 ", no power of two up to %d", key,
                     alignment, MOH__GGUF_MAX_ALIGN);
  file->alignment = (size_t)alignment;
  return MOH_OK;
}

static moh_status place_tensor(const moh__gguf *file,
                               moh__gguf_tensor *tensor, uint64_t offset,
                               const unsigned char *data, size_t n,
                               moh_error *err) {
  if (offset % file->alignment != 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "tensor '%s': the offset %" PRIu64
                     " is no multiple of the alignment %zu",
                     tensor->name, offset, file->alignment);
  if (offset > n || tensor->n_bytes > n - (size_t)offset)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "tensor '%s': %zu bytes at offset %" PRIu64
                     " do not lie in the %zu bytes of data; is the file "
                     "complete?",
                     tensor->name, tensor->n_bytes, offset, n);
  tensor->data = data + offset;
  return MOH_OK;
}

static int by_place(const void *a, const void *b) {
  const moh__gguf_tensor *x = *(moh__gguf_tensor *const *)a;
  const moh__gguf_tensor *y = *(moh__gguf_tensor *const *)b;
  return (x->data > y->data) - (x->data < y->data);
}

static int by_name(const void *a, const void *b) {
  const moh__gguf_tensor *x = *(moh__gguf_tensor *const *)a;
  const moh__gguf_tensor *y = *(moh__gguf_tensor *const *)b;
  return strcmp(x->name, y->name);
}

static int by_key(const void *a, const void *b) {
  const moh__gguf_value *x = *(moh__gguf_value *const *)a;
  const moh__gguf_value *y = *(moh__gguf_value *const *)b;
  size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
  int order = memcmp(x->key.bytes, y->key.bytes, n);
  return order != 0 ? order : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

static moh_status sort_names(moh__gguf *file, moh_error *err) {
  size_t n = file->n_tensors;
  const moh__gguf_tensor **sorted = calloc(n + 1, sizeof(*sorted));
  if (sorted == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  file->by_name = sorted;
  for (size_t i = 0; i < n; i++) sorted[i] = &file->tensors[i];
  qsort(sorted, n, sizeof(*sorted), by_name);
  for (size_t i = 1; i < n; i++)
    if (by_name(&sorted[i - 1], &sorted[i]) == 0)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "there are two tensors of the name '%s'",
                       sorted[i]->name);
  return MOH_OK;
}

/* sorted: room for pointers to the tensors. */
static moh_status check_places(const moh__gguf *file,
                               const moh__gguf_tensor **sorted,
                               moh_error *err) {
  size_t n = file->n_tensors;
  for (size_t i = 0; i < n; i++) sorted[i] = &file->tensors[i];
  qsort(sorted, n, sizeof(*sorted), by_place);
  for (size_t i = 1; i < n; i++)
    if (sorted[i - 1]->data + sorted[i - 1]->n_bytes > sorted[i]->data)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "tensors '%s' and '%s' share bytes",
                       sorted[i - 1]->name, sorted[i]->name);
  return MOH_OK;
}

/* sorted: room for pointers to the values. */
static moh_status check_keys(const moh__gguf *file,
                             const moh__gguf_value **sorted, moh_error *err) {
  size_t n = file->n_values;
  for (size_t i = 0; i < n; i++) sorted[i] = &file->values[i];
  qsort(sorted, n, sizeof(*sorted), by_key);
  for (size_t i = 1; i < n; i++)
    if (by_key(&sorted[i - 1], &sorted[i]) == 0)
      return moh__fail(err, MOH_ERR_FORMAT, "the key '%.*s' is there twice",
                       (int)(sorted[i]->key.n < 100 ? sorted[i]->key.n : 100),
                       sorted[i]->key.bytes);
  return MOH_OK;
}

/* From the end of the head on: the data, and the tensors in it. */
static moh_status place_tensors(cursor *c, moh__gguf *file,
                                const uint64_t *offsets) {
  size_t pad = (file->alignment - c->at % file->alignment) % file->alignment;
  size_t skip = pad < left(c) ? pad : left(c);
  c->at += skip;
  for (size_t i = 0; i < file->n_tensors; i++)
    MOH_TRY(place_tensor(file, &file->tensors[i], offsets[i],
                         c->bytes + c->at, left(c), c->err));
  return MOH_OK;
}

/* ---- the file ---- */

static moh_status take_head(cursor *c, size_t *n_tensors, size_t *n_values) {
  const unsigned char *magic = NULL;
  uint32_t version = 0;
  MOH_TRY(take(c, 4, "the head", &magic));
  if (memcmp(magic, "GGUF", 4) != 0)
    return moh__fail(c->err, MOH_ERR_FORMAT,
                     "does not begin with \"GGUF\": this is no GGUF file");
  MOH_TRY(take_u32(c, "the version", &version));
  if (version != 2 && version != 3)
    return moh__fail(
        c->err, MOH_ERR_UNSUPPORTED,
        "has version %" PRIu32 "%s; known are 2 and 3", version,
        version != 0 && version % 65536 == 0 ? ", or is big-endian" : "");
  MOH_TRY(take_count(c, LEAST_TENSOR, "the number of tensors", n_tensors));
  return take_count(c, LEAST_VALUE, "the number of values", n_values);
}

/* Room for n_values and n_tensors pointers, and as many offsets. */
static moh_status parse_rest(cursor *c, moh__gguf *file, size_t n_tensors,
                             uint64_t *offsets, void *sorted) {
  MOH_TRY(check_keys(file, sorted, c->err));
  MOH_TRY(read_alignment(file, c->err));
  MOH_TRY(take_tensors(c, file, n_tensors, offsets));
  MOH_TRY(place_tensors(c, file, offsets));
  MOH_TRY(sort_names(file, c->err));
  return check_places(file, sorted, c->err);
}

static moh_status parse(cursor *c, moh__gguf *file) {
  size_t n_tensors = 0, n_values = 0;
  MOH_TRY(take_head(c, &n_tensors, &n_values));
  MOH_TRY(take_values(c, file, n_values));
  size_t most = n_tensors > n_values ? n_tensors : n_values;
  uint64_t *offsets = calloc(n_tensors + 1, sizeof(*offsets));
  void *sorted = calloc(most + 1, sizeof(void *));
  file->tensors = calloc(n_tensors + 1, sizeof(*file->tensors));
  moh_status status =
      offsets == NULL || sorted == NULL || file->tensors == NULL
          ? moh__fail(c->err, MOH_ERR_MEMORY, "out of memory")
          : parse_rest(c, file, n_tensors, offsets, sorted);
  free(offsets);
  free(sorted);
  return status;
}

moh_status moh__gguf_parse(moh__gguf **out, const unsigned char *bytes,
                           size_t n, const char *name, moh_error *err) {
  *out = NULL;
  moh__gguf *file = calloc(1, sizeof(*file));
  if (file == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "%s: out of memory", name);
  file->path = name;
  cursor c = {bytes, n, 0, err};
  moh_status status = parse(&c, file);
  if (status == MOH_OK) {
    *out = file;
    return MOH_OK;
  }
  moh__gguf_close(file);
  return moh__fail_in(err, status, "%s", name);
}

moh_status moh__gguf_open(moh__gguf **out, const char *path, moh_error *err) {
  *out = NULL;
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__gguf_parse(out, map.bytes, map.size, path, err);
  if (status == MOH_OK)
    (*out)->map = map;
  else
    moh__map_close(&map);
  return status;
}

bool moh__gguf_is(const char *path) {
  moh__map map;
  moh_error why;
  if (moh__map_open(&map, path, &why) != MOH_OK) return false;
  bool found = map.size >= 4 && memcmp(map.bytes, "GGUF", 4) == 0;
  moh__map_close(&map);
  return found;
}

void moh__gguf_close(moh__gguf *file) {
  if (file == NULL) return;
  free(file->values);
  free(file->tensors);
  free(file->by_name);
  moh__map_close(&file->map);
  free(file);
}

const moh__gguf_value *moh__gguf_find(const moh__gguf *file,
                                      const char *key) {
  size_t n = strlen(key);
  for (size_t i = 0; i < file->n_values; i++) {
    const moh__gguf_string *k = &file->values[i].key;
    if (k->n == n && memcmp(k->bytes, key, n) == 0) return &file->values[i];
  }
  return NULL;
}

const moh__gguf_tensor *moh__gguf_find_tensor(const moh__gguf *file,
                                              const char *name) {
  size_t begin = 0, end = file->n_tensors;
  while (begin < end) {
    size_t middle = begin + (end - begin) / 2;
    int order = strcmp(file->by_name[middle]->name, name);
    if (order == 0) return file->by_name[middle];
    if (order < 0)
      begin = middle + 1;
    else
      end = middle;
  }
  return NULL;
}
