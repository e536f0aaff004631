/* The bar on a terminal, and lines where there is none. */
#include "status_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "color.h"
#include "numbers.h"
#include "terminal.h"

enum {
  N_SHARES = 20, /* plain lines: one for each 5 % ... */
  BAR_MIN = 6,   /* columns */
  BAR_MAX = 24,
  DEFAULT_WIDTH = 80
};
static const double plain_seconds = 10; /* ... or for so many seconds */
static const double redraw_seconds = 0.1;

/* ---- text ---- */

void moh__line_add(moh__line *l, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(l->text + l->n, sizeof l->text - l->n, format, args);
  va_end(args);
  if (n > 0) l->n += (size_t)n;
  if (l->n >= sizeof l->text) l->n = sizeof l->text - 1;
}

void moh__line_add_times(moh__line *l, double seconds, int64_t before,
                         int64_t done, int64_t all) {
  moh__number elapsed, left;
  moh__line_add(l, "%s", moh__number_duration(&elapsed, seconds));
  if (done <= before || done >= all) return;
  double rest = seconds / (double)(done - before) * (double)(all - done);
  moh__line_add(l, ", %s left", moh__number_duration(&left, rest));
}

/* "[====>   ] "; nothing where it would be too short to tell anything. */
static void add_bar(moh__line *l, int64_t done, int64_t all, int columns) {
  int n = columns < BAR_MAX ? columns : BAR_MAX;
  int full = (int)((double)n * (double)done / (double)all);
  if (n < BAR_MIN) return;
  moh__line_add(l, "[");
  for (int i = 0; i < n; i++)
    moh__line_add(l, "%c", i < full ? '=' : i == full ? '>' : ' ');
  moh__line_add(l, "] ");
}

/* ---- showing ---- */

static int64_t share_of(int64_t done, int64_t all) {
  return (int64_t)((double)done * N_SHARES / (double)all);
}

void moh__status_line_start(moh__status_line *s, int64_t done, int64_t all) {
  double now = moh__now();
  bool terminal = isatty(STDERR_FILENO) == 1;
  *s = (moh__status_line){.terminal = terminal,
                          .color = moh__wants_color(STDERR_FILENO),
                          .start = now,
                          .last_shown = terminal ? 0 : now,
                          .last_share = share_of(done, all)};
}

static bool is_due(const moh__status_line *s, int64_t done, int64_t all,
                   double now) {
  if (done == all) return true;
  if (s->terminal) return now - s->last_shown >= redraw_seconds;
  return share_of(done, all) != s->last_share ||
         now - s->last_shown >= plain_seconds;
}

bool moh__status_line_due(moh__status_line *s, int64_t done, int64_t all) {
  double now = moh__now();
  if (!is_due(s, done, all, now)) return false;
  s->last_shown = now;
  s->last_share = share_of(done, all);
  return true;
}

void moh__status_line_end(const moh__status_line *s) {
  if (s->terminal) fputs("\r\033[K", stderr);
}

/* "[====>   ] 12%  loss ...": cut at the terminal's width, so that the line
 * never wraps and can be drawn over. The bar takes what the figures leave.
 */
static void draw_bar(const moh__status_line *s, int64_t done, int64_t all,
                     const char *text) {
  moh__line figures = {.n = 0}, l = {.n = 0};
  int width = moh__terminal_width(STDERR_FILENO, DEFAULT_WIDTH) - 1;
  moh__line_add(&figures, "%3.0f%%  %s", 100.0 * (double)done / (double)all,
                text);
  add_bar(&l, done, all, width - (int)figures.n - 3);
  moh__line_add(&l, "%s", figures.text);
  moh__status_line_end(s);
  if (s->color) fputs("\033[36m", stderr);
  fprintf(stderr, "%.*s", width, l.text);
  if (s->color) fputs("\033[0m", stderr);
  fflush(stderr);
}

void moh__status_line_show(const moh__status_line *s, int64_t done,
                           int64_t all, const char *label,
                           const char *figures) {
  if (s->terminal)
    draw_bar(s, done, all, figures);
  else
    fprintf(stderr, "%s  %s\n", label, figures);
}

void moh__status_line_note(moh__status_line *s, const char *format,
                           va_list args) {
  moh__status_line_end(s);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  if (s->terminal) s->last_shown = 0;
}
