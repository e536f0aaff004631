/*
 * manifest.json: the version of the format, and size and SHA-256 of every
 * other file of a directory:
 *
 *   {"format_version": 1, ..., "files": {"config.json": {"size": 931,
 *    "sha256": "..."}, ...}, "manifest_sha256": "..."}
 *
 * The last field covers the manifest itself: the SHA-256 of its bytes with
 * zeros in place of those 64 digits. So no byte of a directory can change
 * without notice.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/model_dir.h"

enum { HEX = MOH__SHA256_HEX - 1 };

static const char manifest_name[] = "manifest.json";
static const char seal_head[] = "  \"manifest_sha256\": \"";
static const char seal_end[] = "\"\n}\n";
static const char zeros[] =
    "0000000000000000000000000000000000000000000000000000000000000000";

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for a manifest");
}

/* ---- the manifest's own hash ---- */

/* Where the 64 digits stand in a manifest's text, NULL when its end does
 * not look as it is written here. */
static char *find_seal(char *text, size_t n) {
  size_t head = strlen(seal_head), end = strlen(seal_end);
  if (n < head + HEX + end) return NULL;
  char *digits = text + n - end - HEX;
  bool fits = memcmp(digits - head, seal_head, head) == 0 &&
              memcmp(digits + HEX, seal_end, end) == 0;
  return fits ? digits : NULL;
}

/* Writes the hash into the text. */
static moh_status seal(char *text, size_t n, moh_error *err) {
  char hex[MOH__SHA256_HEX];
  char *digits = find_seal(text, n);
  if (digits == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the last field must be \"manifest_sha256\"");
  memcpy(digits, zeros, HEX);
  MOH_TRY(moh__sha256(text, n, hex, err));
  memcpy(digits, hex, HEX);
  return MOH_OK;
}

/* A sealed text does not change when it is sealed again. */
static moh_status check_seal(const moh__map *map, moh_error *err) {
  char *copy = malloc(map->size);
  if (copy == NULL) return fail_memory(err);
  memcpy(copy, map->bytes, map->size);
  moh_status status = seal(copy, map->size, err);
  if (status == MOH_OK && memcmp(copy, map->bytes, map->size) != 0)
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "was changed since it was written: its SHA-256 is "
                       "another one");
  free(copy);
  return status;
}

/* ---- writing ---- */

static moh_status describe_file(const char *path, json_t **entry,
                                moh_error *err) {
  char hex[MOH__SHA256_HEX];
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__sha256(map.bytes, map.size, hex, err);
  *entry =
      json_pack("{s:I, s:s}", "size", (json_int_t)map.size, "sha256", hex);
  moh__map_close(&map);
  return status;
}

static moh_status describe_files(const char *dir, const char *const *files,
                                 json_t *all, moh_error *err) {
  for (size_t i = 0; files[i] != NULL; i++) {
    json_t *entry = NULL;
    char *path = moh__path_join(dir, files[i]);
    if (path == NULL) return fail_memory(err);
    moh_status status = describe_file(path, &entry, err);
    free(path);
    if (json_object_set_new(all, files[i], entry) != 0 && status == MOH_OK)
      status = fail_memory(err);
    MOH_TRY(status);
  }
  return MOH_OK;
}

/* Takes over files. */
static json_t *make_manifest(const json_t *extra, json_t *files) {
  json_t *manifest =
      json_pack("{s:i}", "format_version", MOH__FORMAT_VERSION);
  int failed = 0;
  if (extra != NULL)
    failed |= json_object_update_missing(manifest, (json_t *)extra);
  failed |= json_object_set_new(manifest, "files", files);
  failed |=
      json_object_set_new(manifest, "manifest_sha256", json_string(zeros));
  if (failed == 0) return manifest;
  json_decref(manifest);
  return NULL;
}

/* The sealed text, to be freed. */
static moh_status print_manifest(const json_t *manifest, char **text,
                                 size_t *n, moh_error *err) {
  *text = json_dumps(manifest, JSON_INDENT(2));
  if (*text == NULL) return fail_memory(err);
  *n = strlen(*text) + 1;
  (*text)[*n - 1] = '\n'; /* in place of the NUL */
  return seal(*text, *n, err);
}

