/*
 * moh chat: questions and answers until the end of the input. Without a
 * terminal only the answers stand on stdout, for scripts. Ctrl-C stops an
 * answer; at the prompt it clears the line, or ends the program.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chat.h"
#include "commands.h"
#include "interrupt.h"
#include "text/chat_prompt.h"

static const moh__option talk_options[] = {
    {"turns", 0, MOH__OPTION_INT, "N",
     "earlier questions and answers that the model sees",
     "as many as fit; 0 for models without a chat template of their own",
     .offset = offsetof(moh__chat_values, turns), .min = 0, .max = 1 << 20},
    {.name = NULL},
};

static const moh__option start_options[] = {
    {"system", 0, MOH__OPTION_STRING, "TEXT",
     "what the model reads before the first question", NULL,
     .offset = offsetof(moh__chat_values, system)},
    {"show-prompt", 0, MOH__OPTION_FLAG, NULL,
     "show on stderr what the model reads before each answer: ids, texts, "
     "and which tokens are special",
     NULL, .offset = offsetof(moh__chat_values, show_prompt)},
    {"no-history", 0, MOH__OPTION_FLAG, NULL,
     "neither read nor write the file of earlier lines", NULL,
     .offset = offsetof(moh__chat_values, no_history)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(moh__chat_values, runner)},
    {"Generation", moh__generation_options,
     offsetof(moh__chat_values, generation)},
    {"Conversation", talk_options, 0},
    {"Start", start_options, 0},
    {.options = NULL},
};

const moh__option_group moh__chat_settings[] = {
    {"Generation", moh__generation_options,
     offsetof(moh__chat_values, generation)},
    {"Conversation", talk_options, 0},
    {.options = NULL},
};

static char *trimmed(char *line) {
  line += strspn(line, " \t\r\n");
  size_t n = strlen(line);
  while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL) n--;
  line[n] = '\0';
  return line;
}

static moh_status respond(moh__chat *c, char *line, moh_error *err) {
  moh_status status = MOH_OK;
  if (strcasecmp(line, "exit") == 0)
    c->done = true;
  else if (line[0] == '/')
    moh__chat_command(c, line);
  else if (line[0] != '\0')
    status = moh__chat_answer(c, line, err);
  if (moh__interrupted() && !moh__terminated()) moh__interrupt_clear();
  return status;
}

static moh_status loop(moh__chat *c, moh__line_input *input, moh_error *err) {
  if (moh__line_input_is_terminal(input))
    fputs("/help explains, /exit ends.\n", stderr);
  while (!c->done && !moh__terminated() && !ferror(stdout)) {
    char *text;
    switch (moh__line_read(input, "User: ", &text)) {
      case MOH__LINE_TEXT:
        MOH_TRY(respond(c, trimmed(text), err));
        break;
      case MOH__LINE_END:
        return MOH_OK;
      case MOH__LINE_QUIT:
        return MOH_ERR_INTERRUPTED;
      case MOH__LINE_CANCELLED:
        break;
    }
  }
  return moh__terminated() ? MOH_ERR_INTERRUPTED : MOH_OK;
}

/* Its end of an answer, or that there is none. */
static moh_status open_template(moh__chat *c, moh_error *err) {
  if (moh__generation_has_chat(&c->runner))
    return moh__chat_find_end(c->runner.tokenizer, err);
  if (c->values.show_prompt)
    fputs(
        "(the model has no chat template of its own: User: ... "
        "Assistant:)\n",
        stderr);
  return MOH_OK;
}

static moh_status open_chat(moh__chat *c, moh_error *err) {
  MOH_TRY(moh__generation_check(&c->values.generation, err));
  MOH_TRY(moh__runner_open(&c->runner, &c->values.runner, err));
  MOH_TRY(open_template(c, err));
  moh__chat_fix_seed(c);
  MOH_TRY(moh__talk_set_system(&c->talk, c->values.system, err));
  return moh__session_new(&c->session, c->runner.model, c->runner.pool, 0,
                          err);
}

static moh_status talk(moh__chat *c, moh_error *err) {
  moh__line_input *input;
  MOH_TRY(open_chat(c, err));
  char *history = c->values.no_history ? NULL : moh__history_path();
  moh__interrupt_catch();
  moh_status status = moh__line_input_open(&input, history, err);
  if (status == MOH_OK) status = loop(c, input, err);
  moh__line_input_close(input);
  free(history);
  return status;
}

static moh_status run_chat(const moh__call *call, moh_error *err) {
  moh__chat c = {.values = *(const moh__chat_values *)call->values};
  moh_status status = talk(&c, err);
  moh__session_free(c.session);
  moh__talk_free(&c.talk);
  moh__runner_close(&c.runner);
  return status;
}

const moh__command moh__command_chat = {
    .name = "chat",
    .summary = "questions and answers with a tuned model",
    .usage = "--model DIR [OPTION]...",
    .description =
        "Reads a question a line and writes the model's answer, in the "
        "form of its chat template (tokenizer_config.json), with all that "
        "was said so far. Models without one of their own get the dialogues "
        "that ours are tuned on, \"User: ... Assistant:\", each question by "
        "itself unless --turns says otherwise. exit, /exit or the end of "
        "the input end it; /help lists what else can be done.",
    .examples =
        "  moh chat --model tuned\n"
        "  moh chat --model tuned -T 0.7 -p 0.9 --turns 3\n",
    .groups = groups,
    .values_size = sizeof(moh__chat_values),
    .run = run_chat,
};
