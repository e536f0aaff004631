/* Who takes part in a contest: all heads, the usual contenders and the
 * user's own; for the router, those that have one; or experts. */
#include <stdio.h>

#include "bench_plan.h"

static moh__contender *add(moh__bench_roster *r, const moh__contest *t,
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

/* A quarter of the heads (or KV groups) shared, and routed ones up to n
 * quarters. */
static moh__config with_quarters(const moh__bench_plan *p, int64_t n) {
  moh__config config = p->config;
  config.heads = MOH__HEADS_MOH;
  config.n_shared = moh__config_candidates(&config) / 4;
  config.k = moh__config_candidates(&config) * (n - 1) / 4;
  return config;
}

/* Masked and skipped have the same model. */
static void add_kinds(moh__bench_roster *r, const moh__bench_plan *p,
                      const moh__contest *t) {
  moh__config three = with_quarters(p, 3), two = with_quarters(p, 2);
  const moh__contender *twin = NULL;
  if (p->kinds[MOH__BENCH_MASKED]) {
    moh__contender *masked = add(r, t, &three, "75 %, masked");
    masked->masked = true;
    twin = masked;
  }
  if (p->kinds[MOH__BENCH_75])
    add(r, t, &three, "75 %, skipped")->twin = twin;
  if (p->kinds[MOH__BENCH_50]) add(r, t, &two, "50 %, skipped");
  if (!p->kinds[MOH__BENCH_PRUNED]) return;
  moh__config pruned = p->config;
  pruned.heads = MOH__HEADS_STATIC;
  pruned.n_static = pruned.n_heads * 3 / 4;
  add(r, t, &pruned, "75 %, pruned");
}

static void add_own(moh__bench_roster *r, const moh__bench_plan *p,
                    const moh__contest *t) {
  for (int i = 0; i < p->n_own; i++) {
    char label[40];
    moh__config_heads_label(&p->own[i], label, sizeof label);
    add(r, t, &p->own[i], label);
  }
}

/* A dense feed-forward as large as all experts together, all of these, and what
 * skipping makes of them. */
static void add_experts(moh__bench_roster *r, const moh__bench_plan *p,
                        const moh__contest *t) {
  const moh__experts *x = &p->config.experts;
  char text[24], label[40];
  moh__config dense = p->config;
  dense.d_ff = (x->n_shared + x->n_routed) * x->width;
  dense.experts.n_routed = 0;
  add(r, t, &dense, "dense, as large");
  moh__contender *all = add(r, t, &p->config, "all experts");
  all->masked = true;
  moh__config_experts_text(&p->config, text, sizeof text);
  snprintf(label, sizeof label, "%s, skipped", text);
  add(r, t, &p->config, label)->twin = all;
}

/* Experts have no part in attention. */
static bool has_contest(const moh__bench_plan *p, const moh__contest *t) {
  bool experts = p->config.experts.n_routed > 0;
  if (t->work == MOH__BENCH_FEED_FORWARD) return experts;
  bool attention =
      t->work == MOH__BENCH_ATTENTION || t->work == MOH__BENCH_ROUTER;
  return !(experts && attention);
}

/* Behind each attention that has a router, the router alone: all else goes.
 */
static void add_routers(moh__bench_roster *r) {
  moh__bench_roster old = *r;
  r->n = 0;
  for (int i = 0; i < old.n; i++) {
    if (old.all[i].masked || !moh__config_has_router(&old.all[i].config))
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

void moh__bench_roster_make(moh__bench_roster *r, const moh__bench_plan *p,
                            const moh__contest *t) {
  r->n = 0;
  if (!has_contest(p, t)) return;
  if (p->config.experts.n_routed > 0)
    add_experts(r, p, t);
  else
    add(r, t, &p->config, "all heads");
  add_kinds(r, p, t);
  add_own(r, p, t);
  if (t->work == MOH__BENCH_ROUTER) add_routers(r);
}
