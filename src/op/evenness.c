/*
 * How evenly queries attend to what they see: the entropy of a query's weights
 * as a share of the logarithm of the keys. A sample of queries is scored again
 * in plain code, after the forward pass; with its log-sum-exp,
 *   ln P_j = S_j - lse,  entropy = -sum_j P_j ln P_j.
 */
#include "op/key_pages.h"

enum { SAMPLE = 16 }; /* queries of a head that are measured */

/* One query, from the last key that it sees to the first. */
typedef struct query {
  const moh__attention_node *node;
  const real *q;
  moh__keys keys;
  int64_t first, end; /* keys [first, end) */
  real lse;
  real *scores;      /* [MOH__PANEL] of a page */
  int64_t positions; /* CoPE: rows of the table; 0: none */
  real *z;           /* [positions] q . e_n */
  real gates;        /* sum over the keys so far */
} query;

static query query_of(const moh__attention_node *node, int32_t seq,
                      int32_t head, int32_t entry, real *scratch) {
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  int64_t d = node->args.d_head;
  query s = {.node = node,
             .q = node->q->v + entry * d,
             .keys = moh__key_pages_of(&node->pages, seq, head / group),
             .first = node->first == NULL ? 0 : node->first[entry],
             .end = node->pos[entry] + 1,
             .lse = node->lse[entry],
             .scores = scratch,
             .z = scratch + MOH__PANEL};
  if (node->table == NULL) return s;
  s.positions = node->table->shape[1];
  const real *table = node->table->data + head * s.positions * d;
  for (int64_t n = 0; n < s.positions; n++)
    s.z[n] = moh__kernel()->dot(s.q, table + n * d, d);
  return s;
}

/* What a contextual position adds to a score (kernel/kernel.h). */
static real position_score(query *s, real score) {
  if (s->positions == 0) return 0;
  real last = (real)(s->positions - 1);
  s->gates += 1 / (1 + moh__exp(-score));
  real p = s->gates < last ? s->gates : last;
  real low = moh__floor(p);
  /* A NaN score must not become an index. */
  int64_t n = low >= 0 ? (int64_t)low : 0;
  int64_t next = n + 1 < s->positions ? n + 1 : n;
  return (1 - (p - low)) * s->z[n] + (p - low) * s->z[next];
}

/* Of the keys of the page that begins with key j. */
static double page_entropy(query *s, int64_t j) {
  const real *page =
      s->keys.pages + s->keys.page_ids[j / MOH__PANEL] * s->keys.page_stride;
  real *scores = s->scores;
  for (int i = 0; i < MOH__PANEL; i++) scores[i] = 0;
  for (int64_t c = 0; c < s->node->args.d_head; c++)
    for (int i = 0; i < MOH__PANEL; i++)
      scores[i] += s->q[c] * page[c * MOH__PANEL + i];
  int64_t first = s->first > j ? s->first - j : 0;
  int64_t last = s->end - j < MOH__PANEL ? s->end - j - 1 : MOH__PANEL - 1;
  double entropy = 0;
  for (int64_t i = last; i >= first; i--) {
    real score = s->node->scale * scores[i];
    score += position_score(s, score);
    double log_p = fmin(0, (double)(score - s->lse));
    entropy -= exp(log_p) * log_p;
  }
  return entropy;
}

static void measure_entry(const moh__attention_node *node, int32_t seq,
                          int32_t head, int32_t entry, void *scratch) {
  query s = query_of(node, seq, head, entry, scratch);
  moh__evenness *sum = &node->args.evenness[head];
  if (s.end - s.first < 2) return;
  double entropy = 0;
  int64_t first_page = s.first / MOH__PANEL * MOH__PANEL;
  for (int64_t j = (s.end - 1) / MOH__PANEL * MOH__PANEL; j >= first_page;
       j -= MOH__PANEL)
    entropy += page_entropy(&s, j);
  sum->sum += entropy / log((double)(s.end - s.first));
  sum->n++;
}

/* One entry of each of SAMPLE stretches. Where in its stretch differs (by the
 * golden ratio), or in sequences of equal length it would always be the same
 * positions. */
static int32_t sampled(int32_t i, int32_t n) {
  if (n <= SAMPLE) return i;
  double shift = i * 0.6180339887498949;
  return (int32_t)((i + shift - floor(shift)) * n / SAMPLE);
}

static void measure_head(void *context, int64_t head, void *scratch) {
  const moh__attention_node *node = context;
  const moh__plan *plan = node->args.plan;
  int32_t h = (int32_t)head, seq = 0, n = moh__plan_count(plan, h);
  for (int32_t i = 0; i < n && i < SAMPLE; i++) {
    int32_t entry = plan->start[h] + sampled(i, n);
    while (entry >= moh__attention_range(node, h, seq).last) seq++;
    measure_entry(node, seq, h, entry, scratch);
  }
}

void moh__attention_measure(moh__tape *tape, moh__attention_node *node) {
  if (node->args.evenness == NULL) return;
  moh__pool_run(tape->pool, node->args.n_heads, measure_head, node);
}
