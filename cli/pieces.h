/*
 * Tokens as people see them: a text that shows where each begins and ends,
 * and every byte of it, printable or not.
 */
#ifndef MOH_CLI_PIECES_H
#define MOH_CLI_PIECES_H

#include <jansson.h>
#include <stdio.h>

#include "text/tokenizer.h"

/* The text with \n, \t, \r, \\ and \" for these characters, and \xHH for
 * each byte of others that cannot be printed, or that are not UTF-8. */
void moh__piece_write(FILE *out, moh__text piece);

/* Lines "id<TAB>"piece"". */
void moh__pieces_list(FILE *out, const moh__tokenizer *tokenizer,
                      const moh__ids *ids);
/* The same with a third word, "special", behind special tokens, which are
 * shown as the vocabulary spells them. */
void moh__pieces_prompt(FILE *out, const moh__tokenizer *tokenizer,
                        const moh__ids *ids);
/* The text itself in changing colours, for a terminal; after \n it goes on
 * in a new line. */
void moh__pieces_color(FILE *out, const moh__tokenizer *tokenizer,
                       const moh__ids *ids);
/* Ids with blanks between, in a line. */
void moh__pieces_ids(FILE *out, const moh__ids *ids);

/* A string, or an array of bytes when the piece is no UTF-8 by itself: a new
 * reference. */
json_t *moh__piece_json(moh__text piece);

/*
 * A JSON object: "n_bytes", "n_tokens", "ids", and "pieces", each as
 * moh__piece_json gives it.
 */
moh_status moh__pieces_json(FILE *out, const moh__tokenizer *tokenizer,
                            const moh__ids *ids, size_t n_bytes,
                            moh_error *err);

#endif
