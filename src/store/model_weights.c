/*
 * The tensors of a model directory: written as numbers or as rows of blocks,
 * and mapped again. What lies well in the file is used where it lies.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/checked.h"
#include "store/fit.h"
#include "store/model_parts.h"

enum { ALIGN_ELEMENTS = MOH__ALIGN / sizeof(real) };

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a model");
}

/* ---- what a parameter is stored as ---- */

static moh__block_type stored_type(const moh__param *param) {
  return param->stored != NULL ? param->stored_type : MOH__BLOCK_F32;
}

/* When the model is to be saved in `wanted`. */
static moh__block_type type_for(const moh__param *param,
                                moh__block_type wanted) {
  if (wanted == MOH__BLOCK_F32) return stored_type(param);
  return moh__param_stores(param, wanted) ? wanted : MOH__BLOCK_F32;
}

static bool is_packed(moh__block_type type) {
  return moh__block_elements(type) > 1;
}

static moh__dtype dtype_of(moh__block_type type) {
  if (type == MOH__BLOCK_F32) return MOH__F32;
  if (type == MOH__BLOCK_F16) return MOH__F16;
  return type == MOH__BLOCK_BF16 ? MOH__BF16 : MOH__U8;
}

int moh__weights_describe(json_t *root, const moh__model *model,
                          moh__block_type type) {
  if (type == MOH__BLOCK_F32) type = moh__model_stored(model);
  if (type == MOH__BLOCK_F32) return 0;
  if (is_packed(type))
    return json_object_set_new(root, "quantization_config",
                               json_pack("{s:s, s:s}", "quant_method", "moh",
                                         "format", moh__block_name(type)));
  return json_object_set_new(
      root, "torch_dtype",
      json_string(type == MOH__BLOCK_F16 ? "float16" : "bfloat16"));
}

/* ---- saving ---- */

moh_status moh__weights_check(const moh__model *model, moh__block_type type,
                              moh_error *err) {
  for (int i = 0; i < model->n_params; i++)
    MOH_TRY(moh__check_fit(&model->params[i],
                           type_for(&model->params[i], type), err));
  return MOH_OK;
}

/* Of a matrix, row by row; to be freed. */
static void *encode(const moh__param *param, moh__block_type type,
                    int64_t row_bytes) {
  int64_t rows = moh__param_out(param), n = moh__param_in(param), size;
  if (!moh__mul_i64(rows, row_bytes, &size)) return NULL;
  unsigned char *blocks = malloc((size_t)size);
  float *row = malloc((size_t)n * sizeof(float));
  for (int64_t i = 0; blocks != NULL && row != NULL && i < rows; i++) {
    moh__param_row(param, i, row);
    moh__block_encode(type, row, n, blocks + i * row_bytes);
  }
  if (row == NULL) free(blocks);
  free(row);
  return row == NULL ? NULL : blocks;
}

/* *made: memory behind the item, or NULL. */
static moh_status make_item(const moh__param *param, moh__block_type wanted,
                            moh__st_item *item, void **made, moh_error *err) {
  moh__block_type type = type_for(param, wanted);
  int64_t row_bytes = 0;
  *item = (moh__st_item){
      .name = param->name, .dtype = dtype_of(type), .n_dims = param->n_dims};
  for (int i = 0; i < param->n_dims; i++) item->shape[i] = param->shape[i];
  if (type == MOH__BLOCK_F32) {
    item->data = param->data;
    if (param->data != NULL) return MOH_OK;
    item->data = *made = encode(param, type, moh__param_in(param) * 4);
    return *made != NULL ? MOH_OK : fail_memory(err);
  }
  if (!moh__block_row_bytes(type, moh__param_in(param), &row_bytes))
    return fail_memory(err);
  if (is_packed(type)) item->shape[1] = row_bytes;
  item->data = param->stored;
  if (stored_type(param) == type) return MOH_OK;
  item->data = *made = encode(param, type, row_bytes);
  return *made != NULL ? MOH_OK : fail_memory(err);
}

/* The metadata is what other readers of such files look for. */
static moh_status write_items(const char *path, const moh__st_item *items,
                              size_t n, const moh__watch *watch,
                              moh_error *err) {
  json_t *metadata = json_pack("{s:s}", "format", "pt");
  if (metadata == NULL) return fail_memory(err);
  moh_status status = moh__safetensors_write_watched(path, items, n, metadata,
                                                     watch, err);
  json_decref(metadata);
  return status;
}

