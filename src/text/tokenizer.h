/*
 * Tokenizers, as tokenizer.json files describe them: added tokens are found
 * first, the normalizer changes the text between them, the pre-tokenizer cuts
 * it into words, words become ids by the model, the post-processor has special
 * tokens for the front and the end, and a decoder joins tokens again.
 *
 * Models are WordLevel and BPE, of bytes or of characters with byte fallback.
 * What is known of the rest stands in normalizer.h, pre_tokenizer.h,
 * post_processor.h, decoder.h and added_tokens.h; an unknown step is an error
 * that names it. Vocabularies of other files: vocab_document.h.
 *
 * Bytes that are not UTF-8 pass by all steps: byte-level BPE and byte fallback
 * make the tokens of the bytes, other models one unknown token of a run of
 * them. Behind them the text goes on: nothing is put in front of it again.
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
  MOH__TEXT_FILE_MAX = 100 << 20,   /* bytes of a text or tokenizer file */
  MOH__CHAT_MAX = 1 << 20           /* bytes of a chat template */
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
 * bpe: byte-level byte-pair encoding of n_vocab tokens (bpe_trainer.h, which
 *   also takes texts that do not fit into memory).
 */
moh_status moh__tokenizer_train_words(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err);
moh_status moh__tokenizer_train_chars(moh__tokenizer **out,
                                      const moh__text *texts, size_t n_texts,
                                      moh_error *err);
moh_status moh__tokenizer_train_bpe(moh__tokenizer **out,
                                    const moh__text *texts, size_t n_texts,
                                    int64_t n_vocab, moh_error *err);

/* tokenizer.json */
moh_status moh__tokenizer_load(moh__tokenizer **out, const char *path,
                               moh_error *err);
moh_status moh__tokenizer_parse(moh__tokenizer **out, const char *json,
                                size_t n, const char *name, moh_error *err);
moh_status moh__tokenizer_save(const moh__tokenizer *tokenizer,
                               const char *path, moh_error *err);
moh_status moh__tokenizer_copy(moh__tokenizer **out,
                               const moh__tokenizer *tokenizer,
                               moh_error *err);
/* Whether their files would be the same. */
bool moh__tokenizer_equal(const moh__tokenizer *a, const moh__tokenizer *b);
void moh__tokenizer_free(moh__tokenizer *tokenizer);

int32_t moh__tokenizer_size(const moh__tokenizer *tokenizer);
/* The id of a token's text, -1 when there is none. */
int32_t moh__tokenizer_id(const moh__tokenizer *tokenizer, const char *token);
/* The unknown token; -1 when there is none. */
int32_t moh__tokenizer_unknown(const moh__tokenizer *tokenizer);

/* Tokens that end a text. A file names none: they are `</s>`, or a special
 * token that is called <|endoftext|>, <|end_of_text|> or <eos>, until others
 * are set; the first is what stands between texts; -1 when there is none. */
int32_t moh__tokenizer_end(const moh__tokenizer *tokenizer);
bool moh__tokenizer_is_end(const moh__tokenizer *tokenizer, int32_t id);
const moh__ids *moh__tokenizer_ends(const moh__tokenizer *tokenizer);
moh_status moh__tokenizer_set_ends(moh__tokenizer *tokenizer,
                                   const int32_t *ids, size_t n,
                                   moh_error *err);

/* The token that begins a text, -1 when there is none; and whether the file
 * has tokens put in front of each text, which is done by those who ask for
 * it: begin appends those in front (n_begin of them), finish those behind. */
int32_t moh__tokenizer_bos(const moh__tokenizer *tokenizer);
moh_status moh__tokenizer_set_bos(moh__tokenizer *tokenizer, int32_t id,
                                  moh_error *err);
bool moh__tokenizer_adds_bos(const moh__tokenizer *tokenizer);
int64_t moh__tokenizer_n_begin(const moh__tokenizer *tokenizer);
moh_status moh__tokenizer_begin(const moh__tokenizer *tokenizer,
                                moh__ids *ids, moh_error *err);
moh_status moh__tokenizer_finish(const moh__tokenizer *tokenizer,
                                 moh__ids *ids, moh_error *err);

/* Whether an id of the vocabulary is a special token's. */
bool moh__tokenizer_is_special(const moh__tokenizer *tokenizer, int32_t id);

/* How conversations are written (template.h), as it came with the model,
 * borrowed; NULL: none. Set copies it (bytes NULL: none) and refuses what is
 * longer than MOH__CHAT_MAX, has a NUL or is not UTF-8. */
const char *moh__tokenizer_chat(const moh__tokenizer *tokenizer);
moh_status moh__tokenizer_set_chat(moh__tokenizer *tokenizer,
                                   moh__text chat, moh_error *err);

/* The bytes that a token stands for, and how the file spells it; borrowed; id
 * is one of the vocabulary's. */
moh__text moh__tokenizer_token(const moh__tokenizer *tokenizer, int32_t id);
moh__text moh__tokenizer_spelling(const moh__tokenizer *tokenizer,
                                  int32_t id);

/* Appends the ids of a text. Added (special) tokens in the text are
 * recognised only when `specials` is true. Any bytes are accepted: a run of
 * bytes that are not UTF-8 becomes one unknown token, with BPE the tokens of
 * its bytes. When the text needs an unknown token and the tokenizer has none,
 * BPE leaves out what it lacks, as the library `tokenizers` does; others
 * fail. */
moh_status moh__tokenizer_encode(const moh__tokenizer *tokenizer,
                                 moh__text text, bool specials,
                                 moh__ids *ids, moh_error *err);

/* The same of a prompt that is made of runs, side by side and covering it:
 * special tokens are recognised where they touch no content. */
typedef struct moh__text_run {
  size_t start, end;
  bool content;
} moh__text_run;
moh_status moh__tokenizer_encode_runs(const moh__tokenizer *tokenizer,
                                      moh__text text,
                                      const moh__text_run *runs,
                                      size_t n_runs, moh__ids *ids,
                                      moh_error *err);

/* The same for many texts, one after the other: it keeps what it can use
 * again. An encoder is for one thread at a time, borrows its tokenizer, and
 * gives the same ids as moh__tokenizer_encode. */
typedef struct moh__encoder moh__encoder;

moh_status moh__encoder_new(moh__encoder **out,
                            const moh__tokenizer *tokenizer, moh_error *err);
moh_status moh__encoder_encode(moh__encoder *encoder, moh__text text,
                               bool specials, moh__ids *ids, moh_error *err);
/* A text as a model reads it: behind the begin token, if there is one. */
moh_status moh__encoder_encode_begun(moh__encoder *encoder, moh__text text,
                                     moh__ids *ids, moh_error *err);
void moh__encoder_free(moh__encoder *encoder);

/*
 * The text of ids, NUL-terminated, to be freed with free. Special tokens are
 * left out when skip_special. Ids outside the vocabulary are an error. The
 * text of the first ids is the front of the text of all.
 *
 * Words and characters: encoding the text gives the same ids again, when
 * there are no special ones among them. BPE: the text of the ids of a text is
 * that text, byte for byte, unless the tokenizer's steps change it.
 */
moh_status moh__tokenizer_decode(const moh__tokenizer *tokenizer,
                                 const int32_t *ids, size_t n,
                                 bool skip_special, char **text,
                                 moh_error *err);

/* The same with the length, for texts with a NUL in them. */
moh_status moh__tokenizer_decode_bytes(const moh__tokenizer *tokenizer,
                                       const int32_t *ids, size_t n,
                                       bool skip_special, char **bytes,
                                       size_t *n_bytes, moh_error *err);

#endif
