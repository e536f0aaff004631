/* Reading log.jsonl. */
#include "run_log.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

enum { LAYERS_MAX = 4096, HEADS_MAX = 65536 }; /* of a line */

/* ---- growing ---- */

/* Makes room for one more element; false when memory ran out. */
static bool grow(void **array, int64_t *capacity, int64_t n, size_t size) {
  if (n < *capacity) return true;
  int64_t more = *capacity == 0 ? 256 : 2 * *capacity;
  void *grown = reallocarray(*array, (size_t)more, size);
  if (grown == NULL) return false;
  *array = grown;
  *capacity = more;
  return true;
}

static bool grow_loads(moh__log_loads *loads, int64_t capacity, int64_t n) {
  int64_t rows = capacity, layers = capacity;
  return grow((void **)&loads->load, &rows, n,
              sizeof(float) * (size_t)(loads->n_columns + 1)) &&
         grow((void **)&loads->entropy, &layers, n,
              sizeof(float) * (size_t)(loads->n_layers + 1));
}

static bool grow_steps(moh__run_log *log) {
  int64_t n = log->n_steps, before = log->steps_capacity, windows = before;
  if (n < before) return true;
  return grow_loads(&log->heads, before, n) &&
         grow_loads(&log->experts, before, n) &&
         grow((void **)&log->windows, &windows, n,
              sizeof(float) * (size_t)(log->n_windows + 1)) &&
         grow((void **)&log->steps, &log->steps_capacity, n,
              sizeof(*log->steps));
}

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the log");
}

/* ---- fields ---- */

/* A number that a float holds, as training has no others; null (and nothing)
 * stands for one that was not finite. */
static bool is_number(const json_t *value) {
  if (value == NULL || json_is_null(value)) return true;
  return json_is_number(value) && fabs(json_number_value(value)) <= FLT_MAX;
}

static moh_status get_real(const json_t *object, const char *key,
                           double *value, moh_error *err) {
  const json_t *field = json_object_get(object, key);
  *value = json_is_number(field) ? json_number_value(field) : NAN;
  if (is_number(field)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"%s\" is no number that training writes", key);
}

static moh_status get_flag(const json_t *object, const char *key, bool *value,
                           moh_error *err) {
  if (json_object_get(object, key) == NULL) return MOH_OK;
  return moh__json_get_bool(object, key, value, err);
}

/* Whether all of an array are; NULL is none. */
static bool are_numbers(const json_t *array) {
  size_t i;
  json_t *value;
  if (array != NULL && !json_is_array(array)) return false;
  json_array_foreach((json_t *)array, i, value) {
    if (!is_number(value)) return false;
  }
  return true;
}

static moh_status step_of(const json_t *object, int64_t *step,
                          moh_error *err) {
  return moh__json_get_int(object, "step", 0, INT64_MAX, step, err);
}

/* Loads and entropies: as float, which no honest log makes too small. */
static float float_or_nan(const json_t *value) {
  double number = json_is_number(value) ? json_number_value(value) : NAN;
  return fabs(number) < 1e30 ? (float)number : NAN;
}

/* ---- routers ---- */

static const json_t *load_of(const json_t *layers, size_t i) {
  return json_object_get(json_array_get(layers, i), "load");
}

/* The first line that has routers says which there are. */
static moh_status find_layers(moh__log_loads *loads, const char *key,
                              const json_t *layers, moh_error *err) {
  size_t n = json_array_size(layers);
  if (n == 0 || n > LAYERS_MAX)
    return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" has %zu layers", key, n);
  loads->layers = calloc(n, sizeof(*loads->layers));
  if (loads->layers == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    size_t heads = json_array_size(load_of(layers, i));
    if (heads > HEADS_MAX)
      return moh__fail(err, MOH_ERR_FORMAT, "a layer with %zu %s", heads,
                       key);
    loads->layers[i] = (moh__log_layer){loads->n_columns, (int32_t)heads};
    loads->n_columns += (int32_t)heads;
  }
  loads->n_layers = (int32_t)n;
  return MOH_OK;
}

