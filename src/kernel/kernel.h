/*
 * Compute kernels: work on arrays of `real`, know rows, never a plan.
 *
 * One table of functions, chosen once at start: the plain reference
 * (complete, readable, the only one built in double), or one source per
 * kernel compiled for baseline x86-64, AVX2 + FMA, AVX-512, or NEON.
 * MOH_CPU=reference, base, avx2, avx512 or avx512bf16 overrides the choice.
 *
 * The rule of bits. Every element of a matrix product starts from the value
 * that C holds and adds its terms with k ascending, one multiply-add at a
 * time, whatever the shape of a tile, the row lists, the operand's layout
 * or the number of threads. Adding 0 x w then changes nothing: skipping a
 * row gives the same bits as computing it with a zero factor.
 */
#ifndef MOH_KERNEL_KERNEL_H
#define MOH_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/blocks.h"
#include "base/pool.h"
#include "base/real.h"
#include "base/status.h"

enum {
  MOH__PANEL = 64,    /* outputs in a weight panel; keys in a page */
  MOH__MAX_HEAD = 256 /* largest d_head: attention scratch is sized for it */
};

/* Width of panel p of n outputs: 64, the last one rounded up to 16. */
static inline int64_t moh__panel_width(int64_t n, int64_t p) {
  int64_t left = n - p * MOH__PANEL;
  return left >= MOH__PANEL ? MOH__PANEL : (left + 15) / 16 * 16;
}

/* Elements of a packed (k, n) operand. */
static inline int64_t moh__packed_size(int64_t k, int64_t n) {
  return k * ((n + 15) / 16 * 16);
}

/* The upper half of an IEEE 754 binary32: 8 bits of exponent, 7 of the
 * significand. */
typedef uint16_t moh__bf16;

/* The same in bf16, where k is rounded up to even. */
static inline int64_t moh__packed_size_bf16(int64_t k, int64_t n) {
  return moh__packed_size((k + 1) / 2 * 2, n);
}

/*
 * Weights as blocks of f16, q8_0 or q4_0 (base/blocks.h). Panels have the
 * columns and places of f32 ones, with moh__packed_column_bytes for a column:
 *   f16   (k, j) at element k * width + j of its panel;
 *   q8_0  for each block of 32 in depth the scales, f16 [width], and the
 *         integers plus 128 as [8][width][4], four neighbours in k together;
 *   q4_0  the scales, and [4][width][4] bytes: the lower half of byte i of row
 *         r is k = 4 r + i, the upper one k = 16 + 4 r + i, plus 8.
 */
enum { MOH__BLOCK = 32 };

static inline bool moh__is_integers(moh__block_type type) {
  return type == MOH__BLOCK_Q8_0 || type == MOH__BLOCK_Q4_0;
}

/* With integers, k is a multiple of 32. */
static inline int64_t moh__packed_column_bytes(moh__block_type type,
                                               int64_t k) {
  return k / moh__block_elements(type) * (int64_t)moh__block_bytes(type);
}
static inline int64_t moh__packed_bytes(moh__block_type type, int64_t k,
                                        int64_t n) {
  return moh__packed_column_bytes(type, k) * ((n + 15) / 16 * 16);
}

/*
 * 32 neighbours of a row of A, rounded for products with integers: scale is
 * their largest magnitude / 127, q is A / scale to the nearest integer.
 * Weights have no sign in memory, so sums of products begin at `start`: the sum
 * of q times -128 (q8_0) or -8 (q4_0).
 */
typedef struct moh__codes {
  int8_t q[MOH__BLOCK];
  float scale;
  int32_t start;
} moh__codes;

/*
 * C[cr(i)][j] (+)= sum over k ascending of A(i, k) B(k, j),
 * i < m, j < n. Rows are a base plus 32-bit indices; NULL means i itself.
 *
 * gemm:    A(i, k) = a[ar(i) * lda + k]; cr(i) may scatter.
 * gemm_at: A(i, k) = a[ak(k) * lda + i] (A transposed), B plain with rows
 *          by bk(k): weight gradients. c_rows must be NULL.
 * B is packed in panels, (k, j) at b + 64 p k_total + k * width(p) + j - 64 p
 * with p = j / 64, or plain with rows ldb apart (ldb > 0). Rows of C that
 * c_rows names must be distinct.
 *
 * bf16: both operands are rounded to bf16 (to nearest, ties to even) and
 * products added up in f32, by the same rule. gemm's B is then packed, in b16,
 * by pairs of k, the first of a pair in the upper half of 32 bits: (k, j) at
 * b16 + 64 p k_even + (k / 2 * width(p) + j - 64 p) * 2 + 1 - k % 2, with
 * k_even the depth rounded up to even, and 0 where that exceeds k.
 *
 * f16 (type, packed in `blocks`): B is exact in f32, and all else as in f32.
 * q8_0, q4_0: A is read from `codes`. An element's chain has one term for each
 * block of 32, (scale of A * scale of B) * the exact sum of integers.
 */
