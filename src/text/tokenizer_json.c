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

enum {
  MAX_STEPS = 64,
  MAX_PATTERN = 1 << 16,     /* bytes of a regular expression */
  MATCH_LIMIT = 1000000,     /* steps of one search */
  DEPTH_LIMIT = 100000,      /* nested steps */
  HEAP_LIMIT = 20 * 1024     /* KiB of one search */
};

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
}

/* ---- fields ----------------------------------------------------------- */

const char *moh__kind_of(const json_t *json) {
  static const char *const names[] = {"an object", "an array", "a string",
                                      "an integer", "a real number", "true",
                                      "false", "null"};
  return json == NULL ? "missing" : names[json_typeof(json)];
}

/* A member that is an object. */
static moh_status get_object(const json_t *object, const char *key,
                             const json_t **member, moh_error *err) {
  *member = json_object_get(object, key);
  if (json_is_object(*member)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "\"%s\" is %s, not an object", key,
                   moh__kind_of(*member));
}

/* The "type" of a part, for the message that refuses it. */
static moh_status refuse(const char *what, const json_t *part,
                         moh_error *err) {
  const char *type = json_string_value(json_object_get(part, "type"));
  moh__text name = moh__text_of(type ? type : "without a type");
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the %s \"%.*s\" is not known here", what,
                   moh__quoted(name), name.bytes);
}

/* What must be false, because true is not known here. */
static moh_status check_false(const json_t *object, const char *key,
                              moh_error *err) {
  bool value;
  MOH_TRY(moh__json_get_bool(object, key, &value, err));
  if (!value) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "\"%s\": true is not known here", key);
}

static bool is_type(const json_t *part, const char *type) {
  const char *name = json_string_value(json_object_get(part, "type"));
  return name != NULL && strcmp(name, type) == 0;
}

/* ---- added tokens ----------------------------------------------------- */

static moh_status read_added(moh__added *added, const json_t *object,
                             moh_error *err) {
  const char *content;
  int64_t id;
  MOH_TRY(moh__json_get_string(object, "content", &content, err));
  if (*content == '\0') {
    return moh__fail(err, MOH_ERR_FORMAT, "\"content\" is empty");
  }
  added->text = moh__text_of(content);
  MOH_TRY(moh__json_get_int(object, "id", 0, MOH__TOKENS_MAX - 1, &id, err));
  added->id = (int32_t)id;
  MOH_TRY(check_false(object, "single_word", err));
  MOH_TRY(check_false(object, "lstrip", err));
  MOH_TRY(check_false(object, "rstrip", err));
  MOH_TRY(moh__json_get_bool(object, "normalized", &added->normalized, err));
  return moh__json_get_bool(object, "special", &added->special, err);
}

