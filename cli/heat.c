/* Maps of values over steps: see chart.h. */
#include <math.h>

#include "chart.h"
#include "svg.h"

enum { LEFT = 92, RIGHT = 16, TOP = 48, BOTTOM = 36, ROW = 13, GAP = 10 };

static const moh__font faint = {.size = 11, .fill = MOH__GREY};

static double groups_height(const moh__heat *h) {
  double height = 0;
  for (int g = 0; g < h->n_groups; g++)
    height += ROW * (double)h->n_rows[g] + GAP;
  return height;
}

static void draw_row(FILE *out, const moh__heat *h, const double *values,
                     double y) {
  double width = (h->width - LEFT - RIGHT) / h->n_columns;
  for (int c = 0; c < h->n_columns; c++) {
    if (!isfinite(values[c])) continue;
    moh__color color = moh__ramp_color(
        MOH__RAMP_BLUE, (values[c] - h->least) / (h->most - h->least));
    /* A hair wider, so that no seam shows between cells. */
    moh__svg_rect(out, LEFT + width * c, y, width + .4, ROW - 1, color.hex,
                  NULL);
  }
}

static void draw_row_name(FILE *out, const moh__heat *h, int row, double y) {
  moh__font font = {.size = 9, .anchor = MOH__ANCHOR_END, .fill = MOH__GREY};
  moh__svg_text(out, LEFT - 6, y + ROW - 4, font, "%d", h->row_base + row);
}

static double draw_group(FILE *out, const moh__heat *h, int group,
                         const double *values, double y) {
  moh__font font = {.size = 12, .bold = true};
  moh__svg_text(out, 12, y + ROW - 2, font, "%s %d", h->group_name, group);
  for (int r = 0; r < h->n_rows[group]; r++) {
    draw_row(out, h, values + (int64_t)r * h->n_columns, y);
    draw_row_name(out, h, r, y);
    y += ROW;
  }
  return y + GAP;
}

static void draw_legend(FILE *out, const moh__heat *h) {
  moh__font end = faint;
  double x = LEFT;
  end.anchor = MOH__ANCHOR_END;
  moh__svg_text(out, x + 30, 37, end, "%.3g", h->scale * h->least);
  moh__svg_ramp(out, x + 36, 28, 100, 10, MOH__RAMP_BLUE);
  moh__svg_text(out, x + 142, 37, faint, "%.3g%s", h->scale * h->most,
                h->unit);
}

static void draw_axis(FILE *out, const moh__heat *h, double y) {
  moh__font font = faint;
  enum { N = 4 };
  for (int i = 0; i <= N; i++) {
    font.anchor = i == 0   ? MOH__ANCHOR_START
                  : i == N ? MOH__ANCHOR_END
                           : MOH__ANCHOR_MIDDLE;
    double x = LEFT + (h->width - LEFT - RIGHT) * i / N;
    moh__svg_text(out, x, y + 8, font, "%.0f",
                  h->x_first + (h->x_last - h->x_first) * i / N);
  }
  font.anchor = MOH__ANCHOR_END;
  moh__svg_text(out, h->width - RIGHT, y + 23, font, "%s", h->x_label);
}

void moh__heat_svg(FILE *out, const moh__heat *h) {
  double y = TOP;
  const double *values = h->values;
  moh__svg_open(out, h->width, TOP + groups_height(h) + BOTTOM, h->title);
  moh__svg_text(out, 12, 18, (moh__font){.size = 13, .bold = true}, "%s",
                h->title);
  draw_legend(out, h);
  for (int g = 0; g < h->n_groups; g++) {
    y = draw_group(out, h, g, values, y);
    values += (int64_t)h->n_rows[g] * h->n_columns;
  }
  draw_axis(out, h, y);
  moh__svg_close(out);
}
