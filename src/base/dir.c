/* Directories as wholes, on top of base/file.h. */
#include "base/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

/* ---- replacing ---- */

/* Where names cannot be exchanged, the old one steps aside for a moment. */
static moh_status replace_in_steps(const char *from, const char *to,
                                   moh_error *err) {
  char *old = NULL;
  if (asprintf(&old, "%s.old.part", to) < 0)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__remove_tree(old, err);
  if (status == MOH_OK) status = moh__move_file(to, old, err);
  if (status == MOH_OK) {
    status = moh__move_file(from, to, err);
    if (status == MOH_OK)
      status = moh__remove_tree(old, err);
    else
      moh__move_file(old, to, NULL);
  }
  free(old);
  return status;
}

moh_status moh__replace_dir(const char *from, const char *to,
                            moh_error *err) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) {
    MOH_TRY(moh__sync_parent(to, err));
    return moh__remove_tree(from, err);
  }
  if (errno == ENOENT) return moh__move_file(from, to, err);
  return replace_in_steps(from, to, err);
}

/* ---- making, and taking it back ---- */

/* Without the last name and the slashes before it. */
static size_t parent_end(const char *path, size_t n) {
  while (n > 0 && path[n - 1] == '/') n--;
  while (n > 0 && path[n - 1] != '/') n--;
  while (n > 0 && path[n - 1] == '/') n--;
  return n;
}

size_t moh__dir_front(const char *path) {
  char *front = strdup(path);
  size_t n = strlen(path);
  if (front == NULL) return n; /* then nothing is taken back */
  while (n > 0 && !moh__is_directory(front)) {
    n = parent_end(path, n);
    front[n] = '\0';
  }
  free(front);
  return n;
}

void moh__remove_dirs(const char *path, size_t n) {
  char *front = strdup(path);
  size_t end = strlen(path);
  while (front != NULL && end > n) {
    front[end] = '\0';
    if (rmdir(front) != 0 && errno != ENOENT) break;
    end = parent_end(path, end);
  }
  free(front);
}

/* ---- listing ---- */

void moh__names_free(moh__names *names) {
  for (size_t i = 0; i < names->n; i++) free(names->names[i]);
  free(names->names);
  *names = (moh__names){NULL, 0};
}

static bool add_name(moh__names *names, const char *name) {
  char **grown =
      reallocarray(names->names, names->n + 1, sizeof(*names->names));
  if (grown == NULL) return false;
  names->names = grown;
  grown[names->n] = strdup(name);
  return grown[names->n++] != NULL;
}

static int by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

moh_status moh__list_dir(moh__names *names, const char *path,
                         moh_error *err) {
  *names = (moh__names){NULL, 0};
  DIR *dir = opendir(path);
  if (dir == NULL) {
    if (errno == ENOENT) return MOH_OK;
    return moh__fail(err, MOH_ERR_IO, "cannot read the directory '%s': %s",
                     path, strerror(errno));
  }
  bool added = true;
  for (struct dirent *e; added && (e = readdir(dir)) != NULL;)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      added = add_name(names, e->d_name);
  closedir(dir);
  if (added) {
    if (names->n > 0)
      qsort(names->names, names->n, sizeof(*names->names), by_bytes);
    return MOH_OK;
  }
  moh__names_free(names);
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

/* ---- one process at a time ---- */

moh_status moh__lock_dir(const char *path, int *lock, moh_error *err) {
  *lock = 0;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return moh__fail(err, MOH_ERR_IO, "%s could not be opened: %s", path,
                     strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
    *lock = fd;
    return MOH_OK;
  }
  close(fd);
  return moh__fail(err, MOH_ERR_IO,
                   "another process is working in %s; wait for its end",
                   path);
}
