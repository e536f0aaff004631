/*
 * A tensor that belongs to heads is a row of blocks, one a head (or a KV head,
 * or a candidate of the router), within each of `outer` rows: those of the
 * heads that stay are copied one behind the other.
 */
#include "store/prune.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"

/* ---- choosing ---- */

/* Heads of a unit, which goes or stays as a whole. */
static int64_t unit_heads(const moh__config *c, bool groups) {
  return groups ? c->n_heads / c->n_kv_heads : 1;
}

static moh_status check_kind(const moh__config *c, bool groups,
                             moh_error *err) {
  if (c->architecture == MOH__HYPERMIXER || !c->output_projection)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "without an output projection the heads are the columns "
                     "of the hidden states: none can be taken out");
  if (c->heads == MOH__HEADS_RANDOM)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "heads are drawn by chance: without some of them every "
                     "draw is another");
  if (moh__config_routes(c) && c->route_by == MOH__ROUTE_BY_GROUP && !groups)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the router chooses KV heads, so they can only be taken "
                     "out whole (--groups)");
  return MOH_OK;
}

static moh_status check_number(const moh__config *c, int64_t n_keep,
                               bool groups, moh_error *err) {
  int64_t each = c->n_heads / c->n_kv_heads;
  int64_t step = groups ? each : c->n_kv_heads;
  if (n_keep < 1 || n_keep > c->n_heads)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%" PRId64 " heads cannot be kept of %" PRId64
                     " in a layer",
                     n_keep, c->n_heads);
  if (n_keep % step == 0) return MOH_OK;
  if (groups)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "%" PRId64
                     " heads are not a number of whole KV heads, "
                     "which have %" PRId64 " query heads each",
                     n_keep, each);
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%" PRId64 " heads cannot be kept evenly for the %" PRId64
                   " KV heads: a multiple of these can, or whole KV heads "
                   "(--groups)",
                   n_keep, c->n_kv_heads);
}

/* Shared heads are first, those that are off last. */
static double head_score(const moh__config *c, const double *scores,
                         int64_t head) {
  int64_t n_shared = c->n_shared * moh__config_heads_each(c);
  if (moh__config_routes(c) && head < n_shared) return INFINITY;
  if (c->heads == MOH__HEADS_STATIC && head >= c->n_static) return -1;
  return scores[head];
}

static double unit_score(const moh__config *c, const double *scores,
                         int64_t unit, bool groups) {
  int64_t each = unit_heads(c, groups);
  double sum = 0;
  for (int64_t h = 0; h < each; h++)
    sum += head_score(c, scores, unit * each + h);
  return sum;
}

/* Of the units from `first`, n of them, the best `keep`. */
static void keep_best(const moh__config *c, const double *scores,
                      int64_t first, int64_t n, int64_t keep, bool groups,
                      unsigned char *kept) {
  int64_t each = unit_heads(c, groups);
  for (; keep > 0; keep--) {
    int64_t best = -1;
    double most = 0;
    for (int64_t u = first; u < first + n; u++) {
      double score = unit_score(c, scores, u, groups);
      if (kept[u * each] || (best >= 0 && !(score > most))) continue;
      best = u;
      most = score;
    }
    memset(kept + best * each, 1, (size_t)each);
  }
}

static void choose_layer(const moh__pruning *p, const moh__config *c,
                         const double *scores, unsigned char *kept) {
  int64_t n_groups = c->n_kv_heads, each = c->n_heads / n_groups;
  if (p->groups) {
    keep_best(c, scores, 0, n_groups, p->n_keep / each, true, kept);
    return;
  }
  for (int64_t g = 0; g < n_groups; g++)
    keep_best(c, scores, g * each, each, p->n_keep / n_groups, false, kept);
}

static moh_status check_shared(const moh__pruning *p, const moh__config *c,
                               moh_error *err) {
  int64_t n_shared = c->n_shared * moh__config_heads_each(c);
  if (!moh__config_routes(c)) return MOH_OK;
  for (int64_t h = 0; h < n_shared; h++)
    if (!p->kept[h])
      return moh__fail(
          err, MOH_ERR_ARGUMENT,
          "every token uses the first %" PRId64
          " heads, so they stay: more must be kept than %" PRId64,
          n_shared, p->n_keep);
  return MOH_OK;
}

