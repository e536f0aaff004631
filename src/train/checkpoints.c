/*
 * The checkpoints of a run: directories step-NNNNNN side by side. One that
 * is being written is called step-NNNNNN.part.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/trainer.h"

static const char prefix[] = "step-";
static const char unfinished[] = ".part";

char *moh__checkpoint_path(const char *dir, int64_t step) {
  char name[64];
  snprintf(name, sizeof(name), "%s%06" PRId64, prefix, step);
  return moh__path_join(dir, name);
}

/* The step of a checkpoint's name, -1 of another one. */
static int64_t step_of(const char *name) {
  size_t n = strlen(prefix);
  if (strncmp(name, prefix, n) != 0) return -1;
  const char *digits = name + n;
  size_t n_digits = strspn(digits, "0123456789");
  if (n_digits == 0 || n_digits > 15 || digits[n_digits] != '\0') return -1;
  return strtoll(digits, NULL, 10);
}

static bool is_unfinished(const char *name) {
  size_t n = strlen(name), end = strlen(unfinished);
  return n > end && strncmp(name, prefix, strlen(prefix)) == 0 &&
         strcmp(name + n - end, unfinished) == 0;
}

typedef struct steps {
  int64_t *steps;
  size_t n;
} steps;

static moh_status add_step(steps *all, int64_t step, moh_error *err) {
  int64_t *grown =
      reallocarray(all->steps, all->n + 1, sizeof(*all->steps));
  if (grown == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  all->steps = grown;
  all->steps[all->n++] = step;
  return MOH_OK;
}

static int newest_first(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

static moh_status fail_dir(const char *dir, moh_error *err) {
  return moh__fail(err, MOH_ERR_IO, "cannot read '%s': %s", dir,
                   strerror(errno));
}

/* The steps of all checkpoints, newest first; none where there is no such
 * directory. all->steps is to be freed, also on failure. */
static moh_status list_steps(const char *dir, steps *all, moh_error *err) {
  *all = (steps){NULL, 0};
  DIR *stream = opendir(dir);
  if (stream == NULL) return errno == ENOENT ? MOH_OK : fail_dir(dir, err);
  moh_status status = MOH_OK;
  for (struct dirent *e; status == MOH_OK && (e = readdir(stream));) {
    int64_t step = step_of(e->d_name);
    if (step >= 0) status = add_step(all, step, err);
  }
  closedir(stream);
  if (all->n > 0)
    qsort(all->steps, all->n, sizeof(*all->steps), newest_first);
  return status;
}

/* ---- the newest ---- */

static moh_status open_newest(moh__checkpoint *c, const char *dir,
                              const steps *all, moh__skipped_fn *skipped,
                              void *context, moh_error *err) {
  for (size_t i = 0; i < all->n; i++) {
    moh_error reason = {MOH_OK, ""};
    char *path = moh__checkpoint_path(dir, all->steps[i]);
    if (path == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
    moh_status status = moh__checkpoint_open(c, path, &reason);
    if (status != MOH_OK && skipped != NULL)
      skipped(context, path, &reason);
    free(path);
    if (status == MOH_OK) return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_IO, "'%s' holds no whole checkpoint", dir);
}

moh_status moh__checkpoint_newest(moh__checkpoint *c, const char *dir,
                                  moh__skipped_fn *skipped, void *context,
                                  moh_error *err) {
  steps all;
  *c = (moh__checkpoint){.dir = NULL};
  moh_status status = list_steps(dir, &all, err);
  if (status == MOH_OK)
    status = open_newest(c, dir, &all, skipped, context, err);
  free(all.steps);
  return status;
}

/* ---- removing ---- */

static moh_status remove_unfinished(const char *dir, moh_error *err) {
  DIR *stream = opendir(dir);
  if (stream == NULL) return errno == ENOENT ? MOH_OK : fail_dir(dir, err);
  moh_status status = MOH_OK;
  for (struct dirent *e; status == MOH_OK && (e = readdir(stream));) {
    if (!is_unfinished(e->d_name)) continue;
    char *path = moh__path_join(dir, e->d_name);
    status = path == NULL ? MOH_ERR_MEMORY : moh__remove_tree(path, err);
    free(path);
  }
  closedir(stream);
  return status;
}

moh_status moh__checkpoints_keep(const char *dir, int64_t n,
                                 moh_error *err) {
  steps all;
  moh_status status = list_steps(dir, &all, err);
  for (size_t i = (size_t)n; status == MOH_OK && i < all.n; i++) {
    char *path = moh__checkpoint_path(dir, all.steps[i]);
    status = path == NULL ? MOH_ERR_MEMORY : moh__remove_tree(path, err);
    free(path);
  }
  free(all.steps);
  MOH_TRY(status);
  return remove_unfinished(dir, err);
}
