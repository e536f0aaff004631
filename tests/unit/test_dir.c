/* Directories that take another's place, and names in order. */
#include "base/dir.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "support/check.h"
#include "support/temp_dir.h"

static void make(void **state, const char *dir, const char *file) {
  char name[TEMP_PATH];
  assert_int_equal(moh__make_dirs(temp_path(state, dir), NULL), MOH_OK);
  snprintf(name, sizeof(name), "%s/%s", dir, file);
  temp_write(temp_path(state, name), "x", 1);
}

static void one_takes_the_place_of_another(void **state) {
  make(state, "new", "b");
  make(state, "old", "a");
  const char *to = temp_path(state, "old");
  assert_int_equal(moh__replace_dir(temp_path(state, "new"), to, NULL),
                   MOH_OK);
  assert_int_equal(temp_count(to), 1);
  assert_true(temp_exists(temp_path(state, "old/b")));
  assert_int_equal(temp_count(*state), 1);
}

static void one_takes_a_free_name(void **state) {
  make(state, "new", "b");
  const char *to = temp_path(state, "free");
  assert_int_equal(moh__replace_dir(temp_path(state, "new"), to, NULL),
                   MOH_OK);
  assert_true(temp_exists(temp_path(state, "free/b")));
  assert_int_equal(temp_count(*state), 1);
}

static void what_is_not_there_takes_no_place(void **state) {
  moh_error err = {MOH_OK, ""};
  make(state, "old", "a");
  assert_int_equal(moh__replace_dir(temp_path(state, "none"),
                                    temp_path(state, "old"), &err),
                   MOH_ERR_IO);
  assert_true(temp_exists(temp_path(state, "old/a")));
  assert_non_null(strstr(err.message, "No such file"));
}

static void what_was_made_is_taken_back(void **state) {
  make(state, "a", "file");
  const char *path = temp_path(state, "a/b//c/");
  size_t there = moh__dir_front(path);
  assert_int_equal(there, strlen(temp_path(state, "a")));
  assert_int_equal(moh__make_dirs(path, NULL), MOH_OK);
  assert_int_equal(moh__dir_front(path), strlen(path));
  moh__remove_dirs(path, strlen(path));
  assert_int_equal(moh__dir_front(path), strlen(path));
  moh__remove_dirs(path, there);
  assert_false(temp_exists(temp_path(state, "a/b")));
  assert_true(temp_exists(temp_path(state, "a/file")));
  assert_int_equal(moh__dir_front("none/of/these"), 0);
}

static void what_is_not_empty_stays(void **state) {
  const char *path = temp_path(state, "a/b");
  size_t there = moh__dir_front(path);
  make(state, "a", "file");
  make(state, "a/b", "file");
  moh__remove_dirs(path, there);
  assert_true(temp_exists(temp_path(state, "a/b/file")));
  assert_int_equal(moh__remove_tree(path, NULL), MOH_OK);
  moh__remove_dirs(path, there);
  assert_true(temp_exists(temp_path(state, "a/file")));
}

static void names_come_in_order(void **state) {
  moh__names names;
  make(state, "dir", "b");
  make(state, "dir", "a10");
  make(state, "dir", "a9");
  make(state, "dir", ".hidden");
  assert_int_equal(moh__list_dir(&names, temp_path(state, "dir"), NULL),
                   MOH_OK);
  static const char *const expected[] = {".hidden", "a10", "a9", "b"};
  assert_int_equal(names.n, 4);
  for (size_t i = 0; i < 4; i++)
    assert_string_equal(names.names[i], expected[i]);
  moh__names_free(&names);
  assert_int_equal(moh__list_dir(&names, temp_path(state, "none"), NULL),
                   MOH_OK);
  assert_int_equal(names.n, 0);
  moh__names_free(&names);
  moh_error err;
  assert_int_equal(
      moh__list_dir(&names, temp_path(state, "dir/b"), &err), MOH_ERR_IO);
  assert_non_null(strstr(err.message, "Not a directory"));
}

int main(void) {
#define WITH_DIR(test) \
  cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)
  const struct CMUnitTest tests[] = {
      WITH_DIR(one_takes_the_place_of_another),
      WITH_DIR(one_takes_a_free_name),
      WITH_DIR(what_is_not_there_takes_no_place),
      WITH_DIR(what_was_made_is_taken_back),
      WITH_DIR(what_is_not_empty_stays),
      WITH_DIR(names_come_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
