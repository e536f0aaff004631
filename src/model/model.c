/*
 * The parameter table: declaring, finding, memory, packing, counting. Data,
 * gradients and packed weights are one block each.
 */
#include "model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/checked.h"
#include "kernel/kernel.h"
#include "model/rope_speed.h"

enum {
  ALIGN_ELEMENTS = MOH__ALIGN / sizeof(real),
  FREE_ANGLES = 1 << 24 /* 64 MiB in float */
};

static moh_status no_memory(moh_error *err, const char *what, int64_t n) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for %s: %" PRId64 " bytes",
                   what, n * (int64_t)sizeof(real));
}

/* A short file may declare any number of positions, and no tensor of its
 * has to bear it out: a large table is made only for a model of its size.
 */
static moh_status check_angles(const moh__model *model, int64_t n,
                               moh_error *err) {
  int64_t most = moh__model_count(model);
  if (n <= FREE_ANGLES || n <= most) return MOH_OK;
  return moh__fail(err, MOH_ERR_CONFIG,
                   "max_position_embeddings is %" PRId64
                   ", whose table of rotary positions would be larger than "
                   "the model itself: lower it",
                   model->config.max_seq_len);
}

/* cos and sin of position times speed, pairs; computed in double. */
moh_status moh__model_make_tables(moh__model *model, moh_error *err) {
  const moh__config *c = &model->config;
  if (c->position != MOH__POSITION_ROPE) return MOH_OK;
  int64_t half = c->d_head / 2;
  int64_t n = c->max_seq_len * c->d_head;
  MOH_TRY(check_angles(model, n, err));
  model->rope_angles = malloc((size_t)n * sizeof(real));
  if (model->rope_angles == NULL)
    return no_memory(err, "rotary positions", n);
  for (int64_t i = 0; i < half; i++) {
    double speed = moh__rope_speed(c, i);
    for (int64_t t = 0; t < c->max_seq_len; t++) {
      real *cs = model->rope_angles + t * c->d_head + 2 * i;
      cs[0] = (real)cos((double)t * speed);
      cs[1] = (real)sin((double)t * speed);
    }
  }
  return MOH_OK;
}

moh_status moh__model_new(moh__model **out, const moh__config *config,
                          moh_error *err) {
  *out = NULL;
  MOH_TRY(moh__config_check(config, err));
  moh__model *model = calloc(1, sizeof(*model));
  if (model == NULL) return no_memory(err, "a model", 0);
  model->config = *config;
  *out = model;
  return MOH_OK;
}

void moh__model_free(moh__model *model) {
  if (model == NULL) return;
  if (model->owner_free != NULL) model->owner_free(model->owner);
  free(model->decoded);
  free(model->grads);
  free(model->packed);
  free(model->rope_angles);
  free(model->layout);
  free(model->params);
  free(model);
}

static moh_status grow(moh__model *model, moh_error *err) {
  if (model->n_params < model->capacity) return MOH_OK;
  int capacity = model->capacity == 0 ? 64 : model->capacity * 2;
  moh__param *params =
      realloc(model->params, (size_t)capacity * sizeof(*params));
  if (params == NULL) return no_memory(err, "the parameter table", capacity);
  model->params = params;
  model->capacity = capacity;
  return MOH_OK;
}

moh_status moh__model_declare(moh__model *model, const char *name, int n_dims,
                              const int64_t *shape, unsigned flags,
                              moh__grouping grouping, int64_t n_groups,
                              moh_error *err) {
  MOH_TRY(grow(model, err));
  moh__param *w = &model->params[model->n_params];
  memset(w, 0, sizeof(*w));
  snprintf(w->name, sizeof(w->name), "%s", name);
  w->n_dims = n_dims;
  w->n = 1;
  for (int i = 0; i < n_dims; i++) {
    w->shape[i] = shape[i];
    if (!moh__mul_i64(w->n, shape[i], &w->n))
      return moh__fail(err, MOH_ERR_CONFIG, "tensor %s is too large", name);
  }
  w->flags = flags;
  w->grouping = grouping;
  w->n_groups = n_groups;
  model->n_params++;
  return MOH_OK;
}

