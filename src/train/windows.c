/* The averages that windows go by. */
#include "train/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double new_share = 0.2; /* of an update in the average */

static size_t cells(const moh__windows *w) {
  return (size_t)w->n_layers * (size_t)w->model->config.n_heads;
}

moh_status moh__windows_init(moh__windows *w, moh__model *model,
                             moh_error *err) {
  const moh__config *c = &model->config;
  *w = (moh__windows){.model = model};
  if (!moh__window_adapts(&c->window)) return MOH_OK;
  w->n_layers = (int32_t)c->n_layers;
  w->sizes = calloc((size_t)w->n_layers, sizeof(*w->sizes));
  if (c->window.kind == MOH__WINDOW_ENTROPY)
    w->evenness = calloc(cells(w), sizeof(*w->evenness));
  if (w->sizes != NULL &&
      (w->evenness != NULL || c->window.kind != MOH__WINDOW_ENTROPY))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for the windows");
}

void moh__windows_free(moh__windows *w) {
  free(w->sizes);
  free(w->evenness);
}

void moh__windows_begin(moh__windows *w) {
  for (int32_t i = 0; i < w->n_layers; i++)
    w->sizes[i] = moh__model_window(w->model, i);
  if (w->evenness != NULL)
    memset(w->evenness, 0, cells(w) * sizeof(*w->evenness));
}

/* Mean over the queries of a layer; NaN: none had a choice. */
static double evenness_of(const moh__windows *w, int32_t layer) {
  int64_t n_heads = w->model->config.n_heads;
  const moh__evenness *heads = w->evenness + layer * n_heads;
  moh__evenness all = {0};
  for (int64_t h = 0; h < n_heads; h++) {
    all.sum += heads[h].sum;
    all.n += heads[h].n;
  }
  return all.sum / (double)all.n;
}

/* With one token there is nothing to be unsure of. */
static double loss_share(const moh__windows *w, double loss) {
  double most = log((double)w->model->config.vocab_size);
  return most > 0 ? loss / most : 0;
}

void moh__windows_update(moh__windows *w, double loss) {
  for (int32_t i = 0; i < w->n_layers; i++) {
    const moh__param *share = moh__model_window_share(w->model, i);
    double now =
        w->evenness == NULL ? loss_share(w, loss) : evenness_of(w, i);
    if (isnan(now)) continue;
    double before = (double)share->data[0];
    share->data[0] = (real)(before + new_share * (fmin(now, 1) - before));
  }
}
