/*
 * moh generate: continues a prompt, once or several times. The text appears
 * as it is generated; --json collects it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "generation.h"
#include "hypotheses.h"
#include "input.h"
#include "interrupt.h"
#include "json_output.h"
#include "text/chat_prompt.h"

typedef struct values {
  moh__runner_values runner;
  moh__generation_values generation;
  const char *file, *system;
  bool chat, show_prompt;
  int64_t samples, n_best;
  bool echo, json, stats;
} values;

static const moh__option input_options[] = {
    {"file", 'f', MOH__OPTION_STRING, "FILE", "read the prompt from a file",
     NULL, .offset = offsetof(values, file)},
    {"chat", 0, MOH__OPTION_FLAG, NULL,
     "the prompt is a question: the model's chat template is put around it",
     NULL, .offset = offsetof(values, chat)},
    {"system", 0, MOH__OPTION_STRING, "TEXT",
     "with --chat: what the model reads before the question", NULL,
     .offset = offsetof(values, system)},
    {"show-prompt", 0, MOH__OPTION_FLAG, NULL,
     "show on stderr what the model reads: ids, texts, and which tokens are "
     "special",
     NULL, .offset = offsetof(values, show_prompt)},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"samples", 'N', MOH__OPTION_INT, "N",
     "texts, with the seeds S, S + 1, ...; an empty line between them", "1",
     .offset = offsetof(values, samples), .min = 1, .max = 1 << 20},
    {"n-best", 0, MOH__OPTION_INT, "N",
     "with --beam: the N best texts, and how likely they are",
     "1, without its score", .offset = offsetof(values, n_best), .min = 1,
     .max = MOH__BEAM_WIDTH_MAX},
    {"echo", 0, MOH__OPTION_FLAG, NULL, "write the prompt before the text",
     NULL, .offset = offsetof(values, echo)},
    {"stats", 0, MOH__OPTION_FLAG, NULL, "speed and head use on stderr", NULL,
     .offset = offsetof(values, stats)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Prompt", input_options, 0},
    {"Generation", moh__generation_options, offsetof(values, generation)},
    {"Output", output_options, 0},
    {.options = NULL},
};

/* ---- one generation ---- */

typedef struct generation {
  const values *v;
  moh__runner runner;
  moh__session *session;
  moh__generate_options options;
  moh__text prompt;
  moh__ids ids;          /* of the prompt */
  FILE *out;             /* of the text */
  moh__hypotheses texts; /* of a beam search */
  bool told;             /* that tokens were dropped */
  moh__generate_result result;
} generation;

static bool on_token(void *context, int32_t token) {
  (void)context, (void)token;
  return !moh__interrupted();
}

static bool on_step(void *context, int32_t n_beams) {
  (void)context, (void)n_beams;
  return !moh__interrupted();
}

/* Texts with scores, and JSON, are written when the search is over. */
static bool collects(const generation *g) {
  return moh__generation_has_beams(&g->v->generation) &&
         (g->v->json || moh__is_set_int(g->v->n_best));
}

static void on_hypothesis(void *context, const moh__hypothesis *about) {
  moh__hypotheses_begin(&((generation *)context)->texts, about);
}

static bool on_text(void *context, const char *bytes, size_t n) {
  generation *g = context;
  if (collects(g)) return moh__hypotheses_add(&g->texts, bytes, n);
  return moh__write_now(g->out, bytes, n);
}

static void on_drop(void *context, int64_t n_dropped) {
  generation *g = context;
  if (!g->told) moh__generation_tell_dropped(n_dropped);
  g->told = true;
}

static json_t *message(const char *role, const char *bytes, size_t n) {
  return json_pack("{s:s, s:s%}", "role", role, "content", bytes, n);
}

