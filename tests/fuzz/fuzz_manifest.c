/*
 * manifest.json from memory, as it is and then with the hash of its own
 * bytes put in, which no fuzzer would find. One that is accepted must be
 * sealed, of a known version, and name only files of its own directory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
  if (!truth) abort();
}

static void check_entry(const char *name, const json_t *entry) {
  const json_t *size = json_object_get(entry, "size");
  const json_t *hash = json_object_get(entry, "sha256");
  require(name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL);
  require(strcmp(name, moh__manifest_name) != 0);
  require(json_is_integer(size) && json_integer_value(size) >= 0);
  require(json_string_length(hash) == MOH__SHA256_HEX - 1);
}

/* Any other byte, and it is accepted no more. */
static void check_seal(char *text, size_t n) {
  json_t *manifest;
  size_t place = n / 2;
  text[place] ^= 1;
  require(moh__manifest_parse(&manifest, text, n, "fuzz", NULL) != MOH_OK);
  text[place] ^= 1;
}

static void check(char *text, size_t n) {
  json_t *manifest, *entry;
  const char *name;
  moh_error err = {0};
  if (moh__manifest_parse(&manifest, text, n, "fuzz", &err) != MOH_OK) {
    require(manifest == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return;
  }
  json_t *version = json_object_get(manifest, "format_version");
  require(json_integer_value(version) >= 1);
  require(json_integer_value(version) <= MOH__FORMAT_VERSION);
  json_object_foreach(json_object_get(manifest, "files"), name, entry) {
    check_entry(name, entry);
  }
  check_seal(text, n);
  json_decref(manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  require(text != NULL);
  memcpy(text, data, size);
  check(text, size);
  if (moh__manifest_seal(text, size, NULL) == MOH_OK) check(text, size);
  free(text);
  return 0;
}
