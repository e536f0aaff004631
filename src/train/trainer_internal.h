/* The trainer's state, for trainer.c, checkpoint.c and report.c. */
#ifndef MOH_TRAIN_TRAINER_INTERNAL_H
#define MOH_TRAIN_TRAINER_INTERNAL_H

#include "base/arena.h"
#include "op/tape.h"
#include "train/batcher.h"
#include "train/optimizer.h"
#include "train/outliers.h"
#include "train/trainer.h"

struct moh__trainer {
  moh__model *model;
  moh__pool *pool;
  moh__train_options options;
  moh__batcher batcher;
  moh__micro_batch micro;
  moh__span *spans; /* [batch * accumulate] of the step in work */
  moh__optimizer *optimizer;
  moh__arena arena;
  moh__tape tape;
  int64_t n_steps;
  int64_t step; /* done, or skipped; the optimizer counts its updates */
  moh__outliers outliers;
  int32_t n_routed_layers;
  moh__layer_load *layers; /* [n_routed_layers] */
  real *loads;             /* [n_routed_layers][n_routed] */
};

#endif
