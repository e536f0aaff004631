/* Directories of shards: their manifest, loading, checking. */
#include "store/data_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "store/model_dir.h"

enum { MAX_SHARDS = 1000000 };

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory for shards");
}

void moh__shard_name(char name[MOH__SHARD_NAME], int64_t number) {
  snprintf(name, MOH__SHARD_NAME, "shard-%06" PRId64 ".bin", number);
}

/* ---- numbers ---- */

json_t *moh__data_numbers_json(const moh__data_numbers *n) {
  return json_pack(
      "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:b}", "shards",
      (json_int_t)n->n_shards, "tokens", (json_int_t)n->n_tokens, "examples",
      (json_int_t)n->n_examples, "unknown_tokens", (json_int_t)n->n_unknown,
      "open_examples", (json_int_t)n->n_open, "short_texts",
      (json_int_t)n->n_short, "text_bytes", (json_int_t)n->n_bytes,
      "vocabulary", n->vocab, "one_per_example", n->examples);
}

moh_status moh__data_numbers_read(const json_t *object,
                                  moh__data_numbers *n, moh_error *err) {
  int64_t vocab;
  const struct {
    const char *key;
    int64_t max;
    int64_t *value;
  } fields[] = {{"shards", MAX_SHARDS, &n->n_shards},
                {"tokens", MOH__DATA_MOST, &n->n_tokens},
                {"examples", MOH__DATA_MOST, &n->n_examples},
                {"unknown_tokens", MOH__DATA_MOST, &n->n_unknown},
                {"open_examples", MOH__DATA_MOST, &n->n_open},
                {"short_texts", MOH__DATA_MOST, &n->n_short},
                {"text_bytes", MOH__DATA_MOST, &n->n_bytes},
                {"vocabulary", MOH__TOKENS_MAX, &vocab}};
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
    MOH_TRY(moh__json_get_int(object, fields[i].key, 0, fields[i].max,
                              fields[i].value, err));
  n->vocab = (int32_t)vocab;
  return moh__json_get_bool(object, "one_per_example", &n->examples, err);
}

/* ---- the manifest ---- */

/* "tokenizer.json", the shards, NULL; to be freed. names holds the shards'
 * names. */
static const char **list_files(int64_t n_shards,
                               char (*names)[MOH__SHARD_NAME]) {
  const char **files = calloc((size_t)n_shards + 2, sizeof(*files));
  if (files == NULL) return NULL;
  files[0] = "tokenizer.json";
  for (int64_t i = 0; i < n_shards; i++) {
    moh__shard_name(names[i], i);
    files[i + 1] = names[i];
  }
  return files;
}

moh_status moh__data_manifest_write(const char *dir,
                                    const moh__data_numbers *numbers,
                                    const json_t *arguments,
                                    moh_error *err) {
  size_t n = (size_t)numbers->n_shards;
  char(*names)[MOH__SHARD_NAME] = calloc(n + 1, sizeof(*names));
  const char **files =
      names != NULL ? list_files(numbers->n_shards, names) : NULL;
  json_t *extra = json_pack("{s:o, s:O}", "data",
                            moh__data_numbers_json(numbers), "arguments",
                            (json_t *)arguments);
  moh_status status =
      files == NULL || extra == NULL
          ? no_memory(err)
          : moh__manifest_write(dir, files, extra, err);
  json_decref(extra);
  free(files);
  free(names);
  return status;
}

/* Checked, with sizes or hashes of the files. */
static moh_status open_manifest(const char *dir, bool hashes,
                                json_t **manifest, moh_error *err) {
  char *path = moh__path_join(dir, "manifest.json");
  if (path == NULL) return no_memory(err);
  bool there = access(path, F_OK) == 0;
  free(path);
  if (!there)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: no manifest.json; not made by 'moh data', or not "
                     "finished: run that again with the same arguments",
                     dir);
  MOH_TRY(moh__manifest_check(dir, hashes, manifest, err));
  if (json_is_object(json_object_get(*manifest, "data"))) return MOH_OK;
  json_decref(*manifest);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: not a directory of shards: its manifest has no "
                   "\"data\"",
                   dir);
}

moh_status moh__data_arguments(const char *dir, json_t **arguments,
                               moh_error *err) {
  char *path = moh__path_join(dir, "manifest.json");
  json_t *manifest;
  *arguments = NULL;
  if (path == NULL) return no_memory(err);
  bool there = access(path, F_OK) == 0;
  free(path);
  if (!there) return MOH_OK;
  MOH_TRY(open_manifest(dir, false, &manifest, err));
  *arguments = json_incref(json_object_get(manifest, "arguments"));
  json_decref(manifest);
  return MOH_OK;
}

