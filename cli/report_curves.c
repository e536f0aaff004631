/* The charts of a run: losses, gradient norm, learning rate, balance, head
 * load, speed. */
#include <math.h>
#include <stdlib.h>

#include "chart.h"
#include "report.h"
#include "svg.h"

enum {
  N_BINS = 400,
  N_COLUMNS = 120,
  HEIGHT = 280,
  HALF_HEIGHT = 220,
  HALF_WIDTH = MOH__REPORT_WIDTH / 2 - 6
};

/* ---- a field of the steps as numbers ---- */

typedef double step_field(const moh__log_step *step);

static double field_step(const moh__log_step *s) { return (double)s->step; }
static double field_loss(const moh__log_step *s) { return s->loss; }
static double field_mix(const moh__log_step *s) { return s->mix_loss; }
static double field_norm(const moh__log_step *s) { return s->grad_norm; }
static double field_clipped(const moh__log_step *s) {
  return s->skipped ? NAN : s->clipped_norm;
}
static double field_lr(const moh__log_step *s) { return s->lr; }
static double field_balance(const moh__log_step *s) {
  return s->balance_loss;
}
static double field_expert_balance(const moh__log_step *s) {
  return s->expert_balance_loss;
}
static double field_heads(const moh__log_step *s) { return s->mean_heads; }
static double field_speed(const moh__log_step *s) {
  return s->tokens_per_second;
}

/* All steps: [n_steps], to be freed; NULL when memory ran out. */
static double *field_of(const moh__run_log *log, step_field *field) {
  double *values = calloc((size_t)log->n_steps + 1, sizeof(*values));
  for (int64_t i = 0; values != NULL && i < log->n_steps; i++)
    values[i] = field(&log->steps[i]);
  return values;
}

/* In at most N_BINS means: as many as the charts can show. */
typedef struct curve {
  double x[N_BINS], y[N_BINS];
  int64_t n;
} curve;

static bool curve_of(curve *c, const moh__run_log *log, step_field *field) {
  double *x = field_of(log, field_step), *y = field_of(log, field);
  c->n = log->n_steps < N_BINS ? log->n_steps : N_BINS;
  if (x != NULL && y != NULL) {
    moh__bin_means(x, log->n_steps, c->n, c->x);
    moh__bin_means(y, log->n_steps, c->n, c->y);
  }
  bool fine = x != NULL && y != NULL;
  free(x);
  free(y);
  return fine;
}

static bool is_empty(const curve *c) {
  for (int64_t i = 0; i < c->n; i++)
    if (isfinite(c->y[i])) return false;
  return true;
}

static moh__series series_of(const curve *c, const char *name,
                             const char *color) {
  return (moh__series){.name = name,
                       .color = color,
                       .width = 1.6,
                       .x = c->x,
                       .y = c->y,
                       .n = c->n};
}

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the charts");
}

/* ---- losses ---- */

/* Evaluations of a kind of data; to be freed by free_evals. */
static bool evals_of(const moh__run_log *log, moh__log_data data,
                     moh__series *series) {
  double *x = calloc((size_t)log->n_evals + 1, sizeof(*x));
  double *y = calloc((size_t)log->n_evals + 1, sizeof(*y));
  for (int64_t i = 0; x != NULL && y != NULL && i < log->n_evals; i++) {
    if (log->evals[i].data != data) continue;
    x[series->n] = (double)log->evals[i].step;
    y[series->n++] = log->evals[i].loss;
  }
  series->x = x;
  series->y = y;
  return x != NULL && y != NULL;
}

static void free_evals(moh__series *series) {
  free((double *)series->x);
  free((double *)series->y);
}

static double most_of(const moh__series *s) {
  double most = -INFINITY;
  for (int64_t i = 0; i < s->n; i++)
    if (s->y[i] > most) most = s->y[i];
  return most;
}

static double least_of(const moh__series *s) {
  double least = INFINITY;
  for (int64_t i = 0; i < s->n; i++)
    if (s->y[i] < least) least = s->y[i];
  return least;
}

