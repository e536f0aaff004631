/* Chat templates and tokenizers together. */
#include "text/chat_prompt.h"

#include <string.h>

#include "text/tokenizer_internal.h"

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a prompt");
}

static int put_token(json_t *settings, const char *name,
                     const moh__tokenizer *tokenizer, int32_t id) {
  moh__text text = {"", 0};
  if (id >= 0) text = moh__tokenizer_spelling(tokenizer, id);
  return json_object_set_new(settings, name,
                             json_stringn(text.bytes, text.n));
}

static json_t *settings_of(const moh__tokenizer *tokenizer, bool answer) {
  json_t *settings = json_pack("{s:b, s:n, s:n}", "add_generation_prompt",
                               (int)answer, "tools", "documents");
  int failed = put_token(settings, "bos_token", tokenizer,
                         moh__tokenizer_bos(tokenizer));
  failed |= put_token(settings, "eos_token", tokenizer,
                      moh__tokenizer_end(tokenizer));
  failed |= put_token(settings, "unk_token", tokenizer,
                      moh__tokenizer_unknown(tokenizer));
  if (failed == 0) return settings;
  json_decref(settings);
  return NULL;
}

moh_status moh__chat_render(const moh__tokenizer *tokenizer,
                            const json_t *messages, bool answer,
                            moh__rendered *out, moh_error *err) {
  moh__template *program;
  const char *source = moh__tokenizer_chat(tokenizer);
  *out = (moh__rendered){0};
  MOH_TRY(moh__template_parse(&program, moh__text_of(source),
                              "the model's chat template", err));
  json_t *settings = settings_of(tokenizer, answer);
  json_t *data = json_pack("{s:O}", "messages", messages);
  moh_status status =
      settings == NULL || data == NULL
          ? no_memory(err)
          : moh__template_render(program, settings, data, NULL, out, err);
  json_decref(settings);
  json_decref(data);
  moh__template_free(program);
  return status;
}

moh_status moh__chat_encode(const moh__tokenizer *tokenizer,
                            const moh__rendered *rendered, moh__ids *ids,
                            moh_error *err) {
  moh__text text = {rendered->bytes, rendered->n};
  return moh__tokenizer_encode_runs(tokenizer, text, rendered->pieces,
                                    rendered->n_pieces, ids, err);
}

/* ---- the end of an answer ---- */

/* The first special token behind the last run of content, or -1. */
static moh_status token_behind(const moh__tokenizer *tokenizer,
                               const moh__rendered *r, int32_t *id,
                               moh_error *err) {
  moh__ids ids = {0};
  size_t n = r->n_pieces;
  *id = -1;
  if (n < 2 || r->pieces[n - 1].content) return MOH_OK;
  moh__text tail = moh__text_part((moh__text){r->bytes, r->n},
                                  r->pieces[n - 1].start, r->n);
  moh_status status = moh__tokenizer_encode(tokenizer, tail, true, &ids, err);
  for (size_t i = 0; i < ids.n && *id < 0; i++)
    if (tokenizer->is_special[ids.ids[i]]) *id = ids.ids[i];
  moh__ids_free(&ids);
  return status;
}

static moh_status add_end(moh__tokenizer *tokenizer, int32_t id,
                          moh_error *err) {
  moh__ids ends = {0};
  moh_status status = MOH_OK;
  for (size_t i = 0; i < tokenizer->ends.n && status == MOH_OK; i++)
    status = moh__ids_push(&ends, tokenizer->ends.ids[i], err);
  if (status == MOH_OK) status = moh__ids_push(&ends, id, err);
  if (status == MOH_OK)
    status = moh__tokenizer_set_ends(tokenizer, ends.ids, ends.n, err);
  moh__ids_free(&ends);
  return status;
}

moh_status moh__chat_find_end(moh__tokenizer *tokenizer, moh_error *err) {
  moh__rendered r;
  int32_t id;
  json_t *messages =
      json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "x",
                "role", "assistant", "content", "x");
  if (messages == NULL) return no_memory(err);
  moh_status status = moh__chat_render(tokenizer, messages, false, &r, NULL);
  json_decref(messages);
  if (status != MOH_OK) return MOH_OK; /* said when there is a prompt */
  status = token_behind(tokenizer, &r, &id, err);
  moh__rendered_free(&r);
  if (status != MOH_OK || id < 0 || moh__tokenizer_is_end(tokenizer, id))
    return status;
  return add_end(tokenizer, id, err);
}
