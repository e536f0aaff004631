/*
 * Going on with a run: its directory says what was asked for (run.json), and
 * its newest whole checkpoint how far it came.
 */
#ifndef MOH_CLI_RESUME_H
#define MOH_CLI_RESUME_H

#include "options.h"

/* What --resume DIR does, for train and tune. The values of both begin with
 * moh__training_values. */
moh_status moh__resume(const moh__call *call, const char *dir,
                       moh_error *err);

#endif
