/* Logits of two models, some rows at a time. */
#include "infer/closeness.h"

#include <math.h>

#include "arch/arch.h"

enum { ROWS = 32 }; /* whose logits are there at once */

/* One model's side of a window. */
typedef struct side {
  moh__reading reading;
  moh__param *output;
  moh__tensor *hidden;
  size_t mark; /* of the arena, behind the hidden states */
} side;

static moh_status open_side(side *s, const moh__model *model, moh__pool *pool,
                            const moh__stretch *text, moh_error *err) {
  /* Twice: an arena rounds up what is taken. */
  int64_t extra = 2 * ROWS * model->config.vocab_size;
  int64_t rows = text->n < text->context ? text->n : text->context;
  s->output = moh__arch_output(model);
  return moh__reading_init(&s->reading, model, pool, (int32_t)rows, extra,
                           err);
}

static void read_window(side *s, const moh__stretch *text, int64_t w) {
  s->hidden = moh__reading_window(&s->reading, text, w);
  s->mark = moh__tape_mark(&s->reading.tape);
}

/* Logits of n rows from `row` on; hold until the next call. */
static const real *logits_of(side *s, int64_t row, int64_t n) {
  moh__tensor part = {.v = s->hidden->v + row * s->hidden->cols,
                      .rows = n,
                      .cols = s->hidden->cols};
  moh__arena_release(s->reading.tape.arena, s->mark);
  return moh__op_linear(&s->reading.tape, &part, s->output)->v;
}

/* ---- one row ---- */

typedef struct row {
  const real *logits;
  double max, log_sum; /* ln sum exp(l - max) */
  int64_t best;
} row;

static row row_of(const real *logits, int64_t n) {
  row r = {.logits = logits, .max = -INFINITY};
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    if ((double)logits[i] > r.max) r.best = i;
    r.max = fmax(r.max, (double)logits[i]);
  }
  for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - r.max);
  r.log_sum = log(sum);
  return r;
}

static double log_p(const row *r, int64_t i) {
  return (double)r->logits[i] - r->max - r->log_sum;
}

static void add_row(moh__closeness *c, const real *a_logits,
                    const real *b_logits, int64_t n) {
  row a = row_of(a_logits, n), b = row_of(b_logits, n);
  double divergence = 0;
  for (int64_t i = 0; i < n; i++) {
    double off = fabs((double)a_logits[i] - (double)b_logits[i]);
    if (!(off <= c->largest)) c->largest = off; /* NaN too */
    double la = log_p(&a, i);
    divergence += exp(la) * (la - log_p(&b, i));
  }
  c->divergence += divergence;
  if (!(divergence <= c->worst)) c->worst = divergence;
  c->n_tokens++;
  c->n_same += a.best == b.best;
}

static void add_next(moh__closeness *c, const real *a_logits,
                     const real *b_logits, int64_t n, int32_t next) {
  row a = row_of(a_logits, n), b = row_of(b_logits, n);
  c->n_known++;
  c->reference_nats -= log_p(&a, next);
  c->other_nats -= log_p(&b, next);
}

/* ---- windows ---- */

/* Rows of window w from `first` on. The token behind a window's last one is
 * the first of the next window. */
static void add_rows(moh__closeness *c, side sides[2],
                     const moh__stretch *text, int64_t w, int64_t first) {
  int64_t n_rows = sides[0].hidden->rows;
  int64_t vocabulary = sides[0].output->shape[0];
  int64_t n = n_rows - first < ROWS ? n_rows - first : ROWS;
  int64_t start = w * text->context + first;
  const real *a = logits_of(&sides[0], first, n);
  const real *b = logits_of(&sides[1], first, n);
  for (int64_t r = 0; r < n; r++) {
    int64_t at = r * vocabulary;
    add_row(c, a + at, b + at, vocabulary);
    if (start + r + 1 < text->n)
      add_next(c, a + at, b + at, vocabulary, text->tokens[start + r + 1]);
  }
}

static moh_status add_windows(moh__closeness *c, side sides[2],
                              const moh__stretch *text,
                              moh__reading_stop *stop, void *context,
                              moh_error *err) {
  for (int64_t w = 0; w < moh__stretch_windows(text); w++) {
    if (stop != NULL && stop(context))
      return moh__fail(err, MOH_ERR_INTERRUPTED, "interrupted");
    for (int i = 0; i < 2; i++) read_window(&sides[i], text, w);
    for (int64_t r = 0; r < sides[0].hidden->rows; r += ROWS)
      add_rows(c, sides, text, w, r);
  }
  return MOH_OK;
}

moh_status moh__closeness_add(moh__closeness *sums,
                              const moh__model *reference,
                              const moh__model *other, moh__pool *pool,
                              const moh__stretch *text,
                              moh__reading_stop *stop, void *context,
                              moh_error *err) {
  side sides[2] = {{.output = NULL}, {.output = NULL}};
  moh_status status = open_side(&sides[0], reference, pool, text, err);
  if (status == MOH_OK) status = open_side(&sides[1], other, pool, text, err);
  if (status == MOH_OK)
    status = add_windows(sums, sides, text, stop, context, err);
  for (int i = 0; i < 2; i++) moh__reading_free(&sides[i].reading);
  return status;
}
