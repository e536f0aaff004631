/* What is common to documents made of foreign vocabularies, and byte-level
 * BPE from GGUF. */
#include "text/vocab_document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/vocab_internal.h"

/* ---- pre-tokenizers by name ---- */

#define GPT2_WORDS                                                     \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|" \
  "\\s+(?!\\S)"
#define LLAMA3_FRONT \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define LLAMA3_BACK \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* How a named pre-tokenizer cuts: patterns at whose matches the text is cut,
 * one after the other; then perhaps the words of ByteLevel. */
typedef struct recipe {
  const char *names[8];
  const char *patterns[4];
  bool digits;        /* every digit by itself, before all */
  bool words;         /* ByteLevel cuts into GPT-2's words, too */
  bool nfc;           /* composed first */
  bool ignore_merges; /* a word of the vocabulary is that token */
  bool adds_bos;      /* unless the file says otherwise */
} recipe;

static const recipe recipes[] = {
    {.names = {"gpt-2", "gpt2", "mpt", "olmo", "jais"}, .words = true},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell"},
     .digits = true,
     .words = true},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3"},
     .patterns = {LLAMA3_FRONT "\\p{N}{1,3}" LLAMA3_BACK},
     .ignore_merges = true,
     .adds_bos = true},
    {.names = {"dbrx", "smaug-bpe"},
     .patterns = {LLAMA3_FRONT "\\p{N}{1,3}" LLAMA3_BACK}},
    {.names = {"qwen2"},
     .patterns = {LLAMA3_FRONT "\\p{N}" LLAMA3_BACK},
     .nfc = true},
    {.names = {"stablelm2", "deepseek-r1-qwen"},
     .patterns = {LLAMA3_FRONT "\\p{N}" LLAMA3_BACK}},
    {.names = {"falcon"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2_WORDS,
                  "[0-9][0-9][0-9]"}},
    {.names = {"default"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_WORDS, "\\p{N}+",
                  "[0-9][0-9][0-9]"}},
};

enum {
  N_RECIPES = sizeof(recipes) / sizeof(recipes[0]),
  N_NAMES = sizeof(recipes[0].names) / sizeof(recipes[0].names[0]),
  N_PATTERNS = sizeof(recipes[0].patterns) / sizeof(recipes[0].patterns[0])
};

static void list_names(char *list, size_t size) {
  size_t n = 0;
  for (size_t r = 0; r < N_RECIPES; r++) {
    for (size_t i = 0; i < N_NAMES && recipes[r].names[i] != NULL; i++) {
      const char *name = recipes[r].names[i];
      int more = snprintf(list + n, size - n, "%s%s", n ? ", " : "", name);
      n += (size_t)more < size - n ? (size_t)more : size - n - 1;
    }
  }
}

static bool is_same(moh__text text, const char *name) {
  return text.n == strlen(name) && memcmp(text.bytes, name, text.n) == 0;
}

static moh_status find_recipe(const recipe **out, moh__text name,
                              moh_error *err) {
  if (name.n == 0) name = moh__text_of("default");
  for (size_t r = 0; r < N_RECIPES; r++) {
    for (size_t i = 0; i < N_NAMES && recipes[r].names[i] != NULL; i++) {
      *out = &recipes[r];
      if (is_same(name, recipes[r].names[i])) return MOH_OK;
    }
  }
  char known[512];
  list_names(known, sizeof(known));
  return moh__fail(
      err, MOH_ERR_UNSUPPORTED,
      "the pre-tokenizer \"%.*s\" is not known here; known are %s",
      moh__quoted(name), name.bytes, known);
}

static json_t *cut_at(const char *pattern) {
  return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern",
                   "Regex", pattern, "behavior", "Isolated", "invert", 0);
}

static json_t *byte_level(bool words) {
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                   "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                   words);
}

static json_t *steps_of(const recipe *r) {
  json_t *steps = json_array();
  int failed = 0;
  if (r->digits) {
    failed |= json_array_append_new(
        steps,
        json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
  }
  for (size_t i = 0; i < N_PATTERNS && r->patterns[i] != NULL; i++) {
    failed |= json_array_append_new(steps, cut_at(r->patterns[i]));
  }
  failed |= json_array_append_new(steps, byte_level(r->words));
  if (failed == 0) {
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers",
                     steps);
  }
  json_decref(steps);
  return NULL;
}

