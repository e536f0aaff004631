/*
 * Pictures as SVG 1.1 elements, written to a stream: enough for charts and
 * grids of cells. Coordinates are pixels. An element can stand in a file by
 * itself or within an HTML page.
 */
#ifndef MOH_CLI_SVG_H
#define MOH_CLI_SVG_H

#include <stdio.h>

#include "text/tokenizer.h"

/* Colours that people with any colour vision can tell apart (Okabe and Ito,
 * "Color Universal Design", 2008). */
#define MOH__BLUE "#0072b2"
#define MOH__VERMILION "#d55e00"
#define MOH__GREEN "#009e73"
#define MOH__PURPLE "#cc79a7"
#define MOH__GREY "#6b7280"
#define MOH__INK "#24292f"
#define MOH__PALE "#d0d7de"

/* From white to a full colour, by a value in [0, 1]: of one hue and falling
 * lightness, so that it can be read without colour. */
typedef enum moh__ramp { MOH__RAMP_BLUE, MOH__RAMP_ORANGE } moh__ramp;

typedef struct moh__color {
  char hex[8]; /* "#rrggbb" */
} moh__color;

moh__color moh__ramp_color(moh__ramp ramp, double value);

/* How such a file begins. */
#define MOH__SVG_BEGIN \
  "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" "

/* <svg> with a white ground; `title` is what readers of screens say. */
void moh__svg_open(FILE *out, double width, double height, const char *title);
void moh__svg_close(FILE *out);

/* A filled rectangle; `tip` is shown below the pointer, NULL: nothing. */
void moh__svg_rect(FILE *out, double x, double y, double width, double height,
                   const char *fill, const char *tip);
void moh__svg_line(FILE *out, double x1, double y1, double x2, double y2,
                   const char *stroke, double width, const char *dashes);

typedef enum moh__anchor {
  MOH__ANCHOR_START,
  MOH__ANCHOR_MIDDLE,
  MOH__ANCHOR_END
} moh__anchor;

typedef struct moh__font {
  double size;
  moh__anchor anchor;
  bool bold, fixed; /* fixed: all characters of one width */
  const char *fill; /* NULL: MOH__INK */
} moh__font;

void moh__svg_text(FILE *out, double x, double y, moh__font font,
                   const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* A bar from the palest to the darkest colour of a ramp, for a legend. */
void moh__svg_ramp(FILE *out, double x, double y, double width, double height,
                   moh__ramp ramp);

/* Text with &, <, > and quotes as entities; bytes that XML cannot hold become
 * U+FFFD. */
void moh__xml_write(FILE *out, moh__text text);

#endif
