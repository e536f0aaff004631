/*
 * moh generate: continues a prompt. On a terminal the text appears as it is
 * generated; a pipe or --json gets the same text.
 */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "load.h"
#include "numbers.h"
#include "stream.h"

typedef struct values {
  moh__runner_values runner;
  bool echo, json;
} values;

static const moh__option output_options[] = {
    {"echo", 0, MOH__OPTION_FLAG, NULL, "write the prompt before the text",
     NULL, .offset = offsetof(values, echo)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout",
     NULL, .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Generation", moh__runner_options, offsetof(values, runner)},
    {"Output", output_options, 0},
    {.options = NULL},
};

enum { PROMPT_MAX = 100 << 20 }; /* bytes read from stdin, at most */

/* All of stdin, without its final newline, to be freed. */
static moh_status read_stdin(char **text, size_t *n, moh_error *err) {
  size_t capacity = 0;
  *text = NULL;
  *n = 0;
  do {
    capacity = capacity == 0 ? 4096 : 2 * capacity;
    char *grown = realloc(*text, capacity);
    if (grown == NULL || capacity > PROMPT_MAX) {
      free(grown != NULL ? grown : *text);
      return moh__fail(err, MOH_ERR_MEMORY,
                       "the prompt on stdin is too long");
    }
    *text = grown;
    *n += fread(*text + *n, 1, capacity - *n, stdin);
  } while (*n == capacity);
  if (*n > 0 && (*text)[*n - 1] == '\n') (*n)--;
  return MOH_OK;
}

/* ---- one generation ---- */

typedef struct generation {
  const values *v;
  moh__runner runner;
  moh__ids prompt;
  moh__stream stream;
  moh__session *session;
  int32_t n_generated;
  bool ended; /* by the end token */
  double seconds;
  moh_status status; /* of the callback */
  moh_error *err;
} generation;

static bool on_token(void *context, int32_t token) {
  generation *g = context;
  g->n_generated++;
  g->status = moh__stream_add(&g->stream, &token, 1, g->err);
  return g->status == MOH_OK && !moh__interrupted();
}

static moh_status encode_prompt(generation *g, moh__text text,
                                moh_error *err) {
  MOH_TRY(moh__tokenizer_encode(g->runner.tokenizer, text, true, &g->prompt,
                                err));
  if (g->prompt.n == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the prompt is empty; give at least one word");
  if (g->prompt.n > (size_t)moh__session_max_length(g->session))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the prompt has %zu tokens, the model holds %d",
                     g->prompt.n, moh__session_max_length(g->session));
  moh__runner_tell_unknown(&g->runner, &g->prompt);
  return MOH_OK;
}

static moh_status generate(generation *g, moh_error *err) {
  moh__finish finish;
  moh__generate_options options =
      moh__runner_generation(&g->runner, &g->v->runner);
  if (g->v->echo)
    MOH_TRY(moh__stream_add(&g->stream, g->prompt.ids, g->prompt.n, err));
  double start = moh__now();
  moh_status status =
      moh__generate(g->session, &options, g->prompt.ids,
                    (int32_t)g->prompt.n, on_token, g, &finish, err);
  g->seconds = moh__now() - start;
  moh__stream_finish(&g->stream);
  MOH_TRY(status);
  g->ended = finish == MOH__FINISH_END;
  return g->status;
}

/* ---- output ---- */

static const char *finish_name(const generation *g) {
  if (moh__interrupted()) return "interrupted";
  return g->ended ? "end" : "length";
}

static moh_status print_json(const generation *g, moh__text prompt,
                             moh_error *err) {
  const char *text = g->stream.text != NULL ? g->stream.text : "";
  json_t *object = json_pack(
      "{s:s%, s:s, s:i, s:i, s:s, s:I, s:f}", "prompt", prompt.bytes,
      prompt.n, "text", text, "prompt_tokens", (int)g->prompt.n,
      "generated_tokens", g->n_generated, "finish", finish_name(g), "seed",
      (json_int_t)moh__int_or(g->v->runner.seed, 1), "seconds", g->seconds);
  if (object == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the prompt or the text is not valid UTF-8, so it "
                     "cannot be written as JSON");
  json_dumpf(object, stdout, JSON_INDENT(2));
  fputc('\n', stdout);
  json_decref(object);
  return MOH_OK;
}

static moh_status generate_text(generation *g, moh__text prompt,
                                moh_error *err) {
  MOH_TRY(moh__runner_open(&g->runner, &g->v->runner, err));
  MOH_TRY(moh__session_new(&g->session, g->runner.model, g->runner.pool, 0,
                           err));
  MOH_TRY(encode_prompt(g, prompt, err));
  moh__stream_init(&g->stream, g->runner.tokenizer,
                   g->v->json ? NULL : stdout);
  moh__interrupt_catch();
  moh_status status = generate(g, err);
  if (!g->v->json) putchar('\n');
  MOH_TRY(status);
  if (g->v->json) MOH_TRY(print_json(g, prompt, err));
  return moh__interrupted() ? MOH_ERR_INTERRUPTED : MOH_OK;
}

static moh_status run_generate(const moh__call *call, moh_error *err) {
  generation g = {.v = call->values, .err = err};
  char *read = NULL;
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the prompt is missing; '-' reads it from stdin");
  moh__text prompt = {call->arguments[0], strlen(call->arguments[0])};
  if (strcmp(prompt.bytes, "-") == 0) {
    MOH_TRY(read_stdin(&read, &prompt.n, err));
    prompt.bytes = read;
  }
  moh_status status = generate_text(&g, prompt, err);
  moh__session_free(g.session);
  moh__stream_free(&g.stream);
  moh__ids_free(&g.prompt);
  moh__runner_close(&g.runner);
  free(read);
  return status;
}

const moh__command moh__command_generate = {
    .name = "generate",
    .summary = "a prompt -> its continuation",
    .usage = "--model DIR [OPTION]... PROMPT",
    .description =
        "Continues a prompt until the model ends its text, or a limit is "
        "reached. PROMPT '-' is read from stdin. Equal seeds give equal "
        "texts, whatever the number of threads.",
    .examples =
        "  moh generate --model run \"The sun rises\"\n"
        "  moh generate --model run -T 0.8 -s 7 -n 500 \"ROMEO:\"\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .run = run_generate,
};
