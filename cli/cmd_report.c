/* moh report: a run as one page of HTML. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "commands.h"
#include "replace.h"
#include "report.h"

enum { DEFAULT_SHOW = 32, SHOW_MAX = 1000 };

typedef struct values {
  const char *out;
  moh__list texts;
  int64_t show;
} values;

static const moh__option options[] = {
    {"out", 'o', MOH__OPTION_STRING, "FILE", "the page", "RUN/report.html",
     .offset = offsetof(values, out)},
    {"text", 0, MOH__OPTION_TEXTS, "TEXT",
     "a text whose routing is shown; repeatable",
     "the beginning of the training data", .offset = offsetof(values, texts)},
    {"show", 'n', MOH__OPTION_INT, "N", "tokens of such a text, at most",
     "32", .offset = offsetof(values, show), .min = 1, .max = SHOW_MAX},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Page", options, 0},
    {.options = NULL},
};

static moh_status write_page(const moh__report *report, const char *path,
                             moh_error *err) {
  char *page = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&page, &n);
  if (out == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__report_page(out, report, err);
  if (fclose(out) != 0 && status == MOH_OK)
    status = moh__fail(err, MOH_ERR_MEMORY, "no memory for the page");
  if (status == MOH_OK) status = moh__write_file(path, page, n, err);
  free(page);
  return status;
}

static moh_status make_page(moh__report *report, const values *v,
                            moh_error *err) {
  char *path =
      v->out == NULL ? moh__path_join(report->dir, "report.html") : NULL;
  const char *name = v->out == NULL ? path : v->out;
  if (name == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  moh_status status = moh__replace_check(name, MOH__PAGE_BEGIN, err);
  if (status == MOH_OK)
    status = moh__report_add_samples(
        report, &v->texts, (int32_t)moh__int_or(v->show, DEFAULT_SHOW), err);
  if (status == MOH_OK) status = write_page(report, name, err);
  if (status == MOH_OK) printf("%s\n", name);
  free(path);
  return status;
}

static moh_status run_report(const moh__call *call, moh_error *err) {
  moh__report report;
  if (call->n_arguments == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the directory of a run is "
                     "missing");
  moh_status status = moh__report_open(&report, call->arguments[0], err);
  if (status == MOH_OK) status = make_page(&report, call->values, err);
  moh__report_close(&report);
  return status;
}

const moh__command moh__command_report = {
    .name = "report",
    .summary = "a training run as a page of HTML",
    .usage = "RUN [OPTION]...",
    .description =
        "Writes one file that any browser shows, without scripts and "
        "without a network: the curves of the run, how the load of its "
        "heads changed, which heads the tokens of sample texts use, what a "
        "token costs, the speed, and the whole configuration. Works on a "
        "run that is still going on, too.",
    .examples =
        "  moh report run\n"
        "  moh report run --text \"How do mountains form?\" --out "
        "page.html\n",
    .groups = groups,
    .values_size = sizeof(values),
    .max_arguments = 1,
    .argument = "DIR",
    .run = run_report,
};
