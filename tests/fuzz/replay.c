/*
 * Runs a fuzz target over every file of the folders given as arguments, for
 * compilers without libFuzzer and for the ordinary tests. A target that finds
 * something aborts.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as long as the file, so that a sanitizer sees a read too far. */
static uint8_t *read_all(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    fprintf(stderr, "replay: cannot read %s\n", path);
    exit(1);
  }
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *data = malloc(*size);
  if (*size > 0 && (data == NULL || fread(data, *size, 1, file) != 1)) {
    fprintf(stderr, "replay: cannot read %s\n", path);
    exit(1);
  }
  fclose(file);
  return data;
}

static void replay_file(const char *path) {
  size_t size;
  uint8_t *data = read_all(path, &size);
  fprintf(stderr, "replay: %s, %zu bytes\n", path, size);
  LLVMFuzzerTestOneInput(data, size);
  free(data);
}

static int replay_folder(const char *folder) {
  int n = 0;
  char path[4096];
  struct stat info;
  DIR *dir = opendir(folder);
  if (dir == NULL) {
    fprintf(stderr, "replay: cannot open the folder %s\n", folder);
    exit(1);
  }
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) continue;
    replay_file(path);
    n++;
  }
  closedir(dir);
  return n;
}

int main(int argc, char **argv) {
  int n = 0;
  for (int i = 1; i < argc; i++) n += replay_folder(argv[i]);
  fprintf(stderr, "replay: %d files\n", n);
  return n > 0 ? 0 : 1;
}
