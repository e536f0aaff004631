/* Weight handles: packing by head. */
#include "op/param.h"

#include "kernel/kernel.h"

int64_t moh__param_packed_size(const moh__param *w) {
  if (w->grouping == MOH__PACK_NONE) return 0;
  return w->n_groups * moh__packed_size(moh__param_group_in(w),
                                        moh__param_group_out(w));
}

const real *moh__param_panels(const moh__param *w, int64_t g) {
  return w->packed + g * moh__packed_size(moh__param_group_in(w),
                                          moh__param_group_out(w));
}

static void pack_group(void *context, int64_t g, void *scratch) {
  (void)scratch;
  const moh__param *w = context;
  int64_t k = moh__param_group_in(w);
  int64_t n = moh__param_group_out(w);
  const real *src = w->grouping == MOH__PACK_OUTPUTS
                        ? w->data + g * n * w->shape[1]
                        : w->data + g * k;
  moh__pack_transposed(w->packed + g * moh__packed_size(k, n), src,
                       w->shape[1], k, n);
}

typedef struct panel_job {
  const moh__param *w;
} panel_job;

/* A matrix of one group: a task a panel of 64 outputs. */
static void pack_panel(void *context, int64_t p, void *scratch) {
  (void)scratch;
  const moh__param *w = ((const panel_job *)context)->w;
  int64_t k = w->shape[1];
  int64_t from = p * MOH__PANEL;
  int64_t n = w->shape[0] - from;
  moh__pack_transposed(w->packed + from * k, w->data + from * k, k, k,
                       n < MOH__PANEL ? n : MOH__PANEL);
}

void moh__param_pack(moh__param *w, moh__pool *pool) {
  if (w->grouping == MOH__PACK_NONE) return;
  if (w->n_groups > 1) {
    moh__pool_run(pool, w->n_groups, pack_group, w);
    return;
  }
  panel_job job = {w};
  int64_t n_panels = (w->shape[0] + MOH__PANEL - 1) / MOH__PANEL;
  moh__pool_run(pool, n_panels, pack_panel, &job);
}