/* ---- loading ---- */

/* What the shards count together, against the manifest. */
static moh_status check_numbers(const char *dir,
                                const moh__data_numbers *said,
                                const moh__data_numbers *counted,
                                moh_error *err) {
  if (said->n_tokens == counted->n_tokens &&
      said->n_examples == counted->n_examples &&
      said->n_unknown == counted->n_unknown &&
      said->n_open == counted->n_open)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: its shards have %" PRId64 " tokens and %" PRId64
                   " examples, the manifest says %" PRId64 " and %" PRId64
                   ", or their other counts differ",
                   dir, counted->n_tokens, counted->n_examples,
                   said->n_tokens, said->n_examples);
}

static moh_status open_shard(const char *dir, int64_t number,
                             const moh__data_numbers *said,
                             moh__segment *segment,
                             moh__data_numbers *counted, moh_error *err) {
  char name[MOH__SHARD_NAME];
  moh__shard_head head;
  moh__shard_name(name, number);
  char *path = moh__path_join(dir, name);
  if (path == NULL) return no_memory(err);
  moh_status status =
      access(path, F_OK) == 0
          ? moh__shard_open(segment, &head, path, err)
          : moh__fail(err, MOH_ERR_FORMAT,
                      "%s is missing: its directory should have %" PRId64
                      " shards",
                      path, said->n_shards);
  if (status == MOH_OK &&
      (head.vocab != said->vocab || head.examples != said->examples))
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "%s: of other data than its directory: a vocabulary "
                       "of %d, not %d, or the other kind of sequences",
                       path, head.vocab, said->vocab);
  free(path);
  MOH_TRY(status);
  counted->n_tokens += head.n_tokens;
  counted->n_examples += head.n_examples;
  counted->n_unknown += head.n_unknown;
  counted->n_open += head.n_open;
  return MOH_OK;
}

/* SHA-256 over the hashes of the shards, in their order. */
static moh_status digest_of(const json_t *manifest, int64_t n_shards,
                            char digest[MOH__SHA256_HEX], moh_error *err) {
  const json_t *files = json_object_get(manifest, "files");
  moh__hasher *hasher;
  MOH_TRY(moh__hasher_new(&hasher, err));
  moh_status status = MOH_OK;
  for (int64_t i = 0; i < n_shards && status == MOH_OK; i++) {
    char name[MOH__SHARD_NAME];
    const char *hex;
    moh__shard_name(name, i);
    const json_t *entry = json_object_get(files, name);
    status = moh__json_get_string(entry, "sha256", &hex, err);
    if (status != MOH_OK) {
      moh__fail_in(err, status, "the manifest's entry of %s", name);
      break;
    }
    status = moh__hasher_put(hasher, hex, strlen(hex), err);
  }
  if (status == MOH_OK) status = moh__hasher_end(hasher, digest, err);
  moh__hasher_free(hasher);
  return status;
}

moh_status moh__data_open_shards(const char *dir,
                                 const moh__data_numbers *said,
                                 moh__tokens *tokens, moh_error *err) {
  moh__data_numbers counted = {0};
  for (int32_t i = 0; i < tokens->n_segments; i++)
    MOH_TRY(
        open_shard(dir, i, said, &tokens->segments[i], &counted, err));
  MOH_TRY(check_numbers(dir, said, &counted, err));
  moh__tokens_number(tokens);
  tokens->examples = said->examples;
  tokens->n_open = said->n_open;
  tokens->n_unknown = said->n_unknown;
  tokens->vocab = said->vocab;
  return MOH_OK;
}

static moh_status load_tokens(const char *dir, const json_t *manifest,
                              const moh__data_numbers *numbers,
                              moh__tokens **tokens, moh_error *err) {
  MOH_TRY(moh__tokens_new(tokens, (int32_t)numbers->n_shards, err));
  moh_status status = moh__data_open_shards(dir, numbers, *tokens, err);
  if (status == MOH_OK) {
    status = digest_of(manifest, numbers->n_shards, (*tokens)->digest, err);
    if (status != MOH_OK) moh__fail_in(err, status, "%s", dir);
  }
  if (status == MOH_OK) return MOH_OK;
  moh__tokens_free(*tokens);
  *tokens = NULL;
  return status;
}

