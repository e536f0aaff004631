/*
 * moh bench: what skipping heads saves, against the same model with all
 * heads and against computing them and multiplying by zero. Contenders take
 * turns within a round, so that a busy machine is busy for all of them;
 * each ratio is the median over rounds.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench.h"
#include "commands.h"
#include "kernel/kernel.h"
#include "model_options.h"
#include "numbers.h"

typedef struct values {
  moh__model_values model;
  moh__list contexts, work;
  int64_t rounds, vocabulary, threads;
  bool json;
} values;

enum {
  N_CONTENDERS = 6,
  CONTEXTS_MAX = 16,
  WORKS = 3,
  ROUNDS = 15,
  ROUNDS_MAX = 1000
};

static const char *const work_names[WORKS] = {"training", "prefill",
                                              "decoding"};

static const moh__option bench_options[] = {
    {"contexts", 'c', MOH__OPTION_LIST, "N,...", "lengths of the sequence",
     "80,256,1024 as far as the model goes",
     .offset = offsetof(values, contexts)},
    {"work", 0, MOH__OPTION_LIST, "KIND,...",
     "training (forward and backward), prefill, decoding", "all three",
     .offset = offsetof(values, work)},
    {"rounds", 0, MOH__OPTION_INT, "N", "turns of every contender", "15",
     .offset = offsetof(values, rounds), .min = 1, .max = ROUNDS_MAX},
    {"vocab", 0, MOH__OPTION_INT, "N", "tokens of the vocabulary",
     "the preset's, or 1024", .offset = offsetof(values, vocabulary),
     .min = 1, .max = 1 << 24},
    {"threads", 't', MOH__OPTION_INT, "N",
     "threads that compute; with 1 the processor time of the thread is "
     "taken, else the clock",
     "1", .offset = offsetof(values, threads), .min = 1, .max = 1024},
    {"json", 0, MOH__OPTION_FLAG, NULL, "the figures as JSON", NULL,
     .offset = offsetof(values, json)},
    {.name = NULL},
};

static const moh__option_group groups[] = {
    {"Model", moh__preset_options, offsetof(values, model)},
    {"Measuring", bench_options, 0},
    {"Changes to the preset's model", moh__model_options,
     offsetof(values, model)},
    {.options = NULL},
};

/* ---- what is asked for ---- */

typedef struct plan {
  moh__config config; /* with all heads */
  const char *heads;  /* a strategy of the user's own, or NULL */
  int32_t contexts[CONTEXTS_MAX];
  int n_contexts;
  bool work[WORKS];
  int n_rounds, n_threads;
} plan;

static moh_status add_context(plan *p, int64_t n, moh_error *err) {
  if (n < 1 || n > 1 << 20)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a length in --contexts must be 1 to %d", 1 << 20);
  if (p->n_contexts == CONTEXTS_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT, "at most %d lengths",
                     CONTEXTS_MAX);
  p->contexts[p->n_contexts++] = (int32_t)n;
  if (n > p->config.max_seq_len) p->config.max_seq_len = n;
  return MOH_OK;
}

static moh_status fill_contexts(plan *p, const moh__list *list,
                                moh_error *err) {
  static const int64_t usual[] = {80, 256, 1024};
  for (int i = 0; i < list->n; i++) {
    char *end;
    int64_t n = strtoll(list->items[i], &end, 10);
    MOH_TRY(add_context(p, *end == '\0' ? n : 0, err));
  }
  for (int i = 0; list->n == 0 && i < 3; i++)
    if (i == 0 || usual[i] <= p->config.max_seq_len)
      MOH_TRY(add_context(p, usual[i], err));
  return MOH_OK;
}

static moh_status fill_work(plan *p, const moh__list *list,
                            moh_error *err) {
  for (int w = 0; w < WORKS; w++) p->work[w] = list->n == 0;
  for (int i = 0; i < list->n; i++) {
    int w = 0;
    while (w < WORKS && strcmp(list->items[i], work_names[w]) != 0) w++;
    if (w == WORKS)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--work knows training, prefill and decoding, not "
                       "'%s'",
                       list->items[i]);
    p->work[w] = true;
  }
  return MOH_OK;
}

