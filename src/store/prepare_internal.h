/* What the sources of the preparation share. */
#ifndef MOH_STORE_PREPARE_INTERNAL_H
#define MOH_STORE_PREPARE_INTERNAL_H

#include "store/prepare.h"
#include "text/reader.h"

/* Where the work stands: all that is needed to go on behind a shard. */
typedef struct moh__prepare_state {
  int64_t file;          /* n_paths: all texts are in shards */
  moh__reader_mark mark; /* where the block in work begins in the file */
  int64_t texts_done;    /* of the block */
  int64_t tokens_done;   /* of the text behind those */
  int32_t last;          /* the latest token, -1: none yet */
  moh__data_numbers numbers; /* of the shards that are written */
} moh__prepare_state;

/* ---- prepare_state.c: the directory and its progress.json ---- */

typedef struct moh__prepare_dir {
  const moh__prepare_options *options;
  json_t *arguments; /* what makes the shards what they are */
  json_t *times;     /* of the files' last change */
  char tokenizer[MOH__SHA256_HEX]; /* of tokenizer.json; "": not made yet */
  bool complete;                   /* the manifest is written */
  bool replace; /* other work is there, which goes when ours can begin */
  int lock;     /* descriptor of the directory; 0: none */
} moh__prepare_dir;

/* Refuses what does not fit together; *state is where to go on. Until it is
 * closed no other process can open the directory. */
moh_status moh__prepare_dir_open(moh__prepare_dir *dir,
                                 const moh__prepare_options *options,
                                 moh__prepare_state *state, moh_error *err);
void moh__prepare_dir_close(moh__prepare_dir *dir);
/* Called when nothing that can be known before stands against the work: now
 * other work is replaced. */
moh_status moh__prepare_dir_begin(moh__prepare_dir *dir, moh_error *err);
/* Of the first n files together. */
int64_t moh__prepare_bytes_before(const moh__prepare_dir *dir, int64_t n);
moh_status moh__prepare_dir_save(const moh__prepare_dir *dir,
                                 const moh__prepare_state *state,
                                 moh_error *err);
/* Writes the manifest and removes progress.json. */
moh_status moh__prepare_dir_finish(moh__prepare_dir *dir,
                                   const moh__prepare_state *state,
                                   moh_error *err);

/* ---- prepare_tokenizer.c ---- */

/* Whether the name is that of a kind of tokenizer that can be made. */
bool moh__prepare_is_kind(const char *tokenizer);
/* SHA-256 of a file. */
moh_status moh__prepare_hash(const char *path, char hex[MOH__SHA256_HEX],
                             moh_error *err);
/* Loads the directory's tokenizer, or makes it and begins the work. */
moh_status moh__prepare_tokenizer(moh__prepare_dir *dir,
                                  moh__tokenizer **tokenizer,
                                  moh_error *err);

#endif
