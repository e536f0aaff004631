/*
 * Training: batches from one or two datasets, AdamW with warm-up and cosine,
 * clipping by rows and by the global norm, gradient accumulation. The loss is
 *   L = task + balance_weight * mean over layers of L_b
 *            + z_weight * mean over layers of the z-loss
 *            + sparsity_weight * mean over layers of the entropy of p
 *            + the same of experts with their weights,
 * task = mean over the predicted tokens of a step of their cross entropy.
 * Auxiliary losses are per micro-batch, averaged. The same seed gives the same
 * bits whatever the number of threads.
 */
#ifndef MOH_TRAIN_TRAINER_H
#define MOH_TRAIN_TRAINER_H

#include "base/pool.h"
#include "model/model.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

typedef struct moh__train_options {
  double lr;       /* peak learning rate */
  double lr_final; /* at the end of the cosine, as a share of lr */
  double warmup;   /* share of all steps, linear from 0 */
  double beta1, beta2, eps;
  double weight_decay;  /* matrices only */
  bool l2;              /* decay is part of the gradient, as in Adam */
  bool amsgrad;         /* the largest second moment so far is used */
  double clip;          /* global gradient norm; 0: off */
  double agc;           /* lambda of train/clipping.h; 0: off */
  bool centralize;      /* the rows of gradients */
  double anomaly;       /* largest gradient of a weight; 0: any */
  double router_lr;     /* factor on lr for routers */
  int64_t heads_warmup; /* steps in which tokens use all heads; 0: none */
  int64_t epochs;       /* over the examples; 0: by steps */
  int64_t steps;        /* optimizer steps; with epochs 0 */
  int32_t batch;        /* sequences of a micro-batch */
  int32_t accumulate;   /* micro-batches of a step */
  int32_t context;      /* tokens that a sequence predicts, at most */
  double mix_share;     /* of the sequences, from the second dataset */
  double skip_outliers; /* standard deviations (train/outliers.h); 0: off */
  bool recompute;       /* activations, in backward (op/tape.h) */
  moh__precision precision; /* of products; f32: weights and moments */
  uint64_t seed;
  double target_heads; /* heads of a token to be held (train/head_control.h);
                        * 0: none */
  const char *freeze; /* tensors left alone (train/freeze.h); NULL: none */
  int32_t lora_rank;  /* of adapters in place of all but routers
                       * (train/lora.h); 0: none */
  double lora_alpha;
  const char *lora_on; /* which matrices have them */
} moh__train_options;

void moh__train_options_default(moh__train_options *options);

/* One routed layer over a step (mean over micro-batches). */
typedef struct moh__layer_load {
  int32_t n_shared, n_routed;
  const real *load; /* [n_routed] fraction of tokens that used the head, or
                     * the expert */
  double balance;   /* L_b */
  double entropy;   /* of the load, nats */
  int32_t n_dead;   /* routed ones that no token used */
  double per_token; /* query heads, or experts, of a token: mean */
  double mass;      /* at which its routed heads ended; NaN: they had a number
                     */
} moh__layer_load;

/* What one step did. */
typedef struct moh__step_report {
  int64_t step;    /* from 1 */
  int64_t n_steps; /* in all */
  double epoch;    /* passes over the main dataset so far */
  double task_loss;
  double mix_loss;     /* task loss of the mixed-in sequences; NaN: none */
  double main_loss;    /* task loss of the main dataset's; NaN: none */
  double balance_loss; /* mean over layers of L_b; 0 without routers */
  double z_loss;
  double sparsity_loss; /* mean over layers of the entropy of p */
  double heads; /* of a token and layer, mean; 0 where none are routed */
  double total_loss;
  double grad_norm;    /* before clipping */
  double clipped_norm; /* of what the update was made with; 0: skipped */
  double lr;
  int64_t n_tokens; /* predicted in this step */
  double seconds;   /* of this step */
  bool skipped;     /* an outlier: no weight and no moment has changed */
  bool every_head;  /* in the warm-up of the heads */
  int32_t n_routed_layers;
  const moh__layer_load *layers; /* holds until the next step */
  double expert_balance_loss, expert_z_loss; /* the same of experts */
  int32_t n_expert_layers;
  const moh__layer_load *expert_layers;
  int32_t n_windows;      /* layers, where windows adapt; otherwise 0 */
  const int64_t *windows; /* their sizes in this step; hold as long */
} moh__step_report;

typedef struct moh__eval_result {
  int64_t n_tokens;
  double loss;          /* mean over predicted tokens, nats */
  double sequence_loss; /* mean over sequences of their mean */
} moh__eval_result;

typedef struct moh__trainer moh__trainer;

/* The model must be writable; gradients and moments are allocated here.
 * mix may be NULL. All that is passed must outlive the trainer, but for the
 * options, which are copied. */
moh_status moh__trainer_new(moh__trainer **out, moh__model *model,
                            moh__pool *pool,
                            const moh__train_options *options,
                            const moh__dataset *main, const moh__dataset *mix,
                            moh_error *err);
void moh__trainer_free(moh__trainer *trainer);

/* Flags what these options freeze and adapt; a new trainer does so itself.
 * For measuring the model's memory before. */
moh_status moh__trainer_mark(moh__model *model,
                             const moh__train_options *options,
                             moh_error *err);

