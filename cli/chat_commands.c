/* The lines of a chat that begin with '/': a table of names, what follows
 * them, and what they do. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"

/* rest: what follows the name, without blanks at its ends. */
typedef moh_status command_fn(moh__chat *chat, char *rest, moh_error *err);

typedef struct chat_command {
  const char *name, *rest; /* "FILE"; NULL: nothing may follow */
  bool optional;           /* what follows */
  command_fn *run;
  const char *help;
} chat_command;

static command_fn help, reset, set_system, set_value, show_settings, save,
    load, retry, show_stats, leave;

static const chat_command commands[] = {
    {"/help", NULL, false, help, "this text"},
    {"/reset", NULL, false, reset, "forgets the conversation"},
    {"/clear", NULL, false, reset, "the same"},
    {"/retry", NULL, false, retry, "answers the last question again"},
    {"/system", "TEXT", true, set_system,
     "what the model reads before the first question"},
    {"/set", "NAME VALUE", false, set_value,
     "changes a setting, such as temperature 0.8"},
    {"/settings", NULL, false, show_settings, "shows them"},
    {"/save", "FILE", false, save, "writes the conversation as JSON"},
    {"/load", "FILE", false, load, "goes on with a saved one"},
    {"/stats", NULL, false, show_stats, "tokens, speed and head use"},
    {"/exit", NULL, false, leave, "ends (also: exit, /quit, Ctrl-D)"},
    {"/quit", NULL, false, leave, NULL},
    {NULL, NULL, false, NULL, NULL},
};

/* The settings as a command of their own. */
static const moh__command settings = {.name = "/set",
                                      .groups = moh__chat_settings};

/* ---- the commands ---- */

static moh_status help(moh__chat *c, char *rest, moh_error *err) {
  (void)c, (void)rest, (void)err;
  puts(
      "Type a question and press Enter; a backslash at the end of the line"
      "\ngoes on in the next one. Ctrl-C stops an answer.\n");
  for (const chat_command *k = commands; k->name != NULL; k++) {
    char left[32];
    if (k->help == NULL) continue;
    snprintf(left, sizeof left, "%s %s", k->name,
             k->rest != NULL ? k->rest : "");
    printf("  %-17s %s\n", left, k->help);
  }
  return MOH_OK;
}

static moh_status reset(moh__chat *c, char *rest, moh_error *err) {
  (void)rest, (void)err;
  moh__talk_clear(&c->talk);
  return MOH_OK;
}

static moh_status retry(moh__chat *c, char *rest, moh_error *err) {
  (void)rest;
  char *question = moh__talk_take_last(&c->talk);
  if (question == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "nothing was asked yet");
  moh_status status = moh__chat_answer(c, question, err);
  free(question);
  return status;
}

static moh_status set_system(moh__chat *c, char *rest, moh_error *err) {
  return moh__talk_set_system(&c->talk, rest, err);
}

static moh_status set_value(moh__chat *c, char *rest, moh_error *err) {
  char *value = rest + strcspn(rest, " \t=");
  if (*value != '\0') *value++ = '\0';
  value += strspn(value, " \t=");
  moh__chat_values values = c->values;
  MOH_TRY(moh__options_set(&settings, &values, rest, value, err));
  MOH_TRY(moh__generation_check(&values.generation, err));
  c->values = values;
  if (strcmp(rest, "seed") == 0) c->n_answers = 0;
  moh__chat_fix_seed(c);
  return MOH_OK;
}

static moh_status show_settings(moh__chat *c, char *rest, moh_error *err) {
  (void)rest, (void)err;
  moh__options_show(stdout, &settings, &c->values);
  if (c->talk.system != NULL) printf("/system %s\n", c->talk.system);
  return MOH_OK;
}

static moh_status save(moh__chat *c, char *rest, moh_error *err) {
  return moh__talk_save(&c->talk, rest, err);
}

static moh_status load(moh__chat *c, char *rest, moh_error *err) {
  MOH_TRY(moh__talk_load(&c->talk, rest, err));
  printf("%zu question%s and answers\n", c->talk.n,
         c->talk.n == 1 ? "" : "s");
  return MOH_OK;
}

static moh_status show_stats(moh__chat *c, char *rest, moh_error *err) {
  (void)rest, (void)err;
  printf("read       %" PRId64 " tokens, %.1f a second\n", c->n_prompt,
         moh__per_second(c->n_prompt, c->prompt_seconds));
  printf("written    %" PRId64 " tokens, %.1f a second\n", c->n_generated,
         moh__per_second(c->n_generated, c->seconds));
  printf("context    %d of %d tokens\n", moh__session_length(c->session),
         moh__session_max_length(c->session));
  fputs("heads used ", stdout);
  moh__generation_show_heads(stdout, c->runner.model, c->session);
  putchar('\n');
  return MOH_OK;
}

static moh_status leave(moh__chat *c, char *rest, moh_error *err) {
  (void)rest, (void)err;
  c->done = true;
  return MOH_OK;
}

/* ---- finding them ---- */

static moh_status run(moh__chat *c, const chat_command *k, char *rest,
                      moh_error *err) {
  bool given = *rest != '\0';
  if (given && k->rest == NULL)
    return moh__fail(err, MOH_ERR_ARGUMENT, "nothing follows %s", k->name);
  if (!given && k->rest != NULL && !k->optional)
    return moh__fail(err, MOH_ERR_ARGUMENT, "%s needs %s", k->name, k->rest);
  return k->run(c, rest, err);
}

void moh__chat_command(moh__chat *c, char *line) {
  moh_error err = {MOH_OK, ""};
  char *rest = line + strcspn(line, " \t");
  if (*rest != '\0') *rest++ = '\0';
  rest += strspn(rest, " \t");
  const chat_command *k = commands;
  while (k->name != NULL && strcmp(k->name, line) != 0) k++;
  moh_status status =
      k->name != NULL
          ? run(c, k, rest, &err)
          : moh__fail(&err, MOH_ERR_ARGUMENT,
                      "there is no command %s; /help lists them", line);
  fflush(stdout);
  if (status != MOH_OK) fprintf(stderr, "(%s)\n", err.message);
}
