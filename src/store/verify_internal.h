/* What the parts of the checking share. */
#ifndef MOH_STORE_VERIFY_INTERNAL_H
#define MOH_STORE_VERIFY_INTERNAL_H

#include "base/hash.h"
#include "model/model.h"
#include "store/verify.h"

typedef struct moh__verifier {
  const moh__verify_hooks *hooks;
  moh__verify_counts *counts;
  moh__model *model; /* of the directory's configuration, or NULL */
  const char *path;  /* of the file that is being read */
  int64_t done, all; /* bytes of it */
} moh__verifier;

void moh__verify_report(moh__verifier *v, moh__verdict verdict,
                        const char *path, int64_t size, const char *reason);

/* Reports a file by what became of its check. Only what ends the checking
 * itself is passed on. */
moh_status moh__verify_outcome(moh__verifier *v, const char *path,
                               int64_t size, moh_status status,
                               const moh_error *err);

/* Ticks of a file of `all` bytes. */
moh__watch moh__verify_watch(moh__verifier *v, const char *path,
                             int64_t all);

/* A directory with a manifest: model, checkpoint, or shards. */
moh_status moh__verify_dir(moh__verifier *v, const char *dir,
                           moh_error *err);

/* verify_run.c: a directory with run.json. */
moh_status moh__verify_run(moh__verifier *v, const char *dir,
                           moh_error *err);

/* verify_file.c: what is in a file, by its name. Messages name the path. */
moh_status moh__verify_content(moh__verifier *v, const char *path,
                               moh_error *err);
/* Whether the name tells what should be in it. */
bool moh__verify_knows(const char *path);

#endif
