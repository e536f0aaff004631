/*
 * A model directory: config.json, model.safetensors, tokenizer.json,
 * tokenizer_config.json (chat template) and manifest.json, which names the
 * format's version and the size and SHA-256 of every other file. It is written
 * last, so a directory without it was never finished.
 */
#ifndef MOH_STORE_MODEL_DIR_H
#define MOH_STORE_MODEL_DIR_H

#include <stdbool.h>

#include "model/model.h"
#include "store/manifest.h"
#include "text/tokenizer.h"

/* What there is to know of how a model was made; saved in manifest.json. */
typedef struct moh__model_note {
  const char *description; /* NULL: none */
  int64_t steps;           /* optimizer steps behind it */
  const json_t *pruning;   /* receipt of moh prune, borrowed; NULL: none */
  const json_t *upcycling; /* of moh upcycle, as well */
  const json_t *import;    /* of moh import, as well */
  moh__block_type weights; /* what matrices are stored as (but routers, and rows
                              that are no whole blocks); f32: as they are */
  const char *source; /* the file or directory that the weights are from, whose
                         fault it is when they cannot be written; NULL: none */
  const moh__watch *watch; /* may stop the saving; NULL: none */
} moh__model_note;

/* tokenizer may be NULL (no tokenizer files then). note may be NULL. Every
 * file is replaced atomically; dir is made when it is missing. A weight that
 * is not finite is MOH_ERR_DIVERGED, or MOH_ERR_FORMAT where the note names a
 * source; one that does not fit note->weights is MOH_ERR_FORMAT. Nothing is
 * written then. Nor is it when the watch stops the saving, or a file could not
 * be written: a directory that was made for it goes again. */
moh_status moh__model_save(const moh__model *model,
                           const moh__tokenizer *tokenizer, const char *dir,
                           const moh__model_note *note, moh_error *err);

/*
 * The weights lie in the mapped file; packed weights are not made here. Sizes
 * are always checked against the manifest, hashes when verify is true. With
 * writable, the data is copied to memory that can be trained. Matrices in
 * blocks are decoded, unless `stored` keeps them as they are. tokenizer may be
 * NULL. A tensor that is missing, unknown or of another shape than the
 * configuration says is refused by name.
 */
typedef struct moh__load_options {
  bool verify;
  bool writable;
  bool stored;
} moh__load_options;
moh_status moh__model_load(moh__model **model, moh__tokenizer **tokenizer,
                           const char *dir, moh__load_options options,
                           moh_error *err);

#endif
