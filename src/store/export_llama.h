/*
 * Dense models of the LLaMA family as directories that other programs load:
 * config.json of the type that the model is, its weights in f32, f16 or bf16,
 * and the tokenizer's files as they are.
 */
#ifndef MOH_STORE_EXPORT_LLAMA_H
#define MOH_STORE_EXPORT_LLAMA_H

#include "base/blocks.h"
#include "base/hash.h"
#include "model/model.h"

/* A model that is none of the family is MOH_ERR_ARGUMENT with what it has that
 * they have not. */
moh_status moh__export_check(const moh__model *model, moh_error *err);

/* model was loaded from source, whose tokenizer files are copied and whose
 * token ids are kept. dir is made where it is missing; config.json is written
 * last, so that a directory without it was never finished. The model is
 * checked; a weight that does not fit is MOH_ERR_FORMAT with the source, before
 * anything is written. When the watch (NULL: none) stops it, or a file could
 * not be written, those that were go again, and so does a directory that was
 * made for them. */
moh_status moh__export_llama(const moh__model *model, const char *source,
                             moh__block_type weights, const char *dir,
                             const moh__watch *watch, moh_error *err);

#endif
