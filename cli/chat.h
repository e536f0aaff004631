/* What moh chat is made of: the model, the conversation, and how answers
 * are generated. */
#ifndef MOH_CLI_CHAT_H
#define MOH_CLI_CHAT_H

#include <stdio.h>

#include "generation.h"
#include "line_input.h"
#include "talk.h"

typedef struct moh__chat_values {
  moh__runner_values runner;
  moh__generation_values generation;
  int64_t turns;
  const char *system;
  bool no_history, show_prompt;
} moh__chat_values;

typedef struct moh__chat {
  moh__chat_values values; /* changed by /set */
  moh__runner runner;
  moh__session *session;
  moh__talk talk;
  uint64_t n_answers; /* since the seed was set */
  bool done;          /* /exit */
  /* Of the answer in work. */
  FILE *answer;
  bool begun; /* something but blanks has come */
  bool told;  /* that tokens were dropped */
  /* What /stats shows. */
  moh__generate_result last;
  int64_t n_prompt, n_generated; /* tokens of all answers */
  double prompt_seconds, seconds;
} moh__chat;

/* Groups that /set and /settings know. */
extern const moh__option_group moh__chat_settings[];

/* Answers, on stdout, and adds the turn to the conversation. A question
 * that is too long is said so on stderr. */
moh_status moh__chat_answer(moh__chat *chat, const char *question,
                            moh_error *err);

/* With sampling and no seed: draws one and says it on stderr, so that it
 * can be used again. */
void moh__chat_fix_seed(moh__chat *chat);

/* cli/chat_commands.c: runs a line that begins with '/'. What goes wrong is
 * said on stderr. */
void moh__chat_command(moh__chat *chat, char *line);

#endif
