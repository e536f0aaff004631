/* Boxes of text in a terminal. */
#include "box.h"

#include <stdarg.h>

#include "terminal.h"

enum { INNER = 75, LABEL = 18 }; /* columns between the borders' blanks */

/* A horizontal line between two corners, with a title in it. */
static void rule(const moh__box *box, const char *left, const char *right,
                 const char *title) {
  const char *bar = box->utf8 ? "\u2500" : "-";
  int n = INNER + 2;
  fputs(box->utf8 ? left : "+", box->out);
  if (title[0] != '\0') {
    fprintf(box->out, "%s %s ", bar, title);
    n -= 3 + moh__columns(title);
  }
  while (n-- > 0) fputs(bar, box->out);
  fprintf(box->out, "%s\n", box->utf8 ? right : "+");
}

moh__box moh__box_open(FILE *out, const char *title) {
  moh__box box = {out, moh__locale_is_utf8()};
  rule(&box, "\u250c", "\u2510", title);
  return box;
}

void moh__box_section(const moh__box *box, const char *title) {
  rule(box, "\u251c", "\u2524", title);
}

void moh__box_close(const moh__box *box) {
  rule(box, "\u2514", "\u2518", "");
}

static void write_line(const moh__box *box, const char *text) {
  const char *border = box->utf8 ? "\u2502" : "|";
  int n = moh__columns(text);
  int pad = n < INNER ? INNER - n : 0;
  fprintf(box->out, "%s %.*s%*s %s\n", border,
          moh__bytes_of_columns(text, INNER), text, pad, "", border);
}

void moh__box_line(const moh__box *box, const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  write_line(box, text);
}

void moh__box_field(const moh__box *box, const char *label,
                    const char *format, ...) {
  char text[512];
  int n = snprintf(text, sizeof text, "%-*.*s", LABEL, LABEL, label);
  va_list args;
  va_start(args, format);
  vsnprintf(text + n, sizeof text - (size_t)n, format, args);
  va_end(args);
  write_line(box, text);
}