moh__param *moh__model_param(const moh__model *model, const char *name) {
  for (int i = 0; i < model->n_params; i++)
    if (strcmp(model->params[i].name, name) == 0) return &model->params[i];
  return NULL;
}

moh__param *moh__model_layer_param(const moh__model *model, int64_t layer,
                                   const char *name) {
  char full[MOH__NAME_MAX];
  snprintf(full, sizeof(full), "model.layers.%" PRId64 ".%s", layer, name);
  return moh__model_param(model, full);
}

moh__window moh__layer_window(const moh__config *config,
                              const moh__param *share) {
  const moh__window *w = &config->window;
  if (!moh__window_adapts(w)) return *w;
  double s =
      share == NULL || share->data == NULL ? 1 : (double)share->data[0];
  return (moh__window){.kind = MOH__WINDOW_SLIDING,
                       .size = moh__window_adapted(w, s)};
}

moh__param *moh__model_window_share(const moh__model *model, int64_t layer) {
  return moh__model_layer_param(model, layer, "self_attn.window_share");
}

int64_t moh__model_window(const moh__model *model, int64_t layer) {
  moh__window w = moh__layer_window(&model->config,
                                    moh__model_window_share(model, layer));
  return moh__window_most(&w, model->config.max_seq_len);
}

/* Elements of one block for `size_of` every parameter, each aligned. */
static int64_t block_size(const moh__model *model,
                          int64_t (*size_of)(const moh__param *)) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++)
    n += moh__round_up(size_of(&model->params[i]), ALIGN_ELEMENTS);
  return n;
}

static int64_t plain_size(const moh__param *w) { return w->n; }

static int64_t trained_size(const moh__param *w) {
  return (w->flags & MOH__PARAM_BUFFER) != 0 ? 0 : w->n;
}

/* What is frozen has no gradients. */
static int64_t grad_size(const moh__param *w) {
  return (w->flags & MOH__PARAM_FROZEN) != 0 ? 0 : trained_size(w);
}

/* What has adapters has gradients, and they are updated in its place. */
static int64_t updated_size(const moh__param *w) {
  return (w->flags & MOH__PARAM_ADAPTED) != 0 ? 0 : grad_size(w);
}

/* A cleared block; large ones come as untouched pages. */
static real *alloc_block(int64_t n) {
  size_t bytes = ((size_t)n + ALIGN_ELEMENTS) * sizeof(real);
  bytes = (size_t)moh__round_up((int64_t)bytes, MOH__ALIGN);
  real *block = moh__block_alloc(bytes);
  if (block != NULL) memset(block, 0, bytes);
  return block;
}

moh_status moh__model_alloc_data(moh__model *model, moh_error *err) {
  int64_t n = block_size(model, plain_size);
  real *next = alloc_block(n);
  if (next == NULL) return no_memory(err, "the weights", n);
  model->owner = next;
  model->owner_free = free;
  for (int i = 0; i < model->n_params; i++) {
    model->params[i].data = next;
    next += moh__round_up(model->params[i].n, ALIGN_ELEMENTS);
  }
  return MOH_OK;
}

/* ---- weights in blocks ---- */

moh__block_type moh__model_stored(const moh__model *model) {
  for (int i = 0; i < model->n_params; i++)
    if (model->params[i].stored != NULL) return model->params[i].stored_type;
  return MOH__BLOCK_F32;
}

moh__block_type moh__model_stored_exactly(const moh__model *model) {
  moh__block_type type = moh__model_stored(model);
  bool exact = type == MOH__BLOCK_F16 || type == MOH__BLOCK_BF16;
  return exact ? type : MOH__BLOCK_F32;
}

typedef struct decode_job {
  const moh__param *w;
  real *to;
} decode_job;

static void decode_rows(void *context, int64_t begin, int64_t end,
                        void *scratch) {
  (void)scratch;
  const decode_job *job = context;
  for (int64_t i = begin; i < end; i++)
    moh__param_row(job->w, i, job->to + i * moh__param_in(job->w));
}

