/* Counting the words of texts, and the tokenizer that comes of it. */
#include <stdlib.h>
#include <string.h>

#include "text/bpe_merge.h"
#include "text/bpe_trainer.h"

struct moh__bpe_trainer {
  moh__tokenizer *cutter; /* bytes only: it cuts texts into words */
  moh__vocab words;
  uint64_t *counts; /* [max_words] */
  char *bytes;      /* [max_bytes] of the words, in their order */
  size_t n_bytes, max_words, max_bytes;
  size_t n_forgotten;
};

/* A tokenizer with the vocabulary that counted words give. */
static moh_status make(moh__tokenizer **out, const moh__vocab *words,
                       const uint64_t *counts, size_t n_vocab,
                       moh_error *err) {
  moh__bpe_tokens tokens;
  moh_status status = moh__bpe_tokens_start(&tokens, n_vocab, err);
  if (status == MOH_OK) {
    status = moh__bpe_merge(&tokens, words, counts, n_vocab, err);
  }
  if (status == MOH_OK) {
    json_t *document =
        moh__bpe_document(&tokens.words, tokens.merges, tokens.n_merges);
    status = moh__tokenizer_from_json(out, document, err);
  }
  moh__bpe_tokens_free(&tokens);
  return status;
}

moh_status moh__bpe_trainer_new(moh__bpe_trainer **out, size_t max_words,
                                moh_error *err) {
  *out = NULL;
  moh__bpe_trainer *trainer = calloc(1, sizeof(*trainer));
  if (trainer == NULL) goto no_memory;
  trainer->max_words = max_words;
  trainer->max_bytes =
      max_words * MOH__BPE_WORD_BYTES + 2 * MOH__BPE_STRETCH;
  trainer->counts = calloc(max_words, sizeof(*trainer->counts));
  trainer->bytes = malloc(trainer->max_bytes);
  if (trainer->counts == NULL || trainer->bytes == NULL) goto no_memory;
  moh_status status = make(&trainer->cutter, &trainer->words,
                           trainer->counts, MOH__BPE_LEAST, err);
  if (status != MOH_OK) {
    moh__bpe_trainer_free(trainer);
    return status;
  }
  *out = trainer;
  return MOH_OK;
no_memory:
  moh__bpe_trainer_free(trainer);
  return moh__fail(err, MOH_ERR_MEMORY, "no memory to train a tokenizer");
}

void moh__bpe_trainer_free(moh__bpe_trainer *trainer) {
  if (trainer == NULL) return;
  moh__tokenizer_free(trainer->cutter);
  moh__vocab_free(&trainer->words);
  free(trainer->counts);
  free(trainer->bytes);
  free(trainer);
}

/* ---- counting ---------------------------------------------------------
 */

/* Whether at most half of the room is taken by words that occur more than
 * `least` times. */
static bool leaves_room(const moh__bpe_trainer *trainer, uint64_t least) {
  size_t n = 0, n_bytes = 0;
  for (size_t i = 0; i < trainer->words.n; i++) {
    if (trainer->counts[i] <= least) continue;
    n++;
    n_bytes += trainer->words.words[i].n;
  }
  return 2 * n <= trainer->max_words && 2 * n_bytes <= trainer->max_bytes;
}

/* Forgets words that occur at most once, twice, four times and so on, until
 * there is room. The others keep their order and move together. */
static moh_status forget(moh__bpe_trainer *trainer, moh_error *err) {
  moh__vocab kept = {0};
  size_t n_bytes = 0;
  uint64_t least = 1;
  while (!leaves_room(trainer, least)) least *= 2;
  for (size_t i = 0; i < trainer->words.n; i++) {
    moh__text word = trainer->words.words[i];
    if (trainer->counts[i] <= least) continue;
    trainer->counts[kept.n] = trainer->counts[i];
    word.bytes = memmove(trainer->bytes + n_bytes, word.bytes, word.n);
    n_bytes += word.n;
    moh_status status = moh__vocab_add(&kept, word, err);
    if (status == MOH_OK) continue;
    moh__vocab_free(&kept);
    return status;
  }
  trainer->n_forgotten += trainer->words.n - kept.n;
  trainer->n_bytes = n_bytes;
  moh__vocab_free(&trainer->words);
  trainer->words = kept;
  return MOH_OK;
}

static moh_status add_word(moh__bpe_trainer *trainer, moh__text word,
                           moh_error *err) {
  if (trainer->words.n == trainer->max_words ||
      trainer->max_bytes - trainer->n_bytes < word.n) {
    MOH_TRY(forget(trainer, err));
  }
  word.bytes =
      memcpy(trainer->bytes + trainer->n_bytes, word.bytes, word.n);
  trainer->n_bytes += word.n;
  trainer->counts[trainer->words.n] = 1;
  return moh__vocab_add(&trainer->words, word, err);
}

static moh_status count_word(moh__bpe_trainer *trainer, moh__text word,
                             moh_error *err) {
  int32_t at = moh__vocab_find(&trainer->words, word);
  if (at < 0) return add_word(trainer, word, err);
  trainer->counts[at]++;
  return MOH_OK;
}

static moh_status count_piece(void *context, moh__piece piece,
                              moh_error *err) {
  if (piece.kind != MOH__PIECE_WORD) return MOH_OK;
  moh__text word = piece.text;
  while (word.n > MOH__BPE_STRETCH) {
    moh__text stretch = {word.bytes, MOH__BPE_STRETCH};
    MOH_TRY(count_word(context, stretch, err));
    word.bytes += stretch.n;
    word.n -= stretch.n;
  }
  return count_word(context, word, err);
}

moh_status moh__bpe_trainer_feed(moh__bpe_trainer *trainer, moh__text text,
                                 moh_error *err) {
  return moh__tokenizer_cut(trainer->cutter, text, true, count_piece,
                            trainer, err);
}

size_t moh__bpe_trainer_forgotten(const moh__bpe_trainer *trainer) {
  return trainer->n_forgotten;
}

moh_status moh__bpe_trainer_finish(moh__bpe_trainer *trainer,
                                   int64_t n_vocab, moh__tokenizer **out,
                                   moh_error *err) {
  *out = NULL;
  if (n_vocab < MOH__BPE_LEAST || n_vocab > MOH__TOKENS_MAX) {
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a BPE vocabulary of %lld tokens; %d (the bytes and "
                     "</s>) to %d can be made",
                     (long long)n_vocab, MOH__BPE_LEAST, MOH__TOKENS_MAX);
  }
  return make(out, &trainer->words, trainer->counts, (size_t)n_vocab, err);
}

/* ---- texts in memory --------------------------------------------------
 */

moh_status moh__tokenizer_train_bpe(moh__tokenizer **out,
                                    const moh__text *texts, size_t n_texts,
                                    int64_t n_vocab, moh_error *err) {
  moh__bpe_trainer *trainer;
  *out = NULL;
  MOH_TRY(moh__bpe_trainer_new(&trainer, MOH__BPE_WORDS, err));
  moh_status status = MOH_OK;
  for (size_t i = 0; i < n_texts && status == MOH_OK; i++) {
    status = moh__bpe_trainer_feed(trainer, texts[i], err);
  }
  if (status == MOH_OK) {
    status = moh__bpe_trainer_finish(trainer, n_vocab, out, err);
  }
  moh__bpe_trainer_free(trainer);
  return status;
}