static moh_status read_added_tokens(moh__tokenizer *tokenizer,
                                    const json_t *array, moh_error *err) {
  if (moh__is_absent(array)) return MOH_OK;
  if (!json_is_array(array)) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"added_tokens\" is %s, not an array",
                     moh__kind_of(array));
  }
  size_t n = json_array_size(array);
  tokenizer->added = calloc(n + 1, sizeof(*tokenizer->added));
  if (tokenizer->added == NULL) return no_memory(err);
  for (size_t i = 0; i < n; i++) {
    moh__added *added = &tokenizer->added[i];
    moh_status status = read_added(added, json_array_get(array, i), err);
    if (status != MOH_OK) {
      return moh__fail_in(err, status, "element %zu of \"added_tokens\"", i);
    }
    tokenizer->n_added = i + 1;
    tokenizer->added_first[(unsigned char)added->text.bytes[0]] = true;
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
static moh_status place_all(const moh__tokenizer *tokenizer,
                            json_t *vocab, moh__text *words, size_t n,
                            moh_error *err) {
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
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    const moh__added *added = &tokenizer->added[i];
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
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    n += json_object_get(vocab, tokenizer->added[i].text.bytes) == NULL;
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
  for (size_t i = 0; i < tokenizer->n_added; i++) {
    const moh__added *added = &tokenizer->added[i];
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

static moh_status read_model(moh__tokenizer *tokenizer, const json_t *root,
                             moh_error *err) {
  const json_t *model, *vocab;
  MOH_TRY(get_object(root, "model", &model, err));
  bool bpe = is_type(model, "BPE");
  if (!bpe && !is_type(model, "WordLevel")) {
    return refuse("model", model, err);
  }
  MOH_TRY(get_object(model, "vocab", &vocab, err));
  MOH_TRY(read_vocab(tokenizer, json_object_get(model, "vocab"), err));
  tokenizer->end = moh__tokenizer_id(tokenizer, "</s>");
  return bpe ? moh__bpe_read(tokenizer, model, err)
             : read_word_level(tokenizer, model, err);
}

/* ---- pre-tokenizer ---------------------------------------------------- */

/* ^ and $ are at every line, as in the patterns of the original library.
 * Compiled to machine code where PCRE2 can. */
static moh_status compile(pcre2_code **out, moh__text pattern,
                          uint32_t options, moh_error *err) {
  int code = 0;
  PCRE2_SIZE place = 0;
  unsigned char reason[128];
  if (pattern.n > MAX_PATTERN) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a pattern of %zu bytes; at most %d can be used",
                     pattern.n, MAX_PATTERN);
  }
  *out = pcre2_compile((PCRE2_SPTR)pattern.bytes, pattern.n,
                       PCRE2_UTF | options, &code, &place, NULL);
  if (*out == NULL) {
    pcre2_get_error_message(code, reason, sizeof(reason));
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the pattern \"%.*s\" is wrong at byte %zu: %s",
                     moh__quoted(pattern), pattern.bytes, (size_t)place,
                     (const char *)reason);
  }
  (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
  return MOH_OK;
}

/* {"Regex": "..."} or {"String": "..."} */
static moh_status read_pattern(pcre2_code **out, const json_t *pattern,
                               moh_error *err) {
  const char *text;
  uint32_t options = PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  if (json_object_get(pattern, "Regex") != NULL) {
    MOH_TRY(moh__json_get_string(pattern, "Regex", &text, err));
  } else {
    MOH_TRY(moh__json_get_string(pattern, "String", &text, err));
    options = PCRE2_LITERAL;
  }
  return compile(out, moh__text_of(text), options, err);
}

/* Isolated: matches and what lies between them. Removed: only the latter;
 * inverted, only the former. */
static moh_status read_split(moh__step *step, const json_t *split,
                             moh_error *err) {
  const char *behavior;
  const json_t *pattern;
  bool invert;
  MOH_TRY(moh__json_get_string(split, "behavior", &behavior, err));
  MOH_TRY(moh__json_get_bool(split, "invert", &invert, err));
  bool isolated = strcmp(behavior, "Isolated") == 0;
  if (!isolated && strcmp(behavior, "Removed") != 0) {
    moh__text name = moh__text_of(behavior);
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "the behavior \"%.*s\" of a Split is not known here",
                     moh__quoted(name), behavior);
  }
  step->kind = MOH__STEP_PATTERN;
  step->matches = isolated || invert;
  step->rest = isolated || !invert;
  MOH_TRY(get_object(split, "pattern", &pattern, err));
  return read_pattern(&step->pattern, pattern, err);
}

/* A step that cuts at every match and keeps everything. */
static moh_status isolate(moh__step *step, const char *pattern,
                          moh_error *err) {
  step->kind = MOH__STEP_PATTERN;
  step->matches = step->rest = true;
  return compile(&step->pattern, moh__text_of(pattern), PCRE2_UCP, err);
}

static moh_status read_digits(moh__step *step, const json_t *digits,
                              moh_error *err) {
  bool single;
  MOH_TRY(moh__json_get_bool(digits, "individual_digits", &single, err));
  return isolate(step, single ? "\\p{N}" : "\\p{N}+", err);
}