/* ---- names of pre-tokenizers ---- */

/* Without what says nothing about tokens. */
static json_t *plain_step(const json_t *step) {
  if (!moh__is_type(step, "ByteLevel")) return json_deep_copy(step);
  const json_t *words = json_object_get(step, "use_regex");
  return json_pack(
      "{s:s, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
      json_is_true(json_object_get(step, "add_prefix_space")), "use_regex",
      words == NULL || json_is_true(words));
}

/* Appends the steps in order; not 0: no memory. */
static int flatten(json_t *list, const json_t *part) {
  static const char *const keys[] = {"normalizers", "pretokenizers",
                                     "decoders"};
  int failed = 0;
  if (moh__is_absent(part)) return 0;
  if (!moh__is_type(part, "Sequence"))
    return json_array_append_new(list, plain_step(part));
  for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
    const json_t *parts = json_object_get(part, keys[k]);
    for (size_t i = 0; i < json_array_size(parts); i++)
      failed |= flatten(list, json_array_get(parts, i));
  }
  return failed;
}

bool moh__same_steps(const json_t *a, const json_t *b) {
  json_t *x = json_array(), *y = json_array();
  bool same = x != NULL && y != NULL && flatten(x, a) == 0 &&
              flatten(y, b) == 0 && json_equal(x, y);
  json_decref(x);
  json_decref(y);
  return same;
}

static bool cuts_as(const recipe *r, const json_t *document) {
  const json_t *normalizer = json_object_get(document, "normalizer");
  const json_t *model = json_object_get(document, "model");
  json_t *steps = steps_of(r);
  json_t *nfc = r->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
  bool same =
      moh__same_steps(json_object_get(document, "pre_tokenizer"), steps) &&
      moh__same_steps(normalizer, nfc) &&
      json_is_true(json_object_get(model, "ignore_merges")) ==
          r->ignore_merges;
  json_decref(steps);
  json_decref(nfc);
  return same;
}

const char *moh__gguf_pre_name(const json_t *document) {
  const json_t *decoder = json_object_get(document, "decoder");
  if (!moh__is_type(decoder, "ByteLevel")) return NULL;
  for (size_t r = 0; r < N_RECIPES; r++)
    if (cuts_as(&recipes[r], document)) return recipes[r].names[0];
  return NULL;
}

/* ---- tokens ---- */

static moh_status check_token(const moh__gguf_vocab *vocab, size_t id,
                              moh_error *err) {
  moh__text token = vocab->tokens[id];
  int32_t type = vocab->types == NULL ? MOH__GGUF_NORMAL : vocab->types[id];
  if (type < MOH__GGUF_NORMAL || type > MOH__GGUF_BYTE) {
    return moh__fail(err, MOH_ERR_FORMAT, "the type %d is none of a token",
                     type);
  }
  if (token.n == 0) return moh__fail(err, MOH_ERR_FORMAT, "it is empty");
  if (memchr(token.bytes, 0, token.n) != NULL) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED, "it has a zero byte");
  }
  if (moh__utf8_valid(token) < token.n) {
    return moh__fail(err, MOH_ERR_FORMAT, "it is not UTF-8");
  }
  return MOH_OK;
}

moh_status moh__vocab_of_gguf(moh__vocab *words, const moh__gguf_vocab *vocab,
                              moh_error *err) {
  for (size_t id = 0; id < vocab->n_tokens; id++) {
    moh__text token = vocab->tokens[id];
    moh_status status = check_token(vocab, id, err);
    if (status != MOH_OK) return moh__fail_in(err, status, "token %zu", id);
    MOH_TRY(moh__vocab_add(words, token, err));
    if (words->n == id + 1) continue;
    return moh__fail(
        err, MOH_ERR_FORMAT, "\"%.*s\" is token %d and token %zu, too",
        moh__quoted(token), token.bytes, moh__vocab_find(words, token), id);
  }
  if (words->n > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "a vocabulary without tokens");
}

