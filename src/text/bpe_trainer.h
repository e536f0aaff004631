/*
 * Making a byte-level BPE tokenizer: texts are fed in pieces of any size,
 * their words are counted, and at the end pairs are joined, the most
 * frequent first, until the vocabulary is full.
 *
 * Ids: `</s>` is 0, the 256 bytes follow in the order of their byte-level
 * characters, then the results of the merges in the order in which they
 * were made. Among pairs of the same count the one with the lesser left id
 * goes first, then the one with the lesser right id. Pairs that occur only
 * once are not joined. These are the rules of the Python library
 * `tokenizers`, and the same texts give the same file.
 */
#ifndef MOH_TEXT_BPE_TRAINER_H
#define MOH_TEXT_BPE_TRAINER_H

#include "text/tokenizer.h"

enum {
  MOH__BPE_LEAST = 257,    /* tokens of the least vocabulary */
  MOH__BPE_DEFAULT = 4096, /* a vocabulary for texts of some megabytes */
  /* Different words that are counted at the same time, and the bytes that
   * each may have on average: some 200 MB of memory in the worst case. When
   * there are more, the rarest are forgotten until half are left, which
   * large texts do not notice. */
  MOH__BPE_WORDS = 1 << 19,
  MOH__BPE_WORD_BYTES = 16,
  /* A longer word is counted in stretches of so many bytes. */
  MOH__BPE_STRETCH = 4096
};

typedef struct moh__bpe_trainer moh__bpe_trainer;

/* max_words: MOH__BPE_WORDS, or less to save memory. */
moh_status moh__bpe_trainer_new(moh__bpe_trainer **out, size_t max_words,
                                moh_error *err);
/* Counts the words of a text. `</s>` is left out, as are bytes that are not
 * UTF-8. The end of a piece ends a word. */
moh_status moh__bpe_trainer_feed(moh__bpe_trainer *trainer, moh__text text,
                                 moh_error *err);
/* Words that were forgotten for lack of room, each time counted. */
size_t moh__bpe_trainer_forgotten(const moh__bpe_trainer *trainer);
/* A tokenizer of n_vocab tokens, of fewer when no pair is left that occurs
 * twice. To be called once. */
moh_status moh__bpe_trainer_finish(moh__bpe_trainer *trainer,
                                   int64_t n_vocab, moh__tokenizer **out,
                                   moh_error *err);
void moh__bpe_trainer_free(moh__bpe_trainer *trainer);

#endif
