/*
 * Tiled causal attention of a list of queries (the tiling of FlashAttention,
 * arXiv 2205.14135 and 2307.08691): blocks of queries against pages of keys, a
 * running maximum and sum per query, never a T x T matrix.
 *
 * A query's result does not depend on its neighbours in the list: keys are
 * taken in the same steps for all, a masked score has weight exactly 0, and
 * a step in which a query sees nothing leaves it as it was. Steps before the
 * first visible key are not made, pages before it within a step not read.
 *
 * With contextual positions steps go from the newest key to the oldest, and
 * each query carries the sum of its gates.
 */
#include "kernel/simd_attention.h"

enum {
  BQ = COPE_ROWS,      /* queries of a block */
  BK = 8 * MOH__PANEL, /* keys of a step */
  Z_FLOATS = GEMM_SCRATCH / 4 - BQ * BK /* the rest of scratch */
};

/* What goes along with the queries of a block. */
typedef struct running {
  float max[BQ];
  float sum[BQ];
  float gates[BQ];
} running;

static float max_row(const float *x, int64_t n) {
  vf best0 = splat(-__builtin_inff());
  vf best1 = best0;
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    best0 = larger(load(x + i), best0);
    best1 = larger(load(x + i + VL), best1);
  }
  for (; i < n; i += VL)
    best0 = larger(load_up_to(x + i, n - i, -__builtin_inff()), best0);
  return lanes_max(larger(best0, best1));
}

/* A block of queries and the keys of one step. */
typedef struct step {
  const moh__attention *a;
  int64_t i0, rows;
  int64_t key0, n_keys;
  int64_t skip; /* keys before the first page that is read */
  bool first;   /* nothing is in o yet */
  float *s;     /* [BQ][BK] scores, then weights */
  const float *z; /* [BQ][stride], with positions */
  void *scratch;
} step;

INLINE int64_t entry_of(const moh__attention *a, int64_t i) {
  return row_at(a->entries, i);
}

/* S[i][j] = q_i . k_j */
static void scores(const step *s) {
  const moh__attention *a = s->a;
  const int32_t *list = a->entries;
  for (int64_t j = s->skip; j < s->n_keys; j += MOH__PANEL) {
    int64_t n = at_most(s->n_keys - j, MOH__PANEL);
    moh__gemm g = {.m = s->rows,
                   .n = moh__round_up(n, 16),
                   .k = a->d,
                   .a = list == NULL ? a->q + s->i0 * a->d : a->q,
                   .a_rows = list == NULL ? NULL : list + s->i0,
                   .lda = a->d,
                   .b = page_at(&a->keys, s->key0 + j),
                   .ldb = MOH__PANEL,
                   .c = s->s + j,
                   .ldc = BK};
    SIMD(gemm)(&g, gemm_scratch(s->scratch));
  }
}

/* o_i += sum_j P_ij v_j */
static void weighted_values(const step *s) {
  const moh__attention *a = s->a;
  const int32_t *list = a->entries;
  for (int64_t j = s->skip; j < s->n_keys; j += MOH__PANEL) {
    const float *page = page_at(&a->keys, s->key0 + j);
    moh__gemm g = {.m = s->rows,
                   .n = a->d,
                   .k = at_most(s->n_keys - j, MOH__PANEL),
                   .a = s->s + j,
                   .lda = BK,
                   .b = page + a->d * MOH__PANEL,
                   .ldb = a->d,
                   .c = list == NULL ? a->o + s->i0 * a->d : a->o,
                   .c_rows = list == NULL ? NULL : list + s->i0,
                   .ldc = a->d,
                   .accumulate = !s->first || j > s->skip};
    SIMD(gemm)(&g, gemm_scratch(s->scratch));
  }
}

INLINE void scale_row(float *x, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] *= by;
}

/* Products of row r become scores after multiplication by the first and
 * addition of the second of these. */
typedef struct turned {
  float scale, shift;
} turned;

