/*
 * log.jsonl of a run, read back: a line for each step and each evaluation
 * (train/report.c writes them). Fields that a line does not have are NaN.
 */
#ifndef MOH_CLI_RUN_LOG_H
#define MOH_CLI_RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct moh__log_step {
  int64_t step;
  double loss, mix_loss, mean_heads;
  double balance_loss, expert_balance_loss;
  double grad_norm, clipped_norm, lr, tokens_per_second;
  bool skipped;
} moh__log_step;

typedef enum moh__log_data {
  MOH__LOG_TRAIN,
  MOH__LOG_HELD_OUT,
  MOH__LOG_MIX
} moh__log_data;

typedef struct moh__log_eval {
  int64_t step;
  moh__log_data data;
  bool final;
  double loss;
} moh__log_eval;

/* A routed layer: its heads' loads are columns [first, first + n_routed). */
typedef struct moh__log_layer {
  int32_t first, n_routed;
} moh__log_layer;

/* Loads of heads, or of experts, which then stand for heads. */
typedef struct moh__log_loads {
  moh__log_layer *layers; /* NULL without routers */
  int32_t n_layers, n_columns;
  float *load;    /* [n_steps][n_columns]; NaN where a line has none */
  float *entropy; /* [n_steps][n_layers], nats */
} moh__log_loads;

typedef struct moh__run_log {
  moh__log_step *steps;
  int64_t n_steps;
  moh__log_eval *evals;
  int64_t n_evals;
  moh__log_loads heads, experts;
  int32_t n_windows; /* layers, where windows adapt; otherwise 0 */
  float *windows;    /* [n_steps][n_windows] tokens; NaN as in loads */
  int64_t steps_capacity, evals_capacity;
} moh__run_log;

/* Adds the lines of a text. `name` stands for it in messages, with the number
 * of the line. A last line without its end is still being written: it is left
 * out. Lines that are neither of a step nor of an evaluation are passed
 * over. */
moh_status moh__run_log_parse(moh__run_log *log, const char *text, size_t n,
                              const char *name, moh_error *err);
moh_status moh__run_log_load(moh__run_log *log, const char *path,
                             moh_error *err);
void moh__run_log_free(moh__run_log *log);

#endif
