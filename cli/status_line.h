/*
 * How far long work is, on stderr: a bar that is redrawn at most ten times a
 * second on a terminal, plain lines elsewhere, one for each twentieth of the
 * work or for ten seconds.
 */
#ifndef MOH_CLI_STATUS_LINE_H
#define MOH_CLI_STATUS_LINE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A line of text in the making; what does not fit is cut off. */
typedef struct moh__line {
  char text[256];
  size_t n;
} moh__line;

void moh__line_add(moh__line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "0:12, 1:05 left": the time since the start of the work, of which `done`
 * of `all` is done, `before` of it earlier. */
void moh__line_add_times(moh__line *line, double seconds, int64_t before,
                         int64_t done, int64_t all);

typedef struct moh__status_line {
  bool terminal;
  bool color;
  double start; /* seconds of moh__now */
  double last_shown;
  int64_t last_share; /* twentieths, when last shown */
} moh__status_line;

/* `done` of `all` is done before. */
void moh__status_line_start(moh__status_line *status, int64_t done,
                            int64_t all);
/* Whether it is time to show something; it is taken as shown then. */
bool moh__status_line_due(moh__status_line *status, int64_t done,
                          int64_t all);
/* The bar with the figures, or the line "label  figures". */
void moh__status_line_show(const moh__status_line *status, int64_t done,
                           int64_t all, const char *label,
                           const char *figures);

/* A line of its own that stays, above the bar. */
void moh__status_line_note(moh__status_line *status, const char *format,
                           va_list args)
    __attribute__((format(printf, 2, 0)));

/* Removes the bar. */
void moh__status_line_end(const moh__status_line *status);

#endif