static moh_status check_numbers(const char *key, const json_t *layers,
                                moh_error *err) {
  size_t i;
  json_t *layer;
  bool good = json_is_array(layers);
  json_array_foreach((json_t *)layers, i, layer) {
    good = good && are_numbers(json_object_get(layer, "load")) &&
           is_number(json_object_get(layer, "entropy"));
  }
  if (good) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "\"%s\" holds something else than layers of numbers", key);
}

static bool layers_fit(const moh__log_loads *loads, const json_t *layers) {
  if ((size_t)loads->n_layers != json_array_size(layers)) return false;
  for (int32_t i = 0; i < loads->n_layers; i++)
    if ((size_t)loads->layers[i].n_routed !=
        json_array_size(load_of(layers, (size_t)i)))
      return false;
  return true;
}

static void take_layer(moh__log_loads *loads, int64_t step, int32_t i,
                       const json_t *layer) {
  float *load = loads->load + step * loads->n_columns;
  const json_t *heads = layer == NULL ? NULL : json_object_get(layer, "load");
  for (int32_t h = 0; h < loads->layers[i].n_routed; h++)
    load[loads->layers[i].first + h] =
        float_or_nan(json_array_get(heads, (size_t)h));
  loads->entropy[step * loads->n_layers + i] =
      float_or_nan(json_object_get(layer, "entropy"));
}

/* Layers of a line; NULL: it has none. */
static void take_layers(moh__log_loads *loads, int64_t step,
                        const json_t *layers) {
  for (int32_t i = 0; i < loads->n_layers; i++)
    take_layer(loads, step, i, json_array_get(layers, (size_t)i));
}

/* Steps before the first line with routers have no load. */
static moh_status begin_layers(moh__log_loads *loads, const char *key,
                               const moh__run_log *log, const json_t *layers,
                               moh_error *err) {
  MOH_TRY(find_layers(loads, key, layers, err));
  size_t rows = (size_t)log->steps_capacity;
  free(loads->load);
  free(loads->entropy);
  loads->load = calloc(rows * (size_t)(loads->n_columns + 1), sizeof(float));
  loads->entropy =
      calloc(rows * (size_t)(loads->n_layers + 1), sizeof(float));
  if (loads->load == NULL || loads->entropy == NULL) return no_memory(err);
  for (int64_t i = 0; i < log->n_steps; i++) take_layers(loads, i, NULL);
  return MOH_OK;
}

/* Those that a line has under `key`, as those of step number log->n_steps. */
static moh_status take_loads(moh__log_loads *loads, const char *key,
                             const moh__run_log *log, const json_t *line,
                             moh_error *err) {
  const json_t *layers = json_object_get(line, key);
  if (layers != NULL) MOH_TRY(check_numbers(key, layers, err));
  if (layers != NULL && loads->layers == NULL)
    MOH_TRY(begin_layers(loads, key, log, layers, err));
  if (layers != NULL && !layers_fit(loads, layers))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"%s\" is not shaped as in the lines before", key);
  take_layers(loads, log->n_steps, layers);
  return MOH_OK;
}

/* ---- windows ---- */

/* The first line says of how many layers; before any other, so that there are
 * no earlier rows. */
static moh_status take_windows(moh__run_log *log, const json_t *windows,
                               moh_error *err) {
  size_t n = json_array_size(windows);
  if (n != (size_t)log->n_windows)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"windows\" is not shaped as in the lines before");
  for (size_t i = 0; i < n; i++)
    log->windows[(size_t)log->n_steps * n + i] =
        float_or_nan(json_array_get(windows, i));
  return MOH_OK;
}

static moh_status begin_windows(moh__run_log *log, const json_t *windows,
                                moh_error *err) {
  size_t n = json_array_size(windows);
  if (!are_numbers(windows))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"windows\" holds something else than numbers");
  if (n > LAYERS_MAX)
    return moh__fail(err, MOH_ERR_FORMAT, "\"windows\" has %zu layers", n);
  if (log->n_steps == 0) log->n_windows = (int32_t)n;
  return MOH_OK;
}

/* ---- lines ---- */

