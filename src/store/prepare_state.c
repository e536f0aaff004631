/*
 * The directory of shards in the making. progress.json is written before
 * anything else and after each shard: the arguments, the tokenizer's hash,
 * and where the work stands. It goes when the manifest is written.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/file.h"
#include "base/json.h"
#include "store/prepare_internal.h"

static const char progress_name[] = "progress.json";

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory to prepare data");
}

/* ---- arguments ---- */

static moh_status add_file(const char *path, json_t *files, json_t *times,
                           moh_error *err) {
  struct stat info;
  if (stat(path, &info) != 0)
    return moh__fail(err, MOH_ERR_IO, "cannot open '%s': %s", path,
                     strerror(errno));
  json_int_t time =
      (json_int_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
  json_t *file = json_pack("{s:s, s:I}", "path", path, "bytes",
                           (json_int_t)info.st_size);
  if (json_array_append_new(files, file) == 0 &&
      json_array_append_new(times, json_integer(time)) == 0)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the name '%s' is not UTF-8; give the file another one",
                   path);
}

/* A kind of tokenizer by its name, a tokenizer's file by its content. */
static moh_status name_tokenizer(const char *tokenizer, json_t **value,
                                 moh_error *err) {
  char hex[MOH__SHA256_HEX];
  *value = NULL;
  if (!moh__prepare_is_kind(tokenizer))
    MOH_TRY(moh__prepare_hash(tokenizer, hex, err));
  *value = json_string(moh__prepare_is_kind(tokenizer) ? tokenizer : hex);
  return MOH_OK;
}

static moh_status make_arguments(moh__prepare_dir *dir, moh_error *err) {
  const moh__prepare_options *o = dir->options;
  json_t *files = json_array(), *tokenizer = NULL;
  dir->times = json_array();
  moh_status status = name_tokenizer(o->tokenizer, &tokenizer, err);
  for (int i = 0; i < o->n_paths && status == MOH_OK; i++)
    status = add_file(o->paths[i], files, dir->times, err);
  dir->arguments = json_pack(
      "{s:o, s:o, s:I, s:i, s:s, s:b, s:I, s:I, s:b}", "files", files,
      "tokenizer", tokenizer, "vocab_size", (json_int_t)o->vocab_size,
      "format", (int)o->format.format, "field",
      o->format.field != NULL ? o->format.field : "", "header",
      o->format.header, "sample_bytes", (json_int_t)o->sample_bytes,
      "shard_tokens", (json_int_t)o->shard_tokens, "pack", o->pack);
  if (status == MOH_OK && dir->arguments == NULL) status = no_memory(err);
  return status;
}

int64_t moh__prepare_bytes_before(const moh__prepare_dir *dir, int64_t n) {
  const json_t *files = json_object_get(dir->arguments, "files");
  int64_t n_bytes = 0;
  for (int64_t i = 0; i < n; i++)
    n_bytes += json_integer_value(
        json_object_get(json_array_get(files, (size_t)i), "bytes"));
  return n_bytes;
}

/* ---- progress.json ---- */

static json_t *state_json(const moh__prepare_state *s) {
  return json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:o}", "file",
      (json_int_t)s->file, "offset", (json_int_t)s->mark.place.offset,
      "line", (json_int_t)s->mark.place.line, "line_start",
      (json_int_t)s->mark.place.line_start, "records",
      (json_int_t)s->mark.n_records, "texts_done",
      (json_int_t)s->texts_done, "tokens_done", (json_int_t)s->tokens_done,
      "last", s->last, "numbers", moh__data_numbers_json(&s->numbers));
}

