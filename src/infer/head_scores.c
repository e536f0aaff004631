/* Memory of a probe, and means of its sums. */
#include "infer/head_scores.h"

#include <stdlib.h>

static moh_status freeze(moh__model *model, moh_error *err) {
  MOH_TRY(moh__model_alloc_grads(model, err));
  for (int i = 0; i < model->n_params; i++)
    model->params[i].flags |= MOH__PARAM_FROZEN;
  return MOH_OK;
}

moh_status moh__head_scores_init(moh__head_scores *s, moh__model *model,
                                 bool importance, moh_error *err) {
  *s = (moh__head_scores){.n_layers = model->config.n_layers,
                          .n_heads = model->config.n_heads};
  size_t n = (size_t)(s->n_layers * s->n_heads);
  s->probe.uses = calloc(n, sizeof(int64_t));
  s->means = calloc(n, sizeof(double));
  if (importance) s->probe.importance = calloc(n, sizeof(double));
  if (s->probe.uses == NULL || s->means == NULL ||
      (importance && s->probe.importance == NULL)) {
    moh__head_scores_free(s);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for %zu heads", n);
  }
  return importance ? freeze(model, err) : MOH_OK;
}

void moh__head_scores_free(moh__head_scores *s) {
  free(s->probe.uses);
  free(s->probe.importance);
  free(s->means);
  s->probe = (moh__head_probe){.uses = NULL};
  s->means = NULL;
}

void moh__head_scores_usage(moh__head_scores *s, int64_t n_tokens) {
  for (int64_t i = 0; i < s->n_layers * s->n_heads; i++)
    s->means[i] = (double)s->probe.uses[i] / (double)n_tokens;
}

void moh__head_scores_importance(moh__head_scores *s, int64_t n_tokens) {
  for (int64_t i = 0; i < s->n_layers * s->n_heads; i++)
    s->means[i] = s->probe.importance[i] / (double)n_tokens;
}
