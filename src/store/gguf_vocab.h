/* Tokenizers and chat templates in GGUF's metadata (tokenizer.*). */
#ifndef MOH_STORE_GGUF_VOCAB_H
#define MOH_STORE_GGUF_VOCAB_H

#include "format/gguf.h"
#include "text/tokenizer.h"

/* The tokenizer, with its chat template; NULL where the file has none. Refuses
 * a vocabulary that is larger than the model's. */
moh_status moh__gguf_read_vocab(const moh__gguf *file, int64_t vocab_size,
                                moh__tokenizer **tokenizer, moh_error *err);

/* Refuses a tokenizer that has more tokens than the model, or that GGUF cannot
 * say (text/vocab_arrays.h). */
moh_status moh__gguf_put_vocab(moh__gguf_metadata *m,
                               const moh__tokenizer *tokenizer,
                               int64_t vocab_size, moh_error *err);

#endif
