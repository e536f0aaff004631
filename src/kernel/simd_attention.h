/* What attention needs in both directions, and contextual positions for it. */
#ifndef MOH_KERNEL_SIMD_ATTENTION_H
#define MOH_KERNEL_SIMD_ATTENTION_H

#include "kernel/simd.h"

enum {
  GEMM_SCRATCH = MOH__SCRATCH_BYTES / 2 /* second half: for products */
};

INLINE void *gemm_scratch(void *scratch) {
  return (char *)scratch + GEMM_SCRATCH;
}

INLINE const float *page_at(const moh__keys *keys, int64_t key) {
  return keys->pages + keys->page_ids[key / MOH__PANEL] * keys->page_stride;
}

INLINE int64_t at_most(int64_t n, int64_t limit) {
  return n < limit ? n : limit;
}

/* x = exp(x * scale - shift) over the first n of `width`, 0 behind them;
 * returns the sum. */
INLINE float exp_row(float *x, float scale, float shift, int64_t n,
                     int64_t width) {
  vf sum0 = {0};
  vf sum1 = {0};
  int64_t i = 0;
  for (; i + 2 * VL <= n; i += 2 * VL) {
    vf a = vexp_below(load(x + i) * scale - shift);
    vf b = vexp_below(load(x + i + VL) * scale - shift);
    store(x + i, a);
    store(x + i + VL, b);
    sum0 += a;
    sum1 += b;
  }
  for (; i < n; i += VL) { /* what is behind x[n - 1] may be anything */
    vf a = load_up_to(x + i, n - i, -__builtin_inff());
    a = vexp_below(a * scale - shift);
    store(x + i, a);
    sum0 += a;
  }
  for (; i < width; i += VL) store(x + i, (vf){0});
  return lanes_sum(sum0 + sum1);
}

/* ---- simd_cope.c ---- */

/* Rows of z: n_positions and the last one once more, so that there is always
 * a next one to look up. */
INLINE int64_t cope_stride(const moh__cope *c) {
  return moh__round_up(c->n_positions + 1, 16);
}

/* z of queries [i0, i0 + rows) of the list, `stride` apart; several heads: at
 * most COPE_ROWS. */
enum { COPE_ROWS = 24 };
void SIMD(cope_z)(const moh__attention *a, int64_t i0, int64_t rows,
                  float *z, void *scratch);

/* A query before a tile of keys, of which it sees those in [begin, end); what
 * lies before `begin` is hidden. */
typedef struct cope_row {
  const float *z;
  float limit; /* n_positions - 1, from which on positions are clamped */
  float scale;
  int64_t begin, end;
} cope_row;

INLINE cope_row cope_row_of(const moh__attention *a, const float *z,
                            int64_t begin, int64_t end) {
  return (cope_row){z, (float)(a->cope.n_positions - 1), a->scale,
                    begin > 0 ? begin : 0, end};
}

/* What the term is on clamped positions. */
INLINE float cope_last(const cope_row *s) { return s->z[(int64_t)s->limit]; }

/* Whether gates and look-ups are needed before `gates`, the sum of the gates
 * behind the tile, has grown further. NaN is not. */
INLINE bool cope_open(const cope_row *s, float gates) {
  return gates < s->limit;
}

/* x: products q . k become scores S. At most 512 keys; the positions must be
 * open. Gives the sum of the gates with those of this tile. */
float SIMD(cope_scores)(const cope_row *s, float *x, float gates);

/* That sum alone. */
float SIMD(cope_gates)(const cope_row *s, const float *x, float gates);

/* Backward of a page: x, products q . k, becomes P, and ds, products do . v,
 * becomes scale da, both 0 from `end` up to `width`. */
typedef struct cope_row_grad {
  cope_row row;
  int64_t width;
  float gates;  /* behind the page */
  float lse, row_d;
  float *d_gate; /* sum of dp over the keys before, moves on */
  float *dz;
} cope_row_grad;
void SIMD(cope_row_backward)(const cope_row_grad *s, float *x, float *ds);

/* Scores of keys [0, n) become too low for any weight. */
INLINE void hide(float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = -1e30f;
}

#endif