static moh_status make_plan(const values *v, plan *p, moh_error *err) {
  MOH_TRY(
      moh__model_options_config(&v->model, "seed-train", &p->config, err));
  if (p->config.vocab_size == 0) p->config.vocab_size = 1024;
  p->config.vocab_size = moh__int_or(v->vocabulary, p->config.vocab_size);
  p->heads = v->model.heads;
  p->config.heads = MOH__HEADS_ALL;
  p->n_rounds = (int)moh__int_or(v->rounds, ROUNDS);
  p->n_threads = (int)moh__int_or(v->threads, 1);
  MOH_TRY(fill_contexts(p, &v->contexts, err));
  MOH_TRY(fill_work(p, &v->work, err));
  if (p->config.n_heads < 4 || p->config.n_heads % 4 != 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the number of heads must be a multiple of 4, to have "
                     "75 %% and 50 %% of them");
  return moh__model_options_check(&p->config, err);
}

/* ---- contenders ---- */

static void set_moh(moh__contender *c, int64_t quarters) {
  int64_t n = c->config.n_heads;
  c->config.heads = MOH__HEADS_MOH;
  c->config.n_shared = n / 4;
  c->config.k = n * (quarters - 1) / 4;
}

static moh_status make_contenders(const plan *p, moh__pool *pool,
                                  moh__bench_work work, int32_t context,
                                  moh__contender *all, moh_error *err) {
  const char *const labels[N_CONTENDERS] = {
      "all heads",     "75 %, masked", "75 %, skipped",
      "50 %, skipped", "75 %, pruned", p->heads};
  for (int i = 0; i < N_CONTENDERS; i++) {
    all[i] = (moh__contender){.label = labels[i],
                              .config = p->config,
                              .work = work,
                              .context = context,
                              .pool = pool};
    if (i == 1 || i == 2) set_moh(&all[i], 3);
    if (i == 3) set_moh(&all[i], 2);
  }
  all[0].config.heads = MOH__HEADS_ALL;
  all[1].masked = true;
  all[4].config.heads = MOH__HEADS_STATIC;
  all[4].config.n_static = p->config.n_heads * 3 / 4;
  if (p->heads == NULL) return MOH_OK;
  MOH_TRY(moh__config_set_heads(&all[5].config, p->heads, err));
  return moh__model_options_check(&all[5].config, err);
}

/* A session skips always: decoding has no masked contender. */
static bool takes_part(const moh__contender *c) {
  return c->label != NULL && !(c->masked && c->work == MOH__BENCH_DECODING);
}

/* ---- measuring ---- */

static double clock_seconds(int n_threads) {
  return n_threads == 1 ? moh__thread_seconds() : moh__now();
}

/* Seconds of one piece of work, over n_times. */
static moh_status time_work(moh__contender *c, int n_threads, int n_times,
                            double *seconds, moh_error *err) {
  double start = clock_seconds(n_threads);
  for (int i = 0; i < n_times; i++) MOH_TRY(moh__contender_run(c, err));
  *seconds = (clock_seconds(n_threads) - start) / n_times;
  return MOH_OK;
}

static moh_status measure(const plan *p, moh__contender *all,
                          moh_error *err) {
  double first = 0;
  MOH_TRY(time_work(&all[0], p->n_threads, 1, &first, err));
  MOH_TRY(time_work(&all[0], p->n_threads, 1, &first, err));
  int n_times = first < 0.01 ? (int)(0.01 / (first + 1e-6)) + 1 : 1;
  for (int round = 0; round < p->n_rounds; round++)
    for (int i = 0; i < N_CONTENDERS; i++) {
      moh__contender *c = &all[(i + round) % N_CONTENDERS];
      if (!takes_part(c)) continue;
      MOH_TRY(time_work(c, p->n_threads, n_times, &c->seconds[round], err));
    }
  return MOH_OK;
}

/* ---- results ---- */

typedef struct result {
  double seconds, low, high; /* median and quartiles */
  double ratio;              /* to all heads, median over rounds */
  double counted;            /* the same of multiply-adds */
  double kept;               /* share of the counted saving; NaN: none */
} result;

static result result_of(const moh__contender *c,
                        const moh__contender *dense, int n) {
  result r;
  double ratios[ROUNDS_MAX];
  for (int i = 0; i < n; i++) ratios[i] = c->seconds[i] / dense->seconds[i];
  r.ratio = moh__quantile(ratios, n, 0.5);
  memcpy(ratios, c->seconds, (size_t)n * sizeof(double));
  r.seconds = moh__quantile(ratios, n, 0.5);
  r.low = moh__quantile(ratios, n, 0.25);
  r.high = moh__quantile(ratios, n, 0.75);
  r.counted = moh__contender_count(c) / moh__contender_count(dense);
  r.kept = r.counted < 0.9999 ? (1 - r.ratio) / (1 - r.counted) : NAN;
  return r;
}

