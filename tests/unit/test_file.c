/* Files: mapping, atomic replacement, what a failed write leaves behind. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "support/check.h"
#include "support/temp_dir.h"

static void assert_holds(const char *path, const char *text) {
  size_t n;
  unsigned char *bytes = temp_read(path, &n);
  assert_int_equal(n, strlen(text));
  assert_memory_equal(bytes, text, n);
  free(bytes);
}

static void a_map_has_the_bytes(void **state) {
  const char *path = temp_path(state, "a");
  moh__map map;
  temp_write(path, "one\0two", 7);
  assert_int_equal(moh__map_open(&map, path, NULL), MOH_OK);
  assert_int_equal(map.size, 7);
  assert_memory_equal(map.bytes, "one\0two", 7);
  moh__map_close(&map);
  assert_null(map.bytes);
}

static void an_empty_file_maps_to_nothing(void **state) {
  const char *path = temp_path(state, "empty");
  moh__map map;
  temp_write(path, "", 0);
  assert_int_equal(moh__map_open(&map, path, NULL), MOH_OK);
  assert_int_equal(map.size, 0);
  assert_null(map.bytes);
  moh__map_close(&map);
}

static void what_cannot_be_read_is_refused(void **state) {
  moh__map map;
  moh_error err = {0};
  const char *missing = temp_path(state, "missing");
  const char *pipe = temp_path(state, "pipe");
  assert_int_equal(mkfifo(pipe, 0600), 0);
  assert_int_equal(moh__map_open(&map, missing, &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, missing));
  assert_non_null(strstr(err.message, "No such file"));
  assert_int_equal(moh__map_open(&map, *state, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "a directory, not a file"));
  assert_int_equal(moh__map_open(&map, "/dev/zero", &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "not a regular file"));
  assert_int_equal(moh__map_open(&map, pipe, &err), MOH_ERR_FORMAT);
  assert_non_null(strstr(err.message, "not a regular file"));
}

static void a_file_appears_at_commit(void **state) {
  const char *path = temp_path(state, "new");
  moh__writer *writer;
  assert_int_equal(moh__writer_open(&writer, path, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(writer, "ab", 2, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(writer, NULL, 0, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(writer, "c", 1, NULL), MOH_OK);
  assert_false(temp_exists(path));
  assert_int_equal(moh__writer_commit(writer, NULL), MOH_OK);
  assert_holds(path, "abc");
  assert_int_equal(temp_count(*state), 1);
}

/* A writer that is given up stands for a process that was killed, too: up
 * to the commit nothing but the temporary file was touched. */
