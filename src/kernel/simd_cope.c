/*
 * Contextual positions (moh__cope in kernel.h) of one query and one tile of
 * keys at a time. Tiles are come to from the query backwards, so all that a
 * tile needs of the keys behind it is the sum of their gates. The sum never
 * falls: where it has reached the last position, all older keys have the same
 * term, and need no gates and no looking up.
 *
 * Vectors begin at multiples of their length from the tile's first key, which
 * is one of the whole sequence's: the order of additions does not depend on
 * what else is computed.
 */
#include "kernel/simd_attention.h"

enum { KEYS_MAX = 8 * MOH__PANEL };

/* ---- z ---- */

/* Rows a_rows of q (NULL: from i0 on), into rows c_rows of z. */
static void head_z(const moh__attention *a, int64_t head, int64_t rows,
                   const float *q, const int32_t *a_rows,
                   const int32_t *c_rows, float *z, void *scratch) {
  int64_t n = a->cope.n_positions;
  moh__gemm g = {.m = rows,
                 .n = n,
                 .k = a->d,
                 .a = q,
                 .a_rows = a_rows,
                 .lda = a->d,
                 .b = a->cope.packed + head * moh__packed_size(a->d, n),
                 .c = z,
                 .c_rows = c_rows,
                 .ldc = cope_stride(&a->cope)};
  SIMD(gemm)(&g, gemm_scratch(scratch));
}

/* The queries of each head among those of a block. */
static void heads_z(const moh__attention *a, int64_t i0, int64_t rows,
                    float *z, void *scratch) {
  const int32_t *start = a->cope.start;
  for (int64_t h = 0; h < a->cope.n_heads; h++) {
    int32_t entries[COPE_ROWS];
    int32_t places[COPE_ROWS];
    int64_t n = 0;
    for (int64_t r = 0; r < rows; r++) {
      int32_t e = (int32_t)row_at(a->entries, i0 + r);
      if (e < start[h] || e >= start[h + 1]) continue;
      entries[n] = e;
      places[n++] = (int32_t)r;
    }
    if (n > 0) head_z(a, h, n, a->q, entries, places, z, scratch);
  }
}

void SIMD(cope_z)(const moh__attention *a, int64_t i0, int64_t rows, float *z,
                  void *scratch) {
  int64_t n = a->cope.n_positions;
  if (a->cope.start != NULL)
    heads_z(a, i0, rows, z, scratch);
  else if (a->entries != NULL)
    head_z(a, 0, rows, a->q, a->entries + i0, NULL, z, scratch);
  else
    head_z(a, 0, rows, a->q + i0 * a->d, NULL, NULL, z, scratch);
  for (int64_t r = 0; r < rows; r++, z += cope_stride(&a->cope))
    z[n] = z[n - 1];
}

/* ---- positions ---- */

/*
 * Goes over the keys from the youngest to the oldest, by vectors, while
 * positions are open. gate and position (NULL: not wanted) get those of the
 * vectors gone over. Gives the first key of the last of these; `gates` moves.
 */
INLINE int64_t place_keys(const cope_row *s, const float *x, float *gate,
                          float *position, float *gates) {
  float sum = *gates;
  int64_t i = moh__round_up(s->end, VL);
  do {
    i -= VL;
    vf a = load_up_to(x + i, s->end - i, -__builtin_inff()) * s->scale;
    vf g = 1.0f / (1.0f + vexp(-a));
    vf p = sum + sums_from_behind(g);
    vf last = splat(s->limit);
    if (gate != NULL) store(gate + i, g);
    if (position != NULL)
      store(position + i, choose((vi)(p < last), p, last));
    sum = p[0];
  } while (i > s->begin && sum < s->limit);
  *gates = sum;
  return i;
}

float SIMD(cope_gates)(const cope_row *s, const float *x, float gates) {
  place_keys(s, x, NULL, NULL, &gates);
  return gates;
}

/* Scores of keys [from, end), which have positions, and of clamped ones
 * before them. */
INLINE void add_terms(const cope_row *s, float *x, const float *position,
                      int64_t from) {
  float last = cope_last(s);
  for (int64_t i = 0; i < from; i++) x[i] = x[i] * s->scale + last;
  for (int64_t i = from; i < s->end; i++) {
    int32_t low = (int32_t)position[i]; /* NOLINT: stored as vectors */
    float share = position[i] - (float)low;
    float z = s->z[low];
    x[i] = x[i] * s->scale + (z + share * (s->z[low + 1] - z));
  }
}

