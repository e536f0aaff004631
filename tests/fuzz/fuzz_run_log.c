/* log.jsonl of a run (cli/run_log.h): steps, evaluations, loads of heads. */
#include <stdlib.h>

#include "../../cli/run_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double sum_loads(const moh__log_loads *loads, int64_t n_steps) {
  double sum = 0;
  for (int64_t i = 0; i < n_steps * loads->n_columns; i++)
    sum += (double)loads->load[i];
  for (int64_t i = 0; i < n_steps * loads->n_layers; i++)
    sum += (double)loads->entropy[i];
  return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__run_log log = {.n_steps = 0};
  moh_error err;
  double sum = 0;
  moh_status status =
      moh__run_log_parse(&log, (const char *)data, size, "log.jsonl", &err);
  /* Whatever was taken in is whole, also before a bad line. */
  sum += sum_loads(&log.heads, log.n_steps);
  sum += sum_loads(&log.experts, log.n_steps);
  for (int64_t i = 0; i < log.n_steps * log.n_windows; i++)
    sum += (double)log.windows[i];
  if (sum > 1e300) abort(); /* numbers of a float: cannot be */
  if (status != MOH_OK && err.message[0] == '\0') abort();
  moh__run_log_free(&log);
  return 0;
}
