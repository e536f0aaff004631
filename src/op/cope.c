/*
 * Attention with contextual positions (CoPE, arXiv 2405.18719), exact, one
 * query at a time. For query i and keys j <= i in its window (those before it
 * open no gate), with a_j = scale q . k_j:
 *   G_j = sigmoid(a_j),  p_j = min(sum_{m=j..i} G_m, N - 1),
 *   z_n = q . e_n,  f = floor(p_j),  w = p_j - f,
 *   c_j = (1 - w) z_f + w z_{f+1},  P = softmax(a + c),  o = sum_j P_j v_j.
 * Backward, with ds_j = P_j (do . v_j - do . o):
 *   dz_f += (1 - w) ds_j,  dz_{f+1} += w ds_j,
 *   dp_j = ds_j (z_{f+1} - z_f), 0 where p_j is clamped,
 *   dG_m = sum_{j<=m} dp_j,  da_j = ds_j + dG_j G_j (1 - G_j),
 *   dq = scale sum_j da_j k_j + sum_n dz_n e_n,  dk_j += scale da_j q,
 *   de_n += dz_n q,  dv_j += P_j do.
 */
#include <string.h>

#include "op/key_pages.h"

/* One query's quantities over its keys, in scratch. */
typedef struct query {
  int64_t first; /* key that it sees */
  int64_t n;     /* behind the last one: its position + 1 */
  int64_t d;
  const real *q;
  const real *table; /* [n_positions][d] of its head */
  int64_t n_positions;
  moh__keys keys;
  real scale;
  real *a;      /* [n] scores; da in backward */
  real *gate;   /* [n] G */
  real *p;      /* [n] positions */
  real *weight; /* [n] P; ds in backward */
  real *z;      /* [n_positions] */
  real *dz;     /* [n_positions] */
} query;

static const real *page_of(const query *s, int64_t key) {
  return s->keys.pages +
         s->keys.page_ids[key / MOH__PANEL] * s->keys.page_stride;
}

static const real *value_of(const query *s, int64_t key) {
  return page_of(s, key) + s->d * MOH__PANEL + key % MOH__PANEL * s->d;
}

