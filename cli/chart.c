/* Charts: see chart.h. */
#include "chart.h"

#include <math.h>

#include "svg.h"

enum { LEFT = 58, RIGHT = 16, TOP = 46, BOTTOM = 40, TICKS = 5 };

/* The plot's area and its scales. */
typedef struct frame {
  FILE *out;
  double x0, y0, width, height;      /* pixels */
  double x_min, x_max, y_min, y_max; /* values; y is a logarithm if log_y */
  bool log_y;
} frame;

void moh__bin_means(const double *values, int64_t n, int64_t n_bins,
                    double *means) {
  for (int64_t i = 0; i < n_bins; i++) {
    double sum = 0;
    int64_t from = i * n / n_bins, to = (i + 1) * n / n_bins, count = 0;
    for (int64_t j = from; j < to; j++) {
      if (!isfinite(values[j])) continue;
      sum += values[j];
      count++;
    }
    means[i] = count == 0 ? NAN : sum / (double)count;
  }
}

/* ---- scales ---- */

static bool is_shown(const frame *f, double x, double y) {
  return isfinite(x) && isfinite(y) && (!f->log_y || y > 0);
}

static double height_of(const frame *f, double y) {
  return f->log_y ? log10(y) : y;
}

static void stretch(double *low, double *high, double value) {
  if (value < *low) *low = value;
  if (value > *high) *high = value;
}

/* A range that is not empty, with a little room. */
static void widen(double *low, double *high, double share) {
  if (!(*low <= *high)) *low = *high = 0;
  double size = *high - *low;
  if (size <= 0) size = fabs(*low) > 0 ? fabs(*low) : 1;
  *low -= share * size;
  *high += share * size;
}

static void fit(frame *f, const moh__chart *c) {
  f->x_min = f->y_min = INFINITY;
  f->x_max = f->y_max = -INFINITY;
  for (int s = 0; s < c->n_series; s++)
    for (int64_t i = 0; i < c->series[s].n; i++) {
      double x = c->series[s].x[i], y = c->series[s].y[i];
      if (!is_shown(f, x, y)) continue;
      stretch(&f->x_min, &f->x_max, x);
      stretch(&f->y_min, &f->y_max, height_of(f, y));
    }
  if (c->from_zero && !f->log_y && f->y_min > 0) f->y_min = 0;
  double low = f->y_min;
  widen(&f->x_min, &f->x_max, 0);
  widen(&f->y_min, &f->y_max, .04);
  if (c->from_zero && low >= 0) f->y_min = 0;
  if (!(f->x_max > f->x_min)) f->x_max = f->x_min + 1;
}

static double at_x(const frame *f, double x) {
  return f->x0 + f->width * (x - f->x_min) / (f->x_max - f->x_min);
}