static moh_status add_step(moh__tokenizer *tokenizer, moh__step **step,
                           moh_error *err) {
  *step = &tokenizer->steps[tokenizer->n_steps];
  if (tokenizer->n_steps++ < MAX_STEPS) return MOH_OK;
  tokenizer->n_steps = MAX_STEPS;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a pre-tokenizer of more than %d steps", MAX_STEPS);
}

/* Two steps at most; that words are bytes then is the model's affair. */
static moh_status read_byte_level(moh__tokenizer *tokenizer,
                                  const json_t *json, moh_error *err) {
  moh__step *step;
  bool prefix, pattern = true;
  MOH_TRY(moh__json_get_bool(json, "add_prefix_space", &prefix, err));
  if (json_object_get(json, "use_regex") != NULL) {
    MOH_TRY(moh__json_get_bool(json, "use_regex", &pattern, err));
  }
  tokenizer->byte_level = true;
  if (prefix) {
    MOH_TRY(add_step(tokenizer, &step, err));
    step->kind = MOH__STEP_PREFIX;
  }
  if (!pattern) return MOH_OK;
  MOH_TRY(add_step(tokenizer, &step, err));
  return isolate(step, moh__byte_level_pattern, err);
}

static moh_status read_step(moh__tokenizer *tokenizer, const json_t *json,
                            moh_error *err) {
  moh__step *step;
  if (tokenizer->byte_level) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a pre-tokenizer behind ByteLevel is not known here");
  }
  if (is_type(json, "ByteLevel") && tokenizer->bpe != NULL) {
    return read_byte_level(tokenizer, json, err);
  }
  bool split = is_type(json, "Split"), digits = is_type(json, "Digits");
  if (!split && !digits && !is_type(json, "WhitespaceSplit")) {
    return refuse("pre-tokenizer", json, err);
  }
  MOH_TRY(add_step(tokenizer, &step, err));
  if (split) return read_split(step, json, err);
  if (digits) return read_digits(step, json, err);
  step->kind = MOH__STEP_BLANKS;
  return MOH_OK;
}

static moh_status read_sequence(moh__tokenizer *tokenizer,
                                const json_t *sequence, moh_error *err) {
  const json_t *steps = json_object_get(sequence, "pretokenizers");
  if (!json_is_array(steps)) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"pretokenizers\" is %s, not an array",
                     moh__kind_of(steps));
  }
  for (size_t i = 0; i < json_array_size(steps); i++) {
    MOH_TRY(read_step(tokenizer, json_array_get(steps, i), err));
  }
  return MOH_OK;
}

static moh_status read_steps(moh__tokenizer *tokenizer, const json_t *json,
                             moh_error *err) {
  if (moh__is_absent(json)) return MOH_OK;
  if (is_type(json, "Sequence")) return read_sequence(tokenizer, json, err);
  return read_step(tokenizer, json, err);
}

static moh_status read_pre_tokenizer(moh__tokenizer *tokenizer,
                                     const json_t *json, moh_error *err) {
  tokenizer->steps = calloc(MAX_STEPS, sizeof(*tokenizer->steps));
  tokenizer->limits = pcre2_match_context_create(NULL);
  if (tokenizer->steps == NULL || tokenizer->limits == NULL) {
    return no_memory(err);
  }
  pcre2_set_match_limit(tokenizer->limits, MATCH_LIMIT);
  pcre2_set_depth_limit(tokenizer->limits, DEPTH_LIMIT);
  pcre2_set_heap_limit(tokenizer->limits, HEAP_LIMIT);
  MOH_TRY(read_steps(tokenizer, json, err));
  if (tokenizer->bpe == NULL || tokenizer->byte_level) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a BPE model without the pre-tokenizer ByteLevel is not "
                   "known here");
}

/* ---- decoder ---------------------------------------------------------- */

/* ByteLevel, by itself or in a Sequence in which nothing else changes the
 * text. */
