/* The walk over directories and files, and what is said of each. */
#include "store/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/file.h"
#include "store/data_dir.h"
#include "store/manifest.h"
#include "store/verify_internal.h"

static const char config_name[] = "config.json";

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for checking");
}

/* ---- findings ---- */

void moh__verify_report(moh__verifier *v, moh__verdict verdict,
                        const char *path, int64_t size,
                        const char *reason) {
  moh__finding finding = {verdict, path, size, reason};
  size_t n = strlen(path);
  if (strncmp(reason, path, n) == 0 &&
      (reason[n] == ':' || reason[n] == ',') && reason[n + 1] == ' ')
    finding.reason += n + 2; /* the path stands beside it */
  v->counts->n_good += verdict == MOH__GOOD;
  v->counts->n_bad += verdict == MOH__BAD;
  v->counts->n_unlisted += verdict == MOH__UNLISTED;
  v->hooks->report(v->hooks->context, &finding);
}

moh_status moh__verify_outcome(moh__verifier *v, const char *path,
                               int64_t size, moh_status status,
                               const moh_error *err) {
  if (status == MOH_ERR_INTERRUPTED || status == MOH_ERR_MEMORY)
    return status;
  bool good = status == MOH_OK;
  moh__verify_report(v, good ? MOH__GOOD : MOH__BAD, path, good ? size : -1,
                     good ? "" : err->message);
  return MOH_OK;
}

static bool tick(void *context, size_t n_bytes) {
  moh__verifier *v = context;
  v->done += (int64_t)n_bytes;
  return v->hooks->tick == NULL ||
         v->hooks->tick(v->hooks->context, v->path, v->done, v->all);
}

moh__watch moh__verify_watch(moh__verifier *v, const char *path,
                             int64_t all) {
  v->path = path;
  v->done = 0;
  v->all = all;
  return (moh__watch){tick, v};
}

/* ---- directories with a manifest ---- */

/* The file's bytes against the manifest, then what they mean. */
static moh_status check_listed(moh__verifier *v, const char *path,
                               const json_t *entry, moh_error *err) {
  int64_t size = json_integer_value(json_object_get(entry, "size"));
  moh__watch watch = moh__verify_watch(v, path, size);
  moh_error reason = {MOH_OK, ""};
  moh_status status =
      moh__manifest_check_file(path, entry, true, &watch, &reason);
  if (status == MOH_OK && moh__verify_knows(path))
    status = moh__verify_content(v, path, &reason);
  status = moh__verify_outcome(v, path, size, status, &reason);
  if (status != MOH_OK && err != NULL) *err = reason;
  return status;
}

static moh_status check_named(moh__verifier *v, const char *dir,
                              const char *name, const json_t *entry,
                              moh_error *err) {
  char *path = moh__path_join(dir, name);
  if (path == NULL) return no_memory(err);
  moh_status status = check_listed(v, path, entry, err);
  free(path);
  return status;
}

/* The configuration first: it says what the other files should be. */
static moh_status check_files(moh__verifier *v, const char *dir,
                              json_t *files, moh_error *err) {
  const char *name;
  json_t *entry = json_object_get(files, config_name);
  if (entry != NULL) MOH_TRY(check_named(v, dir, config_name, entry, err));
  json_object_foreach(files, name, entry) {
    if (strcmp(name, config_name) != 0)
      MOH_TRY(check_named(v, dir, name, entry, err));
  }
  return MOH_OK;
}

static moh_status mention_unlisted(moh__verifier *v, const char *dir,
                                   const json_t *files, moh_error *err) {
  moh__names names;
  MOH_TRY(moh__list_dir(&names, dir, err));
  moh_status status = MOH_OK;
  for (size_t i = 0; status == MOH_OK && i < names.n; i++) {
    const char *name = names.names[i];
    if (json_object_get(files, name) != NULL ||
        strcmp(name, moh__manifest_name) == 0)
      continue;
    char *path = moh__path_join(dir, name);
    if (path == NULL) status = no_memory(err);
    if (path != NULL)
      moh__verify_report(v, MOH__UNLISTED, path, -1,
                         "the manifest does not list it");
    free(path);
  }
  moh__names_free(&names);
  return status;
}

/* What no file shows alone: that all are there, and agree. */
static moh_status check_whole(const char *dir, const json_t *manifest,
                              const json_t *files, bool good,
                              moh_error *err) {
  moh__data_numbers numbers;
  if (json_is_object(json_object_get(manifest, "data")))
    return good ? moh__data_check_tokens(dir, &numbers, err) : MOH_OK;
  if (json_object_get(files, config_name) != NULL &&
      json_object_get(files, "model.safetensors") != NULL)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "its manifest lists no %s or no model.safetensors, and "
                   "no shards",
                   config_name);
}

static moh_status verify_listed(moh__verifier *v, const char *dir,
                                const json_t *manifest, moh_error *err) {
  json_t *files = json_object_get(manifest, "files");
  int64_t n_bad = v->counts->n_bad;
  moh_error reason = {MOH_OK, ""};
  MOH_TRY(check_files(v, dir, files, err));
  MOH_TRY(mention_unlisted(v, dir, files, err));
  bool good = v->counts->n_bad == n_bad;
  moh_status status = check_whole(dir, manifest, files, good, &reason);
  if (status == MOH_OK) return MOH_OK;
  status = moh__verify_outcome(v, dir, -1, status, &reason);
  if (status != MOH_OK && err != NULL) *err = reason;
  return status;
}

moh_status moh__verify_dir(moh__verifier *v, const char *dir,
                           moh_error *err) {
  json_t *manifest;
  moh_error reason = {MOH_OK, ""};
  char *path = moh__path_join(dir, moh__manifest_name);
  if (path == NULL) return no_memory(err);
  moh_status status = moh__manifest_load(dir, &manifest, &reason);
  bool loaded = status == MOH_OK;
  status = moh__verify_outcome(v, path, -1, status, &reason);
  free(path);
  if (loaded) {
    status = verify_listed(v, dir, manifest, err);
    json_decref(manifest);
    moh__model_free(v->model);
    v->model = NULL;
  }
  return status;
}

/* ---- any path ---- */

static moh_status check_file(moh__verifier *v, const char *path,
                             moh_error *err) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh__map_close(&map);
  if (moh__verify_knows(path)) return moh__verify_content(v, path, err);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "no kind of file that can be checked: .safetensors, "
                   ".json, .jsonl or a shard");
}

static moh_status verify_file(moh__verifier *v, const char *path,
                              moh_error *err) {
  moh_error reason = {MOH_OK, ""};
  moh_status status = check_file(v, path, &reason);
  moh__model_free(v->model);
  v->model = NULL;
  status = moh__verify_outcome(v, path, -1, status, &reason);
  if (status != MOH_OK && err != NULL) *err = reason;
  return status;
}

moh_status moh__verify(const char *path, const moh__verify_hooks *hooks,
                       moh__verify_counts *counts, moh_error *err) {
  moh__verifier v = {.hooks = hooks, .counts = counts};
  if (!moh__is_directory(path)) return verify_file(&v, path, err);
  if (moh__holds(path, moh__manifest_name))
    return moh__verify_dir(&v, path, err);
  if (moh__holds(path, "run.json")) return moh__verify_run(&v, path, err);
  moh__verify_report(&v, MOH__BAD, path, -1,
                     "holds no manifest.json and no run.json: it is no "
                     "model, run or directory of shards, or was never "
                     "finished");
  return MOH_OK;
}
