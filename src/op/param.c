/* Weight handles: packing by head, in the precision that is computed in. */
#include "op/param.h"

#include <string.h>

const char *const moh__precision_names[] = {"f32",  "bf16", "f16",
                                            "q8_0", "q4_0", NULL};
const char *const moh__precision_trained_names[] = {"f32", "bf16", NULL};

static const moh__block_type types[MOH__PRECISIONS] = {
    MOH__BLOCK_F32, MOH__BLOCK_BF16, MOH__BLOCK_F16, MOH__BLOCK_Q8_0,
    MOH__BLOCK_Q4_0};

moh__precision moh__precision_of(moh__block_type type) {
  int i = 0;
  while (i + 1 < MOH__PRECISIONS && types[i] != type) i++;
  return (moh__precision)i;
}

bool moh__precision_find(const char *name, moh__precision *precision) {
  for (int i = 0; moh__precision_names[i] != NULL; i++) {
    if (strcmp(name, moh__precision_names[i]) != 0) continue;
    *precision = (moh__precision)i;
    return true;
  }
  return false;
}

/* ---- data, or what is stored ---- */

bool moh__param_stores(const moh__param *w, moh__block_type type) {
  const unsigned exact =
      MOH__PARAM_ROUTER | MOH__PARAM_F32 | MOH__PARAM_BUFFER;
  bool read = w->grouping != MOH__PACK_NONE ||
              (w->flags & MOH__PARAM_EMBEDDING) != 0;
  return w->n_dims == 2 && read && (w->flags & exact) == 0 &&
         moh__param_in(w) % moh__block_elements(type) == 0;
}

/* Of a row of what is stored. */
static int64_t row_bytes(const moh__param *w) {
  return moh__packed_column_bytes(w->stored_type, moh__param_in(w));
}

void moh__param_row(const moh__param *w, int64_t i, real *row) {
  int64_t n = moh__param_in(w);
#ifndef MOH_REAL_DOUBLE
  if (w->data == NULL) {
    moh__block_decode(w->stored_type,
                      (const char *)w->stored + i * row_bytes(w), n, row);
    return;
  }
#endif
  memcpy(row, w->data + i * n, (size_t)n * sizeof(real));
}

int64_t moh__param_bytes(const moh__param *w) {
  return w->stored != NULL && w->data == NULL
             ? moh__param_out(w) * row_bytes(w)
             : w->n * (int64_t)sizeof(real);
}

bool moh__param_lacks_data(const moh__param *w) {
  if (w->grouping == MOH__PACK_NONE || w->data != NULL) return false;
  moh__block_type type = moh__param_type(w);
  return w->packed_back != NULL || w->stored_type != type ||
         type == MOH__BLOCK_BF16;
}

/* ---- operands ---- */

/* Depth and columns of one group's operand. */
typedef struct operand {
  int64_t k, n;
} operand;

static operand operand_of(const moh__param *w, bool backward) {
  int64_t in = moh__param_group_in(w);
  int64_t out = moh__param_group_out(w);
  return backward ? (operand){out, in} : (operand){in, out};
}

moh__block_type moh__param_type(const moh__param *w) {
  moh__block_type type = types[w->precision];
  bool whole = moh__param_group_in(w) % moh__block_elements(type) == 0;
  return whole ? type : MOH__BLOCK_F32;
}

static moh__block_type type_of(const moh__param *w, bool backward) {
  if (!backward) return moh__param_type(w);
  return w->precision == MOH__PRECISION_BF16 ? MOH__BLOCK_BF16
                                             : MOH__BLOCK_F32;
}

/* Bytes of one group. */
static int64_t group_bytes(const moh__param *w, bool backward) {
  operand o = operand_of(w, backward);
  moh__block_type type = type_of(w, backward);
  if (type == MOH__BLOCK_F32)
    return moh__packed_size(o.k, o.n) * (int64_t)sizeof(real);
  if (type == MOH__BLOCK_BF16)
    return moh__packed_size_bf16(o.k, o.n) * (int64_t)sizeof(moh__bf16);
  return moh__packed_bytes(type, o.k, o.n);
}

static int64_t all_bytes(const moh__param *w, bool backward) {
  if (w->grouping == MOH__PACK_NONE) return 0;
  return w->n_groups * group_bytes(w, backward);
}

int64_t moh__param_packed_bytes(const moh__param *w) {
  return all_bytes(w, false);
}

int64_t moh__param_packed_back_bytes(const moh__param *w) {
  return all_bytes(w, true);
}

/* Where group g begins in `data`. */
static const real *group_data(const moh__param *w, int64_t g) {
  return w->grouping == MOH__PACK_OUTPUTS
             ? w->data + g * moh__param_group_out(w) * moh__param_in(w)
             : w->data + g * moh__param_group_in(w);
}

void moh__param_operand(const moh__param *w, int64_t g, bool backward,
                        moh__gemm *product) {
  const char *packed = backward ? w->packed_back : w->packed;
  product->bf16 = false;
  product->b16 = NULL;
  product->blocks = NULL;
  product->type = MOH__BLOCK_F32;
  product->ldb = 0;
  if (packed == NULL) {
    product->b = group_data(w, g);
    product->ldb = moh__param_in(w);
    return;
  }
  packed += g * group_bytes(w, backward);
  moh__block_type type = type_of(w, backward);
  product->bf16 = type == MOH__BLOCK_BF16;
  if (product->bf16) {
    product->b16 = (const moh__bf16 *)(const void *)packed;
  } else if (type == MOH__BLOCK_F32) {
    product->b = (const real *)(const void *)packed;
  } else {
    product->type = type;
    product->blocks = packed;
  }
}

