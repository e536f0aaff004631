/*
 * The model "BPE" of a tokenizer.json: its options, its letters, and its
 * list of merges; and writing one.
 *
 * A special token, and an added one that the model does not have, stands
 * for its own text and comes about by no merge; in byte-level BPE every
 * other token is written with byte-level characters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"
#include "text/bpe.h"

const moh__text moh__bpe_blanks[MOH__BPE_CUTS] = {{" ", 1},
                                                  {"\xE2\x96\x81", 3}};

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
}

void moh__bpe_free(moh__bpe *bpe) {
  if (bpe == NULL) return;
  free(bpe->merges);
  free(bpe->result);
  free(bpe);
}

/* ---- options ----------------------------------------------------------
 */

/* Options that change the tokens, with the values that are known here. */
static moh_status check_text(const json_t *model, const char *key,
                             moh_error *err) {
  const json_t *value = json_object_get(model, key);
  if (moh__is_absent(value)) return MOH_OK;
  if (json_is_string(value) && json_string_length(value) == 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a BPE model with \"%s\" is not known here", key);
}

static moh_status read_flag(const json_t *model, const char *key, bool *flag,
                            moh_error *err) {
  *flag = false;
  if (moh__is_absent(json_object_get(model, key))) return MOH_OK;
  return moh__json_get_bool(model, key, flag, err);
}

static moh_status check_dropout(const json_t *model, moh_error *err) {
  const json_t *dropout = json_object_get(model, "dropout");
  if (moh__is_absent(dropout)) return MOH_OK;
  if (json_is_number(dropout) && json_number_value(dropout) == 0) {
    return MOH_OK;
  }
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "\"dropout\" makes tokens at random, which is not known "
                   "here; set it to null");
}

static moh_status read_unknown(moh__tokenizer *tokenizer, const json_t *model,
                               moh_error *err) {
  const char *unknown;
  if (moh__is_absent(json_object_get(model, "unk_token"))) return MOH_OK;
  MOH_TRY(moh__json_get_string(model, "unk_token", &unknown, err));
  tokenizer->unknown = moh__tokenizer_id(tokenizer, unknown);
  if (tokenizer->unknown >= 0) return MOH_OK;
  moh__text name = moh__text_of(unknown);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the \"unk_token\" \"%.*s\" is not in the vocabulary",
                   moh__quoted(name), unknown);
}

/* The tokens "<0x00>" and so on, as the format writes them. */
static void read_fallback(moh__tokenizer *tokenizer) {
  char name[8];
  for (int byte = 0; byte < 256; byte++) {
    snprintf(name, sizeof(name), "<0x%02X>", (unsigned)byte);
    tokenizer->bpe->byte_id[byte] = moh__tokenizer_id(tokenizer, name);
  }
}

static moh_status read_options(moh__tokenizer *tokenizer, const json_t *model,
                               moh_error *err) {
  bool byte_fallback;
  moh__bpe *bpe = tokenizer->bpe;
  MOH_TRY(check_dropout(model, err));
  MOH_TRY(check_text(model, "continuing_subword_prefix", err));
  MOH_TRY(check_text(model, "end_of_word_suffix", err));
  MOH_TRY(read_flag(model, "byte_fallback", &byte_fallback, err));
  if (byte_fallback && bpe->of_bytes) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "\"byte_fallback\": true together with the "
                     "pre-tokenizer ByteLevel is not known here");
  }
  if (byte_fallback) read_fallback(tokenizer);
  MOH_TRY(read_flag(model, "ignore_merges", &bpe->ignore_merges, err));
  MOH_TRY(read_flag(model, "fuse_unk", &bpe->fuse_unknown, err));
  return read_unknown(tokenizer, model, err);
}

/* ---- tokens -----------------------------------------------------------
 */

/* In byte-level BPE a token is written with byte-level characters. */
static moh_status check_spelling(moh__text word, int32_t id, moh_error *err) {
  uint32_t code = 0;
  for (size_t at = 0; at < word.n;) {
    at += moh__utf8_next(moh__text_part(word, at, word.n), &code);
    if (moh__char_byte(code) >= 0) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the token \"%.*s\" with id %d has the character "
                     "U+%04X, which is none of byte-level BPE",
                     moh__quoted(word), word.bytes, id, code);
  }
  return MOH_OK;
}

static moh_status read_bytes(moh__tokenizer *tokenizer, const json_t *vocab,
                             moh_error *err) {
  const moh__vocab *words = &tokenizer->vocab;
  for (int32_t id = 0; (size_t)id < words->n; id++) {
    if (moh__is_plain(tokenizer, vocab, id)) continue;
    MOH_TRY(check_spelling(words->words[id], id, err));
    moh__text meaning = moh__tokenizer_token(tokenizer, id);
    if (meaning.n != 1) continue;
    tokenizer->bpe->byte_id[(unsigned char)meaning.bytes[0]] = id;
  }
  return MOH_OK;
}