/* As JSON takes them; what they join is looked up later. */
static moh_status check_merges(const moh__gguf_vocab *vocab, moh_error *err) {
  for (size_t i = 0; i < vocab->n_merges; i++) {
    if (moh__utf8_valid(vocab->merges[i]) == vocab->merges[i].n) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "element %zu of tokenizer.ggml.merges is not UTF-8", i);
  }
  return MOH_OK;
}

int32_t moh__gguf_type(const moh__gguf_vocab *vocab, size_t id) {
  return vocab->types == NULL ? MOH__GGUF_NORMAL : vocab->types[id];
}

static bool is_added(int32_t type) {
  return type == MOH__GGUF_CONTROL || type == MOH__GGUF_USER_DEFINED ||
         type == MOH__GGUF_UNKNOWN;
}

json_t *moh__gguf_added(const moh__gguf_vocab *vocab) {
  json_t *added = json_array();
  for (size_t id = 0; id < vocab->n_tokens; id++) {
    int32_t type = moh__gguf_type(vocab, id);
    if (!is_added(type)) continue;
    json_t *token = json_pack(
        "{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id,
        "content", vocab->tokens[id].bytes, vocab->tokens[id].n,
        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
        "special", type != MOH__GGUF_USER_DEFINED);
    if (json_array_append_new(added, token) == 0) continue;
    json_decref(added);
    return NULL;
  }
  return added;
}

/* ---- special tokens in front and behind ---- */

static json_t *template_token(moh__text token) {
  return json_pack("{s:{s:s%, s:i}}", "SpecialToken", "id", token.bytes,
                   token.n, "type_id", 0);
}

static int put_special(json_t *specials, moh__text token, int64_t id) {
  char *key = strndup(token.bytes, token.n);
  json_t *special =
      json_pack("{s:s%, s:[I], s:[s%]}", "id", token.bytes, token.n, "ids",
                (json_int_t)id, "tokens", token.bytes, token.n);
  int failed = key == NULL;
  if (key != NULL) failed = json_object_set_new(specials, key, special);
  free(key);
  return failed;
}

json_t *moh__template_document(const moh__text *tokens, int64_t front,
                               int64_t behind) {
  if (front < 0 && behind < 0) return json_null();
  json_t *single = json_array(), *specials = json_object();
  int failed = 0;
  if (front >= 0) {
    failed |= json_array_append_new(single, template_token(tokens[front]));
    failed |= put_special(specials, tokens[front], front);
  }
  failed |= json_array_append_new(
      single,
      json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
  if (behind >= 0) {
    failed |= json_array_append_new(single, template_token(tokens[behind]));
    failed |= put_special(specials, tokens[behind], behind);
  }
  if (failed == 0) {
    return json_pack("{s:s, s:o, s:[], s:o}", "type", "TemplateProcessing",
                     "single", single, "pair", "special_tokens", specials);
  }
  json_decref(single);
  json_decref(specials);
  return NULL;
}

moh_status moh__gguf_ends(json_t **post, const moh__gguf_vocab *vocab,
                          bool adds_bos, moh_error *err) {
  int64_t ids[] = {vocab->bos, vocab->eos, vocab->eot, vocab->eom,
                   vocab->unk};
  static const char *const names[] = {"bos", "eos", "eot", "eom", "unknown"};
  for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
    if (ids[i] < (int64_t)vocab->n_tokens) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the %s token is %lld, of a vocabulary of %zu tokens",
                     names[i], (long long)ids[i], vocab->n_tokens);
  }
  if (vocab->add_bos >= 0) adds_bos = vocab->add_bos != 0;
  if (adds_bos && vocab->bos < 0) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "texts begin with a bos token, but none is named");
  }
  if (vocab->add_eos > 0 && vocab->eos < 0) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "texts end with an eos token, but none is named");
  }
  *post = moh__template_document(vocab->tokens, adds_bos ? vocab->bos : -1,
                                 vocab->add_eos > 0 ? vocab->eos : -1);
  return MOH_OK;
}

/* ---- byte-level BPE ---- */

