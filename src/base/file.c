/*
 * Files: whole ones mapped for reading, and atomic replacement for writing.
 * A file under its name is always either the old one or the new one, whole:
 * new bytes go to a temporary file beside it, reach the disk (fsync), and
 * only then take the name (rename, fsync of the directory).
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct moh__writer {
  char *path; /* the final name */
  char *temporary;
  FILE *stream; /* NULL once closed */
};

static moh_status fail_io(moh_error *err, const char *what,
                          const char *path) {
  int code = errno;
  moh_status status = code == ENOMEM ? MOH_ERR_MEMORY : MOH_ERR_IO;
  return moh__fail(err, status, "cannot %s '%s': %s", what, path,
                   strerror(code));
}

/* ---- reading ---- */

static moh_status map_descriptor(moh__map *map, int fd, const char *path,
                                 moh_error *err) {
  struct stat info;
  if (fstat(fd, &info) != 0) return fail_io(err, "read", path);
  if (!S_ISREG(info.st_mode))
    return moh__fail(err, MOH_ERR_FORMAT, "'%s' is %s", path,
                     S_ISDIR(info.st_mode) ? "a directory, not a file"
                                           : "not a regular file");
  if (info.st_size == 0) return MOH_OK;
  size_t size = (size_t)info.st_size;
  void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) return fail_io(err, "map", path);
  map->bytes = bytes;
  map->size = size;
  return MOH_OK;
}

moh_status moh__map_open(moh__map *map, const char *path, moh_error *err) {
  memset(map, 0, sizeof(*map));
  /* Without O_NONBLOCK, opening a pipe would wait for its writer. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail_io(err, "open", path);
  moh_status status = map_descriptor(map, fd, path, err);
  close(fd);
  return status;
}

void moh__map_forget(const moh__map *map, size_t n) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (n >= page) /* where it fails, pages stay: no harm */
    madvise((void *)map->bytes, n / page * page, MADV_DONTNEED);
}

void moh__map_close(moh__map *map) {
  if (map->bytes != NULL) munmap((void *)map->bytes, map->size);
  memset(map, 0, sizeof(*map));
}

/* ---- writing ---- */

/* "path.<process>-<count>.tmp", another one at every call. */
static char *temporary_name(const char *path) {
  static atomic_uint count;
  char *name = NULL;
  unsigned number = atomic_fetch_add(&count, 1);
  int n = asprintf(&name, "%s.%ld-%u.tmp", path, (long)getpid(), number);
  return n < 0 ? NULL : name;
}

/* Opens a file that did not exist: one that a crash left behind under the
 * same process number is passed over. */
static moh_status open_temporary(moh__writer *writer, moh_error *err) {
  int fd = -1;
  do {
    free(writer->temporary);
    writer->temporary = temporary_name(writer->path);
    if (writer->temporary == NULL)
      return moh__fail(err, MOH_ERR_MEMORY,
                       "out of memory for a file name");
    fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
              0666);
  } while (fd < 0 && errno == EEXIST);
  if (fd < 0) return fail_io(err, "create", writer->path);
  writer->stream = fdopen(fd, "wb");
  if (writer->stream != NULL) return MOH_OK;
  moh_status status = fail_io(err, "write", writer->path);
  close(fd);
  unlink(writer->temporary);
  return status;
}

static void writer_free(moh__writer *writer) {
  free(writer->path);
  free(writer->temporary);
  free(writer);
}

/* What is renamed to the path would take a device's or a pipe's place. */
static moh_status check_kind(const char *path, moh_error *err) {
  struct stat found;
  if (stat(path, &found) != 0 || S_ISREG(found.st_mode)) return MOH_OK;
  return moh__fail(err, MOH_ERR_IO,
                   "cannot write '%s': it is no regular file", path);
}

moh_status moh__writer_open(moh__writer **out, const char *path,
                            moh_error *err) {
  *out = NULL;
  MOH_TRY(check_kind(path, err));
  moh__writer *writer = calloc(1, sizeof(*writer));
  if (writer != NULL) writer->path = strdup(path);
  if (writer == NULL || writer->path == NULL) {
    free(writer);
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory to write '%s'",
                     path);
  }
  moh_status status = open_temporary(writer, err);
  if (status == MOH_OK)
    *out = writer;
  else
    writer_free(writer);
  return status;
}

moh_status moh__writer_put(moh__writer *writer, const void *bytes, size_t n,
                           moh_error *err) {
  if (n == 0 || fwrite(bytes, 1, n, writer->stream) == n) return MOH_OK;
  return fail_io(err, "write", writer->path);
}

