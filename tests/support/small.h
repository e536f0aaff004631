/* A model directory that is small enough to try every byte of it. */
#ifndef MOH_TESTS_SMALL_H
#define MOH_TESTS_SMALL_H

#include "store/model_dir.h"

/* Fails the test with the message. */
void small_must(moh_status status, const moh_error *err);

/* "User: hi </s>" */
moh__tokenizer *small_tokenizer(void);

/* Has every kind of tensor. */
moh__model *small_model(int64_t vocab_size, uint64_t seed);

/* Routes 1 + 2 of 4 heads of 32, 70 tokens, and every row is whole blocks. */
moh__config small_blocks_config(int64_t max_seq_len);

/* Saves with a note: "a test", 17 steps. */
void small_save(const char *dir, const moh__model *model,
                const moh__tokenizer *tokenizer);

/* Saves the small model with its tokenizer. */
void small_dir(const char *dir, uint64_t seed);

#endif
