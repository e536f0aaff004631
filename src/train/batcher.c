/* Drawing sequences, and laying them out as ragged batches. */
#include "train/batcher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* Streams of random numbers of one drawer: one for each epoch. */
static uint64_t stream_of(const moh__drawer *d, int64_t epoch) {
  return d->stream + ((uint64_t)epoch << 8);
}

/* Fisher-Yates with the epoch's own random numbers. */
static void shuffle(moh__drawer *d, int64_t epoch) {
  int64_t n = d->dataset->n_sequences;
  moh__rng rng = moh__rng_make(d->seed, stream_of(d, epoch));
  for (int64_t i = 0; i < n; i++) d->order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = (int64_t)moh__rng_below(&rng, (uint64_t)i + 1);
    int64_t other = d->order[j];
    d->order[j] = d->order[i];
    d->order[i] = other;
  }
}

static moh_status drawer_init(moh__drawer *d, const moh__dataset *dataset,
                              int32_t context, uint64_t seed,
                              uint64_t stream, moh_error *err) {
  memset(d, 0, sizeof(*d));
  d->dataset = dataset;
  d->seed = seed;
  d->stream = stream;
  d->context = context;
  if (dataset == NULL) return MOH_OK;
  if (dataset->n_sequences < 1 || dataset->sequences[0].n < 2)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "the data has no sequence of two tokens to train on");
  if (!dataset->examples) return MOH_OK;
  d->order = malloc((size_t)dataset->n_sequences * sizeof(int64_t));
  if (d->order == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for the order of %lld "
                     "examples",
                     (long long)dataset->n_sequences);
  return MOH_OK;
}

moh_status moh__batcher_init(moh__batcher *b, const moh__dataset *main,
                             const moh__dataset *mix, double mix_share,
                             int32_t context, uint64_t seed,
                             moh_error *err) {
  memset(b, 0, sizeof(*b));
  if (mix != NULL && !(mix_share > 0 && mix_share < 1))
    return moh__fail(err, MOH_ERR_ARGUMENT,
                     "the share of mixed-in data must lie between 0 and 1");
  b->mix_share = mix == NULL ? 0 : mix_share;
  MOH_TRY(
      drawer_init(&b->main, main, context, seed, MOH__STREAM_DATA, err));
  return drawer_init(&b->mix, mix, context, seed, MOH__STREAM_MIX, err);
}

void moh__batcher_free(moh__batcher *b) {
  free(b->main.order);
  free(b->mix.order);
}

/* Sequences of one pass over a drawer's dataset. */
static int64_t drawer_epoch(const moh__drawer *d) {
  if (d->dataset->examples) return d->dataset->n_sequences;
  int64_t predicted = d->dataset->sequences[0].n - 1;
  return (predicted + d->context - 1) / d->context;
}

int64_t moh__batcher_epoch(const moh__batcher *b) {
  double n = (double)drawer_epoch(&b->main) / (1 - b->mix_share);
  return (int64_t)ceil(n - 1e-9);
}

static double mean_inputs(const moh__drawer *d) {
  double sum = 0;
  int64_t n = d->dataset->n_sequences;
  for (int64_t i = 0; i < n; i++) {
    int64_t inputs = d->dataset->sequences[i].n - 1;
    sum += (double)(inputs < d->context ? inputs : d->context);
  }
  return sum / (double)n;
}

double moh__batcher_mean_inputs(const moh__batcher *b) {
  double mean = (1 - b->mix_share) * mean_inputs(&b->main);
  if (b->mix.dataset != NULL) mean += b->mix_share * mean_inputs(&b->mix);
  return mean;
}

/* The span that starts `skipped` tokens into a sequence. */
static moh__span span_of(const moh__dataset *dataset, int64_t sequence,
                         int64_t skipped, int32_t context) {
  const moh__sequence *whole = &dataset->sequences[sequence];
  int64_t n = whole->n - skipped - 1;
  moh__span span = {.dataset = dataset,
                    .first = whole->first + skipped,
                    .n_inputs = n < context ? (int32_t)n : context};
  return span;
}

static moh__span draw_example(moh__drawer *d) {
  int64_t n = d->dataset->n_sequences;
  int64_t epoch = d->n_drawn / n;
  int64_t at = d->n_drawn % n;
  if (at == 0) shuffle(d, epoch);
  return span_of(d->dataset, d->order[at], 0, d->context);
}

