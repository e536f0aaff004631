/*
 * moh chat: one question, one answer, as in the dialogues that such models
 * learn from: "User: <question> Assistant:" is continued up to `</s>`. What
 * the user types is never read as special tokens. Ctrl-C stops an answer,
 * or at the prompt the program.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "commands.h"
#include "generation.h"
#include "interrupt.h"

typedef struct values {
  moh__runner_values runner;
  moh__generation_values generation;
} values;

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Generation", moh__generation_options, offsetof(values, generation)},
    {.options = NULL},
};

typedef struct chat {
  moh__runner runner;
  moh__session *session;
  moh__generate_options options;
} chat;

static const char help_text[] =
    "Type a question and press Enter. Each one is answered on its own.\n"
    "  /help   this text\n"
    "  /exit   ends (also: exit, Ctrl-D)\n"
    "Ctrl-C stops an answer.\n";

/* ---- one answer ---- */

static bool on_token(void *context, int32_t token) {
  (void)context, (void)token;
  return !moh__interrupted();
}

static bool on_text(void *context, const char *bytes, size_t n) {
  (void)context;
  return fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0;
}

static moh_status add_text(const chat *c, const char *text, moh__ids *ids,
                           moh_error *err) {
  moh__text piece = {text, strlen(text)};
  return moh__tokenizer_encode(c->runner.tokenizer, piece, false, ids, err);
}

static moh_status encode_question(const chat *c, const char *question,
                                  moh__ids *ids, moh_error *err) {
  MOH_TRY(add_text(c, "User: ", ids, err));
  MOH_TRY(add_text(c, question, ids, err));
  return add_text(c, " Assistant:", ids, err);
}

static moh_status generate(chat *c, const moh__ids *ids, moh_error *err) {
  int32_t most = moh__session_max_length(c->session);
  if (ids->n >= (size_t)most) {
    fprintf(stderr, "(too long: %zu tokens, the model holds %d)\n", ids->n,
            most);
    return MOH_OK;
  }
  moh__session_truncate(c->session, 0);
  moh__generate_result result;
  moh_status status =
      moh__generate(c->session, &c->options, ids->ids, (int32_t)ids->n,
                    &result, err);
  putchar('\n');
  fflush(stdout);
  return status;
}

static moh_status answer(chat *c, const char *question, moh_error *err) {
  moh__ids ids = {NULL, 0, 0};
  moh_status status = encode_question(c, question, &ids, err);
  if (status == MOH_OK) {
    moh__generation_tell_unknown(&c->runner, &ids);
    status = generate(c, &ids, err);
  }
  moh__ids_free(&ids);
  if (moh__interrupted()) moh__interrupt_clear();
  return status;
}

/* ---- the loop ---- */

static char *trimmed(char *line) {
  line += strspn(line, " \t\r\n");
  size_t n = strlen(line);
  while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL) n--;
  line[n] = '\0';
  return line;
}

static bool is_exit(const char *line) {
  return strcasecmp(line, "exit") == 0 || strcmp(line, "/exit") == 0;
}

static moh_status respond(chat *c, const char *line, moh_error *err) {
  if (strcmp(line, "/help") == 0) {
    fputs(help_text, stdout);
    return MOH_OK;
  }
  if (line[0] == '/') {
    printf("There is no command %s; /help lists them.\n", line);
    return MOH_OK;
  }
  return line[0] == '\0' ? MOH_OK : answer(c, line, err);
}

/* False at the end of the input, or when interrupted. */
static bool read_line(bool terminal, char **line, size_t *capacity) {
  if (terminal) fputs("User: ", stdout);
  fflush(stdout);
  errno = 0;
  if (getline(line, capacity, stdin) >= 0) return true;
  if (terminal) putchar('\n');
  return false;
}

static moh_status loop(chat *c, moh_error *err) {
  bool terminal = isatty(STDIN_FILENO) == 1;
  char *line = NULL;
  size_t capacity = 0;
  moh_status status = MOH_OK;
  if (terminal) fputs("/help explains, /exit ends.\n", stdout);
  while (status == MOH_OK && read_line(terminal, &line, &capacity)) {
    char *text = trimmed(line);
    if (is_exit(text)) break;
    status = respond(c, text, err);
  }
  free(line);
  if (status != MOH_OK) return status;
  return moh__interrupted() ? MOH_ERR_INTERRUPTED : MOH_OK;
}

static moh_status open_chat(chat *c, const values *v,
                            moh_error *err) {
  MOH_TRY(moh__runner_open(&c->runner, &v->runner, err));
  c->options = moh__generation_make(&v->generation, &c->runner);
  c->options.on_token = on_token;
  c->options.on_text = on_text;
  return moh__session_new(&c->session, c->runner.model, c->runner.pool, 0,
                          err);
}

static moh_status run_chat(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  chat c = {.session = NULL};
  moh_status status = open_chat(&c, v, err);
  if (status == MOH_OK) {
    moh__interrupt_catch();
    status = loop(&c, err);
  }
  moh__session_free(c.session);
  moh__runner_close(&c.runner);
  return status;
}

const moh__command moh__command_chat = {
    .name = "chat",
    .summary = "questions and answers with a tuned model",
    .usage = "--model DIR [OPTION]...",
    .description =
        "Reads a question a line and writes the model's answer, in the "
        "form "
        "of the dialogues that it was tuned on. exit, /exit or the end of "
        "the input end it; /help explains.",
    .examples = "  moh chat --model run2\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_chat,
};
