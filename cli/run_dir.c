/*
 * Only the files that a run writes are ever removed, and only from a
 * directory that has a run.json.
 */
#include "run_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "store/verify.h"

enum { LOG_DIGITS = 7 }; /* of reals: those that a float has */

static moh_status out_of_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* ---- what is there ---- */

moh_status moh__run_dir_check(const char *path, bool overwrite,
                              moh_error *err) {
  moh__names names;
  MOH_TRY(moh__list_dir(&names, path, err));
  bool empty = names.n == 0;
  moh__names_free(&names);
  if (empty) return MOH_OK;
  if (!moh__holds(path, "run.json"))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s is not empty and holds no run; name another --out",
                     path);
  if (overwrite) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s holds a run already; name another --out, or replace "
                   "it with --overwrite",
                   path);
}

/* Whether a path is the directory or lies in it; both are real paths. */
static bool lies_in(const char *path, const char *dir) {
  size_t n = strlen(dir);
  return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

moh_status moh__run_dir_outside(const char *dir, const char *option,
                                const char *path, moh_error *err) {
  char *real = realpath(path, NULL), *real_dir = realpath(dir, NULL);
  bool inside = real != NULL && real_dir != NULL && lies_in(real, real_dir);
  free(real);
  free(real_dir);
  if (!inside) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "--%s %s lies in %s, which would be replaced; name "
                   "another --out",
                   option, path, dir);
}

/* ---- removing ---- */

/* "run.json.12-3.tmp", "best.part" and the like. */
static bool is_leftover(const char *name) {
  size_t n = strlen(name);
  for (int i = 0; moh__run_names[i] != NULL; i++) {
    size_t front = strlen(moh__run_names[i]);
    if (strncmp(name, moh__run_names[i], front) != 0 || n < front + 5)
      continue;
    if (strcmp(name + front, ".part") == 0) return true;
    if (name[front] == '.' && strcmp(name + n - 4, ".tmp") == 0)
      return true;
  }
  return false;
}

static moh_status remove_leftovers(const moh__run_dir *dir,
                                   moh_error *err) {
  moh__names names;
  moh_status status = moh__list_dir(&names, dir->path, err);
  for (size_t i = 0; status == MOH_OK && i < names.n; i++) {
    if (!is_leftover(names.names[i])) continue;
    char *path = moh__run_dir_path(dir, names.names[i]);
    status =
        path == NULL ? out_of_memory(err) : moh__remove_tree(path, err);
    free(path);
  }
  moh__names_free(&names);
  return status;
}

static moh_status remove_run(const moh__run_dir *dir, moh_error *err) {
  MOH_TRY(remove_leftovers(dir, err));
  for (int i = 0; moh__run_names[i] != NULL; i++) {
    char *path = moh__run_dir_path(dir, moh__run_names[i]);
    if (path == NULL) return out_of_memory(err);
    moh_status status = moh__remove_tree(path, err);
    free(path);
    MOH_TRY(status);
  }
  return MOH_OK;
}

/* ---- opening ---- */

static moh_status fail_log(const moh__run_dir *dir, const char *what,
                           moh_error *err) {
  return moh__fail(err, MOH_ERR_IO, "%s/log.jsonl could not be %s: %s",
                   dir->path, what, strerror(errno));
}

static moh_status open_log(moh__run_dir *dir, const char *mode,
                           moh_error *err) {
  char *path = moh__run_dir_path(dir, "log.jsonl");
  if (path == NULL) return out_of_memory(err);
  dir->log = fopen(path, mode);
  free(path);
  return dir->log != NULL ? MOH_OK : fail_log(dir, "opened", err);
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
  *dir = (moh__run_dir){path, 0, NULL};
  MOH_TRY(moh__make_dirs(path, err));
  MOH_TRY(moh__lock_dir(path, &dir->lock, err));
  MOH_TRY(remove_run(dir, err));
  MOH_TRY(save_record(dir, record, err));
  return open_log(dir, "we", err);
}

/* Whether a line of the log stays when the run goes on after a step. A line
 * that a crash cut off does not. */
static bool line_stays(const char *line, size_t n, int64_t step,
                       bool eval_due) {
  json_t *object = json_loadb(line, n, 0, NULL);
  const json_t *eval = json_object_get(object, "eval");
  const json_t *place =
      json_object_get(eval != NULL ? eval : object, "step");
  int64_t last = eval != NULL && eval_due ? step - 1 : step;
  bool stays = json_is_integer(place) &&
               json_integer_value(place) <= last &&
               json_object_get(eval, "final") == NULL;
  json_decref(object);
  return stays;
}

static moh_status copy_lines(const moh__map *log, int64_t step,
                             bool eval_due, moh__writer *writer,
                             moh_error *err) {
  const char *at = (const char *)log->bytes;
  for (size_t left = log->size; left > 0;) {
    const char *end = memchr(at, '\n', left);
    if (end == NULL) break;
    size_t n = (size_t)(end - at) + 1;
    if (line_stays(at, n, step, eval_due))
      MOH_TRY(moh__writer_put(writer, at, n, err));
    at += n;
    left -= n;
  }
  return MOH_OK;
}

static moh_status cut_log(const char *path, int64_t step, bool eval_due,
                          moh_error *err) {
  moh__map log;
  moh__writer *writer = NULL;
  MOH_TRY(moh__map_open(&log, path, err));
  moh_status status = moh__writer_open(&writer, path, err);
  if (status == MOH_OK)
    status = copy_lines(&log, step, eval_due, writer, err);
  if (status == MOH_OK)
    status = moh__writer_commit(writer, err);
  else
    moh__writer_discard(writer);
  moh__map_close(&log);
  return status;
}

moh_status moh__run_dir_reopen(moh__run_dir *dir, const char *path,
                               int64_t step, bool eval_due,
                               moh_error *err) {
  *dir = (moh__run_dir){path, 0, NULL};
  MOH_TRY(moh__lock_dir(path, &dir->lock, err));
  MOH_TRY(remove_leftovers(dir, err));
  char *log = moh__run_dir_path(dir, "log.jsonl");
  if (log == NULL) return out_of_memory(err);
  moh_status status = cut_log(log, step, eval_due, err);
  free(log);
  MOH_TRY(status);
  return open_log(dir, "ae", err);
}

void moh__run_dir_close(moh__run_dir *dir) {
  if (dir->log != NULL) fclose(dir->log);
  if (dir->lock > 0) close(dir->lock);
  dir->log = NULL;
  dir->lock = 0;
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
  return written ? MOH_OK : fail_log(dir, "written", err);
}

moh_status moh__run_dir_sync(moh__run_dir *dir, moh_error *err) {
  return fsync(fileno(dir->log)) == 0 ? MOH_OK
                                      : fail_log(dir, "written", err);
}

/* ---- paths ---- */

char *moh__run_dir_path(const moh__run_dir *dir, const char *name) {
  return moh__path_join(dir->path, name);
}
