/* Another configuration around the same tensors. */
#include "store/upcycle.h"

#include <string.h>

#include "arch/arch.h"

static moh_status check_source(const moh__config *c, moh_error *err) {
  if (c->architecture != MOH__TRANSFORMER)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the model is a %s: only a transformer can be upcycled",
                     moh__architecture_names[c->architecture]);
  if (c->heads != MOH__HEADS_ALL)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the model is not dense: its tokens do not use all "
                     "heads");
  return MOH_OK;
}

static moh_status config_of(moh__config *c, const char *heads,
                            moh__route_by route_by, moh_error *err) {
  MOH_TRY(moh__config_set_heads(c, heads, err));
  if (c->heads != MOH__HEADS_NORM && c->heads != MOH__HEADS_MOH)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "'%.60s' is nothing to upcycle to: write norm:S+K, "
                     "heads by the norms of their queries, or moh:S+K, by a "
                     "router that is fitted to these",
                     heads);
  c->gate_scale = MOH__GATE_ONE;
  c->route_by = route_by;
  if (c->heads == MOH__HEADS_NORM) c->z_weight = c->bias_balance = 0;
  MOH_TRY(moh__config_check(c, err));
  if (c->k > 0) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "with '%.60s' no head is chosen: K must be positive",
                   heads);
}

/* Weights may be stored in blocks. */
static void copy_tensor(moh__param *to, const moh__param *from) {
  if (from->data != NULL) {
    memcpy(to->data, from->data, (size_t)to->n * sizeof(real));
    return;
  }
  int64_t n = moh__param_in(from);
  for (int64_t i = 0; i < to->n / n; i++)
    moh__param_row(from, i, to->data + i * n);
}

static void copy_tensors(moh__model *to, const moh__model *from) {
  for (int i = 0; i < to->n_params; i++) {
    moh__param *w = &to->params[i];
    const moh__param *old = moh__model_param(from, w->name);
    if (old == NULL)
      memset(w->data, 0, (size_t)w->n * sizeof(real));
    else
      copy_tensor(w, old);
  }
}

moh_status moh__upcycle(moh__model **out, const moh__model *model,
                        const char *heads, moh__route_by route_by,
                        moh_error *err) {
  moh__config c = model->config;
  *out = NULL;
  MOH_TRY(check_source(&model->config, err));
  MOH_TRY(config_of(&c, heads, route_by, err));
  MOH_TRY(moh__arch_model_init(out, &c, 1, err));
  copy_tensors(*out, model);
  return MOH_OK;
}
