/* What is in a file, which its name tells. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "base/json.h"
#include "format/safetensors.h"
#include "store/model_parts.h"
#include "store/verify_internal.h"
#include "text/shard.h"

enum { ELEMENTS = 1 << 20 }; /* between two ticks */

/* ---- configurations, tokenizers, JSON ---- */

/* The model that it describes is kept: the weights should be its own. */
static moh_status check_config(moh__verifier *v, const char *path,
                               moh_error *err) {
  moh__config config;
  MOH_TRY(moh__model_load_config(&config, path, err));
  moh__model_free(v->model);
  moh_status status = moh__arch_model(&v->model, &config, err);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

static moh_status check_tokenizer(moh__verifier *v, const char *path,
                                  moh_error *err) {
  moh__tokenizer *tokenizer;
  int64_t most =
      v->model != NULL ? v->model->config.vocab_size : MOH__TOKENS_MAX;
  MOH_TRY(moh__model_load_tokenizer(&tokenizer, path, most, err));
  moh__tokenizer_free(tokenizer);
  return MOH_OK;
}

static moh_status check_json(moh__verifier *v, const char *path,
                             moh_error *err) {
  json_t *json;
  (void)v;
  MOH_TRY(moh__json_load(&json, path, err));
  bool object = json_is_object(json);
  json_decref(json);
  if (object) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "%s: is no JSON object", path);
}

/* ---- tensors ---- */

/* "[3, 17]" of element i. */
static void place_text(char *text, size_t size, const moh__st_tensor *tensor,
                       int64_t i) {
  int64_t place[MOH__ST_DIMS];
  size_t used = 0;
  for (int d = tensor->n_dims - 1; d >= 0; d--) {
    place[d] = i % tensor->shape[d];
    i /= tensor->shape[d];
  }
  text[0] = '\0';
  for (int d = 0; d < tensor->n_dims && used < size; d++)
    used += (size_t)snprintf(text + used, size - used, "%s%" PRId64,
                             d == 0 ? "" : ", ", place[d]);
}

static moh_status check_element(const moh__st_tensor *tensor, int64_t i,
                                moh_error *err) {
  char place[96];
  double x = moh__st_number(tensor, i);
  if (isfinite(x)) return MOH_OK;
  place_text(place, sizeof(place), tensor, i);
  return moh__fail(err, MOH_ERR_FORMAT, "the tensor '%.100s' is %s at [%s]",
                   tensor->name, isnan(x) ? "NaN" : "infinite", place);
}

static moh_status check_finite(moh__watch *watch,
                               const moh__st_tensor *tensor, moh_error *err) {
  if (tensor->dtype > MOH__BF16) return MOH_OK; /* whole numbers */
  for (int64_t i = 0; i < tensor->n; i++) {
    MOH_TRY(check_element(tensor, i, err));
    if (i % ELEMENTS == 0 && !watch->tick(watch->context, 0))
      return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
  }
  return MOH_OK;
}

/* The name of a parameter has the shape of the parameter; NAME.lora_a and
 * NAME.lora_b are (rank, inputs) and (outputs, rank) of the matrix NAME. */
static bool fits_param(const moh__model *model, const char *name,
                       const moh__st_tensor *tensor) {
  const moh__param *w = moh__model_param(model, name);
  bool fits = w != NULL && w->n_dims == tensor->n_dims;
  for (int d = 0; fits && d < tensor->n_dims; d++)
    fits = w->shape[d] == tensor->shape[d];
  return fits;
}

