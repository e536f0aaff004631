/*
 * Files: reading whole ones by mapping, and writing so that a crash or a full
 * disk never costs what was there: temporary file, fsync, rename, fsync of
 * the directory.
 */
#ifndef MOH_BASE_FILE_H
#define MOH_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct moh__map {
  const unsigned char *bytes; /* NULL when the file is empty */
  size_t size;
} moh__map;

/* Maps a regular file for reading. */
moh_status moh__map_open(moh__map *map, const char *path, moh_error *err);
void moh__map_close(moh__map *map);
/* The first n bytes are not needed soon: they leave memory, not the map. */
void moh__map_forget(const moh__map *map, size_t n);

/* A file being written, not yet under its name. */
typedef struct moh__writer moh__writer;

moh_status moh__writer_open(moh__writer **out, const char *path,
                            moh_error *err);
moh_status moh__writer_put(moh__writer *writer, const void *bytes, size_t n,
                           moh_error *err);
/* fsync, rename to its path, fsync of the directory. Frees the writer. */
moh_status moh__writer_commit(moh__writer *writer, moh_error *err);
/* Removes the temporary file. Frees the writer; NULL is fine. */
void moh__writer_discard(moh__writer *writer);

/* Whole file in one go, atomically. */
moh_status moh__write_file(const char *path, const void *bytes, size_t n,
                           moh_error *err);

/* Gives a file another name on the same file system, in place of what had
 * that name, and makes it last (fsync of the directory). */
moh_status moh__move_file(const char *from, const char *to, moh_error *err);

/* Makes a rename or removal in the directory of path last. */
moh_status moh__sync_parent(const char *path, moh_error *err);

/* Removes a file for good; it is fine when there is none. */
moh_status moh__remove_file(const char *path, moh_error *err);

/* Removes a file or a directory with all that is in it; links are not
 * followed. It is fine when there is none. */
moh_status moh__remove_tree(const char *path, moh_error *err);

/* Makes a directory and its parents; existing ones are fine. */
moh_status moh__make_dirs(const char *path, moh_error *err);

/* Whether there is one of that name. */
bool moh__is_directory(const char *path);

/* Whether a directory has something of that name. */
bool moh__holds(const char *dir, const char *name);

/* Both are there and are one and the same, by whatever names. */
bool moh__same_file(const char *a, const char *b);

/* dir + "/" + name, allocated; NULL when memory ran out. Freed with free. */
char *moh__path_join(const char *dir, const char *name);

#endif
