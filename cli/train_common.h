/*
 * What train and tune share: the options of training, their defaults, and
 * the data. The run itself is in run.h.
 */
#ifndef MOH_CLI_TRAIN_COMMON_H
#define MOH_CLI_TRAIN_COMMON_H

#include "data_source.h"
#include "model/config.h"
#include "options.h"
#include "text/dataset.h"
#include "train/trainer.h"

typedef struct moh__training_values {
  const char *data, *out, *freeze, *lora, *lora_on;
  int64_t epochs, steps, batch, accumulate, context, seed, threads;
  int64_t heads_warmup;
  double lr, lr_final, warmup, weight_decay, clip, beta1, beta2, router_lr;
  double expert_balance, expert_z;
  double balance_weight, z_weight, skip_outliers, anomaly, agc;
  double sparsity, target_heads;
  double held_out;
  int64_t eval_every, eval_tokens, final_eval_tokens;
  int64_t checkpoint_every, keep_checkpoints;
  bool overwrite, json, l2, amsgrad, recompute, centralize;
  int precision;
  const char *resume, *max_time;
  moh__format_values format;
  moh__sequence_values sequences;
} moh__training_values;

extern const moh__option moh__data_options[];     /* --data, --out, ... */
extern const moh__option moh__training_options[]; /* how to train */
extern const moh__option moh__run_options[];      /* evaluation, files */

/* Sensible training for a preset, or for "tune". Epochs are for examples,
 * steps for plain text, which has no epochs of its own. */
typedef struct moh__training_defaults {
  const char *name;
  int64_t epochs, steps;
  int32_t batch, accumulate, context;
  double lr, lr_final, warmup, weight_decay, clip, beta2, router_lr;
  double held_out; /* share of a plain text; of examples it is 0 */
} moh__training_defaults;

/* Those of an unknown name are nano's. */
const moh__training_defaults *moh__training_defaults_of(const char *name);

/* The options of the trainer: given values, else defaults. */
moh_status moh__training_fill(const moh__training_values *values,
                              const moh__training_defaults *defaults,
                              bool examples, moh__train_options *options,
                              moh_error *err);

/* "FILE:SHARE" of --mix; *path is to be freed. */
moh_status moh__training_parse_mix(const char *text, char **path,
                                   double *share, moh_error *err);

/* --max-time in seconds; 0 when it was not given. */
moh_status moh__training_max_time(const moh__training_values *values,
                                  double *seconds, moh_error *err);

/* What can be checked before any work: --data and --out are there, the
 * directory may be used, --max-time is a time. */
moh_status moh__training_check(const moh__training_values *values,
                               double *max_seconds, moh_error *err);

/* The share of the data that is held out. */
double moh__training_held_out(const moh__training_values *values,
                              const moh__training_defaults *defaults,
                              bool examples);

/* The loss weights that were given, into a configuration. What its heads have
 * no use for is MOH_ERR_ARGUMENT. */
moh_status moh__training_set_weights(const moh__training_values *values,
                                     moh__config *config, moh_error *err);

#endif
