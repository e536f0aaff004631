/*
 * A training run: data, model and trainer together with the run's
 * directory, from the first step to the saved model. Used by train and
 * tune.
 */
#ifndef MOH_CLI_RUN_H
#define MOH_CLI_RUN_H

#include "dead_heads.h"
#include "progress.h"
#include "run_dir.h"
#include "train_common.h"

/* A dataset and what is said of it. */
typedef struct moh__run_data {
  const char *path;
  moh__dataset *all; /* NULL: none */
} moh__run_data;

typedef struct moh__run {
  const moh__call *call;
  const moh__training_values *values;
  const char *origin; /* of the model: a preset's name, a directory */
  moh__train_options options;
  moh__pool *pool;
  moh__tokenizer *tokenizer;
  moh__model *model;
  moh__run_data main, mix;
  moh__dataset *train, *held_out; /* parts of main; held_out may be NULL */
  moh__trainer *trainer;
  moh__run_dir dir;
  moh__progress progress;
  moh__dead_heads dead;
  const moh__checkpoint *from; /* what the run goes on from; NULL: new */
  double held_out_share;       /* of the main data */
  double max_seconds;          /* --max-time; 0: none */
  bool stopped;                /* by --max-time */
  bool eval_due;               /* after the last step, not made yet */
  int64_t first_step;          /* done when this call began */
  double begin, last_saved;    /* moh__now */
  double seconds;              /* of this call */
  double last_loss;            /* of the last step; NaN: none yet */
  double best_loss; /* on held-out data; NaN: none yet */
  int64_t best_step;
} moh__run;

/* Results of the evaluations at the end; n_tokens 0: no such data. */
typedef struct moh__run_result {
  moh__eval_result train, held_out, mix;
} moh__run_result;

/* Makes a dataset; the tokenizer and options.context stand. */
moh_status moh__run_encode(const moh__run *run,
                           const moh__data_source *source,
                           moh__run_data *data, moh_error *err);

/* Cuts the main data in its two parts by held_out_share. */
moh_status moh__run_split(moh__run *run, moh_error *err);

/* Data from values->data, in its two parts; and from another file. The
 * tokenizer, options.context and held_out_share stand. */
moh_status moh__run_load_main(moh__run *run, moh_error *err);
moh_status moh__run_load_mix(moh__run *run, const char *path,
                             moh_error *err);

/* From now on data are loaded: a signal ends the program at once. */
void moh__run_loading(void);

moh_status moh__run_open_pool(moh__run *run, moh_error *err);

/* Trains, evaluates, saves and reports. Everything above `trainer` stands
 * (mix may be empty). */
moh_status moh__run_execute(moh__run *run, moh_error *err);

/* Frees what the run holds, and what it was given. */
void moh__run_free(moh__run *run);

/* cli/run_state.c: saving and restoring it. */

/* A checkpoint of the step that was done last; those that are too many go. */
moh_status moh__run_save(moh__run *run, moh_error *err);
/* Whether one is wanted now, by --checkpoint-every or by the clock. */
bool moh__run_save_is_due(const moh__run *run);
/* The trainer goes on from run->from. */
moh_status moh__run_restore(moh__run *run, moh_error *err);

/* cli/run_report.c: what a run says. */

/* Data, model, memory, steps and time, on stderr, before the first step. */
moh_status moh__run_forecast(const moh__run *run, moh_error *err);
/* Refuses what takes more memory than the machine has. */
moh_status moh__run_check_memory(const moh__run *run, moh_error *err);
/* run.json: a new reference, NULL when memory ran out. */
json_t *moh__run_record(const moh__run *run);
/* The losses on stdout, as text or JSON; at the end of the run as
 * result.json, too, by which it is known to be finished. */
moh_status moh__run_report(const moh__run *run,
                           const moh__run_result *result, moh_error *err);
/* {"tokens", "loss", "sequence_loss"} */
json_t *moh__eval_json(const moh__eval_result *result);

#endif
