/* Windows of losses and gradient norms, and what lies far above them. */
#include "train/outliers.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

/* Rounding of a loss that stands still must not look like an outlier. */
static const double least_deviation = 1e-6; /* share of the mean */

/* Sums run from the oldest value to the newest, so that a state that was
 * saved and loaded gives the same bits. */
static bool is_outlier(const double *window, double z, double x) {
  enum { N = MOH__OUTLIER_WINDOW };
  double mean = 0;
  double variance = 0;
  for (int i = 0; i < N; i++) mean += window[i] / N;
  for (int i = 0; i < N; i++)
    variance += (window[i] - mean) * (window[i] - mean) / N;
  double deviation = fmax(sqrt(variance), least_deviation * fabs(mean));
  return x > mean + z * deviation;
}

static void push(double *window, int32_t n, double x) {
  if (n == MOH__OUTLIER_WINDOW)
    memmove(window, window + 1, (size_t)--n * sizeof(*window));
  window[n] = x;
}

static void take_in(moh__outliers *o, double loss, double norm) {
  push(o->loss, o->n, loss);
  push(o->norm, o->n, norm);
  if (o->n < MOH__OUTLIER_WINDOW) o->n++;
  o->n_in_a_row = 0;
}

bool moh__outliers_check(moh__outliers *o, double z, double loss,
                         double norm) {
  bool outlier =
      o->n == MOH__OUTLIER_WINDOW &&
      (is_outlier(o->loss, z, loss) || is_outlier(o->norm, z, norm));
  if (outlier && o->n_in_a_row < MOH__OUTLIERS_IN_A_ROW) {
    o->n_in_a_row++;
    o->n_skipped++;
    return true;
  }
  if (outlier) o->n = 0;
  take_in(o, loss, norm);
  return false;
}

/* ---- the state as JSON ---- */

static json_t *window_json(const double *window, int32_t n) {
  json_t *array = json_array();
  for (int32_t i = 0; i < n; i++)
    if (json_array_append_new(array, json_real(window[i])) != 0) {
      json_decref(array);
      return NULL;
    }
  return array;
}

json_t *moh__outliers_to_json(const moh__outliers *o) {
  return json_pack("{s:o, s:o, s:i, s:I}", "loss",
                   window_json(o->loss, o->n), "norm",
                   window_json(o->norm, o->n), "in_a_row", o->n_in_a_row,
                   "skipped", (json_int_t)o->n_skipped);
}

static moh_status read_window(double *window, int32_t *n,
                              const json_t *json, const char *key,
                              moh_error *err) {
  const json_t *array = json_object_get(json, key);
  size_t size = json_array_size(array);
  if (!json_is_array(array) || size > MOH__OUTLIER_WINDOW)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"%s\" must be an array of at most %d numbers", key,
                     MOH__OUTLIER_WINDOW);
  for (size_t i = 0; i < size; i++) {
    const json_t *value = json_array_get(array, i);
    window[i] = json_number_value(value);
    if (!json_is_number(value) || !isfinite(window[i]))
      return moh__fail(err, MOH_ERR_FORMAT,
                       "element %zu of \"%s\" is not a finite number", i,
                       key);
  }
  *n = (int32_t)size;
  return MOH_OK;
}

moh_status moh__outliers_from_json(moh__outliers *outliers,
                                   const json_t *json, moh_error *err) {
  moh__outliers o = {.n = 0};
  int32_t n_norms;
  int64_t in_a_row;
  if (!json_is_object(json))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the state of outliers must be an object");
  MOH_TRY(read_window(o.loss, &o.n, json, "loss", err));
  MOH_TRY(read_window(o.norm, &n_norms, json, "norm", err));
  if (n_norms != o.n)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"loss\" has %d numbers, \"norm\" has %d", o.n,
                     n_norms);
  MOH_TRY(
      moh__json_get_int(json, "skipped", 0, INT64_MAX, &o.n_skipped, err));
  int64_t most = o.n_skipped < MOH__OUTLIERS_IN_A_ROW
                     ? o.n_skipped
                     : MOH__OUTLIERS_IN_A_ROW;
  MOH_TRY(moh__json_get_int(json, "in_a_row", 0, most, &in_a_row, err));
  o.n_in_a_row = (int32_t)in_a_row;
  *outliers = o;
  return MOH_OK;
}