/* A question, in the form of the model's chat template. */
static moh_status encode_question(generation *g, moh_error *err) {
  const char *system = g->v->system;
  if (!moh__generation_has_chat(&g->runner))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--chat: the model has no chat template of its own; moh "
                     "chat has a form for such models");
  MOH_TRY(moh__chat_find_end(g->runner.tokenizer, err));
  json_t *messages = json_array();
  int failed = system == NULL
                   ? 0
                   : json_array_append_new(
                         messages, message("system", system, strlen(system)));
  failed |= json_array_append_new(
      messages, message("user", g->prompt.bytes, g->prompt.n));
  moh_status status =
      failed
          ? moh__fail(err, MOH_ERR_ARGUMENT, "the prompt is not UTF-8")
          : moh__generation_encode_chat(&g->runner, messages, &g->ids, err);
  json_decref(messages);
  return status;
}

static moh_status encode_text(generation *g, moh_error *err) {
  MOH_TRY(moh__tokenizer_begin(g->runner.tokenizer, &g->ids, err));
  return moh__tokenizer_encode(g->runner.tokenizer, g->prompt, true, &g->ids,
                               err);
}

static moh_status encode_prompt(generation *g, moh_error *err) {
  MOH_TRY(g->v->chat ? encode_question(g, err) : encode_text(g, err));
  if (g->ids.n == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the prompt is empty; give at least one word");
  if (g->ids.n > INT32_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT, "the prompt is too long");
  moh__generation_tell_unknown(&g->runner, &g->ids);
  if (g->v->show_prompt) moh__generation_show_prompt(&g->runner, &g->ids);
  return MOH_OK;
}

/* What the session holds of the prompt from the sample before stays. */
static moh_status generate(generation *g, moh_error *err) {
  int32_t n = (int32_t)g->ids.n;
  int32_t held = moh__session_rewind(g->session, g->ids.ids, n);
  g->told = false;
  moh_status status = moh__generate(
      g->session, &g->options, g->ids.ids + held, n - held, &g->result, err);
  g->result.n_prompt = n;
  return status;
}

/* ---- output ---- */

static const char *finish_name(const generation *g) {
  if (moh__interrupted()) return "interrupted";
  return moh__finish_name(g->result.finish);
}

/* Of a search: the first step has one, that of the prompt. */
static double mean_beams(const moh__generate_result *r) {
  return (double)(1 + r->n_read) / r->n_steps;
}

static void print_stats(const generation *g) {
  const moh__generate_result *r = &g->result;
  fprintf(stderr,
          "(prompt %d tokens, %.0f/s; text %" PRId64
          " tokens, %.1f/s; ended by %s)\n",
          r->n_prompt, moh__per_second(r->n_prompt, r->prompt_seconds),
          r->n_generated, moh__per_second(r->n_generated, r->seconds),
          finish_name(g));
  if (r->n_steps > 0)
    fprintf(stderr,
            "(beams %.2f on average, %" PRId64
            " tokens read, %d pages at most; ln p %.4f, score %.4f)\n",
            mean_beams(r), r->n_read, r->most_pages, r->log_p, r->score);
  fputs("(heads used ", stderr);
  moh__generation_show_heads(stderr, g->runner.model, g->session);
  fputs(")\n", stderr);
}

/* The number of the seed, or null where nothing is drawn. */
static json_t *seed_json(const moh__sampling *sampling) {
  if (sampling->temperature == 0) return json_null();
  return json_integer((json_int_t)sampling->seed);
}

static json_t *sample_json(const generation *g, const char *text, size_t n) {
  const moh__generate_result *r = &g->result;
  json_t *stop =
      r->stop < 0 ? json_null() : json_string(g->options.stops[r->stop]);
  return json_pack(
      "{s:s%, s:I, s:s, s:o, s:o, s:I, s:f, s:f, s:f}", "text", text, n,
      "generated_tokens", (json_int_t)r->n_generated, "finish",
      finish_name(g), "stop", stop, "seed", seed_json(&g->options.sampling),
      "dropped_tokens", (json_int_t)r->n_dropped, "prompt_seconds",
      r->prompt_seconds, "seconds", r->seconds, "tokens_per_second",
      moh__per_second(r->n_generated, r->seconds));
}

/* One sample into memory, as JSON. */
static moh_status collect(generation *g, json_t *samples, moh_error *err) {
  char *text = NULL;
  size_t n = 0;
  g->out = open_memstream(&text, &n);
  if (g->out == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  moh_status status = generate(g, err);
  fclose(g->out);
  if (status == MOH_OK &&
      json_array_append_new(samples, sample_json(g, text, n)) != 0)
    status =
        moh__fail(err, MOH_ERR_FORMAT, "the text cannot be written as JSON");
  free(text);
  return status;
}

static moh_status print(generation *g, bool first, moh_error *err) {
  g->out = stdout;
  if (!first) putchar('\n');
  moh_status status = generate(g, err);
  if (status == MOH_OK || g->result.n_generated > 0) putchar('\n');
  return status;
}

static json_t *search_json(const generation *g) {
  const moh__generate_result *r = &g->result;
  return json_pack(
      "{s:I, s:f, s:I, s:I, s:f, s:f, s:f}", "steps", (json_int_t)r->n_steps,
      "mean_beams", mean_beams(r), "tokens_read", (json_int_t)r->n_read,
      "pages", (json_int_t)r->most_pages, "prompt_seconds", r->prompt_seconds,
      "seconds", r->seconds, "tokens_per_second",
      moh__per_second(r->n_generated, r->seconds));
}

static moh_status print_json(const generation *g, json_t *samples,
                             moh_error *err) {
  json_t *object =
      json_pack("{s:s%, s:I, s:O}", "prompt", g->prompt.bytes, g->prompt.n,
                "prompt_tokens", (json_int_t)g->ids.n, "samples", samples);
  if (object == NULL)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the prompt is not valid UTF-8, so it cannot be "
                     "written as JSON");
  if (g->options.beam.width > 0)
    json_object_set_new(object, "search", search_json(g));
  return moh__print_json(object, err);
}

/* ---- a beam search ---- */

static json_t *text_json(const generation *g, const moh__kept_text *t) {
  const moh__hypothesis *h = &t->about;
  json_t *stop =
      h->stop < 0 ? json_null() : json_string(g->options.stops[h->stop]);
  return json_pack("{s:s%, s:I, s:s, s:o, s:f, s:f}", "text",
                   t->n > 0 ? t->text : "", t->n, "generated_tokens",
                   (json_int_t)h->n_tokens, "finish",
                   moh__hypothesis_finish(h), "stop", stop, "log_probability",
                   h->log_p, "score", h->score);
}

static moh_status print_texts_json(const generation *g, json_t *samples,
                                   moh_error *err) {
  bool failed = false;
  for (int i = 0; i < g->texts.n; i++)
    failed = json_array_append_new(samples,
                                   text_json(g, &g->texts.items[i])) != 0 ||
             failed;
  if (failed)
    return moh__fail(err, MOH_ERR_FORMAT, "a text cannot be written as JSON");
  return print_json(g, samples, err);
}

static moh_status search_texts(generation *g, json_t *samples,
                               moh_error *err) {
  MOH_TRY(generate(g, err));
  if (g->texts.failed) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  if (!g->v->json) moh__hypotheses_print(stdout, &g->texts);
  if (g->v->stats) print_stats(g);
  moh__generation_tell_finish(&g->result, g->session);
  return g->v->json ? print_texts_json(g, samples, err) : MOH_OK;
}

static moh_status generate_samples(generation *g, json_t *samples,
                                   moh_error *err) {
  int64_t n = moh__int_or(g->v->samples, 1);
  if (collects(g)) return search_texts(g, samples, err);
  for (int64_t i = 0; i < n && !moh__interrupted(); i++) {
    MOH_TRY(g->v->json ? collect(g, samples, err) : print(g, i == 0, err));
    if (ferror(stdout)) return MOH_OK; /* main says so */
    if (g->v->stats) print_stats(g);
    moh__generation_tell_finish(&g->result, g->session);
    g->options.sampling.seed++;
  }
  return g->v->json ? print_json(g, samples, err) : MOH_OK;
}

/* ---- from start to end ---- */

static moh_status check_values(const values *v, moh_error *err) {
  bool beams = moh__generation_has_beams(&v->generation);
  MOH_TRY(moh__generation_check(&v->generation, err));
  if (v->system != NULL && !v->chat)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--system needs --chat");
  if (beams && moh__is_set_int(v->samples))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--beam and --samples exclude each other");
  if (!beams && moh__is_set_int(v->n_best))
    return moh__fail(err, MOH_ERR_ARGUMENT, "--n-best needs --beam");
  return MOH_OK;
}

static moh_status open_generation(generation *g, moh_error *err) {
  MOH_TRY(moh__runner_open(&g->runner, &g->v->runner, err));
  MOH_TRY(
      moh__session_new(&g->session, g->runner.model, g->runner.pool, 0, err));
  MOH_TRY(encode_prompt(g, err));
  g->options = moh__generation_make(&g->v->generation, &g->runner);
  g->options.echo = g->v->echo;
  if (moh__generation_has_beams(&g->v->generation))
    g->options.on_step = on_step;
  else
    g->options.on_token = on_token;
  g->options.beam.n_best = (int32_t)moh__int_or(g->v->n_best, 1);
  if (collects(g)) g->options.on_hypothesis = on_hypothesis;
  g->options.on_text = on_text;
  g->options.on_drop = on_drop;
  g->options.context = g;
  moh__generation_tell_seed(&g->v->generation, &g->options.sampling);
  return MOH_OK;
}

static moh_status generate_all(generation *g, moh_error *err) {
  MOH_TRY(open_generation(g, err));
  json_t *samples = json_array();
  moh__interrupt_catch();
  moh_status status = generate_samples(g, samples, err);
  json_decref(samples);
  MOH_TRY(status);
  return moh__interrupted() ? MOH_ERR_INTERRUPTED : MOH_OK;
}

/* The final newline of a file is no part of the prompt. */
static void drop_newline(moh__text *prompt) {
  if (prompt->n > 0 && prompt->bytes[prompt->n - 1] == '\n') prompt->n--;
}

static moh_status run_generate(const moh__call *call, moh_error *err) {
  generation g = {.v = call->values};
  moh__input input;
  const char *word = call->n_arguments > 0 ? call->arguments[0] : NULL;
  MOH_TRY(check_values(g.v, err));
  MOH_TRY(moh__input_open(&input, word, g.v->file, "prompt", "PROMPT", err));
  g.prompt = input.text;
  if (input.owned != NULL) drop_newline(&g.prompt);
  moh_status status = generate_all(&g, err);
  moh__hypotheses_free(&g.texts);
  moh__session_free(g.session);
  moh__ids_free(&g.ids);
  moh__runner_close(&g.runner);
  moh__input_close(&input);
  return status;
}

const moh__command moh__command_generate = {
    .name = "generate",
    .summary = "a prompt -> its continuation",
    .usage = "--model DIR [OPTION]... [PROMPT]",
    .description =
        "Continues a prompt until the model ends its text, or a limit is "
        "reached. Without PROMPT, or with '-', it is read from stdin. "
        "Equal "
        "seeds give equal texts, whatever the number of threads. The rules "
        "of drawing work in this order: repetition penalty, top-k, top-p, "
        "min-p, temperature. With --beam nothing is drawn: of all texts "
        "the likeliest is searched for, several at a time.",
    .examples =
        "  moh generate --model run \"The sun rises\"\n"
        "  moh generate --model run -T 0.8 -s 7 -n 500 \"ROMEO:\"\n"
        "  moh generate --model run -T 1 -p 0.9 -N 5 --json -f "
        "prompt.txt\n"
        "  moh generate --model run --beam 4 --n-best 3 \"The sun\"\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .run = run_generate,
};