static bool fits_adapter(const moh__model *model, const char *name,
                         const moh__st_tensor *tensor) {
  char matrix[MOH__NAME_MAX];
  const char *end = strstr(name, ".lora_");
  if (end == NULL ||
      (strcmp(end, ".lora_a") != 0 && strcmp(end, ".lora_b") != 0))
    return false;
  if ((size_t)(end - name) >= sizeof(matrix)) return false;
  memcpy(matrix, name, (size_t)(end - name));
  matrix[end - name] = '\0';
  const moh__param *w = moh__model_param(model, matrix);
  int64_t d = end[sizeof(".lora_") - 1] == 'a' ? 1 : 0;
  return w != NULL && w->n_dims == 2 && tensor->n_dims == 2 &&
         tensor->shape[d] == w->shape[d];
}

/* "m.NAME", "v.NAME" and "x.NAME" of parameters and of adapters, whose own
 * numbers are "w.NAME". */
static moh_status check_moment(const moh__model *model,
                               const moh__st_tensor *tensor, moh_error *err) {
  bool named = strlen(tensor->name) > 2 && tensor->name[1] == '.' &&
               strchr("mvxw", tensor->name[0]) != NULL;
  const char *name = tensor->name + 2;
  if (named && (fits_adapter(model, name, tensor) ||
                (tensor->name[0] != 'w' && fits_param(model, name, tensor))))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "'%.100s' is no moment of a parameter, or of another "
                   "shape",
                   tensor->name);
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static moh_status check_names(const moh__verifier *v, const char *name,
                              const moh__safetensors *file, moh_error *err) {
  if (v->model == NULL) return MOH_OK;
  if (strcmp(name, "model.safetensors") == 0)
    return moh__model_check_tensors(v->model, file, err);
  if (strcmp(name, "optimizer.safetensors") != 0) return MOH_OK;
  for (size_t i = 0; i < file->n_tensors; i++)
    MOH_TRY(check_moment(v->model, &file->tensors[i], err));
  return MOH_OK;
}

/* Weights in blocks, row by row: scales are numbers, too. */
static moh_status check_blocks(moh__watch *watch, const moh__param *w,
                               moh__block_type type,
                               const moh__st_tensor *tensor, moh_error *err) {
  enum { PART = 256 };
  float part[PART];
  int64_t each = moh__block_elements(type);
  for (int64_t i = 0; i < w->n; i += PART) {
    int64_t n = w->n - i < PART ? w->n - i : PART;
    moh__block_decode(
        type, tensor->data + i / each * (int64_t)moh__block_bytes(type), n,
        part);
    for (int64_t j = 0; j < n; j++)
      if (!isfinite(part[j]))
        return moh__fail(err, MOH_ERR_FORMAT,
                         "the tensor '%.100s' is %s in row %" PRId64,
                         tensor->name, isnan(part[j]) ? "NaN" : "infinite",
                         (i + j) / w->shape[1]);
    if (i % ELEMENTS == 0 && !watch->tick(watch->context, 0))
      return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
  }
  return MOH_OK;
}

static moh_status check_numbers(moh__verifier *v, moh__watch *watch,
                                const moh__st_tensor *tensor,
                                moh_error *err) {
  const moh__param *w =
      v->model == NULL ? NULL : moh__model_param(v->model, tensor->name);
  moh__block_type type;
  if (w != NULL && tensor->dtype == MOH__U8 &&
      moh__weights_type(w, tensor, &type))
    return check_blocks(watch, w, type, tensor, err);
  return check_finite(watch, tensor, err);
}

static moh_status check_tensors(moh__verifier *v, const char *path,
                                moh_error *err) {
  moh__safetensors *file;
  MOH_TRY(moh__safetensors_open(&file, path, err));
  moh__watch watch = moh__verify_watch(v, path, (int64_t)file->map.size);
  moh_status status = check_names(v, base_name(path), file, err);
  for (size_t i = 0; status == MOH_OK && i < file->n_tensors; i++)
    status = check_numbers(v, &watch, &file->tensors[i], err);
  moh__safetensors_close(file);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

/* ---- logs ---- */

/* Steps ascend; evaluations belong to the last step or a later one. */
static moh_status check_line(const json_t *line, int64_t *last,
                             moh_error *err) {
  const json_t *eval = json_object_get(line, "eval");
  int64_t step;
  if (!json_is_object(line))
    return moh__fail(err, MOH_ERR_FORMAT, "is no JSON object");
  MOH_TRY(moh__json_get_int(eval != NULL ? eval : line, "step", 0, INT64_MAX,
                            &step, err));
  if (eval == NULL ? step <= *last : step < *last)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "step %" PRId64 " comes after step %" PRId64, step,
                     *last);
  *last = step;
  return MOH_OK;
}

