/* Training through moh.h: a trainer with threads of its own. */
#include <stdlib.h>
#include <unistd.h>

#include "api/handles.h"
#include "api/sized.h"
#include "base/file.h"

struct moh_trainer {
  moh_model *model;
  moh__pool *pool;
  moh__trainer *inner;
  moh__step_report report; /* of the last step */
};

/* ---- options ---- */

static moh_train_options train_defaults(void) {
  moh__train_options o;
  moh__train_options_default(&o);
  return (moh_train_options){.size = sizeof(moh_train_options),
                             .lr = o.lr,
                             .lr_final = o.lr_final,
                             .warmup = o.warmup,
                             .beta1 = o.beta1,
                             .beta2 = o.beta2,
                             .eps = o.eps,
                             .weight_decay = o.weight_decay,
                             .l2 = o.l2,
                             .amsgrad = o.amsgrad,
                             .clip = o.clip,
                             .router_lr = o.router_lr,
                             .epochs = o.epochs,
                             .steps = o.steps,
                             .batch = o.batch,
                             .accumulate = o.accumulate,
                             .context = o.context,
                             .mix_share = o.mix_share,
                             .skip_outliers = o.skip_outliers,
                             .seed = o.seed,
                             .freeze = o.freeze,
                             .precision = (moh_precision)o.precision,
                             .recompute = o.recompute,
                             .anomaly = o.anomaly,
                             .agc = o.agc,
                             .centralize = o.centralize,
                             .heads_warmup = o.heads_warmup,
                             .target_heads = o.target_heads,
                             .lora_rank = o.lora_rank,
                             .lora_alpha = o.lora_alpha,
                             .lora_on = o.lora_on};
}

static moh__train_options inner_options(const moh_train_options *o) {
  moh__train_options inner;
  moh__train_options_default(&inner); /* what moh.h has no word for */
  inner.lr = o->lr;
  inner.lr_final = o->lr_final;
  inner.warmup = o->warmup;
  inner.beta1 = o->beta1;
  inner.beta2 = o->beta2;
  inner.eps = o->eps;
  inner.weight_decay = o->weight_decay;
  inner.l2 = o->l2;
  inner.amsgrad = o->amsgrad;
  inner.clip = o->clip;
  inner.router_lr = o->router_lr;
  inner.epochs = o->epochs;
  inner.steps = o->steps;
  inner.batch = o->batch;
  inner.accumulate = o->accumulate;
  inner.context = o->context;
  inner.mix_share = o->mix_share;
  inner.skip_outliers = o->skip_outliers;
  inner.seed = o->seed;
  inner.freeze = o->freeze;
  inner.precision = (moh__precision)o->precision;
  inner.recompute = o->recompute;
  inner.anomaly = o->anomaly;
  inner.agc = o->agc;
  inner.centralize = o->centralize;
  inner.heads_warmup = o->heads_warmup;
  inner.target_heads = o->target_heads;
  inner.lora_rank = o->lora_rank;
  if (o->lora_rank != 0) {
    bool given = o->lora_alpha != 0;
    inner.lora_alpha = given ? o->lora_alpha : 2 * (double)o->lora_rank;
    inner.lora_on = o->lora_on != NULL ? o->lora_on : "q_proj,v_proj";
  }
  return inner;
}

void moh_train_options_default(moh_train_options *options, size_t size) {
  moh_train_options defaults = train_defaults();
  moh__options_init(options, size, &defaults, sizeof(defaults));
}

/* ---- making ---- */

static moh_status check_vocabulary(const moh_model *model,
                                   const moh_dataset *dataset,
                                   moh_error *err) {
  if (dataset == NULL || dataset->vocab <= model->inner->config.vocab_size)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "the dataset has ids up to %lld, the model knows %lld "
                   "tokens: was it encoded with the model's tokenizer?",
                   (long long)dataset->vocab - 1,
                   (long long)model->inner->config.vocab_size);
}

static moh_status check_model(const moh_model *model, moh_error *err) {
  if (!model->trainable)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the model's weights are mapped from a file; load it "
                     "with the option trainable");
  if (model->has_trainer)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the model has a trainer; free that one first");
  return MOH_OK;
}

static moh_status check_precision(moh_precision precision, moh_error *err) {
  if (precision == MOH_F32 || precision == MOH_BF16) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT, "%d is no precision",
                   (int)precision);
}

static moh_status open_trainer(moh_trainer *trainer, const moh_dataset *data,
                               const moh_dataset *mix,
                               const moh__train_options *options,
                               int32_t n_threads, moh_error *err) {
  MOH_TRY(moh__pool_new(&trainer->pool, n_threads, err));
  return moh__trainer_new(&trainer->inner, trainer->model->inner,
                          trainer->pool, options, data->inner,
                          mix == NULL ? NULL : mix->inner, err);
}

