/* A conversation: what was said, and its file. */
#ifndef MOH_CLI_TALK_H
#define MOH_CLI_TALK_H

#include <jansson.h>
#include <stddef.h>

#include "base/status.h"

typedef struct moh__turn {
  char *question, *answer; /* owned */
} moh__turn;

/* {0} is empty. */
typedef struct moh__talk {
  char *system; /* text before the first question; NULL: none */
  moh__turn *turns;
  size_t n, capacity;
} moh__talk;

/* Forgets all turns; moh__talk_free also the system text. */
void moh__talk_clear(moh__talk *talk);
void moh__talk_free(moh__talk *talk);

/* Copies the texts. */
moh_status moh__talk_add(moh__talk *talk, const char *question,
                         const char *answer, moh_error *err);
/* Forgets the last turn and gives its question, to be freed; NULL when
 * there is none. */
char *moh__talk_take_last(moh__talk *talk);
/* NULL or "": none. */
moh_status moh__talk_set_system(moh__talk *talk, const char *text,
                                moh_error *err);

/* The system text, the turns from `first` on, and a question, as an array of
 * messages: a new reference. What is not UTF-8 is MOH_ERR_ARGUMENT. */
moh_status moh__talk_messages(const moh__talk *talk, size_t first,
                              const char *question, json_t **messages,
                              moh_error *err);

/* JSON: {"messages": [{"role": "user", "content": "..."}, ...]}, with the
 * roles system (first, if at all), user and assistant in turn. */
moh_status moh__talk_save(const moh__talk *talk, const char *path,
                          moh_error *err);
/* Replaces what talk holds; when it fails, nothing has changed. */
moh_status moh__talk_load(moh__talk *talk, const char *path,
                          moh_error *err);

#endif
