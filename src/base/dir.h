/*
 * Directories: one that takes another's place at once, and the names in one.
 */
#ifndef MOH_BASE_DIR_H
#define MOH_BASE_DIR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Gives a directory the name `to`, in place of what had that name, which is
 * removed afterwards. Where the file system can exchange names (on Linux most
 * can), there is a whole directory of that name at every moment. */
moh_status moh__replace_dir(const char *from, const char *to,
                            moh_error *err);

/* Bytes of the longest front of a path that is a directory already. What is
 * behind it, moh__make_dirs will make. */
size_t moh__dir_front(const char *path);
/* Takes it back: removes what is behind the first n bytes, as far as it is
 * empty directories. */
void moh__remove_dirs(const char *path, size_t n);

/* Names in a directory, "." and ".." left out. */
typedef struct moh__names {
  char **names;
  size_t n;
} moh__names;

/* In ascending order of bytes. No directory is no names. */
moh_status moh__list_dir(moh__names *names, const char *path,
                         moh_error *err);
void moh__names_free(moh__names *names);

/* Refuses a directory that is locked already, by whatever process; two would
 * write over each other. *lock, above 0, holds it until it is closed with
 * close(). A file system without locks is trusted. */
moh_status moh__lock_dir(const char *path, int *lock, moh_error *err);

#endif
