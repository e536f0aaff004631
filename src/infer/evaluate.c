/* Windows are collected until a batch is full, and evaluated together: the
 * loss of a token does not depend on its company. */
#include "infer/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "infer/nats.h"

enum { ROWS = 1024 }; /* of a batch, at least one window */

struct moh__evaluator {
  const moh__model *model;
  moh__evaluate_options options; /* context and stride are set */
  int32_t most;                  /* windows of a batch */
  moh__batch batch;              /* its arrays are those below */
  int32_t *tokens, *positions;   /* [most * context] */
  int32_t *out_rows, *targets;   /* the same, of which n_out are used */
  int32_t *seq_start;            /* [most + 1] */
  int32_t *out_start;            /* [most + 1] of each window */
  real *loss;                    /* [most * context] */
  real *weights;                 /* the same, 1: of the losses in backward */
  moh__arena arena;
  moh__tape tape;
  moh__session *session; /* NULL without options.decode */
  moh__evaluation sums;  /* n_predicted and n_unknown count what waits, too */
};

static moh_status check_options(const moh__model *model,
                                moh__evaluate_options *o, moh_error *err) {
  int64_t longest = model->config.max_seq_len;
  if (o->context == 0) o->context = (int32_t)longest;
  if (o->stride == 0) o->stride = o->context;
  if (o->context < 1 || o->context > longest)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a context of %d tokens; the model reads 1 to %lld",
                     o->context, (long long)longest);
  if (o->stride < 1 || o->stride > o->context)
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "a stride of %d tokens; it must lie between 1 and the "
                     "context, %d",
                     o->stride, o->context);
  if (o->limit < 0)
    return moh__fail(err, MOH_ERR_ARGUMENT, "the limit is negative");
  return MOH_OK;
}

static moh_status alloc_batch(moh__evaluator *e, moh_error *err) {
  size_t rows = (size_t)e->most * (size_t)e->options.context;
  size_t seqs = (size_t)e->most + 1;
  e->tokens = calloc(rows, sizeof(int32_t));
  e->positions = calloc(rows, sizeof(int32_t));
  e->out_rows = calloc(rows, sizeof(int32_t));
  e->targets = calloc(rows, sizeof(int32_t));
  e->seq_start = calloc(seqs, sizeof(int32_t));
  e->out_start = calloc(seqs, sizeof(int32_t));
  e->loss = calloc(rows, sizeof(real));
  e->weights = calloc(rows, sizeof(real));
  if (e->tokens == NULL || e->positions == NULL || e->out_rows == NULL ||
      e->targets == NULL || e->seq_start == NULL || e->out_start == NULL ||
      e->loss == NULL || e->weights == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a batch");
  for (size_t i = 0; i < rows; i++) e->weights[i] = 1;
  e->batch.tokens = e->tokens;
  e->batch.positions = e->positions;
  e->batch.seq_start = e->seq_start;
  e->batch.out_rows = e->out_rows;
  return MOH_OK;
}

static moh_status open_evaluator(moh__evaluator *e, moh__pool *pool,
                                 moh_error *err) {
  size_t bytes = 0;
  MOH_TRY(check_options(e->model, &e->options, err));
  if (e->options.decode)
    return moh__session_new(&e->session, e->model, pool, e->options.context,
                            err);
  e->most = ROWS / e->options.context;
  if (e->most < 1) e->most = 1;
  MOH_TRY(alloc_batch(e, err));
  MOH_TRY(moh__arch_arena_bytes_loss(e->model, e->most, e->options.context,
                                     e->options.probe, &bytes, err));
  MOH_TRY(moh__arena_init(&e->arena, bytes, err));
  MOH_TRY(moh__tape_init(&e->tape, &e->arena, pool, err));
  e->tape.probe = e->options.probe;
  e->tape.aux_scale = 0;
  return MOH_OK;
}

moh_status moh__evaluator_new(moh__evaluator **out, const moh__model *model,
                              moh__pool *pool,
                              const moh__evaluate_options *options,
                              moh_error *err) {
  *out = NULL;
  moh__evaluator *e = calloc(1, sizeof(*e));
  if (e == NULL) return moh__fail(err, MOH_ERR_MEMORY, "no memory");
  e->model = model;
  e->options = *options;
  moh_status status = open_evaluator(e, pool, err);
  if (status != MOH_OK) {
    moh__evaluator_free(e);
    return status;
  }
  *out = e;
  return MOH_OK;
}

void moh__evaluator_free(moh__evaluator *e) {
  if (e == NULL) return;
  moh__session_free(e->session);
  moh__tape_free(&e->tape);
  moh__arena_free(&e->arena);
  free(e->tokens);
  free(e->positions);
  free(e->out_rows);
  free(e->targets);
  free(e->seq_start);
  free(e->out_start);
  free(e->loss);
  free(e->weights);
  free(e);
}

/* ---- batches ---- */

static moh_status add_nats(moh__evaluator *e, double nats, moh_error *err) {
  if (!isfinite(nats))
    return moh__fail(err, MOH_ERR_DIVERGED,
                     "a loss is not finite: the weights are damaged or "
                     "training diverged");
  e->sums.nats += nats;
  return MOH_OK;
}

static moh_status tell_progress(const moh__evaluator *e, moh_error *err) {
  const moh__evaluate_options *o = &e->options;
  if (o->on_progress == NULL ||
      o->on_progress(o->progress, e->sums.n_predicted))
    return MOH_OK;
  return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted after %lld tokens",
                   (long long)e->sums.n_predicted);
}

