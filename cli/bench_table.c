/* The table of a contest for people: one number of threads, at most 99
 * columns wide with the usual labels. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "kernel/kernel.h"
#include "numbers.h"

typedef enum column {
  LABEL,
  MILLISECONDS,
  SPREAD,
  TOKENS,
  RATIO,
  QUARTILES,
  COUNTED,
  BYTES,
  RATE,
  KEPT,
  SPEED_UP,
  MEMORY,
  N_COLUMNS
} column;

static const struct {
  const char *title;
  int width; /* negative: to the left */
} columns[N_COLUMNS] = {
    [LABEL] = {"heads", -14},    [MILLISECONDS] = {"ms", 9},
    [SPREAD] = {"spread", 8},    [TOKENS] = {"tokens/s", 10},
    [RATIO] = {"ratio", 7},      [QUARTILES] = {"quartiles", 13},
    [COUNTED] = {"counted", 8},  [BYTES] = {"bytes", 6},
    [RATE] = {"GB/s", 6},        [KEPT] = {"kept", 8},
    [SPEED_UP] = {"x 1 thr", 8}, [MEMORY] = {"memory", 9},
};

/* Tokens per second say nothing new of one token, nothing of a part. */
static bool is_shown(const moh__contest *t, const moh__result *r, column c) {
  bool whole =
      t->work == MOH__BENCH_TRAINING || t->work == MOH__BENCH_PREFILL;
  if (t->work == MOH__BENCH_ROUTER && (c == KEPT || c == MEMORY))
    return false;
  if (c == TOKENS) return whole;
  if (c == BYTES || c == RATE) return r->bytes_read > 0;
  if (c == SPEED_UP) return !isnan(r->speed_up.median);
  return true;
}

/* Four digits, as far as there is room. */
static int decimals_of(double milliseconds) {
  if (milliseconds >= 999.95) return 0;
  return milliseconds >= 99.995   ? 1
         : milliseconds >= 9.9995 ? 2
         : milliseconds >= 0.1    ? 3
                                  : 4;
}

enum { CELL = 32 };

/* A share of the counted saving, with a star where that is of bytes. */
static void kept_text(const moh__result *r, char *text) {
  if (!isnan(r->kept))
    snprintf(text, CELL, "%.0f %%%s", 100 * r->kept,
             r->kept_of_bytes ? "*" : "");
}

static void cell_text(const moh__contender *c, const moh__result *r,
                      column which, char *text) {
  moh__number number;
  double ms = 1e3 * r->seconds.median;
  double n = (double)c->n_seq * c->context;
  text[0] = '\0';
  switch (which) {
    case LABEL:
      snprintf(text, CELL, "%s", c->label);
      return;
    case MILLISECONDS:
      snprintf(text, CELL, "%.*f", decimals_of(ms), ms);
      return;
    case SPREAD:
      snprintf(text, CELL, "%.1f %%",
               50 * (r->seconds.high - r->seconds.low) / r->seconds.median);
      return;
    case TOKENS:
      snprintf(text, CELL, "%s",
               moh__number_grouped(&number, llround(n / r->seconds.median)));
      return;
    case RATIO:
      snprintf(text, CELL, "%.3f", r->ratio.median);
      return;
    case QUARTILES:
      snprintf(text, CELL, "%.3f-%.3f", r->ratio.low, r->ratio.high);
      return;
    case COUNTED:
      snprintf(text, CELL, "%.3f", r->counted);
      return;
    case BYTES:
      snprintf(text, CELL, "%.3f", r->counted_bytes);
      return;
    case RATE:
      snprintf(text, CELL, "%.1f", 1e-9 * r->bytes_read / r->seconds.median);
      return;
    case KEPT:
      kept_text(r, text);
      return;
    case SPEED_UP:
      snprintf(text, CELL, "%.2f", r->speed_up.median);
      return;
    case MEMORY:
      snprintf(text, CELL, "%s",
               moh__number_bytes(&number, moh__contender_bytes(&r->memory)));
      return;
    case N_COLUMNS:
      return;
  }
}

/* Columns of a column: labels are as long as they are. */
static int width_of(const moh__contest *t, column c) {
  int longest = 0;
  if (c != LABEL) return columns[c].width;
  for (int i = 0; i < t->n_contenders; i++) {
    int n = (int)strlen(t->contenders[i].label);
    if (n > longest) longest = n;
  }
  return longest > -columns[c].width ? -longest : columns[c].width;
}

static const char *title_of(const moh__contest *t, int c) {
  bool experts = c == LABEL && t->config->experts.n_routed > 0;
  return experts ? "experts" : columns[c].title;
}

