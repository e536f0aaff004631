/*
 * A conversation as a model with a chat template of its own reads it: the
 * template's special tokens, and what was said, never read as such.
 */
#ifndef MOH_TEXT_CHAT_PROMPT_H
#define MOH_TEXT_CHAT_PROMPT_H

#include "text/template.h"

/* messages: an array of {"role": ..., "content": ...}. The template sees
 * them, bos_token, eos_token and unk_token as the tokenizer has them,
 * add_generation_prompt, and tools and documents as none. With answer, the
 * words that begin the next answer stand at the end. */
moh_status moh__chat_render(const moh__tokenizer *tokenizer,
                            const json_t *messages, bool answer,
                            moh__rendered *out, moh_error *err);

/* The ids of what was rendered. No token is put in front: that is the
 * template's part. */
moh_status moh__chat_encode(const moh__tokenizer *tokenizer,
                            const moh__rendered *rendered, moh__ids *ids,
                            moh_error *err);

/* Makes the special token that the template puts behind an answer one of the
 * tokenizer's end tokens. A template that cannot write such a conversation
 * changes nothing. */
moh_status moh__chat_find_end(moh__tokenizer *tokenizer, moh_error *err);

#endif