static void decode(const moh__param *w, real *to, moh__pool *pool) {
  decode_job job = {w, to};
  moh__rows_run(pool, moh__param_out(w), moh__param_in(w), decode_rows, &job);
}

static int64_t undecoded_size(const moh__param *w) {
  return w->data == NULL ? w->n : 0;
}

moh_status moh__model_decode(moh__model *model, moh__pool *pool,
                             moh_error *err) {
  int64_t n = block_size(model, undecoded_size);
  if (n == 0) return MOH_OK;
  model->decoded = alloc_block(n);
  if (model->decoded == NULL) return no_memory(err, "the weights", n);
  real *next = model->decoded;
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (w->data != NULL) continue;
    decode(w, next, pool);
    w->data = next;
    next += moh__round_up(w->n, ALIGN_ELEMENTS);
  }
  return MOH_OK;
}

/* Its data is there as long as it takes. */
static moh_status pack_param(moh__param *w, moh__pool *pool, moh_error *err) {
  bool lacks = moh__param_lacks_data(w);
  if (lacks) {
    real *data = moh__block_alloc((size_t)w->n * sizeof(real));
    if (data == NULL) return no_memory(err, w->name, w->n);
    decode(w, data, pool);
    w->data = data;
  }
  moh__param_pack(w, pool);
  if (!lacks) return MOH_OK;
  free(w->data);
  w->data = NULL;
  return MOH_OK;
}

/* ---- gradients ---- */

/* Those that are trained, and no others. */
static bool has_grads(const moh__model *model) {
  bool same = model->grads != NULL;
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    same = same && (w->grad != NULL) == (grad_size(w) > 0);
  }
  return same;
}

static void drop_grads(moh__model *model) {
  free(model->grads);
  model->grads = NULL;
  for (int i = 0; i < model->n_params; i++) model->params[i].grad = NULL;
}

moh_status moh__model_alloc_grads(moh__model *model, moh_error *err) {
  if (has_grads(model)) return MOH_OK;
  int64_t n = block_size(model, grad_size);
  drop_grads(model);
  model->grads = alloc_block(n);
  if (model->grads == NULL) return no_memory(err, "the gradients", n);
  real *next = model->grads;
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (grad_size(w) > 0) w->grad = next;
    next += moh__round_up(grad_size(w), ALIGN_ELEMENTS);
  }
  return MOH_OK;
}

void moh__model_zero_grads(moh__model *model, moh__pool *pool) {
  moh__model_forget_grads(model);
  moh__model_settle_grads(model, pool);
}

void moh__model_forget_grads(moh__model *model) {
  for (int i = 0; i < model->n_params; i++)
    model->params[i].fresh = model->params[i].grad != NULL;
}

void moh__model_settle_grads(moh__model *model, moh__pool *pool) {
  for (int i = 0; i < model->n_params; i++)
    moh__param_settle(&model->params[i], pool);
}

static int64_t aligned_bytes(int64_t bytes) {
  return moh__round_up(bytes, MOH__ALIGN);
}

/* Bytes of packed weights, for backward too when there are gradients. */
static int64_t packed_bytes(const moh__model *model) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    n += aligned_bytes(moh__param_packed_bytes(w));
    if (model->grads != NULL)
      n += aligned_bytes(moh__param_packed_back_bytes(w));
  }
  return n;
}

static moh_status alloc_packed(moh__model *model, moh_error *err) {
  int64_t n = packed_bytes(model);
  char *next = moh__block_alloc((size_t)n + 1);
  model->packed = next;
  if (next == NULL) return no_memory(err, "packed weights", n);
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (w->grouping == MOH__PACK_NONE) continue;
    w->packed = next;
    next += aligned_bytes(moh__param_packed_bytes(w));
    if (model->grads == NULL) continue;
    w->packed_back = next;
    next += aligned_bytes(moh__param_packed_back_bytes(w));
  }
  model->packed_for_backward = model->grads != NULL;
  return MOH_OK;
}

static void free_packed(moh__model *model) {
  free(model->packed);
  model->packed = NULL;
  for (int i = 0; i < model->n_params; i++)
    model->params[i].packed = model->params[i].packed_back = NULL;
}

