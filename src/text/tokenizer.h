/*
 * Tokenizers, as tokenizer.json files describe them: added tokens are found
 * first, the text between them is cut into words by the pre-tokenizer, words
 * become ids by the model, and a decoder joins them again.
 *
 * Known here: models WordLevel; pre-tokenizers WhitespaceSplit and Split by a
 * regular expression (behaviours Isolated and Removed), alone or in a
 * Sequence; decoders WordPiece (clean-up) and Fuse. An unknown step is an
 * error that names it.
 */
#ifndef MOH_TEXT_TOKENIZER_H
#define MOH_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct moh__tokenizer moh__tokenizer;

enum {
  MOH__TOKENS_MAX = 1 << 20,        /* size of a vocabulary */
  MOH__TEXT_FILE_MAX = 100 << 20    /* bytes of a text or tokenizer file */
};

/* A growing list of ids; {0} is empty. */
typedef struct moh__ids {
  int32_t *ids;
  size_t n, capacity;
} moh__ids;

void moh__ids_free(moh__ids *ids);
moh_status moh__ids_push(moh__ids *ids, int32_t id, moh_error *err);

/* A text of n bytes (UTF-8; may hold NUL). */
typedef struct moh__text {
  const char *bytes;
  size_t n;
} moh__text;

/*
 * Trained on texts:
 * words: `</s>` is one token; text is cut at Unicode white space, and every
 *   ASCII punctuation character is a word of its own (systems of the original
 *   project); case kept. Vocabulary sorted by bytes, `</s>` among it,
 *   then `<unk>` at the end.
 * chars: every code point that occurs, sorted; then `<unk>`.
 */
moh_status moh__tokenizer_train_words(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err);
moh_status moh__tokenizer_train_chars(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err);

/* tokenizer.json */
moh_status moh__tokenizer_load(moh__tokenizer **out, const char *path,
                               moh_error *err);
moh_status moh__tokenizer_parse(moh__tokenizer **out, const char *json,
                                size_t n, const char *name, moh_error *err);
moh_status moh__tokenizer_save(const moh__tokenizer *tokenizer,
                               const char *path, moh_error *err);
void moh__tokenizer_free(moh__tokenizer *tokenizer);

int32_t moh__tokenizer_size(const moh__tokenizer *tokenizer);
/* The id of a token's text, -1 when there is none. */
int32_t moh__tokenizer_id(const moh__tokenizer *tokenizer, const char *token);
/* The end-of-text token `</s>` and `<unk>`; -1 when there is none. */
int32_t moh__tokenizer_end(const moh__tokenizer *tokenizer);
int32_t moh__tokenizer_unknown(const moh__tokenizer *tokenizer);

/* Appends the ids of a text. Added (special) tokens in the text are
 * recognised only when `specials` is true. Any bytes are accepted: each run
 * of bytes that are not UTF-8 becomes one unknown token. Fails when the text
 * needs an unknown token and the tokenizer has none. */
moh_status moh__tokenizer_encode(const moh__tokenizer *tokenizer,
                                 moh__text text, bool specials,
                                 moh__ids *ids, moh_error *err);

/* The text of ids, NUL-terminated, to be freed with free. Special tokens are
 * left out when skip_special. Ids outside the vocabulary are an error.
 * Encoding the text gives the same ids again, when there are no special ones
 * among them; the text of the first ids is the front of the text of all. */
moh_status moh__tokenizer_decode(const moh__tokenizer *tokenizer,
                                 const int32_t *ids, size_t n,
                                 bool skip_special, char **text,
                                 moh_error *err);

#endif