static moh_status read_state(const json_t *object, int n_paths,
                             moh__prepare_state *s, moh_error *err) {
  int64_t last;
  const struct {
    const char *key;
    int64_t max;
    int64_t *value;
  } fields[] = {{"file", n_paths, &s->file},
                {"offset", MOH__DATA_MOST, &s->mark.place.offset},
                {"line", MOH__DATA_MOST, &s->mark.place.line},
                {"line_start", MOH__DATA_MOST, &s->mark.place.line_start},
                {"records", MOH__DATA_MOST, &s->mark.n_records},
                {"texts_done", MOH__DATA_MOST, &s->texts_done},
                {"tokens_done", MOH__DATA_MOST, &s->tokens_done}};
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
    MOH_TRY(moh__json_get_int(object, fields[i].key, 0, fields[i].max,
                              fields[i].value, err));
  MOH_TRY(
      moh__json_get_int(object, "last", -1, MOH__TOKENS_MAX, &last, err));
  s->last = (int32_t)last;
  return moh__data_numbers_read(json_object_get(object, "numbers"),
                                &s->numbers, err);
}

moh_status moh__prepare_dir_save(const moh__prepare_dir *dir,
                                 const moh__prepare_state *state,
                                 moh_error *err) {
  char *path = moh__path_join(dir->options->out, progress_name);
  json_t *progress =
      json_pack("{s:O, s:O, s:s, s:o}", "arguments", dir->arguments,
                "times", dir->times, "tokenizer_sha256", dir->tokenizer,
                "at", state_json(state));
  moh_status status = path == NULL || progress == NULL
                          ? no_memory(err)
                          : moh__json_save(progress, path, err);
  json_decref(progress);
  free(path);
  return status;
}

/* ---- what the directory holds ---- */

enum { SHARD_FRONT = 6, SHARD_NAME = 16 }; /* bytes of the next name */

/* Begins with "shard-000012.bin". */
static bool is_shard(const char *name) {
  return strncmp(name, "shard-", SHARD_FRONT) == 0 &&
         strspn(name + SHARD_FRONT, "0123456789") == 6 &&
         strncmp(name + SHARD_FRONT + 6, ".bin", 4) == 0;
}

/* ".12-3.tmp", behind the name of a file that base/file.h is writing. */
static bool is_unfinished(const char *end) {
  static const char digits[] = "0123456789";
  if (*end++ != '.') return false;
  size_t process = strspn(end, digits);
  if (process == 0 || end[process] != '-') return false;
  end += process + 1;
  size_t number = strspn(end, digits);
  return number > 0 && strcmp(end + number, ".tmp") == 0;
}

/* Half written files, and shards that have this number or a higher one. */
static bool is_leftover(const char *name, int64_t n_shards) {
  static const char *const names[] = {progress_name, "tokenizer.json",
                                      "manifest.json"};
  if (is_shard(name))
    return name[SHARD_NAME] != '\0'
               ? is_unfinished(name + SHARD_NAME)
               : strtoll(name + SHARD_FRONT, NULL, 10) >= n_shards;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    size_t n = strlen(names[i]);
    if (strncmp(name, names[i], n) == 0 && is_unfinished(name + n))
      return true;
  }
  return false;
}

/* Only for a directory that is known to be ours. */
static moh_status remove_leftovers(const char *path, int64_t n_shards,
                                   moh_error *err) {
  moh__names names;
  moh_status status = moh__list_dir(&names, path, err);
  for (size_t i = 0; i < names.n && status == MOH_OK; i++) {
    if (!is_leftover(names.names[i], n_shards)) continue;
    char *file = moh__path_join(path, names.names[i]);
    status = file != NULL ? moh__remove_file(file, err) : no_memory(err);
    free(file);
  }
  moh__names_free(&names);
  return status;
}

/* Whether there is more than the half written first file of a preparation
 * that was killed. */
static moh_status holds_others(const char *path, bool *others,
                               moh_error *err) {
  size_t n = strlen(progress_name);
  moh__names names;
  MOH_TRY(moh__list_dir(&names, path, err));
  *others = false;
  for (size_t i = 0; i < names.n; i++)
    *others = *others || strncmp(names.names[i], progress_name, n) != 0 ||
              !is_unfinished(names.names[i] + n);
  moh__names_free(&names);
  return MOH_OK;
}