static moh_status take_numbers(moh__log_step *step, const json_t *line,
                               moh_error *err) {
  const struct {
    const char *key;
    double *value;
  } fields[] = {{"loss", &step->loss},
                {"mix_loss", &step->mix_loss},
                {"balance_loss", &step->balance_loss},
                {"mean_heads", &step->mean_heads},
                {"expert_balance_loss", &step->expert_balance_loss},
                {"grad_norm", &step->grad_norm},
                {"clipped_norm", &step->clipped_norm},
                {"lr", &step->lr},
                {"tokens_per_second", &step->tokens_per_second}};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    MOH_TRY(get_real(line, fields[i].key, fields[i].value, err));
  return MOH_OK;
}

static moh_status take_step(moh__run_log *log, const json_t *line,
                            moh_error *err) {
  const json_t *windows = json_object_get(line, "windows");
  moh__log_step step = {.skipped = false};
  MOH_TRY(take_numbers(&step, line, err));
  MOH_TRY(get_flag(line, "skipped", &step.skipped, err));
  MOH_TRY(step_of(line, &step.step, err));
  MOH_TRY(begin_windows(log, windows, err));
  if (!grow_steps(log)) return no_memory(err);
  MOH_TRY(take_loads(&log->heads, "heads", log, line, err));
  MOH_TRY(take_loads(&log->experts, "experts", log, line, err));
  MOH_TRY(take_windows(log, windows, err));
  log->steps[log->n_steps++] = step;
  return MOH_OK;
}

static moh_status data_of(const json_t *eval, moh__log_data *data,
                          moh_error *err) {
  static const char *const names[] = {"train", "held_out", "mix"};
  const char *name;
  MOH_TRY(moh__json_get_string(eval, "data", &name, err));
  for (int i = 0; i < 3; i++) {
    *data = (moh__log_data)i;
    if (strcmp(name, names[i]) == 0) return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_FORMAT, "\"data\" is \"%.40s\"", name);
}

static moh_status take_eval(moh__run_log *log, const json_t *line,
                            moh_error *err) {
  moh__log_eval eval = {.final = false};
  MOH_TRY(get_real(line, "loss", &eval.loss, err));
  MOH_TRY(get_flag(line, "final", &eval.final, err));
  MOH_TRY(step_of(line, &eval.step, err));
  MOH_TRY(data_of(line, &eval.data, err));
  if (!grow((void **)&log->evals, &log->evals_capacity, log->n_evals,
            sizeof(eval)))
    return no_memory(err);
  log->evals[log->n_evals++] = eval;
  return MOH_OK;
}

static moh_status take_line(moh__run_log *log, const char *text, size_t n,
                            const char *name, int64_t number,
                            moh_error *err) {
  json_t *line;
  MOH_TRY(moh__json_parse_line(&line, text, n, name, number, err));
  const json_t *eval = json_object_get(line, "eval");
  moh_status status = MOH_OK;
  if (eval != NULL)
    status = take_eval(log, eval, err);
  else if (json_object_get(line, "step") != NULL)
    status = take_step(log, line, err);
  json_decref(line);
  if (status == MOH_OK) return MOH_OK;
  return moh__fail_in(err, status, "%s, line %" PRId64, name, number);
}

moh_status moh__run_log_parse(moh__run_log *log, const char *text, size_t n,
                              const char *name, moh_error *err) {
  const char *end = text + n;
  for (int64_t i = 1; text < end; i++) {
    const char *stop = memchr(text, '\n', (size_t)(end - text));
    if (stop == NULL) break;
    MOH_TRY(take_line(log, text, (size_t)(stop - text), name, i, err));
    text = stop + 1;
  }
  return MOH_OK;
}

moh_status moh__run_log_load(moh__run_log *log, const char *path,
                             moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = map.size == 0
                          ? MOH_OK
                          : moh__run_log_parse(log, (const char *)map.bytes,
                                               map.size, path, err);
  moh__map_close(&map);
  return status;
}

static void free_loads(moh__log_loads *loads) {
  free(loads->layers);
  free(loads->load);
  free(loads->entropy);
}

void moh__run_log_free(moh__run_log *log) {
  free(log->steps);
  free(log->evals);
  free_loads(&log->heads);
  free_loads(&log->experts);
  free(log->windows);
}