typedef struct moh__gemm {
  int64_t m, n, k;
  const real *a;
  int64_t lda;
  const int32_t *a_rows; /* gemm: [m] or NULL; gemm_at: [k] or NULL */
  const real *b;
  int64_t ldb; /* 0: packed panels */
  const moh__bf16 *b16;
  moh__block_type type; /* of packed B: f32, or */
  const void *blocks;
  const moh__codes *codes; /* row r of A at codes + r * codes_ld */
  int64_t codes_ld;
  const int32_t *b_rows; /* gemm_at: [k] or NULL */
  real *c;
  int64_t ldc;
  const int32_t *c_rows; /* gemm: [m] or NULL */
  bool accumulate;       /* start from C; otherwise from 0 */
  bool bf16;
} moh__gemm;

/* A plain operand to be packed into panels as moh__gemm has them, in f32 (dst,
 * moh__packed_size) or in bf16 (dst16, moh__packed_size_bf16). */
typedef struct moh__pack {
  const real *src;
  int64_t ld;
  int64_t k, n;
  bool transposed; /* B(k, j) = src[j * ld + k]; else src[k * ld + j] */
  real *dst;
  moh__bf16 *dst16; /* NULL: dst is filled */
} moh__pack;

/*
 * Keys and values of one KV head of one sequence, in pages of 64 keys: page
 * p is at pages + page_ids[p] * page_stride and holds K transposed,
 * [d_head][64], then V, [64][d_head]. What lies behind the last key is
 * never used.
 */
typedef struct moh__keys {
  const real *pages;
  int64_t page_stride; /* in elements */
  const int32_t *page_ids;
} moh__keys;

/*
 * Contextual positions (CoPE, arXiv 2405.18719). With the scaled scores a_ij =
 * scale q_i . k_j of the keys that query i sees (the others open no gate),
 *   G_ij = sigmoid(a_ij),  p_ij = min(sum_{m=j..i} G_im, n_positions - 1),
 *   z_i[n] = q_i . e_n,  f = floor(p_ij),  w = p_ij - f,
 *   c_ij = (1 - w) z_i[f] + w z_i[f + 1],  S_ij = a_ij + c_ij.
 * Backward, with dS_ij as below but for its factor `scale`:
 *   dz_i[f] += (1 - w) dS_ij,  dz_i[f + 1] += w dS_ij,
 *   dp_ij = dS_ij (z_i[f + 1] - z_i[f]), 0 where p_ij is clamped,
 *   dG_im = sum_{j<=m} dp_ij,  da_ij = dS_ij + dG_ij G_ij (1 - G_ij),
 *   dq_i += scale sum_j da_ij k_j + sum_n dz_i[n] e_n,
 *   dk_j += scale sum_i da_ij q_i,  de_n += sum_i dz_i[n] q_i.
 */
typedef struct moh__cope {
  int64_t n_positions; /* 0: none */
  const real *table;   /* [n_heads][n_positions][d] e */
  /* The same as gemm's operands, one behind the other: (d, n_positions), and
   * (n_positions, d) for backward. The reference does without. */
  const real *packed, *packed_back;
  /* The heads whose queries are in the list: entries of head h are those in
   * [start[h], start[h + 1]). One head needs no start. */
  int64_t n_heads;
  const int32_t *start;
} moh__cope;

enum { MOH__COPE_MAX = 1 << 13 }; /* n_positions: scratch is sized for it */

/*
 * Causal softmax attention of a list of queries of one sequence over the keys
 * that each may see: key j for a query at position pos[i] when first[i] <= j <=
 * pos[i]. Pages before the first of these are not read.
 * The queries are those of one head, or of all heads that share these keys,
 * so that a tile of keys is read once for all of them. Never forms a T x T
 * matrix.
 *   S_ij = scale q_i . k_j,  P = softmax_j(S),  o_i = sum_j P_ij v_j
 */
