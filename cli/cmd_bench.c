/*
 * moh bench: what skipping heads saves, against the same model with all
 * heads and against computing them and multiplying by zero; and what skipping
 * experts saves. This file reads what is asked for and makes the contests;
 * cli/bench.h has the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_plan.h"
#include "commands.h"
#include "model_options.h"

typedef struct values {
  moh__model_values model;
  moh__list contexts, work, contenders, threads, precision;
  int64_t rounds, batch, vocabulary;
  bool json;
} values;

enum { LONGEST = 1 << 20, ROUNDS = 15, ROUNDS_MAX = 1000 };

static const moh__option bench_options[] = {
    {"contexts", 'c', MOH__OPTION_LIST, "N,...", "lengths of the sequence",
     "80,256,1024 as far as the model goes",
     .offset = offsetof(values, contexts)},
    {"work", 0, MOH__OPTION_LIST, "KIND,...",
     "training (a whole step), prefill, decoding, attention (of one layer, "
     "forward and backward), router (its part of that), feed-forward (of "
     "one layer, with --experts)",
     "all of them", .offset = offsetof(values, work)},
    {"contenders", 0, MOH__OPTION_LIST, "KIND,...",
     "masked, 75, 50, pruned, or none, beside all heads and those of "
     "--heads",
     "the four, where a quarter of the heads is a whole number; with "
     "--experts none",
     .offset = offsetof(values, contenders)},
    {"threads", 't', MOH__OPTION_LIST, "N,...",
     "threads that compute, at most four numbers; with 1 the processor time "
     "of the thread is taken, else the clock",
     "1", .offset = offsetof(values, threads)},
    {"precision", 0, MOH__OPTION_LIST, "TYPE,...",
     "what matrix products compute in: f32, bf16; for prefill and decoding "
     "also f16, q8_0, q4_0",
     "f32",
     .offset = offsetof(values, precision)},
    {"batch", 'b', MOH__OPTION_INT, "N",
     "sequences of a training step, and of a layer's attention", "1",
     .offset = offsetof(values, batch), .min = 1, .max = 4096},
    {"rounds", 0, MOH__OPTION_INT, "N", "turns of every contender", "15",
     .offset = offsetof(values, rounds), .min = 1, .max = ROUNDS_MAX},
    {"vocab", 0, MOH__OPTION_INT, "N", "tokens of the vocabulary",
     "the preset's, or 1024", .offset = offsetof(values, vocabulary),
     .min = 1, .max = 1 << 24},
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

static const char *const kind_names[] = {"masked", "75",   "50",
                                         "pruned", "none", NULL};

/* Sets chosen[i] for each name of the list. */
static moh_status read_names(const char *option, const moh__list *list,
                             const char *const *names, bool *chosen,
                             moh_error *err) {
  for (int i = 0; i < list->n; i++) {
    int at = 0;
    while (names[at] != NULL && strcmp(list->items[i], names[at]) != 0) at++;
    if (names[at] == NULL) {
      char known[96] = "";
      for (int j = 0; names[j] != NULL; j++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s",
                 j == 0 ? "" : ", ", names[j]);
      }
      return moh__fail(err, MOH_ERR_ARGUMENT, "--%s knows %s, not '%s'",
                       option, known, list->items[i]);
    }
    chosen[at] = true;
  }
  return MOH_OK;
}

static moh_status read_numbers(const char *option, const moh__list *list,
                               int64_t most, int64_t *numbers, int n_max,
                               moh_error *err) {
  if (list->n > n_max)
    return moh__fail(err, MOH_ERR_ARGUMENT, "--%s takes at most %d numbers",
                     option, n_max);
  for (int i = 0; i < list->n; i++) {
    char *end;
    long long n = strtoll(list->items[i], &end, 10);
    if (*end != '\0' || n < 1 || n > most)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "a number in --%s must be 1 to %lld, not '%s'", option,
                       (long long)most, list->items[i]);
    numbers[i] = n;
  }
  return MOH_OK;
}

