/* The table of architectures, and what is the same for all of them. */
#include "arch/arch.h"

#include <stdlib.h>
#include <string.h>

#include "arch/hrm.h"
#include "arch/hypermixer.h"
#include "arch/transformer.h"

const moh__arch *moh__arch_of(const moh__config *config) {
  static const moh__arch *const table[] = {
      [MOH__TRANSFORMER] = &moh__transformer, [MOH__HRM] = &moh__hrm,
      [MOH__HYPERMIXER] = &moh__hypermixer};
  return table[config->architecture];
}

moh_status moh__arch_model(moh__model **out, const moh__config *config,
                           moh_error *err) {
  MOH_TRY(moh__model_new(out, config, err));
  moh_status status = moh__arch_of(config)->declare(*out, err);
  if (status != MOH_OK) {
    moh__model_free(*out);
    *out = NULL;
  }
  return status;
}

moh_status moh__arch_model_init(moh__model **out, const moh__config *config,
                                uint64_t seed, moh_error *err) {
  MOH_TRY(moh__arch_model(out, config, err));
  moh_status status = moh__model_alloc_data(*out, err);
  if (status == MOH_OK) status = moh__model_make_tables(*out, err);
  if (status != MOH_OK) {
    moh__model_free(*out);
    *out = NULL;
    return status;
  }
  moh__arch_of(config)->init(*out, seed);
  return MOH_OK;
}

moh__param *moh__arch_output(const moh__model *model) {
  return moh__model_param(model, model->config.tied
                                     ? "model.embed_tokens.weight"
                                     : "lm_head.weight");
}

moh__tensor *moh__arch_logits(const moh__model *model, moh__tape *tape,
                              const moh__batch *batch) {
  moh__tensor *x =
      moh__arch_of(&model->config)->forward(model, tape, batch);
  return moh__op_linear(tape, x, moh__arch_output(model));
}

typedef struct loss_job {
  const moh__model *model;
  moh__tape *tape;
  const int32_t *targets;
  const real *weights;
  real *loss;
  real *part_weights, *part_loss; /* of one of several states */
  int64_t n;                      /* rows */
  real share;
} loss_job;

static void add_loss(void *context, moh__tensor *hidden) {
  const loss_job *job = context;
  moh__op_cross_entropy(job->tape, hidden, moh__arch_output(job->model),
                        job->targets, job->part_weights, job->part_loss);
  if (moh__tape_counting(job->tape)) return;
  for (int64_t i = 0; i < job->n; i++)
    job->loss[i] += job->share * job->part_loss[i];
}

/* The mean over several states of one pass. */
static void supervised_loss(loss_job *job, const moh__batch *batch) {
  const moh__config *c = &job->model->config;
  job->n = batch->n_out;
  job->share = (real)1 / (real)moh__config_losses(c);
  job->part_weights = moh__tape_reals(job->tape, job->n);
  job->part_loss = moh__tape_reals(job->tape, job->n);
  if (job->weights != NULL) /* a dry run has none */
    for (int64_t i = 0; i < job->n; i++) {
      job->part_weights[i] = job->share * job->weights[i];
      job->loss[i] = 0;
    }
  moh__arch_of(c)->supervise(job->model, job->tape, batch, add_loss, job);
}

/* A probe asks for the loss of the model as it is used, not as it is trained.
 */
static bool is_supervised(const moh__model *model, const moh__tape *tape) {
  return tape->recording && tape->probe == NULL &&
         moh__config_losses(&model->config) > 1;
}

void moh__arch_loss(const moh__model *model, moh__tape *tape,
                    const moh__batch *batch, const int32_t *targets,
                    const real *weights, real *loss) {
  const moh__config *c = &model->config;
  if (is_supervised(model, tape)) {
    loss_job job = {.model = model,
                    .tape = tape,
                    .targets = targets,
                    .weights = weights,
                    .loss = loss};
    supervised_loss(&job, batch);
    return;
  }
  moh__tensor *x = moh__arch_of(c)->forward(model, tape, batch);
  moh__op_cross_entropy(tape, x, moh__arch_output(model), targets, weights,
                        loss);
}

/* What a dry run stands for. */
typedef enum dry_kind {
  DRY_TRAINING, /* recorded, with a loss */
  DRY_LOSS,     /* a loss of chosen rows */
  DRY_CACHED    /* a logit row a sequence, keys and values in a cache */
} dry_kind;

