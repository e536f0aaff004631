/* What the sources of text/vocab_document.h share. */
#ifndef MOH_TEXT_VOCAB_INTERNAL_H
#define MOH_TEXT_VOCAB_INTERNAL_H

#include "text/tokenizer_internal.h"
#include "text/vocab_document.h"

/* The tokens, checked: UTF-8 without zero bytes, none twice. */
moh_status moh__vocab_of_gguf(moh__vocab *words, const moh__gguf_vocab *vocab,
                              moh_error *err);
int32_t moh__gguf_type(const moh__gguf_vocab *vocab, size_t id);

/* New references; NULL when memory ran out. */
json_t *moh__gguf_added(const moh__gguf_vocab *vocab);
/* TemplateProcessing with a token in front and one behind, -1: none. */
json_t *moh__template_document(const moh__text *tokens, int64_t front,
                               int64_t behind);

json_t *moh__gguf_merges(const moh__gguf_vocab *vocab);

/* Checks the ids of special tokens; the template that puts them around a
 * text. adds_bos: what is so where the file does not say. */
moh_status moh__gguf_ends(json_t **post, const moh__gguf_vocab *vocab,
                          bool adds_bos, moh_error *err);

/* Whether two normalizers, pre-tokenizers or decoders are the same steps,
 * however they are nested; NULL or null: none. */
bool moh__same_steps(const json_t *a, const json_t *b);

/* The name of what cuts as the steps of a byte-level document do; NULL: none
 * is known. */
const char *moh__gguf_pre_name(const json_t *document);

/* ---- vocab_scores.c ---- */

/* The blank whose steps a document has, and whether it puts one in front;
 * NULL: it has others. */
const char *moh__scores_blank(const json_t *document, bool *prefix);

/* The document of a vocabulary with scores, or with merges of characters.
 * blank: how tokens spell a blank. */
moh_status moh__scores_document(json_t **out, const moh__gguf_vocab *vocab,
                                const moh__vocab *words, const char *blank,
                                moh_error *err);
/* The same as a tokenizer. */
moh_status moh__tokenizer_of_scores(moh__tokenizer **out,
                                    const moh__gguf_vocab *vocab,
                                    const char *blank, moh_error *err);

#endif
