/* Routing as text: a grid of tokens and heads, and a table of loads. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "color.h"
#include "numbers.h"
#include "pieces.h"
#include "routes.h"
#include "terminal.h"

enum { LABEL = 14, GAP = 2, N_LEVELS = 8, NO_TERMINAL = 100 };

/* 256 colours: what is alike for the eyes of most people stays apart. */
static const char shared_color[] = "\033[38;5;75m";
static const char routed_color[] = "\033[38;5;215m";
static const char faint[] = "\033[38;5;242m";
static const char plain[] = "\033[0m";

moh__routes_style moh__routes_style_of(int descriptor) {
  return (moh__routes_style){
      .color = moh__wants_color(descriptor),
      .utf8 = moh__locale_is_utf8(),
      .width = moh__terminal_width(descriptor, NO_TERMINAL)};
}

static void paint(FILE *out, const moh__routes_style *style,
                  const char *color) {
  if (style->color) fputs(color, out);
}

/* ---- labels ---- */

char *moh__routes_label(const moh__tokenizer *tokenizer, int32_t id,
                        int width) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (out == NULL) return NULL;
  moh__piece_write(out, moh__tokenizer_token(tokenizer, id));
  if (fclose(out) != 0) {
    free(text);
    return NULL;
  }
  if (moh__columns(text) <= width) return text;
  int n = moh__bytes_of_columns(text, width - 1);
  char *cut = NULL;
  if (asprintf(&cut, "%.*s\u2026", n, text) < 0) cut = NULL;
  free(text);
  return cut;
}

static void write_label(FILE *out, const moh__tokenizer *tokenizer,
                        int32_t id) {
  char *label = moh__routes_label(tokenizer, id, LABEL);
  if (label == NULL) return;
  fprintf(out, "%s%*s", label, LABEL - moh__columns(label), "");
  free(label);
}

/* ---- the grid ---- */

/* Layers [first, end) stand side by side. */
typedef struct band {
  const moh__routing *routing;
  const moh__routes_style *style;
  int64_t first, end;
} band;

static const char *sign_of(const band *b, bool used, float gate) {
  static const char *const bars[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                     "\u2585", "\u2586", "\u2587", "\u2588"};
  static const char *const ascii[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
  double strength = moh__routing_strength(b->routing, gate);
  int level = (int)(strength * N_LEVELS);
  if (!used) return b->style->utf8 ? "\u00b7" : ".";
  if (level > N_LEVELS - 1) level = N_LEVELS - 1;
  return (b->style->utf8 ? bars : ascii)[level];
}

static void write_cells(FILE *out, const band *b, int32_t token,
                        int64_t layer) {
  const moh__routing *r = b->routing;
  int64_t at = moh__routing_at(r, token, layer);
  for (int64_t h = 0; h < r->n_heads; h++) {
    bool used = r->used[at + h];
    paint(out, b->style,
          !used             ? faint
          : h < r->n_shared ? shared_color
                            : routed_color);
    fputs(sign_of(b, used, r->gates[at + h]), out);
  }
  paint(out, b->style, plain);
}

/* "layer 3" as far as there is room for it. */
static void write_layer_names(FILE *out, const band *b) {
  int width = (int)b->routing->n_heads;
  fprintf(out, "%*s", LABEL, "");
  for (int64_t layer = b->first; layer < b->end; layer++) {
    char name[32];
    snprintf(name, sizeof name, width < 8 ? "%" PRId64 : "layer %" PRId64,
             layer);
    fprintf(out, "%*s%-*.*s", GAP, "", width, width, name);
  }
  fputc('\n', out);
}

static void write_head_names(FILE *out, const band *b) {
  paint(out, b->style, faint);
  fprintf(out, "%-*s", LABEL, "token");
  for (int64_t layer = b->first; layer < b->end; layer++) {
    fprintf(out, "%*s", GAP, "");
    for (int64_t h = 0; h < b->routing->n_heads; h++)
      fputc(h < b->routing->n_shared ? 's' : (int)('0' + h % 10), out);
  }
  paint(out, b->style, plain);
  fputc('\n', out);
}

static void write_band(FILE *out, const band *b,
                       const moh__tokenizer *tokenizer) {
  write_layer_names(out, b);
  write_head_names(out, b);
  for (int32_t i = 0; i < b->routing->n_shown; i++) {
    write_label(out, tokenizer, b->routing->ids[i]);
    for (int64_t layer = b->first; layer < b->end; layer++) {
      fprintf(out, "%*s", GAP, "");
      write_cells(out, b, i, layer);
    }
    fputc('\n', out);
  }
  fputc('\n', out);
}

void moh__routes_grid(FILE *out, const moh__routing *r,
                      const moh__tokenizer *tokenizer,
                      const moh__routes_style *style) {
  int64_t fit = (style->width - LABEL) / (r->n_heads + GAP);
  if (fit < 1) fit = 1;
  for (int64_t layer = 0; layer < r->n_layers; layer += fit) {
    int64_t end = layer + fit < r->n_layers ? layer + fit : r->n_layers;
    band b = {r, style, layer, end};
    write_band(out, &b, tokenizer);
  }
}

/* ---- the table ---- */

static void write_head(FILE *out, const moh__routing *r, int64_t layer,
                       int64_t h, const moh__routes_style *style) {
  paint(out, style, h < r->n_shared ? shared_color : routed_color);
  fprintf(out, " %3.0f", 100 * moh__routing_load(r, layer, h));
  paint(out, style, plain);
}

static void write_layer(FILE *out, const moh__routing *r, int64_t layer,
                        const moh__routes_style *style) {
  fprintf(out, "%5" PRId64 "  ", layer);
  for (int64_t h = 0; h < r->n_heads; h++)
    write_head(out, r, layer, h, style);
  fprintf(out, "  %7.3f  %11.2f\n", moh__routing_entropy(r, layer),
          moh__routing_heads(r, layer));
}

void moh__routes_table(FILE *out, const moh__routing *r,
                       const moh__routes_style *style) {
  moh__number tokens;
  fprintf(out, "%% of %s token%s that used %s (s: shared)\n",
          moh__number_grouped(&tokens, r->n_tokens),
          r->n_tokens == 1 ? "" : "s", r->experts ? "an expert" : "a head");
  fputs("layer  ", out);
  for (int64_t h = 0; h < r->n_heads; h++) {
    char name[24];
    snprintf(name, sizeof name, "%s%" PRId64, h < r->n_shared ? "s" : "", h);
    fprintf(out, " %3s", name);
  }
  fprintf(out, "  entropy  %ss/token\n", moh__routing_noun(r));
  for (int64_t layer = 0; layer < r->n_layers; layer++)
    write_layer(out, r, layer, style);
}
