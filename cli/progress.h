/* How far a training run is, on stderr (status_line.h). Losses and speeds
 * are moving averages. */
#ifndef MOH_CLI_PROGRESS_H
#define MOH_CLI_PROGRESS_H

#include <stdint.h>

#include "status_line.h"
#include "train/trainer.h"

typedef struct moh__progress {
  moh__status_line status;
  int64_t n_steps;
  int64_t first_step; /* steps done before this run */
  double main_loss, mix_loss, balance, heads; /* averages; NaN: none yet */
  double tokens, seconds;              /* recent sums, for the speed */
} moh__progress;

void moh__progress_start(moh__progress *progress, int64_t steps_done,
                         int64_t n_steps);
void moh__progress_step(moh__progress *progress,
                        const moh__step_report *report);

/* A line of its own that stays, above the bar. */
void moh__progress_note(moh__progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Removes the bar. */
void moh__progress_end(moh__progress *progress);

#endif