typedef struct moh__attention {
  int64_t n;          /* queries */
  int64_t d;          /* d_head */
  const real *q;      /* [entries][d] */
  const int32_t *pos; /* [entries], ascending along the list */
  const int32_t *first; /* [entries], never falling along it; NULL: 0 */
  /* The list: query i is entry entries[i] of q, pos, first, o and lse; NULL:
   * i. */
  const int32_t *entries;
  moh__keys keys;
  real scale;
  moh__cope cope;
  bool newest_first; /* tiles of keys are taken from the last to the first, as
                        always with positions */
  real *o;           /* [entries][d] */
  real *lse;         /* [entries] log sum_j exp(S_ij) */
} moh__attention;

static inline int64_t moh__first_key(const moh__attention *a, int64_t entry) {
  return a->first == NULL ? 0 : a->first[entry];
}

/*
 * Backward of the above for one head. With D_i = do_i . o_i:
 *   dS_ij = P_ij (do_i . v_j - D_i),  dq_i += scale sum_j dS_ij k_j,
 *   dk_j += scale sum_i dS_ij q_i,    dv_j += sum_i P_ij do_i
 * dk, dv: key j at dk + j * ldk. All three accumulate.
 */
typedef struct moh__attention_grad {
  moh__attention forward; /* q, o, lse as forward left them; no list */
  const real *d_o;        /* [n][d] */
  real *dq;               /* [n][d] */
  real *dk;
  real *dv;
  int64_t ldk;
  real *d_table; /* [n_positions][d], accumulates; NULL: not wanted */
} moh__attention_grad;

/*
 * One step of Adam (Kingma and Ba, arXiv 1412.6980) with weight decay:
 * apart from the gradient (`decay`, AdamW: Loshchilov and Hutter, arXiv
 * 1711.05101, algorithm 2) or in it (`l2`: g += l2 w). With v_max, AMSGrad:
 * the largest v so far takes v's place in the step (Reddi et al., ICLR
 * 2018).
 */
typedef struct moh__adamw {
  real lr, beta1, beta2, eps, decay, l2;
  real correct1, correct2; /* 1 - beta^step */
  real grad_scale;         /* clipping: g is used as g * grad_scale */
} moh__adamw;

typedef struct moh__kernels {
  const char *name;
  void (*pack)(const moh__pack *p);
  /* k numbers to k / 32 codes for weights of a type; where one is not finite
   * the scale is NaN, and below 2^-100 all are 0 */
  void (*encode)(moh__codes *dst, moh__block_type type, const real *x,
                 int64_t k);
  /* matrix products on one thread; scratch: MOH__SCRATCH_BYTES */
  void (*gemm)(const moh__gemm *g, void *scratch);
  void (*gemm_at)(const moh__gemm *g, void *scratch);
  void (*attention)(const moh__attention *a, void *scratch);
  /* of n heads that share keys, dk and dv: a tile of keys is read, and its
   * gradients are written, once for all heads */
  void (*attention_grad)(const moh__attention_grad *a, int64_t n,
                         void *scratch);
  /* rows: n elements each */
  real (*dot)(const real *x, const real *y, int64_t n);
  real (*sum)(const real *x, int64_t n);
  real (*max)(const real *x, int64_t n); /* n > 0; NaN is passed on */
  void (*add)(real *y, const real *x, int64_t n);           /* y += x */
  void (*axpy)(real *y, real a, const real *x, int64_t n);  /* y += a x */
  void (*scale)(real *y, real a, const real *x, int64_t n); /* y = a x */
  /* y = (x - shift) * a * gain; gain may be NULL (all ones) */
  void (*scale_gain)(real *y, const real *x, real shift, real a,
                     const real *gain, int64_t n);
  /* x = exp(x - shift); returns the sum */
  real (*exp_sum)(real *x, real shift, int64_t n);
  /* y = silu(gate) * up, silu(z) = z / (1 + exp(-z)) */
  void (*swiglu)(real *y, const real *gate, const real *up, int64_t n);
  /* dgate += dy up silu'(gate), dup += dy silu(gate) */
  void (*swiglu_grad)(real *dgate, real *dup, const real *dy,
                      const real *gate, const real *up, int64_t n);
  /* y = gelu(by x), gelu(z) = z Phi(z) (arXiv 1606.08415) with the error
   * function, to 1e-7; slope = gelu'(by x), NULL: not wanted */
  void (*gelu)(real *y, real *slope, const real *x, real by, int64_t n);
  void (*tanh)(real *y, const real *x, real by, int64_t n); /* of by x */
  double (*sum_squares)(const real *x, int64_t n); /* added up in double */
  /* v_max may be NULL */
  void (*adamw)(const moh__adamw *a, real *w, const real *g, real *m, real *v,
                real *v_max, int64_t n);
} moh__kernels;

