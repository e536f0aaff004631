/* Several files of tensors as one: see safetensors_set.h. */
#include "format/safetensors_set.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";
static const char ending[] = ".safetensors";

enum { FILES_MAX = 4096 };

static moh_status fail_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for tensors");
}

/* ---- the index ---- */

static bool is_plain(const char *file) {
  size_t n = strlen(file);
  return n > strlen(ending) && strcspn(file, "/\\") == n && file[0] != '.' &&
         strcmp(file + n - strlen(ending), ending) == 0;
}

/* Files come in runs, so the last one is the likeliest. */
static bool is_listed(const moh__st_index *index, const char *file) {
  for (size_t i = index->n_files; i > 0; i--)
    if (strcmp(index->files[i - 1], file) == 0) return true;
  return false;
}

static moh_status add_file(moh__st_index *index, const char *tensor,
                           const json_t *value, moh_error *err) {
  const char *file = json_string_value(value);
  if (file == NULL || !is_plain(file) ||
      strlen(file) != json_string_length(value))
    return moh__fail(
        err, MOH_ERR_FORMAT,
        "\"weight_map\" gives '%.100s' a file '%.100s', which is "
        "no plain name that ends with \"%s\"",
        tensor, file == NULL ? "" : file, ending);
  if (is_listed(index, file)) return MOH_OK;
  if (index->n_files == FILES_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"weight_map\" names more than %d files", FILES_MAX);
  index->files[index->n_files++] = file;
  return MOH_OK;
}

static moh_status read_map(moh__st_index *index, moh_error *err) {
  const char *tensor;
  json_t *value;
  if (!json_is_object(index->map) || json_object_size(index->map) == 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the field \"weight_map\" is missing or no object of "
                     "file names");
  index->files = calloc(FILES_MAX, sizeof(*index->files));
  if (index->files == NULL) return fail_memory(err);
  json_object_foreach(index->map, tensor, value)
      MOH_TRY(add_file(index, tensor, value, err));
  return MOH_OK;
}

moh_status moh__st_index_parse(moh__st_index *out, const char *text, size_t n,
                               const char *name, moh_error *err) {
  json_t *root;
  *out = (moh__st_index){.map = NULL};
  MOH_TRY(moh__json_parse(&root, text, n, name, err));
  out->map = json_incref(json_object_get(root, "weight_map"));
  json_decref(root);
  moh_status status = read_map(out, err);
  if (status == MOH_OK) return MOH_OK;
  moh__st_index_free(out);
  return moh__fail_in(err, status, "%s", name);
}

void moh__st_index_free(moh__st_index *index) {
  free(index->files);
  json_decref(index->map);
  *index = (moh__st_index){.map = NULL};
}

/* ---- opening ---- */

/* missing: what it means that there is no such file. */
static moh_status add(moh__st_set *set, const char *dir, const char *name,
                      const char *missing, moh_error *err) {
  char *path = moh__path_join(dir, name);
  if (path == NULL) return fail_memory(err);
  if (access(path, F_OK) != 0 && errno == ENOENT) {
    moh__fail(err, MOH_ERR_FORMAT, "%s: is missing, %s %s", path, missing,
              index_name);
    free(path);
    return MOH_ERR_FORMAT;
  }
  set->paths[set->n_files] = path;
  moh_status status =
      moh__safetensors_open(&set->files[set->n_files], path, err);
  set->n_files++;
  return status;
}

static moh_status make_room(moh__st_set *set, size_t n, moh_error *err) {
  set->files = calloc(n, sizeof(moh__safetensors *));
  set->paths = calloc(n, sizeof(*set->paths));
  return set->files == NULL || set->paths == NULL ? fail_memory(err) : MOH_OK;
}

/* What a file holds is what the map says of it. */
static moh_status check_file(const moh__st_set *set, size_t i,
                             const moh__st_index *index, size_t *n_found,
                             moh_error *err) {
  const moh__safetensors *file = set->files[i];
  for (size_t t = 0; t < file->n_tensors; t++) {
    const char *name = file->tensors[t].name;
    const char *wanted = json_string_value(json_object_get(index->map, name));
    if (wanted == NULL || strcmp(wanted, index->files[i]) != 0)
      return moh__fail(err, MOH_ERR_FORMAT,
                       "%s: the tensor '%.100s' is not one that %s looks for "
                       "here",
                       set->paths[i], name, index_name);
  }
  *n_found += file->n_tensors;
  return MOH_OK;
}

/* Names the first tensor that no file has. */
static moh_status fail_missing(const moh__st_set *set, const json_t *map,
                               const char *path, moh_error *err) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)map, name, value) {
    if (moh__st_set_find(set, name, NULL) != NULL) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: the tensor '%.100s' is not in %s, where it should "
                     "be",
                     path, name, json_string_value(value));
  }
  return MOH_OK;
}

static moh_status open_indexed(moh__st_set *set, const char *dir,
                               const moh__st_index *index, const char *path,
                               moh_error *err) {
  size_t n_found = 0;
  MOH_TRY(make_room(set, index->n_files, err));
  for (size_t i = 0; i < index->n_files; i++) {
    MOH_TRY(add(set, dir, index->files[i], "but is listed in", err));
    MOH_TRY(check_file(set, i, index, &n_found, err));
  }
  if (n_found == json_object_size(index->map)) return MOH_OK;
  return fail_missing(set, index->map, path, err);
}

static moh_status open_index(moh__st_set *set, const char *dir,
                             const char *path, moh_error *err) {
  moh__map map;
  moh__st_index index;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status = moh__st_index_parse(&index, (const char *)map.bytes,
                                          map.size, path, err);
  moh__map_close(&map);
  if (status != MOH_OK) return status;
  status = open_indexed(set, dir, &index, path, err);
  moh__st_index_free(&index);
  return status;
}

static moh_status open_dir(moh__st_set *set, const char *dir,
                           const char *single, const char *index,
                           moh_error *err) {
  if (access(single, F_OK) != 0 && access(index, F_OK) == 0)
    return open_index(set, dir, index, err);
  MOH_TRY(make_room(set, 1, err));
  return add(set, dir, single_name, "and so is", err);
}

moh_status moh__st_set_open(moh__st_set *out, const char *dir,
                            moh_error *err) {
  *out = (moh__st_set){.files = NULL};
  char *single = moh__path_join(dir, single_name);
  char *index = moh__path_join(dir, index_name);
  moh_status status = single == NULL || index == NULL
                          ? fail_memory(err)
                          : open_dir(out, dir, single, index, err);
  free(single);
  free(index);
  if (status != MOH_OK) moh__st_set_close(out);
  return status;
}

void moh__st_set_close(moh__st_set *set) {
  for (size_t i = 0; i < set->n_files; i++) {
    moh__safetensors_close(set->files[i]);
    free(set->paths[i]);
  }
  free(set->files);
  free(set->paths);
  *set = (moh__st_set){.files = NULL};
}

const moh__st_tensor *moh__st_set_find(const moh__st_set *set,
                                       const char *name, const char **path) {
  for (size_t i = 0; i < set->n_files; i++) {
    const moh__st_tensor *tensor = moh__safetensors_find(set->files[i], name);
    if (tensor == NULL) continue;
    if (path != NULL) *path = set->paths[i];
    return tensor;
  }
  return NULL;
}
