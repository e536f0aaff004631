/* The rules of sampling.h, on a copy of the logits. */
#include "infer/sampling.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

moh__sampling moh__sampling_default(void) {
  moh__sampling rules = {.temperature = 0,
                         .top_k = 0,
                         .top_p = 1,
                         .min_p = 0,
                         .repeat_penalty = 1,
                         .repeat_last = 64,
                         .seed = 1};
  return rules;
}

static moh_status out_of_range(const char *name, double value,
                               const char *range, moh_error *err) {
  return moh__fail(err, MOH_ERR_ARGUMENT, "%s is %g, it must be %s", name,
                   value, range);
}

moh_status moh__sampling_check(const moh__sampling *s, moh_error *err) {
  if (!(s->temperature >= 0) || !isfinite(s->temperature))
    return out_of_range("temperature", s->temperature, "0 or more", err);
  if (s->top_k < 0)
    return out_of_range("top_k", s->top_k, "0 (off) or more", err);
  if (!(s->top_p >= 0 && s->top_p <= 1))
    return out_of_range("top_p", s->top_p, "between 0 and 1", err);
  if (!(s->min_p >= 0 && s->min_p <= 1))
    return out_of_range("min_p", s->min_p, "between 0 and 1", err);
  if (!(s->repeat_penalty > 0) || !isfinite(s->repeat_penalty))
    return out_of_range("repeat_penalty", s->repeat_penalty, "above 0",
                        err);
  if (s->repeat_last < -1)
    return out_of_range("repeat_last", s->repeat_last, "-1 (all) or more",
                        err);
  return MOH_OK;
}

moh_status moh__sampler_init(moh__sampler *s, const moh__sampling *rules,
                             int32_t n, moh_error *err) {
  size_t bytes;
  *s = (moh__sampler){.rules = *rules,
                      .rng = moh__rng_make(rules->seed, MOH__STREAM_SAMPLE),
                      .n = n};
  MOH_TRY(moh__sampling_check(rules, err));
  if (n > 0 && moh__mul_size((size_t)n, sizeof(double), &bytes)) {
    s->logits = malloc(bytes);
    s->weights = malloc(bytes);
    s->order = malloc(bytes);
  }
  if (s->logits != NULL && s->weights != NULL && s->order != NULL)
    return MOH_OK;
  moh__sampler_free(s);
  return moh__fail(err, MOH_ERR_MEMORY,
                   "no memory to sample from %d tokens", n);
}

void moh__sampler_free(moh__sampler *s) {
  free(s->logits);
  free(s->weights);
  free(s->order);
  s->logits = s->weights = NULL;
  s->order = NULL;
}

static moh_status copy_logits(moh__sampler *s, const real *logits,
                              moh_error *err) {
  for (int32_t i = 0; i < s->n; i++) {
    if (!isfinite(logits[i]))
      return moh__fail(err, MOH_ERR_DIVERGED,
                       "the logit of token %d is not finite: the weights "
                       "are damaged or training diverged",
                       i);
    s->logits[i] = (double)logits[i];
  }
  return MOH_OK;
}

/* ---- rules ---- */

/* weights serve as marks of what has been penalised. */
static void penalise(moh__sampler *s, const int32_t *history, size_t n) {
  double r = s->rules.repeat_penalty;
  if (r == 1) return;
  if (s->rules.repeat_last >= 0 && n > (size_t)s->rules.repeat_last) {
    history += n - (size_t)s->rules.repeat_last;
    n = (size_t)s->rules.repeat_last;
  }
  for (size_t i = 0; i < n; i++) s->weights[history[i]] = 0;
  for (size_t i = 0; i < n; i++) {
    int32_t token = history[i];
    double *z = &s->logits[token];
    if (s->weights[token] == 0) *z = *z > 0 ? *z / r : *z * r;
    s->weights[token] = 1;
  }
}

static int32_t likeliest(const moh__sampler *s) {
  int32_t best = 0;
  for (int32_t i = 1; i < s->n; i++)
    if (s->logits[i] > s->logits[best]) best = i;
  return best;
}

static bool ranks_before(const moh__sampler *s, int32_t a, int32_t b) {
  if (s->logits[a] != s->logits[b]) return s->logits[a] > s->logits[b];
  return a < b;
}