/* Letters are bytes when both ends of the tokenizer say so. */
static moh_status read_letters(moh__tokenizer *tokenizer, const json_t *model,
                               moh_error *err) {
  moh__bpe *bpe = tokenizer->bpe;
  memset(bpe->byte_id, 0xFF, sizeof(bpe->byte_id));
  bpe->of_bytes = tokenizer->pre.byte_level;
  if (!bpe->of_bytes) return MOH_OK;
  if (tokenizer->decoder.byte_level) {
    return read_bytes(tokenizer, json_object_get(model, "vocab"), err);
  }
  return moh__fail(err, MOH_ERR_UNSUPPORTED,
                   "a BPE model with the pre-tokenizer ByteLevel but without "
                   "the decoder ByteLevel is not known here");
}

/* ---- merges -----------------------------------------------------------
 */

/* A merge as the file has it, "a b" or ["a", "b"]. */
typedef struct entry {
  size_t rank;
  moh__text left, right;
} entry;

static moh_status fail_entry(const entry *e, moh_error *err,
                             const char *why) {
  return moh__fail(err, MOH_ERR_FORMAT,
                   "element %zu of \"merges\", \"%.*s\" and \"%.*s\": %s",
                   e->rank, moh__quoted(e->left), e->left.bytes,
                   moh__quoted(e->right), e->right.bytes, why);
}

static moh__text text_of_json(const json_t *string) {
  return (moh__text){json_string_value(string), json_string_length(string)};
}

static moh_status read_entry(entry *e, const json_t *json, moh_error *err) {
  e->left = e->right = (moh__text){"", 0};
  if (json_is_string(json)) {
    moh__text both = text_of_json(json);
    const char *blank = memchr(both.bytes, ' ', both.n);
    if (blank != NULL) {
      size_t n = (size_t)(blank - both.bytes);
      e->left = (moh__text){both.bytes, n};
      e->right = (moh__text){blank + 1, both.n - n - 1};
    }
  } else if (json_array_size(json) == 2) {
    const json_t *left = json_array_get(json, 0);
    const json_t *right = json_array_get(json, 1);
    if (json_is_string(left)) e->left = text_of_json(left);
    if (json_is_string(right)) e->right = text_of_json(right);
  }
  if (e->left.n > 0 && e->right.n > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "element %zu of \"merges\" is not two tokens", e->rank);
}

/* The ids of both tokens and of the one that they make. */
static moh_status find_ids(const moh__tokenizer *tokenizer, const entry *e,
                           int32_t ids[3], moh_error *err) {
  ids[0] = moh__vocab_find(&tokenizer->vocab, e->left);
  ids[1] = moh__vocab_find(&tokenizer->vocab, e->right);
  if (ids[0] < 0) return fail_entry(e, err, "there is no token of the first");
  if (ids[1] < 0) {
    return fail_entry(e, err, "there is no token of the second");
  }
  size_t n;
  char *whole = NULL;
  if (moh__add_size(e->left.n, e->right.n, &n)) whole = malloc(n);
  if (whole == NULL) return no_memory(err);
  memcpy(whole, e->left.bytes, e->left.n);
  memcpy(whole + e->left.n, e->right.bytes, e->right.n);
  ids[2] = moh__vocab_find(&tokenizer->vocab, (moh__text){whole, n});
  free(whole);
  if (ids[2] >= 0) return MOH_OK;
  return fail_entry(e, err, "there is no token of both together");
}

static moh_status put_merge(moh__tokenizer *tokenizer, const entry *e,
                            moh_error *err) {
  moh__bpe *bpe = tokenizer->bpe;
  int32_t ids[3];
  MOH_TRY(find_ids(tokenizer, e, ids, err));
  bpe->result[e->rank] = ids[2];
  if (tokenizer->is_special[ids[2]]) return MOH_OK;
  uint64_t pair = moh__pair_of(ids[0], ids[1]);
  size_t at = moh__pair_slot(pair, bpe->n_slots);
  for (; bpe->merges[at].id >= 0; at = (at + 1) & (bpe->n_slots - 1)) {
    if (bpe->merges[at].pair != pair) continue;
    return fail_entry(e, err, "they are there twice");
  }
  bpe->merges[at] = (moh__merge){pair, (uint32_t)e->rank, ids[2]};
  return MOH_OK;
}

