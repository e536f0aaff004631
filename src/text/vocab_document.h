/*
 * Tokenizers from the vocabularies of other files, by way of tokenizer.json
 * documents: from the arrays of a GGUF file, and from llama2.c's.
 *
 * GGUF keeps no rules, only names: a kind ("gpt2": byte-level BPE with
 * merges; "llama": as SentencePiece does it, tokens with scores) and, for
 * the first, the name of a pre-tokenizer, whose published regular
 * expressions stand in a table here. An unknown name is refused, with a list
 * of the known ones.
 */
#ifndef MOH_TEXT_VOCAB_DOCUMENT_H
#define MOH_TEXT_VOCAB_DOCUMENT_H

#include "text/tokenizer.h"

/* What kind of token it is, as GGUF numbers them. */
typedef enum moh__gguf_token {
  MOH__GGUF_NORMAL = 1,
  MOH__GGUF_UNKNOWN = 2,
  MOH__GGUF_CONTROL = 3,      /* a special token */
  MOH__GGUF_USER_DEFINED = 4, /* found in texts before anything else */
  MOH__GGUF_UNUSED = 5,
  MOH__GGUF_BYTE = 6 /* "<0x00>" to "<0xFF>" */
} moh__gguf_token;

/* The fields tokenizer.ggml.* of a GGUF file; everything is borrowed. */
typedef struct moh__gguf_vocab {
  moh__text model; /* "gpt2" or "llama" */
  moh__text pre;   /* n 0: not given */
  size_t n_tokens;
  const moh__text *tokens; /* [n_tokens] */
  const float *scores;     /* [n_tokens]; NULL: not given */
  const int32_t *types;    /* [n_tokens], moh__gguf_token; NULL: normal */
  size_t n_merges;
  const moh__text *merges; /* [n_merges] "left right" */
  int64_t bos, eos;        /* ids; -1: not given */
  int64_t eot, eom;        /* the ends of a turn and of a message, too */
  int64_t unk;
  int add_bos, add_eos; /* 0, 1; -1: not given */
  int add_space_prefix; /* the same */
} moh__gguf_vocab;

moh_status moh__tokenizer_from_gguf(moh__tokenizer **out,
                                    const moh__gguf_vocab *vocab,
                                    moh_error *err);

/* The tokenizer file of llama2.c, for a model of n_vocab tokens; its
 * encoding is that of llama2.c's program. */
moh_status moh__tokenizer_load_llama2c(moh__tokenizer **out, const char *path,
                                       int64_t n_vocab, moh_error *err);
/* The same from memory; `name` stands for it in messages. */
moh_status moh__tokenizer_parse_llama2c(moh__tokenizer **out, moh__text file,
                                        int64_t n_vocab, const char *name,
                                        moh_error *err);

#endif