static moh_status add_losses(moh__evaluator *e, moh_error *err) {
  for (int32_t w = 0; w < e->batch.n_seq; w++) {
    double nats = 0;
    for (int32_t i = e->out_start[w]; i < e->out_start[w + 1]; i++)
      nats += (double)e->loss[i];
    MOH_TRY(add_nats(e, nats, err));
  }
  return MOH_OK;
}

/* Evaluates the windows that wait. */
static moh_status flush(moh__evaluator *e, moh_error *err) {
  if (e->batch.n_seq == 0) return MOH_OK;
  const moh__head_probe *probe = e->options.probe;
  moh__tape_reset(&e->tape, probe != NULL && probe->importance != NULL);
  moh__arch_loss(e->model, &e->tape, &e->batch, e->targets, e->weights,
                 e->loss);
  moh__tape_backward(&e->tape);
  MOH_TRY(add_losses(e, err));
  e->sums.n_windows += e->batch.n_seq;
  e->batch.n = e->batch.n_seq = e->batch.n_out = 0;
  return tell_progress(e, err);
}

/* A window as below, one token after the other. */
static moh_status decode_window(moh__evaluator *e, const int32_t *tokens,
                                int32_t n, int32_t n_predicted,
                                moh_error *err) {
  const real *logits;
  moh__session_truncate(e->session, 0);
  for (int32_t i = 0; i < n; i++) {
    MOH_TRY(moh__session_feed(e->session, tokens + i, 1, &logits, err));
    if (i < n - n_predicted) continue;
    MOH_TRY(add_nats(
        e, moh__nats_of(logits, e->model->config.vocab_size, tokens[i + 1]),
        err));
    e->sums.n_unknown += tokens[i + 1] == e->options.unknown;
    e->sums.n_predicted++;
    MOH_TRY(tell_progress(e, err));
  }
  e->sums.n_windows++;
  return MOH_OK;
}

/* A window of n tokens, behind the last n_predicted of which the loss of
 * the next one is wanted; tokens[n] is there. */
static moh_status add_window(moh__evaluator *e, const int32_t *tokens,
                             int32_t n, int32_t n_predicted, moh_error *err) {
  if (e->session != NULL)
    return decode_window(e, tokens, n, n_predicted, err);
  if (e->batch.n_seq == e->most) MOH_TRY(flush(e, err));
  moh__batch *b = &e->batch;
  for (int32_t i = 0; i < n; i++) {
    e->tokens[b->n + i] = tokens[i];
    e->positions[b->n + i] = i;
  }
  for (int32_t i = n - n_predicted; i < n; i++) {
    e->out_rows[b->n_out] = b->n + i;
    e->targets[b->n_out++] = tokens[i + 1];
    e->sums.n_unknown += tokens[i + 1] == e->options.unknown;
  }
  b->n += n;
  b->n_seq++;
  e->seq_start[b->n_seq] = b->n;
  e->out_start[b->n_seq] = b->n_out;
  e->sums.n_predicted += n_predicted;
  return MOH_OK;
}

static moh_status check_tokens(const moh__evaluator *e, const int32_t *tokens,
                               int64_t n, moh_error *err) {
  for (int64_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= e->model->config.vocab_size)
      return moh__fail(err, MOH_ERR_ARGUMENT,
                       "token %d is not in the vocabulary of %d", tokens[i],
                       (int)e->model->config.vocab_size);
  return MOH_OK;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

moh_status moh__evaluator_add(moh__evaluator *e, const int32_t *tokens,
                              int64_t n, int64_t *taken, moh_error *err) {
  int64_t context = e->options.context, stride = e->options.stride;
  int64_t all = n - 1; /* predictions of this text */
  MOH_TRY(check_tokens(e, tokens, n, err));
  if (e->options.limit > 0)
    all = least(all, e->options.limit - e->sums.n_predicted);
  e->sums.n_texts += all > 0;
  int64_t done = 0;
  while (done < all) {
    int64_t end = least(done + (done == 0 ? context : stride), all);
    int64_t begin = done - (context - stride);
    if (begin < 0) begin = 0;
    MOH_TRY(add_window(e, tokens + begin, (int32_t)(end - begin),
                       (int32_t)(end - done), err));
    done = end;
  }
  if (taken != NULL) *taken = done > 0 ? done + 1 : 0;
  return MOH_OK;
}

moh_status moh__evaluator_result(moh__evaluator *e, moh__evaluation *result,
                                 moh_error *err) {
  MOH_TRY(flush(e, err));
  *result = e->sums;
  return MOH_OK;
}
