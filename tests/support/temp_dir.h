/* A directory for one test, and its files. Every failure fails the test. */
#ifndef MOH_TESTS_TEMP_DIR_H
#define MOH_TESTS_TEMP_DIR_H

#include <stdbool.h>
#include <stddef.h>

enum { TEMP_PATH = 512 };

/* Fixtures of cmocka: *state is the directory's path, a char *. */
int temp_dir_setup(void **state);
int temp_dir_teardown(void **state); /* removes it with all it holds */

/* dir/name; holds until the end of the test. */
const char *temp_path(void **state, const char *name);

void temp_write(const char *path, const void *bytes, size_t n);
/* The bytes, to be freed with free. */
unsigned char *temp_read(const char *path, size_t *n);
bool temp_exists(const char *path);
/* Entries of a directory, "." and ".." left out. */
int temp_count(const char *dir);

#endif