static real dot(const real *x, const real *y, int64_t n) {
  real sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static int64_t page_keys(const query *s, int64_t key0) {
  return s->n - key0 < MOH__PANEL ? s->n - key0 : MOH__PANEL;
}

/* The first key of the page in which the first visible key is. */
static int64_t first_page(const query *s) {
  return s->first / MOH__PANEL * MOH__PANEL;
}

static void score_keys(const query *s) {
  for (int64_t j = first_page(s); j < s->n; j += MOH__PANEL) {
    const real *page = page_of(s, j);
    int64_t n = page_keys(s, j);
    real *a = s->a + j;
    for (int64_t i = 0; i < n; i++) a[i] = 0;
    for (int64_t c = 0; c < s->d; c++)
      for (int64_t i = 0; i < n; i++)
        a[i] += s->q[c] * page[c * MOH__PANEL + i];
    for (int64_t i = 0; i < n; i++) a[i] *= s->scale;
  }
}

/* Positions count gates from the query back to the key. */
static void place_keys(const query *s) {
  real position = 0;
  real limit = (real)(s->n_positions - 1);
  for (int64_t j = s->n - 1; j >= s->first; j--) {
    s->gate[j] = 1 / (1 + moh__exp(-s->a[j]));
    position += s->gate[j];
    s->p[j] = position < limit ? position : limit;
  }
  for (int64_t n = 0; n < s->n_positions; n++)
    s->z[n] = dot(s->q, s->table + n * s->d, s->d);
}

/* The whole positions around p, and how far it is from the lower one. */
typedef struct between {
  int64_t low, high;
  real share;
} between;

static between place_of(const query *s, int64_t j) {
  real low = moh__floor(s->p[j]);
  between b = {.share = s->p[j] - low};
  /* A NaN score must not become an index. */
  b.low = low >= 0 ? (int64_t)low : 0;
  b.high = b.low + 1 < s->n_positions ? b.low + 1 : b.low;
  return b;
}

/* Fills everything up to the weights P. */
static void weigh_keys(const query *s) {
  score_keys(s);
  place_keys(s);
  real max = 0;
  for (int64_t j = s->first; j < s->n; j++) {
    between b = place_of(s, j);
    s->weight[j] =
        s->a[j] + (1 - b.share) * s->z[b.low] + b.share * s->z[b.high];
    if (j == s->first || s->weight[j] > max) max = s->weight[j];
  }
  real sum = 0;
  for (int64_t j = s->first; j < s->n; j++) {
    s->weight[j] = moh__exp(s->weight[j] - max);
    sum += s->weight[j];
  }
  for (int64_t j = s->first; j < s->n; j++) s->weight[j] /= sum;
}

/* Arrays for n keys, one behind the other in scratch. */
static query query_of(const moh__attention_node *node, int32_t seq, int32_t h,
                      int32_t entry, void *scratch) {
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  query s = {.first = node->first == NULL ? 0 : node->first[entry],
             .n = node->pos[entry] + 1,
             .d = node->args.d_head};
  s.q = node->q->v + entry * s.d;
  s.n_positions = node->table->shape[1];
  s.table = node->table->data + h * s.n_positions * s.d;
  s.keys = moh__key_pages_of(&node->pages, seq, h / group);
  s.scale = node->scale;
  s.a = scratch;
  s.gate = s.a + s.n;
  s.p = s.gate + s.n;
  s.weight = s.p + s.n;
  s.z = s.weight + s.n;
  s.dz = s.z + s.n_positions;
  return s;
}

static void forward_head(const moh__attention_node *node, int32_t seq,
                         int32_t h, void *scratch) {
  moh__entry_range range = moh__attention_range(node, h, seq);
  for (int32_t e = range.first; e < range.last; e++) {
    query s = query_of(node, seq, h, e, scratch);
    weigh_keys(&s);
    real *o = node->o->v + e * s.d;
    memset(o, 0, (size_t)s.d * sizeof(real));
    for (int64_t j = s.first; j < s.n; j++) {
      const real *v = value_of(&s, j);
      for (int64_t c = 0; c < s.d; c++) o[c] += s.weight[j] * v[c];
    }
  }
}

static void forward_task(void *context, int64_t task, void *scratch) {
  const moh__attention_node *node = context;
  int32_t n_heads = node->args.n_heads;
  forward_head(node, (int32_t)(task / n_heads), (int32_t)(task % n_heads),
               scratch);
}

/* weight becomes ds, and dz, dp, dG and da follow; a becomes da. */
static void score_grads(const query *s, const real *d_o, real row_d) {
  memset(s->dz, 0, (size_t)s->n_positions * sizeof(real));
  real d_gate = 0; /* running sum of dp over keys up to this one */
  for (int64_t j = s->first; j < s->n; j++) {
    real dp_weight = dot(d_o, value_of(s, j), s->d);
    real ds = s->weight[j] * (dp_weight - row_d);
    between b = place_of(s, j);
    s->dz[b.low] += (1 - b.share) * ds;
    s->dz[b.high] += b.share * ds;
    d_gate += ds * (s->z[b.high] - s->z[b.low]); /* 0 where clamped */
    s->a[j] = ds + d_gate * s->gate[j] * (1 - s->gate[j]);
  }
}

static void query_grad(const query *s, real *dq) {
  for (int64_t j = first_page(s); j < s->first; j++) s->a[j] = 0;
  for (int64_t j = first_page(s); j < s->n; j += MOH__PANEL) {
    const real *page = page_of(s, j);
    for (int64_t c = 0; c < s->d; c++)
      dq[c] +=
          s->scale * dot(s->a + j, page + c * MOH__PANEL, page_keys(s, j));
  }
  for (int64_t n = 0; n < s->n_positions; n++)
    for (int64_t c = 0; c < s->d; c++)
      dq[c] += s->dz[n] * s->table[n * s->d + c];
}

static void backward_query(const moh__attention_node *node, const query *s,
                           int32_t entry, real *dk, real *dv, real *de) {
  int64_t d = s->d;
  int64_t ld = node->k->cols;
  const real *d_o = node->o->g + entry * d;
  weigh_keys(s);
  for (int64_t j = s->first; j < s->n; j++)
    for (int64_t c = 0; c < d; c++) dv[j * ld + c] += s->weight[j] * d_o[c];
  score_grads(s, d_o, dot(d_o, node->o->v + entry * d, d));
  query_grad(s, node->q->g + entry * d);
  for (int64_t j = s->first; j < s->n; j++)
    for (int64_t c = 0; c < d; c++)
      dk[j * ld + c] += s->scale * s->a[j] * s->q[c];
  for (int64_t n = 0; n < s->n_positions; n++)
    for (int64_t c = 0; c < d; c++) de[n * d + c] += s->dz[n] * s->q[c];
}

static void backward_head(const moh__attention_node *node, int32_t seq,
                          int32_t h, int32_t g, void *scratch) {
  moh__entry_range range = moh__attention_range(node, h, seq);
  int64_t d = node->args.d_head;
  int64_t at = node->args.batch->seq_start[seq] * node->k->cols + g * d;
  real *de = node->table->grad + h * node->table->shape[1] * d;
  for (int32_t e = range.first; e < range.last; e++) {
    query s = query_of(node, seq, h, e, scratch);
    backward_query(node, &s, e, node->k->g + at, node->v->g + at, de);
  }
}

/* A task is a KV head, all sequences in order: its heads' tables are its
 * own. */
static void backward_task(void *context, int64_t task, void *scratch) {
  const moh__attention_node *node = context;
  int32_t g = (int32_t)task;
  int32_t group = node->args.n_heads / node->args.n_kv_heads;
  for (int32_t s = 0; s < node->args.batch->n_seq; s++)
    for (int32_t h = g * group; h < (g + 1) * group; h++)
      backward_head(node, s, h, g, scratch);
}

static void cope_backward(moh__tape *tape, void *context) {
  moh__attention_node *node = context;
  moh__pool_run(tape->pool, node->args.n_kv_heads, backward_task, node);
}

moh__tensor *moh__op_attention_cope(moh__tape *tape, moh__tensor *q,
                                    moh__tensor *k, moh__tensor *v,
                                    moh__param *table,
                                    const moh__attention_args *args) {
  moh__attention_node node = {.table = table};
  if (!moh__attention_begin(tape, &node, args, q, k, v, cope_backward))
    return node.o;
  int64_t n_tasks = (int64_t)args->n_heads * args->batch->n_seq;
  moh__pool_run(tape->pool, n_tasks, forward_task, &node);
  return node.o;
}