static moh_status fill_contexts(moh__bench_plan *p, const moh__list *list,
                                moh_error *err) {
  static const int64_t usual[] = {80, 256, 1024};
  MOH_TRY(read_numbers("contexts", list, LONGEST, p->contexts,
                       MOH__BENCH_CONTEXTS_MAX, err));
  p->n_contexts = list->n;
  for (int i = 0; list->n == 0 && i < 3; i++)
    if (i == 0 || usual[i] <= p->config.max_seq_len)
      p->contexts[p->n_contexts++] = usual[i];
  for (int i = 0; i < p->n_contexts; i++)
    if (p->contexts[i] > p->config.max_seq_len)
      p->config.max_seq_len = p->contexts[i];
  return MOH_OK;
}

static moh_status fill_threads(moh__bench_plan *p, const moh__list *list,
                               moh_error *err) {
  int64_t numbers[MOH__BENCH_POOLS_MAX] = {1};
  MOH_TRY(read_numbers("threads", list, 1024, numbers, MOH__BENCH_POOLS_MAX,
                       err));
  p->n_pools = list->n > 0 ? list->n : 1;
  for (int i = 0; i < p->n_pools; i++) p->n_threads[i] = (int)numbers[i];
  return MOH_OK;
}

/* --heads, whose strategies hold no comma, as a list. */
static moh_status fill_own(moh__bench_plan *p, const char *text,
                           moh_error *err) {
  char item[64];
  while (text != NULL && *text != '\0') {
    size_t n = strcspn(text, ",");
    snprintf(item, sizeof item, "%.*s", (int)n, text);
    text += text[n] == ',' ? n + 1 : n;
    if (p->n_own == MOH__BENCH_OWN_MAX)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--heads takes at most %d strategies",
                       MOH__BENCH_OWN_MAX);
    moh__config *own = &p->own[p->n_own++];
    *own = p->config;
    MOH_TRY(moh__config_set_heads(own, item, err));
    MOH_TRY(moh__model_options_check(own, err));
    if (own->heads == MOH__HEADS_ADAPTIVE)
      return moh__fail(
          err, MOH_ERR_ARGUMENT,
          "with random weights the number of adaptive heads says "
          "nothing: train a model, then time moh eval");
  }
  return MOH_OK;
}

static moh_status fill_kinds(moh__bench_plan *p, const moh__list *list,
                             moh_error *err) {
  bool quarters = moh__config_candidates(&p->config) % 4 == 0;
  bool experts = p->config.experts.n_routed > 0;
  MOH_TRY(read_names("contenders", list, kind_names, p->kinds, err));
  bool asked = p->kinds[MOH__BENCH_MASKED] || p->kinds[MOH__BENCH_75] ||
               p->kinds[MOH__BENCH_50] || p->kinds[MOH__BENCH_PRUNED];
  if (!quarters && (asked || (list->n == 0 && p->n_own == 0 && !experts)))
    return moh__fail(
        err, MOH_ERR_ARGUMENT,
        "the number of %s must be a multiple of 4, to have "
        "75 %% and 50 %% of them; else choose with --heads",
        p->config.route_by == MOH__ROUTE_BY_GROUP ? "KV heads" : "heads");
  for (int i = 0; i < MOH__BENCH_KINDS && list->n == 0; i++)
    p->kinds[i] = quarters && !experts;
  return MOH_OK;
}

/* What --work names must have something to measure. */
static moh_status check_parts(const moh__bench_plan *p, const moh__list *work,
                              moh_error *err) {
  bool experts = p->config.experts.n_routed > 0;
  if (work->n == 0) return MOH_OK;
  if (p->work[MOH__BENCH_FEED_FORWARD] && !experts)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--work feed-forward needs --experts");
  if (experts &&
      (p->work[MOH__BENCH_ATTENTION] || p->work[MOH__BENCH_ROUTER]))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "--work attention and --work router measure heads; "
                     "with --experts there is --work feed-forward");
  return MOH_OK;
}

static bool has_gradients(int work) {
  return work != MOH__BENCH_PREFILL && work != MOH__BENCH_DECODING;
}

/* Gradients have their own precisions; works that are not named are left
 * out. */