static moh_status refuse_other(const char *out, const char *what,
                               moh_error *err) {
  return moh__fail(
      err, MOH_ERR_ARGUMENT,
      "%s holds %s; name another directory, or replace it with "
      "--overwrite",
      out, what);
}

/* The shards that the progress speaks of must be there. */
static moh_status check_shards(const char *out,
                               const moh__data_numbers *numbers,
                               moh_error *err) {
  moh__tokens *tokens;
  MOH_TRY(moh__tokens_new(&tokens, (int32_t)numbers->n_shards, err));
  moh_status status = moh__data_open_shards(out, numbers, tokens, err);
  moh__tokens_free(tokens);
  return status;
}

static moh_status read_progress(moh__prepare_dir *dir,
                                const json_t *progress,
                                moh__prepare_state *state, moh_error *err) {
  const char *out = dir->options->out, *hex;
  if (!json_is_object(json_object_get(progress, "arguments")) ||
      !json_is_object(json_object_get(progress, "at")))
    return moh__fail(err, MOH_ERR_FORMAT, "not written by 'moh data'");
  if (!json_equal(json_object_get(progress, "arguments"), dir->arguments))
    return refuse_other(out, "unfinished shards of other data or arguments",
                        err);
  if (!json_equal(json_object_get(progress, "times"), dir->times))
    return refuse_other(
        out,
        "unfinished shards, and a file has changed since they were made",
        err);
  MOH_TRY(moh__json_get_string(progress, "tokenizer_sha256", &hex, err));
  if (strlen(hex) != 0 && strlen(hex) != MOH__SHA256_HEX - 1)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "its tokenizer_sha256 is no hash");
  memcpy(dir->tokenizer, hex, strlen(hex) + 1);
  MOH_TRY(read_state(json_object_get(progress, "at"), dir->options->n_paths,
                     state, err));
  MOH_TRY(check_shards(out, &state->numbers, err));
  return remove_leftovers(out, INT64_MAX, err);
}

static moh_status load_progress(moh__prepare_dir *dir,
                                moh__prepare_state *state, moh_error *err) {
  char *path = moh__path_join(dir->options->out, progress_name);
  json_t *progress = NULL;
  moh_status status =
      path != NULL ? moh__json_load(&progress, path, err) : no_memory(err);
  if (status == MOH_OK) {
    status = read_progress(dir, progress, state, err);
    if (status == MOH_ERR_FORMAT) moh__fail_in(err, status, "%s", path);
  }
  json_decref(progress);
  free(path);
  return status;
}

static moh_status remove_progress(const char *out, moh_error *err) {
  char *path = moh__path_join(out, progress_name);
  if (path == NULL) return no_memory(err);
  moh_status status = moh__remove_file(path, err);
  free(path);
  return status;
}

/* A finished directory: done, when it was made of the same. Its progress is
 * still there when the end was broken off behind the manifest. */
static moh_status look_at_manifest(moh__prepare_dir *dir,
                                   moh__prepare_state *state,
                                   moh_error *err) {
  const char *out = dir->options->out;
  json_t *arguments;
  MOH_TRY(moh__data_arguments(out, &arguments, err));
  dir->complete = json_equal(arguments, dir->arguments);
  bool ours = json_is_object(arguments);
  json_decref(arguments);
  if (!ours)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: its manifest was not written by 'moh data'", out);
  if (!dir->complete)
    return refuse_other(out, "shards of other data or arguments", err);
  state->file = dir->options->n_paths;
  MOH_TRY(moh__data_load(out, NULL, NULL, &state->numbers, err));
  if (moh__holds(out, progress_name)) MOH_TRY(remove_progress(out, err));
  return remove_leftovers(out, INT64_MAX, err);
}

/* *found: there is work of ours, finished or not. */
static moh_status look_at_dir(moh__prepare_dir *dir,
                              moh__prepare_state *state, bool *found,
                              moh_error *err) {
  const char *out = dir->options->out;
  bool others;
  *found = true;
  if (moh__holds(out, "manifest.json"))
    return look_at_manifest(dir, state, err);
  if (moh__holds(out, progress_name)) return load_progress(dir, state, err);
  *found = false;
  MOH_TRY(holds_others(out, &others, err));
  if (!others) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s holds other files; name another directory", out);
}