void moh__param_settle(moh__param *w, moh__pool *pool) {
  if (!moh__param_adds(w)) moh__clear_run(pool, w->grad, w->n);
}

/* ---- packing ---- */

/* A task: panels of one group, of `packed` or of packed_back. */
typedef struct pack_job {
  const moh__param *w;
  bool backward;
  int64_t panels; /* tasks of a group */
} pack_job;

/* The encoders take floats. */
static void round_row(moh__block_type type, const real *src, int64_t n,
                      unsigned char *dst) {
#ifdef MOH_REAL_DOUBLE
  float block[MOH__BLOCK];
  for (int64_t i = 0; i < n; i += MOH__BLOCK) {
    int64_t left = n - i < MOH__BLOCK ? n - i : MOH__BLOCK;
    for (int64_t q = 0; q < left; q++) block[q] = (float)src[i + q];
    moh__block_encode(type, block, left,
                      dst + moh__packed_column_bytes(type, i));
  }
#else
  moh__block_encode(type, src, n, dst);
#endif
}

/* A panel whose n columns are rounded to blocks on the way, from k0 on as many
 * inputs at a time as there is room for. */
static void pack_rounded(const pack_job *job, const real *src, int64_t k,
                         int64_t n, char *dst, unsigned char *room) {
  enum {
    DEPTH = MOH__SCRATCH_BYTES / MOH__PANEL / 2 / MOH__BLOCK * MOH__BLOCK
  };
  moh__block_type type = moh__param_type(job->w);
  int64_t ld = moh__param_in(job->w);
  int64_t width = moh__panel_width(n, 0);
  for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
    int64_t depth = k - k0 < DEPTH ? k - k0 : DEPTH;
    int64_t row = moh__packed_column_bytes(type, depth);
    for (int64_t j = 0; j < n; j++)
      round_row(type, src + j * ld + k0, depth, room + j * row);
    moh__pack_blocks(dst + width * moh__packed_column_bytes(type, k0), type,
                     room, row, depth, n);
  }
}

/* Panel p of group g as it is stored. */
static void pack_stored(const pack_job *job, int64_t g, int64_t p,
                        char *dst) {
  const moh__param *w = job->w;
  int64_t n = moh__param_group_out(w) - p * MOH__PANEL;
  int64_t k = moh__param_group_in(w);
  bool by_outputs = w->grouping == MOH__PACK_OUTPUTS;
  int64_t row = p * MOH__PANEL + (by_outputs ? g * moh__param_group_out(w) : 0);
  int64_t at = by_outputs ? 0 : moh__packed_column_bytes(w->stored_type, g * k);
  moh__pack_blocks(dst, w->stored_type,
                   (const char *)w->stored + row * row_bytes(w) + at,
                   row_bytes(w), k, n < MOH__PANEL ? n : MOH__PANEL);
}

/* Panels p of group g: columns 64 p.. of its operand. */
static void pack_panel(const pack_job *job, int64_t g, int64_t p,
                       void *scratch) {
  const moh__param *w = job->w;
  operand o = operand_of(w, job->backward);
  int64_t j = p * MOH__PANEL;
  int64_t n = o.n - j < MOH__PANEL ? o.n - j : MOH__PANEL;
  int64_t ld = moh__param_in(w);
  char *dst = (char *)(job->backward ? w->packed_back : w->packed) +
              g * group_bytes(w, job->backward);
  moh__block_type type = type_of(w, job->backward);
  if (w->data == NULL) {
    pack_stored(job, g, p, dst + j * moh__packed_column_bytes(type, o.k));
    return;
  }
  const real *src = group_data(w, g) + (job->backward ? j : j * ld);
  if (type == MOH__BLOCK_BF16) {
    moh__bf16 *to = (moh__bf16 *)(void *)dst + j * ((o.k + 1) / 2 * 2);
    if (job->backward)
      moh__pack_rows_bf16(to, src, ld, o.k, n);
    else
      moh__pack_transposed_bf16(to, src, ld, o.k, n);
    return;
  }
  if (type != MOH__BLOCK_F32) {
    pack_rounded(job, src, o.k, n,
                 dst + j * moh__packed_column_bytes(type, o.k), scratch);
    return;
  }
  real *to = (real *)(void *)dst + j * o.k;
  if (job->backward)
    moh__pack_rows(to, src, ld, o.k, n);
  else
    moh__pack_transposed(to, src, ld, o.k, n);
}

static void pack_task(void *context, int64_t task, void *scratch) {
  const pack_job *job = context;
  pack_panel(job, task / job->panels, task % job->panels, scratch);
}

void moh__param_pack(moh__param *w, moh__pool *pool) {
  if (w->grouping == MOH__PACK_NONE) return;
  for (int backward = 0; backward < 2; backward++) {
    if ((backward ? w->packed_back : w->packed) == NULL) continue;
    int64_t n = operand_of(w, backward).n;
    pack_job job = {w, backward, (n + MOH__PANEL - 1) / MOH__PANEL};
    moh__pool_run(pool, job.panels * w->n_groups, pack_task, &job);
  }
}
