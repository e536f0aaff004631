/* Reading the text that a command works on. */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* All of a stream. */
static moh_status read_all(moh__input *input, FILE *file, const char *name,
                           const char *what, moh_error *err) {
  size_t capacity = 0, n = 0;
  do {
    capacity = capacity == 0 ? 4096 : 2 * capacity;
    bool fits = n <= MOH__TEXT_FILE_MAX;
    char *grown = fits ? realloc(input->owned, capacity) : NULL;
    if (grown == NULL)
      return moh__fail(err, MOH_ERR_FORMAT, "%s: the %s is too long", name,
                       what);
    input->owned = grown;
    n += fread(grown + n, 1, capacity - n, file);
  } while (n == capacity);
  input->text = (moh__text){input->owned, n};
  if (!ferror(file)) return MOH_OK;
  return moh__fail(err, MOH_ERR_IO, "cannot read %s", name);
}

static moh_status read_file(moh__input *input, const char *path,
                            const char *what, moh_error *err) {
  FILE *file = fopen(path, "rb");
  if (file == NULL)
    return moh__fail(err, MOH_ERR_IO, "cannot open '%s': %m", path);
  moh_status status = read_all(input, file, path, what, err);
  fclose(file);
  return status;
}

static moh_status find(moh__input *input, const char *word,
                       const char *file, const char *what,
                       const char *argument, moh_error *err) {
  if (word != NULL && file != NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%s and --file exclude each other", argument);
  if (file != NULL) return read_file(input, file, what, err);
  if (word != NULL && strcmp(word, "-") != 0) {
    input->text = (moh__text){word, strlen(word)};
    return MOH_OK;
  }
  if (word == NULL && isatty(STDIN_FILENO))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the %s is missing; '-' reads it from stdin", what);
  return read_all(input, stdin, "stdin", what, err);
}

moh_status moh__input_open(moh__input *input, const char *word,
                           const char *file, const char *what,
                           const char *argument, moh_error *err) {
  *input = (moh__input){.owned = NULL};
  moh_status status = find(input, word, file, what, argument, err);
  if (status != MOH_OK) moh__input_close(input);
  return status;
}

void moh__input_close(moh__input *input) {
  free(input->owned);
  *input = (moh__input){.owned = NULL};
}
