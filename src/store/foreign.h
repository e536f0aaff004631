/*
 * What other programs write, where a model directory of ours is wanted: such
 * a file or directory is told apart by its content and refused with what
 * makes a model of it.
 */
#ifndef MOH_STORE_FOREIGN_H
#define MOH_STORE_FOREIGN_H

#include "base/status.h"

/* A file of whatever kind: no directory. What is not there is no matter of
 * these; whoever opens it says so. */
moh_status moh__refuse_file(const char *path, moh_error *err);

/* A file, or a directory of the LLaMA family as other programs (and moh
 * export) write them: no manifest, but a config.json that is not of the type
 * "moh". */
moh_status moh__refuse_foreign(const char *path, moh_error *err);

#endif