void moh__model_set_precision(moh__model *model, moh__precision precision) {
  if (model->precision == precision) return;
  free_packed(model);
  model->precision = precision;
  for (int i = 0; i < model->n_params; i++)
    if ((model->params[i].flags & (MOH__PARAM_ROUTER | MOH__PARAM_F32)) == 0)
      model->params[i].precision = precision;
}

moh_status moh__model_pack(moh__model *model, moh__pool *pool,
                           moh_error *err) {
  if (model->grads != NULL && !model->packed_for_backward) free_packed(model);
  if (model->packed == NULL) MOH_TRY(alloc_packed(model, err));
  for (int i = 0; i < model->n_params; i++)
    MOH_TRY(pack_param(&model->params[i], pool, err));
  return MOH_OK;
}

moh_status moh__model_repack(moh__model *model, moh__pool *pool,
                             moh_error *err) {
  if (model->packed == NULL || !model->packed_for_backward)
    return moh__model_pack(model, pool, err);
  for (int i = 0; i < model->n_params; i++) {
    moh__param *w = &model->params[i];
    if (moh__param_is_trained(w) && (w->flags & MOH__PARAM_ADAPTED) == 0)
      moh__param_pack(w, pool);
  }
  return MOH_OK;
}

/* Squares of finite numbers are finite in double, and so is their sum. */
static bool rows_are_finite(const moh__param *w, real *row) {
  int64_t n = moh__param_in(w);
  bool finite = true;
  for (int64_t i = 0; finite && i < moh__param_out(w); i++) {
    moh__param_row(w, i, row);
    finite = isfinite(moh__kernel()->sum_squares(row, n));
  }
  return finite;
}

static moh_status check_finite(const moh__param *w, moh_error *err) {
  bool finite;
  if (w->data != NULL) {
    finite = isfinite(moh__kernel()->sum_squares(w->data, w->n));
  } else {
    real *row = malloc((size_t)moh__param_in(w) * sizeof(real));
    if (row == NULL) return no_memory(err, "a row", moh__param_in(w));
    finite = rows_are_finite(w, row);
    free(row);
  }
  if (finite) return MOH_OK;
  return moh__fail(err, MOH_ERR_DIVERGED,
                   "%s has a weight that is not finite", w->name);
}

moh_status moh__model_check_finite(const moh__model *model, moh_error *err) {
  for (int i = 0; i < model->n_params; i++)
    MOH_TRY(check_finite(&model->params[i], err));
  return MOH_OK;
}

int64_t moh__model_count(const moh__model *model) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++)
    n += trained_size(&model->params[i]);
  return n;
}

int64_t moh__model_count_updated(const moh__model *model) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++)
    n += updated_size(&model->params[i]);
  return n;
}

int64_t moh__model_count_routers(const moh__model *model) {
  int64_t n = 0;
  for (int i = 0; i < model->n_params; i++)
    if ((model->params[i].flags & MOH__PARAM_ROUTER) != 0)
      n += trained_size(&model->params[i]);
  return n;
}

int64_t moh__model_count_active(const moh__model *model) {
  const moh__experts *x = &model->config.experts;
  int64_t n = moh__model_count(model);
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    if (strstr(w->name, ".mlp.experts.") != NULL)
      n -= w->n / w->n_groups * (x->n_routed - x->k);
  }
  return n;
}

moh__model_bytes moh__model_measure(const moh__model *model) {
  int64_t size = sizeof(real);
  moh__model_bytes bytes = {
      .grads = block_size(model, grad_size) * size,
      .moments = 2 * block_size(model, updated_size) * size};
  for (int i = 0; i < model->n_params; i++) {
    const moh__param *w = &model->params[i];
    bytes.data += aligned_bytes(moh__param_bytes(w));
    bytes.decoded += aligned_bytes(w->n * size);
    bytes.packed += aligned_bytes(moh__param_packed_bytes(w));
    bytes.packed_back += aligned_bytes(moh__param_packed_back_bytes(w));
  }
  return bytes;
}
