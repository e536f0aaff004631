/*
 * Only the files that a run writes are ever removed, and only from a
 * directory that has a run.json.
 */
#include "run_dir.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

static const char *const run_files[] = {"log.jsonl", "checkpoints", "best",
                                        "final", "run.json"};
enum {
  N_RUN_FILES = sizeof run_files / sizeof run_files[0],
  OPEN_DIRS = 8, /* while removing */
  LOG_DIGITS = 7 /* of reals: those that a float has */
};

static moh_status out_of_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* ---- what is there ---- */

static moh_status count_entries(const char *path, int *n, moh_error *err) {
  *n = 0;
  DIR *dir = opendir(path);
  if (dir == NULL) {
    if (errno == ENOENT) return MOH_OK;
    return moh__fail(err, MOH_ERR_IO, "%s: %s; name another --out", path,
                     strerror(errno));
  }
  for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
    *n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
  closedir(dir);
  return MOH_OK;
}

static bool holds_run(const char *path) {
  char *record = moh__path_join(path, "run.json");
  bool holds = record != NULL && access(record, F_OK) == 0;
  free(record);
  return holds;
}

moh_status moh__run_dir_check(const char *path, bool overwrite,
                              moh_error *err) {
  int n;
  MOH_TRY(count_entries(path, &n, err));
  if (n == 0) return MOH_OK;
  if (!holds_run(path))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s is not empty and holds no run; name another --out",
                     path);
  if (overwrite) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s holds a run already; name another --out, or replace "
                   "it with --overwrite",
                   path);
}

/* ---- removing ---- */

static int remove_entry(const char *path, const struct stat *info, int type,
                        struct FTW *place) {
  (void)info, (void)type, (void)place;
  return remove(path);
}

/* A file or a directory with all that is in it; links are not followed. */
static moh_status remove_tree(const char *path, moh_error *err) {
  if (nftw(path, remove_entry, OPEN_DIRS, FTW_DEPTH | FTW_PHYS) == 0 ||
      errno == ENOENT)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_IO, "%s could not be removed: %s", path,
                   strerror(errno));
}

static moh_status remove_run(const moh__run_dir *dir, moh_error *err) {
  for (int i = 0; i < N_RUN_FILES; i++) {
    char *path = moh__run_dir_path(dir, run_files[i]);
    if (path == NULL) return out_of_memory(err);
    moh_status status = remove_tree(path, err);
    free(path);
    MOH_TRY(status);
  }
  return MOH_OK;
}

/* ---- opening ---- */

static moh_status open_log(moh__run_dir *dir, moh_error *err) {
  char *path = moh__run_dir_path(dir, "log.jsonl");
  if (path == NULL) return out_of_memory(err);
  dir->log = fopen(path, "we");
  moh_status status = MOH_OK;
  if (dir->log == NULL)
    status = moh__fail(err, MOH_ERR_IO, "%s could not be opened: %s", path,
                       strerror(errno));
  free(path);
  return status;
}

static moh_status save_record(const moh__run_dir *dir, const json_t *record,
                              moh_error *err) {
  char *path = moh__run_dir_path(dir, "run.json");
  if (path == NULL) return out_of_memory(err);
  moh_status status = moh__json_save(record, path, err);
  free(path);
  return status;
}

moh_status moh__run_dir_open(moh__run_dir *dir, const char *path,
                             const json_t *record, moh_error *err) {
  *dir = (moh__run_dir){path, NULL};
  MOH_TRY(moh__make_dirs(path, err));
  MOH_TRY(remove_run(dir, err));
  MOH_TRY(save_record(dir, record, err));
  return open_log(dir, err);
}

void moh__run_dir_close(moh__run_dir *dir) {
  if (dir->log != NULL) fclose(dir->log);
  dir->log = NULL;
}

/* ---- the log ---- */

moh_status moh__run_dir_log(moh__run_dir *dir, json_t *line,
                            moh_error *err) {
  char *text =
      line != NULL
          ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(LOG_DIGITS))
          : NULL;
  json_decref(line);
  if (text == NULL) return out_of_memory(err);
  bool written =
      fprintf(dir->log, "%s\n", text) > 0 && fflush(dir->log) == 0;
  free(text);
  if (written) return MOH_OK;
  return moh__fail(err, MOH_ERR_IO, "%s/log.jsonl could not be written: %s",
                   dir->path, strerror(errno));
}

/* ---- paths ---- */

char *moh__run_dir_path(const moh__run_dir *dir, const char *name) {
  return moh__path_join(dir->path, name);
}

char *moh__run_dir_checkpoint(const moh__run_dir *dir, int64_t step) {
  char name[64];
  snprintf(name, sizeof name, "checkpoints/step-%06" PRId64, step);
  return moh__run_dir_path(dir, name);
}

moh_status moh__run_dir_drop_checkpoint(const moh__run_dir *dir,
                                        int64_t step, moh_error *err) {
  char *path = moh__run_dir_checkpoint(dir, step);
  if (path == NULL) return out_of_memory(err);
  moh_status status = remove_tree(path, err);
  free(path);
  return status;
}