moh_status moh__pruning_choose(moh__pruning *p, const moh__config *c,
                               const double *scores, int64_t n_keep,
                               bool groups, moh_error *err) {
  groups = groups || c->n_kv_heads == c->n_heads;
  *p = (moh__pruning){.n_layers = c->n_layers,
                      .n_heads = c->n_heads,
                      .n_keep = n_keep,
                      .groups = groups};
  MOH_TRY(check_kind(c, groups, err));
  MOH_TRY(check_number(c, n_keep, groups, err));
  p->kept = calloc((size_t)(c->n_layers * c->n_heads), 1);
  if (p->kept == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a choice of heads");
  for (int64_t l = 0; l < c->n_layers; l++)
    choose_layer(p, c, scores + l * c->n_heads, p->kept + l * c->n_heads);
  moh_status status = check_shared(p, c, err);
  if (status != MOH_OK) moh__pruning_free(p);
  return status;
}

void moh__pruning_free(moh__pruning *p) {
  free(p->kept);
  p->kept = NULL;
}

/* ---- what is left ---- */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Heads in use among those kept: the same number in every layer, as those that
 * are off go first. */
static int64_t used_of(const moh__config *c, const moh__pruning *p) {
  int64_t n = 0;
  for (int64_t h = 0; h < c->n_static; h++) n += p->kept[h];
  return n;
}

static moh__config config_of(const moh__config *old, const moh__pruning *p) {
  moh__config c = *old;
  c.n_heads = p->n_keep;
  if (p->groups) c.n_kv_heads = p->n_keep / (old->n_heads / old->n_kv_heads);
  if (moh__config_routes(old))
    c.k = least(old->k, moh__config_candidates(&c) - c.n_shared);
  c.k_min = least(old->k_min, c.k);
  if (old->heads == MOH__HEADS_ADAPTIVE && c.k == 0)
    c.heads = MOH__HEADS_MOH; /* no number of heads is left to choose */
  if (old->heads != MOH__HEADS_STATIC) return c;
  c.n_static = used_of(old, p);
  if (c.n_static == c.n_heads) c.heads = MOH__HEADS_ALL;
  return c;
}

/* ---- tensors ---- */

/* One tensor: `outer` rows of n blocks of `size`, each of `heads` heads, the
 * first of which is head `first`. */
typedef struct blocks {
  int64_t outer, n, size, heads, first;
} blocks;

static bool is_kv(const char *name) {
  return strstr(name, ".k_proj.") != NULL || strstr(name, ".v_proj.") != NULL;
}

static blocks blocks_of(const moh__config *c, const moh__param *w,
                        const char *name) {
  int64_t each = moh__config_heads_each(c);
  blocks b = {.outer = 1, .n = c->n_heads, .heads = 1};
  if (strcmp(name, "self_attn.o_proj.weight") == 0) b.outer = w->shape[0];
  if (is_kv(name))
    b = (blocks){1, c->n_kv_heads, 0, c->n_heads / c->n_kv_heads, 0};
  if (strcmp(name, "self_attn.wg.weight") == 0 ||
      strcmp(name, "self_attn.wg.bias") == 0)
    b = (blocks){1, w->shape[0], 0, each, c->n_shared * each};
  b.size = w->n / (b.outer * b.n);
  return b;
}

static void copy_blocks(moh__param *to, const moh__param *from, blocks b,
                        const unsigned char *kept) {
  real *at = to->data;
  for (int64_t row = 0; row < b.outer; row++)
    for (int64_t i = 0; i < b.n; i++) {
      if (!kept[b.first + i * b.heads]) continue;
      memcpy(at, from->data + (row * b.n + i) * b.size,
             (size_t)b.size * sizeof(real));
      at += b.size;
    }
}

/* Of KV heads none goes where only query heads do. */
static bool is_whole(const moh__pruning *p, const char *name) {
  return !p->groups && is_kv(name);
}

static void copy_layer(moh__model *to, const moh__model *from,
                       const moh__pruning *p, int64_t layer) {
  static const char *const names[] = {
      "self_attn.q_proj.weight", "self_attn.k_proj.weight",
      "self_attn.v_proj.weight", "self_attn.o_proj.weight",
      "self_attn.q_proj.bias",   "self_attn.k_proj.bias",
      "self_attn.v_proj.bias",   "self_attn.cope.weight",
      "self_attn.wg.weight",     "self_attn.wg.bias"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    moh__param *w = moh__model_layer_param(to, layer, names[i]);
    if (w == NULL || is_whole(p, names[i])) continue;
    const moh__param *old = moh__model_layer_param(from, layer, names[i]);
    copy_blocks(w, old, blocks_of(&from->config, old, names[i]),
                p->kept + layer * p->n_heads);
  }
}

/* What no head owns has its old size. */
static void copy_rest(moh__model *to, const moh__model *from) {
  for (int i = 0; i < to->n_params; i++) {
    moh__param *w = &to->params[i];
    const moh__param *old = moh__model_param(from, w->name);
    if (old->n == w->n)
      memcpy(w->data, old->data, (size_t)w->n * sizeof(real));
  }
}

static moh_status fill(moh__model *to, const moh__model *from,
                       const moh__pruning *p, moh_error *err) {
  MOH_TRY(moh__model_alloc_data(to, err));
  MOH_TRY(moh__model_make_tables(to, err));
  copy_rest(to, from);
  for (int64_t l = 0; l < p->n_layers; l++) copy_layer(to, from, p, l);
  return MOH_OK;
}

moh_status moh__prune(moh__model **out, const moh__model *model,
                      const moh__pruning *p, moh_error *err) {
  moh__config c = config_of(&model->config, p);
  MOH_TRY(moh__config_check(&c, err));
  MOH_TRY(moh__arch_model(out, &c, err));
  moh_status status = fill(*out, model, p, err);
  if (status == MOH_OK) return MOH_OK;
  moh__model_free(*out);
  *out = NULL;
  return status;
}