moh_status moh__weights_save(const moh__model *model, moh__block_type type,
                             const char *path, const moh__watch *watch,
                             moh_error *err) {
  size_t n = (size_t)model->n_params;
  moh__st_item *items = calloc(n + 1, sizeof(*items));
  void **made = calloc(n + 1, sizeof(*made));
  moh_status status =
      items == NULL || made == NULL ? fail_memory(err) : MOH_OK;
  for (size_t i = 0; status == MOH_OK && i < n; i++) {
    status = moh__watch_ask(watch, 0, err);
    if (status == MOH_OK)
      status = make_item(&model->params[i], type, &items[i], &made[i], err);
  }
  if (status == MOH_OK) status = write_items(path, items, n, watch, err);
  for (size_t i = 0; made != NULL && i < n; i++) free(made[i]);
  free(made);
  free(items);
  return status;
}

/* ---- checking ---- */

static bool same_shape(const moh__param *param, const moh__st_tensor *tensor,
                       int64_t row) {
  if (param->n_dims != tensor->n_dims) return false;
  for (int i = 0; i < param->n_dims; i++) {
    bool last = i + 1 == param->n_dims;
    if (tensor->shape[i] != (last && row > 0 ? row : param->shape[i]))
      return false;
  }
  return true;
}

/* U8: the one type whose rows have so many bytes. */
static bool find_packed(const moh__param *param, const moh__st_tensor *tensor,
                        moh__block_type *type) {
  static const moh__block_type packed[] = {MOH__BLOCK_Q8_0, MOH__BLOCK_Q4_0};
  for (size_t i = 0; i < sizeof(packed) / sizeof(packed[0]); i++) {
    int64_t row;
    if (!moh__param_stores(param, packed[i]) ||
        !moh__block_row_bytes(packed[i], moh__param_in(param), &row) ||
        !same_shape(param, tensor, row))
      continue;
    *type = packed[i];
    return true;
  }
  return false;
}

bool moh__weights_type(const moh__param *param, const moh__st_tensor *tensor,
                       moh__block_type *type) {
  if (tensor->dtype == MOH__U8) return find_packed(param, tensor, type);
  *type = tensor->dtype == MOH__F16    ? MOH__BLOCK_F16
          : tensor->dtype == MOH__BF16 ? MOH__BLOCK_BF16
                                       : MOH__BLOCK_F32;
  return tensor->dtype <= MOH__BF16 && same_shape(param, tensor, 0);
}

/* "[605, 128]" */
static void shape_text(char *text, size_t size, int n_dims,
                       const int64_t *shape) {
  size_t used = (size_t)snprintf(text, size, "[");
  for (int i = 0; i < n_dims && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%" PRId64,
                             i == 0 ? "" : ", ", shape[i]);
  if (used < size) snprintf(text + used, size - used, "]");
}

static moh_status fail_shape(const moh__param *param,
                             const moh__st_tensor *tensor, const char *more,
                             moh_error *err) {
  char wanted[96], found[96];
  shape_text(wanted, sizeof(wanted), param->n_dims, param->shape);
  shape_text(found, sizeof(found), tensor->n_dims, tensor->shape);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the tensor '%s' has the shape %s, but config.json asks "
                   "for %s%s",
                   param->name, found, wanted, more);
}

moh_status moh__model_check_tensor(const moh__param *param,
                                   const moh__st_tensor *tensor,
                                   moh_error *err) {
  if (tensor == NULL)
    return moh__fail(
        err, MOH_ERR_FORMAT,
        "the tensor '%s' is missing, which config.json asks for",
        param->name);
  if (tensor->dtype > MOH__BF16)
    return moh__fail(
        err, MOH_ERR_FORMAT,
        "the tensor '%s' has elements of type %s, which are no "
        "weights",
        param->name, moh__dtype_name(tensor->dtype));
  return same_shape(param, tensor, 0) ? MOH_OK
                                      : fail_shape(param, tensor, "", err);
}

/* Numbers, or blocks. */
static moh_status check_stored(const moh__param *param,
                               const moh__st_tensor *tensor,
                               moh_error *err) {
  moh__block_type type;
  bool blocks = tensor != NULL && tensor->dtype == MOH__U8 &&
                moh__param_stores(param, MOH__BLOCK_Q8_0);
  if (!blocks) return moh__model_check_tensor(param, tensor, err);
  if (moh__weights_type(param, tensor, &type)) return MOH_OK;
  return fail_shape(param, tensor, " numbers in blocks of q8_0 or q4_0", err);
}

