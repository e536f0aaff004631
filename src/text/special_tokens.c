/* Tokens that begin and end texts: those of the file's template, and those
 * that a model's directory names. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

enum { ENDS_MAX = 64 };

static moh_status check(const moh__tokenizer *tokenizer, int32_t id,
                        const char *what, moh_error *err) {
  int32_t n = moh__tokenizer_size(tokenizer);
  if (id >= 0 && id < n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "the %s token %d is none of the vocabulary's %d tokens",
                   what, id, n);
}

/* ---- the end ---- */

int32_t moh__tokenizer_end(const moh__tokenizer *tokenizer) {
  return tokenizer->ends.n > 0 ? tokenizer->ends.ids[0] : -1;
}

const moh__ids *moh__tokenizer_ends(const moh__tokenizer *tokenizer) {
  return &tokenizer->ends;
}

bool moh__tokenizer_is_end(const moh__tokenizer *tokenizer, int32_t id) {
  for (size_t i = 0; i < tokenizer->ends.n; i++) {
    if (tokenizer->ends.ids[i] == id) return true;
  }
  return false;
}

moh_status moh__tokenizer_set_ends(moh__tokenizer *tokenizer,
                                   const int32_t *ids, size_t n,
                                   moh_error *err) {
  if (n > ENDS_MAX) {
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "%zu end tokens; at most %d can be used", n, ENDS_MAX);
  }
  for (size_t i = 0; i < n; i++)
    MOH_TRY(check(tokenizer, ids[i], "end", err));
  tokenizer->ends.n = 0;
  for (size_t i = 0; i < n; i++) {
    if (moh__tokenizer_is_end(tokenizer, ids[i])) continue;
    MOH_TRY(moh__ids_push(&tokenizer->ends, ids[i], err));
  }
  return MOH_OK;
}

/* `</s>`, or the special token that others call so. */
moh_status moh__tokenizer_guess_end(moh__tokenizer *tokenizer,
                                    moh_error *err) {
  static const char *const names[] = {"</s>", "<|endoftext|>",
                                      "<|end_of_text|>", "<eos>"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    int32_t id = moh__tokenizer_id(tokenizer, names[i]);
    if (id < 0 || (i > 0 && !tokenizer->is_special[id])) continue;
    return moh__tokenizer_set_ends(tokenizer, &id, 1, err);
  }
  return MOH_OK;
}

/* ---- the beginning ---- */

int32_t moh__tokenizer_bos(const moh__tokenizer *tokenizer) {
  const moh__ids *front = &tokenizer->post.front;
  if (tokenizer->bos >= 0) return tokenizer->bos;
  return front->n > 0 ? front->ids[0] : -1;
}

moh_status moh__tokenizer_set_bos(moh__tokenizer *tokenizer, int32_t id,
                                  moh_error *err) {
  MOH_TRY(check(tokenizer, id, "first", err));
  tokenizer->bos = id;
  return MOH_OK;
}

bool moh__tokenizer_adds_bos(const moh__tokenizer *tokenizer) {
  return tokenizer->post.front.n > 0;
}

int64_t moh__tokenizer_n_begin(const moh__tokenizer *tokenizer) {
  return (int64_t)tokenizer->post.front.n;
}

static moh_status add_all(const moh__ids *from, moh__ids *ids,
                          moh_error *err) {
  for (size_t i = 0; i < from->n; i++) {
    MOH_TRY(moh__ids_push(ids, from->ids[i], err));
  }
  return MOH_OK;
}

moh_status moh__tokenizer_begin(const moh__tokenizer *tokenizer,
                                moh__ids *ids, moh_error *err) {
  return add_all(&tokenizer->post.front, ids, err);
}

moh_status moh__tokenizer_finish(const moh__tokenizer *tokenizer,
                                 moh__ids *ids, moh_error *err) {
  return add_all(&tokenizer->post.behind, ids, err);
}

moh_status moh__tokenizer_copy_specials(moh__tokenizer *tokenizer,
                                        const moh__tokenizer *from,
                                        moh_error *err) {
  tokenizer->bos = from->bos;
  moh__text chat = {NULL, 0};
  if (from->chat != NULL) chat = moh__text_of(from->chat);
  MOH_TRY(moh__tokenizer_set_chat(tokenizer, chat, err));
  return moh__tokenizer_set_ends(tokenizer, from->ends.ids, from->ends.n,
                                 err);
}

/* ---- conversations ---- */

const char *moh__tokenizer_chat(const moh__tokenizer *tokenizer) {
  return tokenizer->chat;
}

/* Its length first: what is too long is not read. */
static moh_status check_chat(moh__text chat, moh_error *err) {
  if (chat.n > MOH__CHAT_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%zu bytes; a chat template has at most %d", chat.n,
                     MOH__CHAT_MAX);
  const char *nul = memchr(chat.bytes, '\0', chat.n);
  if (nul != NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "a chat template with a NUL at byte %zu",
                     (size_t)(nul - chat.bytes));
  size_t valid = moh__utf8_valid(chat);
  if (valid == chat.n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "a chat template that is not UTF-8 at byte %zu", valid);
}

moh_status moh__tokenizer_set_chat(moh__tokenizer *tokenizer, moh__text chat,
                                   moh_error *err) {
  if (chat.bytes != NULL) MOH_TRY(check_chat(chat, err));
  char *copy = chat.bytes == NULL ? NULL : strndup(chat.bytes, chat.n);
  if (chat.bytes != NULL && copy == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a chat template");
  free(tokenizer->chat);
  tokenizer->chat = copy;
  return MOH_OK;
}