static void draw_losses(FILE *out, const curve *loss, const curve *mix,
                        const moh__series *held_out) {
  moh__series series[3] = {series_of(loss, "training, by step", MOH__BLUE)};
  int n = 1;
  if (held_out->n > 0) series[n++] = *held_out;
  if (!is_empty(mix)) {
    series[n] = series_of(mix, "mixed-in data", MOH__GREEN);
    series[n++].dashes = "6 3";
  }
  moh__chart chart = {.title = "Loss, nats per token",
                      .x_label = "step",
                      .width = MOH__REPORT_WIDTH,
                      .height = HEIGHT,
                      .log_y = most_of(&series[0]) > 8 * least_of(&series[0]),
                      .series = series,
                      .n_series = n};
  moh__chart_svg(out, &chart);
}

static moh_status losses(FILE *out, const moh__report *report,
                         moh_error *err) {
  curve loss, mix;
  moh__series held_out = {.name = "held-out data",
                          .color = MOH__VERMILION,
                          .width = 1.2,
                          .marks = true,
                          .dashes = "2 3"};
  bool fine = curve_of(&loss, &report->log, field_loss) &&
              curve_of(&mix, &report->log, field_mix) &&
              evals_of(&report->log, MOH__LOG_HELD_OUT, &held_out);
  if (fine) draw_losses(out, &loss, &mix, &held_out);
  free_evals(&held_out);
  return fine ? MOH_OK : no_memory(err);
}

/* ---- one curve by itself ---- */

static moh_status single(FILE *out, const moh__report *report,
                         step_field *field, const char *title,
                         const char *color, bool from_zero, moh_error *err) {
  curve c;
  if (!curve_of(&c, &report->log, field)) return no_memory(err);
  if (is_empty(&c)) return MOH_OK;
  moh__series series = series_of(&c, NULL, color);
  moh__chart chart = {.title = title,
                      .x_label = "step",
                      .width = HALF_WIDTH,
                      .height = HALF_HEIGHT,
                      .from_zero = from_zero,
                      .series = &series,
                      .n_series = 1};
  moh__chart_svg(out, &chart);
  return MOH_OK;
}

/* Before clipping and behind it, which logs of old runs do not have. */
static moh_status norms(FILE *out, const moh__run_log *log, moh_error *err) {
  curve before, after;
  if (!curve_of(&before, log, field_norm) ||
      !curve_of(&after, log, field_clipped))
    return no_memory(err);
  if (is_empty(&before)) return MOH_OK;
  moh__series series[2] = {series_of(&before, "before", MOH__PURPLE),
                           series_of(&after, "after", MOH__GREEN)};
  moh__chart chart = {.title = "Gradient norm before and after clipping",
                      .x_label = "step",
                      .width = HALF_WIDTH,
                      .height = HALF_HEIGHT,
                      .from_zero = true,
                      .series = series,
                      .n_series = is_empty(&after) ? 1 : 2};
  moh__chart_svg(out, &chart);
  return MOH_OK;
}

/* ---- windows ---- */

/* Of each step the mean over layers, the widest and the narrowest. */
static void layer_windows(const moh__run_log *log, double *mean, double *most,
                          double *least) {
  int32_t n = log->n_windows;
  for (int64_t i = 0; i < log->n_steps; i++) {
    double sum = 0;
    most[i] = least[i] = NAN;
    for (int32_t layer = 0; layer < n; layer++) {
      double window = (double)log->windows[i * n + layer];
      sum += window;
      if (!(window <= most[i])) most[i] = window;
      if (!(window >= least[i])) least[i] = window;
    }
    mean[i] = sum / n;
  }
}

static void draw_windows(FILE *out, const moh__run_log *log,
                         const curve curves[3]) {
  moh__series series[3] = {
      series_of(&curves[0], "mean", MOH__BLUE),
      series_of(&curves[1], "widest layer", MOH__GREEN),
      series_of(&curves[2], "narrowest layer", MOH__VERMILION)};
  series[1].dashes = series[2].dashes = "5 3";
  moh__chart chart = {.title = "Window, tokens that a query sees at most",
                      .x_label = "step",
                      .width = MOH__REPORT_WIDTH,
                      .height = HALF_HEIGHT,
                      .from_zero = true,
                      .series = series,
                      .n_series = log->n_windows > 1 ? 3 : 1};
  moh__chart_svg(out, &chart);
}