void moh__writer_discard(moh__writer *writer) {
  if (writer == NULL) return;
  if (writer->stream != NULL) fclose(writer->stream);
  unlink(writer->temporary);
  writer_free(writer);
}

/* Flushes to the disk and closes. */
static moh_status finish(moh__writer *writer, moh_error *err) {
  FILE *stream = writer->stream;
  writer->stream = NULL;
  bool synced = fflush(stream) == 0 && fsync(fileno(stream)) == 0;
  int code = errno;
  bool closed = fclose(stream) == 0;
  if (synced && closed) return MOH_OK;
  if (!synced) errno = code;
  return fail_io(err, "write", writer->path);
}

/* The directory part of a path, "." when it has none, "/" for the root. */
static char *parent_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return strdup(".");
  return slash == path ? strdup("/")
                       : strndup(path, (size_t)(slash - path));
}

/* Makes a rename in the directory of path last. File systems that cannot
 * sync a directory say EINVAL; there is nothing more to do on those. */
moh_status moh__sync_parent(const char *path, moh_error *err) {
  char *parent = parent_of(path);
  if (parent == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory to write '%s'",
                     path);
  moh_status status = MOH_OK;
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
    status = fail_io(err, "sync the directory", parent);
  if (fd >= 0) close(fd);
  free(parent);
  return status;
}

moh_status moh__writer_commit(moh__writer *writer, moh_error *err) {
  moh_status status = finish(writer, err);
  if (status == MOH_OK && rename(writer->temporary, writer->path) != 0)
    status = fail_io(err, "replace", writer->path);
  if (status != MOH_OK) {
    moh__writer_discard(writer);
    return status;
  }
  status = moh__sync_parent(writer->path, err);
  writer_free(writer);
  return status;
}

moh_status moh__write_file(const char *path, const void *bytes, size_t n,
                           moh_error *err) {
  moh__writer *writer;
  MOH_TRY(moh__writer_open(&writer, path, err));
  moh_status status = moh__writer_put(writer, bytes, n, err);
  if (status == MOH_OK) return moh__writer_commit(writer, err);
  moh__writer_discard(writer);
  return status;
}

moh_status moh__move_file(const char *from, const char *to,
                          moh_error *err) {
  if (rename(from, to) != 0) return fail_io(err, "replace", to);
  return moh__sync_parent(to, err);
}

moh_status moh__remove_file(const char *path, moh_error *err) {
  if (unlink(path) != 0)
    return errno == ENOENT ? MOH_OK : fail_io(err, "remove", path);
  return moh__sync_parent(path, err);
}

/* ---- directories and names ---- */

bool moh__same_file(const char *a, const char *b) {
  struct stat x, y;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
         x.st_ino == y.st_ino;
}

bool moh__is_directory(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool moh__holds(const char *dir, const char *name) {
  char *path = moh__path_join(dir, name);
  bool found = path != NULL && access(path, F_OK) == 0;
  free(path);
  return found;
}

static int remove_entry(const char *path, const struct stat *info, int type,
                        struct FTW *place) {
  (void)info, (void)type, (void)place;
  return remove(path);
}

moh_status moh__remove_tree(const char *path, moh_error *err) {
  enum { OPEN_DIRS = 8 };
  if (nftw(path, remove_entry, OPEN_DIRS, FTW_DEPTH | FTW_PHYS) == 0 ||
      errno == ENOENT)
    return MOH_OK;
  return fail_io(err, "remove", path);
}

static moh_status make_dir(const char *path, moh_error *err) {
  if (mkdir(path, 0777) == 0) return MOH_OK;
  int code = errno;
  if (moh__is_directory(path)) return MOH_OK;
  errno = code;
  return fail_io(err, "make the directory", path);
}

moh_status moh__make_dirs(const char *path, moh_error *err) {
  char *prefix = strdup(path);
  if (prefix == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory to make '%s'",
                     path);
  moh_status status = MOH_OK;
  for (size_t i = 1; status == MOH_OK && prefix[0] != '\0'; i++) {
    bool end = prefix[i] == '\0';
    if (!end && prefix[i] != '/') continue;
    prefix[i] = '\0';
    status = make_dir(prefix, err);
    if (end) break;
    prefix[i] = '/';
  }
  if (path[0] == '\0')
    status = moh__fail(err, MOH_ERR_ARGUMENT,
                       "a directory's name must not be empty");
  free(prefix);
  return status;
}

char *moh__path_join(const char *dir, const char *name) {
  char *path = NULL;
  size_t n = strlen(dir);
  const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
  return asprintf(&path, "%s%s%s", dir, slash, name) < 0 ? NULL : path;
}
