/*
 * Post-processors of a tokenizer.json: special tokens in front of and behind
 * the tokens of a text. Known are TemplateProcessing (of a single text),
 * ByteLevel (which moves offsets only, so does nothing here), and Sequence
 * of them.
 */
#ifndef MOH_TEXT_POST_PROCESSOR_H
#define MOH_TEXT_POST_PROCESSOR_H

#include <jansson.h>

#include "text/tokenizer.h"

typedef struct moh__post_processor {
  moh__ids front, behind;
} moh__post_processor;

/* n_vocab: how many tokens there are. */
moh_status moh__post_processor_read(moh__post_processor *post,
                                    const json_t *json, size_t n_vocab,
                                    moh_error *err);
void moh__post_processor_free(moh__post_processor *post);

#endif