static moh_status check_precisions(const moh__bench_plan *p,
                                   const moh__list *work, moh_error *err) {
  for (int q = 0; q < MOH__BENCH_PRECISIONS; q++)
    for (int w = 0; w < MOH__BENCH_WORKS; w++)
      if (work->n > 0 && p->precisions[q] && p->work[w] &&
          has_gradients(w) && !moh__precision_trains((moh__precision)q))
        return moh__fail(err, MOH_ERR_ARGUMENT,
                         "--work %s has gradients, which there are none of "
                         "with --precision %s",
                         moh__bench_work_names[w], moh__precision_names[q]);
  return MOH_OK;
}

static moh_status check_router(const moh__bench_plan *p,
                               const moh__list *work, moh_error *err) {
  bool some = p->kinds[MOH__BENCH_75] || p->kinds[MOH__BENCH_50];
  for (int i = 0; i < p->n_own; i++)
    some = some || moh__config_has_router(&p->own[i]);
  if (some || work->n == 0 || !p->work[MOH__BENCH_ROUTER]) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "--work router needs a contender with a router: 75, 50, "
                   "or --heads moh:S+K");
}

static moh_status make_config(const values *v, moh__bench_plan *p,
                              moh_error *err) {
  moh__model_values model = v->model;
  model.heads = NULL; /* a list of them here */
  model.route_seed = MOH__UNSET_INT;
  model.head_mass = NAN;
  MOH_TRY(moh__model_options_config(&model, "seed-train", &p->config, err));
  if (p->config.vocab_size == 0) p->config.vocab_size = 1024;
  p->config.vocab_size = moh__int_or(v->vocabulary, p->config.vocab_size);
  p->config.heads = MOH__HEADS_ALL;
  p->config.route_seed =
      moh__int_or(v->model.route_seed, p->config.route_seed);
  return MOH_OK;
}

static moh_status make_plan(const values *v, moh__bench_plan *p,
                            moh_error *err) {
  MOH_TRY(make_config(v, p, err));
  p->n_rounds = (int)moh__int_or(v->rounds, ROUNDS);
  p->n_seq = (int)moh__int_or(v->batch, 1);
  MOH_TRY(fill_contexts(p, &v->contexts, err));
  MOH_TRY(fill_threads(p, &v->threads, err));
  MOH_TRY(read_names("work", &v->work, moh__bench_work_names, p->work, err));
  for (int w = 0; w < MOH__BENCH_WORKS && v->work.n == 0; w++)
    p->work[w] = true;
  MOH_TRY(read_names("precision", &v->precision, moh__precision_names,
                     p->precisions, err));
  if (v->precision.n == 0) p->precisions[MOH__PRECISION_F32] = true;
  MOH_TRY(moh__model_options_check(&p->config, err));
  MOH_TRY(fill_own(p, v->model.heads, err));
  MOH_TRY(fill_kinds(p, &v->contenders, err));
  MOH_TRY(check_parts(p, &v->work, err));
  MOH_TRY(check_precisions(p, &v->work, err));
  return check_router(p, &v->work, err);
}

/* ---- contests ---- */

/* Who takes part in the contest in work, and what came out so far. */
typedef struct hall {
  const moh__bench_plan *plan;
  moh__bench_roster roster;
  moh__payoff payoff;
  json_t *tables; /* NULL: text is wanted */
} hall;

static moh_status show(hall *h, const moh__contest *t, moh_error *err) {
  for (int i = 0; i < t->n_pools; i++)
    MOH_TRY(h->tables != NULL ? moh__contest_json(t, i, h->tables, err)
                              : moh__contest_print(t, i, err));
  return moh__payoff_add(&h->payoff, t, err);
}

/* Opens, lets them take turns, shows, closes. */
static moh_status hold(hall *h, moh__contest *t, moh_error *err) {
  moh__bench_roster *r = &h->roster;
  moh__bench_roster_make(r, h->plan, t);
  t->contenders = r->all;
  t->n_contenders = r->n;
  if (r->n == 0) return MOH_OK; /* no routers */
  moh_status status = moh__contest_run(t, err);
  if (status == MOH_OK) status = show(h, t, err);
  for (int i = r->n - 1; i >= 0; i--) moh__contender_close(&r->all[i]);
  return status;
}

