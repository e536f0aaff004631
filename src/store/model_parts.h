/* The files of a model directory, one by one: for loading and for checking.
 */
#ifndef MOH_STORE_MODEL_PARTS_H
#define MOH_STORE_MODEL_PARTS_H

#include "format/safetensors.h"
#include "model/model.h"
#include "store/model_dir.h"
#include "text/tokenizer.h"

/* Where files are written before they are moved to their names; it is still
 * there when saving was cut short. */
extern const char moh__model_staging[];

/* config.json, with its path in messages. */
moh_status moh__model_load_config(moh__config *config, const char *path,
                                  moh_error *err);

/* A tensor (NULL: it is missing) is of numbers, and has a parameter's shape. */
moh_status moh__model_check_tensor(const moh__param *param,
                                   const moh__st_tensor *tensor,
                                   moh_error *err);

/* Parameters and tensors are the same set, of the same shapes. */
moh_status moh__model_check_tensors(const moh__model *model,
                                    const moh__safetensors *file,
                                    moh_error *err);

/*
 * model.safetensors: f16 and bf16 as these types, other blocks as U8 of shape
 * [outputs, bytes of a row]. Type f32: as the model has them.
 */
moh_status moh__weights_save(const moh__model *model, moh__block_type type,
                             const char *path, const moh__watch *watch,
                             moh_error *err);
moh_status moh__weights_load(moh__model *model, const char *path,
                             moh__load_options options, moh_error *err);
/* Weights are finite, and stay so as they are written: as moh__check_fit. */
moh_status moh__weights_check(const moh__model *model, moh__block_type type,
                              moh_error *err);
/* Adds to config.json what they are; not 0: no memory. */
int moh__weights_describe(json_t *root, const moh__model *model,
                          moh__block_type type);

/* What a tensor has of a parameter. False: its type or shape is another. */
bool moh__weights_type(const moh__param *param, const moh__st_tensor *tensor,
                       moh__block_type *type);

/* A tokenizer whose ids are rows of an embedding: from a file, or from a
 * directory (store/tokenizer_dir.h). */
moh_status moh__model_load_tokenizer(moh__tokenizer **tokenizer,
                                     const char *path, int64_t vocab_size,
                                     moh_error *err);
moh_status moh__model_load_tokenizer_dir(moh__tokenizer **tokenizer,
                                         const char *dir, int64_t vocab_size,
                                         moh_error *err);

#endif