/* Nothing where windows do not adapt. */
static moh_status windows(FILE *out, const moh__run_log *log,
                          moh_error *err) {
  curve curves[3];
  size_t n = (size_t)log->n_steps;
  if (log->n_windows == 0) return MOH_OK;
  double *all = calloc(3 * n + 1, sizeof(*all));
  if (all == NULL || !curve_of(&curves[0], log, field_step)) {
    free(all);
    return no_memory(err);
  }
  curves[1] = curves[2] = curves[0]; /* the same steps */
  layer_windows(log, all, all + n, all + 2 * n);
  for (size_t i = 0; i < 3; i++)
    moh__bin_means(all + i * n, log->n_steps, curves[i].n, curves[i].y);
  draw_windows(out, log, curves);
  free(all);
  return MOH_OK;
}

moh_status moh__report_curves(FILE *out, const moh__report *report,
                              moh_error *err) {
  MOH_TRY(losses(out, report, err));
  fputs("<div class=\"pair\">\n", out);
  MOH_TRY(norms(out, &report->log, err));
  MOH_TRY(
      single(out, report, field_lr, "Learning rate", MOH__GREEN, true, err));
  fputs("</div>\n", out);
  return windows(out, &report->log, err);
}

/* ---- routers ---- */

/* Of heads or of experts, with their words. */
typedef struct loads {
  const moh__run_log *log;
  const moh__log_loads *of;
  int32_t n_shared; /* numbers of the first ones, which are not routed */
  const char *load_title, *entropy_title, *balance_title;
  step_field *balance;
} loads;

/* Column c of the table of loads, in means. */
static void load_column(const loads *l, int32_t column, double *steps,
                        int64_t n_bins, double *means) {
  int64_t n = l->log->n_steps;
  for (int64_t i = 0; i < n; i++)
    steps[i] = (double)l->of->load[i * l->of->n_columns + column];
  moh__bin_means(steps, n, n_bins, means);
}

/* The range of the colours: that of the values, but at least a quarter of the
 * mean to both sides, so that an even load looks even. */
static void color_range(moh__heat *heat, int64_t n) {
  double mean = 0, least = INFINITY, most = 0;
  moh__bin_means(heat->values, n, 1, &mean);
  for (int64_t i = 0; i < n; i++) {
    if (heat->values[i] < least) least = heat->values[i];
    if (heat->values[i] > most) most = heat->values[i];
  }
  heat->least = fmin(least, .75 * mean);
  heat->most = mean > 0 ? fmax(most, 1.25 * mean) : 1;
}

static void draw_heat(FILE *out, const loads *l, const int32_t *n_rows,
                      const double *values, int64_t n_bins) {
  const moh__run_log *log = l->log;
  moh__heat heat = {.title = l->load_title,
                    .x_label = "step",
                    .width = MOH__REPORT_WIDTH,
                    .x_first = (double)log->steps[0].step,
                    .x_last = (double)log->steps[log->n_steps - 1].step,
                    .unit = " % of tokens",
                    .scale = 100,
                    .n_groups = l->of->n_layers,
                    .n_rows = n_rows,
                    .n_columns = (int)n_bins,
                    .values = values,
                    .group_name = "layer",
                    .row_base = l->n_shared};
  color_range(&heat, n_bins * l->of->n_columns);
  moh__heat_svg(out, &heat);
}

static moh_status load_heat(FILE *out, const loads *l, moh_error *err) {
  const moh__run_log *log = l->log;
  const moh__log_loads *of = l->of;
  int64_t bins = log->n_steps < N_COLUMNS ? log->n_steps : N_COLUMNS;
  double *steps = calloc((size_t)log->n_steps, sizeof(*steps));
  double *means = calloc((size_t)(bins * of->n_columns), sizeof(*means));
  int32_t *n_rows = calloc((size_t)of->n_layers, sizeof(*n_rows));
  bool fine = steps != NULL && means != NULL && n_rows != NULL;
  if (fine) {
    for (int32_t i = 0; i < of->n_layers; i++)
      n_rows[i] = of->layers[i].n_routed;
    for (int32_t c = 0; c < of->n_columns; c++)
      load_column(l, c, steps, bins, means + c * bins);
    draw_heat(out, l, n_rows, means, bins);
  }
  free(steps);
  free(means);
  free(n_rows);
  return fine ? MOH_OK : no_memory(err);
}

/* A layer's, as a share of the most that it can be. */
static double entropy_of(const moh__log_loads *of, int64_t step,
                         int32_t layer) {
  double most = log((double)of->layers[layer].n_routed);
  double entropy = (double)of->entropy[step * of->n_layers + layer];
  return most > 0 ? entropy / most : NAN;
}