/* A table that is at most half full. */
static moh_status make_table(moh__bpe *bpe, size_t n, moh_error *err) {
  bpe->n_slots = 16;
  while (bpe->n_slots < 2 * n) bpe->n_slots *= 2;
  bpe->merges = calloc(bpe->n_slots, sizeof(*bpe->merges));
  bpe->result = calloc(n + 1, sizeof(*bpe->result));
  if (bpe->merges == NULL || bpe->result == NULL) return no_memory(err);
  for (size_t i = 0; i < bpe->n_slots; i++) bpe->merges[i].id = -1;
  bpe->n_merges = n;
  return MOH_OK;
}

static moh_status read_merges(moh__tokenizer *tokenizer, const json_t *merges,
                              moh_error *err) {
  if (!json_is_array(merges)) {
    return moh__fail(err, MOH_ERR_FORMAT, "\"merges\" is %s, not an array",
                     moh__kind_of(merges));
  }
  size_t n = json_array_size(merges);
  MOH_TRY(make_table(tokenizer->bpe, n, err));
  for (size_t i = 0; i < n; i++) {
    entry e = {.rank = i};
    MOH_TRY(read_entry(&e, json_array_get(merges, i), err));
    MOH_TRY(put_merge(tokenizer, &e, err));
  }
  return MOH_OK;
}

static bool ends_with(moh__text text, moh__text end) {
  return text.n >= end.n &&
         memcmp(text.bytes + text.n - end.n, end.bytes, end.n) == 0;
}

/* Whether a merge reaches across the front of a blank. */
static bool crosses(const moh__tokenizer *tokenizer, const moh__merge *merge,
                    moh__text blank) {
  const moh__text *words = tokenizer->vocab.words;
  return moh__text_starts(words[merge->pair & UINT32_MAX], blank) &&
         !ends_with(words[merge->pair >> 32], blank);
}

static void find_cuts(moh__tokenizer *tokenizer) {
  moh__bpe *bpe = tokenizer->bpe;
  for (int i = 0; i < MOH__BPE_CUTS; i++) {
    moh__text blank = moh__bpe_blanks[i];
    int32_t id = moh__vocab_find(&tokenizer->vocab, blank);
    bpe->cuts[i] = !bpe->of_bytes && !bpe->ignore_merges && id >= 0 &&
                   !tokenizer->is_special[id];
    for (size_t k = 0; bpe->cuts[i] && k < bpe->n_slots; k++) {
      if (bpe->merges[k].id < 0) continue;
      bpe->cuts[i] = !crosses(tokenizer, &bpe->merges[k], blank);
    }
  }
}

moh_status moh__bpe_read(moh__tokenizer *tokenizer, const json_t *model,
                         moh_error *err) {
  tokenizer->bpe = calloc(1, sizeof(*tokenizer->bpe));
  if (tokenizer->bpe == NULL) return no_memory(err);
  MOH_TRY(read_letters(tokenizer, model, err));
  MOH_TRY(read_options(tokenizer, model, err));
  MOH_TRY(read_merges(tokenizer, json_object_get(model, "merges"), err));
  find_cuts(tokenizer);
  return MOH_OK;
}

/* ---- writing ----------------------------------------------------------
 */

/* "left right", as every version of the format can be read. */
static json_t *merge_json(const moh__vocab *tokens, uint64_t pair) {
  moh__text left = tokens->words[pair >> 32];
  moh__text right = tokens->words[pair & UINT32_MAX];
  return json_sprintf("%.*s %.*s", (int)left.n, left.bytes, (int)right.n,
                      right.bytes);
}

static json_t *merges_json(const moh__vocab *tokens, const uint64_t *merges,
                           size_t n) {
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++) {
    if (json_array_append_new(array, merge_json(tokens, merges[i])) == 0) {
      continue;
    }
    json_decref(array);
    return NULL;
  }
  return array;
}

static json_t *byte_level(bool add_prefix_space) {
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                   "add_prefix_space", add_prefix_space, "trim_offsets", 1,
                   "use_regex", 1);
}

json_t *moh__bpe_document(const moh__vocab *tokens, const uint64_t *merges,
                          size_t n_merges) {
  json_int_t end = moh__vocab_find(tokens, moh__text_of("</s>"));
  json_t *model =
      json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type",
                "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                "ignore_merges", 0, "vocab", moh__vocab_json(tokens),
                "merges", merges_json(tokens, merges, n_merges));
  return moh__tokenizer_document((moh__document){
      .added = json_pack("[o]", moh__special_token("</s>", end)),
      .normalizer = json_null(),
      .pre_tokenizer = byte_level(false),
      .post_processor = json_null(),
      .decoder = byte_level(true),
      .model = model});
}
