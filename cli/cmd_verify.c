/* moh verify: looks through what is stored, and says of each file whether
 * it is good. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "color.h"
#include "commands.h"
#include "interrupt.h"
#include "json_output.h"
#include "numbers.h"
#include "status_line.h"
#include "store/verify.h"

typedef struct values {
  bool quiet, json;
} values;

static const moh__option options[] = {
    {"quiet", 'q', MOH__OPTION_FLAG, NULL, "name only files that are bad",
     NULL, .offset = offsetof(values, quiet)},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the findings as JSON", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Output", options, 0},
    {.options = NULL},
};

enum { SHOWN_FROM = 32 << 20 }; /* bytes: smaller files are read at once */

typedef struct verification {
  const values *v;
  bool color;
  json_t *files; /* of the findings; NULL: printed */
  bool no_memory;
  moh__status_line status;
  const char *reading; /* what the status line is about */
} verification;

/* ---- one finding ---- */

static const struct {
  const char *word, *key, *color;
} verdicts[] = {
    [MOH__GOOD] = {"good", "good", "\033[32m"},
    [MOH__BAD] = {"BAD", "bad", "\033[1;31m"},
    [MOH__UNLISTED] = {"unlisted", "unlisted", "\033[33m"},
};

static void print_finding(const verification *c,
                          const moh__finding *finding) {
  moh__number size;
  int verdict = (int)finding->verdict;
  if (c->color) fputs(verdicts[verdict].color, stdout);
  printf("%-9s", verdicts[verdict].word);
  if (c->color) fputs("\033[0m", stdout);
  printf(" %s", finding->path);
  if (finding->verdict == MOH__GOOD && finding->size >= 0)
    printf(" (%s)", moh__number_bytes(&size, finding->size));
  if (finding->reason[0] != '\0') printf(": %s", finding->reason);
  putchar('\n');
  fflush(stdout);
}

/* Paths may hold any bytes, JSON may not. */
static json_t *text_json(const char *text) {
  json_t *string = json_string(text);
  return string != NULL ? string
                        : json_string("(a name that is not UTF-8)");
}

static void add_finding(verification *c, const moh__finding *finding) {
  json_t *file = json_pack("{s:o, s:s}", "path", text_json(finding->path),
                           "verdict", verdicts[finding->verdict].key);
  int failed = 0;
  if (finding->size >= 0)
    failed |=
        json_object_set_new(file, "size", json_integer(finding->size));
  if (finding->reason[0] != '\0')
    failed |=
        json_object_set_new(file, "reason", text_json(finding->reason));
  failed |= json_array_append_new(c->files, file);
  c->no_memory |= failed != 0;
}

static void on_finding(void *context, const moh__finding *finding) {
  verification *c = context;
  if (c->reading != NULL) moh__status_line_end(&c->status);
  c->reading = NULL;
  if (c->files != NULL)
    add_finding(c, finding);
  else if (!c->v->quiet || finding->verdict == MOH__BAD)
    print_finding(c, finding);
}

/* ---- large files ---- */

static void show(verification *c, const char *path, int64_t done,
                 int64_t all) {
  moh__number read, size;
  moh__line figures = {.n = 0};
  if (c->reading != path) moh__status_line_start(&c->status, 0, all);
  c->reading = path;
  if (!moh__status_line_due(&c->status, done, all)) return;
  moh__line_add(&figures, "%s of %s of %s", moh__number_bytes(&read, done),
                moh__number_bytes(&size, all), path);
  moh__status_line_show(&c->status, done, all, "reading", figures.text);
}

static bool on_tick(void *context, const char *path, int64_t done,
                    int64_t all) {
  if (all >= SHOWN_FROM) show(context, path, done, all);
  return !moh__interrupted();
}

/* ---- all of them ---- */

static moh_status print_json(verification *c,
                             const moh__verify_counts *counts,
                             moh_error *err) {
  json_t *object = json_pack(
      "{s:b, s:I, s:I, s:I, s:O}", "ok", counts->n_bad == 0, "good",
      (json_int_t)counts->n_good, "bad", (json_int_t)counts->n_bad,
      "unlisted", (json_int_t)counts->n_unlisted, "files", c->files);
  if (object == NULL || c->no_memory) {
    json_decref(object);
    return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  }
  return moh__print_json(object, err);
}

static moh_status conclude(verification *c,
                           const moh__verify_counts *counts,
                           moh_error *err) {
  if (c->files != NULL) MOH_TRY(print_json(c, counts, err));
  if (counts->n_bad > 0)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%" PRId64 " of %" PRId64 " files %s bad",
                     counts->n_bad, counts->n_bad + counts->n_good,
                     counts->n_bad == 1 ? "is" : "are");
  if (c->files == NULL && !c->v->quiet)
    printf("all %" PRId64 " files are good\n", counts->n_good);
  return MOH_OK;
}

static moh_status run_verify(const moh__call *call, moh_error *err) {
  verification c = {.v = call->values,
                    .color = moh__wants_color(STDOUT_FILENO)};
  moh__verify_counts counts = {0, 0, 0};
  moh__verify_hooks hooks = {on_finding, on_tick, &c};
  moh_status status = MOH_OK;
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "name what to check: a model's or run's directory, or "
                     "a file");
  if (c.v->json) {
    c.files = json_array();
    if (c.files == NULL)
      return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  }
  moh__interrupt_catch();
  for (int i = 0; status == MOH_OK && i < call->n_arguments; i++)
    status = moh__verify(call->arguments[i], &hooks, &counts, err);
  if (c.reading != NULL) moh__status_line_end(&c.status);
  if (status == MOH_OK) status = conclude(&c, &counts, err);
  json_decref(c.files);
  return status;
}

const moh__command moh__command_verify = {
    .name = "verify",
    .summary = "is every file of a model or run as it was written?",
    .usage = "[OPTION]... PATH...",
    .description =
        "Looks through model directories, the directories of runs with "
        "their checkpoints, directories of shards, and single files: sizes "
        "and SHA-256 sums, whether each file can be read, whether tensors "
        "are those of the configuration and finite, whether the tokenizer "
        "fits. Goes on behind the first fault. The exit code is 3 when a "
        "file is bad; files that no manifest lists are mentioned only.",
    .examples =
        "  moh verify run\n"
        "  moh verify --json run/final | jq .ok\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1 << 20,
    .argument = "PATH",
    .run = run_verify,
};