/* ---- beginning ---- */

/* Refuses a file to be read that is in the directory to be replaced. */
static moh_status check_outside(const char *path, const char *out,
                                moh_error *err) {
  char *file = realpath(path, NULL), *dir = realpath(out, NULL);
  size_t n = dir != NULL ? strlen(dir) : 0;
  bool inside = file != NULL && dir != NULL && strncmp(file, dir, n) == 0 &&
                file[n] == '/';
  free(file);
  free(dir);
  if (!inside) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s lies in %s, which --overwrite replaces; move it or "
                   "name another directory",
                   path, out);
}

static moh_status check_all_outside(const moh__prepare_options *o,
                                    moh_error *err) {
  if (!moh__prepare_is_kind(o->tokenizer))
    MOH_TRY(check_outside(o->tokenizer, o->out, err));
  for (int i = 0; i < o->n_paths; i++)
    MOH_TRY(check_outside(o->paths[i], o->out, err));
  return MOH_OK;
}

/* Only work of ours is ever replaced, and only by other work. */
static moh_status open_dir(moh__prepare_dir *dir, moh__prepare_state *state,
                           moh_error *err) {
  const moh__prepare_options *o = dir->options;
  bool found;
  MOH_TRY(make_arguments(dir, err));
  MOH_TRY(moh__make_dirs(o->out, err));
  MOH_TRY(moh__lock_dir(o->out, &dir->lock, err));
  moh_status status = look_at_dir(dir, state, &found, err);
  dir->replace = found && status == MOH_ERR_ARGUMENT && o->overwrite;
  if (!dir->replace && (found || status != MOH_OK)) return status;
  *state = (moh__prepare_state){.last = -1};
  dir->tokenizer[0] = '\0';
  return dir->replace ? check_all_outside(o, err)
                      : moh__prepare_dir_save(dir, state, err);
}

/* Our progress comes first: from then on what is left of the other work, if
 * this is broken off, is known for a leftover. */
moh_status moh__prepare_dir_begin(moh__prepare_dir *dir, moh_error *err) {
  const moh__prepare_state start = {.last = -1};
  const char *out = dir->options->out;
  if (!dir->replace) return MOH_OK;
  dir->replace = false;
  MOH_TRY(moh__prepare_dir_save(dir, &start, err));
  char *manifest = moh__path_join(out, "manifest.json");
  if (manifest == NULL) return no_memory(err);
  moh_status status = moh__remove_file(manifest, err);
  free(manifest);
  MOH_TRY(status);
  return remove_leftovers(out, 0, err);
}

moh_status moh__prepare_dir_open(moh__prepare_dir *dir,
                                 const moh__prepare_options *options,
                                 moh__prepare_state *state,
                                 moh_error *err) {
  *dir = (moh__prepare_dir){.options = options};
  *state = (moh__prepare_state){.last = -1};
  moh_status status = open_dir(dir, state, err);
  if (status != MOH_OK) moh__prepare_dir_close(dir);
  return status;
}

void moh__prepare_dir_close(moh__prepare_dir *dir) {
  json_decref(dir->arguments);
  json_decref(dir->times);
  dir->arguments = dir->times = NULL;
  if (dir->lock > 0) close(dir->lock);
  dir->lock = 0;
}

moh_status moh__prepare_dir_finish(moh__prepare_dir *dir,
                                   const moh__prepare_state *state,
                                   moh_error *err) {
  const char *out = dir->options->out;
  MOH_TRY(remove_leftovers(out, state->numbers.n_shards, err));
  MOH_TRY(
      moh__data_manifest_write(out, &state->numbers, dir->arguments, err));
  moh_status status = remove_progress(out, err);
  dir->complete = status == MOH_OK;
  return status;
}