/* The parameters of adapters; NULL: none. */
const moh__model *moh__trainer_adapters(const moh__trainer *trainer);

int64_t moh__trainer_n_steps(const moh__trainer *trainer);
/* Steps done, skipped ones among them: the learning rate and the data go by
 * this number. */
int64_t moh__trainer_step_number(const moh__trainer *trainer);
int64_t moh__trainer_n_skipped(const moh__trainer *trainer);

/* Asked before each micro-batch of an evaluation, and of a step but for its
 * first. When it says true, they end with MOH_ERR_INTERRUPTED, and the
 * trainer is as it was before. NULL: never asked. */
typedef bool moh__stop_fn(void *context);
void moh__trainer_set_stop(moh__trainer *trainer, moh__stop_fn *stop,
                           void *context);

/* One step: an update, unless it is skipped as an outlier. A loss or gradient
 * that is not finite, and a gradient beyond options.anomaly in a step that is
 * not skipped, are MOH_ERR_DIVERGED with the tensor's name and the step. A
 * step that fails has changed nothing. */
moh_status moh__trainer_step(moh__trainer *trainer, moh__step_report *report,
                             moh_error *err);

/* What a step will take, about. */
typedef struct moh__pace {
  double seconds;
  double tokens; /* predicted, on average */
} moh__pace;

/* Tries a micro-batch from the front of the data, between two steps. Nothing
 * that a later step computes is changed by it. */
moh_status moh__trainer_probe(moh__trainer *trainer, moh__pace *pace,
                              moh_error *err);

/* Mean loss over a whole dataset: examples each once; a stream in
 * non-overlapping windows of the context. A loss that is not finite is
 * MOH_ERR_DIVERGED. */
moh_status moh__trainer_evaluate(moh__trainer *trainer,
                                 const moh__dataset *dataset,
                                 moh__eval_result *result, moh_error *err);

/* With adapters the model's data are as before the training until the trainer
 * is freed: this puts the adapters' part into them for a model to be saved,
 * and takes it out. Without adapters neither does anything. */
moh_status moh__trainer_merge(moh__trainer *trainer, moh_error *err);
void moh__trainer_unmerge(moh__trainer *trainer);

/* ---- checkpoints (checkpoint.c, restore.c, checkpoints.c) ---- */

/*
 * The whole state into a directory: a model directory plus
 * optimizer.safetensors (moments) and state.json (options, counters, SHA-256
 * of the data). It gets its name when it is whole; what had the name before
 * is replaced. extra: an object of the caller's own that comes back with the
 * checkpoint, or NULL.
 */
moh_status moh__trainer_checkpoint(moh__trainer *trainer,
                                   const moh__tokenizer *tokenizer,
                                   const char *dir, const json_t *extra,
                                   moh_error *err);

/* What a checkpoint says of its run, all of its files compared with their
 * hashes. The model is loaded with moh__model_load. */
typedef struct moh__checkpoint {
  char *dir;
  int64_t step, n_steps;
  int64_t updates; /* steps that were not skipped as outliers */
  moh__train_options options;
  json_t *state; /* state.json */
  json_t *extra; /* an object, borrowed from state; or NULL */
} moh__checkpoint;

moh_status moh__checkpoint_open(moh__checkpoint *checkpoint, const char *dir,
                                moh_error *err);
/* The same of the bytes of a state.json, without a directory. */
moh_status moh__checkpoint_parse(moh__checkpoint *checkpoint,
                                 const char *bytes, size_t n,
                                 const char *name, moh_error *err);
void moh__checkpoint_close(moh__checkpoint *checkpoint);

/* A new trainer of the checkpoint's model and options, and of the same data,
 * goes on where it was saved, to the bit. Other data are refused. After a
 * failure the trainer is of no use. */
moh_status moh__trainer_restore(moh__trainer *trainer,
                                const moh__checkpoint *checkpoint,
                                moh_error *err);

/* Checkpoints of a run lie in one directory, named by their step. */
char *moh__checkpoint_path(const char *dir, int64_t step);

/* Opens the newest one that is whole. Of each newer one that is not, skipped
 * is told (may be NULL). MOH_ERR_IO when there is none. */
typedef void moh__skipped_fn(void *context, const char *path,
                             const moh_error *reason);
moh_status moh__checkpoint_newest(moh__checkpoint *checkpoint,
                                  const char *dir, moh__skipped_fn *skipped,
                                  void *context, moh_error *err);

/* How many there are, whole or not. */
moh_status moh__checkpoints_count(const char *dir, size_t *n, moh_error *err);

/* Of those up to a step removes all but the newest n; and what an interrupted
 * save has left. Later ones are damaged, or the run would have gone on from
 * them: they count for nothing, and give way when the run gets there. */
moh_status moh__checkpoints_keep(const char *dir, int64_t n, int64_t step,
                                 moh_error *err);

/* Options as they stand in run.json and state.json: a new reference, NULL
 * when memory ran out; and back, each field checked. `freeze` is borrowed from
 * the JSON. */
json_t *moh__train_options_json(const moh__train_options *options);
moh_status moh__train_options_from_json(moh__train_options *options,
                                        const json_t *json, moh_error *err);

/* log.jsonl: one line of a step's report, and of an evaluation. */
json_t *moh__step_report_json(const moh__step_report *report);

#endif
