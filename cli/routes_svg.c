/* Routing as a picture: a row for each token, a column for each head of each
 * layer, and the load of the heads over all tokens below. */
#include <inttypes.h>
#include <stdlib.h>

#include "numbers.h"
#include "routes.h"
#include "svg.h"

enum {
  CELL_W = 12,
  CELL_H = 14,
  MARGIN = 16,
  LABEL_W = 130,
  LABEL_CHARS = 17,
  LAYER_GAP = 14,
  LAYER_MIN = 84, /* the words below it */
  TOP = 58,     /* title and legend */
  NAMES_H = 34, /* of layers and of heads */
  LOAD_H = 48,
  LOAD_GAP = 14,
  FOOT_H = 34, /* entropy and heads a token */
  BAND_GAP = 22,
  WIDTH_MAX = 1180,
  LEGEND_W = 440
};
static const char unused_color[] = "#f3f4f6";

typedef struct picture {
  FILE *out;
  const moh__routing *routing;
  const moh__tokenizer *tokenizer;
  int64_t layers_each; /* side by side */
  double layer_w, width;
} picture;

static const moh__font small = {
    .size = 9, .anchor = MOH__ANCHOR_MIDDLE, .fill = MOH__GREY};
static const moh__font note = {.size = 11, .fill = MOH__GREY};

static moh__ramp ramp_of(const moh__routing *r, int64_t head) {
  return head < r->n_shared ? MOH__RAMP_BLUE : MOH__RAMP_ORANGE;
}

static const char *gate_name(const moh__routing *r) {
  return r->experts ? "weight" : "gate";
}

/* ---- one layer ---- */

static void draw_cell(const picture *p, double x, double y, int32_t token,
                      int64_t layer, int64_t head) {
  const moh__routing *r = p->routing;
  int64_t at = moh__routing_at(r, token, layer) + head;
  char tip[96];
  if (!r->used[at]) {
    moh__svg_rect(p->out, x, y, CELL_W - 1, CELL_H - 1, unused_color, NULL);
    return;
  }
  /* The palest colours are left out: what is in use should be seen. */
  double strength = moh__routing_strength(r, r->gates[at]);
  moh__color color = moh__ramp_color(ramp_of(r, head), .2 + .8 * strength);
  snprintf(tip, sizeof tip, "layer %" PRId64 ", %s %" PRId64 ": %s %.3f",
           layer, moh__routing_noun(r), head, gate_name(r),
           (double)r->gates[at]);
  moh__svg_rect(p->out, x, y, CELL_W - 1, CELL_H - 1, color.hex, tip);
}

static void draw_names(const picture *p, double x, double y, int64_t layer) {
  const moh__routing *r = p->routing;
  moh__svg_text(p->out, x, y + 12, (moh__font){.size = 12, .bold = true},
                "layer %" PRId64, layer);
  for (int64_t h = 0; h < r->n_heads; h++) {
    moh__font font = small;
    font.fill = h < r->n_shared ? MOH__BLUE : MOH__GREY;
    moh__svg_text(p->out, x + CELL_W * ((double)h + .5), y + NAMES_H - 5,
                  font, "%" PRId64, h);
  }
}

static void draw_load(const picture *p, double x, double y, int64_t layer) {
  const moh__routing *r = p->routing;
  for (int64_t h = 0; h < r->n_heads; h++) {
    char tip[96];
    double load = moh__routing_load(r, layer, h);
    moh__color color = moh__ramp_color(ramp_of(r, h), .6);
    snprintf(tip, sizeof tip,
             "%s %" PRId64 ": %.1f %% of tokens, mean %s %.3f",
             moh__routing_noun(r), h, 100 * load, gate_name(r),
             moh__routing_gate(r, layer, h));
    moh__svg_rect(p->out, x + CELL_W * (double)h, y + LOAD_H * (1 - load),
                  CELL_W - 1, LOAD_H * load, color.hex, tip);
  }
  double right = x + CELL_W * (double)r->n_heads - 1;
  moh__svg_line(p->out, x, y + LOAD_H, right, y + LOAD_H, MOH__GREY, 1, NULL);
  moh__font font = {.size = 10, .fill = MOH__GREY};
  moh__svg_text(p->out, x, y + LOAD_H + 13, font, "entropy %.3f",
                moh__routing_entropy(r, layer));
  moh__svg_text(p->out, x, y + LOAD_H + 26, font, "%.2f %ss",
                moh__routing_heads(r, layer), moh__routing_noun(r));
}

/* ---- one band of layers ---- */

static double grid_height(const picture *p) {
  return (double)CELL_H * p->routing->n_shown;
}

