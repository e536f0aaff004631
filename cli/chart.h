/* Charts as SVG: curves over steps, and maps of values over steps. */
#ifndef MOH_CLI_CHART_H
#define MOH_CLI_CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct moh__series {
  const char *name; /* for the legend; NULL: not in it */
  const char *color;
  const char *dashes;  /* NULL: a whole line */
  double width;        /* of the line; 0: marks only */
  bool marks;          /* a point for each value */
  const double *x, *y; /* [n]; what is not finite is left out */
  int64_t n;
} moh__series;

typedef struct moh__chart {
  const char *title, *x_label;
  double width, height;
  bool log_y; /* where all values are positive */
  bool from_zero;
  const moh__series *series;
  int n_series;
} moh__chart;

void moh__chart_svg(FILE *out, const moh__chart *chart);

/* A strip for each group of rows, one below the other: value of row r in
 * column c as a colour. */
typedef struct moh__heat {
  const char *title, *x_label;
  double width;
  double x_first, x_last; /* what the columns stand for */
  double least, most;     /* values of the palest and darkest colour */
  const char *unit;       /* behind numbers in the legend */
  double scale;           /* of numbers in the legend */
  int n_groups;
  const int32_t *n_rows; /* [n_groups] */
  int n_columns;
  const double *values;   /* [all rows][n_columns]; NaN: nothing there */
  const char *group_name; /* "layer" */
  int row_base;           /* number of a group's first row */
} moh__heat;

void moh__heat_svg(FILE *out, const moh__heat *heat);

/*
 * Means over n_bins stretches of n values, strided: what is not finite is left
 * out; NaN where nothing is left. Bin i has values [i n / n_bins, (i + 1) n /
 * n_bins).
 */
void moh__bin_means(const double *values, int64_t n, int64_t n_bins,
                    double *means);

#endif
