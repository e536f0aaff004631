/* Weight handles: packing by head, in the precision that is computed in. */
#include "op/param.h"

#include <string.h>

const char *const moh__precision_names[] = {"f32", "bf16", NULL};

bool moh__precision_find(const char *name, moh__precision *precision) {
  for (int i = 0; moh__precision_names[i] != NULL; i++) {
    if (strcmp(name, moh__precision_names[i]) != 0) continue;
    *precision = (moh__precision)i;
    return true;
  }
  return false;
}

/* Depth and columns of one group's operand. */
typedef struct operand {
  int64_t k, n;
} operand;

static operand operand_of(const moh__param *w, bool backward) {
  int64_t in = moh__param_group_in(w);
  int64_t out = moh__param_group_out(w);
  return backward ? (operand){out, in} : (operand){in, out};
}

/* Bytes of one group. */
static int64_t group_bytes(const moh__param *w, bool backward) {
  operand o = operand_of(w, backward);
  if (w->precision == MOH__PRECISION_BF16)
    return moh__packed_size_bf16(o.k, o.n) * (int64_t)sizeof(moh__bf16);
  return moh__packed_size(o.k, o.n) * (int64_t)sizeof(real);
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
  product->ldb = 0;
  if (packed == NULL) {
    product->b = group_data(w, g);
    product->ldb = moh__param_in(w);
    return;
  }
  packed += g * group_bytes(w, backward);
  product->bf16 = w->precision == MOH__PRECISION_BF16;
  if (product->bf16)
    product->b16 = (const moh__bf16 *)(const void *)packed;
  else
    product->b = (const real *)(const void *)packed;
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

/* Panels p of group g: columns 64 p.. of its operand. */
static void pack_panel(const pack_job *job, int64_t g, int64_t p) {
  const moh__param *w = job->w;
  operand o = operand_of(w, job->backward);
  int64_t j = p * MOH__PANEL;
  int64_t n = o.n - j < MOH__PANEL ? o.n - j : MOH__PANEL;
  int64_t ld = moh__param_in(w);
  const real *src = group_data(w, g) + (job->backward ? j : j * ld);
  char *dst = (char *)(job->backward ? w->packed_back : w->packed) +
              g * group_bytes(w, job->backward);
  if (w->precision == MOH__PRECISION_BF16) {
    moh__bf16 *to = (moh__bf16 *)(void *)dst + j * ((o.k + 1) / 2 * 2);
    if (job->backward)
      moh__pack_rows_bf16(to, src, ld, o.k, n);
    else
      moh__pack_transposed_bf16(to, src, ld, o.k, n);
    return;
  }
  real *to = (real *)(void *)dst + j * o.k;
  if (job->backward)
    moh__pack_rows(to, src, ld, o.k, n);
  else
    moh__pack_transposed(to, src, ld, o.k, n);
}

static void pack_task(void *context, int64_t task, void *scratch) {
  (void)scratch;
  const pack_job *job = context;
  pack_panel(job, task / job->panels, task % job->panels);
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
