/*
 * Causal attention of 8 heads of 64 on one thread, forward and backward: the
 * share of the multiply-adds that a core can do, and the time at 75 % and 50 %
 * of the heads (2 shared, 4 or 2 of 6 routed at random) against all heads.
 * Counted: 4 d multiply-adds times two a visible pair forward, 10 d backward.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "contest.h"
#include "kernel/kernel.h"
#include "sections.h"

enum { HEADS = 8, SHARED = 2, D = 64 };

/* The queries of all heads, one behind the other. */
typedef struct heads {
  int64_t n_tokens;
  int64_t start[HEADS + 1];
  int32_t *pos;
  double pairs; /* visible (query, key) pairs */
  float *q, *o, *lse, *d_o, *dq, *dk, *dv;
  const float *pages;
  const int32_t *page_ids;
  int64_t page_stride;
  void *scratch;
} heads;

/* Whether head h is among the k routed heads of a token with these scores. */
static bool chosen(const double *scores, int h, int k) {
  int above = 0;
  if (h < SHARED) return true;
  for (int i = SHARED; i < HEADS; i++) above += scores[i] > scores[h];
  return above < k;
}

static void route(heads *s, int k) {
  int64_t n = 0;
  s->pos = calloc((size_t)(s->n_tokens * HEADS), sizeof(int32_t));
  s->pairs = 0;
  for (int h = 0; h < HEADS; h++) {
    moh__rng rng = moh__rng_make(3, 0);
    s->start[h] = n;
    for (int64_t t = 0; t < s->n_tokens; t++) {
      double scores[HEADS];
      for (int i = 0; i < HEADS; i++) scores[i] = moh__rng_uniform(&rng);
      if (!chosen(scores, h, k)) continue;
      s->pairs += (double)(t + 1);
      s->pos[n++] = (int32_t)t;
    }
  }
  s->start[HEADS] = n;
}

static moh__attention forward_of(const heads *s, int h) {
  int64_t at = s->start[h];
  return (moh__attention){.n = s->start[h + 1] - at,
                          .d = D,
                          .q = s->q + at * D,
                          .pos = s->pos + at,
                          .keys = {s->pages + h * 2 * D * MOH__PANEL,
                                   s->page_stride, s->page_ids},
                          .scale = 0.125f,
                          .o = s->o + at * D,
                          .lse = s->lse + at};
}

static void run_forward(void *context) {
  const heads *s = context;
  for (int h = 0; h < HEADS; h++) {
    moh__attention a = forward_of(s, h);
    moh__kernel()->attention(&a, s->scratch);
  }
}

static void run_backward(void *context) {
  const heads *s = context;
  for (int h = 0; h < HEADS; h++) {
    int64_t at = s->start[h];
    moh__attention_grad b = {.forward = forward_of(s, h),
                             .d_o = s->d_o + at * D,
                             .dq = s->dq + at * D,
                             .dk = s->dk + h * D,
                             .dv = s->dv + h * D,
                             .ldk = (int64_t)HEADS * D};
    moh__kernel()->attention_grad(&b, 1, s->scratch);
  }
}

static void set_pages(heads *s) {
  int64_t n_pages = (s->n_tokens + MOH__PANEL - 1) / MOH__PANEL;
  int32_t *ids = calloc((size_t)n_pages, sizeof(int32_t));
  for (int64_t p = 0; p < n_pages; p++) ids[p] = (int32_t)p;
  s->page_ids = ids;
  s->page_stride = (int64_t)HEADS * 2 * D * MOH__PANEL;
  s->pages = random_floats(n_pages * s->page_stride);
}

static heads make_heads(int64_t n_tokens) {
  heads s = {.n_tokens = n_tokens};
  int64_t size = n_tokens * HEADS * D;
  set_pages(&s);
  s.q = random_floats(size);
  s.o = random_floats(size);
  s.d_o = random_floats(size);
  s.dq = random_floats(size);
  s.dk = random_floats(size);
  s.dv = random_floats(size);
  s.lse = random_floats(n_tokens * HEADS);
  s.scratch = random_floats(MOH__SCRATCH_BYTES / 4);
  return s;
}

static void print_rates(const bench_options *o, const contest *c,
                        const char *what, int first) {
  printf(
      "  %-8s %8.2f ms  %5.1f %% of peak   75 %%: %.3f (%5.1f %%)   50 %%: "
      "%.3f (%5.1f %%)   spread %.1f %%\n",
      what, 1e3 * contest_seconds(c, first),
      100 * contest_rate(c, first) / o->peak,
      contest_ratio(c, first + 1, first),
      100 * contest_rate(c, first + 1) / o->peak,
      contest_ratio(c, first + 2, first),
      100 * contest_rate(c, first + 2) / o->peak,
      100 * contest_spread(c, first));
}

static void bench_length(const bench_options *o, int64_t n_tokens) {
  static const int active[] = {6, 4, 2};
  heads s[3];
  contest c = {0};
  for (int i = 0; i < 3; i++) {
    s[i] = i == 0 ? make_heads(n_tokens) : s[0];
    route(&s[i], active[i]);
    /* of their own: backward reads what forward left */
    s[i].o = random_floats(n_tokens * HEADS * D);
    s[i].lse = random_floats(n_tokens * HEADS);
    contest_add(&c, "forward", run_forward, &s[i], s[i].pairs * 4 * D);
  }
  for (int i = 0; i < 3; i++)
    contest_add(&c, "backward", run_backward, &s[i], s[i].pairs * 10 * D);
  contest_run(&c, o->n_rounds);
  printf("T = %lld; pairs at 75 %%: %.3f, at 50 %%: %.3f of all\n",
         (long long)n_tokens, s[1].pairs / s[0].pairs,
         s[2].pairs / s[0].pairs);
  print_rates(o, &c, "forward", 0);
  print_rates(o, &c, "backward", 3);
}

void bench_attention(const bench_options *o) {
  static const int64_t lengths[] = {512, 1024, 2048};
  printf("\ncausal attention, 8 heads of 64\n");
  for (int i = 0; i < 3; i++) bench_length(o, lengths[i]);
}
