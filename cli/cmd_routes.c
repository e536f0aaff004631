/*
 * moh routes: which heads (or experts) each token of a text used, and how their
 * load is spread over a file.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "commands.h"
#include "data_source.h"
#include "interrupt.h"
#include "load.h"
#include "numbers.h"
#include "replace.h"
#include "routes.h"
#include "svg.h"
#include "text/utf8.h"

enum { DEFAULT_SHOW = 40, SHOW_MAX = 10000 };

typedef struct values {
  moh__runner_values runner;
  moh__format_values format;
  moh__list texts;
  int64_t show, limit;
  const char *svg;
  bool experts, json;
} values;

static const moh__option text_options[] = {
    {"text", 0, MOH__OPTION_TEXTS, "TEXT",
     "a text, in place of files or before them; repeatable", NULL,
     .offset = offsetof(values, texts)},
    {"limit", 0, MOH__OPTION_INT, "N", "read the first N tokens only", "all",
     .offset = offsetof(values, limit), .min = 1, .max = 9e18},
    {.name = NULL},
};

static const moh__option output_options[] = {
    {"show", 'n', MOH__OPTION_INT, "N",
     "tokens that are shown one by one; the load is that of all", "40",
     .offset = offsetof(values, show), .min = 0, .max = SHOW_MAX},
    {"experts", 0, MOH__OPTION_FLAG, NULL,
     "the experts of the feed-forward, not heads; so, too, where heads have "
     "no routers",
     NULL, .offset = offsetof(values, experts)},
    {"svg", 0, MOH__OPTION_STRING, "FILE",
     "write the picture to a file, not to the terminal", NULL,
     .offset = offsetof(values, svg)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the result as JSON on stdout", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__runner_options, offsetof(values, runner)},
    {"Text", text_options, 0},
    {"Format of the files", moh__format_options, offsetof(values, format)},
    {"Output", output_options, 0},
    {.options = NULL},
};

typedef struct routes {
  const values *v;
  moh__runner runner;
  moh__session *session;
  moh__encoder *encoder;
  moh__routing routing;
  int64_t left; /* tokens that may still be read */
  bool terminal;
  double last_shown;
} routes;

/* ---- reading ---- */

static void clear_progress(const routes *w) {
  if (w->terminal) fputs("\r\033[K", stderr);
}

/* "1,234 tokens", redrawn in place. */
static bool on_progress(void *context, int64_t n_tokens) {
  routes *w = context;
  moh__number tokens;
  double now = moh__now();
  if (moh__interrupted()) return false;
  if (!w->terminal || now - w->last_shown < 0.1) return true;
  w->last_shown = now;
  clear_progress(w);
  fprintf(stderr, "%s tokens", moh__number_grouped(&tokens, n_tokens));
  fflush(stderr);
  return true;
}

static moh_status add_text(routes *w, moh__text text, moh_error *err) {
  moh__ids ids = {.n = 0};
  moh_status status = moh__encoder_encode_begun(w->encoder, text, &ids, err);
  int64_t n = (int64_t)ids.n < w->left ? (int64_t)ids.n : w->left;
  if (status == MOH_OK && n > 0)
    status = moh__routing_add(&w->routing, w->session, ids.ids, n,
                              on_progress, w, err);
  w->left -= n;
  moh__ids_free(&ids);
  return status;
}

static moh_status add_file(routes *w, const char *path, moh_error *err) {
  moh__text_options format = moh__format_of(&w->v->format);
  moh__texts texts;
  moh_status status = MOH_OK;
  MOH_TRY(moh__texts_load(&texts, path, &format, err));
  for (size_t i = 0; i < texts.n && w->left > 0 && status == MOH_OK; i++)
    status = add_text(w, texts.texts[i], err);
  moh__texts_free(&texts);
  if (status == MOH_OK || status == MOH_ERR_INTERRUPTED) return status;
  return moh__fail_in(err, status, "%s", path);
}

static moh_status add_all(routes *w, const moh__call *call, moh_error *err) {
  for (int i = 0; i < w->v->texts.n && w->left > 0; i++)
    MOH_TRY(add_text(w, moh__text_of(w->v->texts.items[i]), err));
  for (int i = 0; i < call->n_arguments && w->left > 0; i++)
    MOH_TRY(add_file(w, call->arguments[i], err));
  clear_progress(w);
  if (w->routing.n_tokens == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "there is no token in the text");
  return MOH_OK;
}

