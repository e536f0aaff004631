/* Words, shell patterns, and the names that come near a wrong one. */
#include "train/freeze.h"

#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { ITEM_MAX = 96, NEAR_MAX = 4 };
/* Room for the near names, each with a comma. */
enum { NEAR_TEXT = NEAR_MAX * (MOH__NAME_MAX + 2) };

/* A word stands for tensors by flag or by name. A tied embedding is the
 * output, too. */
static const struct {
  const char *word;
  unsigned flags;      /* any of these, or */
  const char *pattern; /* names like this, or NULL */
} words[] = {
    {"embeddings", MOH__PARAM_EMBEDDING, NULL},
    {"output", MOH__PARAM_OUTPUT, NULL},
    {"router", MOH__PARAM_ROUTER, NULL},
    {"attention", 0, "*.self_attn.*"}, /* without routers */
    {"feed-forward", 0, "*.mlp.*"},
    {"norms", 0, "*norm.*"},
};
enum { N_WORDS = sizeof(words) / sizeof(words[0]) };

static bool matches(const moh__param *w, const char *item) {
  for (int i = 0; i < N_WORDS; i++) {
    if (strcmp(item, words[i].word) != 0) continue;
    if (words[i].pattern == NULL) return (w->flags & words[i].flags) != 0;
    return (w->flags & MOH__PARAM_ROUTER) == 0 &&
           fnmatch(words[i].pattern, w->name, 0) == 0;
  }
  return fnmatch(item, w->name, 0) == 0;
}

/* ---- near names ---- */

/* Length of the longest stretch that both have. */
static int common(const char *a, const char *b) {
  int best = 0;
  for (; *a != '\0'; a++)
    for (const char *at = b; *at != '\0'; at++) {
      int n = 0;
      while (a[n] != '\0' && a[n] == at[n]) n++;
      if (n > best) best = n;
    }
  return best;
}

/* The name with "*" for the number of its layer; false for all layers but
 * the first, which have the same names. */
static bool fold_layer(const char *name, char *folded) {
  static const char first[] = ".layers.0.";
  const char *at = strstr(name, ".layers.");
  snprintf(folded, MOH__NAME_MAX, "%s", name);
  if (at == NULL) return true;
  folded[at - name + (ptrdiff_t)strlen(first) - 2] = '*';
  return strncmp(at, first, strlen(first)) == 0;
}

/* The names that have most in common with the item; list has NEAR_TEXT
 * bytes. */
static void near_names(const moh__model *model, const char *item,
                       char *list) {
  char name[MOH__NAME_MAX];
  int most = 0, n_names = 0, n = 0;
  for (int i = 0; i < model->n_params; i++) {
    int here = common(item, model->params[i].name);
    if (here > most) most = here;
  }
  for (int i = 0; i < model->n_params && n_names < NEAR_MAX; i++) {
    if (common(item, model->params[i].name) < most ||
        !fold_layer(model->params[i].name, name))
      continue;
    n += snprintf(list + n, (size_t)(NEAR_TEXT - n), "%s%s",
                  n > 0 ? ", " : "", name);
    n_names++;
  }
}

static moh_status fail_item(const moh__model *model, const char *item,
                            moh_error *err) {
  char list[NEAR_TEXT];
  for (int i = 0; i < N_WORDS; i++)
    if (strcmp(item, words[i].word) == 0)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "the model has no tensor of the kind '%s' to freeze",
                       item);
  near_names(model, item, list);
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "no tensor to freeze is called '%s'; near it are %s; "
                   "words are embeddings, output, router, attention, "
                   "feed-forward and norms",
                   item, list);
}

/* ---- freezing ---- */

static moh_status freeze_item(moh__model *model, const char *item,
                              moh_error *err) {
  int n = 0;
  for (int i = 0; i < model->n_params; i++)
    if (matches(&model->params[i], item)) {
      model->params[i].flags |= MOH__PARAM_FROZEN;
      n++;
    }
  return n > 0 ? MOH_OK : fail_item(model, item, err);
}

static moh_status freeze_items(moh__model *model, const char *items,
                               moh_error *err) {
  for (const char *at = items;; at++) {
    char item[ITEM_MAX];
    size_t n = strcspn(at, ",");
    if (n >= sizeof(item))
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "'%.40s...' is too long for a tensor to freeze", at);
    memcpy(item, at, n);
    item[n] = '\0';
    MOH_TRY(freeze_item(model, item, err));
    at += n;
    if (*at == '\0') return MOH_OK;
  }
}

static void unfreeze(moh__model *model) {
  for (int i = 0; i < model->n_params; i++)
    model->params[i].flags &= ~(unsigned)MOH__PARAM_FROZEN;
}

static bool is_trained(const moh__model *model) {
  for (int i = 0; i < model->n_params; i++)
    if ((model->params[i].flags &
         (MOH__PARAM_FROZEN | MOH__PARAM_BUFFER)) == 0)
      return true;
  return false;
}

moh_status moh__freeze(moh__model *model, const char *items,
                       moh_error *err) {
  unfreeze(model);
  if (items == NULL) return MOH_OK;
  moh_status status = freeze_items(model, items, err);
  if (status == MOH_OK && !is_trained(model))
    status = moh__fail(err, MOH_ERR_ARGUMENT,
                       "everything is frozen: nothing is left to train");
  if (status != MOH_OK) unfreeze(model);
  return status;
}
