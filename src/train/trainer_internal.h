/* The trainer's state, for trainer.c and what saves and restores it. */
#ifndef MOH_TRAIN_TRAINER_INTERNAL_H
#define MOH_TRAIN_TRAINER_INTERNAL_H

#include <jansson.h>

#include "base/arena.h"
#include "op/tape.h"
#include "train/batcher.h"
#include "train/head_control.h"
#include "train/loads.h"
#include "train/lora.h"
#include "train/optimizer.h"
#include "train/outliers.h"
#include "train/trainer.h"
#include "train/windows.h"

struct moh__trainer {
  moh__model *model;
  moh__pool *pool;
  moh__train_options options;
  char *freeze, *lora_on; /* options.freeze, options.lora_on, owned */
  moh__batcher batcher;
  moh__micro_batch micro;
  moh__span *spans; /* [batch * accumulate] of the step in work */
  moh__optimizer *optimizer;
  moh__lora *lora; /* NULL: none; then there is no optimizer of it */
  moh__optimizer *lora_optimizer;
  moh__arena arena;
  moh__tape tape;
  moh__stop_fn *stop; /* NULL: never */
  void *stop_context;
  int64_t n_steps;
  int64_t step; /* done, or skipped; the optimizer counts its updates */
  moh__outliers outliers;
  moh__loads heads, experts;
  moh__windows windows;
  moh__head_control control;
  json_t *data_hashes;     /* made when first needed: checkpoint.c */
};

/* SHA-256 of the data that is trained on, [main] or [main, mix], to know it
 * again: an array, borrowed; NULL on failure. */
const json_t *moh__trainer_data_hashes(moh__trainer *trainer,
                                       moh_error *err);

/* Calls fn for the moments of every trained tensor: "m.NAME", "v.NAME" and
 * with AMSGrad "x.NAME", the largest v; and for adapters, "w.NAME", which no
 * model's file has. */
typedef moh_status moh__moment_fn(void *context, const char *name,
                                  const moh__param *w, real *data,
                                  moh_error *err);
moh_status moh__trainer_each_moment(const moh__trainer *trainer,
                                    moh__moment_fn *fn, void *context,
                                    moh_error *err);

#endif
