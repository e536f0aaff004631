/*
 * moh bench: what skipping heads saves, against the same model with all
 * heads and against computing them and multiplying by zero. This file reads
 * what is asked for and makes the contests; cli/bench.h has the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "commands.h"
#include "model_options.h"

typedef struct values {
  moh__model_values model;
  moh__list contexts, work, contenders, threads, precision;
  int64_t rounds, batch, vocabulary;
  bool json;
} values;

enum { CONTEXTS_MAX = 16, LONGEST = 1 << 20, ROUNDS = 15, ROUNDS_MAX = 1000 };

static const moh__option bench_options[] = {
    {"contexts", 'c', MOH__OPTION_LIST, "N,...", "lengths of the sequence",
     "80,256,1024 as far as the model goes",
     .offset = offsetof(values, contexts)},
    {"work", 0, MOH__OPTION_LIST, "KIND,...",
     "training (a whole step), prefill, decoding, attention (of one layer, "
     "forward and backward), router (its part of that)",
     "all of them", .offset = offsetof(values, work)},
    {"contenders", 0, MOH__OPTION_LIST, "KIND,...",
     "masked, 75, 50, pruned, or none, beside all heads and those of "
     "--heads",
     "the four, where a quarter of the heads is a whole number",
     .offset = offsetof(values, contenders)},
    {"threads", 't', MOH__OPTION_LIST, "N,...",
     "threads that compute, at most four numbers; with 1 the processor time "
     "of the thread is taken, else the clock",
     "1", .offset = offsetof(values, threads)},
    {"precision", 0, MOH__OPTION_LIST, "TYPE,...",
     "what matrix products compute in: f32, bf16", "f32",
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

typedef enum kind { MASKED, SKIPPED_75, SKIPPED_50, PRUNED, KINDS } kind;

static const char *const kind_names[] = {"masked", "75",   "50",
                                         "pruned", "none", NULL};

/* The user's own strategies, and the usual ones: twice for the router. */
enum {
  OWN_MAX = 8,
  CONTENDERS_MAX = 2 * (1 + KINDS + OWN_MAX),
  PRECISIONS = 2
};

typedef struct plan {
  moh__config config; /* with all heads */
  moh__config own[OWN_MAX];
  int n_own;
  bool kinds[KINDS + 1]; /* the last stands for none */
  int64_t contexts[CONTEXTS_MAX];
  int n_contexts;
  bool work[MOH__BENCH_WORKS];
  bool precisions[PRECISIONS];
  int n_threads[MOH__BENCH_POOLS_MAX];
  int n_pools;
  int n_rounds, n_seq;
} plan;

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

static moh_status fill_contexts(plan *p, const moh__list *list,
                                moh_error *err) {
  static const int64_t usual[] = {80, 256, 1024};
  MOH_TRY(read_numbers("contexts", list, LONGEST, p->contexts, CONTEXTS_MAX,
                       err));
  p->n_contexts = list->n;
  for (int i = 0; list->n == 0 && i < 3; i++)
    if (i == 0 || usual[i] <= p->config.max_seq_len)
      p->contexts[p->n_contexts++] = usual[i];
  for (int i = 0; i < p->n_contexts; i++)
    if (p->contexts[i] > p->config.max_seq_len)
      p->config.max_seq_len = p->contexts[i];
  return MOH_OK;
}

static moh_status fill_threads(plan *p, const moh__list *list,
                               moh_error *err) {
  int64_t numbers[MOH__BENCH_POOLS_MAX] = {1};
  MOH_TRY(read_numbers("threads", list, 1024, numbers, MOH__BENCH_POOLS_MAX,
                       err));
  p->n_pools = list->n > 0 ? list->n : 1;
  for (int i = 0; i < p->n_pools; i++) p->n_threads[i] = (int)numbers[i];
  return MOH_OK;
}