static void a_discarded_writer_keeps_the_old_file(void **state) {
  const char *path = temp_path(state, "kept");
  moh__writer *writer;
  temp_write(path, "old", 3);
  assert_int_equal(moh__writer_open(&writer, path, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(writer, "new", 3, NULL), MOH_OK);
  assert_int_equal(temp_count(*state), 2);
  assert_holds(path, "old");
  moh__writer_discard(writer);
  moh__writer_discard(NULL);
  assert_holds(path, "old");
  assert_int_equal(temp_count(*state), 1);
}

static void two_writers_do_not_meet(void **state) {
  const char *path = temp_path(state, "both");
  moh__writer *first, *second;
  assert_int_equal(moh__writer_open(&first, path, NULL), MOH_OK);
  assert_int_equal(moh__writer_open(&second, path, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(first, "1", 1, NULL), MOH_OK);
  assert_int_equal(moh__writer_put(second, "22", 2, NULL), MOH_OK);
  assert_int_equal(moh__writer_commit(second, NULL), MOH_OK);
  assert_holds(path, "22");
  assert_int_equal(moh__writer_commit(first, NULL), MOH_OK);
  assert_holds(path, "1");
}

static void write_file_replaces(void **state) {
  const char *path = temp_path(state, "whole");
  assert_int_equal(moh__write_file(path, "long text", 9, NULL), MOH_OK);
  assert_int_equal(moh__write_file(path, "short", 5, NULL), MOH_OK);
  assert_holds(path, "short");
  assert_int_equal(moh__write_file(path, NULL, 0, NULL), MOH_OK);
  assert_holds(path, "");
}

static void a_failed_write_leaves_nothing(void **state) {
  moh_error err = {0};
  const char *nowhere = temp_path(state, "no/such/place");
  assert_int_equal(moh__write_file(nowhere, "x", 1, &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, "no/such/place'"));
  /* A directory under the name makes the rename fail. */
  const char *taken = temp_path(state, "taken");
  assert_int_equal(mkdir(taken, 0700), 0);
  assert_int_equal(moh__write_file(taken, "x", 1, &err), MOH_ERR_IO);
  /* Nor is a pipe's place taken. */
  const char *pipe = temp_path(state, "pipe");
  assert_int_equal(mkfifo(pipe, 0600), 0);
  assert_int_equal(moh__write_file(pipe, "x", 1, &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, "no regular file"));
  assert_int_equal(temp_count(*state), 2);
}

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_is_told(void **state) {
  static const char block[4096];
  struct rlimit old, small = {1000, 1000};
  moh_error err = {0};
  const char *path = temp_path(state, "full");
  temp_write(path, "old", 3);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small.rlim_max = old.rlim_max;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  moh_status status = moh__write_file(path, block, sizeof(block), &err);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(status, MOH_ERR_IO);
  assert_non_null(strstr(err.message, "File too large"));
  assert_holds(path, "old");
  assert_int_equal(temp_count(*state), 1);
}

static void move_and_remove(void **state) {
  const char *from = temp_path(state, "from"), *to = temp_path(state, "to");
  temp_write(from, "moved", 5);
  temp_write(to, "old", 3);
  assert_int_equal(moh__move_file(from, to, NULL), MOH_OK);
  assert_false(temp_exists(from));
  assert_holds(to, "moved");
  assert_int_equal(moh__move_file(from, to, NULL), MOH_ERR_IO);
  assert_int_equal(moh__remove_file(to, NULL), MOH_OK);
  assert_false(temp_exists(to));
  assert_int_equal(moh__remove_file(to, NULL), MOH_OK);
}

static void directories_are_made_with_parents(void **state) {
  moh_error err = {0};
  struct stat info;
  const char *deep = temp_path(state, "a/b//c/");
  assert_int_equal(moh__make_dirs(deep, NULL), MOH_OK);
  assert_int_equal(moh__make_dirs(deep, NULL), MOH_OK);
  assert_int_equal(stat(temp_path(state, "a/b/c"), &info), 0);
  assert_true(S_ISDIR(info.st_mode));
  temp_write(temp_path(state, "file"), "x", 1);
  const char *through = temp_path(state, "file/d");
  assert_int_equal(moh__make_dirs(through, &err), MOH_ERR_IO);
  assert_int_equal(moh__make_dirs(temp_path(state, "file"), NULL),
                   MOH_ERR_IO);
  assert_int_equal(moh__make_dirs("", NULL), MOH_ERR_ARGUMENT);
}

static void assert_joined(const char *dir, const char *name,
                          const char *expected) {
  char *path = moh__path_join(dir, name);
  assert_string_equal(path, expected);
  free(path);
}

static void paths_join_with_one_slash(void **state) {
  (void)state;
  assert_joined("a", "b", "a/b");
  assert_joined("a/", "b", "a/b");
  assert_joined("/", "b", "/b");
}

#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DIR(a_map_has_the_bytes),
      WITH_DIR(an_empty_file_maps_to_nothing),
      WITH_DIR(what_cannot_be_read_is_refused),
      WITH_DIR(a_file_appears_at_commit),
      WITH_DIR(a_discarded_writer_keeps_the_old_file),
      WITH_DIR(two_writers_do_not_meet),
      WITH_DIR(write_file_replaces),
      WITH_DIR(a_failed_write_leaves_nothing),
      WITH_DIR(a_full_disk_is_told),
      WITH_DIR(move_and_remove),
      WITH_DIR(directories_are_made_with_parents),
      cmocka_unit_test(paths_join_with_one_slash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
