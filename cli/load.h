/* Opening a model for a command: a model directory, or a run's directory,
 * which means its final/. */
#ifndef MOH_CLI_LOAD_H
#define MOH_CLI_LOAD_H

#include "base/pool.h"
#include "options.h"
#include "store/model_dir.h"

/* The model directory that a path means, to be freed; NULL when memory ran
 * out. */
char *moh__load_path(const char *path);

/* MOH_ERR_ARGUMENT for a checkpoint whose matrices lack what its adapters
 * learned. */
moh_status moh__load_check(const char *dir, moh_error *err);

/* A model with its tokenizer, as options say. */
moh_status moh__load(const char *path, moh__load_options options,
                     moh__model **model, moh__tokenizer **tokenizer,
                     moh_error *err);

/* What a model computes in: as chosen, or as its weights are stored. */
moh__precision moh__load_precision(const moh__model *model, int chosen);

/* A model that is ready to run: options of the commands that run one. */
typedef struct moh__runner_values {
  const char *model;
  int64_t threads;
  int precision;
  bool verify;
  const char *heads; /* another choice than the model's; NULL: its own */
} moh__runner_values;

extern const moh__option moh__runner_options[];

typedef struct moh__runner {
  moh__model *model;
  moh__tokenizer *tokenizer;
  moh__pool *pool;
} moh__runner;

moh_status moh__runner_open(moh__runner *runner,
                            const moh__runner_values *values, moh_error *err);
void moh__runner_close(moh__runner *runner);

#endif