moh_status moh__manifest_write(const char *dir, const char *const *files,
                               const json_t *extra, moh_error *err) {
  json_t *manifest = NULL, *described = json_object();
  char *text = NULL, *path = moh__path_join(dir, manifest_name);
  size_t n = 0;
  moh_status status = describe_files(dir, files, described, err);
  if (status == MOH_OK)
    manifest = make_manifest(extra, json_incref(described));
  json_decref(described);
  if (status == MOH_OK && (manifest == NULL || path == NULL))
    status = fail_memory(err);
  if (status == MOH_OK) status = print_manifest(manifest, &text, &n, err);
  if (status == MOH_OK) status = moh__write_file(path, text, n, err);
  json_decref(manifest);
  free(text);
  free(path);
  return status;
}

/* ---- checking ---- */

/* A name leads to a file of the directory itself, nowhere else. */
static bool is_plain_name(const char *name) {
  return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
         strcmp(name, manifest_name) != 0;
}

static moh_status check_bytes(const moh__map *map, const json_t *entry,
                              bool hashes, moh_error *err) {
  int64_t size;
  const char *wanted;
  char hex[MOH__SHA256_HEX];
  MOH_TRY(moh__json_get_int(entry, "size", 0, INT64_MAX, &size, err));
  MOH_TRY(moh__json_get_string(entry, "sha256", &wanted, err));
  if ((uint64_t)size != map->size)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "has %zu bytes, but the manifest says %" PRId64
                     ": it was cut, changed or not fully copied",
                     map->size, size);
  if (!hashes) return MOH_OK;
  MOH_TRY(moh__sha256(map->bytes, map->size, hex, err));
  if (strcmp(hex, wanted) == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "its SHA-256 is not the manifest's: the file is damaged "
                   "or was changed");
}

static moh_status check_file(const char *path, const json_t *entry,
                             bool hashes, moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = check_bytes(&map, entry, hashes, err);
  moh__map_close(&map);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

static moh_status check_files(const char *dir, json_t *manifest,
                              bool hashes, moh_error *err) {
  const char *name;
  json_t *entry, *files = json_object_get(manifest, "files");
  if (!json_is_object(files))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the manifest's \"files\" must be an object");
  json_object_foreach(files, name, entry) {
    if (!is_plain_name(name))
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the manifest names '%.100s', which is no file of "
                       "this directory",
                       name);
    char *path = moh__path_join(dir, name);
    if (path == NULL) return fail_memory(err);
    moh_status status = check_file(path, entry, hashes, err);
    free(path);
    MOH_TRY(status);
  }
  return MOH_OK;
}

static moh_status check_version(const json_t *manifest, moh_error *err) {
  int64_t version;
  MOH_TRY(moh__json_get_int(manifest, "format_version", 1, INT64_MAX,
                            &version, err));
  if (version <= MOH__FORMAT_VERSION) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "has format version %" PRId64
                   ", this program knows %d: use a newer one",
                   version, MOH__FORMAT_VERSION);
}

/* Parses and checks the manifest itself: version and own hash. */
static moh_status load_manifest(const char *path, json_t **manifest,
                                moh_error *err) {
  moh__map map;
  moh_status status = moh__map_open(&map, path, err);
  if (status != MOH_OK)
    return moh__fail_in(err, status,
                        "not a model directory, or never finished");
  status = moh__json_parse(manifest, (const char *)map.bytes, map.size,
                           path, err);
  if (status == MOH_OK) {
    status = check_version(*manifest, err);
    if (status == MOH_OK) status = check_seal(&map, err);
    if (status != MOH_OK) moh__fail_in(err, status, "%s", path);
  }
  moh__map_close(&map);
  return status;
}

moh_status moh__manifest_check(const char *dir, bool hashes,
                               json_t **manifest, moh_error *err) {
  json_t *root = NULL;
  if (manifest != NULL) *manifest = NULL;
  char *path = moh__path_join(dir, manifest_name);
  if (path == NULL) return fail_memory(err);
  moh_status status = load_manifest(path, &root, err);
  free(path);
  if (status == MOH_OK) status = check_files(dir, root, hashes, err);
  if (status == MOH_OK && manifest != NULL) *manifest = json_incref(root);
  json_decref(root);
  return status;
}
