/*
 * The checkpoints of a run: directories step-NNNNNN side by side. One that
 * is being written is called step-NNNNNN.part.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
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
  int64_t *steps; /* the newest first */
  size_t n;
} steps;

static int newest_first(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* The steps of all checkpoints; none where there is no such directory.
 * all->steps is to be freed. */
static moh_status list_steps(const char *dir, steps *all, moh_error *err) {
  moh__names names;
  *all = (steps){NULL, 0};
  MOH_TRY(moh__list_dir(&names, dir, err));
  all->steps = calloc(names.n + 1, sizeof(*all->steps));
  for (size_t i = 0; all->steps != NULL && i < names.n; i++) {
    int64_t step = step_of(names.names[i]);
    if (step >= 0) all->steps[all->n++] = step;
  }
  moh__names_free(&names);
  if (all->steps == NULL) return fail_memory(err);
  qsort(all->steps, all->n, sizeof(*all->steps), newest_first);
  return MOH_OK;
}

moh_status moh__checkpoints_count(const char *dir, size_t *n,
                                  moh_error *err) {
  steps all;
  moh_status status = list_steps(dir, &all, err);
  *n = all.n;
  free(all.steps);
  return status;
}

/* ---- the newest ---- */

static moh_status open_newest(moh__checkpoint *c, const char *dir,
                              const steps *all, moh__skipped_fn *skipped,
                              void *context, moh_error *err) {
  for (size_t i = 0; i < all->n; i++) {
    moh_error reason = {MOH_OK, ""};
    char *path = moh__checkpoint_path(dir, all->steps[i]);
    if (path == NULL) return fail_memory(err);
    moh_status status = moh__checkpoint_open(c, path, &reason);
    if (status != MOH_OK && skipped != NULL)
      skipped(context, path, &reason);
    free(path);
    if (status == MOH_OK) return MOH_OK;
    if (status == MOH_ERR_MEMORY) /* it may be whole */
      return moh__fail(err, status, "%s", reason.message);
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
  moh__names names;
  moh_status status = moh__list_dir(&names, dir, err);
  for (size_t i = 0; status == MOH_OK && i < names.n; i++) {
    if (!is_unfinished(names.names[i])) continue;
    char *path = moh__path_join(dir, names.names[i]);
    status = path == NULL ? fail_memory(err) : moh__remove_tree(path, err);
    free(path);
  }
  moh__names_free(&names);
  return status;
}

/* It loses its name first, so that no half a checkpoint ever has one. */
static moh_status drop(const char *dir, int64_t step, moh_error *err) {
  char *path = moh__checkpoint_path(dir, step), *part = NULL;
  moh_status status = MOH_OK;
  if (path == NULL || asprintf(&part, "%s%s", path, unfinished) < 0)
    status = fail_memory(err);
  if (status == MOH_OK) status = moh__remove_tree(part, err);
  if (status == MOH_OK) status = moh__move_file(path, part, err);
  free(path);
  free(part);
  return status;
}

moh_status moh__checkpoints_keep(const char *dir, int64_t n, int64_t step,
                                 moh_error *err) {
  steps all;
  int64_t n_kept = 0;
  moh_status status = list_steps(dir, &all, err);
  for (size_t i = 0; status == MOH_OK && i < all.n; i++)
    if (all.steps[i] <= step && ++n_kept > n)
      status = drop(dir, all.steps[i], err);
  free(all.steps);
  MOH_TRY(status);
  return remove_unfinished(dir, err);
}
