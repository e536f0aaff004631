/* Tokenizers from vocabularies of other files, in tests. */
#ifndef MOH_TESTS_VOCABS_H
#define MOH_TESTS_VOCABS_H

#include "support/check.h"
#include "text/vocab_document.h"

/* One that must be possible. */
static inline moh__tokenizer *tokenizer_of(const moh__gguf_vocab *vocab) {
  moh_error err;
  moh__tokenizer *tokenizer;
  moh_status status = moh__tokenizer_from_gguf(&tokenizer, vocab, &err);
  if (status != MOH_OK) fail_msg("%s", err.message);
  return tokenizer;
}

#endif
