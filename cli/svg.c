/* SVG elements: see svg.h. */
#include "svg.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "text/utf8.h"

/* ---- text ---- */

static const char *entity_of(uint32_t code) {
  switch (code) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return NULL;
  }
}

/* XML 1.0, production 2. */
static bool is_xml(uint32_t code) {
  return code == '\t' || code == '\n' || code == '\r' ||
         (code >= 0x20 && code != 0xFFFE && code != 0xFFFF);
}

void moh__xml_write(FILE *out, moh__text text) {
  while (text.n > 0) {
    uint32_t code = 0;
    size_t n = moh__utf8_next(text, &code);
    const char *entity = n > 0 ? entity_of(code) : NULL;
    if (entity != NULL)
      fputs(entity, out);
    else if (n > 0 && is_xml(code))
      fwrite(text.bytes, 1, n, out);
    else
      fputs("\xEF\xBF\xBD", out);
    text = moh__text_part(text, n > 0 ? n : 1, text.n);
  }
}

/* ---- colours ---- */

/* Four stops of each ramp; between them it is linear. */
static const unsigned char stops[2][4][3] = {
    [MOH__RAMP_BLUE] = {{239, 243, 255},
                        {158, 202, 225},
                        {49, 130, 189},
                        {8, 48, 107}},
    [MOH__RAMP_ORANGE] = {
        {254, 240, 217}, {253, 187, 132}, {227, 104, 36}, {127, 39, 4}}};

moh__color moh__ramp_color(moh__ramp ramp, double value) {
  moh__color color;
  double at = 3 * fmin(fmax(value, 0), 1);
  int i = at >= 2 ? 2 : at >= 1 ? 1 : 0;
  int rgb[3];
  for (int c = 0; c < 3; c++) {
    double low = stops[ramp][i][c], high = stops[ramp][i + 1][c];
    rgb[c] = (int)lround(low + (at - i) * (high - low)) & 0xFF;
  }
  snprintf(color.hex, sizeof color.hex, "#%02x%02x%02x", rgb[0], rgb[1],
           rgb[2]);
  return color;
}

/* ---- elements ---- */

void moh__svg_open(FILE *out, double width, double height,
                   const char *title) {
  fprintf(out,
          MOH__SVG_BEGIN
          "width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
          "font-family=\"system-ui,sans-serif\">\n<title>",
          width, height, width, height);
  moh__xml_write(out, moh__text_of(title));
  fputs("</title>\n", out);
  moh__svg_rect(out, 0, 0, width, height, "#ffffff", NULL);
}

void moh__svg_close(FILE *out) { fputs("</svg>\n", out); }

void moh__svg_rect(FILE *out, double x, double y, double width, double height,
                   const char *fill, const char *tip) {
  fprintf(out,
          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
          "fill=\"%s\"",
          x, y, width, height, fill);
  if (tip == NULL) {
    fputs("/>\n", out);
    return;
  }
  fputs("><title>", out);
  moh__xml_write(out, moh__text_of(tip));
  fputs("</title></rect>\n", out);
}

void moh__svg_line(FILE *out, double x1, double y1, double x2, double y2,
                   const char *stroke, double width, const char *dashes) {
  fprintf(out,
          "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
          "stroke=\"%s\" stroke-width=\"%.1f\"",
          x1, y1, x2, y2, stroke, width);
  if (dashes != NULL) fprintf(out, " stroke-dasharray=\"%s\"", dashes);
  fputs("/>\n", out);
}

void moh__svg_text(FILE *out, double x, double y, moh__font font,
                   const char *format, ...) {
  static const char *const anchors[] = {"start", "middle", "end"};
  char *text = NULL;
  va_list args;
  va_start(args, format);
  int n = vasprintf(&text, format, args);
  va_end(args);
  if (n < 0) return; /* out of memory: the stream will say so, too */
  fprintf(out,
          "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.0f\" "
          "text-anchor=\"%s\" fill=\"%s\"%s%s>",
          x, y, font.size, anchors[font.anchor],
          font.fill == NULL ? MOH__INK : font.fill,
          font.bold ? " font-weight=\"600\"" : "",
          font.fixed ? " font-family=\"ui-monospace,monospace\" "
                       "xml:space=\"preserve\""
                     : "");
  moh__xml_write(out, (moh__text){text, (size_t)n});
  fputs("</text>\n", out);
  free(text);
}

void moh__svg_ramp(FILE *out, double x, double y, double width, double height,
                   moh__ramp ramp) {
  enum { N = 24 };
  for (int i = 0; i < N; i++) {
    moh__color color = moh__ramp_color(ramp, (i + 0.5) / N);
    moh__svg_rect(out, x + width * i / N, y, width / N + 0.5, height,
                  color.hex, NULL);
  }
}
