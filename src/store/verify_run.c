/*
 * The directory of a run: run.json, the log, and the models and checkpoints
 * in it. What a killed process leaves behind is mentioned, and no fault.
 */
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "store/verify_internal.h"

const char *const moh__run_names[] = {
    "log.jsonl",   "checkpoints", "best",     "final",
    "result.json", "report.html", "run.json", NULL};

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for checking");
}

static bool is_run_name(const char *name) {
  int i = 0;
  while (moh__run_names[i] != NULL && strcmp(moh__run_names[i], name) != 0)
    i++;
  return moh__run_names[i] != NULL;
}

static moh_status check_file(moh__verifier *v, const char *path,
                             moh_error *err) {
  moh_error reason = {MOH_OK, ""};
  moh_status status = moh__verify_content(v, path, &reason);
  status = moh__verify_outcome(v, path, -1, status, &reason);
  if (status != MOH_OK && err != NULL) *err = reason;
  return status;
}

/* Calls fn for each name in a directory, in order. */
static moh_status each_name(moh__verifier *v, const char *dir,
                            moh_status (*fn)(moh__verifier *v,
                                             const char *path,
                                             const char *name,
                                             moh_error *err),
                            moh_error *err) {
  moh__names names;
  MOH_TRY(moh__list_dir(&names, dir, err));
  moh_status status = MOH_OK;
  for (size_t i = 0; status == MOH_OK && i < names.n; i++) {
    char *path = moh__path_join(dir, names.names[i]);
    status = path == NULL ? no_memory(err) : fn(v, path, names.names[i], err);
    free(path);
  }
  moh__names_free(&names);
  return status;
}

static bool is_checkpoint(const char *name) {
  return strncmp(name, "step-", 5) == 0 && name[5] != '\0' &&
         name[5 + strspn(name + 5, "0123456789")] == '\0';
}

static moh_status check_checkpoint(moh__verifier *v, const char *path,
                                   const char *name, moh_error *err) {
  if (is_checkpoint(name)) return moh__verify_dir(v, path, err);
  moh__verify_report(v, MOH__UNLISTED, path, -1,
                     "is no checkpoint; what is left of one that was being "
                     "written or removed, perhaps");
  return MOH_OK;
}

static moh_status check_entry(moh__verifier *v, const char *path,
                              const char *name, moh_error *err) {
  if (!is_run_name(name)) {
    moh__verify_report(v, MOH__UNLISTED, path, -1, "is no part of a run");
    return MOH_OK;
  }
  if (strcmp(name, "report.html") == 0) return MOH_OK; /* for people only */
  if (strcmp(name, "checkpoints") == 0)
    return each_name(v, path, check_checkpoint, err);
  if (strchr(name, '.') != NULL) return check_file(v, path, err);
  return moh__verify_dir(v, path, err);
}

moh_status moh__verify_run(moh__verifier *v, const char *dir,
                           moh_error *err) {
  char *log = moh__path_join(dir, "log.jsonl");
  if (log == NULL) return no_memory(err);
  moh__map map;
  moh_error reason = {MOH_OK, ""};
  moh_status status = moh__map_open(&map, log, &reason);
  moh__map_close(&map);
  if (status != MOH_OK)
    moh__verify_report(v, MOH__BAD, log, -1, reason.message);
  free(log);
  return each_name(v, dir, check_entry, err);
}