/* Without blanks at its end. */
static void print_row(const moh__contest *t, const moh__result *r,
                      const moh__contender *c) {
  char line[(N_COLUMNS + 1) * CELL];
  int n = snprintf(line, sizeof line, "  ");
  int end = n;
  for (int i = 0; i < N_COLUMNS; i++) {
    char text[CELL];
    if (!is_shown(t, r, i)) continue;
    if (c == NULL)
      snprintf(text, sizeof text, "%s", title_of(t, i));
    else
      cell_text(c, r, i, text);
    n += snprintf(line + n, sizeof line - (size_t)n, "%*s",
                  width_of(t, (column)i), text);
    if (text[0] != '\0') end = n;
  }
  while (end > 0 && line[end - 1] == ' ') end--;
  printf("%.*s\n", end, line);
}

static void print_title(const moh__contest *t, int pool) {
  int threads = t->n_threads[pool];
  printf("\n%s: ", moh__bench_work_names[t->work]);
  if (t->n_seq > 1) printf("%d x ", t->n_seq);
  printf("%d token%s, %s, %d thread%s (%s), %s kernels, %d round%s\n",
         t->context, t->context == 1 ? "" : "s",
         moh__precision_names[t->precision], threads, threads == 1 ? "" : "s",
         threads == 1 ? "processor time" : "clock", moh__kernel()->name,
         t->n_rounds, t->n_rounds == 1 ? "" : "s");
}

moh_status moh__contest_print(const moh__contest *t, int pool,
                              moh_error *err) {
  moh__result r;
  print_title(t, pool);
  for (int i = 0; i < t->n_contenders; i++) {
    MOH_TRY(moh__contest_result(t, i, pool, &r, err));
    if (i == 0) print_row(t, &r, NULL);
    print_row(t, &r, &t->contenders[i]);
  }
  fflush(stdout);
  return MOH_OK;
}

/* ---- where skipping pays ---- */

int32_t moh__payoff_from(const moh__payoff *p, int contender, int pool) {
  int32_t from = 0;
  for (int i = 0; i < p->n_contexts; i++) {
    bool above = false;
    for (int j = 0; j < p->n_contexts; j++)
      above = above || (p->contexts[j] >= p->contexts[i] &&
                        !(p->ratios[j][contender][pool] < 1));
    if (!above && (from == 0 || p->contexts[i] < from)) from = p->contexts[i];
  }
  return from;
}

moh_status moh__payoff_add(moh__payoff *p, const moh__contest *t,
                           moh_error *err) {
  int at = p->n_contexts++;
  p->contexts[at] = t->context;
  for (int i = 0; i < t->n_contenders; i++)
    for (int pool = 0; pool < t->n_pools; pool++) {
      moh__result r;
      MOH_TRY(moh__contest_result(t, i, pool, &r, err));
      p->ratios[at][i][pool] = r.ratio.median;
    }
  return MOH_OK;
}

/* The same choice as that of the first, which others are compared with. */
static bool is_base(const moh__contest *t, int i) {
  const moh__config *a = &t->contenders[0].config;
  const moh__config *b = &t->contenders[i].config;
  return b->heads == MOH__HEADS_ALL && a->heads == b->heads &&
         a->experts.n_routed == b->experts.n_routed;
}

static void print_payoff(const moh__payoff *p, const moh__contest *t,
                         int pool) {
  moh__number number;
  int32_t longest = 0;
  for (int i = 0; i < p->n_contexts; i++)
    if (p->contexts[i] > longest) longest = p->contexts[i];
  printf("\n%s, %s, %d thread%s: time is saved\n",
         moh__bench_work_names[t->work], moh__precision_names[t->precision],
         t->n_threads[pool], t->n_threads[pool] == 1 ? "" : "s");
  for (int i = 1; i < t->n_contenders; i++) {
    int32_t from = moh__payoff_from(p, i, pool);
    if (t->contenders[i].masked || is_base(t, i)) continue;
    printf("  %*s %s %s tokens%s\n", width_of(t, LABEL),
           t->contenders[i].label, from > 0 ? "from" : "nowhere up to",
           moh__number_grouped(&number, from > 0 ? from : longest),
           from > 0 ? " on" : "");
  }
}

void moh__payoff_print(const moh__payoff *p, const moh__contest *t) {
  if (p->n_contexts < 2 || t->n_contenders < 2 ||
      t->work == MOH__BENCH_ROUTER)
    return;
  for (int i = 0; i < t->n_pools; i++) print_payoff(p, t, i);
  fflush(stdout);
}
