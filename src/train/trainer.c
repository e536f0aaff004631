/* The training step: draw, forward, backward, check, clip, update. */
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/clock.h"
#include "train/clipping.h"
#include "train/freeze.h"
#include "train/trainer_internal.h"

void moh__train_options_default(moh__train_options *options) {
  *options = (moh__train_options){.lr = 1e-3,
                                  .lr_final = 0.1,
                                  .warmup = 0.05,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .eps = 1e-8,
                                  .weight_decay = 0.1,
                                  .clip = 1.0,
                                  .anomaly = 1000,
                                  .router_lr = 1.0,
                                  .steps = 1000,
                                  .batch = 8,
                                  .accumulate = 1,
                                  .context = 64,
                                  .seed = 1};
}

/* ---- making ---- */

static int64_t count_steps(const moh__trainer *t) {
  const moh__train_options *o = &t->options;
  if (o->epochs == 0) return o->steps;
  int64_t sequences = o->epochs * moh__batcher_epoch(&t->batcher);
  int64_t per_step = (int64_t)o->batch * o->accumulate;
  return (sequences + per_step - 1) / per_step;
}

static moh_status alloc_loads(moh__trainer *t, moh_error *err) {
  const moh__config *c = &t->model->config;
  int64_t n = moh__config_trained_passes(c);
  moh__router_shape heads = moh__config_router_shape(c);
  moh__router_shape experts = moh__config_expert_shape(c);
  MOH_TRY(
      moh__loads_init(&t->heads, moh__config_routes(c) ? n : 0, &heads, err));
  MOH_TRY(moh__loads_init(&t->experts, experts.n_routed > 0 ? n : 0, &experts,
                          err));
  return moh__head_control_init(&t->control, c, t->options.target_heads, err);
}

/* Each number on its own; NaN is outside of every range. */
static moh_status check_ranges(const moh__train_options *o, moh_error *err) {
  const struct {
    const char *name;
    double value, min, max;
  } ranges[] = {
      {"lr", o->lr, 1e-30, 1e6},
      {"lr_final", o->lr_final, 0, 1},
      {"warmup", o->warmup, 0, 1},
      {"beta1", o->beta1, 0, 1 - 1e-9},
      {"beta2", o->beta2, 0, 1 - 1e-9},
      {"eps", o->eps, 1e-30, 1},
      {"weight_decay", o->weight_decay, 0, 1e6},
      {"clip", o->clip, 0, 1e30},
      {"agc", o->agc, 0, 1e30},
      {"anomaly", o->anomaly, 0, 1e30},
      {"router_lr", o->router_lr, 0, 1e6},
      {"skip_outliers", o->skip_outliers, 0, 1e9},
      {"heads_warmup", (double)o->heads_warmup, 0, 1e12},
      {"target_heads", o->target_heads, 0, 1 << 12},
      {"lora_rank", o->lora_rank, 0, 1 << 12},
      {"lora_alpha", o->lora_alpha, 0, 1e6},
      {"epochs", (double)o->epochs, 0, 1e9},
      {"steps", (double)o->steps, 0, 1e12},
      {"batch", o->batch, 1, 1 << 20},
      {"accumulate", o->accumulate, 1, 1 << 20},
      {"context", o->context, 1, 1 << 30},
  };
  for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
    if (!(ranges[i].value >= ranges[i].min &&
          ranges[i].value <= ranges[i].max))
      return moh__fail(
          err, MOH_ERR_ARGUMENT, "%s must lie between %g and %g, not be %g",
          ranges[i].name, ranges[i].min, ranges[i].max, ranges[i].value);
  return MOH_OK;
}

static moh_status check_options(const moh__model *model,
                                const moh__train_options *o, moh_error *err) {
  MOH_TRY(check_ranges(o, err));
  if (o->epochs == 0 && o->steps == 0)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "there is nothing to do: no epochs and no steps");
  if ((int64_t)o->batch * o->accumulate > INT32_MAX)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a step of %d x %d sequences is too large", o->batch,
                     o->accumulate);
  if (o->heads_warmup > 0 && !moh__config_routes(&model->config))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "heads_warmup is for models whose tokens choose heads, "
                     "and in this one they do not");
  if (o->lora_rank > 0 && (o->agc > 0 || o->centralize))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "agc and centralize look at rows of matrices, and do "
                     "not go with adapters");
  if (o->lora_rank > 0 && (o->lora_on == NULL || o->lora_alpha == 0))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "adapters need lora_alpha and lora_on");
  if (o->context > model->config.max_seq_len)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a context of %d is longer than the model's %lld",
                     o->context, (long long)model->config.max_seq_len);
  return MOH_OK;
}

