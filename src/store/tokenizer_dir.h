/*
 * The tokenizer of a directory: tokenizer.json, and what the files beside it
 * say of the tokens that begin and end a text: "eos_token" and "bos_token" of
 * tokenizer_config.json, "eos_token_id" (a number or a list) and
 * "bos_token_id" of config.json and generation_config.json; and how
 * conversations are written, chat_template.jinja, or else "chat_template" of
 * tokenizer_config.json. A file that is not there says nothing.
 */
#ifndef MOH_STORE_TOKENIZER_DIR_H
#define MOH_STORE_TOKENIZER_DIR_H

#include <jansson.h>

#include "text/tokenizer.h"

moh_status moh__tokenizer_load_dir(moh__tokenizer **out, const char *dir,
                                   moh_error *err);

/* The chat template to be saved: the tokenizer's, or for models that have
 * none the form that moh chat uses then, "User: ... Assistant: ...". The
 * latter does not become a tokenizer's when it is loaded. */
const char *moh__chat_of(const moh__tokenizer *tokenizer);

/* "eos_token_id" and "bos_token_id" of a config.json: a number, a list, or
 * null. tokenizer NULL: both are null. */

moh_status moh__put_token_ids(json_t *root, const moh__tokenizer *tokenizer,
                              moh_error *err);
/* "eos_token", "bos_token" and "unk_token" of a tokenizer_config.json, where
 * there are such tokens. */
moh_status moh__put_tokens(json_t *root, const moh__tokenizer *tokenizer,
                           moh_error *err);

#endif
