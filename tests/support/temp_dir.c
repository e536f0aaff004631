/* Temporary directories of tests, through plain stdio: nothing of what is
 * tested is used here. */
#include "support/temp_dir.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"

enum { MAX_PATHS = 256 };

/* Given out by temp_path in the running test. */
static char *paths[MAX_PATHS];
static int n_paths;

int temp_dir_setup(void **state) {
  const char *root = getenv("TMPDIR");
  char *path = malloc(TEMP_PATH);
  if (path == NULL) return -1;
  snprintf(path, TEMP_PATH, "%s/moh-test-XXXXXX",
           root != NULL && root[0] != '\0' ? root : "/tmp");
  *state = path;
  return mkdtemp(path) != NULL ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type,
                        struct FTW *where) {
  (void)info;
  (void)type;
  (void)where;
  return remove(path);
}

int temp_dir_teardown(void **state) {
  int failed = nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  free(*state);
  while (n_paths > 0) free(paths[--n_paths]);
  return failed;
}

const char *temp_path(void **state, const char *name) {
  char *path = malloc(TEMP_PATH);
  assert_non_null(path);
  assert_true(n_paths < MAX_PATHS);
  paths[n_paths++] = path;
  int n = snprintf(path, TEMP_PATH, "%s/%s", (char *)*state, name);
  assert_true(n > 0 && n < TEMP_PATH);
  return path;
}

/* A new file each time: some file systems write one that is overwritten to
 * the disk at once, which makes thousands of changes slow. */
void temp_write(const char *path, const void *bytes, size_t n) {
  remove(path);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  if (n > 0) assert_int_equal(fwrite(bytes, 1, n, file), n);
  assert_int_equal(fclose(file), 0);
}

unsigned char *temp_read(const char *path, size_t *n) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long size = ftell(file);
  assert_true(size >= 0);
  rewind(file);
  unsigned char *bytes = malloc((size_t)size + 1);
  assert_non_null(bytes);
  *n = fread(bytes, 1, (size_t)size, file);
  assert_int_equal(*n, size);
  fclose(file);
  return bytes;
}

bool temp_exists(const char *path) { return access(path, F_OK) == 0; }

int temp_count(const char *dir) {
  DIR *entries = opendir(dir);
  int n = 0;
  assert_non_null(entries);
  while (readdir(entries) != NULL) n++;
  closedir(entries);
  return n - 2;
}