moh_status moh__trainer_mark(moh__model *model, const moh__train_options *o,
                             moh_error *err) {
  MOH_TRY(moh__freeze(model, o->freeze, err));
  if (o->lora_rank == 0 || o->lora_on == NULL) return MOH_OK;
  return moh__lora_mark(model, o->lora_on, err);
}

static moh_status open_lora(moh__trainer *t, moh_error *err) {
  const moh__train_options *o = &t->options;
  if (o->lora_rank == 0) return MOH_OK;
  MOH_TRY(moh__lora_new(&t->lora, t->model, o->lora_rank, o->lora_alpha,
                        o->lora_on, o->seed, err));
  return moh__optimizer_new(&t->lora_optimizer, moh__lora_params(t->lora),
                            o->amsgrad, err);
}

static moh_status open_trainer(moh__trainer *t, const moh__dataset *main,
                               const moh__dataset *mix, moh_error *err) {
  const moh__train_options *o = &t->options;
  MOH_TRY(moh__batcher_init(&t->batcher, main, mix, o->mix_share, o->context,
                            o->seed, err));
  t->n_steps = count_steps(t);
  size_t spans = (size_t)o->batch * (size_t)o->accumulate;
  t->spans = calloc(spans, sizeof(moh__span));
  if (t->spans == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  MOH_TRY(moh__micro_batch_init(&t->micro, o->batch, o->context, err));
  MOH_TRY(alloc_loads(t, err));
  MOH_TRY(moh__windows_init(&t->windows, t->model, err));
  MOH_TRY(moh__trainer_mark(t->model, o, err));
  MOH_TRY(open_lora(t, err));
  MOH_TRY(moh__model_alloc_grads(t->model, err));
  MOH_TRY(moh__optimizer_new(&t->optimizer, t->model, o->amsgrad, err));
  moh__model_set_precision(t->model, o->precision);
  MOH_TRY(moh__model_pack(t->model, t->pool, err));
  size_t bytes = 0;
  MOH_TRY(moh__arch_arena_bytes_training(t->model, o->batch, o->context,
                                         o->recompute, o->heads_warmup > 0,
                                         &bytes, err));
  MOH_TRY(moh__arena_init(&t->arena, bytes, err));
  MOH_TRY(moh__tape_init(&t->tape, &t->arena, t->pool, err));
  t->tape.recompute = o->recompute;
  return MOH_OK;
}

static moh_status copy_text(const char **text, char **copy, moh_error *err) {
  if (*text == NULL) return MOH_OK;
  *copy = strdup(*text);
  *text = *copy;
  if (*copy != NULL) return MOH_OK;
  return moh__fail(err, MOH_ERR_MEMORY, "no memory");
}

moh_status moh__trainer_new(moh__trainer **out, moh__model *model,
                            moh__pool *pool,
                            const moh__train_options *options,
                            const moh__dataset *main, const moh__dataset *mix,
                            moh_error *err) {
  *out = NULL;
  MOH_TRY(check_options(model, options, err));
  moh__trainer *t = calloc(1, sizeof(*t));
  if (t == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  t->model = model;
  t->pool = pool;
  t->options = *options;
  moh_status status = copy_text(&t->options.freeze, &t->freeze, err);
  if (status == MOH_OK)
    status = copy_text(&t->options.lora_on, &t->lora_on, err);
  if (status == MOH_OK) status = open_trainer(t, main, mix, err);
  if (status != MOH_OK) {
    moh__trainer_free(t);
    return status;
  }
  *out = t;
  return MOH_OK;
}

void moh__trainer_free(moh__trainer *t) {
  if (t == NULL) return;
  json_decref(t->data_hashes);
  moh__batcher_free(&t->batcher);
  moh__micro_batch_free(&t->micro);
  moh__optimizer_free(t->optimizer);
  moh__optimizer_free(t->lora_optimizer);
  if (t->lora != NULL) moh__lora_settle(t->lora, t->pool);
  moh__lora_free(t->lora);
  moh__tape_free(&t->tape);
  moh__arena_free(&t->arena);
  free(t->freeze);
  free(t->lora_on);
  free(t->spans);
  moh__head_control_free(&t->control);
  moh__loads_free(&t->heads);
  moh__loads_free(&t->experts);
  moh__windows_free(&t->windows);
  free(t);
}

moh_status moh__trainer_merge(moh__trainer *t, moh_error *err) {
  return t->lora == NULL ? MOH_OK : moh__lora_merge(t->lora, t->pool, err);
}

void moh__trainer_unmerge(moh__trainer *t) {
  if (t->lora != NULL) moh__lora_unmerge(t->lora);
}

void moh__trainer_set_stop(moh__trainer *t, moh__stop_fn *stop,
                           void *context) {
  t->stop = stop;
  t->stop_context = context;
}

const moh__model *moh__trainer_adapters(const moh__trainer *t) {
  return t->lora == NULL ? NULL : moh__lora_params(t->lora);
}

int64_t moh__trainer_n_steps(const moh__trainer *t) { return t->n_steps; }

int64_t moh__trainer_step_number(const moh__trainer *t) { return t->step; }

int64_t moh__trainer_n_skipped(const moh__trainer *t) {
  return t->outliers.n_skipped;
}

/* ---- a step ---- */

/* Linear from 0 over the warm-up, then a cosine down to lr_final. */
static double learning_rate(const moh__trainer *t, int64_t step) {
  const moh__train_options *o = &t->options;
  double warmup = ceil(o->warmup * (double)t->n_steps);
  if ((double)step <= warmup) return o->lr * (double)step / warmup;
  double rest = (double)t->n_steps - warmup;
  double done = rest > 0 ? ((double)step - warmup) / rest : 1;
  double wave = 0.5 * (1 + cos(3.141592653589793 * done));
  return o->lr * (o->lr_final + (1 - o->lr_final) * wave);
}

/* Sums over a step, in the order of the data. */
typedef struct step_sums {
  double main_loss, mix_loss;
  int64_t n_main, n_mix;
} step_sums;

static int64_t draw_spans(moh__trainer *t) {
  int64_t n_tokens = 0;
  int32_t n = t->options.batch * t->options.accumulate;
  for (int32_t i = 0; i < n; i++) {
    t->spans[i] = moh__batcher_draw(&t->batcher);
    n_tokens += t->spans[i].n_inputs;
  }
  return n_tokens;
}

static void add_losses(const moh__trainer *t, const moh__span *spans,
                       step_sums *sums) {
  int32_t row = 0;
  for (int32_t s = 0; s < t->options.batch; s++) {
    double loss = 0;
    for (int32_t i = 0; i < spans[s].n_inputs; i++)
      loss += (double)t->micro.loss[row++];
    if (spans[s].mixed) {
      sums->mix_loss += loss;
      sums->n_mix += spans[s].n_inputs;
    } else {
      sums->main_loss += loss;
      sums->n_main += spans[s].n_inputs;
    }
  }
}

static moh_status run_micro_batch(moh__trainer *t, int32_t number,
                                  real weight, step_sums *sums,
                                  moh_error *err) {
  const moh__span *spans = t->spans + number * t->options.batch;
  MOH_TRY(
      moh__micro_batch_fill(&t->micro, spans, t->options.batch, weight, err));
  moh__tape_reset(&t->tape, true);
  t->tape.aux_scale = (real)(1.0 / t->options.accumulate);
  t->tape.evenness = number == 0 ? t->windows.evenness : NULL;
  moh__arch_loss(t->model, &t->tape, &t->micro.batch, t->micro.targets,
                 t->micro.weights, t->micro.loss);
  moh__tape_backward(&t->tape);
  t->tape.evenness = NULL;
  add_losses(t, spans, sums);
  double share = 1.0 / t->options.accumulate;
  moh__head_control_take(&t->control, t->tape.use);
  moh__loads_add(&t->heads, t->tape.use, share);
  moh__loads_add(&t->experts, t->tape.expert_use, share);
  return MOH_OK;
}

static void fill_report(const moh__trainer *t, const step_sums *sums,
                        moh__step_report *r) {
  const moh__config *c = &t->model->config;
  const moh__batcher *b = &t->batcher;
  r->n_steps = t->n_steps;
  r->epoch = (double)b->n_drawn / (double)moh__batcher_epoch(b);
  r->n_tokens = sums->n_main + sums->n_mix;
  r->task_loss = (sums->main_loss + sums->mix_loss) / (double)r->n_tokens;
  r->main_loss = sums->main_loss / (double)sums->n_main;
  r->mix_loss = sums->n_mix == 0 ? NAN : sums->mix_loss / (double)sums->n_mix;
  r->balance_loss = t->heads.balance;
  r->z_loss = t->heads.z;
  r->sparsity_loss = t->heads.sparsity;
  r->heads = t->heads.per_token;
  r->expert_balance_loss = t->experts.balance;
  r->expert_z_loss = t->experts.z;
  r->total_loss = r->task_loss + c->balance_weight * r->balance_loss +
                  c->z_weight * r->z_loss +
                  moh__config_sparsity(c) * r->sparsity_loss +
                  c->experts.balance_weight * r->expert_balance_loss +
                  c->experts.z_weight * r->expert_z_loss;
  r->n_routed_layers = t->heads.n_layers;
  r->layers = t->heads.layers;
  r->n_expert_layers = t->experts.n_layers;
  r->expert_layers = t->experts.layers;
  r->n_windows = t->windows.n_layers;
  r->windows = t->windows.sizes;
}

/* Of all that is updated. */
static moh_status gradient_norm(moh__trainer *t, double *norm,
                                moh_error *err) {
  double adapters;
  MOH_TRY(moh__optimizer_norm(t->optimizer, t->pool, norm, err));
  if (t->lora == NULL) return MOH_OK;
  MOH_TRY(moh__optimizer_norm(t->lora_optimizer, t->pool, &adapters, err));
  *norm = hypot(*norm, adapters);
  return MOH_OK;
}

/* Row by row first, then as a whole; the latter is left to the update. */
static moh_status clip(moh__trainer *t, moh__step_report *r, double *scale,
                       moh_error *err) {
  const moh__train_options *o = &t->options;
  const moh__clipping rows = {.centralize = o->centralize, .agc = o->agc};
  double norm = r->grad_norm;
  if (rows.centralize || rows.agc > 0) {
    moh__clip_rows(&rows, t->model, t->pool);
    MOH_TRY(moh__optimizer_norm(t->optimizer, t->pool, &norm, err));
  }
  *scale = moh__clip_scale(norm, o->clip);
  r->clipped_norm = norm * *scale;
  return MOH_OK;
}

static moh_status step_lora(moh__trainer *t, const moh__adamw_options *adamw,
                            double scale, moh_error *err) {
  if (t->lora == NULL) return MOH_OK;
  MOH_TRY(moh__optimizer_step(t->lora_optimizer, t->pool, adamw, scale, err));
  moh__lora_pack(t->lora, t->pool);
  return MOH_OK;
}

static moh_status update(moh__trainer *t, moh__step_report *r,
                         moh_error *err) {
  const moh__train_options *o = &t->options;
  double scale;
  MOH_TRY(clip(t, r, &scale, err));
  moh__adamw_options adamw = {.lr = r->lr,
                              .router_lr = o->router_lr,
                              .beta1 = o->beta1,
                              .beta2 = o->beta2,
                              .eps = o->eps,
                              .weight_decay = o->weight_decay,
                              .l2 = o->l2};
  MOH_TRY(moh__optimizer_step(t->optimizer, t->pool, &adamw, scale, err));
  MOH_TRY(step_lora(t, &adamw, scale, err));
  moh__windows_update(&t->windows, r->task_loss);
  moh__loads_balance(&t->heads, t->model->config.bias_balance);
  moh__loads_balance(&t->experts, t->model->config.experts.bias_balance);
  return MOH_OK;
}

/* Whether the gradients may become an update, or are an outlier's. */
static moh_status check_gradients(moh__trainer *t, moh__step_report *r,
                                  moh_error *err) {
  const moh__train_options *o = &t->options;
  const moh__outliers before = t->outliers;
  MOH_TRY(gradient_norm(t, &r->grad_norm, err));
  r->skipped = o->skip_outliers > 0 &&
               moh__outliers_check(&t->outliers, o->skip_outliers,
                                   r->task_loss, r->grad_norm);
  if (r->skipped || o->anomaly == 0) return MOH_OK;
  moh_status status = moh__optimizer_check(t->optimizer, o->anomaly, err);
  if (status == MOH_OK && t->lora != NULL)
    status = moh__optimizer_check(t->lora_optimizer, o->anomaly, err);
  if (status != MOH_OK) t->outliers = before;
  return status;
}

/* The update, unless the step is an outlier or has diverged: no weight has
 * changed then. */
static moh_status finish_step(moh__trainer *t, moh__step_report *r,
                              moh_error *err) {
  if (!isfinite(r->total_loss))
    return moh__fail(err, MOH_ERR_DIVERGED,
                     "the loss of step %lld is not finite; no weight was "
                     "changed. A lower learning rate or a longer warm-up "
                     "usually helps",
                     (long long)r->step);
  moh_status status = check_gradients(t, r, err);
  if (status != MOH_OK)
    return moh__fail_in(err, status, "step %lld", (long long)r->step);
  if (r->skipped) return MOH_OK;
  MOH_TRY(update(t, r, err));
  moh__head_control_update(&t->control, t->model,
                           moh__optimizer_steps(t->optimizer));
  return MOH_OK;
}

static moh_status check_stop(const moh__trainer *t, const char *what,
                             moh_error *err) {
  if (t->stop == NULL || !t->stop(t->stop_context)) return MOH_OK;
  return moh__fail(err, MOH_ERR_INTERRUPTED, "stopped within %s", what);
}

static moh_status run_micro_batches(moh__trainer *t, real weight,
                                    step_sums *sums, moh_error *err) {
  for (int32_t i = 0; i < t->options.accumulate; i++) {
    if (i > 0) MOH_TRY(check_stop(t, "a step", err));
    MOH_TRY(run_micro_batch(t, i, weight, sums, err));
  }
  return MOH_OK;
}

/* Only here do all heads work: evaluations see the model as it will be. */
static moh_status run_step(moh__trainer *t, moh__step_report *r,
                           moh_error *err) {
  step_sums sums = {0};
  real weight = (real)(1.0 / (double)draw_spans(t));
  moh__head_control_clear(&t->control);
  moh__loads_begin(&t->heads);
  moh__loads_begin(&t->experts);
  moh__windows_begin(&t->windows);
  moh__model_forget_grads(t->model);
  r->every_head = r->step <= t->options.heads_warmup;
  t->tape.every_head = r->every_head;
  moh_status status = run_micro_batches(t, weight, &sums, err);
  t->tape.every_head = false;
  MOH_TRY(status);
  moh__model_settle_grads(t->model, t->pool);
  if (t->lora != NULL) moh__lora_gradients(t->lora, t->pool);
  moh__loads_end(&t->heads);
  moh__loads_end(&t->experts);
  fill_report(t, &sums, r);
  return finish_step(t, r, err);
}

/* A step that fails has not been: its sequences are drawn again. */
moh_status moh__trainer_step(moh__trainer *t, moh__step_report *r,
                             moh_error *err) {
  double start = moh__now();
  int64_t n_drawn = t->batcher.n_drawn;
  memset(r, 0, sizeof(*r));
  r->step = t->step + 1;
  r->lr = learning_rate(t, r->step);
  moh_status status = run_step(t, r, err);
  if (status == MOH_OK)
    t->step = r->step;
  else
    moh__batcher_seek(&t->batcher, n_drawn);
  r->seconds = moh__now() - start;
  return status;
}

/* ---- before the first step ---- */

/* Spans of one micro-batch, over and over from the first where the data are
 * few. The batcher draws nothing. Gives their tokens. */
static int64_t choose_probe(moh__trainer *t) {
  const moh__train_options *o = &t->options;
  const moh__dataset *data = t->batcher.main.dataset;
  int64_t n_tokens = 0, next = 0;
  for (int32_t i = 0; i < o->batch; i++) {
    if (!moh__dataset_span(data, next++, o->context, &t->spans[i])) {
      moh__dataset_span(data, 0, o->context, &t->spans[i]);
      next = 1;
    }
    n_tokens += t->spans[i].n_inputs;
  }
  return n_tokens;
}

/* What a step does around its micro-batches. The update itself cannot be
 * tried; it moves seven numbers a parameter where the norm reads one. */
static moh_status probe_rest(moh__trainer *t, double *seconds,
                             moh_error *err) {
  double norm, start = moh__now();
  MOH_TRY(moh__model_repack(t->model, t->pool, err));
  if (t->lora != NULL) moh__lora_pack(t->lora, t->pool);
  double middle = moh__now();
  MOH_TRY(moh__optimizer_norm(t->optimizer, t->pool, &norm, err));
  *seconds = middle - start + 8 * (moh__now() - middle);
  return MOH_OK;
}

/* The second time counts: memory is first touched in the first. Gradients
 * are cleared at the start of each step, so what is left in them is lost. */
moh_status moh__trainer_probe(moh__trainer *t, moh__pace *pace,
                              moh_error *err) {
  double n_tokens = (double)choose_probe(t), once = 0, rest;
  for (int i = 0; i < 2; i++) {
    step_sums sums = {0};
    double start = moh__now();
    MOH_TRY(run_micro_batch(t, 0, (real)(1 / n_tokens), &sums, err));
    once = moh__now() - start;
  }
  MOH_TRY(probe_rest(t, &rest, err));
  double sequences = (double)t->options.batch * t->options.accumulate;
  pace->tokens = sequences * moh__batcher_mean_inputs(&t->batcher);
  pace->seconds = once * pace->tokens / n_tokens + rest;
  return MOH_OK;
}

/* ---- evaluation ---- */

static void add_evaluation(const moh__micro_batch *m, moh__eval_result *r) {
  for (int32_t s = 0; s < m->batch.n_seq; s++) {
    int32_t first = m->seq_start[s];
    int32_t n = m->seq_start[s + 1] - first;
    double loss = 0;
    for (int32_t i = 0; i < n; i++) loss += (double)m->loss[first + i];
    r->n_tokens += n;
    r->loss += loss;
    r->sequence_loss += loss / n;
  }
}

moh_status moh__trainer_evaluate(moh__trainer *t, const moh__dataset *dataset,
                                 moh__eval_result *r, moh_error *err) {
  memset(r, 0, sizeof(*r));
  int64_t n_spans = 0;
  moh__span *spans = t->spans; /* a micro-batch's worth is there */
  for (bool more = true; more;) {
    int32_t n = 0;
    while (n < t->options.batch &&
           (more = moh__dataset_span(dataset, n_spans, t->options.context,
                                     &spans[n]))) {
      n++;
      n_spans++;
    }
    if (n == 0) break;
    MOH_TRY(check_stop(t, "an evaluation", err));
    MOH_TRY(moh__micro_batch_fill(&t->micro, spans, n, 0, err));
    moh__tape_reset(&t->tape, false);
    moh__arch_loss(t->model, &t->tape, &t->micro.batch, t->micro.targets,
                   t->micro.weights, t->micro.loss);
    add_evaluation(&t->micro, r);
  }
  if (n_spans == 0)
    return moh__fail(err, MOH_ERR_FORMAT, "there is nothing to evaluate");
  r->loss /= (double)r->n_tokens;
  r->sequence_loss /= (double)n_spans;
  if (!isfinite(r->loss))
    return moh__fail(err, MOH_ERR_DIVERGED,
                     "the loss of evaluated data after step %lld is not "
                     "finite. A lower learning rate or a longer warm-up "
                     "usually helps",
                     (long long)t->step);
  return MOH_OK;
}
