/* Reading post-processors. */
#include "text/post_processor.h"

#include <string.h>

#include "base/json.h"
#include "text/tokenizer_internal.h"

enum { MAX_TOKENS = 64 }; /* in front, or behind */

/* A post-processor that is read. */
typedef struct reading {
  moh__post_processor *post;
  size_t n_vocab;
  bool has_template;
} reading;

void moh__post_processor_free(moh__post_processor *post) {
  moh__ids_free(&post->front);
  moh__ids_free(&post->behind);
}

/* The ids behind a name of "special_tokens". */
static moh_status add_special(const reading *r, const json_t *specials,
                              const char *name, moh__ids *ids,
                              moh_error *err) {
  const json_t *list =
      json_object_get(json_object_get(specials, name), "ids");
  moh__text text = moh__text_of(name);
  if (json_array_size(list) == 0) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the special token \"%.*s\" of a template has no ids",
                     moh__quoted(text), name);
  }
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *id = json_array_get(list, i);
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || (uint64_t)value >= r->n_vocab) {
      return moh__fail(err, MOH_ERR_FORMAT,
                       "the special token \"%.*s\" of a template has an id "
                       "that is none of 0..%zu",
                       moh__quoted(text), name, r->n_vocab - 1);
    }
    if (ids->n == MAX_TOKENS) {
      return moh__fail(err, MOH_ERR_UNSUPPORTED,
                       "a template of more than %d special tokens",
                       MAX_TOKENS);
    }
    MOH_TRY(moh__ids_push(ids, (int32_t)value, err));
  }
  return MOH_OK;
}

/* {"SpecialToken": {"id": "<s>", ...}} or {"Sequence": {"id": "A", ...}} */
static moh_status read_piece(const reading *r, const json_t *specials,
                             const json_t *piece, bool *text,
                             moh_error *err) {
  const char *name;
  const json_t *token = json_object_get(piece, "SpecialToken");
  if (token != NULL) {
    MOH_TRY(moh__json_get_string(token, "id", &name, err));
    moh__ids *ids = *text ? &r->post->behind : &r->post->front;
    return add_special(r, specials, name, ids, err);
  }
  MOH_TRY(moh__get_object(piece, "Sequence", &token, err));
  MOH_TRY(moh__json_get_string(token, "id", &name, err));
  bool known = strcmp(name, "A") == 0 && !*text;
  *text = true;
  return known ? MOH_OK
               : moh__fail(err, MOH_ERR_UNSUPPORTED,
                           "a template in which the text is not there once "
                           "is not known here");
}

static moh_status read_template(reading *r, const json_t *json,
                                moh_error *err) {
  const json_t *specials, *single = json_object_get(json, "single");
  bool text = false;
  if (r->has_template) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "two templates are not known here");
  }
  r->has_template = true;
  if (!json_is_array(single)) {
    return moh__fail(err, MOH_ERR_FORMAT,
                     "\"single\" of a template is %s, not an array",
                     moh__kind_of(single));
  }
  MOH_TRY(moh__get_object(json, "special_tokens", &specials, err));
  for (size_t i = 0; i < json_array_size(single); i++) {
    MOH_TRY(read_piece(r, specials, json_array_get(single, i), &text, err));
  }
  if (text) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT, "a template without a text");
}

static moh_status read_part(void *context, const json_t *json,
                            moh_error *err) {
  reading *r = context;
  if (moh__is_type(json, "ByteLevel")) return MOH_OK;
  if (moh__is_type(json, "TemplateProcessing")) {
    return read_template(r, json, err);
  }
  return moh__refuse("post_processor", json, err);
}

moh_status moh__post_processor_read(moh__post_processor *post,
                                    const json_t *json, size_t n_vocab,
                                    moh_error *err) {
  reading r = {post, n_vocab, false};
  if (moh__is_absent(json)) return MOH_OK;
  return moh__each_part(json, "processors", read_part, &r, err);
}