moh_status moh__model_check_tensors(const moh__model *model,
                                    const moh__safetensors *file,
                                    moh_error *err) {
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *param = &model->params[i];
    MOH_TRY(
        check_stored(param, moh__safetensors_find(file, param->name), err));
  }
  for (size_t i = 0; i < file->n_tensors; i++)
    if (moh__model_param(model, file->tensors[i].name) == NULL)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the tensor '%.100s' is unknown to a model as "
                       "config.json describes it",
                       file->tensors[i].name);
  return MOH_OK;
}

/* ---- loading ---- */

/* Numbers that can be used where they lie. */
static bool is_ready(const moh__st_tensor *tensor) {
  return tensor->dtype == MOH__F32 &&
         (uintptr_t)tensor->data % sizeof(float) == 0;
}

/* All of a tensor's numbers. */
static void copy_tensor(const moh__param *param, const moh__st_tensor *tensor,
                        float *to) {
  moh__block_type type = MOH__BLOCK_F32;
  if (tensor->dtype == MOH__F64) {
    for (int64_t i = 0; i < param->n; i++)
      to[i] = (float)moh__st_number(tensor, i);
    return;
  }
  moh__weights_type(param, tensor, &type);
  moh__block_decode(type, tensor->data, param->n, to);
}

/* What data and stored weights point into. */
typedef struct backing {
  moh__safetensors *file;
  float *copies; /* of what is not ready */
} backing;

static void free_backing(void *owner) {
  backing *b = owner;
  moh__safetensors_close(b->file);
  free(b->copies);
  free(b);
}

/* How a parameter is had from the file. */
typedef enum source { MAPPED, STORED, COPIED } source;

static source source_of(const moh__param *param, const moh__st_tensor *tensor,
                        moh__load_options options, moh__block_type *type) {
  *type = MOH__BLOCK_F32;
  if (options.writable) return COPIED;
  if (is_ready(tensor)) return MAPPED;
  moh__weights_type(param, tensor, type);
  bool keep = options.stored && *type != MOH__BLOCK_F32 &&
              moh__param_stores(param, *type);
  return keep ? STORED : COPIED;
}

static int64_t room_for(const moh__param *param) {
  return moh__round_up(param->n, ALIGN_ELEMENTS);
}

/* Numbers that have to be copied, or decoded. */
static moh_status alloc_copies(const moh__model *model, backing *b,
                               moh__load_options options, moh_error *err) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *param = &model->params[i];
    moh__block_type type;
    if (source_of(param, moh__safetensors_find(b->file, param->name), options,
                  &type) == COPIED)
      n += room_for(param);
  }
  if (n == 0) return MOH_OK;
  b->copies = moh__block_alloc((size_t)n * sizeof(float));
  return b->copies != NULL ? MOH_OK : fail_memory(err);
}

/* *next: room for the next copy. */
static void use_tensor(moh__param *param, const moh__st_tensor *tensor,
                       moh__load_options options, float **next) {
  moh__block_type type;
  switch (source_of(param, tensor, options, &type)) {
    case MAPPED: /* only read: the mapping is read-only */
      memcpy(&param->data, &tensor->data, sizeof(param->data));
      return;
    case STORED:
      param->stored = tensor->data;
      param->stored_type = type;
      return;
    case COPIED:
      copy_tensor(param, tensor, *next);
      param->data = *next;
      *next += room_for(param);
  }
}

static moh_status use(moh__model *model, backing *b,
                      moh__load_options options, moh_error *err) {
  MOH_TRY(alloc_copies(model, b, options, err));
  float *next = b->copies;
  for (int i = 0; i < model->n_params; i++) {
    moh__param *param = &model->params[i];
    use_tensor(param, moh__safetensors_find(b->file, param->name), options,
               &next);
  }
  return MOH_OK;
}

static moh_status open_backing(backing **out, const char *path,
                               moh_error *err) {
  *out = calloc(1, sizeof(**out));
  if (*out == NULL) return fail_memory(err);
  return moh__safetensors_open(&(*out)->file, path, err);
}

moh_status moh__weights_load(moh__model *model, const char *path,
                             moh__load_options options, moh_error *err) {
  backing *b;
  moh_status status = open_backing(&b, path, err);
  if (status != MOH_OK) {
    free(b);
    return status;
  }
  model->owner = b;
  model->owner_free = free_backing;
  status = moh__model_check_tensors(model, b->file, err);
  if (status != MOH_OK) return moh__fail_in(err, status, "%s", path);
  return use(model, b, options, err);
}