static moh_status parse_line(const char *text, size_t n, int64_t *last,
                             moh_error *err) {
  json_error_t where;
  json_t *line = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
  if (line == NULL)
    return moh__fail(err, MOH_ERR_FORMAT, "column %d: not valid JSON: %s",
                     where.column, where.text);
  moh_status status = check_line(line, last, err);
  json_decref(line);
  return status;
}

static moh_status check_lines(const char *path, const char *text, size_t n,
                              moh_error *err) {
  int64_t last = 0;
  size_t number = 1;
  while (n > 0) {
    const char *end = memchr(text, '\n', n);
    if (end == NULL)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "%s, line %zu: cut before its end", path, number);
    size_t length = (size_t)(end - text);
    moh_status status = parse_line(text, length, &last, err);
    if (status != MOH_OK)
      return moh__fail_in(err, status, "%s, line %zu", path, number);
    text += length + 1;
    n -= length + 1;
    number++;
  }
  return MOH_OK;
}

static moh_status check_log(moh__verifier *v, const char *path,
                            moh_error *err) {
  moh__map map;
  (void)v;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status =
      check_lines(path, (const char *)map.bytes, map.size, err);
  moh__map_close(&map);
  return status;
}

/* ---- shards ---- */

/* Reading checks that ids are of the vocabulary. */
static moh_status check_ids(const moh__tokens *tokens, moh_error *err) {
  int32_t ids[1024];
  const int64_t most = sizeof(ids) / sizeof(ids[0]);
  for (int64_t i = 0; i < tokens->n; i += most) {
    int64_t n = tokens->n - i < most ? tokens->n - i : most;
    MOH_TRY(moh__tokens_read(tokens, i, n, ids, err));
  }
  return MOH_OK;
}

static moh_status check_shard(moh__verifier *v, const char *path,
                              moh_error *err) {
  moh__tokens *tokens;
  moh__shard_head head;
  (void)v;
  MOH_TRY(moh__tokens_new(&tokens, 1, err));
  moh_status status = moh__shard_open(&tokens->segments[0], &head, path, err);
  if (status == MOH_OK) {
    moh__tokens_number(tokens);
    tokens->vocab = head.vocab;
    status = check_ids(tokens, err);
  }
  moh__tokens_free(tokens);
  return status;
}

/* ---- by name ---- */

typedef moh_status check_fn(moh__verifier *v, const char *path,
                            moh_error *err);

/* The first ending that fits decides. */
static const struct {
  const char *ending;
  check_fn *check;
} kinds[] = {
    {"/config.json", check_config},  {"/tokenizer.json", check_tokenizer},
    {".safetensors", check_tensors}, {".json", check_json},
    {".jsonl", check_log},           {".bin", check_shard},
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static check_fn *find_check(const char *path) {
  size_t n = strlen(path);
  for (int i = 0; i < N_KINDS; i++) {
    const char *ending = kinds[i].ending;
    size_t m = strlen(ending);
    if (n >= m && strcmp(path + n - m, ending) == 0) return kinds[i].check;
    if (ending[0] == '/' && strcmp(path, ending + 1) == 0)
      return kinds[i].check;
  }
  return NULL;
}

bool moh__verify_knows(const char *path) { return find_check(path) != NULL; }

moh_status moh__verify_content(moh__verifier *v, const char *path,
                               moh_error *err) {
  return find_check(path)(v, path, err);
}