static double at_y(const frame *f, double height) {
  return f->y0 +
         f->height * (1 - (height - f->y_min) / (f->y_max - f->y_min));
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten. */
static double nice_step(double size) {
  double raw = size / TICKS, power = pow(10, floor(log10(raw)));
  double lead = raw / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static const moh__font tick_font = {.size = 11, .fill = MOH__GREY};

static void draw_number(const frame *f, double x, double y,
                        moh__anchor anchor, double value) {
  moh__font font = tick_font;
  font.anchor = anchor;
  double size = fabs(value);
  if (size >= 10000 && size < 1e15)
    moh__svg_text(f->out, x, y, font, "%gk", value / 1000);
  else
    moh__svg_text(f->out, x, y, font, "%.4g", value);
}

static void draw_y_tick(const frame *f, double height, double value) {
  double y = at_y(f, height);
  moh__svg_line(f->out, f->x0, y, f->x0 + f->width, y, MOH__PALE, .6, NULL);
  draw_number(f, f->x0 - 6, y + 4, MOH__ANCHOR_END, value);
}

static void draw_linear_ticks(const frame *f) {
  double step = nice_step(f->y_max - f->y_min);
  for (double i = ceil(f->y_min / step); i * step <= f->y_max; i++)
    draw_y_tick(f, i * step, i * step);
}

/* Powers of ten; 2 and 5 times them, too, when there are few. */
static void draw_log_ticks(const frame *f) {
  static const double leads[] = {1, 2, 5};
  int n = f->y_max - f->y_min > 3 ? 1 : 3;
  int last = (int)floor(f->y_max);
  for (int power = (int)floor(f->y_min); power <= last; power++)
    for (int i = 0; i < n; i++) {
      double height = power + log10(leads[i]);
      if (height >= f->y_min && height <= f->y_max)
        draw_y_tick(f, height, leads[i] * pow(10, power));
    }
}

static void draw_x_axis(const frame *f, const char *label) {
  double bottom = f->y0 + f->height;
  double step = nice_step(f->x_max - f->x_min);
  moh__svg_line(f->out, f->x0, bottom, f->x0 + f->width, bottom, MOH__GREY, 1,
                NULL);
  for (double i = ceil(f->x_min / step); i * step <= f->x_max; i++) {
    double x = at_x(f, i * step);
    moh__svg_line(f->out, x, bottom, x, bottom + 4, MOH__GREY, 1, NULL);
    draw_number(f, x, bottom + 17, MOH__ANCHOR_MIDDLE, i * step);
  }
  moh__font font = tick_font;
  font.anchor = MOH__ANCHOR_END;
  moh__svg_text(f->out, f->x0 + f->width, bottom + 33, font, "%s", label);
}

/* ---- curves ---- */

static void draw_line(const frame *f, const moh__series *s) {
  bool open = false;
  for (int64_t i = 0; i < s->n; i++) {
    bool shown = is_shown(f, s->x[i], s->y[i]);
    if (shown && !open)
      fprintf(f->out,
              "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" "
              "stroke-linejoin=\"round\" stroke-dasharray=\"%s\" points=\"",
              s->color, s->width, s->dashes == NULL ? "none" : s->dashes);
    if (shown)
      fprintf(f->out, "%.1f,%.1f ", at_x(f, s->x[i]),
              at_y(f, height_of(f, s->y[i])));
    if (open && !shown) fputs("\"/>\n", f->out);
    open = shown;
  }
  if (open) fputs("\"/>\n", f->out);
}

static void draw_marks(const frame *f, const moh__series *s) {
  for (int64_t i = 0; i < s->n; i++) {
    if (!is_shown(f, s->x[i], s->y[i])) continue;
    fprintf(f->out,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>"
            "%g: %.5g</title></circle>\n",
            at_x(f, s->x[i]), at_y(f, height_of(f, s->y[i])), s->color,
            s->x[i], s->y[i]);
  }
}

/* Beside the title, from the right. */
static void draw_legend(const frame *f, const moh__chart *c) {
  double x = f->x0, y = 38;
  for (int i = 0; i < c->n_series; i++) {
    const moh__series *s = &c->series[i];
    if (s->name == NULL) continue;
    moh__svg_line(f->out, x, y - 4, x + 18, y - 4, s->color,
                  s->width > 0 ? 2 : 0, s->dashes);
    if (s->marks)
      fprintf(f->out,
              "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
              x + 9, y - 4, s->color);
    moh__svg_text(f->out, x + 23, y, tick_font, "%s", s->name);
    int letters = 0;
    for (const char *p = s->name; *p != '\0'; p++) letters++;
    x += 23 + 6.5 * letters + 14;
  }
}

static bool all_positive(const moh__chart *c) {
  for (int s = 0; s < c->n_series; s++)
    for (int64_t i = 0; i < c->series[s].n; i++)
      if (c->series[s].y[i] <= 0) return false;
  return true;
}

void moh__chart_svg(FILE *out, const moh__chart *c) {
  frame f = {.out = out,
             .x0 = LEFT,
             .y0 = TOP,
             .width = c->width - LEFT - RIGHT,
             .height = c->height - TOP - BOTTOM,
             .log_y = c->log_y && all_positive(c)};
  fit(&f, c);
  moh__svg_open(out, c->width, c->height, c->title);
  moh__svg_text(out, 12, 18, (moh__font){.size = 13, .bold = true}, "%s",
                c->title);
  draw_legend(&f, c);
  if (f.log_y)
    draw_log_ticks(&f);
  else
    draw_linear_ticks(&f);
  draw_x_axis(&f, c->x_label);
  for (int i = 0; i < c->n_series; i++) {
    if (c->series[i].width > 0) draw_line(&f, &c->series[i]);
    if (c->series[i].marks) draw_marks(&f, &c->series[i]);
  }
  moh__svg_close(out);
}