static bool is_byte_level(const json_t *json) {
  if (!is_type(json, "Sequence")) return is_type(json, "ByteLevel");
  const json_t *decoders = json_object_get(json, "decoders");
  size_t n_levels = 0, n = json_array_size(decoders);
  for (size_t i = 0; i < n; i++) {
    const json_t *decoder = json_array_get(decoders, i);
    bool level = is_type(decoder, "ByteLevel");
    if (!level && !is_type(decoder, "Fuse")) return false;
    n_levels += level;
  }
  return n_levels == 1;
}

static moh_status read_bpe_decoder(moh__tokenizer *tokenizer,
                                   const json_t *json, moh_error *err) {
  tokenizer->decoder = MOH__DECODE_FUSE;
  if (is_byte_level(json)) return MOH_OK;
  if (!moh__is_absent(json)) return refuse("decoder", json, err);
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a BPE model without the decoder ByteLevel is not known "
                   "here");
}

static moh_status read_decoder(moh__tokenizer *tokenizer, const json_t *json,
                               moh_error *err) {
  if (tokenizer->bpe != NULL) return read_bpe_decoder(tokenizer, json, err);
  if (moh__is_absent(json)) return MOH_OK;
  if (is_type(json, "Fuse")) {
    tokenizer->decoder = MOH__DECODE_FUSE;
    return MOH_OK;
  }
  if (!is_type(json, "WordPiece")) return refuse("decoder", json, err);
  const char *prefix;
  MOH_TRY(moh__json_get_string(json, "prefix", &prefix, err));
  tokenizer->decoder = MOH__DECODE_WORD_PIECE;
  tokenizer->prefix = moh__text_of(prefix);
  return moh__json_get_bool(json, "cleanup", &tokenizer->cleanup, err);
}

/* ---- the whole -------------------------------------------------------- */

/* Parts that are not known here must be absent or null. */
static moh_status check_absent(const json_t *root, moh_error *err) {
  enum { POST_PROCESSOR = 0 };
  static const char *const parts[] = {"post_processor", "normalizer",
                                      "truncation", "padding"};
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
    const json_t *part = json_object_get(root, parts[i]);
    if (moh__is_absent(part)) continue;
    /* It moves offsets only, which nothing here asks for. */
    if (i == POST_PROCESSOR && is_type(part, "ByteLevel")) continue;
    if (json_object_get(part, "type")) return refuse(parts[i], part, err);
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "a tokenizer with \"%s\" is not known here", parts[i]);
  }
  return MOH_OK;
}

static moh_status read_document(moh__tokenizer *tokenizer, moh_error *err) {
  const json_t *root = tokenizer->document;
  if (!json_is_object(root)) {
    return moh__fail(err, MOH_ERR_FORMAT, "a tokenizer is %s, not an object",
                     moh__kind_of(root));
  }
  MOH_TRY(check_absent(root, err));
  MOH_TRY(read_added_tokens(tokenizer, json_object_get(root, "added_tokens"),
                            err));
  MOH_TRY(read_model(tokenizer, root, err));
  MOH_TRY(read_pre_tokenizer(tokenizer,
                             json_object_get(root, "pre_tokenizer"), err));
  return read_decoder(tokenizer, json_object_get(root, "decoder"), err);
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
  tokenizer->end = tokenizer->unknown = -1;
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
  moh_status status = moh__tokenizer_parse(out, (const char *)map.bytes,
                                           map.size, path, err);
  moh__map_close(&map);
  return status;
}

moh_status moh__tokenizer_copy(moh__tokenizer **out,
                               const moh__tokenizer *tokenizer,
                               moh_error *err) {
  return moh__tokenizer_from_json(out, json_incref(tokenizer->document),
                                  err);
}

bool moh__tokenizer_equal(const moh__tokenizer *a, const moh__tokenizer *b) {
  return json_equal(a->document, b->document);
}

moh_status moh__tokenizer_save(const moh__tokenizer *tokenizer,
                               const char *path, moh_error *err) {
  return moh__json_save(tokenizer->document, path, err);
}