static moh_status make_trainer(moh_trainer **out, moh_model *model,
                               const moh_dataset *data,
                               const moh_dataset *mix,
                               const moh__train_options *options,
                               int32_t n_threads, moh_error *err) {
  MOH_TRY(check_model(model, err));
  MOH_TRY(check_vocabulary(model, data, err));
  MOH_TRY(check_vocabulary(model, mix, err));
  moh_trainer *made = calloc(1, sizeof(*made));
  if (made == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a trainer");
  made->model = model;
  model->has_trainer = true;
  moh_status status = open_trainer(made, data, mix, options, n_threads, err);
  if (status != MOH_OK) {
    moh_trainer_free(made);
    return status;
  }
  *out = made;
  return MOH_OK;
}

moh_status moh_trainer_new(moh_trainer **trainer, moh_model *model,
                           const moh_dataset *data, const moh_dataset *mix,
                           const moh_train_options *options, moh_error *err) {
  MOH__NEED(trainer, err);
  *trainer = NULL;
  MOH__NEED(model, err);
  MOH__NEED(data, err);
  moh_train_options o = train_defaults();
  MOH_TRY(
      moh__options_read(&o, sizeof(o), options, "moh_train_options", err));
  MOH_TRY(check_precision(o.precision, err));
  moh__train_options inner = inner_options(&o);
  return make_trainer(trainer, model, data, mix, &inner, o.n_threads, err);
}

void moh_trainer_free(moh_trainer *trainer) {
  if (trainer == NULL) return;
  trainer->model->has_trainer = false;
  moh__trainer_free(trainer->inner);
  moh__pool_free(trainer->pool);
  free(trainer);
}

int64_t moh_trainer_n_steps(const moh_trainer *trainer) {
  return trainer == NULL ? 0 : moh__trainer_n_steps(trainer->inner);
}

int64_t moh_trainer_steps_done(const moh_trainer *trainer) {
  return trainer == NULL ? 0 : moh__trainer_step_number(trainer->inner);
}

/* ---- stepping ---- */

static moh_step_report public_report(const moh__step_report *r) {
  return (moh_step_report){.step = r->step,
                           .n_steps = r->n_steps,
                           .epoch = r->epoch,
                           .loss = r->task_loss,
                           .main_loss = r->main_loss,
                           .mix_loss = r->mix_loss,
                           .balance = r->balance_loss,
                           .z_loss = r->z_loss,
                           .total_loss = r->total_loss,
                           .grad_norm = r->grad_norm,
                           .lr = r->lr,
                           .n_tokens = r->n_tokens,
                           .seconds = r->seconds,
                           .skipped = r->skipped,
                           .clipped_norm = r->clipped_norm,
                           .every_head = r->every_head,
                           .expert_balance = r->expert_balance_loss,
                           .expert_z_loss = r->expert_z_loss,
                           .heads = r->heads,
                           .sparsity = r->sparsity_loss};
}

static moh_status step(moh_trainer *trainer, moh_step_report *report,
                       moh_error *err) {
  int64_t n_steps = moh__trainer_n_steps(trainer->inner);
  if (moh__trainer_step_number(trainer->inner) >= n_steps)
    return moh__fail(err, MOH_ERR_ARGUMENT, "all %lld steps are done",
                     (long long)n_steps);
  MOH_TRY(moh__trainer_step(trainer->inner, &trainer->report, err));
  if (!trainer->report.skipped) trainer->model->n_steps++;
  *report = public_report(&trainer->report);
  return MOH_OK;
}

moh_status moh_trainer_step(moh_trainer *trainer, moh_step_report *report,
                            size_t size, moh_error *err) {
  MOH__NEED(trainer, err);
  moh_step_report known;
  MOH_TRY(step(trainer, &known, err));
  if (report != NULL) moh__result_write(report, size, &known, sizeof(known));
  return MOH_OK;
}

moh_status moh_trainer_run(moh_trainer *trainer, moh_step_fn *on_step,
                           void *context, moh_error *err) {
  MOH__NEED(trainer, err);
  int64_t left =
      moh_trainer_n_steps(trainer) - moh_trainer_steps_done(trainer);
  for (; left > 0; left--) {
    moh_step_report report;
    MOH_TRY(step(trainer, &report, err));
    if (on_step == NULL || on_step(context, &report)) continue;
    return moh__fail(err, MOH_ERR_INTERRUPTED,
                     "stopped by the caller after step %lld of %lld",
                     (long long)report.step, (long long)report.n_steps);
  }
  return MOH_OK;
}

/* Of the n routed layers of a kind. */
static moh_status layer_load(const moh__layer_load *layers, int32_t n,
                             const char *kind, int32_t layer,
                             moh_layer_load *load, size_t size,
                             moh_error *err) {
  if (layer < 0 || layer >= n)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the last step had %d layers with %s; there is no "
                     "layer %d among them",
                     n, kind, layer);
  const moh__layer_load *l = &layers[layer];
  moh_layer_load known = {.n_shared = l->n_shared,
                          .n_routed = l->n_routed,
                          .load = l->load,
                          .balance = l->balance,
                          .entropy = l->entropy,
                          .n_dead = l->n_dead,
                          .heads = l->per_token,
                          .mass = l->mass};
  moh__result_write(load, size, &known, sizeof(known));
  return MOH_OK;
}

