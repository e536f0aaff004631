/*
 * tokenizer.json: reading the format of the Rust library `tokenizers`, and
 * writing it. Nothing in a file is guessed at or passed over: a step that is
 * not known here is refused by name, as it would change the tokens.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/tokenizer_internal.h"

enum { MEANINGS_MAX = 1 << 29 }; /* bytes */

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
}

/* ---- fields ----------------------------------------------------------- */

const char *moh__kind_of(const json_t *json) {
  static const char *const names[] = {
      "an object",     "an array", "a string", "an integer",
      "a real number", "true",     "false",    "null"};
  return json == NULL ? "missing" : names[json_typeof(json)];
}

moh_status moh__get_object(const json_t *object, const char *key,
                           const json_t **member, moh_error *err) {
  *member = json_object_get(object, key);
  if (json_is_object(*member)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" is %s, not an object", key,
                   moh__kind_of(*member));
}

moh_status moh__refuse(const char *what, const json_t *part, moh_error *err) {
  const char *type = json_string_value(json_object_get(part, "type"));
  moh__text name = moh__text_of(type ? type : "without a type");
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the %s \"%.*s\" is not known here", what,
                   moh__quoted(name), name.bytes);
}

bool moh__is_type(const json_t *part, const char *type) {
  const char *name = json_string_value(json_object_get(part, "type"));
  return name != NULL && strcmp(name, type) == 0;
}

moh_status moh__each_part(const json_t *json, const char *key,
                          moh__part_fn *fn, void *context, moh_error *err) {
  if (!moh__is_type(json, "Sequence")) return fn(context, json, err);
  const json_t *parts = json_object_get(json, key);
  if (!json_is_array(parts)) {
    return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" is %s, not an array", key,
                     moh__kind_of(parts));
  }
  for (size_t i = 0; i < json_array_size(parts); i++) {
    MOH_TRY(moh__each_part(json_array_get(parts, i), key, fn, context, err));
  }
  return MOH_OK;
}

/* ---- vocabulary ------------------------------------------------------- */

/* Puts a word at its id in words[n]. */
static moh_status place(moh__text *words, size_t n, moh__text word,
                        int64_t id, moh_error *err) {
  if (id < 0 || (uint64_t)id >= n) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the id %lld of \"%.*s\" is not one of 0..%zu, the ids "
                     "of %zu tokens",
                     (long long)id, moh__quoted(word), word.bytes, n - 1, n);
  }
  if (words[id].bytes != NULL) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"%.*s\" and \"%.*s\" have the same id, %lld",
                     moh__quoted(words[id]), words[id].bytes,
                     moh__quoted(word), word.bytes, (long long)id);
  }
  words[id] = word;
  return MOH_OK;
}

/* The words of the model, then the added tokens that it lacks. */
static moh_status place_all(const moh__tokenizer *tokenizer, json_t *vocab,
                            moh__text *words, size_t n, moh_error *err) {
  const char *key;
  json_t *value = NULL;
  json_object_foreach(vocab, key, value) {
    moh__text word = moh__text_of(key);
    if (!json_is_integer(value)) {
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the id of \"%.*s\" in \"vocab\" is %s, not an "
                       "integer",
                       moh__quoted(word), key, moh__kind_of(value));
    }
    MOH_TRY(place(words, n, word, json_integer_value(value), err));
  }
  for (size_t i = 0; i < tokenizer->added.n; i++) {
    const moh__added *added = &tokenizer->added.tokens[i];
    json_t *known = json_object_get(vocab, added->text.bytes);
    if (known == NULL) {
      MOH_TRY(place(words, n, added->text, added->id, err));
    } else if (json_integer_value(known) != added->id) {
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the added token \"%.*s\" has another id in the "
                       "vocabulary",
                       moh__quoted(added->text), added->text.bytes);
    }
  }
  return MOH_OK;
}

/* How many tokens there are: model and added ones, each once. */
static size_t count_tokens(const moh__tokenizer *tokenizer,
                           const json_t *vocab) {
  size_t n = json_object_size(vocab);
  for (size_t i = 0; i < tokenizer->added.n; i++) {
    n +=
        json_object_get(vocab, tokenizer->added.tokens[i].text.bytes) == NULL;
  }
  return n;
}

static moh_status add_all(moh__vocab *vocab, const moh__text *words, size_t n,
                          moh_error *err) {
  for (size_t i = 0; i < n; i++) {
    MOH_TRY(moh__vocab_add(vocab, words[i], err));
    if (vocab->n == i + 1) continue;
    return moh__fail(err, MOH_ERR_FORMAT, "\"%.*s\" is added twice",
                     moh__quoted(words[i]), words[i].bytes);
  }
  return MOH_OK;
}