static void print_table(const plan *p, const moh__contender *all) {
  moh__number bytes;
  printf("\n%s, %d tokens, %d thread%s, %s kernels, %d rounds\n",
         work_names[all->work], all->context, p->n_threads,
         p->n_threads == 1 ? "" : "s", moh__kernel()->name, p->n_rounds);
  printf("  %-14s %10s  %-19s %7s %8s %6s  %s\n", "heads", "ms",
         "quartiles", "ratio", "counted", "kept", "memory");
  for (int i = 0; i < N_CONTENDERS; i++) {
    const moh__contender *c = &all[i];
    if (!takes_part(c)) continue;
    result r = result_of(c, all, p->n_rounds);
    printf("  %-14s %10.4f  %8.4f - %-8.4f %7.3f %8.3f ", c->label,
           1e3 * r.seconds, 1e3 * r.low, 1e3 * r.high, r.ratio, r.counted);
    if (isnan(r.kept))
      printf("%6s", "");
    else
      printf("%4.0f %%", 100 * r.kept);
    printf("  %s\n", moh__number_bytes(&bytes, moh__contender_bytes(c)));
  }
}

static json_t *table_json(const plan *p, const moh__contender *all) {
  json_t *rows = json_array();
  for (int i = 0; i < N_CONTENDERS; i++) {
    const moh__contender *c = &all[i];
    if (!takes_part(c)) continue;
    result r = result_of(c, all, p->n_rounds);
    json_t *row = json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:I}", "heads",
                            c->label, "seconds", r.seconds, "quartile_low",
                            r.low, "quartile_high", r.high, "ratio",
                            r.ratio, "counted_ratio", r.counted, "bytes",
                            (json_int_t)moh__contender_bytes(c));
    if (!isnan(r.kept))
      json_object_set_new(row, "kept_saving", json_real(r.kept));
    json_array_append_new(rows, row);
  }
  return json_pack("{s:s, s:i, s:i, s:s, s:i, s:o}", "work",
                   work_names[all->work], "tokens", all->context, "threads",
                   p->n_threads, "kernels", moh__kernel()->name, "rounds",
                   p->n_rounds, "contenders", rows);
}

/* One table: opens, measures, shows, closes. */
static moh_status bench_one(const plan *p, moh__pool *pool,
                            moh__bench_work work, int32_t context,
                            json_t *tables, moh_error *err) {
  moh__contender all[N_CONTENDERS];
  moh_status status = MOH_OK;
  MOH_TRY(make_contenders(p, pool, work, context, all, err));
  for (int i = 0; i < N_CONTENDERS && status == MOH_OK; i++)
    if (takes_part(&all[i]))
      status = moh__contender_open(&all[i], p->n_rounds, err);
  if (status == MOH_OK) status = measure(p, all, err);
  if (status == MOH_OK && tables != NULL)
    json_array_append_new(tables, table_json(p, all));
  else if (status == MOH_OK)
    print_table(p, all);
  fflush(stdout);
  for (int i = 0; i < N_CONTENDERS; i++) moh__contender_close(&all[i]);
  return status;
}

static moh_status bench_all(const plan *p, moh__pool *pool, json_t *tables,
                            moh_error *err) {
  for (int w = 0; w < WORKS; w++)
    for (int i = 0; p->work[w] && i < p->n_contexts; i++)
      MOH_TRY(bench_one(p, pool, (moh__bench_work)w, p->contexts[i], tables,
                        err));
  return MOH_OK;
}

static moh_status run_bench(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  plan p = {.n_contexts = 0};
  moh__pool *pool = NULL;
  MOH_TRY(make_plan(v, &p, err));
  MOH_TRY(moh__pool_new(&pool, p.n_threads, err));
  json_t *tables = v->json ? json_array() : NULL;
  moh_status status = bench_all(&p, pool, tables, err);
  if (status == MOH_OK && tables != NULL) {
    json_dumpf(tables, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
  }
  json_decref(tables);
  moh__pool_free(pool);
  return status;
}

const moh__command moh__command_bench = {
    .name = "bench",
    .summary = "what skipping heads saves: measured beside counted",
    .usage = "[OPTION]...",
    .description =
        "Times a model with random weights: all heads, a quarter and half "
        "of them skipped by the router, a quarter computed and multiplied "
        "by zero, and a quarter pruned; with --heads your own choice, too. "
        "Contenders take turns; times are "
        "medians, ratios are medians of each round's ratio to all heads. "
        "The counted ratio is that of the multiply-adds, and 'kept' the "
        "share of the counted saving that was measured.",
    .examples =
        "  moh bench --preset seed-train\n"
        "  moh bench --preset moh-s --work decoding --contexts "
        "256,2048\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_bench,
};
