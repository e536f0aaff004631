/*
 * The plain reference of attention: a query at a time goes over its keys from
 * the youngest to the oldest. Without positions a score stands alone; with
 * them (CoPE) the sum of the gates goes along.
 */
#include "kernel/reference.h"

/* One query on its way; scratch holds z, [n_positions]. */
typedef struct walk {
  const moh__attention *a;
  int64_t i; /* entry */
  int64_t first;
  const real *q;
  const real *z;
  int64_t j;     /* key that was come to */
  real position; /* sum of the gates from there on, clamped */
  real gate;
  int64_t low; /* whole position at or below it, */
  real share;  /* and how far it lies above */
  real score;  /* S_ij */
} walk;

static real plain_dot(const real *x, const real *y, int64_t n) {
  real sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static const real *page_of(const moh__keys *keys, int64_t j) {
  return keys->pages + keys->page_ids[j / MOH__PANEL] * keys->page_stride;
}

/* K of a page is [d][64]: component c of key j is 64 apart from c + 1. */
static const real *key_at(const moh__attention *a, int64_t j) {
  return page_of(&a->keys, j) + j % MOH__PANEL;
}

static const real *value_at(const moh__attention *a, int64_t j) {
  return page_of(&a->keys, j) + a->d * MOH__PANEL + j % MOH__PANEL * a->d;
}

/* [n_positions][d] of the head that entry i belongs to; NULL: none. */
static const real *table_of(const moh__attention *a, int64_t i) {
  const moh__cope *c = &a->cope;
  int64_t h = 0;
  if (c->n_positions == 0) return NULL;
  while (c->start != NULL && c->start[h + 1] <= i) h++;
  return c->table + h * c->n_positions * a->d;
}

/* Before the first key of entry i. */
static walk walk_of(const moh__attention *a, int64_t i, real *z) {
  walk w = {.a = a, .i = i, .q = a->q + i * a->d, .z = z};
  w.first = moh__first_key(a, i);
  w.j = a->pos[i] + 1;
  const real *table = table_of(a, i);
  for (int64_t n = 0; n < a->cope.n_positions; n++)
    z[n] = plain_dot(w.q, table + n * a->d, a->d);
  return w;
}

/* The gate opens, and the score moves by what is between two positions. */
static void add_position(walk *w) {
  real last = (real)(w->a->cope.n_positions - 1);
  w->gate = 1 / (1 + moh__exp(-w->score));
  real sum = w->position + w->gate;
  w->position = sum < last ? sum : last; /* NaN must not become an index */
  w->low = (int64_t)w->position;
  w->share = w->position - (real)w->low;
  w->score += (1 - w->share) * w->z[w->low];
  if (w->share > 0) w->score += w->share * w->z[w->low + 1];
}

/* Goes to the next older key; false: there is none. */
static bool step(walk *w) {
  const moh__attention *a = w->a;
  if (w->j == w->first) return false;
  w->j--;
  const real *k = key_at(a, w->j);
  real sum = 0;
  for (int64_t c = 0; c < a->d; c++) sum += w->q[c] * k[c * MOH__PANEL];
  w->score = a->scale * sum;
  if (a->cope.n_positions > 0) add_position(w);
  return true;
}

static real max_score(const moh__attention *a, int64_t i, real *z) {
  walk w = walk_of(a, i, z);
  step(&w);
  real max = w.score;
  while (step(&w))
    if (!(w.score <= max)) max = w.score; /* NaN stays */
  return max;
}

void moh__reference_attention(const moh__attention *a, void *scratch) {
  for (int64_t n = 0; n < a->n; n++) {
    int64_t i = a->entries == NULL ? n : a->entries[n];
    real *o = a->o + i * a->d;
    real max = max_score(a, i, scratch);
    real sum = 0;
    for (int64_t c = 0; c < a->d; c++) o[c] = 0;
    for (walk w = walk_of(a, i, scratch); step(&w);) {
      real weight = moh__exp(w.score - max);
      const real *v = value_at(a, w.j);
      sum += weight;
      for (int64_t c = 0; c < a->d; c++) o[c] += weight * v[c];
    }
    for (int64_t c = 0; c < a->d; c++) o[c] /= sum;
    a->lse[i] = max + moh__log(sum);
  }
}

/* ---- backward ---- */

/* What z grows by from the position of the key on; 0 where it is clamped. */
static real slope(const walk *w) {
  int64_t n = w->a->cope.n_positions;
  return w->low + 1 < n ? w->z[w->low + 1] - w->z[w->low] : 0;
}

/* P_ij, and dS_ij without its factor; row_d = D_i. */
static real weight_grad(const moh__attention_grad *b, const walk *w,
                        real row_d, real *weight) {
  const moh__attention *a = &b->forward;
  const real *d_o = b->d_o + w->i * a->d;
  *weight = moh__exp(w->score - a->lse[w->i]);
  return *weight * (plain_dot(d_o, value_at(a, w->j), a->d) - row_d);
}

/* One key's part in the gradients, da_ij. */
static void pair_grad(const moh__attention_grad *b, const walk *w,
                      real weight, real da) {
  const moh__attention *a = &b->forward;
  const real *k = key_at(a, w->j);
  const real *d_o = b->d_o + w->i * a->d;
  real *dq = b->dq + w->i * a->d;
  real *dk = b->dk + w->j * b->ldk;
  real *dv = b->dv + w->j * b->ldk;
  for (int64_t c = 0; c < a->d; c++) {
    dq[c] += a->scale * da * k[c * MOH__PANEL];
    dk[c] += a->scale * da * w->q[c];
    dv[c] += weight * d_o[c];
  }
}

/* dq and de from dz. */
static void table_grad(const moh__attention_grad *b, const walk *w,
                       const real *dz) {
  const moh__attention *a = &b->forward;
  const real *table = table_of(a, w->i);
  for (int64_t n = 0; n < a->cope.n_positions; n++)
    for (int64_t c = 0; c < a->d; c++) {
      b->dq[w->i * a->d + c] += dz[n] * table[n * a->d + c];
      if (b->d_table != NULL) b->d_table[n * a->d + c] += dz[n] * w->q[c];
    }
}

/* Sum of dp_ij over all keys. */
static real position_grad(const moh__attention_grad *b, int64_t i, real row_d,
                          real *z) {
  real sum = 0;
  real weight = 0;
  if (b->forward.cope.n_positions == 0) return 0;
  for (walk w = walk_of(&b->forward, i, z); step(&w);)
    sum += weight_grad(b, &w, row_d, &weight) * slope(&w);
  return sum;
}

static void query_grad(const moh__attention_grad *b, int64_t i, real *z) {
  const moh__attention *a = &b->forward;
  int64_t n_positions = a->cope.n_positions;
  real *dz = z + n_positions;
  real row_d = plain_dot(b->d_o + i * a->d, a->o + i * a->d, a->d);
  real d_gate = position_grad(b, i, row_d, z); /* of keys up to this one */
  walk w = walk_of(a, i, z);
  for (int64_t n = 0; n < n_positions; n++) dz[n] = 0;
  while (step(&w)) {
    real weight = 0;
    real ds = weight_grad(b, &w, row_d, &weight);
    pair_grad(b, &w, weight, ds + d_gate * w.gate * (1 - w.gate));
    if (n_positions == 0) continue;
    dz[w.low] += (1 - w.share) * ds;
    if (w.share > 0) dz[w.low + 1] += w.share * ds;
    d_gate -= ds * slope(&w);
  }
  table_grad(b, &w, dz);
}

void moh__reference_attention_grad(const moh__attention_grad *b, int64_t n,
                                   void *scratch) {
  for (int64_t h = 0; h < n; h++)
    for (int64_t i = 0; i < b[h].forward.n; i++)
      query_grad(&b[h], i, scratch);
}