static turned turn_products(const step *s, int64_t r, int64_t hidden,
                            int64_t visible, float *x, float *gates) {
  const moh__attention *a = s->a;
  if (a->cope.n_positions == 0) return (turned){a->scale, 0};
  const float *z = s->z + r * cope_stride(&a->cope);
  cope_row row = cope_row_of(a, z, hidden, visible);
  if (!cope_open(&row, *gates)) return (turned){a->scale, cope_last(&row)};
  *gates = SIMD(cope_scores)(&row, x, *gates);
  return (turned){1, 0};
}

/* Row r of the block: its scores become weights, and its running maximum and
 * sum (and o, so far) move along. */
static void softmax_step(const step *s, int64_t r, running *run) {
  const moh__attention *a = s->a;
  int64_t e = entry_of(a, s->i0 + r);
  float *x = s->s + r * BK;
  int64_t visible = at_most(a->pos[e] + 1 - s->key0, s->n_keys);
  int64_t hidden = moh__first_key(a, e) - s->key0;
  int64_t width = moh__round_up(s->n_keys, VL);
  if (visible <= 0 || hidden >= visible) {
    memset(x, 0, (size_t)width * sizeof(float));
    return;
  }
  hide(x, hidden);
  float *max = &run->max[r];
  float *sum = &run->sum[r];
  turned t = turn_products(s, r, hidden, visible, x, &run->gates[r]);
  float m = max_row(x, visible) * t.scale + t.shift;
  if (*max > m) m = *max;
  float step_sum = exp_row(x, t.scale, m - t.shift, visible, width);
  if (*sum == 0) { /* the first keys that it sees */
    *sum = step_sum;
  } else {
    float keep = __builtin_expf(*max - m);
    *sum = *sum * keep + step_sum;
    if (keep != 1) scale_row(a->o + e * a->d, keep, a->d);
  }
  *max = m;
}

static void run_step(const step *s, running *run) {
  scores(s);
  for (int64_t r = 0; r < s->rows; r++) softmax_step(s, r, run);
  weighted_values(s);
}

static void finish_rows(const moh__attention *a, int64_t i0, int64_t rows,
                        const running *run) {
  for (int64_t r = 0; r < rows; r++) {
    int64_t e = entry_of(a, i0 + r);
    scale_row(a->o + e * a->d, 1.0f / run->sum[r], a->d);
    a->lse[e] = run->max[r] + __builtin_logf(run->sum[r]);
  }
}

static void run_block(const moh__attention *a, int64_t i0, int64_t rows,
                      void *scratch) {
  running run;
  float *z = (float *)scratch + BQ * BK;
  bool newest_first = a->newest_first || a->cope.n_positions > 0;
  int64_t last = a->pos[entry_of(a, i0 + rows - 1)];
  int64_t first_page =
      moh__first_key(a, entry_of(a, i0)) / MOH__PANEL * MOH__PANEL;
  int64_t first_step = first_page / BK;
  int64_t n_steps = last / BK + 1 - first_step;
  for (int64_t r = 0; r < rows; r++) {
    run.max[r] = -__builtin_inff();
    run.sum[r] = run.gates[r] = 0;
  }
  if (a->cope.n_positions > 0) SIMD(cope_z)(a, i0, rows, z, scratch);
  for (int64_t i = 0; i < n_steps; i++) {
    int64_t n = first_step + (newest_first ? n_steps - 1 - i : i);
    int64_t key0 = n * BK;
    step s = {.a = a,
              .i0 = i0,
              .rows = rows,
              .key0 = key0,
              .n_keys = at_most(last + 1 - key0, BK),
              .skip = key0 < first_page ? first_page - key0 : 0,
              .first = i == 0,
              .s = scratch,
              .z = z,
              .scratch = scratch};
    run_step(&s, &run);
  }
  finish_rows(a, i0, rows, &run);
}

void SIMD(attention)(const moh__attention *a, void *scratch) {
  int64_t block = at_most(BQ, Z_FLOATS / cope_stride(&a->cope));
  for (int64_t i = 0; i < a->n; i += block)
    run_block(a, i, at_most(a->n - i, block), scratch);
}