/* Moves the id at place i of the heap down to where it belongs. */
static void sink(moh__sampler *s, int32_t i) {
  int32_t *heap = s->order;
  int32_t id = heap[i];
  for (int32_t child; (child = 2 * i + 1) < s->n_heap; i = child) {
    if (child + 1 < s->n_heap &&
        ranks_before(s, heap[child + 1], heap[child]))
      child++;
    if (!ranks_before(s, heap[child], id)) break;
    heap[i] = heap[child];
  }
  heap[i] = id;
}

static void make_heap(moh__sampler *s) {
  s->n_heap = s->n;
  for (int32_t i = 0; i < s->n; i++) s->order[i] = i;
  for (int32_t i = s->n / 2 - 1; i >= 0; i--) sink(s, i);
}

/* The id of rank r, from 0; ranks are asked for without gaps. Those that
 * left the heap stand behind it, the first at the end. */
static int32_t ranked(moh__sampler *s, int32_t r) {
  int32_t place = s->n - 1 - r;
  if (place < s->n_heap) {
    int32_t best = s->order[0];
    s->order[0] = s->order[--s->n_heap];
    s->order[s->n_heap] = best;
    if (s->n_heap > 0) sink(s, 0);
  }
  return s->order[place];
}

/* Only the first `kept` ranks stay. */
static void remove_behind(moh__sampler *s, int32_t kept) {
  for (int32_t i = 0; i < s->n - kept; i++)
    s->logits[s->order[i]] = -INFINITY;
}

static void keep_top_k(moh__sampler *s) {
  int32_t k = s->rules.top_k;
  if (k == 0 || k >= s->n) return;
  for (int32_t r = 0; r < k; r++) ranked(s, r);
  remove_behind(s, k);
}

static void keep_top_p(moh__sampler *s, double max) {
  double sum = 0, front = 0;
  if (s->rules.top_p == 1) return;
  for (int32_t i = 0; i < s->n; i++) sum += exp(s->logits[i] - max);
  int32_t kept = 0;
  do {
    front += exp(s->logits[ranked(s, kept++)] - max);
  } while (front < s->rules.top_p * sum && kept < s->n);
  remove_behind(s, kept);
}

static void keep_min_p(moh__sampler *s, double max) {
  for (int32_t i = 0; i < s->n; i++)
    if (exp(s->logits[i] - max) < s->rules.min_p) s->logits[i] = -INFINITY;
}

/* ---- all of them ---- */

static void weigh(moh__sampler *s) {
  int32_t best = likeliest(s);
  double t = s->rules.temperature, max = s->logits[best];
  if (t == 0) {
    memset(s->weights, 0, (size_t)s->n * sizeof(double));
    s->weights[best] = 1;
    return;
  }
  if (s->rules.top_k > 0 || s->rules.top_p < 1) make_heap(s);
  keep_top_k(s);
  keep_top_p(s, max);
  if (s->rules.min_p > 0) keep_min_p(s, max);
  for (int32_t i = 0; i < s->n; i++)
    s->weights[i] = exp((s->logits[i] - max) / t);
}

moh_status moh__sampler_weigh(moh__sampler *s, const real *logits,
                              const int32_t *history, size_t n_history,
                              moh_error *err) {
  MOH_TRY(copy_logits(s, logits, err));
  penalise(s, history, n_history);
  weigh(s);
  return MOH_OK;
}

int32_t moh__draw(const double *weights, int32_t n, double u) {
  double sum = 0, so_far = 0;
  int32_t last = 0;
  for (int32_t i = 0; i < n; i++) sum += weights[i];
  double target = u * sum;
  for (int32_t i = 0; i < n; i++) {
    if (weights[i] <= 0) continue;
    so_far += weights[i];
    last = i;
    if (so_far > target) break;
  }
  return last;
}

moh_status moh__sampler_choose(moh__sampler *s, const real *logits,
                               const int32_t *history, size_t n_history,
                               int32_t *token, moh_error *err) {
  MOH_TRY(moh__sampler_weigh(s, logits, history, n_history, err));
  double u = s->rules.temperature > 0 ? moh__rng_uniform(&s->rng) : 0;
  *token = moh__draw(s->weights, s->n, u);
  return MOH_OK;
}