/* Plain loops in `real`: what every other table is compared with. */
extern const moh__kernels moh__kernels_reference;

/* The table in use. The first call chooses; thread safe. */
const moh__kernels *moh__kernel(void);

/* A table by name ("reference", "base", "avx2", ...), NULL when this
 * build or this processor has none such. For tests and benchmarks. */
const moh__kernels *moh__kernel_named(const char *name);

/* Replaces the table in use; for tests and benchmarks, between jobs. */
void moh__kernel_use(const moh__kernels *table);

/* Narrows a product to the n columns of C from j on; j is a multiple of 64. */
static inline void moh__gemm_columns(moh__gemm *g, int64_t j, int64_t n) {
  g->n = n;
  g->c += j;
  if (g->blocks != NULL)
    g->blocks = (const char *)g->blocks +
                j * moh__packed_column_bytes(g->type, g->k);
  else if (g->b16 != NULL)
    g->b16 += j * ((g->k + 1) / 2 * 2);
  else
    g->b += g->ldb == 0 ? j * g->k : j;
}

/* Rows of A from row i on, where they are not listed. */
static inline void moh__gemm_skip_rows(moh__gemm *g, int64_t i) {
  g->a += i * g->lda;
  if (g->codes != NULL) g->codes += i * g->codes_ld;
}

/* gemm and gemm_at over a pool: the rows and columns of C are cut into
 * pieces, so the result does not depend on the number of threads. */
void moh__gemm_run(moh__pool *pool, const moh__gemm *g);
void moh__gemm_at_run(moh__pool *pool, const moh__gemm *g);

/* Tasks with so many multiply-adds in all: in the calling thread alone when
 * waking others would take longer. */
void moh__tasks_run(moh__pool *pool, int64_t n_tasks, int64_t work,
                    moh__task_fn *fn, void *context);

/* Runs fn(context, begin, end, scratch) over [0, n) in pieces of `grain`. */
typedef void moh__range_fn(void *context, int64_t begin, int64_t end,
                           void *scratch);
void moh__range_run(moh__pool *pool, int64_t n, int64_t grain,
                    moh__range_fn *fn, void *context);

enum { MOH__GRAIN = 1 << 14 }; /* elements worth a task, row by row */

/* The same over rows of `width` elements, in pieces of some MOH__GRAIN. */
void moh__rows_run(moh__pool *pool, int64_t n_rows, int64_t width,
                   moh__range_fn *fn, void *context);

/* Sets n elements to 0. */
void moh__clear_run(moh__pool *pool, real *x, int64_t n);

/* Packs B with the table in use: transposed, B(k, j) = src[j * ld + k] (a
 * weight as files hold it: one row of k inputs for each of n outputs), or by
 * rows, B(k, j) = src[k * ld + j] (the same weight in backward). */
void moh__pack_transposed(real *dst, const real *src, int64_t ld, int64_t k,
                          int64_t n);
void moh__pack_rows(real *dst, const real *src, int64_t ld, int64_t k,
                    int64_t n);
void moh__pack_transposed_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                               int64_t k, int64_t n);
void moh__pack_rows_bf16(moh__bf16 *dst, const real *src, int64_t ld,
                         int64_t k, int64_t n);

/* Packs n outputs of k inputs, whose blocks are rows row_bytes apart. */
void moh__pack_blocks(void *dst, moh__block_type type, const void *rows,
                      int64_t row_bytes, int64_t k, int64_t n);

/* Rows k0 .. k0 + n_k (past an odd depth, too, in bf16) and columns j0 .. j0 +
 * n_j of one panel, word by word; 0 outside of B. */
void moh__pack_words(const moh__pack *p, int64_t panel, int64_t k0,
                     int64_t n_k, int64_t j0, int64_t n_j);

/* Writes n rows of keys and of values, d wide and ld apart, as keys number
 * slot, slot + 1, ... of a page; slot + n <= 64. */
void moh__page_write(real *page, int64_t d, int64_t slot, int64_t n,
                     const real *k, const real *v, int64_t ld);

#endif
