/* Writing manifests, and checking them byte by byte. */
#include "store/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"

enum { HEX = MOH__SHA256_HEX - 1 };

const char moh__manifest_name[] = "manifest.json";
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

moh_status moh__manifest_seal(char *text, size_t n, moh_error *err) {
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
static moh_status check_seal(const char *text, size_t n, moh_error *err) {
  char *copy = malloc(n);
  if (copy == NULL) return fail_memory(err);
  memcpy(copy, text, n);
  moh_status status = moh__manifest_seal(copy, n, err);
  if (status == MOH_OK && memcmp(copy, text, n) != 0)
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "was changed since it was written: its SHA-256 is "
                       "another one");
  free(copy);
  return status;
}

/* ---- writing ---- */

/* What was hashed of a file just written would count as ours. */
typedef struct hashed {
  const moh__map *map;
  size_t n;
} hashed;

static bool forget(void *context, size_t n) {
  hashed *h = context;
  h->n += n;
  moh__map_forget(h->map, h->n);
  return true;
}

static moh_status describe_file(const char *path, json_t **entry,
                                moh_error *err) {
  char hex[MOH__SHA256_HEX];
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  hashed done = {&map, 0};
  moh__watch watch = {.tick = forget, .context = &done};
  moh_status status =
      moh__sha256_watched(map.bytes, map.size, hex, &watch, err);
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
  return moh__manifest_seal(*text, *n, err);
}

moh_status moh__manifest_write(const char *dir, const char *const *files,
                               const json_t *extra, moh_error *err) {
  json_t *manifest = NULL, *described = json_object();
  char *text = NULL, *path = moh__path_join(dir, moh__manifest_name);
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

/* ---- reading ---- */

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

/* A name leads to a file of the directory itself, nowhere else. */
static bool is_plain_name(const char *name) {
  return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
         strcmp(name, moh__manifest_name) != 0;
}

static moh_status check_entry(const json_t *entry, moh_error *err) {
  int64_t size;
  const char *hex;
  MOH_TRY(moh__json_get_int(entry, "size", 0, INT64_MAX, &size, err));
  MOH_TRY(moh__json_get_string(entry, "sha256", &hex, err));
  if (strlen(hex) == HEX && strspn(hex, "0123456789abcdef") == HEX)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the field \"sha256\" must be %d hexadecimal digits",
                   HEX);
}

static moh_status check_entries(json_t *manifest, moh_error *err) {
  const char *name;
  json_t *entry, *files = json_object_get(manifest, "files");
  if (!json_is_object(files))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the field \"files\" must be an object");
  json_object_foreach(files, name, entry) {
    if (!is_plain_name(name))
      return moh__fail(err, MOH_ERR_FORMAT,
                       "names '%.100s', which is no file of this directory",
                       name);
    moh_status status = check_entry(entry, err);
    if (status != MOH_OK)
      return moh__fail_in(err, status, "'%.100s'", name);
  }
  return MOH_OK;
}

static moh_status check_all(json_t *manifest, const char *text, size_t n,
                            moh_error *err) {
  MOH_TRY(check_version(manifest, err));
  MOH_TRY(check_seal(text, n, err));
  return check_entries(manifest, err);
}

moh_status moh__manifest_parse(json_t **manifest, const char *text,
                               size_t n, const char *name, moh_error *err) {
  MOH_TRY(moh__json_parse(manifest, text, n, name, err));
  moh_status status = check_all(*manifest, text, n, err);
  if (status == MOH_OK) return MOH_OK;
  json_decref(*manifest);
  *manifest = NULL;
  return moh__fail_in(err, status, "%s", name);
}

static moh_status load(const char *path, json_t **manifest,
                       moh_error *err) {
  moh__map map;
  moh_status status = moh__map_open(&map, path, err);
  if (status != MOH_OK)
    return moh__fail_in(err, status,
                        "not a model directory, or never finished");
  status = moh__manifest_parse(manifest, (const char *)map.bytes, map.size,
                               path, err);
  moh__map_close(&map);
  return status;
}

moh_status moh__manifest_load(const char *dir, json_t **manifest,
                              moh_error *err) {
  *manifest = NULL;
  char *path = moh__path_join(dir, moh__manifest_name);
  if (path == NULL) return fail_memory(err);
  moh_status status = load(path, manifest, err);
  free(path);
  return status;
}

/* ---- checking the files ---- */

static moh_status check_bytes(const moh__map *map, const json_t *entry,
                              bool hashes, const moh__watch *watch,
                              moh_error *err) {
  int64_t size = json_integer_value(json_object_get(entry, "size"));
  const char *wanted = json_string_value(json_object_get(entry, "sha256"));
  char hex[MOH__SHA256_HEX];
  if ((uint64_t)size != map->size)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "has %zu bytes, but the manifest says %" PRId64
                     ": it was cut, changed or not fully copied",
                     map->size, size);
  if (!hashes) return MOH_OK;
  MOH_TRY(moh__sha256_watched(map->bytes, map->size, hex, watch, err));
  if (strcmp(hex, wanted) == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "its SHA-256 is not the manifest's: the file is damaged "
                   "or was changed");
}

moh_status moh__manifest_check_file(const char *path, const json_t *entry,
                                    bool hashes, const moh__watch *watch,
                                    moh_error *err) {
  moh__map map;
  if (access(path, F_OK) != 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: is missing, but the manifest lists it", path);
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = check_bytes(&map, entry, hashes, watch, err);
  moh__map_close(&map);
  return status == MOH_OK ? MOH_OK : moh__fail_in(err, status, "%s", path);
}

static moh_status check_files(const char *dir, const json_t *manifest,
                              bool hashes, moh_error *err) {
  const char *name;
  json_t *entry, *files = json_object_get(manifest, "files");
  json_object_foreach(files, name, entry) {
    char *path = moh__path_join(dir, name);
    if (path == NULL) return fail_memory(err);
    moh_status status =
        moh__manifest_check_file(path, entry, hashes, NULL, err);
    free(path);
    MOH_TRY(status);
  }
  return MOH_OK;
}

moh_status moh__manifest_check(const char *dir, bool hashes,
                               json_t **manifest, moh_error *err) {
  json_t *root = NULL;
  if (manifest != NULL) *manifest = NULL;
  MOH_TRY(moh__manifest_load(dir, &root, err));
  moh_status status = check_files(dir, root, hashes, err);
  if (status == MOH_OK && manifest != NULL) *manifest = json_incref(root);
  json_decref(root);
  return status;
}
