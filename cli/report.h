/*
 * moh report: a page of one run. What there is to show, and the parts of the
 * page, each written to a stream as HTML.
 */
#ifndef MOH_CLI_REPORT_H
#define MOH_CLI_REPORT_H

#include <jansson.h>

#include "load.h"
#include "model/config.h"
#include "routing.h"
#include "run_log.h"

enum { MOH__REPORT_WIDTH = 980 }; /* of the page, pixels */

typedef struct moh__report {
  const char *dir;
  json_t *record; /* run.json */
  json_t *result; /* result.json; NULL: the run is not finished */
  moh__config config;
  moh__run_log log;
  const char *model;     /* "final" or "best"; NULL: no model yet */
  moh__runner runner;    /* of that model, when there are samples */
  moh__routing *samples; /* [n_samples] of texts: heads, experts, or both */
  int n_samples;
  const char *no_samples; /* why there are none; NULL: there are */
} moh__report;

/* report_read.c: reads a run's directory. Unfinished runs are fine. */
moh_status moh__report_open(moh__report *report, const char *dir,
                            moh_error *err);
/* Routes each text, of which at most `show` tokens are shown; without texts
 * the beginning of the training data, where that can be read. */
moh_status moh__report_add_samples(moh__report *report,
                                   const moh__list *texts, int32_t show,
                                   moh_error *err);
void moh__report_close(moh__report *report);

/* report_page.c: the whole page, and how it begins. */
#define MOH__PAGE_BEGIN                           \
  "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n" \
  "<meta charset=\"utf-8\">\n"                    \
  "<meta name=\"generator\" content=\"moh report\">\n"
moh_status moh__report_page(FILE *out, const moh__report *report,
                            moh_error *err);

/* report_curves.c */
moh_status moh__report_curves(FILE *out, const moh__report *report,
                              moh_error *err);
/* Load of the routed heads, and experts, over the steps; nothing without. */
moh_status moh__report_loads(FILE *out, const moh__report *report,
                             moh_error *err);
moh_status moh__report_expert_loads(FILE *out, const moh__report *report,
                                    moh_error *err);
moh_status moh__report_speed(FILE *out, const moh__report *report,
                             moh_error *err);
/* Median tokens a second; NaN without steps or memory. */
double moh__report_tokens_per_second(const moh__report *report);

#endif
