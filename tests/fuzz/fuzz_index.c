/*
 * model.safetensors.index.json from memory: an index that is accepted names
 * plain files of the same directory, each once, and all that its map names.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/safetensors_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

static void check_name(const moh__st_index *index, size_t i) {
  const char *name = index->files[i];
  require(name[0] != '\0' && name[0] != '.');
  require(strchr(name, '/') == NULL && strchr(name, '\\') == NULL);
  for (size_t j = 0; j < i; j++) require(strcmp(name, index->files[j]) != 0);
}

static void check_map(const moh__st_index *index) {
  const char *tensor;
  json_t *value;
  json_object_foreach(index->map, tensor, value) {
    size_t i = 0;
    const char *name = json_string_value(value);
    require(name != NULL);
    while (i < index->n_files && strcmp(name, index->files[i]) != 0) i++;
    require(i < index->n_files);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  moh__st_index index;
  moh_error err = {0};
  if (moh__st_index_parse(&index, (const char *)data, size, "fuzz", &err) !=
      MOH_OK) {
    require(strncmp(err.message, "fuzz", 4) == 0);
    require(index.map == NULL && index.files == NULL);
    return 0;
  }
  require(index.n_files > 0);
  for (size_t i = 0; i < index.n_files; i++) check_name(&index, i);
  check_map(&index);
  moh__st_index_free(&index);
  return 0;
}
