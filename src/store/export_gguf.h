/* Dense models of the LLaMA family as GGUF files, tokenizer and chat template
 * included: the way back of moh__import_gguf. */
#ifndef MOH_STORE_EXPORT_GGUF_H
#define MOH_STORE_EXPORT_GGUF_H

#include "base/blocks.h"
#include "base/hash.h"
#include "model/model.h"
#include "text/tokenizer.h"

/* Matrices in the wanted type, but f32 where rows are no whole blocks of it;
 * all else is f32. Refuses what moh__export_check does, what GGUF's reader of
 * the family lacks (MOH_ERR_ARGUMENT), and a tokenizer that is NULL or that
 * GGUF cannot say. A weight that does not fit is MOH_ERR_FORMAT with the
 * source, which the model was loaded from. Stopped by the watch (NULL: none),
 * it leaves nothing. */
moh_status moh__export_gguf(const moh__model *model,
                            const moh__tokenizer *tokenizer,
                            const char *source, moh__block_type weights,
                            const char *path, const moh__watch *watch,
                            moh_error *err);

#endif
