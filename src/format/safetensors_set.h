/*
 * The tensors of a directory: in model.safetensors, or in several files that
 * model.safetensors.index.json names:
 *   {"metadata": {...}, "weight_map": {"TENSOR": "FILE", ...}}
 * A file is one in the same directory: its name has no '/' and no '\', does not
 * begin with '.', and ends with ".safetensors". Map and files say the same:
 * every tensor is in the file that the map names, and in no other.
 */
#ifndef MOH_FORMAT_SAFETENSORS_SET_H
#define MOH_FORMAT_SAFETENSORS_SET_H

#include "format/safetensors.h"

typedef struct moh__st_index {
  json_t *map;        /* weight_map */
  const char **files; /* their names, each once, in order of appearance */
  size_t n_files;
} moh__st_index;

/* `name` stands for the text in messages. */
moh_status moh__st_index_parse(moh__st_index *out, const char *text, size_t n,
                               const char *name, moh_error *err);
void moh__st_index_free(moh__st_index *index);

typedef struct moh__st_set {
  moh__safetensors **files;
  size_t n_files;
  char **paths;
} moh__st_set;

/* The single file where there is one, else the index. */
moh_status moh__st_set_open(moh__st_set *out, const char *dir,
                            moh_error *err);
void moh__st_set_close(moh__st_set *set);
/* NULL when there is none; and the path of its file. */
const moh__st_tensor *moh__st_set_find(const moh__st_set *set,
                                       const char *name, const char **path);

#endif