json_t *moh__gguf_merges(const moh__gguf_vocab *vocab) {
  json_t *merges = json_array();
  for (size_t i = 0; i < vocab->n_merges; i++) {
    moh__text merge = vocab->merges[i];
    if (json_array_append_new(merges, json_stringn(merge.bytes, merge.n)) ==
        0) {
      continue;
    }
    json_decref(merges);
    return NULL;
  }
  return merges;
}

static json_t *byte_level_model(const moh__gguf_vocab *vocab,
                                const moh__vocab *words, const recipe *r) {
  return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}",
                   "type", "BPE", "dropout", "unk_token",
                   "continuing_subword_prefix", "end_of_word_suffix",
                   "fuse_unk", 0, "byte_fallback", 0, "ignore_merges",
                   r->ignore_merges, "vocab", moh__vocab_json(words),
                   "merges", moh__gguf_merges(vocab));
}

static moh_status byte_level_document(json_t **out,
                                      const moh__gguf_vocab *vocab,
                                      const moh__vocab *words,
                                      moh_error *err) {
  const recipe *r;
  json_t *post;
  MOH_TRY(find_recipe(&r, vocab->pre, err));
  if (vocab->n_merges == 0) {
    return moh__fail(err, MOH_ERR_FORMAT, "byte-level BPE without merges");
  }
  MOH_TRY(moh__gguf_ends(&post, vocab, r->adds_bos, err));
  *out = moh__tokenizer_document((moh__document){
      .added = moh__gguf_added(vocab),
      .normalizer = r->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(),
      .pre_tokenizer = steps_of(r),
      .post_processor = post,
      .decoder = byte_level(true),
      .model = byte_level_model(vocab, words, r)});
  return MOH_OK;
}

static moh_status document_of(json_t **out, const moh__gguf_vocab *vocab,
                              const moh__vocab *words, const char *blank,
                              moh_error *err) {
  if (blank != NULL) {
    return moh__scores_document(out, vocab, words, blank, err);
  }
  return byte_level_document(out, vocab, words, err);
}

static moh_status set_specials(moh__tokenizer *tokenizer,
                               const moh__gguf_vocab *vocab, moh_error *err) {
  const int64_t given[] = {vocab->eos, vocab->eot, vocab->eom};
  int32_t ends[3];
  size_t n = 0;
  for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
    if (given[i] >= 0) ends[n++] = (int32_t)given[i];
  if (n > 0) MOH_TRY(moh__tokenizer_set_ends(tokenizer, ends, n, err));
  if (vocab->bos < 0) return MOH_OK;
  return moh__tokenizer_set_bos(tokenizer, (int32_t)vocab->bos, err);
}

/* blank NULL: byte-level BPE. */
static moh_status make(moh__tokenizer **out, const moh__gguf_vocab *vocab,
                       const char *blank, moh_error *err) {
  moh__vocab words = {0};
  json_t *document = NULL;
  *out = NULL;
  moh_status status = moh__vocab_of_gguf(&words, vocab, err);
  if (status == MOH_OK) status = check_merges(vocab, err);
  if (status == MOH_OK)
    status = document_of(&document, vocab, &words, blank, err);
  moh__vocab_free(&words);
  MOH_TRY(status);
  MOH_TRY(moh__tokenizer_from_json(out, document, err));
  status = set_specials(*out, vocab, err);
  if (status == MOH_OK) return MOH_OK;
  moh__tokenizer_free(*out);
  *out = NULL;
  return status;
}

moh_status moh__tokenizer_of_scores(moh__tokenizer **out,
                                    const moh__gguf_vocab *vocab,
                                    const char *blank, moh_error *err) {
  return make(out, vocab, blank, err);
}

moh_status moh__tokenizer_from_gguf(moh__tokenizer **out,
                                    const moh__gguf_vocab *vocab,
                                    moh_error *err) {
  *out = NULL;
  if (is_same(vocab->model, "gpt2")) return make(out, vocab, NULL, err);
  if (is_same(vocab->model, "llama")) {
    return make(out, vocab, "\xE2\x96\x81", err);
  }
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "the tokenizer \"%.*s\" is not known here; known are the "
                   "kinds gpt2 and llama",
                   moh__quoted(vocab->model), vocab->model.bytes);
}