/* ---- output ---- */

static moh_status save_svg(const routes *w, moh_error *err) {
  char *svg = NULL, title[128];
  size_t n = 0;
  FILE *out = open_memstream(&svg, &n);
  if (out == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  snprintf(title, sizeof title, "%s in use: %s",
           w->routing.experts ? "Experts" : "Heads", w->v->runner.model);
  moh__routes_svg(out, &w->routing, w->runner.tokenizer, title);
  bool whole = fclose(out) == 0;
  moh_status status =
      whole ? moh__write_file(w->v->svg, svg, n, err)
            : moh__fail(err, MOH_ERR_MEMORY, "no memory for the picture");
  free(svg);
  return status;
}

static moh_status print_json(const routes *w, moh_error *err) {
  json_t *json = moh__routes_json(&w->routing, w->runner.tokenizer);
  if (json == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  json_dumpf(json, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(json);
  return MOH_OK;
}

static moh_status show(const routes *w, moh_error *err) {
  moh__routes_style style = moh__routes_style_of(STDOUT_FILENO);
  if (w->v->svg != NULL) MOH_TRY(save_svg(w, err));
  if (w->v->json) return print_json(w, err);
  if (w->v->svg == NULL && w->routing.n_shown > 0)
    moh__routes_grid(stdout, &w->routing, w->runner.tokenizer, &style);
  moh__routes_table(stdout, &w->routing, &style);
  return MOH_OK;
}

/* ---- from start to end ---- */

static bool wants_experts(const routes *w) {
  const moh__config *c = &w->runner.model->config;
  return w->v->experts || (c->experts.n_routed > 0 && !moh__config_routes(c));
}

static moh_status open_routes(routes *w, moh_error *err) {
  int64_t capacity = moh__int_or(w->v->show, DEFAULT_SHOW);
  w->left = moh__int_or(w->v->limit, INT64_MAX);
  w->terminal = isatty(STDERR_FILENO) == 1;
  if (w->v->svg != NULL)
    MOH_TRY(moh__replace_check(w->v->svg, MOH__SVG_BEGIN, err));
  MOH_TRY(moh__runner_open(&w->runner, &w->v->runner, err));
  MOH_TRY(moh__routing_init(&w->routing, w->runner.model, w->v->runner.model,
                            wants_experts(w), (int32_t)capacity, err));
  MOH_TRY(moh__encoder_new(&w->encoder, w->runner.tokenizer, err));
  MOH_TRY(
      moh__session_new(&w->session, w->runner.model, w->runner.pool, 0, err));
  moh__interrupt_catch();
  return MOH_OK;
}

static void close_routes(routes *w) {
  moh__session_free(w->session);
  moh__encoder_free(w->encoder);
  moh__routing_free(&w->routing);
  moh__runner_close(&w->runner);
}

static moh_status run_routes(const moh__call *call, moh_error *err) {
  routes w = {.v = call->values};
  if (call->n_arguments == 0 && w.v->texts.n == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "a FILE or --text is missing");
  moh_status status = open_routes(&w, err);
  if (status == MOH_OK) status = add_all(&w, call, err);
  if (status == MOH_OK) status = show(&w, err);
  close_routes(&w);
  return status;
}

const moh__command moh__command_routes = {
    .name = "routes",
    .summary = "which heads, or experts, the tokens of a text use",
    .usage = "--model DIR [OPTION]... [FILE]...",
    .description =
        "Reads texts with a model that has routers and shows, token by "
        "token and layer by layer, which heads were computed and how large "
        "their gates are; then how many of all tokens used each head, how "
        "even that is (entropy of the routed heads' load, 1 when all are "
        "used alike), and the heads of a token. Texts longer than the "
        "model's longest sequence are read in pieces.",
    .examples =
        "  moh routes --model run --text \"How do mountains form?\"\n"
        "  moh routes --model run --svg routes.svg --show 60 test.txt\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1 << 20,
    .argument = "FILE",
    .run = run_routes,
};