/* --heads, whose strategies hold no comma, as a list. */
static moh_status fill_own(plan *p, const char *text, moh_error *err) {
  char item[64];
  while (text != NULL && *text != '\0') {
    size_t n = strcspn(text, ",");
    snprintf(item, sizeof item, "%.*s", (int)n, text);
    text += text[n] == ',' ? n + 1 : n;
    if (p->n_own == OWN_MAX)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "--heads takes at most %d strategies", OWN_MAX);
    moh__config *own = &p->own[p->n_own++];
    *own = p->config;
    MOH_TRY(moh__config_set_heads(own, item, err));
    MOH_TRY(moh__model_options_check(own, err));
  }
  return MOH_OK;
}

static moh_status fill_kinds(plan *p, const moh__list *list, moh_error *err) {
  bool quarters = p->config.n_heads % 4 == 0;
  MOH_TRY(read_names("contenders", list, kind_names, p->kinds, err));
  bool asked = p->kinds[MASKED] || p->kinds[SKIPPED_75] ||
               p->kinds[SKIPPED_50] || p->kinds[PRUNED];
  if (!quarters && (asked || (list->n == 0 && p->n_own == 0)))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the number of heads must be a multiple of 4, to have "
                     "75 %% and 50 %% of them; else choose with --heads");
  for (int i = 0; i < KINDS && list->n == 0; i++) p->kinds[i] = quarters;
  return MOH_OK;
}

static moh_status make_config(const values *v, plan *p, moh_error *err) {
  moh__model_values model = v->model;
  model.heads = NULL; /* a list of them here */
  MOH_TRY(moh__model_options_config(&model, "seed-train", &p->config, err));
  if (p->config.vocab_size == 0) p->config.vocab_size = 1024;
  p->config.vocab_size = moh__int_or(v->vocabulary, p->config.vocab_size);
  p->config.heads = MOH__HEADS_ALL;
  return MOH_OK;
}

static moh_status make_plan(const values *v, plan *p, moh_error *err) {
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
  return fill_kinds(p, &v->contenders, err);
}

/* ---- contenders ---- */

typedef struct roster {
  moh__contender all[CONTENDERS_MAX];
  int n;
} roster;

static moh__contender *add(roster *r, const moh__contest *t,
                           const moh__config *config, const char *label) {
  moh__contender *c = &r->all[r->n++];
  *c = (moh__contender){.config = *config,
                        .precision = t->precision,
                        .work = t->work,
                        .context = t->context,
                        .n_seq = t->n_seq};
  snprintf(c->label, sizeof c->label, "%s", label);
  return c;
}

/* A quarter of the heads shared, and routed ones up to n quarters. */
static moh__config with_quarters(const plan *p, int64_t n) {
  moh__config config = p->config;
  config.heads = MOH__HEADS_MOH;
  config.n_shared = config.n_heads / 4;
  config.k = config.n_heads * (n - 1) / 4;
  return config;
}

/* Masked and skipped have the same model. */
static void add_kinds(roster *r, const plan *p, const moh__contest *t) {
  moh__config three = with_quarters(p, 3), two = with_quarters(p, 2);
  const moh__contender *twin = NULL;
  if (p->kinds[MASKED]) {
    moh__contender *masked = add(r, t, &three, "75 %, masked");
    masked->masked = true;
    twin = masked;
  }
  if (p->kinds[SKIPPED_75]) add(r, t, &three, "75 %, skipped")->twin = twin;
  if (p->kinds[SKIPPED_50]) add(r, t, &two, "50 %, skipped");
  if (!p->kinds[PRUNED]) return;
  moh__config pruned = p->config;
  pruned.heads = MOH__HEADS_STATIC;
  pruned.n_static = pruned.n_heads * 3 / 4;
  add(r, t, &pruned, "75 %, pruned");
}

static void add_own(roster *r, const plan *p, const moh__contest *t) {
  for (int i = 0; i < p->n_own; i++) {
    char label[40];
    moh__config_heads_text(&p->own[i], label, sizeof label);
    add(r, t, &p->own[i], label);
  }
}

/* Behind each attention that has a router, the router alone: all else goes.
 */