moh_status moh_trainer_layer_load(const moh_trainer *trainer, int32_t layer,
                                  moh_layer_load *load, size_t size,
                                  moh_error *err) {
  MOH__NEED(trainer, err);
  MOH__NEED(load, err);
  const moh__step_report *r = &trainer->report;
  return layer_load(r->layers, r->n_routed_layers, "routers", layer, load,
                    size, err);
}

moh_status moh_trainer_expert_load(const moh_trainer *trainer, int32_t layer,
                                   moh_layer_load *load, size_t size,
                                   moh_error *err) {
  MOH__NEED(trainer, err);
  MOH__NEED(load, err);
  const moh__step_report *r = &trainer->report;
  return layer_load(r->expert_layers, r->n_expert_layers, "experts", layer,
                    load, size, err);
}

/* ---- measuring and keeping ---- */

moh_status moh_trainer_evaluate(moh_trainer *trainer,
                                const moh_dataset *dataset,
                                moh_eval_result *result, size_t size,
                                moh_error *err) {
  MOH__NEED(trainer, err);
  MOH__NEED(dataset, err);
  MOH__NEED(result, err);
  MOH_TRY(check_vocabulary(trainer->model, dataset, err));
  moh__eval_result inner;
  MOH_TRY(moh__trainer_evaluate(trainer->inner, dataset->inner, &inner, err));
  moh_eval_result known = {.n_tokens = inner.n_tokens,
                           .loss = inner.loss,
                           .sequence_loss = inner.sequence_loss};
  moh__result_write(result, size, &known, sizeof(known));
  return MOH_OK;
}

moh_status moh_trainer_checkpoint(moh_trainer *trainer, const char *dir,
                                  moh_error *err) {
  MOH__NEED(trainer, err);
  MOH__NEED(dir, err);
  return moh__trainer_checkpoint(
      trainer->inner, moh__model_tokenizer(trainer->model), dir, NULL, err);
}

/* ---- going on ---- */

/* dir is a checkpoint, or a directory of them. */
static moh_status open_checkpoint(moh__checkpoint *checkpoint,
                                  const char *dir, moh_error *err) {
  char *state = moh__path_join(dir, "state.json");
  if (state == NULL) return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
  bool is_checkpoint = access(state, F_OK) == 0;
  free(state);
  if (is_checkpoint) return moh__checkpoint_open(checkpoint, dir, err);
  return moh__checkpoint_newest(checkpoint, dir, NULL, NULL, err);
}

static moh_status restore(moh_trainer **trainer, moh_model **model,
                          const moh__checkpoint *checkpoint,
                          const moh_dataset *data, const moh_dataset *mix,
                          int32_t n_threads, moh_error *err) {
  moh_load_options how;
  moh_load_options_default(&how, sizeof(how));
  how.trainable = true;
  how.n_threads = n_threads;
  MOH_TRY(moh_model_load(model, checkpoint->dir, &how, err));
  MOH_TRY(make_trainer(trainer, *model, data, mix, &checkpoint->options,
                       n_threads, err));
  (*model)->n_steps = checkpoint->updates;
  return moh__trainer_restore((*trainer)->inner, checkpoint, err);
}

moh_status moh_trainer_resume(moh_trainer **trainer, moh_model **model,
                              const char *dir, const moh_dataset *data,
                              const moh_dataset *mix, int32_t n_threads,
                              moh_error *err) {
  MOH__NEED(trainer, err);
  MOH__NEED(model, err);
  *trainer = NULL;
  *model = NULL;
  MOH__NEED(dir, err);
  MOH__NEED(data, err);
  moh__checkpoint checkpoint;
  MOH_TRY(open_checkpoint(&checkpoint, dir, err));
  moh_status status =
      restore(trainer, model, &checkpoint, data, mix, n_threads, err);
  moh__checkpoint_close(&checkpoint);
  if (status == MOH_OK) return MOH_OK;
  moh_trainer_free(*trainer);
  moh_model_free(*model);
  *trainer = NULL;
  *model = NULL;
  return status;
}