static double band_height(const picture *p) {
  return NAMES_H + grid_height(p) + LOAD_GAP + LOAD_H + FOOT_H + BAND_GAP;
}

static void draw_layer(const picture *p, double x, double y, int64_t layer) {
  const moh__routing *r = p->routing;
  draw_names(p, x, y, layer);
  y += NAMES_H;
  for (int32_t i = 0; i < r->n_shown; i++)
    for (int64_t h = 0; h < r->n_heads; h++)
      draw_cell(p, x + CELL_W * (double)h, y + CELL_H * (double)i, i, layer,
                h);
  draw_load(p, x, y + grid_height(p) + LOAD_GAP, layer);
}

static void draw_labels(const picture *p, double y) {
  const moh__routing *r = p->routing;
  double x = MARGIN + LABEL_W - 10;
  moh__font font = {.size = 11, .anchor = MOH__ANCHOR_END, .fixed = true};
  y += NAMES_H;
  for (int32_t i = 0; i < r->n_shown; i++) {
    char *label = moh__routes_label(p->tokenizer, r->ids[i], LABEL_CHARS);
    if (label != NULL)
      moh__svg_text(p->out, x, y + CELL_H * (i + 1) - 4, font, "%s", label);
    free(label);
  }
  y += grid_height(p) + LOAD_GAP;
  font =
      (moh__font){.size = 10, .anchor = MOH__ANCHOR_END, .fill = MOH__GREY};
  moh__svg_text(p->out, x, y + 8, font, "100 %%");
  moh__svg_text(p->out, x, y + LOAD_H / 2.0 + 3, font, "load");
  moh__svg_text(p->out, x, y + LOAD_H, font, "0");
}

static void draw_band(const picture *p, double y, int64_t first) {
  int64_t end = first + p->layers_each;
  if (end > p->routing->n_layers) end = p->routing->n_layers;
  draw_labels(p, y);
  for (int64_t layer = first; layer < end; layer++)
    draw_layer(p, MARGIN + LABEL_W + p->layer_w * (double)(layer - first), y,
               layer);
}

/* ---- the whole ---- */

static double draw_ramp(const picture *p, double x, double y, moh__ramp ramp,
                        const char *name) {
  moh__svg_ramp(p->out, x, y - 9, 56, 10, ramp);
  moh__svg_text(p->out, x + 62, y, note, "%s, by %s", name,
                gate_name(p->routing));
  return x + 62 + 100;
}

static void draw_top(const picture *p, const char *title) {
  moh__number tokens;
  double y = MARGIN + 8;
  moh__svg_text(p->out, MARGIN, y, (moh__font){.size = 15, .bold = true},
                "%s", title);
  y += 22;
  double x = MARGIN;
  if (p->routing->n_shared > 0)
    x = draw_ramp(p, x, y, MOH__RAMP_BLUE, "shared");
  x = draw_ramp(p, x, y, MOH__RAMP_ORANGE, "routed");
  moh__svg_rect(p->out, x, y - 9, CELL_W, 10, unused_color, NULL);
  moh__svg_text(p->out, x + CELL_W + 6, y, note, "not computed");
  moh__svg_text(p->out, x + CELL_W + 96, y, note, "load: of %s tokens",
                moh__number_grouped(&tokens, p->routing->n_tokens));
}

static void lay_out(picture *p) {
  const moh__routing *r = p->routing;
  p->layer_w = CELL_W * (double)r->n_heads + LAYER_GAP;
  if (p->layer_w < LAYER_MIN) p->layer_w = LAYER_MIN;
  double fit = (WIDTH_MAX - 2 * MARGIN - LABEL_W) / p->layer_w;
  p->layers_each = fit < 1 ? 1 : (int64_t)fit;
  if (p->layers_each > r->n_layers) p->layers_each = r->n_layers;
  p->width = 2 * MARGIN + LABEL_W + p->layer_w * (double)p->layers_each;
  if (p->width < 2 * MARGIN + LEGEND_W + 100)
    p->width = 2 * MARGIN + LEGEND_W + 100;
}

void moh__routes_svg(FILE *out, const moh__routing *routing,
                     const moh__tokenizer *tokenizer, const char *title) {
  picture p = {.out = out, .routing = routing, .tokenizer = tokenizer};
  lay_out(&p);
  int64_t bands = (routing->n_layers + p.layers_each - 1) / p.layers_each;
  double height = TOP + (double)bands * band_height(&p);
  moh__svg_open(out, p.width, height, title);
  draw_top(&p, title);
  for (int64_t i = 0; i < bands; i++)
    draw_band(&p, TOP + (double)i * band_height(&p), i * p.layers_each);
  moh__svg_close(out);
}