float SIMD(cope_scores)(const cope_row *s, float *x, float gates) {
  float position[KEYS_MAX];
  int64_t from = place_keys(s, x, NULL, position, &gates);
  add_terms(s, x, position, from);
  return gates;
}

/* ---- backward ---- */

/* ds = P (dP - D) of the visible keys, 0 behind them. */
INLINE void score_grads(const cope_row_grad *s, const float *p, float *ds) {
  int64_t j = 0;
  for (; j < s->row.end; j++) ds[j] = p[j] * (ds[j] - s->row_d);
  for (; j < s->width; j++) ds[j] = 0;
}

INLINE float sum_of(const float *x, int64_t n) {
  vf sum = {0};
  for (int64_t i = 0; i < n; i += VL) sum += load_up_to(x + i, n - i, 0);
  return lanes_sum(sum);
}

INLINE void scale_all(float *x, float by, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] *= by;
}

/* All positions of the page are clamped, or there is a NaN, which passes. */
static void clamped_backward(const cope_row_grad *s, float *x, float *ds) {
  const cope_row *row = &s->row;
  exp_row(x, row->scale, s->lse - cope_last(row), row->end, s->width);
  score_grads(s, x, ds);
  s->dz[(int64_t)row->limit] += sum_of(ds, row->end);
  scale_all(ds, row->scale, row->end);
}

/*
 * dz from the keys [from, end). Positions rise by at most 1 a key, so all of
 * them lie within 64 rows of the lowest. Four keys in turn have sums of their
 * own: one sum would wait for the one before with every key.
 */
static void add_dz(const cope_row_grad *s, const float *position,
                   const float *ds, int64_t from) {
  enum { TURNS = 4 };
  float sums[MOH__PANEL + 2][TURNS] = {{0}};
  int64_t end = s->row.end;
  int32_t base = (int32_t)position[end - 1];
  int32_t rows = (int32_t)position[from] + 2 - base;
  for (int64_t i = from; i < end; i++) {
    int32_t low = (int32_t)position[i];
    float upper = (position[i] - (float)low) * ds[i];
    float *to = sums[low - base] + i % TURNS;
    to[0] += ds[i] - upper;
    to[TURNS] += upper;
  }
  for (int32_t n = 0; n < rows; n++)
    s->dz[base + n] += (sums[n][0] + sums[n][1]) + (sums[n][2] + sums[n][3]);
}

/* ds becomes scale da from key `from` on: dp, the running sum of it, and the
 * gates' part. */
INLINE void gate_grads(const cope_row_grad *s, const float *position,
                       const float *gate, float *ds, int64_t from) {
  const float *z = s->row.z;
  float steep[MOH__PANEL] = {0}; /* 0 on clamped positions, too */
  float before = *s->d_gate;
  for (int64_t i = from; i < s->row.end; i++) {
    int32_t low = (int32_t)position[i];
    steep[i] = z[low + 1] - z[low];
  }
  for (int64_t i = from; i < s->row.end; i += VL) {
    vf g = load(gate + i);
    vf d = load(ds + i);
    vf d_gate = before + sums_from_before(d * load(steep + i));
    store(ds + i, (d + d_gate * g * (1.0f - g)) * s->row.scale);
    before = d_gate[VL - 1];
  }
  *s->d_gate = before;
}

void SIMD(cope_row_backward)(const cope_row_grad *s, float *x, float *ds) {
  const cope_row *row = &s->row;
  float gates = s->gates;
  if (!cope_open(row, gates)) {
    clamped_backward(s, x, ds);
    return;
  }
  float gate[MOH__PANEL] = {0};
  float position[MOH__PANEL] = {0};
  int64_t from = place_keys(row, x, gate, position, &gates);
  if (gates != gates) { /* a NaN, of which positions must not come */
    clamped_backward(s, x, ds);
    return;
  }
  add_terms(row, x, position, from);
  exp_row(x, 1, s->lse, row->end, s->width);
  score_grads(s, x, ds);
  add_dz(s, position, ds, from);
  if (from > 0) s->dz[(int64_t)row->limit] += sum_of(ds, from);
  scale_all(ds, row->scale, from);
  gate_grads(s, position, gate, ds, from);
}
