/* The progress of a run: what is averaged, and how it is put into words. */
#include "progress.h"

#include <inttypes.h>
#include <math.h>

#include "numbers.h"

static const double keep = 0.9; /* of a moving average, at each step */

void moh__progress_start(moh__progress *progress, int64_t steps_done,
                         int64_t n_steps) {
  *progress = (moh__progress){.n_steps = n_steps,
                              .first_step = steps_done,
                              .main_loss = NAN,
                              .mix_loss = NAN,
                              .balance = NAN,
                              .heads = NAN};
  moh__status_line_start(&progress->status, steps_done, n_steps);
}

/* ---- averages ---- */

static void average(double *mean, double value) {
  if (isnan(value)) return;
  *mean = isnan(*mean) ? value : keep * *mean + (1 - keep) * value;
}

static void take_in(moh__progress *p, const moh__step_report *report) {
  average(&p->main_loss, report->main_loss);
  average(&p->mix_loss, report->mix_loss);
  if (report->balance_loss > 0) average(&p->balance, report->balance_loss);
  if (report->n_routed_layers > 0 && !isnan(report->layers[0].mass))
    average(&p->heads, report->heads);
  p->tokens = keep * p->tokens + (double)report->n_tokens;
  p->seconds = keep * p->seconds + report->seconds;
}

/* ---- showing ---- */

/* "loss 1.234  mix 2.345  12,345 tokens/s  0:12, 1:05 left" */
static void add_figures(moh__line *l, const moh__progress *p, int64_t step) {
  moh__number speed;
  double rate = p->seconds > 0 ? p->tokens / p->seconds : 0;
  moh__line_add(l, "loss %.4f", p->main_loss);
  if (!isnan(p->mix_loss)) moh__line_add(l, "  mix %.4f", p->mix_loss);
  if (!isnan(p->balance)) moh__line_add(l, "  balance %.3f", p->balance);
  if (!isnan(p->heads)) moh__line_add(l, "  heads %.2f", p->heads);
  moh__line_add(l, "  %s tokens/s  ",
                moh__number_grouped(&speed, llround(rate)));
  moh__line_add_times(l, moh__now() - p->status.start, p->first_step, step,
                      p->n_steps);
}

void moh__progress_step(moh__progress *p, const moh__step_report *report) {
  moh__line figures = {.n = 0}, label = {.n = 0};
  take_in(p, report);
  if (!moh__status_line_due(&p->status, report->step, p->n_steps)) return;
  add_figures(&figures, p, report->step);
  moh__line_add(&label, "step %" PRId64 "/%" PRId64, report->step,
                p->n_steps);
  moh__status_line_show(&p->status, report->step, p->n_steps, label.text,
                        figures.text);
}

void moh__progress_note(moh__progress *progress, const char *format, ...) {
  va_list args;
  va_start(args, format);
  moh__status_line_note(&progress->status, format, args);
  va_end(args);
}

void moh__progress_end(moh__progress *progress) {
  moh__status_line_end(&progress->status);
}