static void add_routers(roster *r) {
  roster old = *r;
  r->n = 0;
  for (int i = 0; i < old.n; i++) {
    if (old.all[i].masked || old.all[i].config.heads != MOH__HEADS_MOH)
      continue;
    moh__contender *whole = &r->all[r->n++];
    moh__contender *part = &r->all[r->n++];
    *whole = old.all[i];
    whole->work = MOH__BENCH_ATTENTION;
    whole->twin = NULL;
    whole->base = r->n - 2;
    *part = *whole;
    part->work = MOH__BENCH_ROUTER;
    part->twin = whole;
    snprintf(part->label, sizeof part->label, "  its router");
  }
}

static void make_roster(roster *r, const plan *p, const moh__contest *t) {
  r->n = 0;
  add(r, t, &p->config, "all heads");
  add_kinds(r, p, t);
  add_own(r, p, t);
  if (t->work == MOH__BENCH_ROUTER) add_routers(r);
}

/* ---- contests ---- */

/* Opens, lets them take turns, shows, closes. */
static moh_status hold(const plan *p, moh__contest *t, roster *r,
                       json_t *tables, moh_error *err) {
  make_roster(r, p, t);
  t->contenders = r->all;
  t->n_contenders = r->n;
  moh_status status = r->n > 0 ? moh__contest_run(t, err) : MOH_OK;
  for (int i = 0; i < t->n_pools && status == MOH_OK && r->n > 0; i++)
    status = tables != NULL ? moh__contest_json(t, i, tables, err)
                            : moh__contest_print(t, i, err);
  for (int i = r->n - 1; i >= 0; i--) moh__contender_close(&r->all[i]);
  return status;
}

static moh_status hold_all(const plan *p, moh__pool *const *pools,
                           json_t *tables, moh_error *err) {
  roster *r = calloc(1, sizeof(*r));
  if (r == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  moh_status status = MOH_OK;
  for (int w = 0; w < MOH__BENCH_WORKS; w++)
    for (int q = 0; p->work[w] && q < PRECISIONS; q++)
      for (int i = 0; p->precisions[q] && i < p->n_contexts; i++) {
        bool one = w == MOH__BENCH_PREFILL || w == MOH__BENCH_DECODING;
        moh__contest t = {.work = (moh__bench_work)w,
                          .context = (int32_t)p->contexts[i],
                          .n_seq = one ? 1 : p->n_seq,
                          .precision = (moh__precision)q,
                          .config = &p->config,
                          .n_rounds = p->n_rounds,
                          .n_pools = p->n_pools,
                          .pools = pools};
        memcpy(t.n_threads, p->n_threads, sizeof t.n_threads);
        if (status == MOH_OK) status = hold(p, &t, r, tables, err);
      }
  free(r);
  return status;
}

static moh_status run_plan(const plan *p, json_t *tables, moh_error *err) {
  moh__pool *pools[MOH__BENCH_POOLS_MAX] = {NULL};
  moh_status status = MOH_OK;
  for (int i = 0; i < p->n_pools && status == MOH_OK; i++)
    status = moh__pool_new(&pools[i], p->n_threads[i], err);
  if (status == MOH_OK) status = hold_all(p, pools, tables, err);
  for (int i = 0; i < p->n_pools; i++) moh__pool_free(pools[i]);
  return status;
}

static moh_status run_bench(const moh__call *call, moh_error *err) {
  const values *v = call->values;
  plan p = {.n_contexts = 0};
  MOH_TRY(make_plan(v, &p, err));
  json_t *tables = v->json ? json_array() : NULL;
  moh_status status = run_plan(&p, tables, err);
  if (status == MOH_OK && tables != NULL) {
    json_dumpf(tables, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
  }
  json_decref(tables);
  return status;
}

const moh__command moh__command_bench = {
    .name = "bench",
    .summary = "what skipping heads saves: measured beside counted",
    .usage = "[OPTION]...",
    .description =
        "Times a model with random weights: all heads, a quarter and half "
        "of them skipped by the router, a quarter computed and multiplied "
        "by zero, and a quarter pruned; with --heads your own choices, too "
        "(a list with commas). Contenders take turns; times and ratios to "
        "all heads are medians over rounds, 'spread' is half the distance "
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
        "\\\n    --contexts 512,2048 --precision f32,bf16\n",
    .groups = groups,
    .values_size = sizeof(values),
    .run = run_bench,
};
