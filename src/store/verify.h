/*
 * Checking what is stored: a model directory or checkpoint, the directory
 * of a run, a directory of shards, or a single file. Everything is looked
 * at, also behind the first fault:
 *
 *  - size and SHA-256 of every file that a manifest lists;
 *  - that configurations, tokenizers, logs and other JSON can be read;
 *  - that tensors are those of the configuration, and finite;
 *  - that moments fit the parameters, and token ids the vocabulary;
 *  - files that nothing lists are mentioned; they are no fault.
 */
#ifndef MOH_STORE_VERIFY_H
#define MOH_STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum moh__verdict {
  MOH__GOOD,
  MOH__BAD,
  MOH__UNLISTED
} moh__verdict;

typedef struct moh__finding {
  moh__verdict verdict;
  const char *path;
  int64_t size;       /* bytes, -1 where that says nothing */
  const char *reason; /* why, or "" */
} moh__finding;

typedef struct moh__verify_hooks {
  /* Each file once; what the finding points to holds during the call. */
  void (*report)(void *context, const moh__finding *finding);
  /* While a file is read: how much of it; false stops. NULL is fine. */
  bool (*tick)(void *context, const char *path, int64_t done, int64_t all);
  void *context;
} moh__verify_hooks;

typedef struct moh__verify_counts {
  int64_t n_good, n_bad, n_unlisted;
} moh__verify_counts;

/* Faults are reported and added to counts; the status is about the checking
 * itself: MOH_ERR_INTERRUPTED when stopped, MOH_ERR_MEMORY. */
moh_status moh__verify(const char *path, const moh__verify_hooks *hooks,
                       moh__verify_counts *counts, moh_error *err);

/* What a run writes into its directory; NULL at the end. */
extern const char *const moh__run_names[];

#endif