/* As many words as ids below n, no id twice: so there are no gaps. */
static moh_status read_vocab(moh__tokenizer *tokenizer, json_t *vocab,
                             moh_error *err) {
  size_t n = count_tokens(tokenizer, vocab);
  if (n == 0 || n > MOH__TOKENS_MAX) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "a vocabulary of %zu tokens; 1 to %d can be used", n,
                     MOH__TOKENS_MAX);
  }
  moh__text *words = calloc(n, sizeof(*words));
  tokenizer->is_special = calloc(n, sizeof(*tokenizer->is_special));
  moh_status status = MOH_OK;
  if (words == NULL || tokenizer->is_special == NULL) {
    status = no_memory(err);
  } else {
    status = place_all(tokenizer, vocab, words, n, err);
  }
  if (status == MOH_OK) status = add_all(&tokenizer->vocab, words, n, err);
  free(words);
  MOH_TRY(status);
  for (size_t i = 0; i < tokenizer->added.n; i++) {
    const moh__added *added = &tokenizer->added.tokens[i];
    tokenizer->is_special[added->id] |= added->special;
  }
  return MOH_OK;
}

static moh_status read_word_level(moh__tokenizer *tokenizer,
                                  const json_t *model, moh_error *err) {
  const char *unknown;
  MOH_TRY(moh__json_get_string(model, "unk_token", &unknown, err));
  const json_t *vocab = json_object_get(model, "vocab");
  if (json_object_get(vocab, unknown) != NULL) {
    tokenizer->unknown = moh__tokenizer_id(tokenizer, unknown);
  }
  return MOH_OK;
}

/* The vocabulary; the rest of a BPE model is read when the steps around it
 * are known. */
static moh_status read_model(moh__tokenizer *tokenizer, const json_t *root,
                             bool *bpe, moh_error *err) {
  const json_t *model, *vocab;
  MOH_TRY(moh__get_object(root, "model", &model, err));
  *bpe = moh__is_type(model, "BPE");
  if (!*bpe && !moh__is_type(model, "WordLevel")) {
    return moh__refuse("model", model, err);
  }
  MOH_TRY(moh__get_object(model, "vocab", &vocab, err));
  MOH_TRY(read_vocab(tokenizer, json_object_get(model, "vocab"), err));
  MOH_TRY(moh__tokenizer_guess_end(tokenizer, err));
  return *bpe ? MOH_OK : read_word_level(tokenizer, model, err);
}

/* ---- what tokens stand for --------------------------------------------- */

bool moh__is_plain(const moh__tokenizer *tokenizer, const json_t *vocab,
                   int32_t id) {
  moh__text word = tokenizer->vocab.words[id];
  return tokenizer->is_special[id] ||
         json_object_get(vocab, word.bytes) == NULL;
}

static moh_status add_meaning(moh__tokenizer *tokenizer, moh__buffer *all,
                              moh__text meaning, int32_t id, moh_error *err) {
  MOH_TRY(moh__buffer_add(all, meaning, err));
  if (all->n > MEANINGS_MAX) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "tokens that stand for more than %d bytes in all",
                     MEANINGS_MAX);
  }
  tokenizer->start[id + 1] = (uint32_t)all->n;
  return MOH_OK;
}

static moh_status add_meanings(moh__tokenizer *tokenizer, const json_t *vocab,
                               const moh__matcher *matcher, moh__buffer *all,
                               moh__buffer buffers[2], moh_error *err) {
  MOH_TRY(moh__buffer_add(all, moh__text_of(""), err));
  for (int32_t id = 0; (size_t)id < tokenizer->vocab.n; id++) {
    moh__text meaning;
    MOH_TRY(moh__decoder_token(
        &tokenizer->decoder, matcher, tokenizer->vocab.words[id],
        moh__is_plain(tokenizer, vocab, id), false, buffers, &meaning, err));
    MOH_TRY(add_meaning(tokenizer, all, meaning, id, err));
  }
  return MOH_OK;
}

static moh_status read_meanings(moh__tokenizer *tokenizer, moh_error *err) {
  const json_t *model = json_object_get(tokenizer->document, "model");
  const json_t *vocab = json_object_get(model, "vocab");
  moh__buffer all = {0}, buffers[2] = {{0}};
  moh__matcher matcher;
  tokenizer->start =
      calloc(tokenizer->vocab.n + 1, sizeof(*tokenizer->start));
  if (tokenizer->start == NULL) return no_memory(err);
  MOH_TRY(moh__matcher_open(&matcher, err));
  moh_status status =
      add_meanings(tokenizer, vocab, &matcher, &all, buffers, err);
  tokenizer->bytes = all.bytes;
  moh__matcher_close(&matcher);
  moh__buffer_free(&buffers[0]);
  moh__buffer_free(&buffers[1]);
  return status;
}

