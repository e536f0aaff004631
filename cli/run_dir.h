/*
 * The directory of a training run: run.json (what was asked for), log.jsonl
 * (a line for each step and evaluation), checkpoints/step-NNNNNN, best/ and
 * final/ (model directories).
 */
#ifndef MOH_CLI_RUN_DIR_H
#define MOH_CLI_RUN_DIR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef struct moh__run_dir {
  const char *path; /* the caller's */
  int lock;         /* descriptor of the directory; 0: none */
  FILE *log;
} moh__run_dir;

/* Refuses a directory that holds anything, unless overwrite is set and it
 * holds a run. Changes nothing: it is called before long work. */
moh_status moh__run_dir_check(const char *path, bool overwrite,
                              moh_error *err);

/* Refuses a path inside the directory, or the directory itself: what an
 * option names must not be replaced by what is made of it. */
moh_status moh__run_dir_outside(const char *dir, const char *option,
                                const char *path, moh_error *err);

/* Makes the directory, without the files of an earlier run, writes run.json
 * and opens the log. Until it is closed no other process can open it. */
moh_status moh__run_dir_open(moh__run_dir *dir, const char *path,
                             const json_t *record, moh_error *err);
/* Opens the directory of a run that goes on after a step: what its log says of
 * later ones, of final evaluations, and of the step's evaluation if that is
 * still due, is cut off, and what a killed process
 * has left half written is removed. */
moh_status moh__run_dir_reopen(moh__run_dir *dir, const char *path,
                               int64_t step, bool eval_due, moh_error *err);
void moh__run_dir_close(moh__run_dir *dir);

/* Appends a line to the log; takes the reference. NULL is out of memory. */
moh_status moh__run_dir_log(moh__run_dir *dir, json_t *line,
                            moh_error *err);

/* What was logged so far is on the disk afterwards. */
moh_status moh__run_dir_sync(moh__run_dir *dir, moh_error *err);

/* "DIR/name", to be freed; NULL when memory ran out. */
char *moh__run_dir_path(const moh__run_dir *dir, const char *name);

#endif