/* The mean over layers, and the lowest layer. */
static void layer_entropies(const loads *l, double *mean, double *least) {
  for (int64_t i = 0; i < l->log->n_steps; i++) {
    double sum = 0;
    least[i] = INFINITY;
    for (int32_t layer = 0; layer < l->of->n_layers; layer++) {
      double entropy = entropy_of(l->of, i, layer);
      sum += entropy;
      if (!(entropy >= least[i])) least[i] = entropy;
    }
    mean[i] = sum / l->of->n_layers;
  }
}

static void draw_entropies(FILE *out, const loads *l, curve *mean,
                           curve *least) {
  moh__series series[2] = {series_of(mean, "mean", MOH__BLUE),
                           series_of(least, "lowest layer", MOH__VERMILION)};
  series[1].dashes = "5 3";
  moh__chart chart = {.title = l->entropy_title,
                      .x_label = "step",
                      .width = HALF_WIDTH,
                      .height = HALF_HEIGHT,
                      .series = series,
                      .n_series = l->of->n_layers > 1 ? 2 : 1};
  moh__chart_svg(out, &chart);
}

static moh_status entropies(FILE *out, const loads *l, moh_error *err) {
  const moh__run_log *log = l->log;
  curve mean, least;
  size_t n = (size_t)log->n_steps;
  double *all = calloc(2 * n, sizeof(*all));
  if (all == NULL || !curve_of(&mean, log, field_step)) {
    free(all);
    return no_memory(err);
  }
  least = mean; /* the same steps */
  layer_entropies(l, all, all + n);
  moh__bin_means(all, log->n_steps, mean.n, mean.y);
  moh__bin_means(all + n, log->n_steps, least.n, least.y);
  if (!is_empty(&mean)) draw_entropies(out, l, &mean, &least);
  free(all);
  return MOH_OK;
}

static moh_status draw_loads(FILE *out, const moh__report *report,
                             const loads *l, moh_error *err) {
  if (l->of->n_layers == 0 || l->of->n_columns == 0) return MOH_OK;
  MOH_TRY(load_heat(out, l, err));
  fputs("<div class=\"pair\">\n", out);
  MOH_TRY(entropies(out, l, err));
  MOH_TRY(single(out, report, l->balance, l->balance_title, MOH__VERMILION,
                 false, err));
  fputs("</div>\n", out);
  return MOH_OK;
}

moh_status moh__report_loads(FILE *out, const moh__report *report,
                             moh_error *err) {
  loads heads = {.log = &report->log,
                 .of = &report->log.heads,
                 .n_shared = (int32_t)report->config.n_shared,
                 .load_title = "Share of tokens that used a routed head",
                 .entropy_title = "Entropy of the load, 1: all heads alike",
                 .balance_title = "Load-balance loss, mean over layers",
                 .balance = field_balance};
  MOH_TRY(draw_loads(out, report, &heads, err));
  if (report->config.heads != MOH__HEADS_ADAPTIVE) return MOH_OK;
  return single(out, report, field_heads,
                "Heads of a token, mean over layers", MOH__BLUE, false, err);
}

moh_status moh__report_expert_loads(FILE *out, const moh__report *report,
                                    moh_error *err) {
  loads experts = {
      .log = &report->log,
      .of = &report->log.experts,
      .n_shared = (int32_t)report->config.experts.n_shared,
      .load_title = "Share of tokens that used a routed expert",
      .entropy_title = "Entropy of the load, 1: all experts alike",
      .balance_title = "Load-balance loss of the experts, mean over layers",
      .balance = field_expert_balance};
  return draw_loads(out, report, &experts, err);
}

/* ---- speed ---- */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double moh__report_tokens_per_second(const moh__report *report) {
  int64_t n = report->log.n_steps;
  double *speeds = field_of(&report->log, field_speed);
  if (speeds == NULL || n == 0) {
    free(speeds);
    return NAN;
  }
  qsort(speeds, (size_t)n, sizeof(*speeds), compare);
  double median = speeds[n / 2];
  free(speeds);
  return median;
}

moh_status moh__report_speed(FILE *out, const moh__report *report,
                             moh_error *err) {
  return single(out, report, field_speed, "Training, tokens per second",
                MOH__BLUE, true, err);
}
