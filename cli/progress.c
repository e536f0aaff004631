/* The progress of a run: what is averaged, when it is shown, and how. */
#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "numbers.h"

enum {
  N_SHARES = 20, /* plain lines: one for each 5 % ... */
  BAR_MIN = 6,   /* columns */
  BAR_MAX = 24,
  LINE_SIZE = 256, /* bytes */
  DEFAULT_WIDTH = 80
};
static const double plain_seconds = 10; /* ... or for so many seconds */
static const double redraw_seconds = 0.1;
static const double keep = 0.9; /* of a moving average, at each step */

static bool wants_color(void) {
  const char *no_color = getenv("NO_COLOR");
  const char *term = getenv("TERM");
  if (no_color != NULL && no_color[0] != '\0') return false;
  return term != NULL && strcmp(term, "dumb") != 0;
}

static int terminal_width(void) {
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return DEFAULT_WIDTH;
  return size.ws_col;
}

void moh__progress_start(moh__progress *progress, int64_t steps_done,
                         int64_t n_steps) {
  double now = moh__now();
  bool terminal = isatty(STDERR_FILENO) == 1;
  *progress = (moh__progress){.terminal = terminal,
                              .color = terminal && wants_color(),
                              .n_steps = n_steps,
                              .first_step = steps_done,
                              .start = now,
                              .last_shown = terminal ? 0 : now,
                              .last_share = steps_done * N_SHARES / n_steps,
                              .main_loss = NAN,
                              .mix_loss = NAN,
                              .balance = NAN};
}

/* ---- averages ---- */

static void average(double *mean, double value) {
  if (isnan(value)) return;
  *mean = isnan(*mean) ? value : keep * *mean + (1 - keep) * value;
}

static void take_in(moh__progress *p, const moh__step_report *report) {
  average(&p->main_loss, report->main_loss);
  average(&p->mix_loss, report->mix_loss);
  if (report->n_routed_layers > 0)
    average(&p->balance, report->balance_loss);
  p->tokens = keep * p->tokens + (double)report->n_tokens;
  p->seconds = keep * p->seconds + report->seconds;
}

/* ---- text ---- */

typedef struct line {
  char text[LINE_SIZE];
  size_t n;
} line;

static void add(line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(line *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, format, args);
  va_end(args);
  if (n > 0) l->n += (size_t)n;
  if (l->n >= sizeof l->text) l->n = sizeof l->text - 1;
}

/* "loss 1.234  mix 2.345  12,345 tokens/s  0:12, 1:05 left" */
static void add_figures(line *l, const moh__progress *p, int64_t step) {
  moh__number speed, elapsed, left;
  double seconds = moh__now() - p->start;
  int64_t done = step - p->first_step;
  double rest = seconds / (double)done * (double)(p->n_steps - step);
  double rate = p->seconds > 0 ? p->tokens / p->seconds : 0;
  add(l, "loss %.4f", p->main_loss);
  if (!isnan(p->mix_loss)) add(l, "  mix %.4f", p->mix_loss);
  if (!isnan(p->balance)) add(l, "  balance %.3f", p->balance);
  add(l, "  %s tokens/s", moh__number_grouped(&speed, llround(rate)));
  add(l, "  %s", moh__number_duration(&elapsed, seconds));
  if (step < p->n_steps)
    add(l, ", %s left", moh__number_duration(&left, rest));
}

/* "[====>   ] "; nothing where it would be too short to tell anything. */
static void add_bar(line *l, const moh__progress *p, int64_t step,
                    int columns) {
  int n = columns < BAR_MAX ? columns : BAR_MAX;
  int full = (int)(n * step / p->n_steps);
  if (n < BAR_MIN) return;
  add(l, "[");
  for (int i = 0; i < n; i++)
    add(l, "%c", i < full ? '=' : i == full ? '>' : ' ');
  add(l, "] ");
}

/* ---- showing ---- */

static void clear_line(const moh__progress *p) {
  if (p->terminal) fputs("\r\033[K", stderr);
}

/* "[====>   ] 12%  loss ...": cut at the terminal's width, so that the line
 * never wraps and can be drawn over. The bar takes what the figures leave.
 */
static void draw_bar(const moh__progress *p, int64_t step) {
  line figures = {.n = 0}, l = {.n = 0};
  int width = terminal_width() - 1;
  add(&figures, "%3.0f%%  ", 100.0 * (double)step / (double)p->n_steps);
  add_figures(&figures, p, step);
  add_bar(&l, p, step, width - (int)figures.n - 3);
  add(&l, "%s", figures.text);
  clear_line(p);
  if (p->color) fputs("\033[36m", stderr);
  fprintf(stderr, "%.*s", width, l.text);
  if (p->color) fputs("\033[0m", stderr);
  fflush(stderr);
}

static void print_line(const moh__progress *p, int64_t step) {
  line l = {.n = 0};
  add_figures(&l, p, step);
  fprintf(stderr, "step %" PRId64 "/%" PRId64 "  %s\n", step, p->n_steps,
          l.text);
}

static bool is_due(const moh__progress *p, int64_t step, double now) {
  if (step == p->n_steps) return true;
  if (p->terminal) return now - p->last_shown >= redraw_seconds;
  return step * N_SHARES / p->n_steps != p->last_share ||
         now - p->last_shown >= plain_seconds;
}

void moh__progress_step(moh__progress *p, const moh__step_report *report) {
  double now = moh__now();
  take_in(p, report);
  if (!is_due(p, report->step, now)) return;
  p->last_shown = now;
  p->last_share = report->step * N_SHARES / p->n_steps;
  if (p->terminal)
    draw_bar(p, report->step);
  else
    print_line(p, report->step);
}

void moh__progress_note(moh__progress *progress, const char *format, ...) {
  va_list args;
  clear_line(progress);
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  progress->last_shown = progress->terminal ? 0 : progress->last_shown;
}

void moh__progress_end(moh__progress *progress) { clear_line(progress); }
