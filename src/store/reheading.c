#include "store/reheading.h"

#include "arch/arch.h"

static bool same_shape(const moh__param *a, const moh__param *b) {
  if (a->n_dims != b->n_dims) return false;
  for (int i = 0; i < a->n_dims; i++)
    if (a->shape[i] != b->shape[i]) return false;
  return true;
}

static moh_status share_data(moh__model *to, const moh__model *from,
                             const char *heads, moh_error *err) {
  for (int i = 0; i < to->n_params; i++) {
    moh__param *w = &to->params[i];
    const moh__param *old = moh__model_param(from, w->name);
    if (old == NULL || !same_shape(w, old))
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "heads %.60s need a tensor '%s' that the model does "
                       "not have",
                       heads, w->name);
    w->data = old->data;
    w->stored = old->stored;
    w->stored_type = old->stored_type;
  }
  return MOH_OK;
}

/* A dense model has learned no gates: heads by their queries' norms have
 * gates of one, as moh upcycle gives them. */
static moh_status config_of(moh__config *c, const char *heads,
                            moh_error *err) {
  bool dense = c->heads == MOH__HEADS_ALL;
  MOH_TRY(moh__config_set_heads(c, heads, err));
  if (c->heads == MOH__HEADS_NORM) {
    c->z_weight = c->bias_balance = 0;
    if (dense) c->gate_scale = MOH__GATE_ONE;
  }
  return moh__config_check(c, err);
}

/* Scores of shared and of routed heads come from different tensors, whose rows
 * are these heads. */
static moh_status check_shared(const moh__config *c, const moh__config *old,
                               const char *heads, moh_error *err) {
  if (!moh__config_has_router(c) || !moh__config_has_router(old) ||
      c->n_shared == old->n_shared)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "heads %.60s: the number of shared heads must stay as "
                   "the routers were trained, %lld; only K of S+K can change",
                   heads, (long long)old->n_shared);
}

moh_status moh__model_set_heads(moh__model **model, const char *heads,
                                moh_error *err) {
  moh__model *old = *model, *new;
  moh__config c = old->config;
  MOH_TRY(config_of(&c, heads, err));
  MOH_TRY(check_shared(&c, &old->config, heads, err));
  MOH_TRY(moh__arch_model(&new, &c, err));
  moh_status status = share_data(new, old, heads, err);
  if (status == MOH_OK) status = moh__model_make_tables(new, err);
  if (status != MOH_OK) {
    moh__model_free(new);
    return status;
  }
  new->owner = old->owner;
  new->owner_free = old->owner_free;
  new->decoded = old->decoded;
  old->owner_free = NULL;
  old->decoded = NULL;
  moh__model_free(old);
  *model = new;
  return MOH_OK;
}