/* One kind of work in one precision, over all lengths. */
static moh_status hold_lengths(hall *h, moh__contest *t, moh_error *err) {
  const moh__bench_plan *p = h->plan;
  bool one = t->work == MOH__BENCH_PREFILL || t->work == MOH__BENCH_DECODING;
  t->n_seq = one ? 1 : p->n_seq;
  h->payoff.n_contexts = 0;
  for (int i = 0; i < p->n_contexts; i++) {
    t->context = (int32_t)p->contexts[i];
    MOH_TRY(hold(h, t, err));
  }
  if (h->tables == NULL) moh__payoff_print(&h->payoff, t);
  return MOH_OK;
}

static moh_status hold_all(hall *h, moh__pool *const *pools, moh_error *err) {
  const moh__bench_plan *p = h->plan;
  moh__contest t = {.config = &p->config,
                    .n_rounds = p->n_rounds,
                    .n_pools = p->n_pools,
                    .pools = pools};
  memcpy(t.n_threads, p->n_threads, sizeof t.n_threads);
  for (int w = 0; w < MOH__BENCH_WORKS; w++)
    for (int q = 0; p->work[w] && q < MOH__BENCH_PRECISIONS; q++) {
      t.work = (moh__bench_work)w;
      t.precision = (moh__precision)q;
      if (p->precisions[q] &&
          (!has_gradients(w) || moh__precision_trains(t.precision)))
        MOH_TRY(hold_lengths(h, &t, err));
    }
  return MOH_OK;
}

static moh_status open_pools(const moh__bench_plan *p, hall *h,
                             moh_error *err) {
  moh__pool *pools[MOH__BENCH_POOLS_MAX] = {NULL};
  moh_status status = MOH_OK;
  for (int i = 0; i < p->n_pools && status == MOH_OK; i++)
    status = moh__pool_new(&pools[i], p->n_threads[i], err);
  if (status == MOH_OK) status = hold_all(h, pools, err);
  for (int i = 0; i < p->n_pools; i++) moh__pool_free(pools[i]);
  return status;
}

static moh_status run_bench(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  moh__bench_plan p = {.n_contexts = 0};
  MOH_TRY(make_plan(v, &p, err));
  hall *h = calloc(1, sizeof(*h));
  if (h == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  h->plan = &p;
  h->tables = v->json ? json_array() : NULL;
  moh_status status = open_pools(&p, h, err);
  if (status == MOH_OK && h->tables != NULL) {
    json_dumpf(h->tables, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
  }
  json_decref(h->tables);
  free(h);
  return status;
}

const moh__command moh__command_bench = {
    .name = "bench",
    .summary = "what skipping saves: measured beside counted",
    .usage = "[OPTION]...",
    .description =
        "Times a model with random weights: all heads, a quarter and half "
        "of them skipped by the router, a quarter computed and multiplied "
        "by zero, and a quarter pruned; with --heads your own choices, too "
        "(a list with commas). With --experts: a dense feed-forward as large "
        "as all of them, all of them computed, and those by the router "
        "alone. Contenders take turns; times and ratios to the first one "
        "are medians over rounds, 'spread' is half the distance "
        "of a time's quartiles, 'quartiles' are the ratio's. The counted "
        "ratio is that of the multiply-adds, 'bytes' that of the weights, "
        "keys and values that a token reads, and 'kept' the share of the "
        "counted saving that was measured (with *: of the bytes, which are "
        "the smaller saving). 'x 1 thr' is the speed-up over one thread.",
    .examples =
        "  moh bench --preset seed-train\n"
        "  moh bench --preset moh-s --work decoding --contexts "
        "256,2048\n"
        "  moh bench --preset moh-xs --work attention,router --threads 1,2 "
        "\\\n    --contexts 512,2048 --precision f32,bf16\n"
        "  moh bench --preset moh-xs --experts 0+2/8 --work feed-forward\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_bench,
};
