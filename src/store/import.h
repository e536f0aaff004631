/*
 * Models of others, read into ours: a GGUF file, a LLaMA-style directory, a
 * checkpoint of llama2.c. Each importer gives a model with its data in
 * float32, packed nowhere, and what came with it.
 */
#ifndef MOH_STORE_IMPORT_H
#define MOH_STORE_IMPORT_H

#include "base/blocks.h"
#include "model/model.h"
#include "text/tokenizer.h"

typedef struct moh__imported {
  moh__model *model;
  moh__tokenizer *tokenizer; /* NULL: none came with it */
  moh__block_type weights;   /* what most of them are stored as */
} moh__imported;

/* tokenizer_path: of the tokenizer that belongs to a llama2.c checkpoint (its
 * own format or tokenizer.json); NULL: none. */
moh_status moh__import_gguf(moh__imported *out, const char *path,
                            moh_error *err);
moh_status moh__import_llama(moh__imported *out, const char *path,
                             moh_error *err);
moh_status moh__import_llama2c(moh__imported *out, const char *path,
                               const char *tokenizer_path, moh_error *err);
void moh__imported_free(moh__imported *imported);

#endif