static moh__span draw_window(const moh__drawer *d) {
  int64_t places = d->dataset->sequences[0].n - d->context;
  if (places < 1) places = 1;
  moh__rng rng = moh__rng_make(d->seed, d->stream);
  rng.position = (uint64_t)d->n_drawn * 4; /* room for rejected draws */
  int64_t first = (int64_t)moh__rng_below(&rng, (uint64_t)places);
  return span_of(d->dataset, 0, first, d->context);
}

static moh__span draw_one(moh__drawer *d) {
  moh__span span = d->dataset->examples ? draw_example(d) : draw_window(d);
  d->n_drawn++;
  return span;
}

/* Mixed-in sequences are spread evenly: the i-th is one when the
 * rounded-down count i * share steps up. */
static int64_t n_mixed(const moh__batcher *b, int64_t n_drawn) {
  return (int64_t)floor((double)n_drawn * b->mix_share + 1e-9);
}

moh__span moh__batcher_draw(moh__batcher *b) {
  bool mixed = n_mixed(b, b->n_drawn + 1) > n_mixed(b, b->n_drawn);
  b->n_drawn++;
  moh__span span = draw_one(mixed ? &b->mix : &b->main);
  span.mixed = mixed;
  return span;
}

/* The order of an epoch that was left in its middle is made again. */
static void seek(moh__drawer *d, int64_t n_drawn) {
  d->n_drawn = n_drawn;
  if (d->dataset == NULL || !d->dataset->examples) return;
  int64_t n = d->dataset->n_sequences;
  if (n_drawn % n != 0) shuffle(d, n_drawn / n);
}

void moh__batcher_seek(moh__batcher *b, int64_t n_drawn) {
  int64_t mixed = n_mixed(b, n_drawn);
  b->n_drawn = n_drawn;
  seek(&b->main, n_drawn - mixed);
  seek(&b->mix, mixed);
}

bool moh__dataset_span(const moh__dataset *dataset, int64_t i,
                       int32_t context, moh__span *span) {
  if (dataset->examples) {
    if (i >= dataset->n_sequences) return false;
    *span = span_of(dataset, i, 0, context);
    return true;
  }
  int64_t first = i * context;
  if (first + 1 >= dataset->sequences[0].n) return false;
  *span = span_of(dataset, 0, first, context);
  return true;
}

moh_status moh__micro_batch_init(moh__micro_batch *m, int32_t n_seq,
                                 int32_t context, moh_error *err) {
  size_t n = (size_t)n_seq * (size_t)context;
  memset(m, 0, sizeof(*m));
  m->tokens = calloc(n, sizeof(int32_t));
  m->positions = calloc(n, sizeof(int32_t));
  m->targets = calloc(n, sizeof(int32_t));
  m->seq_start = calloc((size_t)n_seq + 1, sizeof(int32_t));
  m->weights = calloc(n, sizeof(real));
  m->loss = calloc(n, sizeof(real));
  if (m->tokens == NULL || m->positions == NULL || m->targets == NULL ||
      m->seq_start == NULL || m->weights == NULL || m->loss == NULL)
    return moh__fail(err, MOH_ERR_MEMORY, "no memory for a batch");
  m->batch.tokens = m->tokens;
  m->batch.positions = m->positions;
  m->batch.seq_start = m->seq_start;
  return MOH_OK;
}

void moh__micro_batch_free(moh__micro_batch *m) {
  free(m->tokens);
  free(m->positions);
  free(m->targets);
  free(m->seq_start);
  free(m->weights);
  free(m->loss);
  memset(m, 0, sizeof(*m));
}

static moh_status add_span(moh__micro_batch *m, const moh__span *span,
                           real weight, moh_error *err) {
  int32_t row = m->batch.n, n = span->n_inputs;
  MOH_TRY(moh__dataset_read(span->dataset, span->first, n, m->tokens + row,
                            err));
  MOH_TRY(moh__dataset_read(span->dataset, span->first + 1, n,
                            m->targets + row, err));
  for (int32_t i = 0; i < n; i++) {
    m->positions[row + i] = i;
    m->weights[row + i] = weight;
  }
  m->batch.n += n;
  m->seq_start[++m->batch.n_seq] = m->batch.n;
  return MOH_OK;
}

moh_status moh__micro_batch_fill(moh__micro_batch *m,
                                 const moh__span *spans, int32_t n,
                                 real weight, moh_error *err) {
  m->batch.n = 0;
  m->batch.n_seq = 0;
  for (int32_t i = 0; i < n; i++)
    MOH_TRY(add_span(m, &spans[i], weight, err));
  m->batch.n_out = m->batch.n;
  return MOH_OK;
}