/* A batch whose sizes are real and whose contents no dry run reads. */
typedef struct dry_batch {
  moh__batch batch;
  moh__cache cache;
  int32_t *rows; /* seq_start */
  real **slots;
} dry_batch;

static moh_status make_dry_batch(dry_batch *dry, const moh__model *model,
                                 int32_t n_seq, int32_t seq_len,
                                 dry_kind kind, moh_error *err) {
  memset(dry, 0, sizeof(*dry));
  int64_t n_slots = moh__config_passes(&model->config);
  dry->rows = calloc((size_t)n_seq + 1, sizeof(int32_t));
  dry->slots = calloc((size_t)n_slots, sizeof(real *));
  if (dry->rows == NULL || dry->slots == NULL) {
    free(dry->rows);
    free((void *)dry->slots);
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a dry run");
  }
  for (int32_t s = 0; s <= n_seq; s++) dry->rows[s] = s * seq_len;
  dry->batch.n = n_seq * seq_len;
  dry->batch.n_seq = n_seq;
  dry->batch.seq_start = dry->rows;
  dry->batch.n_out = kind == DRY_CACHED ? n_seq : dry->batch.n;
  if (kind == DRY_TRAINING) return MOH_OK;
  dry->batch.out_rows = dry->rows;
  if (kind == DRY_LOSS) return MOH_OK;
  dry->cache.slots = dry->slots;
  dry->batch.cache = &dry->cache;
  return MOH_OK;
}

static moh_status dry_run(const moh__model *model, const moh__batch *batch,
                          dry_kind kind, const moh__tape *like,
                          size_t *bytes, moh_error *err) {
  moh__arena arena;
  moh__arena_init_counting(&arena);
  moh__tape tape;
  MOH_TRY(moh__tape_init(&tape, &arena, NULL, err));
  bool probed = like->probe != NULL && like->probe->importance != NULL;
  moh__tape_reset(&tape, kind == DRY_TRAINING || probed);
  tape.probe = like->probe;
  tape.masked = like->masked;
  tape.recompute = like->recompute;
  tape.every_head = like->every_head;
  if (kind == DRY_CACHED)
    moh__arch_logits(model, &tape, batch);
  else
    moh__arch_loss(model, &tape, batch, NULL, NULL, NULL);
  moh__tape_backward(&tape);
  moh__tape_free(&tape);
  *bytes = arena.peak;
  return MOH_OK;
}

/* `like` has the properties of the tape that is planned for. */
static moh_status arena_bytes(const moh__model *model, int32_t n_seq,
                              int32_t seq_len, dry_kind kind,
                              const moh__tape *like, size_t *bytes,
                              moh_error *err) {
  if ((int64_t)n_seq * seq_len > INT32_MAX / 2)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a batch of %d x %d tokens is too large", n_seq,
                     seq_len);
  dry_batch dry;
  MOH_TRY(make_dry_batch(&dry, model, n_seq, seq_len, kind, err));
  moh_status status = dry_run(model, &dry.batch, kind, like, bytes, err);
  free(dry.rows);
  free((void *)dry.slots);
  return status;
}

moh_status moh__arch_arena_bytes(const moh__model *model, int32_t n_seq,
                                 int32_t seq_len, bool training,
                                 size_t *bytes, moh_error *err) {
  return arena_bytes(model, n_seq, seq_len,
                     training ? DRY_TRAINING : DRY_CACHED, &(moh__tape){0},
                     bytes, err);
}

moh_status moh__arch_arena_bytes_training(const moh__model *model,
                                          int32_t n_seq, int32_t seq_len,
                                          bool recompute, bool every_head,
                                          size_t *bytes, moh_error *err) {
  moh__tape like = {.recompute = recompute, .every_head = every_head};
  return arena_bytes(model, n_seq, seq_len, DRY_TRAINING, &like, bytes, err);
}

moh_status moh__arch_arena_bytes_masked(const moh__model *model,
                                        int32_t n_seq, int32_t seq_len,
                                        bool training, size_t *bytes,
                                        moh_error *err) {
  moh__tape like = {.masked = true};
  return arena_bytes(model, n_seq, seq_len,
                     training ? DRY_TRAINING : DRY_CACHED, &like, bytes,
                     err);
}

moh_status moh__arch_arena_bytes_loss(const moh__model *model, int32_t n_seq,
                                      int32_t seq_len,
                                      const moh__head_probe *probe,
                                      size_t *bytes, moh_error *err) {
  moh__tape like = {.probe = probe};
  return arena_bytes(model, n_seq, seq_len, DRY_LOSS, &like, bytes, err);
}