static moh_status load_tokenizer(const char *dir,
                                 const moh__data_numbers *numbers,
                                 moh__tokenizer **tokenizer,
                                 moh_error *err) {
  char *path = moh__path_join(dir, "tokenizer.json");
  if (path == NULL) return no_memory(err);
  moh_status status = moh__tokenizer_load(tokenizer, path, err);
  if (status == MOH_OK && moh__tokenizer_size(*tokenizer) != numbers->vocab) {
    status = moh__fail(err, MOH_ERR_FORMAT,
                       "%s: %d tokens, the shards were made with %d", path,
                       moh__tokenizer_size(*tokenizer), numbers->vocab);
    moh__tokenizer_free(*tokenizer);
    *tokenizer = NULL;
  }
  free(path);
  return status;
}

moh_status moh__data_load(const char *dir, moh__tokens **tokens,
                          moh__tokenizer **tokenizer,
                          moh__data_numbers *numbers, moh_error *err) {
  json_t *manifest;
  if (tokens != NULL) *tokens = NULL;
  if (tokenizer != NULL) *tokenizer = NULL;
  MOH_TRY(open_manifest(dir, false, &manifest, err));
  moh_status status = moh__data_numbers_read(
      json_object_get(manifest, "data"), numbers, err);
  if (status != MOH_OK) moh__fail_in(err, status, "%s/manifest.json", dir);
  if (status == MOH_OK && tokenizer != NULL)
    status = load_tokenizer(dir, numbers, tokenizer, err);
  if (status == MOH_OK && tokens != NULL)
    status = load_tokens(dir, manifest, numbers, tokens, err);
  if (status != MOH_OK && tokenizer != NULL) {
    moh__tokenizer_free(*tokenizer);
    *tokenizer = NULL;
  }
  json_decref(manifest);
  return status;
}

/* ---- checking ---- */

/* Reads every id, and counts the unknown and the open ends again. */
static moh_status check_shard(const moh__tokens *tokens, int32_t s,
                              const moh__tokenizer *tokenizer,
                              moh__data_numbers *counted, moh_error *err) {
  enum { BLOCK = 4096 };
  int32_t ids[BLOCK];
  const moh__segment *segment = &tokens->segments[s];
  int32_t unknown = moh__tokenizer_unknown(tokenizer);
  for (int64_t at = 0; at < segment->n; at += BLOCK) {
    int64_t n = segment->n - at < BLOCK ? segment->n - at : BLOCK;
    MOH_TRY(moh__tokens_read(tokens, tokens->first[s] + at, n, ids, err));
    for (int64_t i = 0; i < n; i++) counted->n_unknown += ids[i] == unknown;
  }
  for (int64_t i = 0; i < segment->n_examples; i++) {
    int64_t end = segment->starts[i + 1];
    if (end > segment->starts[i])
      MOH_TRY(moh__tokens_read(tokens, tokens->first[s] + end - 1, 1, ids,
                               err));
    counted->n_open += end == segment->starts[i] ||
                       ids[0] != moh__tokenizer_end(tokenizer);
  }
  return MOH_OK;
}

static moh_status check_tokens(const char *dir, const moh__tokens *tokens,
                               const moh__tokenizer *tokenizer,
                               const moh__data_numbers *said,
                               moh_error *err) {
  moh__data_numbers counted = *said;
  counted.n_unknown = counted.n_open = 0;
  for (int32_t s = 0; s < tokens->n_segments; s++)
    MOH_TRY(check_shard(tokens, s, tokenizer, &counted, err));
  return check_numbers(dir, said, &counted, err);
}

moh_status moh__data_check_tokens(const char *dir,
                                  moh__data_numbers *numbers,
                                  moh_error *err) {
  moh__tokens *tokens;
  moh__tokenizer *tokenizer;
  MOH_TRY(moh__data_load(dir, &tokens, &tokenizer, numbers, err));
  moh_status status = check_tokens(dir, tokens, tokenizer, numbers, err);
  moh__tokens_free(tokens);
  moh__tokenizer_free(tokenizer);
  return status;
}

moh_status moh__data_check(const char *dir, moh__data_numbers *numbers,
                           moh_error *err) {
  json_t *manifest = NULL;
  MOH_TRY(moh__data_check_tokens(dir, numbers, err));
  MOH_TRY(open_manifest(dir, true, &manifest, err));
  json_decref(manifest);
  return MOH_OK;
}

moh_status moh__data_check_tokenizer(const moh__tokenizer *own,
                                     const moh__tokenizer *tokenizer,
                                     moh_error *err) {
  if (moh__tokenizer_equal(own, tokenizer)) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "made with another tokenizer than the model's; prepare "
                   "the texts again with 'moh data --tokenizer' and the "
                   "model's tokenizer.json");
}
