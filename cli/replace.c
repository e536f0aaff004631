/* Which files may be written over. */
#include "replace.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"

enum { LONGEST = 256 };

static bool begins_with(const char *path, const char *begin) {
  char bytes[LONGEST];
  size_t n = strlen(begin);
  FILE *file = fopen(path, "rb");
  bool same = file != NULL && n <= LONGEST && fread(bytes, 1, n, file) == n &&
              memcmp(bytes, begin, n) == 0;
  if (file != NULL) fclose(file);
  return same;
}

moh_status moh__replace_check(const char *path, const char *begin,
                              moh_error *err) {
  struct stat found;
  if (lstat(path, &found) != 0)
    return MOH_OK; /* writing tells what is wrong */
  if (S_ISREG(found.st_mode) && begins_with(path, begin)) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s is there already, and is nothing that was written "
                   "here before; name another file",
                   path);
}
