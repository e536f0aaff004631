/* The largest weight of a tensor, compared with what rounds to infinity. */
#include "store/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As bits, magnitudes have the order of the numbers, and above all of these
 * come infinity and NaN. */
static uint32_t largest_of(const float *x, int64_t n, uint32_t most) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof(bits));
    bits &= 0x7fffffff;
    most = bits > most ? bits : most;
  }
  return most;
}

static uint32_t largest_of_rows(const moh__param *w, float *row) {
  uint32_t most = 0;
  for (int64_t i = 0; i < moh__param_out(w); i++) {
    moh__param_row(w, i, row);
    most = largest_of(row, moh__param_in(w), most);
  }
  return most;
}

static moh_status find_largest(const moh__param *w, float *most,
                               moh_error *err) {
  uint32_t bits;
  if (w->data != NULL) {
    bits = largest_of(w->data, w->n, 0);
  } else {
    float *row = malloc((size_t)moh__param_in(w) * sizeof(float));
    if (row == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a row");
    bits = largest_of_rows(w, row);
    free(row);
  }
  memcpy(most, &bits, sizeof(*most));
  return MOH_OK;
}

/* Half a step above the largest number, where f16 and bf16 round up; of blocks
 * it is the scale that is f16. */
static bool holds(moh__block_type type, float most) {
  const float half = 65520, brain = 0x1.ffp127F;
  switch (type) {
    case MOH__BLOCK_F16:
      return most < half;
    case MOH__BLOCK_BF16:
      return most < brain;
    case MOH__BLOCK_Q8_0:
      return most / 127 < half;
    case MOH__BLOCK_Q4_0:
      return most / 8 < half;
    default:
      return true;
  }
}

moh_status moh__check_fit(const moh__param *w, moh__block_type type,
                          moh_error *err) {
  float most;
  MOH_TRY(find_largest(w, &most, err));
  if (!isfinite(most))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s has a weight that is not finite", w->name);
  if (holds(type, most)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s has a weight of size %.7g, which does not fit %s",
                   w->name, (double)most, moh__block_name(type));
}
