/* Finding merges: the second half of training, on counted words. */
#ifndef MOH_TEXT_BPE_MERGE_H
#define MOH_TEXT_BPE_MERGE_H

#include "text/bpe.h"

/* The vocabulary that grows, with byte-level characters, and its merges. */
typedef struct moh__bpe_tokens {
  moh__vocab words;
  uint64_t *merges; /* pairs of ids, in order */
  size_t n_merges;
  char **owned; /* [n_owned] spellings behind words */
  size_t n_owned;
} moh__bpe_tokens;

/* `</s>` and the 256 bytes, with room for n_vocab tokens. */
moh_status moh__bpe_tokens_start(moh__bpe_tokens *tokens, size_t n_vocab,
                                 moh_error *err);
void moh__bpe_tokens_free(moh__bpe_tokens *tokens);

/* Joins pairs of words that occur counts[word] times, until there are
 * n_vocab tokens. The words' bytes are fewer than 2^31. */
moh_status moh__bpe_merge(moh__bpe_tokens *tokens, const moh__vocab *words,
                          const uint64_t *counts, size_t n_vocab,
                          moh_error *err);

#endif