/* ---- the whole -------------------------------------------------------- */

/* Parts that are not known here must be absent or null. */
static moh_status check_absent(const json_t *root, moh_error *err) {
  static const char *const parts[] = {"truncation", "padding"};
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    if (moh__is_absent(json_object_get(root, parts[i]))) continue;
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a tokenizer with \"%s\" is not known here; set it to "
                     "null",
                     parts[i]);
  }
  return MOH_OK;
}

/* The steps around the model. */
static moh_status read_steps(moh__tokenizer *tokenizer, const json_t *root,
                             bool bpe, moh_error *err) {
  MOH_TRY(moh__normalizer_read(&tokenizer->normalizer,
                               json_object_get(root, "normalizer"), err));
  MOH_TRY(moh__added_prepare(&tokenizer->added, tokenizer->normalizer, err));
  MOH_TRY(moh__pre_tokenizer_read(
      &tokenizer->pre, json_object_get(root, "pre_tokenizer"), bpe, err));
  MOH_TRY(moh__post_processor_read(&tokenizer->post,
                                   json_object_get(root, "post_processor"),
                                   tokenizer->vocab.n, err));
  return moh__decoder_read(&tokenizer->decoder,
                           json_object_get(root, "decoder"), err);
}

static moh_status read_document(moh__tokenizer *tokenizer, moh_error *err) {
  const json_t *root = tokenizer->document;
  bool bpe = false;
  if (!json_is_object(root)) {
    return moh__fail(err, MOH_ERR_FORMAT, "a tokenizer is %s, not an object",
                     moh__kind_of(root));
  }
  MOH_TRY(check_absent(root, err));
  MOH_TRY(moh__added_read(&tokenizer->added,
                          json_object_get(root, "added_tokens"), err));
  MOH_TRY(read_model(tokenizer, root, &bpe, err));
  MOH_TRY(read_steps(tokenizer, root, bpe, err));
  MOH_TRY(read_meanings(tokenizer, err));
  if (!bpe) return MOH_OK;
  return moh__bpe_read(tokenizer, json_object_get(root, "model"), err);
}

moh_status moh__tokenizer_from_json(moh__tokenizer **out, json_t *document,
                                    moh_error *err) {
  *out = NULL;
  moh__tokenizer *tokenizer = calloc(1, sizeof(*tokenizer));
  if (tokenizer == NULL || document == NULL) {
    free(tokenizer);
    json_decref(document);
    return no_memory(err);
  }
  tokenizer->document = document;
  tokenizer->bos = tokenizer->unknown = -1;
  moh_status status = read_document(tokenizer, err);
  if (status != MOH_OK) {
    moh__tokenizer_free(tokenizer);
    return status;
  }
  *out = tokenizer;
  return MOH_OK;
}

moh_status moh__tokenizer_parse(moh__tokenizer **out, const char *json,
                                size_t n, const char *name, moh_error *err) {
  *out = NULL;
  if (n > MOH__TEXT_FILE_MAX) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: %zu bytes; a tokenizer file has at most %d", name,
                     n, MOH__TEXT_FILE_MAX);
  }
  json_t *document = NULL;
  MOH_TRY(moh__json_parse(&document, json, n, name, err));
  moh_status status = moh__tokenizer_from_json(out, document, err);
  if (status != MOH_OK) return moh__fail_in(err, status, "%s", name);
  return MOH_OK;
}

moh_status moh__tokenizer_load(moh__tokenizer **out, const char *path,
                               moh_error *err) {
  *out = NULL;
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, err));
  moh_status status =
      moh__tokenizer_parse(out, (const char *)map.bytes, map.size, path, err);
  moh__map_close(&map);
  return status;
}

moh_status moh__tokenizer_copy(moh__tokenizer **out,
                               const moh__tokenizer *tokenizer,
                               moh_error *err) {
  MOH_TRY(
      moh__tokenizer_from_json(out, json_incref(tokenizer->document), err));
  moh_status status = moh__tokenizer_copy_specials(*out, tokenizer, err);
  if (status == MOH_OK) return MOH_OK;
  moh__tokenizer_free(*out);
  *out = NULL;
  return status;
}

bool moh__tokenizer_equal(const moh__tokenizer *a, const moh__tokenizer *b) {
  return json_equal(a->document, b->document);
}

moh_status moh__tokenizer_save(const moh__tokenizer *tokenizer,
                               const char *path, moh_error *err) {
  return moh__json_save(tokenizer->document, path, err);
}
