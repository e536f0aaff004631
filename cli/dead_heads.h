/*
 * Routed heads that no token uses: the sign of a router that has collapsed. A
 * step is too short to tell, so a training is watched in stretches of a
 * twentieth of its steps, ten at least.
 */
#ifndef MOH_CLI_DEAD_HEADS_H
#define MOH_CLI_DEAD_HEADS_H

#include "progress.h"
#include "train/trainer.h"

typedef struct moh__dead_heads {
  int64_t every;       /* steps of a stretch */
  int64_t n;           /* seen of this one */
  int32_t n_columns;   /* routed heads of all layers */
  unsigned char *used; /* [n_columns], layer by layer; NULL: not begun */
} moh__dead_heads;

/* Empty; steps may be seen from anywhere in the training. */
void moh__dead_heads_init(moh__dead_heads *dead, int64_t n_steps);
void moh__dead_heads_free(moh__dead_heads *dead);

/* Takes in a step. At the end of a stretch that was seen as a whole and in
 * which some heads were not used, these are shown and added to the step's line
 * of the log, "dead_heads": {"steps": 50, "layers": [[], [3, 5], ...]}, numbers
 * among the routed heads of each layer, from 0. */
moh_status moh__dead_heads_step(moh__dead_heads *dead,
                                const moh__step_report *report,
                                moh__progress *progress, json_t *line,
                                moh_error *err);

#endif
